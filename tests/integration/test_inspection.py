"""Looking at real cards in the limited process: what it finds, what it is denied, and when it hangs or crashes."""

import os
import random
import socket
import subprocess
import sys
import time
from pathlib import Path

import pytest

from agent.errors import InspectionFailed, NotAFileSystem, SourceUnreadable
from agent.inspection import inspect_source
from agent.profiles.globs import Glob
from agent.profiles.identity import camera_identity
from agent.profiles.loading import load_profiles
from agent.profiles.names import describe_name
from agent.profiles.recognition import DeviceFacts, recognise
from agent.source import SourceKind
from tests.integration.cards import MIB, blank, exfat_card, ext_card, fat_card, partitioned, plant

CLIP = random.Random(3).randbytes(100_000)
TREE = {
    "DCIM/1234567_012345_20260301080000_0001.MP4": CLIP,
    "DCIM/1234567_012345_20260301081500_0002_IMP.MP4": CLIP,
    "SYS/ID.TXT": b"SN=X99\r\n",
    "SYS/LARGE.TXT": b"x" * 70_000,
}


def test_a_card_is_recognised_and_named_from_outside(tmp_path: Path) -> None:
    card = fat_card(tmp_path / "card.img", TREE)
    found = inspect_source(card, [Glob("SYS/*.TXT")])
    assert found.facts.kind is SourceKind.IMAGE
    assert (found.facts.file_systems, found.facts.labels) == (("FAT32",), ("CAMERA",))
    assert (found.files, found.size_bytes, found.whole) == (4, 2 * len(CLIP) + 8 + 70_000, True)
    assert found.contents == {(b"SYS", b"ID.TXT"): b"SN=X99\r\n"}
    assert found.free_bytes is not None
    assert 60 * MIB < found.free_bytes < 64 * MIB
    assert found.newest_ns is not None
    assert abs(found.newest_ns / 1e9 - time.time()) < 86_400
    facts = DeviceFacts(labels=found.facts.labels, volume_ids=found.facts.volume_ids)
    match = recognise(load_profiles(), facts, found.paths)
    identity = camera_identity(
        match.profile, facts, [describe_name(match.profile, path) for path in found.paths], found.contents
    )
    assert match.profile.name == "zfy-dsj"
    assert identity is not None
    assert identity.id == "1234567"


@pytest.mark.needs_root
def test_exfat_with_chinese_names(tmp_path: Path) -> None:
    with exfat_card(tmp_path / "card.img") as folder:
        plant(folder, {"媒体/录像.MP4": CLIP})
    found = inspect_source(tmp_path / "card.img")
    assert found.facts.labels == ("记录仪",)
    assert found.paths == [("媒体".encode(), "录像.MP4".encode())]


def test_a_folder_has_no_space_of_its_own(tmp_path: Path) -> None:
    found = inspect_source(plant(tmp_path / "export", TREE))
    assert (found.files, found.spaces, found.free_bytes) == (4, (), None)


def test_the_volume_that_records_is_the_largest(tmp_path: Path) -> None:
    one = fat_card(tmp_path / "one.img", {"SYS/ID.TXT": b"1"}, 16, 16, 4)
    two = ext_card(tmp_path / "two.img", plant(tmp_path / "root", TREE))
    found = inspect_source(partitioned(tmp_path / "card.img", [one, two], "dos"))
    assert len(found.spaces) == 2
    assert found.free_bytes == found.spaces[1].free_bytes
    assert (b"p1", b"SYS", b"ID.TXT") in found.paths


def test_no_card_is_one_clear_error(tmp_path: Path) -> None:
    with pytest.raises(NotAFileSystem):
        inspect_source(blank(tmp_path / "blank.img", 1))
    with pytest.raises(SourceUnreadable):
        inspect_source(tmp_path / "none.img")


def test_a_source_that_hangs_is_given_up(tmp_path: Path) -> None:
    """Ten milliseconds are less than its interpreter needs: to this side the same as a card that hangs."""
    started = time.monotonic()
    with pytest.raises(InspectionFailed, match="in time"):
        inspect_source(plant(tmp_path / "export", TREE), timeout_seconds=0.01)
    assert time.monotonic() - started < 30  # half of what one gets that is not given up


def test_one_that_dies_is_one_clear_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A process that cannot even start its interpreter ends as one that a hostile card brought down."""
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InspectionFailed, match="broke off"):
        inspect_source(tmp_path)


def test_the_inspector_gives_up_memory_files_and_network(tmp_path: Path) -> None:
    """Its limits, seen from inside a process that set them the same way."""
    script = (
        "import signal, socket, sys\n"
        "from agent.confine import confine, leave_network\n"
        "from agent.inspector import MEMORY_BYTES, OPEN_FILES\n"
        "confine(MEMORY_BYTES, OPEN_FILES); leave_network(keep_privileges=True)\n"
        "try: bytearray(MEMORY_BYTES)\n"
        "except MemoryError: print('memory')\n"
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN)\n"
        "try: open(sys.argv[2], 'w').write('x' * 100000)\n"
        "except OSError: print('files')\n"
        "try: socket.create_connection(('127.0.0.1', int(sys.argv[1])), 2)\n"
        "except OSError: print('network')\n"
    )
    with socket.create_server(("127.0.0.1", 0)) as server:
        done = subprocess.run(
            [sys.executable, "-c", script, str(server.getsockname()[1]), tmp_path / "file"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
    said = done.stdout.split()
    assert {"memory", "files"} <= set(said), done.stderr
    if os.geteuid() == 0:
        assert "network" in said
