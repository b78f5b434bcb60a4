"""Hundreds of random edits of a vault: each is found and named, and the untouched vault never alarms."""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.examine import Report, examine
from custody.finding import Exit, Finding, Kind
from tests.vectors.dockings import STATION_KEY, Docking, Station, build, pattern

BESIDE = {
    "SHA256SUMS": Kind.SUMS_ALTERED,
    ".custody/manifest.jsonl": Kind.MANIFEST_ALTERED,
    ".custody/completed.dsse.json": Kind.CLOSING_ALTERED,
    ".custody/station.vkey": Kind.KEY_FILE_ALTERED,
}
REMOVED = {
    "SHA256SUMS": Kind.SUMS_MISSING,
    ".custody/manifest.jsonl": Kind.MANIFEST_MISSING,
    ".custody/completed.dsse.json": Kind.CLOSING_MISSING,
    ".custody/station.vkey": Kind.KEY_FILE_MISSING,
}


@dataclass(frozen=True)
class Vault:
    root: Path
    dockings: tuple[Path, ...]
    hasher: Hasher

    def check(self, trusted: bool = False) -> Report:
        keys = [STATION_KEY.verify_key] if trusted else []
        return examine(os.fsencode(self.root), keys, lambda _: None, self.hasher)

    def files(self) -> list[tuple[Path, str]]:
        """Every file of every docking: its docking and its path in it."""
        return [
            (docking, file.relative_to(docking).as_posix())
            for docking in self.dockings
            for file in sorted(docking.rglob("*"))
            if file.is_file() and not file.is_symlink()
        ]


@pytest.fixture(scope="module")
def vault(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Vault]:
    root = tmp_path_factory.mktemp("vault")
    station = Station()
    first = {
        "DCIM/100MEDIA/VID00001.MP4": pattern(1, 3 * CHUNK_BYTES + 5),
        "DCIM/100MEDIA/VID00002.MP4": pattern(2, 900),
        "DCIM/100MEDIA/VID00002.THM": pattern(3, 2 * CHUNK_BYTES),
        "执法 记录\\.mp4": pattern(4, 70),
        "empty.log": b"",
    }
    second = {"DCIM/100MEDIA/VID00003.MP4": pattern(5, CHUNK_BYTES + 1), "b/VID00004.MP4": pattern(6, 900)}
    saved = (("DCIM/100MEDIA/VID00002.MP4", pattern(2, 900), "docking-1"),)
    dockings = (
        build(root, Docking(first, docking_id="docking-1"), station),
        build(root, Docking(second, docking_id="docking-2", already_saved=saved, failed=("lost.mp4",)), station),
    )
    with Hasher() as hasher:
        yield Vault(root, dockings, hasher)


def _about(report: Report, docking: Path, path: str) -> dict[Kind, Finding]:
    return {
        f.kind: f
        for f in report.findings
        if f.folder == os.fsencode(docking) and f.path == os.fsencode(path) and not f.is_information
    }


def _leaves_of(path: str) -> str | None:
    return (
        path.removeprefix(".custody/leaves/").removesuffix(".leaves") if path.startswith(".custody/leaves/") else None
    )


def _is_footage(path: str) -> bool:
    return path not in BESIDE and _leaves_of(path) is None


def _flip(vault: Vault, rng: random.Random) -> None:
    docking, path = rng.choice([f for f in vault.files() if (f[0] / f[1]).stat().st_size])
    content = (docking / path).read_bytes()
    at = rng.randrange(len(content))
    changed = bytearray(content)
    changed[at] ^= 1 << rng.randrange(8)
    with _restored(docking / path):
        (docking / path).write_bytes(changed)
        report = vault.check(trusted=rng.random() < 0.5)
    assert report.exit is Exit.ALTERED
    if _is_footage(path):
        found = _about(report, docking, path)[Kind.ALTERED]
        assert [(c.first, c.last) for c in found.chunks] == [(at // CHUNK_BYTES, at // CHUNK_BYTES)]
        assert [f.kind for f in report.findings if not f.is_information] == [Kind.ALTERED]
    elif named := _leaves_of(path):
        assert set(_about(report, docking, named)) == {Kind.LEAVES_ALTERED}
    elif path == "SHA256SUMS":
        assert {f.kind for f in report.findings if not f.is_information} == {Kind.SUMS_ALTERED}
    elif path == ".custody/completed.dsse.json":  # its key id names the signer: a flip there looks like another one
        kinds = {f.kind for f in report.findings}
        assert kinds & {Kind.CLOSING_ALTERED, Kind.SIGNER_UNKNOWN, Kind.KEY_FILE_OTHER}
    else:
        assert BESIDE[path] in _about(report, docking, path)


def _resize(vault: Vault, rng: random.Random) -> None:
    docking, path = rng.choice([f for f in vault.files() if (f[0] / f[1]).stat().st_size])
    size = (docking / path).stat().st_size
    shorter = rng.random() < 0.6
    with _restored(docking / path):
        if shorter:
            os.truncate(docking / path, keep := rng.randrange(size))
        else:
            with (docking / path).open("ab") as file:
                file.write(rng.randbytes(rng.choice([1, 32, 5000])))
        report = vault.check()
    assert report.exit is Exit.ALTERED
    if _is_footage(path):
        found = _about(report, docking, path)[Kind.TRUNCATED if shorter else Kind.EXTENDED]
        if shorter:
            assert found.chunks[0].first == keep // CHUNK_BYTES
            assert found.chunks[-1].last == found.chunk_count - 1  # type: ignore[operator]
        else:
            assert found.chunks == ()
    elif named := _leaves_of(path):
        assert Kind.LEAVES_ALTERED in _about(report, docking, named)
    else:
        kinds = {f.kind for f in report.findings if f.folder == os.fsencode(docking)}
        assert BESIDE[path] in kinds


def _remove(vault: Vault, rng: random.Random) -> None:
    docking, path = rng.choice(vault.files())
    with _restored(docking / path):
        (docking / path).unlink()
        report = vault.check()
    assert report.exit is Exit.ALTERED
    named = _leaves_of(path)
    wanted = REMOVED.get(path) or (Kind.LEAVES_MISSING if named else Kind.MISSING)
    assert wanted in _about(report, docking, named or path)


def _add(vault: Vault, rng: random.Random) -> None:
    docking = rng.choice(vault.dockings)
    folder = rng.choice(["", "DCIM/", ".custody/", ".custody/leaves/", "DCIM/100MEDIA/"])
    path = folder + rng.choice(["new.mp4", ".hidden", "x\x1b[31m.MP4", "VID00001.MP4.bak", "\n"])
    what = rng.choice(["file", "folder", "symlink", "special"])
    match what:
        case "file":
            (docking / path).write_bytes(rng.randbytes(rng.randrange(3)))
        case "folder":
            (docking / path).mkdir()
        case "symlink":
            (docking / path).symlink_to(rng.choice(["/etc/passwd", "nowhere", "."]))
        case "special":
            os.mkfifo(docking / path)
    report = vault.check()
    (docking / path).rmdir() if what == "folder" else (docking / path).unlink()
    assert report.exit is Exit.ALTERED
    assert _about(report, docking, path)[Kind.ADDED].actual == what


def _swap(vault: Vault, rng: random.Random) -> None:
    one, two = rng.sample([f for f in vault.files() if _is_footage(f[1])], 2)
    with _restored(one[0] / one[1]), _restored(two[0] / two[1]):
        left, right = (one[0] / one[1]).read_bytes(), (two[0] / two[1]).read_bytes()
        (one[0] / one[1]).write_bytes(right)
        (two[0] / two[1]).write_bytes(left)
        report = vault.check()
    for docking, path in (one, two):
        assert set(_about(report, docking, path)) & {Kind.ALTERED, Kind.TRUNCATED, Kind.EXTENDED}


def _replace(vault: Vault, rng: random.Random) -> None:
    docking, path = rng.choice([f for f in vault.files() if _is_footage(f[1])])
    file, aside = docking / path, vault.root.parent / "aside"
    file.rename(aside)
    link = rng.random() < 0.5
    file.symlink_to(aside) if link else os.mkfifo(file)
    report = vault.check()
    file.unlink()
    aside.rename(file)
    assert report.exit is Exit.ALTERED
    assert _about(report, docking, path)[Kind.NOT_REGULAR].actual == ("symlink" if link else "special")


@contextmanager
def _restored(file: Path) -> Iterator[None]:
    content = file.read_bytes()
    yield
    file.write_bytes(content)


EDITS: list[tuple[Callable[[Vault, random.Random], None], int]] = [
    (_flip, 160),
    (_resize, 80),
    (_remove, 40),
    (_add, 60),
    (_swap, 20),
    (_replace, 20),
]


@pytest.mark.parametrize(("edit", "times"), EDITS)
def test_every_random_edit_is_found_and_named(
    vault: Vault, edit: Callable[[Vault, random.Random], None], times: int
) -> None:
    for seed in range(times):
        try:
            edit(vault, random.Random(seed))
        except BaseException:
            print(f"{edit.__name__}, seed {seed}")
            raise
    untouched = vault.check(trusted=True)
    assert untouched.exit is Exit.VERIFIED
    assert untouched.authorship_proved
    assert {f.kind for f in untouched.findings} == {Kind.INCOMPLETE_OFFLOAD}


def test_a_folder_swapped_for_a_link_to_itself_is_no_evidence(vault: Vault, tmp_path: Path) -> None:
    folder = vault.dockings[0] / "DCIM"
    moved = tmp_path / "DCIM"
    shutil.move(folder, moved)
    folder.symlink_to(moved)
    report = vault.check()
    folder.unlink()
    shutil.move(moved, folder)
    assert _about(report, vault.dockings[0], "DCIM")[Kind.ADDED].actual == "symlink"
    assert Kind.MISSING in _about(report, vault.dockings[0], "DCIM/100MEDIA/VID00001.MP4")
