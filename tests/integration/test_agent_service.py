"""`dock-agent run` and `status` as processes: one bay's trouble stays its own, and looking changes nothing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

AGENT = [sys.executable, "-m", "agent.app"]


def status(directory: Path) -> dict[str, Any]:
    done = subprocess.run(
        [*AGENT, "status", "--dir", str(directory), "--json"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    answer: dict[str, Any] = json.loads(done.stdout)
    return answer


def copied(directory: Path, camera: str) -> int:
    """Files of a camera that lie sealed in closed dockings."""
    dockings = [d for d in status(directory)["dockings"] if d["camera"] == camera and d["closed"]]
    return sum(docking["files"].get("sealed", 0) for docking in dockings)


def wait_for(condition: Callable[[], bool], seconds: float = 60.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.2)


@contextmanager
def running(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """The agent, stopped at the end as systemd stops it; it must not have died or shown a traceback."""
    process = subprocess.Popen([*AGENT, "run", "--dir", str(directory)], stderr=subprocess.PIPE, text=True)
    said: list[str] = []
    assert process.stderr is not None
    reader = threading.Thread(target=lambda: said.extend(process.stderr or ()))
    reader.start()
    try:
        yield process
        assert process.poll() is None, "".join(said)
    finally:
        process.send_signal(signal.SIGTERM)
        code = process.wait(60)
        reader.join()
        process.stderr.close()
    assert code == 0
    assert "Traceback" not in "".join(said), "".join(said)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    (tmp_path / "agent").mkdir()
    return tmp_path / "agent"


def configure(home: Path, bays: str) -> None:
    (home / "agent.toml").write_text(f'vault = "../vault"\nsettle_seconds = 0.5\n{bays}', "utf-8")


def test_status_of_a_station_that_was_never_started_makes_nothing(home: Path) -> None:
    configure(home, "")
    answer = status(home)
    assert (answer["station"], answer["running"], answer["dockings"]) == (None, False, [])
    assert os.listdir(home) == ["agent.toml"]


def test_a_bay_without_a_folder_leaves_the_other_bays_at_work(home: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    (tmp_path / "bay").mkdir()
    (tmp_path / "bay/a.txt").write_bytes(b"footage")
    configure(
        home,
        '[[bay]]\nname = "1"\ncards = "../file/cards"\n[[bay]]\nname = "2"\nfolder = "../bay"\ncamera = "CAM"\n'
        '[[bay]]\nname = "3"\nfolder = "../file/folder"\ncamera = "OTHER"\n',
    )
    with running(home):
        wait_for(lambda: copied(home, "CAM") == 1)
        wait_for(lambda: {("2", "safe"), ("3", "failed")} <= {(b["bay"], b["state"]) for b in status(home)["bays"]})
    assert not list((tmp_path / "vault").rglob("*.part"))


def test_a_program_that_never_stops_writing_keeps_no_finished_file_back(home: Path, tmp_path: Path) -> None:
    (tmp_path / "bay").mkdir()
    configure(home, '[[bay]]\nname = "1"\nfolder = "../bay"\ncamera = "CAM"\n')
    stop = threading.Event()

    def write() -> None:
        with (tmp_path / "bay/growing.txt").open("ab", buffering=0) as file:
            while not stop.wait(0.05):
                file.write(b"x")

    writer = threading.Thread(target=write)
    writer.start()
    try:
        with running(home):
            time.sleep(1)
            (tmp_path / "bay/finished.txt").write_bytes(b"whole")
            wait_for(lambda: copied(home, "CAM") >= 1)
    finally:
        stop.set()
        writer.join()


def test_nothing_in_a_vault_is_for_others(tmp_path: Path) -> None:
    (tmp_path / "card/DCIM").mkdir(parents=True)
    (tmp_path / "card/DCIM/a.bin").write_bytes(bytes(3 << 20))
    argv = [*AGENT, "offload", str(tmp_path / "card"), "--vault", str(tmp_path / "vault"), "--camera", "CAM"]
    subprocess.run(argv, check=True, capture_output=True, umask=0)
    open_to_others = [p for p in (tmp_path / "vault").rglob("*") if p.stat().st_mode & 0o007]
    assert open_to_others == []
    assert (tmp_path / "vault").stat().st_mode & 0o007 == 0


def test_a_path_too_long_for_a_seal_is_said_and_the_next_docking_goes_on(tmp_path: Path) -> None:
    card, vault = tmp_path / "card", tmp_path / "vault"
    card.mkdir()
    (card / "a.txt").write_bytes(b"footage")
    at = os.open(card, os.O_RDONLY)
    for _ in range(30):
        os.mkdir("d" * 250, dir_fd=at)
        below = os.open("d" * 250, os.O_RDONLY, dir_fd=at)
        os.close(at)
        at = below
    os.close(os.open("clip.mp4", os.O_CREAT | os.O_WRONLY, dir_fd=at))
    os.close(at)
    argv = [*AGENT, "offload", str(card), "--vault", str(vault), "--camera", "CAM", "--json"]
    for number, expected in enumerate(({"copied": 1, "unreadable": 1}, {"already_saved": 1, "unreadable": 1})):
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        assert done.returncode == 1, done.stderr
        answer = json.loads(done.stdout)
        assert expected.items() <= answer.items(), number
    argv = [sys.executable, "-m", "custody.cli", "verify", str(vault)]
    assert subprocess.run(argv, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize("nested", ["vault in source", "source in vault", "one folder"])
def test_a_vault_and_its_source_lie_apart(tmp_path: Path, nested: str) -> None:
    outer, inner = tmp_path / "outer", tmp_path / "outer/inner"
    inner.mkdir(parents=True)
    (inner / "a.txt").write_bytes(b"x")
    source, vault = {
        "vault in source": (outer, inner), "source in vault": (inner, outer), "one folder": (inner, inner),
    }[nested]  # fmt: skip
    argv = [*AGENT, "offload", str(source), "--vault", str(vault), "--camera", "CAM"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (2, False)


def test_a_vault_that_is_verified_during_an_offload_is_not_closed_and_nothing_worse(tmp_path: Path) -> None:
    (tmp_path / "card").mkdir()
    for n in range(4000):
        (tmp_path / "card" / f"{n}.txt").write_bytes(b"small %d" % n)
    argv = [*AGENT, "offload", str(tmp_path / "card"), "--vault", str(tmp_path / "vault"), "--camera", "CAM"]
    work = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for(lambda: any((tmp_path / "vault").glob("CAM/*/*/*/*/*.txt")))
    finally:
        work.kill()
        work.wait()
    argv = [sys.executable, "-m", "custody.cli", "verify", str(tmp_path / "vault"), "--json"]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    assert {f["kind"] for f in json.loads(done.stdout)["findings"]} <= {"not_closed", "staging"}
