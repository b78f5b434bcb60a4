"""The log as tlog-tiles: what the hub serves to whom, and two programs that share no code with it and accept it."""

from __future__ import annotations

import ast
import gzip
import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
import uvicorn
from starlette.testclient import TestClient

from custody.merkle import consistency_proof, inclusion_proof
from custody.tiles import ENTRIES, Tile, read_size, root_of, tiles_of
from hub import log
from hub.app import main
from hub.audit.readers import add_reader, list_readers, revoke_reader
from hub.errors import Conflict, Invalid, NotFound
from hub.logcheck import check_log
from hub.times import now_utc
from tests.independent import reader
from tests.integration.site_data import Hub
from tests.integration.web_peer import client, signed_in
from tests.ports import free_port

GO_SOURCE = Path(reader.__file__).parent / "tlog"
SIZES = (1, 3, 255, 256, 257, 600)


@pytest.fixture(scope="module")
def hub(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub whose log has grown through all of `SIZES`, and stands at 600 entries and some."""
    made = Hub(tmp_path_factory.mktemp("hub"))
    story = made.station("dock-1")
    sent = [story.dock("019c5a10-1111-7000-8000-000000000001", "DSJ-1", "1", 600, 1)]
    sent += [story.file("DSJ-1", "1", f"DCIM/{i:04}.MP4", story.at) for i in range(600)]
    at = 1
    for size in SIZES:
        made.take("dock-1", *sent[at - 1 : size - 1])
        at = size
        (made_checkpoints(made) / str(size)).write_text(note_of(made), encoding="utf-8")
    yield made
    made.close()


def made_checkpoints(hub: Hub) -> Path:
    folder = Path(hub.db.writer.url.database or "").parent / "checkpoints"
    folder.mkdir(exist_ok=True)
    return folder


def note_of(hub: Hub) -> str:
    with hub.db.read() as connection:
        return log.newest_note(connection)


@pytest.fixture(scope="module")
def token(hub: Hub) -> str:
    return add_reader(hub.db, hub.keys, "monitor-1")


@pytest.fixture(scope="module")
def prefix(hub: Hub) -> Iterator[str]:
    """The hub on a real port."""
    port = free_port()
    server = uvicorn.Server(uvicorn.Config(hub.app, "127.0.0.1", port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    until = time.monotonic() + 60
    while not server.started and time.monotonic() < until:
        time.sleep(0.02)
    yield f"http://127.0.0.1:{port}/log"
    server.should_exit = True
    thread.join()


def bearer(token: str) -> dict[str, str]:
    return {"authorization": f"Bearer {token}"}


# --- what is served ---


def test_every_tile_of_every_size_is_served_for_ever(hub: Hub) -> None:
    anonymous = client(hub.app)
    for size in SIZES:
        for tile in tiles_of(size):
            answer = anonymous.get(f"/log/{tile.path}")
            assert (answer.status_code, answer.headers["content-type"]) == (200, "application/octet-stream"), tile
            assert len(answer.content) == tile.width * 32
            assert answer.headers["cache-control"] == "public, max-age=31536000, immutable"
        subtree = read_size(lambda tile: anonymous.get(f"/log/{tile.path}").content, size)
        saved = (made_checkpoints(hub) / str(size)).read_text(encoding="utf-8")
        checkpoint = reader.open_checkpoint(saved, hub.keys.log.verify_key.line)
        assert (checkpoint.size, checkpoint.root) == (size, root_of(size, subtree))
    note = anonymous.get("/log/checkpoint")
    assert note.headers["content-type"] == "text/plain; charset=utf-8"
    assert note.headers["cache-control"] == "no-store"


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("tile/0/000", 200),
        ("tile/0/002.p/90", 404),  # not yet
        ("tile/0/002", 404),
        ("tile/0/003.p/1", 404),
        ("tile/3/000.p/1", 404),
        ("tile/63/x001/000", 404),
        ("tile/64/000", 400),
        ("tile/0/0", 400),
        ("tile/0/x000/000", 400),
        ("tile/0/000.p/256", 400),
        ("tile/0/000.p/0", 400),
        ("tile/0/000/", 400),
        ("tile/0/%30%30%30", 400),  # one address for one tile
        ("tile/", 400),
        ("tile/entries/000", 200),
        ("tile/entries/002.p/90", 404),
        ("tile/entries/x001/000", 404),
        ("tile/entries/00", 400),
        ("tile/%65ntries/000", 400),
    ],
)
def test_addresses(hub: Hub, token: str, path: str, status: int) -> None:
    answer = client(hub.app).get(f"/log/{path}", headers=bearer(token))
    assert answer.status_code == status
    if status != 200:
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["content-type"] == "application/problem+json"


def test_entries_are_for_people_who_may_see_the_log_and_for_readers(hub: Hub, token: str) -> None:
    path = "/log/tile/entries/000"
    anonymous = client(hub.app)
    for headers in ({}, bearer("wrong"), {"authorization": f"Basic {token}"}, {"authorization": "Bearer"}):
        answer = anonymous.get(path, headers=headers)
        assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert answer.json()["code"] == "not_signed_in"
    by_token = anonymous.get(path, headers=bearer(token))
    assert by_token.headers["cache-control"] == "private, max-age=31536000, immutable"
    assert anonymous.get("/log/entries/0", headers=bearer(token)).status_code == 303, "a token opens nothing else"
    for name, role, status in (("shenji", "auditor", 200), ("guanli", "administrator", 200), ("li", "officer", 403)):
        answer = signed_in(hub, name, role).get(path)
        assert answer.status_code == status
        assert answer.headers["cache-control"] == "no-store"
        assert status != 200 or answer.content == by_token.content


def test_bundles_are_compressed_for_whoever_takes_that(hub: Hub, token: str) -> None:
    with TestClient(hub.app) as plain:
        told = bearer(token)
        packed = plain.get("/log/tile/entries/000", headers=told | {"accept-encoding": "gzip"})
        whole = plain.get("/log/tile/entries/000", headers=told | {"accept-encoding": "identity"})
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < len(whole.content) // 2
    assert packed.content == whole.content, "the client has unpacked it"
    assert gzip.compress(whole.content, 1, mtime=0)
    assert "content-encoding" not in whole.headers


def test_readers_come_and_go_by_events(hub: Hub) -> None:
    first = add_reader(hub.db, hub.keys, "monitor-2")
    answer = client(hub.app).get("/log/tile/entries/000", headers=bearer(first))
    assert answer.status_code == 200
    with pytest.raises(Conflict):
        add_reader(hub.db, hub.keys, "monitor-2")
    with pytest.raises(Invalid):
        add_reader(hub.db, hub.keys, "a b")
    revoke_reader(hub.db, hub.keys, "monitor-2")
    with pytest.raises(NotFound):
        revoke_reader(hub.db, hub.keys, "monitor-2")
    assert client(hub.app).get("/log/tile/entries/000", headers=bearer(first)).status_code == 401
    assert [r.revoked_at is None for r in list_readers(hub.db) if r.name == "monitor-2"] == [False]
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)  # their rows follow from the log


def test_reader_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    place = ["--dir", str(tmp_path / "hub")]
    main(["init", *place])
    main(["log", "reader", "add", "monitor", *place])
    assert "token: " in capsys.readouterr().out
    main(["log", "reader", "list", *place])
    assert capsys.readouterr().out.endswith("good\n")
    main(["log", "reader", "revoke", "monitor", *place])
    main(["log", "reader", "list", "--json", *place])
    assert '"revoked_at": "20' in capsys.readouterr().out


# --- programs that share no code with us ---


def test_the_second_reader_shares_no_code_with_us() -> None:
    tree = ast.parse(Path(reader.__file__).read_text(encoding="utf-8"))
    names = {a.name for node in ast.walk(tree) if isinstance(node, ast.Import) for a in node.names}
    names |= {node.module or "." for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    tops = {name.partition(".")[0] for name in names}
    assert tops - set(sys.stdlib_module_names) == {"cryptography"}


def test_the_second_reader_accepts_the_log(hub: Hub, token: str, prefix: str) -> None:
    key = hub.keys.log.verify_key.line
    read = reader.Log(reader.from_url(prefix, token), key)
    size = read.checkpoint.size
    assert read.check_entries() == size >= 600
    for old_size in SIZES:
        old = reader.open_checkpoint((made_checkpoints(hub) / str(old_size)).read_text(encoding="utf-8"), key)
        read.check_grew_from(old)
        with hub.db.read() as connection:
            proof = consistency_proof(old.size, size, log.stored_subtrees(connection))
        roots = reader.roots_along_proof(old.size, size, proof, old.root, True)
        assert roots == (old.root, read.checkpoint.root)
    for index in (0, 1, 254, 255, 256, 511, 512, size - 1):
        with hub.db.read() as connection:
            path = inclusion_proof(index, size, log.stored_subtrees(connection))
        assert reader.root_along_path(index, size, read.leaves[index], path) == read.checkpoint.root


def test_the_second_reader_accepts_a_proof_to_hand_out(hub: Hub) -> None:
    browser = signed_in(hub, "ren", "auditor")
    for index in (0, 255, 599):
        proof = browser.get(f"/log/entries/{index}/proof").text
        envelope = browser.get(f"/log/entries/{index}/envelope").content
        assert reader.check_proof_file(proof, envelope, hub.keys.log.verify_key.line) == index
        with pytest.raises(reader.Wrong):
            reader.check_proof_file(proof, envelope + b" ", hub.keys.log.verify_key.line)


def test_the_second_reader_finds_what_was_changed(hub: Hub, tmp_path: Path, prefix: str, token: str) -> None:
    get, key = reader.from_url(prefix, token), hub.keys.log.verify_key.line
    size = reader.open_checkpoint(get("checkpoint").decode(), key).size
    paths = ["checkpoint", *(tile.path for tile in tiles_of(size))]
    paths += [Tile(ENTRIES, t.index, t.width).path for t in tiles_of(size) if t.level == 0]
    for path in paths:
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_bytes(get(path))
    command = [sys.executable, "-m", "tests.independent.reader", str(tmp_path), key]
    told = subprocess.run(command, capture_output=True, text=True, check=True)
    assert told.stdout == f"{size} entries, all under the checkpoint\n"
    for path in paths:
        whole = (tmp_path / path).read_bytes()
        (tmp_path / path).write_bytes(whole[:40] + bytes([whole[40] ^ 1]) + whole[41:])
        with pytest.raises((reader.Wrong, ValueError)):
            reader.Log(reader.from_folder(tmp_path), key).check_entries()
        (tmp_path / path).write_bytes(whole)


@pytest.fixture(scope="module")
def go_reader(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The Go program over sumdb/note and sumdb/tlog; built in about 4 s, in a tenth of it from the build cache."""
    if shutil.which("go") is None or not Path("/usr/share/gocode/src/golang.org/x/mod/sumdb").is_dir():
        pytest.skip("no Go with golang.org/x/mod is installed")
    program = tmp_path_factory.mktemp("go") / "tlog"
    debian = {"GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "GOFLAGS": "", "CGO_ENABLED": "0"}
    subprocess.run(["go", "build", "-o", program, "."], cwd=GO_SOURCE, env=os.environ | debian, check=True)
    return program


def test_gos_own_packages_accept_the_log(hub: Hub, token: str, prefix: str, go_reader: Path, tmp_path: Path) -> None:
    handed_out, browser = [], signed_in(hub, "guo", "auditor")
    for index in (0, 300, 599):
        for kind in ("proof", "envelope"):
            path = tmp_path / f"{index}.{kind}"
            path.write_bytes(browser.get(f"/log/entries/{index}/{kind}").content)
            handed_out.append(str(path))
    for old in SIZES:
        command = [str(go_reader), prefix, hub.keys.log.verify_key.line, token, str(made_checkpoints(hub) / str(old))]
        done = subprocess.run([*command, *handed_out], capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        assert done.stdout.startswith(f'{{"old":{old},"proofs":3,"size":')


def test_gos_own_packages_refuse_another_history(
    hub: Hub, token: str, prefix: str, go_reader: Path, tmp_path: Path
) -> None:
    other = Hub(tmp_path)
    other.keys = hub.keys
    with other.db.begin() as tx:
        tx.exec_driver_sql("DELETE FROM log_state")
        tx.exec_driver_sql("DROP TRIGGER checkpoint_no_delete")
        tx.exec_driver_sql("DELETE FROM checkpoint")
        log.create(tx, hub.keys, now_utc())
    other.account("somebody")
    (tmp_path / "other").write_text(note_of(other), encoding="utf-8")
    other.close()
    command = [str(go_reader), prefix, hub.keys.log.verify_key.line, token, str(tmp_path / "other")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    assert "invalid transparency proof" in done.stderr


def test_the_served_checkpoint_is_not_older_than_the_tiles(hub: Hub, prefix: str) -> None:
    """Whoever reads a checkpoint finds at once every tile that it speaks of."""
    note = httpx2.get(f"{prefix}/checkpoint").text
    size = reader.open_checkpoint(note, hub.keys.log.verify_key.line).size
    assert all(httpx2.get(f"{prefix}/{tile.path}").status_code == 200 for tile in tiles_of(size))
