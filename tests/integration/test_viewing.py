"""Footage by grant, from the vault to the browser: what is given, what is not, and what the log says of it."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import secrets
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import delete, select, update
from starlette.testclient import TestClient

from agent.errors import SettingsInvalid
from agent.grants import Uptime, find_grant, load_mark, why_not_good
from agent.settings import load_settings
from agent.viewing.offer import CERTIFICATE_FILE, load_or_create_certificate, state_offer
from agent.viewing.server import ViewingApp
from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import CHUNK_BYTES, leaf_hash
from custody.event import Event, Sha256Hex
from custody.events import seal_event
from custody.hubevents import FootageMismatched, FootageViewed, FootageViewStarted
from custody.tlogproof import LogProof
from custody.viewing import PATH, ChunkRequest, seal_request
from hub import log
from hub.access import Actor, Role
from hub.accounts.service import give_first_password
from hub.audit.queries import read_events
from hub.errors import LogUntrusted
from hub.logcheck import check_log
from hub.recordings.marking import raise_mark
from hub.restore.hubrows import write_hub_rows
from hub.tables import account, log_entry, viewing
from hub.times import now_utc, to_text
from hub.viewing import book
from hub.viewing.line import fetch_chunks, find_place
from hub.viewing.policy import IDLE
from hub.viewing.problems import StationAway
from hub.viewing.stream import RESERVED_BYTES, Meter
from tests.integration.viewing_scene import HOLDER, STATION, ViewingScene
from tests.integration.web_peer import change_password, client, form_token, sign_in
from tests.ports import free_port

CHUNKS = 5
FOOTAGE = {
    name: random.Random(name).randbytes((CHUNKS - 1) * CHUNK_BYTES + 12_345)
    for name in ("GOOD.MP4", "BAD.MP4", "SHORT.MP4", "OTHER.MP4", "LEAVES.MP4")
} | {"SMALL.MP4": b"one chunk alone", "EMPTY.MP4": b""}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ViewingScene]:
    made = ViewingScene(tmp_path_factory.mktemp("viewing"), dict(FOOTAGE))
    with made.serving():
        yield made
    made.close()


@pytest.fixture(scope="module")
def browsers(scene: ViewingScene) -> dict[str, TestClient]:
    """Of the grants' holder and of somebody else; each password costs a tenth of a second."""
    found = {}
    for name in ("holder", "other"):
        browser, first = client(scene.hub.app), give_first_password(scene.hub.db, name)
        assert sign_in(browser, name, first) == 303
        assert change_password(browser, first) == 303
        found[name] = browser
    return found


@pytest.fixture
def browser(browsers: dict[str, TestClient]) -> TestClient:
    return browsers["holder"]


def begin(browser: TestClient, recording: int) -> str:
    """The address of a viewing that begins now."""
    page = browser.get(f"/recordings/{recording}/viewing")
    assert page.status_code == 200
    begun = browser.post(f"/recordings/{recording}/viewing", data={"form_token": form_token(page.text)})
    assert begun.status_code == 303
    return str(begun.headers["location"])


def end(browser: TestClient, address: str) -> None:
    page = browser.get(address)
    assert browser.post(f"{address}/end", data={"form_token": form_token(page.text)}).status_code == 303


def stated(scene: ViewingScene, kind: type[Event]) -> list[Any]:
    with scene.hub.db.read() as connection:
        indexes = connection.execute(
            select(log_entry.c.idx).where(log_entry.c.event_type == kind.TYPE).order_by(log_entry.c.idx)
        ).scalars()
        return list(read_events(connection, indexes.all()).values())


def check(scene: ViewingScene) -> None:
    with scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)


def test_the_holder_sees_every_byte_and_the_log_says_so_first(scene: ViewingScene, browser: TestClient) -> None:
    saved, content = scene.saved("GOOD.MP4"), FOOTAGE["GOOD.MP4"]
    assert browser.get(f"/recordings/{saved.recording}/viewing").status_code == 403  # nobody has granted it
    grant_id = scene.grant("GOOD.MP4")
    address = begin(browser, saved.recording)
    [started] = stated(scene, FootageViewStarted)
    assert (started.account, started.recording, started.grant_id) == ("holder", saved.recording, grant_id)
    assert (started.station, started.file_sha256, started.purpose) == (STATION, saved.sha256, "投诉复核 2026-17")
    assert begin(browser, saved.recording) == address  # it goes on

    footage = f"{address}/footage"
    whole = browser.get(footage)
    assert (whole.status_code, whole.content == content) == (200, True)
    assert whole.headers["content-type"] == "video/mp4"
    assert whole.headers["cache-control"] == "no-store"
    part = browser.get(footage, headers={"range": f"bytes={CHUNK_BYTES - 5}-{3 * CHUNK_BYTES}"})
    assert (part.status_code, part.content == content[CHUNK_BYTES - 5 : 3 * CHUNK_BYTES + 1]) == (206, True)
    assert part.headers["content-range"] == f"bytes {CHUNK_BYTES - 5}-{3 * CHUNK_BYTES}/{len(content)}"
    tail = browser.get(footage, headers={"range": "bytes=-100", "if-range": whole.headers["etag"]})
    assert (tail.status_code, tail.content) == (206, content[-100:])
    other = browser.get(footage, headers={"range": "bytes=-100", "if-range": '"another"'})
    assert (other.status_code, len(other.content)) == (200, len(content))
    head = browser.head(footage)
    assert (head.status_code, head.content, head.headers["content-length"]) == (200, b"", str(len(content)))
    beyond = browser.get(footage, headers={"range": f"bytes={len(content)}-"})
    assert (beyond.status_code, beyond.headers["content-range"]) == (416, f"bytes */{len(content)}")
    assert "holder" in browser.get(address).text

    end(browser, address)
    sent = 2 * len(content) + len(part.content) + 100
    [viewed] = stated(scene, FootageViewed)
    assert (viewed.bytes_streamed, viewed.exact, viewed.reason) == (sent, True, "closed")
    assert (viewed.chunks_streamed, viewed.chunk_count) == (CHUNKS, CHUNKS)
    gone = browser.get(footage)
    assert (gone.status_code, "已结束" in gone.text) == (410, True)
    check(scene)


@pytest.mark.parametrize("name", ["SMALL.MP4", "EMPTY.MP4"])
def test_files_of_one_chunk_and_of_none(scene: ViewingScene, browser: TestClient, name: str) -> None:
    scene.grant(name)
    address = begin(browser, scene.saved(name).recording)
    assert browser.get(f"{address}/footage").content == FOOTAGE[name]
    end(browser, address)
    assert stated(scene, FootageViewed)[-1].bytes_streamed == len(FOOTAGE[name])


def test_nobody_else_gets_anything(scene: ViewingScene, browsers: dict[str, TestClient]) -> None:
    scene.grant("GOOD.MP4")
    saved = scene.saved("GOOD.MP4")
    address = begin(browsers["holder"], saved.recording)
    other = browsers["other"]
    for path in (address, f"{address}/footage", f"{address}/state", f"/recordings/{saved.recording}/viewing"):
        assert other.get(path).status_code == 404
    anonymous = client(scene.hub.app).get(f"{address}/footage")
    assert (anonymous.status_code, anonymous.headers["location"].partition("?")[0]) == (303, "/sign-in")
    end(browsers["holder"], address)


@pytest.mark.parametrize("how", ["revoked", "closed account", "over"])
def test_a_grant_that_ends_meanwhile_ends_the_viewing(scene: ViewingScene, browser: TestClient, how: str) -> None:
    grant_id = scene.grant("OTHER.MP4", seconds=2 if how == "over" else 3600)
    address = begin(browser, scene.saved("OTHER.MP4").recording)
    holder = update(account).where(account.c.name == "holder")
    if how == "revoked":
        scene.revoke(grant_id, station_knows=False)
        assert browser.get(f"{address}/footage").status_code == 410
    elif how == "closed account":
        with scene.hub.db.begin() as tx:
            tx.execute(holder.values(disabled_at=to_text(now_utc())))
        assert book.end_overdue(scene.hub.db, scene.hub.keys, now_utc()) == 1
        with scene.hub.db.begin() as tx:
            tx.execute(holder.values(disabled_at=None))
    else:
        until(lambda: browser.get(f"{address}/footage").status_code == 410)
    assert stated(scene, FootageViewed)[-1].reason == "grant_over"
    page = browser.get(address).text
    assert "授权已到期或被撤销" in page
    assert "<video" not in page
    assert "授权已到期或被撤销" in browser.get(f"{address}/state").text
    if how == "closed account":
        scene.revoke(grant_id)


def until(condition: Any) -> None:
    end_at = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < end_at
        time.sleep(0.05)


def damage(path: Path, change: Any) -> None:
    path.chmod(0o600)
    content = bytearray(path.read_bytes())
    path.write_bytes(change(content))
    path.chmod(0o400)


def flipped(at: int) -> Any:
    def change(content: bytearray) -> bytearray:
        content[at] ^= 1
        return content

    return change


def test_a_flipped_byte_stops_the_stream_at_its_chunk(scene: ViewingScene, browser: TestClient) -> None:
    scene.grant("BAD.MP4")
    saved, content = scene.saved("BAD.MP4"), FOOTAGE["BAD.MP4"]
    damage(saved.path, flipped(2 * CHUNK_BYTES + 777))
    address = begin(browser, saved.recording)
    whole = browser.get(f"{address}/footage")
    assert whole.content == content[: 2 * CHUNK_BYTES]  # of its announced length it lacks all from that chunk on
    altered = leaf_hash(saved.path.read_bytes()[2 * CHUNK_BYTES : 3 * CHUNK_BYTES]).hex()
    mismatch = stated(scene, FootageMismatched)[-1]
    assert (mismatch.recording, mismatch.chunk, mismatch.leaf_sha256) == (saved.recording, 2, altered)
    viewed = stated(scene, FootageViewed)[-1]
    assert (viewed.reason, viewed.bytes_streamed) == ("mismatch", 2 * CHUNK_BYTES)
    assert "已停止：采集站中的录像与封存时不符" in browser.get(f"{address}/state").text
    # again, right there: no byte of it, and a status that says so
    again = begin(browser, saved.recording)
    assert again != address
    first = browser.get(f"{again}/footage", headers={"range": f"bytes={2 * CHUNK_BYTES + 5}-"})
    assert (first.status_code, content[2 * CHUNK_BYTES + 5 :][:64] in first.content) == (502, False)
    assert stated(scene, FootageViewed)[-1].bytes_streamed == 0
    auditor = client(scene.hub.app)
    password = scene.hub.account("auditor", "auditor")
    assert (sign_in(auditor, "auditor", password), change_password(auditor, password)) == (303, 303)
    assert "采集站中的录像与封存时不符" in auditor.get(f"/recordings/{saved.recording}").text
    check(scene)


@pytest.mark.parametrize(("name", "chunk"), [("SHORT.MP4", None), ("LEAVES.MP4", 0)])
def test_a_file_or_leaves_of_another_kind_are_found(
    scene: ViewingScene, browser: TestClient, name: str, chunk: int | None
) -> None:
    scene.grant(name)
    saved = scene.saved(name)
    if name == "SHORT.MP4":
        damage(saved.path, lambda content: content[:-1])
    else:
        [leaves] = scene.vault.rglob("LEAVES.MP4.leaves")
        damage(leaves, flipped(32 + 5))  # chunk 1's leaf, which is in the proof of chunk 0
    address = begin(browser, saved.recording)
    assert browser.get(f"{address}/footage").status_code == 502
    assert stated(scene, FootageMismatched)[-1].chunk == chunk
    assert stated(scene, FootageViewed)[-1].bytes_streamed == 0


# --- the station alone ---


class Caller:
    """Whoever has the hub's keys and talks to the station directly."""

    def __init__(self, scene: ViewingScene, name: str, grant_id: str) -> None:
        self.scene, self.key = scene, scene.hub.keys.commands
        saved = scene.saved(name)
        viewing_id = book.start_viewing(scene.hub.db, scene.hub.keys, HOLDER, saved.recording, now_utc())
        with scene.hub.db.read() as connection:
            self.viewing = book.load_viewing(connection, HOLDER, viewing_id)
            size = log.read_head(connection).size
            path = tuple(log.prove_inclusion(connection, self.viewing.started_index, size))
            proof = LogProof(self.viewing.started_index, path, log.newest_note(connection))
        self.request = ChunkRequest(
            station=STATION, challenge="0" * 32, nonce="", grant_id=grant_id, viewing_id=viewing_id, holder=HOLDER.name,
            docking=saved.docking, file_sha256=Sha256Hex(saved.sha256), first_chunk=0, chunks=1,
            started=self.viewing.started.decode(), started_proof=proof.text,
        )  # fmt: skip

    def ask(self, **changes: Any) -> str:
        """The code of the answer, or ``served``; with the challenge of now unless another one is given."""
        request = replace(self.request, nonce=secrets.token_hex(16))
        if "challenge" not in changes:
            changes["challenge"] = json.loads(self.post(seal_request(request, self.key))[1])["challenge"]
        self.last = seal_request(replace(request, **changes), self.key)
        return self.code(self.last)

    def request_now(self) -> ChunkRequest:
        """One that was never sent, with no challenge of the station's."""
        return replace(self.request, nonce=secrets.token_hex(16))

    def code(self, raw: bytes) -> str:
        status, body = self.post(raw)
        return "served" if status == 200 else str(json.loads(body)["code"])

    def post(self, raw: bytes, path: str = PATH, method: str = "POST") -> tuple[int, bytes]:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with closing(http.client.HTTPSConnection("127.0.0.1", self.scene.port, context=context)) as line:
            line.request(method, path, raw)
            answer = line.getresponse()
            try:
                return answer.status, answer.read()
            except http.client.IncompleteRead:  # the grant ended after the answer had begun
                return answer.status, b""

    def close(self) -> None:
        book.end_viewing(self.scene.hub.db, self.scene.hub.keys, self.viewing.id, "closed", now_utc())


def test_what_a_station_refuses(scene: ViewingScene) -> None:
    grant_id = scene.grant("GOOD.MP4")
    caller = Caller(scene, "GOOD.MP4", grant_id)
    assert caller.ask() == "served"
    assert caller.code(caller.last) == "replayed"
    assert caller.ask(challenge="1" * 32) == "stale"
    assert caller.ask(first_chunk=CHUNKS - 1, chunks=2) == "bad_range"
    # what the log states is another viewing than what is asked for
    for changed in ({"holder": "other"}, {"docking": "d"}, {"file_sha256": "cd" * 32}, {"grant_id": caller.viewing.id}):
        assert caller.ask(**changed) == "not_logged"
    # a stolen command key, and a log of one's own
    thief = SigningKey.from_seed(scene.hub.keys.log.name, b"t" * 32)
    note = sign_checkpoint(Checkpoint(thief.name, 1, leaf_hash(caller.viewing.started)), thief)
    assert caller.ask(started_proof=LogProof(0, (), note).text) == "not_logged"
    raw = seal_request(caller.request_now(), SigningKey.from_seed("somebody", b"s" * 32))
    assert caller.code(raw) == "bad_signature"
    assert caller.code(b"{}") == "bad_format"
    assert caller.code(b" " * 70_000) == "too_long"
    for path, method in (("/", "GET"), (PATH, "GET"), ("/viewing/1/chunks/..", "POST")):
        assert caller.post(b"", path, method)[0] == 404
    # the log knows it, the station does not: an entry of ours about a grant that was never given
    with scene.hub.db.begin() as tx, log.appending(tx, scene.hub.keys, now_utc()) as entries:
        facts = {name: getattr(read(caller), name) for name in
                 ("account", "recording", "purpose", "station", "docking_id", "file_sha256")}  # fmt: skip
        index = entries.record(FootageViewStarted, viewing_id="v", grant_id="made up", **facts)
    with scene.hub.db.read() as connection:
        raw_entry = connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
        path_ = tuple(log.prove_inclusion(connection, index, log.read_head(connection).size))
        proof = LogProof(index, path_, log.newest_note(connection)).text
    made_up = {"viewing_id": "v", "grant_id": "made up", "started": bytes(raw_entry).decode(), "started_proof": proof}
    assert caller.ask(**made_up) == "grant_unknown"
    scene.revoke(grant_id)
    assert caller.ask() == "revoked"
    with scene.hub.db.begin() as tx:  # no row of it: the entry was made for this test alone
        write_hub_rows(tx, read_events(tx, [index])[index], index, to_text(log.times_of(tx, [index])[index]))
    book.end_viewing(scene.hub.db, scene.hub.keys, "v", "closed", now_utc())
    caller.close()
    check(scene)


def read(caller: Caller) -> FootageViewStarted:
    with caller.scene.hub.db.read() as connection:
        event = read_events(connection, [caller.viewing.started_index])[caller.viewing.started_index]
    assert isinstance(event, FootageViewStarted)
    return event


def test_a_grant_that_is_over_stays_over_whatever_the_clock_says(scene: ViewingScene) -> None:
    grant_id = scene.grant("OTHER.MP4", seconds=2)
    caller = Caller(scene, "OTHER.MP4", grant_id)
    assert caller.ask() == "served"
    until(lambda: caller.ask() == "expired")
    with scene.store() as store:
        grant, mark = find_grant(store, grant_id), load_mark(store)
    assert grant is not None
    assert mark is not None
    assert mark.at >= grant.over_at  # noted for ever: another boot, and a clock that was set back
    for boot in (grant.received.uptime, Uptime("another", 1.0)):
        assert why_not_good(grant, mark, grant.received.at - timedelta(days=3), "synchronised", boot) == "expired"
    assert why_not_good(grant, None, grant.received.at, "synchronised", Uptime("another", 1.0)) is None  # the control
    caller.close()


def test_requests_end_with_the_process_that_gave_their_challenge(scene: ViewingScene) -> None:
    """In a process of its own life each: neither the old challenge nor an old request counts after a restart."""
    grant_id = scene.grant("GOOD.MP4")
    caller = Caller(scene, "GOOD.MP4", grant_id)
    with in_process(scene) as port:
        there = at_port(caller, port)
        assert there.ask() == "served"
        old = there.last
    with in_process(scene) as port:
        there = at_port(caller, port)
        assert there.code(old) == "stale"
        assert there.ask() == "served"
    caller.close()


def at_port(caller: Caller, port: int) -> Caller:
    """The same caller at another server of the same station."""

    class There:
        hub, port = caller.scene.hub, 0

    there = Caller.__new__(Caller)
    there.__dict__ |= caller.__dict__
    There.port = port
    there.scene = There()  # type: ignore[assignment]
    return there


@contextmanager
def in_process(scene: ViewingScene, **limits: Any) -> Iterator[int]:
    """The station's server within this process, with other limits; its port."""
    ground, port = scene.ground(), free_port()
    app = ViewingApp(ground, **limits)
    pem = scene.agent_dir / CERTIFICATE_FILE
    config = uvicorn.Config(
        app, port=port, log_level="error", lifespan="off", ws="none", ssl_certfile=pem, ssl_keyfile=pem,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve()))
    thread.start()
    try:
        until(lambda: server.started)
        yield port
    finally:
        server.should_exit = True
        thread.join()
        app.close()
        ground.store.close()


def test_a_reader_that_takes_nothing_is_cut_off_and_frees_its_stream(scene: ViewingScene) -> None:
    caller = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    with in_process(scene, streams=1, stalled_seconds=0.5) as port:
        there = at_port(caller, port)
        assert there.ask(chunks=CHUNKS) == "served"
        request = replace(
            there.request, nonce=secrets.token_hex(16), chunks=CHUNKS,
            challenge=json.loads(there.post(seal_request(caller.request_now(), caller.key))[1])["challenge"],
        )  # fmt: skip
        raw = seal_request(request, caller.key)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with socket.socket() as plain:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)  # before the window is told
            plain.connect(("127.0.0.1", port))
            with context.wrap_socket(plain) as line:
                head = f"POST {PATH} HTTP/1.1\r\nhost: x\r\ncontent-length: {len(raw)}\r\n\r\n"
                line.sendall(head.encode() + raw)
                assert line.recv(15) == b"HTTP/1.1 200 OK"  # and takes nothing more
                assert there.ask() == "busy"
                until(lambda: there.ask() == "served")
    caller.close()


# --- the line between them ---


def test_the_hub_talks_to_the_stated_certificate_only(scene: ViewingScene) -> None:
    caller = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    db, keys = scene.hub.db, scene.hub.keys
    assert len(next(fetch_chunks(db, keys, caller.viewing, 0, CHUNKS))) == CHUNK_BYTES
    with scene.hub.db.read() as connection:
        assert find_place(connection, "dock-nowhere") is None
    with scene.store() as store:
        state_offer(store, scene.station, scene.address, scene.certificate)  # the same: nothing new is stated
        before = store.head().seq
        state_offer(store, scene.station, scene.address, Sha256Hex("ab" * 32))
        assert store.head().seq == before + 1
    scene.deliver()
    with pytest.raises(StationAway, match="another certificate"):
        next(fetch_chunks(db, keys, caller.viewing, 0, CHUNKS))
    with scene.store() as store:
        state_offer(store, scene.station, "", None)
    scene.deliver()
    with pytest.raises(StationAway, match="has not said where"):
        next(fetch_chunks(db, keys, caller.viewing, 0, CHUNKS))
    with scene.store() as store:
        state_offer(store, scene.station, f"127.0.0.1:{free_port()}", scene.certificate)
    scene.deliver()
    with pytest.raises(StationAway):
        next(fetch_chunks(db, keys, caller.viewing, 0, CHUNKS))
    with scene.store() as store:
        state_offer(store, scene.station, scene.address, scene.certificate)
    scene.deliver()
    assert len(list(fetch_chunks(db, keys, caller.viewing, 0, CHUNKS))) == CHUNKS
    caller.close()


def test_where_a_station_serves_is_a_setting(scene: ViewingScene, tmp_path: Path) -> None:
    assert load_settings(scene.agent_dir).viewing_address() == ("127.0.0.1", scene.port)
    path, digest = load_or_create_certificate(scene.agent_dir, STATION)
    assert (digest, path.stat().st_mode & 0o777) == (scene.certificate, 0o600)
    for wrong in ('"8443"', '"host:"', '"host:0"', '"host:99999"', '"a b:1"', "8443", '"http://host:1"'):
        (tmp_path / "agent.toml").write_text(f'vault = "vault"\nviewing = {wrong}\n')
        with pytest.raises(SettingsInvalid):
            load_settings(tmp_path)
    (tmp_path / "agent.toml").write_text('vault = "vault"\nviewing = "[fd00::1]:8443"\n')
    assert load_settings(tmp_path).viewing_address() == ("fd00::1", 8443)


# --- the book ---


def test_whatever_the_hub_dies_of_the_end_is_stated_with_no_less_than_was_sent(scene: ViewingScene) -> None:
    caller = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    meter = Meter(scene.hub.db, caller.viewing)
    meter.admit(0, CHUNK_BYTES)
    meter.admit(1, 1000)  # and here the hub dies
    assert book.end_left_open(scene.hub.db, scene.hub.keys, now_utc()) == 1
    viewed = stated(scene, FootageViewed)[-1]
    assert (viewed.reason, viewed.exact, viewed.bytes_streamed) == ("hub_stopped", False, RESERVED_BYTES)
    assert viewed.chunks_streamed == CHUNKS  # at most all
    assert book.end_left_open(scene.hub.db, scene.hub.keys, now_utc()) == 0
    assert not book.end_viewing(scene.hub.db, scene.hub.keys, caller.viewing.id, "closed", now_utc())


def test_an_idle_viewing_ends(scene: ViewingScene) -> None:
    caller = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    assert book.end_overdue(scene.hub.db, scene.hub.keys, now_utc()) == 0
    assert book.end_overdue(scene.hub.db, scene.hub.keys, now_utc() + IDLE + timedelta(seconds=1)) == 1
    assert stated(scene, FootageViewed)[-1].reason == "idle"
    assert caller.ask() == "served"  # at the station the grant is what counts


def check_changed(scene: ViewingScene, change: Any) -> None:
    """Check the log with this change made, which an alarm takes back."""
    with scene.hub.db.begin() as tx:
        assert tx.execute(change).rowcount > 0
        check_log(tx, scene.hub.keys, 480)


def test_rows_follow_from_the_log_and_come_back_from_it(scene: ViewingScene) -> None:
    open_ = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    with scene.hub.db.read() as connection:
        stored = connection.execute(select(viewing).order_by(viewing.c.id)).all()
        kinds = (FootageViewStarted.TYPE, FootageViewed.TYPE)
        indexes = connection.execute(select(log_entry.c.idx).where(log_entry.c.event_type.in_(kinds))).scalars().all()
        events, times = read_events(connection, indexes), log.times_of(connection, indexes)
    assert len(stored) > 5
    for change in (
        update(viewing).where(viewing.c.id == open_.viewing.id).values(account="somebody"),
        update(viewing).where(viewing.c.ended_at.is_not(None)).values(bytes_streamed=1),
        delete(viewing).where(viewing.c.id == open_.viewing.id),
    ):
        with pytest.raises(LogUntrusted, match="viewing_altered"):
            check_changed(scene, change)
    with scene.hub.db.begin() as tx:
        tx.execute(delete(viewing))
        for index in sorted(events):
            write_hub_rows(tx, events[index], index, to_text(times[index]))
        check_log(tx, scene.hub.keys, 480)
        assert len(tx.execute(select(viewing)).all()) == len(stored)
    open_.close()
    check(scene)


def test_an_event_of_a_viewing_cannot_be_a_stations(scene: ViewingScene) -> None:
    """A station that states a viewing in its own name proves nothing to itself: `source` is looked at."""
    caller = Caller(scene, "GOOD.MP4", scene.grant("GOOD.MP4"))
    event = replace(read(caller), source=STATION)
    raw = seal_event(event, scene.station.key)
    note = sign_checkpoint(Checkpoint(scene.hub.keys.log.name, 1, leaf_hash(raw)), scene.hub.keys.log)
    assert caller.ask(started=raw.decode(), started_proof=LogProof(0, (), note).text) == "not_logged"
    caller.close()


def test_a_mark_raised_meanwhile_ends_the_viewing(scene: ViewingScene, browser: TestClient) -> None:
    """The last test: from here on the holder may not know this recording."""
    scene.grant("OTHER.MP4")
    recording = scene.saved("OTHER.MP4").recording
    address = begin(browser, recording)
    part = {"range": "bytes=0-99"}
    assert browser.get(f"{address}/footage", headers=part).status_code == 206
    marker = Actor("marker", Role.APPROVING_LEADER, must_change_password=False)
    raise_mark(scene.hub.db, scene.hub.keys, marker, [recording], "privacy", now_utc())
    assert browser.get(f"{address}/footage", headers=part).status_code == 410
    assert stated(scene, FootageViewed)[-1].reason == "grant_over"
    assert browser.get(f"/recordings/{recording}/viewing").status_code == 404
