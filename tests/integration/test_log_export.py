"""`dock-hub log export` and the check that is kept: files, mirrors that foreign readers accept, every step broken."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select

from custody.tiles import Tile
from hub.app import main
from hub.audit import mirror
from hub.audit.export import hand_over, jsonl_parts, state_export
from hub.audit.queries import read_event, read_last_check
from hub.audit.selection import EntryFilter
from hub.tables import log_entry
from tests.independent import reader
from tests.integration.hubs import drop_triggers
from tests.integration.site_data import Hub, Story
from tests.integration.web_peer import form_token, signed_in
from tests.ports import free_port


@pytest.fixture
def place(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    """A hub's directory with 300 entries, made as an operator makes it."""
    directory = tmp_path / "hub"
    main(["init", "--dir", str(directory), "--id", "test"])
    grow(directory, 300)
    capsys.readouterr()
    return directory


def grow(directory: Path, files: int) -> None:
    hub = Hub(directory)
    try:
        story = hub.station(f"dock-{len(events(hub))}")
        sent = [story.dock("019c5a10-1111-7000-8000-000000000001", "DSJ-1", "1", files, 1)]
        sent += [story.file("DSJ-1", "1", f"DCIM/{i:04}.MP4", story.at) for i in range(files)]
        hub.take(story.name, *sent)
    finally:
        hub.close()


def events(hub: Hub) -> list[Any]:
    with hub.db.read() as connection:
        raws = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx)).scalars().all()
    return [read_event(bytes(raw)) for raw in raws]


def events_in(directory: Path) -> list[Any]:
    hub = Hub(directory)
    try:
        return events(hub)
    finally:
        hub.close()


def log_key(directory: Path) -> str:
    hub = Hub(directory)
    try:
        return hub.keys.lines["log"]
    finally:
        hub.close()


def run(*words: str | Path) -> int:
    try:
        main([str(word) for word in words])
    except SystemExit as ended:
        return int(ended.code or 0)
    return 0


# --- files ---


def test_a_file_is_whole_or_not_there(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    target = tmp_path / "log.jsonl"
    size = len(events_in(place))
    assert run("log", "export", "--dir", place, "--to", target, "--from", "290", "--json") == 0
    said = json.loads(capsys.readouterr().out)
    lines = [json.loads(line) for line in target.read_text("utf-8").splitlines()]
    assert [line["index"] for line in lines] == list(range(290, size))
    assert said["entries"] == len(lines)
    stated, finished = events_in(place)[-2:]
    assert (stated.first_index, stated.log_size, stated.entries) == (290, size, len(lines))
    assert stated.account
    assert finished.complete
    assert run("log", "export", "--dir", place, "--to", target) == 1, "never overwritten"
    assert len(events_in(place)) == size + 2, "and nothing said"
    assert run("log", "export", "--dir", place, "--to", tmp_path / "no" / "folder") == 1
    assert run("log", "export", "--dir", place, "--to", tmp_path / "x", "--period", "1", "2") == 1
    assert run("log", "export", "--dir", place) == 1


def test_csv_of_a_kind_in_english(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "log.csv"
    words = ("--format", "csv", "--lang", "en", "--type", "docking.started.v1")
    assert run("log", "export", "--dir", place, "--to", target, *words) == 0
    text = target.read_bytes().decode("utf-8-sig").splitlines()
    assert text[0].startswith("Index,")
    assert len(text) == 2
    assert "Began to offload camera DSJ-1 in bay 1" in text[1]


def test_to_a_pipe_that_breaks_the_log_says_so(place: Path) -> None:
    program = [sys.executable, "-c", "from hub.app import main; main()", "log", "export", "--dir", place, "--to", "-"]
    with subprocess.Popen([str(word) for word in program], stdout=subprocess.PIPE, stderr=subprocess.PIPE) as child:
        assert child.stdout is not None
        assert child.stderr is not None
        assert json.loads(child.stdout.readline())["index"] == 0
        child.stdout.close()
        child.stderr.read()
        assert child.wait(60) == 1
    finished = events_in(place)[-1]
    assert (finished.complete, finished.reason, finished.sha256) == (False, "target_failed", None)


def test_a_full_disk_leaves_no_file_under_the_name(place: Path, tmp_path: Path) -> None:
    target = tmp_path / "log.jsonl"
    (tmp_path / "log.jsonl.part").symlink_to("/dev/full")
    assert run("log", "export", "--dir", place, "--to", target) == 1
    assert not target.exists()
    finished = events_in(place)[-1]
    assert (finished.complete, finished.reason) == (False, "target_failed")


def test_a_reader_that_goes_away_is_stated(place: Path) -> None:
    hub = Hub(place)
    try:
        stated = state_export(hub.db, hub.keys, "wang", "jsonl", EntryFilter())
        handed = hand_over(hub.db, hub.keys, stated, jsonl_parts(hub.db, stated.indexes))
        next(handed)
        handed.close()
        finished = events(hub)[-1]
        assert (finished.export_id, finished.reason, finished.size_bytes) == (stated.export_id, "reader_gone", 0)
    finally:
        hub.close()


@pytest.fixture
def serving(place: Path) -> Iterator[tuple[Hub, int]]:
    """The hub on a real port."""
    hub, port = Hub(place), free_port()
    server = uvicorn.Server(uvicorn.Config(hub.app, "127.0.0.1", port, log_config=None, access_log=False))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started and thread.is_alive():
        time.sleep(0.02)
    yield hub, port
    server.should_exit = True
    thread.join()
    hub.close()


def test_a_browser_that_breaks_off_in_the_middle_is_stated(serving: tuple[Hub, int]) -> None:
    hub, port = serving
    add_bulk(hub, 6_000)  # more than the buffers of both sides take
    browser = signed_in(hub)
    form = f"form_token={form_token(browser.get('/log').text)}&format=jsonl"
    cookie = "; ".join(f"{name}={value}" for name, value in browser.cookies.items())
    with socket.socket() as line:
        line.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        line.connect(("127.0.0.1", port))
        head = f"POST /log/export HTTP/1.1\r\nhost: x\r\ncookie: {cookie}\r\ncontent-length: {len(form)}\r\n"
        line.sendall(f"{head}content-type: application/x-www-form-urlencoded\r\n\r\n{form}".encode())
        assert line.recv(15) == b"HTTP/1.1 200 OK"
    until = time.monotonic() + 60
    while (finished := events(hub)[-1]).TYPE != "log.export_finished.v1" and time.monotonic() < until:
        time.sleep(0.05)
    assert (finished.complete, finished.reason) == (False, "reader_gone")
    assert finished.sha256 is None


def add_bulk(hub: Hub, files: int) -> None:
    story = hub.station("dock-bulk")
    hub.take(story.name, *dockings(story, files))


def dockings(story: Story, files: int) -> list[bytes]:
    sent = [story.dock("019c5a10-1111-7000-8000-000000000009", "DSJ-2", "1", files, 1)]
    return sent + [story.file("DSJ-2", "1", f"DCIM/{i:05}.MP4", story.at) for i in range(files)]


# --- mirrors ---


def check_mirror(folder: Path, key: str) -> int:
    """By the reader that shares no code with us."""
    return reader.Log(reader.from_folder(folder), key).check_entries()


def test_a_mirror_is_accepted_and_grows(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, key = tmp_path / "mirror", log_key(place)
    size = len(events_in(place))
    assert run("log", "export", "--dir", place, "--tiles", folder, "--json") == 0
    assert json.loads(capsys.readouterr().out)["size"] == size
    assert check_mirror(folder, key) == size
    old = reader.open_checkpoint((folder / "checkpoint").read_text("utf-8"), key)
    stamps = {path: path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}
    grow(place, 400)
    assert run("log", "export", "--dir", place, "--tiles", folder) == 0
    log = reader.Log(reader.from_folder(folder), key)
    assert log.check_entries() == len(events_in(place)) - 2  # the two statements of this very export come after it
    log.check_grew_from(old)
    full = folder / Tile(0, 0).path
    assert full.stat().st_mtime_ns == stamps[full], "a full tile is not written again"
    stated, finished = events_in(place)[-2:]
    assert (stated.format, stated.first_index, finished.complete) == ("tiles", size, True)


@pytest.mark.skipif(
    shutil.which("go") is None or not Path("/usr/share/gocode/src/golang.org/x/mod/sumdb").is_dir(),
    reason="needs Debian's golang and golang-golang-x-mod-dev; deploy/check installs them",
)
def test_go_accepts_a_mirror_behind_any_web_server(place: Path, tmp_path: Path) -> None:
    folder, key = tmp_path / "mirror", log_key(place)
    assert run("log", "export", "--dir", place, "--tiles", folder) == 0
    port = free_port()
    server = subprocess.Popen(
        [sys.executable, "-m", "http.server", "--bind", "127.0.0.1", "--directory", str(folder), str(port)],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        until = time.monotonic() + 60
        while time.monotonic() < until:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.05)
        done = go_reader(f"http://127.0.0.1:{port}", key)
        assert done.returncode == 0, done.stdout + done.stderr
        path = folder / Tile(0, 0).path
        path.write_bytes(path.read_bytes()[:-1] + b"x")
        assert go_reader(f"http://127.0.0.1:{port}", key).returncode != 0
    finally:
        server.terminate()
        server.wait()


def go_reader(prefix: str, key: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["go", "run", ".", prefix, key, "no-token"],
        cwd=Path(reader.__file__).parent / "tlog",
        env=os.environ | {"GOFLAGS": "", "GO111MODULE": "off", "GOPATH": "/usr/share/gocode", "CGO_ENABLED": "0"},
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def test_a_mirror_of_another_history_is_refused_and_left_alone(place: Path, tmp_path: Path) -> None:
    other, folder = tmp_path / "other", tmp_path / "mirror"
    main(["init", "--dir", str(other), "--id", "test"])
    grow(other, 5)
    assert run("log", "export", "--dir", other, "--tiles", folder) == 0
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    size = len(events_in(place))
    assert run("log", "export", "--dir", place, "--tiles", folder) == 1
    assert {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()} == before
    assert len(events_in(place)) == size, "nothing was handed out, so nothing is said"
    (tmp_path / "things").mkdir()
    (tmp_path / "things" / "letter").touch()
    assert run("log", "export", "--dir", place, "--tiles", tmp_path / "things") == 1


@pytest.mark.parametrize("stop", range(8))
def test_a_mirror_cut_off_anywhere_still_verifies_and_goes_on(
    place: Path, tmp_path: Path, stop: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk refuses the file number `stop`: what the checkpoint promises is there, and the next run mends it."""
    folder, key = tmp_path / "mirror", log_key(place)
    assert run("log", "export", "--dir", place, "--tiles", folder) == 0
    grow(place, 400)
    size = len(events_in(place))
    written = 0
    real = Path.rename

    def rename(self: Path, target: Path) -> Path:
        nonlocal written
        if folder in self.parents:
            written += 1
            if written > stop:
                raise OSError(28, "No space left on device")
        return real(self, target)

    with monkeypatch.context() as patch:
        patch.setattr(Path, "rename", rename)
        failed = run("log", "export", "--dir", place, "--tiles", folder)
    cut = written > stop
    assert failed == (1 if cut else 0)
    assert cut == (stop < 6), "the parameters end behind the last file"
    assert check_mirror(folder, key) >= 302
    assert run("log", "export", "--dir", place, "--tiles", folder) == 0
    assert check_mirror(folder, key) >= size


def test_the_control_a_checkpoint_written_first_would_be_found(place: Path, tmp_path: Path) -> None:
    folder = tmp_path / "mirror"
    hub = Hub(place)
    note = (
        hub.db.reader.connect().exec_driver_sql("SELECT note FROM checkpoint ORDER BY size DESC LIMIT 1").scalar_one()
    )
    hub.close()
    folder.mkdir()
    (folder / mirror.CHECKPOINT).write_text(note, "utf-8")
    with pytest.raises((reader.Wrong, FileNotFoundError)):
        check_mirror(folder, log_key(place))


# --- the check that is kept ---


def test_how_a_check_ended_is_kept(place: Path) -> None:
    def last() -> Any:
        hub = Hub(place)
        try:
            with hub.db.read() as connection:
                return read_last_check(connection)
        finally:
            hub.close()

    assert last() is None
    assert run("log", "check", "--quick", "--dir", place) == 0
    assert last() is None, "only a full one counts"
    assert run("log", "check", "--dir", place) == 0
    assert (last().fault, last().item, last().size) == ("", "", len(events_in(place)))
    hub = Hub(place)
    with hub.db.begin() as tx:
        drop_triggers(tx)
        tx.exec_driver_sql("UPDATE log_entry SET envelope = 'x' WHERE idx = 17")
    hub.close()
    assert run("log", "check", "--dir", place) == 4
    assert (last().fault, last().item) == ("entry_altered", "entry/17")
