"""Whether the agent whose state is shown still runs."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from agent.status import _live, files_text, process_birth, state_text


def written(tmp_path: Path, **fields: object) -> Path:
    path = tmp_path / "status.json"
    path.write_text(json.dumps(fields))
    return path


def test_what_a_running_process_wrote_is_live(tmp_path: Path) -> None:
    path = written(tmp_path, pid=os.getpid(), birth=process_birth(os.getpid()), uplink=True)
    assert _live(path)["uplink"] is True


def test_a_set_clock_does_not_make_it_look_dead(tmp_path: Path) -> None:
    path = written(tmp_path, pid=os.getpid(), birth=process_birth(os.getpid()))
    os.utime(path, (0, 0))  # a dock without a battery clock writes this before it knows the time
    assert _live(path) != {}


def test_a_process_that_inherited_the_id_is_not_it(tmp_path: Path) -> None:
    assert _live(written(tmp_path, pid=os.getpid(), birth=process_birth(os.getpid()) - 1)) == {}


def test_an_ended_process_is_not_live(tmp_path: Path) -> None:
    child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    birth = process_birth(child.pid)
    child.communicate(b"\n")
    assert _live(written(tmp_path, pid=child.pid, birth=birth)) == {}
    with pytest.raises(FileNotFoundError):
        process_birth(child.pid)


@pytest.mark.parametrize("text", [b"", b"[]", b"{}", b'{"pid": "1"}', b'{"pid": 1}', b"\xff"])
def test_a_damaged_file_says_nothing(tmp_path: Path, text: bytes) -> None:
    path = tmp_path / "status.json"
    path.write_bytes(text)
    assert _live(path) == {}


def test_files_and_bays_read_as_sentences() -> None:
    assert files_text({"known": 8, "sealed": 1}) == "8 此前已保存 / saved before, 1 新封存 / sealed"
    assert files_text({}) == "-"
    assert (state_text("safe"), state_text("levitating")) == ("可以取下 / safe to remove", "levitating / levitating")
