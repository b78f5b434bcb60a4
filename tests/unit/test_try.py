"""What deploy/try shows, and what it refuses to touch."""

import io
import socket
from pathlib import Path
from typing import Any

import pytest

import agent.report
from deploy.programs import Programs, TrialError, free_port, wait_for
from deploy.showing import bay_line, changes, columns, progress_lines, size_text, sums_compared
from deploy.trial import MARKER, READY, Place, claimed, clear, confirm_fresh


def bay(**values: Any) -> dict[str, Any]:
    empty = {"bay": "1", "camera": None, "state": "empty", "files_done": 0, "files_total": 0}
    return empty | {"bytes_done": 0, "bytes_total": 0, "seconds_left": None, "reason": None} | values


@pytest.mark.parametrize("size", [0, 1023, 1024, 2_610_000_000, 5 * 10**12])
def test_sizes_read_as_on_the_docks_screen(size: int) -> None:
    assert size_text(size) == agent.report.size_text(size)


def test_a_copying_bay_shows_files_bytes_and_time() -> None:
    line = bay_line(
        bay(
            state="copying",
            camera="A012345",
            files_done=3,
            files_total=8,
            bytes_done=5,
            bytes_total=20,
            seconds_left=4,
        )
    )
    assert "A012345   3/8 个文件 / files   5 B / 20 B   剩余 / left 4 s" in line


def test_columns_align_on_a_terminal() -> None:
    assert columns([("用户 / user", "admin"), ("port", "1")]) == ["  用户 / user   admin", "  port          1"]


def test_an_unknown_state_is_shown_as_it_is() -> None:
    assert "levitating" in bay_line(bay(state="levitating"))


def test_only_changes_are_printed() -> None:
    status = {"bays": [bay()], "outbox": {"unreceipted": 2}}
    first = progress_lines(status)
    assert changes([], first) == first
    assert changes(first, progress_lines(status | {"outbox": {"unreceipted": 1}})) == [
        "等待回执 / waiting for the hub's receipt: 1"
    ]


def test_nothing_is_told_of_a_station_that_does_not_run_yet() -> None:
    assert progress_lines({"bays": [], "outbox": {"unreceipted": 0}}) == []


def test_a_program_that_ends_is_quoted_from_this_start_only(tmp_path: Path) -> None:
    (tmp_path / "hub.log").write_text("of yesterday\n")
    programs = Programs(tmp_path)
    programs.start("hub", ["sh", "-c", "echo of today; exit 3"])
    with pytest.raises(TrialError) as caught:
        wait_for("The hub", programs, lambda: False)
    assert "hub ended with 3" in str(caught.value)
    assert "of today" in str(caught.value)
    assert "of yesterday" not in str(caught.value)


def test_sums_compared_names_what_differs() -> None:
    expected = "aa  DCIM/1.MP4\nbb  DCIM/2.MP4\n"
    assert sums_compared(expected, "bb  DCIM/2.MP4\ncc  DCIM/1.MP4\ndd  extra\n") == (1, ["DCIM/1.MP4"])


def test_refuses_a_directory_that_holds_other_things(tmp_path: Path) -> None:
    (tmp_path / "thesis.odt").write_text("x")
    with pytest.raises(TrialError, match="holds other things"), claimed(Place(tmp_path)):
        pass


def test_two_trials_do_not_share_a_directory(tmp_path: Path) -> None:
    with claimed(Place(tmp_path)), pytest.raises(TrialError, match="already runs"), claimed(Place(tmp_path)):
        pass


def test_clear_keeps_the_claim(tmp_path: Path) -> None:
    place = Place(tmp_path / "new")
    with claimed(place):
        place.vault.mkdir()
        (place.vault / "x").touch()
        (place.root / READY).touch()
        clear(place)
        assert [entry.name for entry in place.root.iterdir()] == [MARKER]


@pytest.mark.parametrize(("typed", "deleted"), [("yes\n", True), ("no\n", False), ("", False)])
def test_fresh_asks_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, typed: str, deleted: bool) -> None:

    (tmp_path / READY).touch()
    monkeypatch.setattr("sys.stdin", io.StringIO(typed))
    if deleted:
        confirm_fresh(Place(tmp_path))
    else:
        with pytest.raises(TrialError, match="Nothing was deleted"):
            confirm_fresh(Place(tmp_path))


def test_a_taken_port_is_replaced() -> None:

    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        number = taken.getsockname()[1]
        assert free_port(number) not in (0, number)
