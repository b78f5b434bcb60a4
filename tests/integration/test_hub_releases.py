"""A release composed by the hub holds before the station's rules, and only for what the log holds."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Sequence
from pathlib import Path

import pytest
from sqlalchemy import insert

from custody.checkpoint import open_checkpoint
from custody.release import Pins, ReleaseRefused, check_closing, read_named
from hub import log
from hub.commands.releases import compose_release
from hub.errors import Conflict, NotFound
from hub.stations.service import enrol_station
from hub.tables import cosignature
from hub.times import now_utc, to_text
from tests.integration.hubs import TestHub
from tests.vectors.dockings import Docking, Station, build

FILES = {"DCIM/A.MP4": b"a" * 5000, "DCIM/B.MP4": b"b" * 100}


def taken_in(hub: TestHub, folder: Path) -> tuple[str, bytes, bytes]:
    """A docking of dock-test in the hub's log: its id, its closing envelope and its manifest."""
    station, docking = Station(), Docking(FILES)
    built = build(folder, docking, station)
    enrol_station(hub.db, hub.keys, station.key.verify_key.line)
    manifest = (built / ".custody/manifest.jsonl").read_bytes()
    closed = (built / ".custody/completed.dsse.json").read_bytes()
    hub.take("dock-test", *envelopes(manifest), closed)
    return docking.docking_id, closed, manifest


def cosign(hub: TestHub) -> None:
    """The station has cosigned the newest checkpoint."""
    with hub.db.begin() as tx:
        size = open_checkpoint(log.newest_note(tx), hub.keys.log.verify_key).size
        now = to_text(now_utc())
        row = {"size": size, "witness": "dock-test/witness", "line": "-", "cosigned_at": now, "received_at": now}
        tx.execute(insert(cosignature).values(**row))


def envelopes(manifest: bytes) -> Sequence[bytes]:
    """The seals that a manifest embeds."""
    mark = b'"envelope":'
    return [line[line.index(mark) + len(mark) : -1] for line in manifest.splitlines() if mark in line]


def test_what_the_hub_composes_a_station_accepts(small_hub: TestHub, tmp_path: Path) -> None:
    docking_id, closed, manifest = taken_in(small_hub, tmp_path)
    cosign(small_hub)
    with small_hub.db.read() as connection:
        body = compose_release(connection, "dock-test", docking_id)
        assert body.checkpoint == log.newest_note(connection)
        with pytest.raises(NotFound):
            compose_release(connection, "dock-2", docking_id)
    body.check()
    assert body.closed_sha256 == hashlib.sha256(closed).hexdigest()
    pins = Pins(small_hub.keys.log.verify_key)
    event = check_closing(body, closed, "dock-test", pins)
    assert event.docking_id == docking_id
    named = read_named(body, io.BytesIO(manifest))
    assert [b"/".join(one.path).decode() for one in named.files] == sorted(FILES)
    with pytest.raises(ReleaseRefused, match="closing_differs"):
        check_closing(body, closed, "dock-9", pins)


def test_a_docking_that_the_checkpoint_does_not_cover_is_not_released(small_hub: TestHub, tmp_path: Path) -> None:
    cosign(small_hub)  # before the docking
    docking_id, _, _ = taken_in(small_hub, tmp_path)
    with small_hub.db.read() as connection, pytest.raises(Conflict):
        compose_release(connection, "dock-test", docking_id)
