"""Random edits of bundles: each is found and its place named first; untouched bundles never alarm.

``CUSTODOCK_BUNDLE_EDITS=1000`` runs as many of each; a failure prints its seed.
"""

from __future__ import annotations

import os
import random
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.bundleexamine import examine_bundle
from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.examine import Report
from custody.finding import Exit
from tests.vectors.bundles import LOG_KEY, Bundle, make_bundle
from tests.vectors.dockings import pattern

TIMES = int(os.environ.get("CUSTODOCK_BUNDLE_EDITS", "120"))


@dataclass(frozen=True)
class Place:
    """A bundle on the disk, and how it should be."""

    root: Path
    files: dict[str, bytes]
    hasher: Hasher

    def verify(self, *, trusted: bool) -> Report:
        keys = [LOG_KEY.verify_key] if trusted else []
        return examine_bundle(os.fsencode(self.root), keys, [], lambda _: None, self.hasher)

    def restore(self) -> None:
        """Only what differs: a run has thousands of these."""
        for path in sorted(self.root.rglob("*"), reverse=True):
            name = path.relative_to(self.root).as_posix()
            if path.is_dir() and not path.is_symlink():
                if not any(path.iterdir()):
                    path.rmdir()
            elif path.is_symlink() or name not in self.files:
                path.unlink()
        for name, content in self.files.items():
            path = self.root / name
            if not path.is_file() or path.stat().st_size != len(content) or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    footage = {
        "DCIM/VID00001.MP4": pattern(1, CHUNK_BYTES + 70),
        "DCIM/VID00002.MP4": pattern(2, 300),
        "执法/a.mp4": pattern(3, 301),
        "empty.log": b"",
    }
    with Hasher() as hasher:
        made = Place(tmp_path_factory.mktemp("bundle"), make_bundle(Bundle(footage)), hasher)
        made.restore()
        yield made


# --- Edits: each returns the paths that it concerns, or None where it changed nothing -------------------------------


def _flip(place: Place, rng: random.Random) -> list[str] | None:
    name = rng.choice(sorted(n for n, content in place.files.items() if content))
    changed = bytearray(place.files[name])
    changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    (place.root / name).write_bytes(changed)
    return [name]


def _cut_or_insert(place: Place, rng: random.Random) -> list[str] | None:
    name = rng.choice(sorted(place.files))
    content = place.files[name]
    start = rng.randrange(len(content) + 1)
    end = min(len(content), start + rng.choice([0, 0, 1, 32, 5000]))
    changed = content[:start] + rng.randbytes(rng.choice([0, 1, 32, 700])) + content[end:]
    (place.root / name).write_bytes(changed)
    return None if changed == content else [name]


def _truncate(place: Place, rng: random.Random) -> list[str] | None:
    name = rng.choice(sorted(n for n, content in place.files.items() if content))
    os.truncate(place.root / name, rng.randrange(len(place.files[name])))
    return [name]


def _remove(place: Place, rng: random.Random) -> list[str] | None:
    names = sorted(place.files)
    if rng.random() < 0.2:  # a folder with all in it
        folder = rng.choice(sorted({n.partition("/")[0] for n in names if "/" in n}))
        shutil.rmtree(place.root / folder)
        return [n for n in names if n.startswith(f"{folder}/")]
    name = rng.choice(names)
    (place.root / name).unlink()
    return [name]


def _add(place: Place, rng: random.Random) -> list[str] | None:
    folders = sorted({n.rpartition("/")[0] for n in place.files})
    folder = rng.choice(folders)
    name = f"{folder}/{rng.choice(['x.mp4', '99.dsse.json', '99.tlog-proof', '.hidden', 'station-x.vkey'])}".lstrip("/")
    match rng.choice(["file", "folder", "link", "fifo"]):
        case "file":
            lent = [c for n, c in sorted(place.files.items()) if n.rpartition(".")[2] == name.rpartition(".")[2]]
            content = rng.choice([*lent, rng.randbytes(rng.randrange(3))])  # also what would be valid elsewhere
            (place.root / name).write_bytes(content)
        case "folder":
            (place.root / name).mkdir()
        case "link":
            (place.root / name).symlink_to(rng.choice(["bagit.txt", "/etc/passwd", "nowhere"]))
        case _:
            os.mkfifo(place.root / name)
    return [name]


def _reorder_lines(place: Place, rng: random.Random) -> list[str] | None:
    texts = [n for n, c in place.files.items() if not n.startswith("data/") and c.count(b"\n") > 1]
    name = rng.choice(sorted(texts))
    lines = place.files[name].splitlines(keepends=True)
    one, two = rng.sample(range(len(lines)), 2)
    lines[one], lines[two] = lines[two], lines[one]
    changed = b"".join(lines)
    (place.root / name).write_bytes(changed)
    return None if changed == place.files[name] else [name]


def _double_or_drop_line(place: Place, rng: random.Random) -> list[str] | None:
    texts = [n for n, c in place.files.items() if not n.startswith("data/") and b"\n" in c]
    name = rng.choice(sorted(texts))
    lines = place.files[name].splitlines(keepends=True)
    at = rng.randrange(len(lines))
    lines[at : at + 1] = [lines[at]] * rng.choice([0, 2])
    (place.root / name).write_bytes(b"".join(lines))
    return [name]


def _swap(place: Place, rng: random.Random) -> list[str] | None:
    kinds = sorted({n.partition("/")[0] for n in place.files if "/" in n} - {"leaves", "manifests"})
    kind = rng.choice(kinds)
    one, two = rng.sample(sorted(n for n in place.files if n.startswith(f"{kind}/")), 2)
    (place.root / one).write_bytes(place.files[two])
    (place.root / two).write_bytes(place.files[one])
    return [one, two]


def _rename(place: Place, rng: random.Random) -> list[str] | None:
    name = rng.choice(sorted(place.files))
    other = f"{name}{rng.choice(['~', '.bak', '.MP4'])}"
    (place.root / name).rename(place.root / other)
    return [name, other]


def _link(place: Place, rng: random.Random) -> list[str] | None:
    """The very content, but behind a link: it could be another one tomorrow."""
    name = rng.choice(sorted(place.files))
    aside = place.root.parent / "aside"
    aside.write_bytes(place.files[name])
    (place.root / name).unlink()
    (place.root / name).symlink_to(aside)
    return [name]


EDITS: list[Callable[[Place, random.Random], list[str] | None]] = [
    _flip, _flip, _cut_or_insert, _truncate, _remove, _add, _reorder_lines, _double_or_drop_line, _swap, _rename, _link,
]  # fmt: skip


def test_every_random_edit_is_found_and_its_place_is_named_first(place: Place) -> None:
    edited = 0
    seed = 0
    while edited < TIMES:
        seed += 1
        rng = random.Random(seed)
        edit = rng.choice(EDITS)
        concerned = edit(place, rng)
        if concerned is not None:
            edited += 1
            report = place.verify(trusted=rng.random() < 0.7)
            problems = [f for f in report.findings if not f.is_information]
            told = f"seed {seed}, {edit.__name__} of {concerned}: {[(f.kind.value, f.path) for f in problems]}"
            assert report.exit is Exit.ALTERED, told
            assert problems[0].path is not None, told
            assert problems[0].path.decode() in concerned, told
        place.restore()
    assert place.verify(trusted=True).exit is Exit.VERIFIED


def test_untouched_bundles_never_alarm(place: Place, tmp_path: Path) -> None:
    for seed in range(TIMES):
        rng = random.Random(seed)
        names = rng.sample(["a.mp4", "DCIM/b.mp4", "DCIM/执法/c.mp4", "d e.mp4", "长/名.log", "f"], rng.randrange(1, 5))
        footage = {name: rng.randbytes(rng.choice([0, 1, 64, 900])) for name in names}
        left_out = frozenset(rng.sample(names, rng.randrange(len(names))))
        root = tmp_path / "bundle"
        fresh = Place(root, make_bundle(Bundle(footage, left_out=left_out)), place.hasher)
        root.mkdir()
        fresh.restore()
        report = fresh.verify(trusted=seed % 2 == 0)
        problems = [(f.kind.value, f.path) for f in report.findings if not f.is_information]
        assert (report.exit, problems) == (Exit.VERIFIED, []), f"seed {seed}"
        assert report.authorship_proved == (seed % 2 == 0)
        shutil.rmtree(root)
