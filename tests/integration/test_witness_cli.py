"""`custody witness` as a leader runs it, against `dock-hub run` as a process: asked by the hub, asking it, on paper."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Iterator
from http.client import HTTPConnection
from pathlib import Path

import pytest

from custody.checkpoint import parse_key_line
from custody.cosignature import is_cosigned, parse_witness_line
from custody.witness import MAX_REQUEST_BYTES, parse_refusal, size_of
from custody.witnessdir import Unusable, WitnessDir
from tests.e2e.processes import Member, run_json, wait_for
from tests.ports import free_port

NAME = "office.example/leader"


def custody(*argv: str | Path, given: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "custody.cli", "witness", *map(str, argv)]
    return subprocess.run(command, capture_output=True, text=True, check=False, input=given)


class Place:
    """A hub without a broker, and a witness's folder."""

    def __init__(self, root: Path) -> None:
        self.root, self.dir, self.hub_dir = root, root / "witness", root / "hub"
        self.port, self.witness_port = free_port(), free_port()
        self.log_key = run_json("hub.app", "init", "--dir", self.hub_dir, "--json")["log_key"]
        argv: list[str | Path] = ["hub.app", "run", "--dir", self.hub_dir, "--port", str(self.port)]
        self.hub = Member("hub", argv, root / "hub.log")
        self.url = f"http://127.0.0.1:{self.port}/log"
        self.line = custody("init", self.dir, "--name", NAME, "--log", self.log_key).stdout.strip()
        serve: list[str | Path] = ["custody.cli", "witness", "run", self.dir, "--port", str(self.witness_port)]
        self.witness = Member("witness", serve, root / "witness.log")

    def hub_says(self, *words: str) -> object:
        return run_json("hub.app", *words, "--dir", self.hub_dir, "--json")

    def grow(self, name: str) -> None:
        self.hub_says("log", "reader", "add", name)

    def read(self, path: str = "checkpoint") -> str | None:
        try:
            with urllib.request.urlopen(f"{self.url}/{path}", timeout=10) as answer:  # noqa: S310
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                return None
        except OSError:
            return None

    def start_hub(self) -> None:
        self.hub.start()
        wait_for("the hub", lambda: self.read() is not None)

    def close(self) -> None:
        for member in (self.hub, self.witness):
            if member.alive():
                member.kill()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    made = Place(tmp_path)
    yield made
    made.close()


def test_the_hub_asks_a_leaders_computer(place: Place) -> None:
    place.hub_says("witness", "add", place.line, "--url", f"http://127.0.0.1:{place.witness_port}")
    place.hub_says("witness", "policy", "1")
    place.witness.start()
    wait_for("the witness", lambda: "listening" in place.witness.tail())
    place.start_hub()
    wait_for("a witnessed checkpoint", lambda: place.read("checkpoint/witnessed") is not None)
    note = place.read("checkpoint/witnessed")
    assert note is not None
    assert is_cosigned(note, parse_witness_line(place.line))
    assert custody("show", place.dir).returncode == 3  # the running one has the folder
    place.witness.kill()
    shown = custody("show", place.dir)
    assert shown.returncode == 0
    assert f"cosigned up to: {size_of(note)}" in shown.stdout


def test_a_computer_that_the_hub_cannot_reach_asks_the_hub(place: Place) -> None:
    place.hub_says("witness", "add", place.line)
    place.hub_says("witness", "policy", "1")
    place.start_hub()
    for name in ("a", "b", "c"):
        done = custody("pull", place.dir, "--log-url", place.url)
        assert (done.returncode, done.stderr) == (0, "")
        note = place.read("checkpoint/witnessed")
        assert note is not None
        assert note == place.read()
        place.grow(name)
    kept = custody("pull", place.dir, "--log-url", place.url, "--keep")
    assert is_cosigned(kept.stdout, parse_witness_line(place.line))


def test_a_hub_restored_from_a_backup_is_refused_and_both_notes_are_kept(place: Place) -> None:
    place.hub_says("witness", "add", place.line)
    backup = place.root / "backup.db"
    shutil.copyfile(place.hub_dir / "hub.db", backup)
    place.start_hub()
    place.grow("lost")
    paper = place.read()
    assert paper is not None
    assert custody("pull", place.dir, "--log-url", place.url).returncode == 0
    place.hub.kill()
    for old in place.hub_dir.glob("hub.db*"):
        old.unlink()
    shutil.copyfile(backup, place.hub_dir / "hub.db")
    place.start_hub()
    sheet = place.root / "paper.txt"
    sheet.write_text(paper, "utf-8")
    check = ("check", sheet, "--log-url", place.url, "--key", place.log_key)
    refused = custody("pull", place.dir, "--log-url", place.url)
    assert (refused.returncode, "rollback" in refused.stdout) == (1, True)
    assert custody(*check).returncode == 1
    place.grow("other")  # as long as before, with another entry
    assert custody("pull", place.dir, "--log-url", place.url).returncode == 1
    assert custody(*check).returncode == 1
    place.grow("more")
    assert custody("pull", place.dir, "--log-url", place.url).returncode == 1
    assert custody(*check).returncode == 1
    shown = custody("show", place.dir)
    assert shown.returncode == 1
    assert paper in shown.stdout
    assert "stopped until people decide: fork" in shown.stdout
    assert custody("clear", place.dir, "--anew").returncode == 0
    assert custody("pull", place.dir, "--log-url", place.url).returncode == 0


def test_a_root_on_paper_is_checked_scanned_and_typed(place: Place) -> None:
    place.start_hub()
    place.grow("a")
    made = place.hub_says("log", "root-sheet", "--out", str(place.root / "sheet.html"))
    assert isinstance(made, dict)
    note = place.read()
    assert note is not None
    key, body = parse_key_line(place.log_key), note.rpartition("\n\n")[0] + "\n"
    page = (place.root / "sheet.html").read_text("utf-8")
    root = page.partition('<div class="root">')[2].partition("</div>")[0].replace("<span>", " ").replace("</span>", "")
    for name in ("b", "c", "d"):
        place.grow(name)
    there = ("--log-url", place.url, "--key", key.line)
    for argv, given in (
        (("check", "-"), note),
        (("check", "-"), note.replace("\n", "\r\n")),
        (("check", "-"), body),
        (("check", "--size", str(size_of(note)), "--root", *root.split()), None),
    ):
        done = custody(*argv, *there, given=given)
        assert (done.returncode, done.stderr) == (0, ""), argv
    wrong = root.split()
    wrong[0] = "00000000"
    assert custody("check", "--size", str(size_of(note)), "--root", *wrong, *there).returncode == 1
    assert custody("check", "--size", "3", *there).returncode == 3
    assert custody("check", "-", *there, given=note.replace(note.split("\n")[2], "A" * 43 + "=")).returncode == 3
    assert custody("check", place.root / "none", *there).returncode == 3


def test_what_reaches_its_port_is_bounded(place: Place) -> None:
    place.witness.start()
    wait_for("the witness", lambda: "listening" in place.witness.tail())

    def ask(method: str, path: str, body: bytes, **headers: str) -> tuple[int, str]:
        line = HTTPConnection("127.0.0.1", place.witness_port, timeout=20)
        line.request(method, path, body, headers)
        answer = line.getresponse()
        said = answer.status, answer.read().decode()
        line.close()
        return said

    assert ask("GET", "/add-checkpoint", b"")[0] == 501
    assert ask("POST", "/other", b"")[0] == 404
    assert ask("POST", "/add-checkpoint", bytes(MAX_REQUEST_BYTES + 1))[0] == 413
    status, said = ask("POST", "/add-checkpoint", b"rubbish")
    assert (status, parse_refusal(said)) == (400, ("bad_format", ""))
    status, said = ask("POST", "/add-checkpoint", b"old 0\n\nno.such/log\n0\nAAAA\n\n")
    assert (status, parse_refusal(said)) == (404, ("unknown_log", ""))
    with socket.create_connection(("127.0.0.1", place.witness_port)) as half:  # one that never ends its request
        half.sendall(b"POST /add-checkpoint HTTP/1.1\r\ncontent-length: 100\r\n\r\nold")
        assert ask("POST", "/add-checkpoint", b"rubbish")[0] == 400


def test_sigterm_ends_it(place: Place) -> None:
    argv = [sys.executable, "-m", "custody.cli", "witness", "run", str(place.dir), "--port", str(place.witness_port)]
    process = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stdout.readline().strip() == place.line
    assert "listening" in process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    assert process.wait(20) == 0
    process.stdout.close()


def test_a_damaged_folder_is_not_used(place: Place) -> None:
    place.start_hub()
    assert custody("pull", place.dir, "--log-url", place.url, "--keep").returncode == 0
    [state] = place.dir.glob("state-*.json")
    whole = state.read_text("utf-8")
    state.write_text(whole[:-20], "utf-8")
    assert custody("pull", place.dir, "--log-url", place.url, "--keep").returncode == 3
    state.write_text(whole, "utf-8")
    (place.dir / "witness.key").chmod(0o644)
    with pytest.raises(Unusable):
        WitnessDir(place.dir)
    assert custody("init", place.dir, "--name", "other/name").returncode == 3
