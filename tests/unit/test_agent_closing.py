"""Closing a docking after a stop between any two of its steps: nothing sealed moves, nothing unsealed stays."""

from __future__ import annotations

import inspect
import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.closing import close_docking, recover
from agent.offload import DockingPlan, plan_entry
from agent.source import Entry, SourceFacts, SourceKind, TimeBasis
from agent.station import Station, load_or_create_station
from agent.store import DockingRow, EntryRow, Store, facts_json
from agent.wire import facts_to_json

FOLDER = b"CAM/2026/11/23/D1"
FACTS = SourceFacts(SourceKind.IMAGE, ("exfat",), ("",), ("",), 1 << 30, TimeBasis.UTC)


@dataclass
class Dock:
    vault: Path
    store: Store
    station: Station

    def path(self, target: bytes) -> Path:
        return self.vault / os.fsdecode(target)

    def stage(self, row: EntryRow) -> Path:
        return self.vault / ".staging" / f"{row.part_key}.part"


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Dock]:
    """A docking under way: announced, nothing copied."""
    (tmp_path / "vault/.staging").mkdir(parents=True)
    it = Dock(tmp_path / "vault", Store(tmp_path / "station.db"), load_or_create_station(tmp_path))
    with it.store.begin():
        it.store.add_docking(DockingRow("D1", "CAM", "1", FOLDER, "{}", datetime.now(UTC), False, None, None))
        it.store.set_source("D1", facts_json(facts_to_json(FACTS)))
        it.store.mark_announced("D1")
    yield it
    it.store.close()


def plan(dock: Dock, n: int, *path: bytes) -> EntryRow:
    row = plan_entry(DockingPlan("CAM", FOLDER), n, Entry(path, 5, None, "h"), [])
    with dock.store.begin():
        dock.store.add_entries("D1", "CAM", [row])
    return row


def test_an_unsealed_file_goes_back_to_staging_and_leaves_no_folder(dock: Dock) -> None:
    row = plan(dock, 1, b"DCIM", b"A.MP4")
    dock.path(row.target).parent.mkdir(parents=True)
    dock.path(row.target).write_bytes(b"whole")
    recover(dock.store, dock.vault, dock.station)
    assert dock.stage(row).read_bytes() == b"whole"
    assert not (dock.path(FOLDER) / "DCIM").exists()


def test_a_folder_under_the_name_of_a_planned_file_stays_where_it_is(dock: Dock) -> None:
    row = plan(dock, 1, b"DCIM")
    sealed = dock.path(row.target) / "A.MP4"
    sealed.parent.mkdir(parents=True)
    sealed.write_bytes(b"sealed")
    recover(dock.store, dock.vault, dock.station)
    assert sealed.read_bytes() == b"sealed"


def test_a_stop_between_link_and_unlink_leaves_one_name(dock: Dock) -> None:
    """Where the disk cannot rename without replacing, a file has both names for a moment."""
    row = plan(dock, 1, b"A.MP4")
    dock.path(row.target).parent.mkdir(parents=True)
    dock.stage(row).write_bytes(b"whole")
    os.link(dock.stage(row), dock.path(row.target))
    recover(dock.store, dock.vault, dock.station)
    assert not dock.path(row.target).exists()
    assert dock.stage(row).read_bytes() == b"whole"


def test_a_half_written_manifest_of_an_earlier_closing_is_not_opened_again(dock: Dock) -> None:
    """It may be read-only already: only root could open it for writing, and every start would fail."""
    custody = dock.path(FOLDER) / ".custody"
    custody.mkdir(parents=True)
    (half := custody / ".manifest.jsonl.new").write_bytes(b"half")
    os.link(half, dock.vault.parent / "kept")
    half.chmod(0o400)
    close_docking(dock.store, dock.vault, dock.station, "D1", "complete")
    assert (dock.vault.parent / "kept").read_bytes() == b"half"
    assert sorted(os.listdir(custody)) == ["completed.dsse.json", "manifest.jsonl", "station.vkey"]


def test_a_missing_closing_envelope_is_written_again(dock: Dock) -> None:
    close_docking(dock.store, dock.vault, dock.station, "D1", "complete")
    envelope = dock.path(FOLDER) / ".custody/completed.dsse.json"
    raw = envelope.read_bytes()
    envelope.unlink()
    recover(dock.store, dock.vault, dock.station)
    assert envelope.read_bytes() == raw


def test_a_station_starts_when_its_earlier_dockings_lie_elsewhere(dock: Dock) -> None:
    """A new disk for the vault, or dockings moved to an archive: nothing is written where they were."""
    close_docking(dock.store, dock.vault, dock.station, "D1", "complete")
    shutil.rmtree(dock.vault / "CAM")
    recover(dock.store, dock.vault, dock.station)
    assert not (dock.vault / "CAM").exists()


def test_folders_that_stayed_empty_go_however_deep_and_others_stay(dock: Dock) -> None:
    dock.path(FOLDER).mkdir(parents=True)
    deep = dock.path(FOLDER)
    for _ in range(300):
        deep = deep / "d"
        deep.mkdir()
    (dock.path(FOLDER) / "kept").mkdir()
    (dock.path(FOLDER) / "kept" / "A.MP4").write_bytes(b"x")
    (dock.path(FOLDER) / "kept" / "link").symlink_to(dock.vault)
    (dock.path(FOLDER) / "kept" / "empty").mkdir()
    usual = sys.getrecursionlimit()
    sys.setrecursionlimit(len(inspect.stack(0)) + 150)  # less than the folders are deep
    try:
        closed = close_docking(dock.store, dock.vault, dock.station, "D1", "complete")
    finally:
        sys.setrecursionlimit(usual)
    assert closed.counts.listed == 0
    assert not (dock.path(FOLDER) / "d").exists()
    assert not (dock.path(FOLDER) / "kept" / "empty").exists()
    assert (dock.path(FOLDER) / "kept" / "A.MP4").read_bytes() == b"x"
    assert (dock.path(FOLDER) / "kept" / "link").is_symlink()
