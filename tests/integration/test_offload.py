"""`dock-agent offload` as its user runs it: from a folder into a vault, and everything that can be odd about it."""

from __future__ import annotations

import hashlib
import json
import os
import random
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

OFFLOAD = [sys.executable, "-m", "agent.app", "offload"]
needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="mounting needs root")


def offload(source: Path | str, vault: Path, camera: str = "CAM") -> tuple[int, dict[str, Any]]:
    done = subprocess.run(
        [*OFFLOAD, str(source), "--vault", str(vault), "--camera", camera, "--json"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert "Traceback" not in done.stderr, done.stderr
    return done.returncode, json.loads(done.stdout)


def verify(vault: Path) -> int:
    argv = [sys.executable, "-m", "custody.cli", "verify", str(vault), "--json"]
    return subprocess.run(argv, capture_output=True, check=False).returncode


def footage(vault: Path) -> dict[str, bytes]:
    """Every footage file of every docking: path inside its docking → content, newest docking last."""
    found = {}
    for sums in sorted(vault.glob("*/*/*/*/*/.custody")):
        docking = sums.parent
        for path in docking.rglob("*"):
            if path.is_file() and ".custody" not in path.parts and path.name != "SHA256SUMS":
                found[str(path.relative_to(docking))] = path.read_bytes()
    return found


@pytest.fixture
def card(tmp_path: Path) -> Path:
    folder = tmp_path / "card"
    (folder / "DCIM").mkdir(parents=True)
    return folder


@pytest.fixture
def vault(tmp_path: Path) -> Path:
    return tmp_path / "vault"


def test_everything_arrives_and_standard_tools_agree(card: Path, vault: Path) -> None:
    chance = random.Random(1)
    truth = {}
    for number, size in enumerate((0, 1, 4095, 1 << 20, (1 << 20) + 1, 5_000_000, 20 << 20)):
        truth[f"DCIM/录像{number}.MP4"] = chance.randbytes(size)
        (card / f"DCIM/录像{number}.MP4").write_bytes(truth[f"DCIM/录像{number}.MP4"])
    code, result = offload(card, vault)
    assert (code, result["complete"], result["copied"]) == (0, True, 7)
    assert footage(vault) == truth
    (docking,) = (p.parent for p in vault.glob("*/*/*/*/*/SHA256SUMS"))
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=docking, check=True)
    assert verify(vault) == 0
    modes = {oct(p.stat().st_mode & 0o777) for p in docking.rglob("*.MP4")}
    assert modes == {"0o400"}


def test_redocking_copies_only_what_is_new_and_says_so(card: Path, vault: Path) -> None:
    (card / "a.MP4").write_bytes(b"a" * 100)
    offload(card, vault)
    (card / "b.MP4").write_bytes(b"b" * 100)
    code, result = offload(card, vault)
    assert (code, result["copied"], result["already_saved"]) == (0, 1, 1)
    code, result = offload(card, vault)
    assert (code, result["copied"], result["already_saved"]) == (0, 0, 2)
    assert verify(vault) == 0


def test_same_name_size_and_time_with_other_content_is_a_new_version(card: Path, vault: Path) -> None:
    for content in (b"1" * 5000, b"2" * 5000):
        (card / "LOOP.MP4").write_bytes(content)
        os.utime(card / "LOOP.MP4", (0, 0))  # a camera whose clock says 1970
        code, result = offload(card, vault)
        assert (code, result["copied"]) == (0, 1)
    assert footage(vault) == {"LOOP.MP4": b"1" * 5000, "LOOP%v2.MP4": b"2" * 5000}
    assert verify(vault) == 0


def test_two_cameras_with_equal_names_do_not_meet(card: Path, vault: Path) -> None:
    (card / "A.MP4").write_bytes(b"x")
    for camera in ("CAM-1", "摄像机/2", "..", ".staging"):
        assert offload(card, vault, camera)[0] == 0
    assert len(list(vault.glob("*/*/*/*/*/A.MP4"))) == 4
    assert verify(vault) == 0


def test_names_are_data(card: Path, vault: Path) -> None:
    names = [
        b"new\nline.MP4", b"bad-utf8-\xff.MP4", "视频.MP4".encode("gbk"), b"-rf", b"back\\slash", b"a%b",
        b"UPPER.mp4", b"upper.mp4", "é.MP4".encode(), "e\u0301.MP4".encode(), b"\x1b[31mred", b"SHA256SUMS",
        "\u202egnp.exe".encode(), b"n" * 255, b".custody",
    ]  # fmt: skip
    for name in names:
        Path(os.fsdecode(os.path.join(os.fsencode(card), name))).write_bytes(name)
    code, result = offload(card, vault)
    assert (code, result["copied"]) == (0, len(names))
    assert sorted(footage_contents(vault)) == sorted(names)
    assert verify(vault) == 0
    (docking,) = (p.parent for p in vault.glob("*/*/*/*/*/SHA256SUMS"))
    subprocess.run(["sha256sum", "-c", "--quiet", "SHA256SUMS"], cwd=docking, check=True)


def footage_contents(vault: Path) -> list[bytes]:
    (docking,) = (p.parent for p in vault.glob("*/*/*/*/*/.custody"))
    lines = (docking / "SHA256SUMS").read_bytes().splitlines()
    sealed = [line.split(b"  ", 1)[0].lstrip(b"\\").decode() for line in lines]
    by_hash = {hashlib.sha256(p.read_bytes()).hexdigest(): p.read_bytes() for p in docking.rglob("*") if p.is_file()}
    return [by_hash[sha] for sha in sealed]


def test_links_and_special_files_are_recorded_never_followed(card: Path, vault: Path, tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(b"not on the card")
    (card / "real.MP4").write_bytes(b"real")
    (card / "link.MP4").symlink_to(tmp_path / "secret")
    (card / "folder-link").symlink_to(tmp_path)
    os.mkfifo(card / "pipe.MP4")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(card / "sock"))
        code, result = offload(card, vault)
    assert (code, result["copied"], result["skipped"]) == (0, 1, 4)
    assert footage(vault) == {"real.MP4": b"real"}
    assert verify(vault) == 0


def test_a_file_that_changes_while_it_is_copied_becomes_a_new_version(card: Path, vault: Path) -> None:
    path = card / "GROWS.MP4"
    path.write_bytes(b"0" * (192 << 20))
    agent = subprocess.Popen([*OFFLOAD, str(card), "--vault", str(vault), "--camera", "C", "--json"],
                             stdout=subprocess.PIPE)  # fmt: skip
    wait_for_part(vault)
    with path.open("r+b") as stream:
        stream.seek(100)
        stream.write(b"changed")
    out, _ = agent.communicate(timeout=120)
    result = json.loads(out)
    assert (agent.returncode, result["copied"]) == (0, 2)
    assert footage(vault)["GROWS%v2.MP4"] == path.read_bytes()
    assert verify(vault) == 0


def wait_for_part(vault: Path) -> None:
    end = time.monotonic() + 60
    while not list(vault.glob(".staging/*.part")):
        assert time.monotonic() < end, "no copy began"
        time.sleep(0.002)


def test_a_kill_costs_at_most_sixteen_mebibytes_a_file(card: Path, vault: Path) -> None:
    content = random.Random(5).randbytes(200 << 20)
    (card / "LONG.MP4").write_bytes(content)
    agent = subprocess.Popen([*OFFLOAD, str(card), "--vault", str(vault), "--camera", "C", "--json"],
                             stdout=subprocess.DEVNULL)  # fmt: skip
    wait_for_part(vault)
    end = time.monotonic() + 60
    while sum(p.stat().st_size for p in vault.glob(".staging/*.leaves")) < 32 * 32 and time.monotonic() < end:
        time.sleep(0.002)
    agent.send_signal(signal.SIGKILL)
    agent.wait()
    proven = sum(p.stat().st_size for p in vault.glob(".staging/*.leaves")) // 32 << 20
    written = max(p.stat().st_size for p in vault.glob(".staging/*.part"))
    assert proven >= 32 << 20
    assert not footage(vault)
    code, result = offload(card, vault, "C")
    assert (code, result["copied"]) == (0, 1)
    assert footage(vault) == {"LONG.MP4": content}
    assert verify(vault) == 0
    assert written - proven <= 16 << 20 or written == len(content)  # preallocated to its length at once


@pytest.mark.parametrize(
    ("make", "expected", "error"),
    [
        (lambda p: p.mkdir(), 4, "source_empty"),
        (lambda p: p.write_bytes(random.Random(2).randbytes(1 << 20)), 3, "not_a_file_system"),
        (lambda p: p.write_bytes(b""), 3, "source_unreadable"),
        (lambda p: None, 3, "source_unreadable"),
        (os.mkfifo, 3, "source_unreadable"),
    ],
    ids=["empty", "noise", "zero-bytes", "missing", "fifo"],
)
def test_bad_sources_have_a_code_and_leave_nothing(
    tmp_path: Path, vault: Path, make: Any, expected: int, error: str
) -> None:
    make(tmp_path / "source")
    code, result = offload(tmp_path / "source", vault)
    assert (code, result["error"]) == (expected, error)
    assert result["en"]
    assert result["zh"]
    assert not list(vault.glob("*/*/*/*/*"))


@needs_root
def test_a_full_vault_stops_before_it_begins_and_names_the_figures(card: Path, tmp_path: Path) -> None:
    (card / "BIG.MP4").write_bytes(bytes(8 << 20))
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=64m", "tmpfs", str(small)], check=True)
    try:
        code, result = offload(card, small)
        assert (code, result["error"]) == (6, "vault_full")
        assert "GiB" in result["zh"]
        assert (card / "BIG.MP4").stat().st_size == 8 << 20
    finally:
        subprocess.run(["umount", str(small)], check=True)


@needs_root
def test_a_read_only_vault_is_said_to_be_so(card: Path, tmp_path: Path) -> None:
    (card / "A.MP4").write_bytes(b"a")
    mounted = tmp_path / "ro"
    mounted.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(mounted)], check=True)
    try:
        code, result = offload(card, mounted)
        assert (code, result["error"]) == (5, "vault_read_only")
    finally:
        subprocess.run(["umount", str(mounted)], check=True)


def test_a_second_agent_in_the_same_vault_is_refused(card: Path, vault: Path) -> None:
    (card / "A.MP4").write_bytes(bytes(192 << 20))
    first = subprocess.Popen([*OFFLOAD, str(card), "--vault", str(vault), "--camera", "C"], stdout=subprocess.DEVNULL)
    try:
        wait_for_part(vault)
        first.send_signal(signal.SIGSTOP)  # else it may be done before the second has started
        code, result = offload(card, vault, "D")
    finally:
        first.send_signal(signal.SIGCONT)
        ended = first.wait(120)
    assert (code, result["error"]) == (7, "vault_locked")
    assert ended == 0


def test_an_interrupted_offload_ends_with_130_and_goes_on_later(card: Path, vault: Path) -> None:
    (card / "A.MP4").write_bytes(bytes(192 << 20))
    first = subprocess.Popen([*OFFLOAD, str(card), "--vault", str(vault), "--camera", "C"], stderr=subprocess.PIPE)
    wait_for_part(vault)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=30)
    assert first.returncode == 130
    assert "已中断" in said.decode()
    code, result = offload(card, vault, "C")
    assert (code, result["complete"]) == (0, True)
    assert verify(vault) in (0, 1)


def test_wrong_usage(card: Path) -> None:
    done = subprocess.run([*OFFLOAD, str(card), "--camera", "C", "--json"], capture_output=True, text=True, check=False)
    assert (done.returncode, json.loads(done.stdout)["error"]) == (2, "settings_invalid")
    assert subprocess.run([*OFFLOAD], capture_output=True, check=False).returncode == 2
