"""kill -9 of the hub while footage is viewed: nobody got a byte of which the log says nothing, and every end is stated.

CUSTODOCK_VIEWING_KILLS=100 kills as often; the default is enough for every run here.
"""

from __future__ import annotations

import http.client
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from sqlalchemy import select

from custody.digest import CHUNK_BYTES
from custody.hubevents import FootageViewed, FootageViewStarted
from hub.accounts.service import form_token
from hub.audit.queries import read_events
from hub.db import Database
from hub.logcheck import check_log
from hub.site import SESSION_COOKIE
from hub.tables import log_entry
from tests.e2e.viewing_hub import HubProcess, session_of
from tests.integration.viewing_scene import ViewingScene

KILLS = int(os.environ.get("CUSTODOCK_VIEWING_KILLS", "3"))
NAME = "LONG.MP4"
PIECE = 64 * 1024


@dataclass
class Received:
    """What a browser got for a viewing: its bytes so far."""

    viewing_id: str
    bytes: int = 0


class Unlogged(AssertionError):
    """A browser has footage that the log does not account for."""


def account_for(db: Database, received: list[Received]) -> None:
    """Raise Unlogged unless the log states the beginning and the end of all that was received, and at least its bytes.

    An entry in the database is committed; so what is looked up after the kill was there before the byte.
    """
    kinds = (FootageViewStarted.TYPE, FootageViewed.TYPE)
    with db.read() as connection:
        indexes = connection.execute(select(log_entry.c.idx).where(log_entry.c.event_type.in_(kinds))).scalars().all()
        events = [event for event in read_events(connection, indexes).values() if event is not None]
    started = {event.viewing_id for event in events if isinstance(event, FootageViewStarted)}
    ended = {event.viewing_id: event.bytes_streamed for event in events if isinstance(event, FootageViewed)}
    assert len(ended) == len([event for event in events if isinstance(event, FootageViewed)]), "an end is stated twice"
    for one in received:
        if one.bytes and one.viewing_id not in started:
            raise Unlogged(f"{one.bytes} bytes without a beginning")
        if one.viewing_id in started and ended.get(one.viewing_id, -1) < one.bytes:
            raise Unlogged(f"{one.bytes} bytes received, the log says {ended.get(one.viewing_id)}")


def view(hub: HubProcess, cookie: str, recording: int, enough: int, received: list[Received]) -> None:
    """Begin to view and take `enough` bytes; then the hub dies, whatever it does at that moment."""
    line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    sent = {"cookie": f"{SESSION_COOKIE}={cookie}", "content-type": "application/x-www-form-urlencoded"}
    line.request("POST", f"/recordings/{recording}/viewing", f"form_token={form_token(cookie)}", sent)
    answer = line.getresponse()
    answer.read()
    assert answer.status == 303
    address = answer.headers["location"]
    received.append(Received(address.rpartition("/")[2]))
    line.request("GET", f"{address}/footage", headers={"cookie": sent["cookie"]})
    answer = line.getresponse()
    assert answer.status == 200
    while received[-1].bytes < enough and (piece := answer.read(PIECE)):
        received[-1].bytes += len(piece)
    hub.kill()
    try:
        while piece := answer.read(PIECE):  # what was on its way
            received[-1].bytes += len(piece)
    except (OSError, http.client.HTTPException) as error:
        received[-1].bytes += len(getattr(error, "partial", b""))
    line.close()


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewingScene]:
    root: Path = tmp_path_factory.mktemp("kill")
    made = ViewingScene(root, {NAME: random.Random(1).randbytes(40 * CHUNK_BYTES)})
    made.grant(NAME)
    with made.serving():
        yield made
    made.close()


def test_no_byte_without_its_entry_through_kills(scene: ViewingScene) -> None:
    chance, hub = random.Random(20261124), HubProcess(scene)
    cookie, recording = session_of(scene, "holder"), scene.saved(NAME).recording
    received: list[Received] = []
    for _ in range(KILLS):
        hub.start()
        account_for(scene.hub.db, received)  # the start has stated every end
        view(hub, cookie, recording, chance.choice((1, chance.randrange(40 * CHUNK_BYTES))), received)
    hub.start()
    hub.stop()
    account_for(scene.hub.db, received)
    assert len({one.viewing_id for one in received}) == KILLS
    assert sum(one.bytes for one in received) > 0
    with scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)
    print(f"{KILLS} kills, {sum(one.bytes for one in received)} bytes received")

    # the control: the same question finds what the log does not account for
    last = max(received, key=lambda one: one.bytes)
    for wrong in (Received("never stated", 1), Received(last.viewing_id, last.bytes + 64 * CHUNK_BYTES)):
        with pytest.raises(Unlogged):
            account_for(scene.hub.db, [*received, wrong])
