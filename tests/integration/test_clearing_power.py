"""A power cut at any sector while files are cleared: every other file stays whole, and the rest can be cleared."""

from __future__ import annotations

import hashlib
import mmap
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from agent.card import CardSource
from agent.clearing.card import ClearableCard
from agent.clearing.removal import Removal
from agent.source import FindingKind, SourceKind
from custody.release import Listed, ReleaseRefused
from tests.integration.cards import content, listing
from tests.integration.clearer import card_of, fsck

CHANCE = random.Random(3)
TREE = {f"DCIM/A long name of recording {n:04}.MP4": CHANCE.randbytes(3000 + 400 * n) for n in range(10)}
TREE |= {"DCIM/KEEP1.MP4": CHANCE.randbytes(9000), "KEEP2.MP4": CHANCE.randbytes(70_000)}
Memory = bytearray | mmap.mmap
HARMLESS = {FindingKind.DELETED_ENTRY, FindingKind.ORPHAN}


@dataclass
class RecordingDevice:
    """A card in memory that remembers every write and flush, in order."""

    image: Memory
    writes: list[tuple[int, bytes] | None] = field(default_factory=list)  # None: a flush
    sector_bytes: int = 512
    dies_after: int | None = None

    def size_bytes(self) -> int:
        return len(self.image)

    def read_into(self, buffer: memoryview, offset: int) -> int:
        part = self.image[offset : offset + len(buffer)]
        buffer[: len(part)] = part
        return len(part)

    read_into_direct = read_into

    def write(self, offset: int, data: bytes) -> None:
        assert offset % 512 == len(data) % 512 == 0
        self.writes.append((offset, data))
        self.image[offset : offset + len(data)] = data

    def flush(self) -> None:
        self.writes.append(None)

    def close(self) -> None:
        pass


def authorised(image: bytes) -> tuple[list[Listed], tuple[str, ...]]:
    """What is to go, and the card's volumes."""
    source = CardSource(RecordingDevice(bytearray(image)), SourceKind.IMAGE)
    files = [entry for path, entry in sorted(listing(source)[0].items()) if b"KEEP" not in path[-1]]
    named = [Listed(n, one.path, one.size_bytes, _sha(source, one)) for n, one in enumerate(files, 1)]
    return named, source.facts.volume_ids


def _sha(source: CardSource, entry: object) -> str:
    return hashlib.sha256(content(source, entry)[0]).hexdigest()  # type: ignore[arg-type]


def cuts(before: Path, writes: list[tuple[int, bytes] | None], chance: random.Random) -> Iterator[mmap.mmap]:
    """What the medium may hold when the power goes: all up to the last flush, and any of what was written since.

    Each is `before` in memory, of which only pages that differ are copied.
    """
    for end in range(len(writes) + 1):
        last = max((n for n, one in enumerate(writes[:end]) if one is None), default=-1)
        for keep in (0.0, 1.0, 0.5, 0.5):
            with before.open("rb") as file:
                medium = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY)
            for number, one in enumerate(writes[:end]):
                if one is not None and (number < last or chance.random() < keep):
                    medium[one[0] : one[0] + 512] = one[1][:512]
            yield medium
            medium.close()


def judge(medium: Memory, named: list[Listed]) -> int:
    """Files that were not authorised are whole; authorised ones are whole or gone; how many are gone."""
    source = CardSource(RecordingDevice(medium), SourceKind.IMAGE)
    files, findings = listing(source)
    assert {one.kind for one in findings} <= HARMLESS, findings
    left = {path: _sha(source, entry) for path, entry in files.items()}
    for path, sha in left.items():
        name = b"/".join(path).decode()
        assert sha == hashlib.sha256(TREE[name]).hexdigest(), f"{name} is damaged"
    gone = [one for one in named if one.path not in left]
    assert len(left) + len(gone) == len(TREE)
    claimed = _allocated(source)
    assert claimed, "nothing is allocated"
    return len(gone)


def _allocated(source: CardSource) -> bool:
    """Every cluster of a listed file is marked as taken: else a new recording would overwrite it."""
    from agent.fatvolume import FatVolume  # noqa: PLC0415

    (volume,) = source.volumes
    assert isinstance(volume, FatVolume)
    bits = (
        b"".join(bytes(data or b"") for _, data, _ in volume.medium.blocks(volume.bitmap_pieces()))
        if (volume.is_exfat)
        else b""
    )
    for entry in listing(source)[0].values():
        place = volume.place(entry.handle.partition("/")[2])
        for first, count in volume.chain(place.first_cluster, place.size_bytes, place.contiguous).runs:
            for cluster in range(first, first + count):
                if volume.is_exfat:
                    taken = bits[(cluster - 2) // 8] >> (cluster - 2) % 8 & 1
                else:
                    taken = volume.table.link(cluster)
                assert taken, f"a cluster of {entry.path} is free"
    return True


def judge_all(before: Path, writes: list[tuple[int, bytes] | None], named: list[Listed]) -> None:
    """Every cut."""
    for medium in cuts(before, writes, random.Random(1)):
        judge(medium, named)


def cleared(image: bytes) -> tuple[RecordingDevice, list[Listed], tuple[str, ...]]:
    """Everything authorised is cleared on a device that records it."""
    named, volumes = authorised(image)
    device = RecordingDevice(bytearray(image))
    card = ClearableCard(device, volumes)
    for one in named:
        card.clear(one)
    assert card.finish()
    return device, named, volumes


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["fat12", "fat16", "fat32", "exfat"])
def test_a_power_cut_at_any_write_harms_no_other_file_and_can_be_finished(kind: str, tmp_path: Path) -> None:
    with card_of(kind, tmp_path / "cards", TREE) as path:
        device, named, volumes = cleared(path.read_bytes())
        seen, chance = 0, random.Random(kind)
        for medium in cuts(path, device.writes, chance):
            gone = judge(medium, named)
            seen += 1
            if seen % 16 == 0:  # finishing is the same code: some of them
                again = RecordingDevice(medium)
                card = ClearableCard(again, volumes)
                outcomes = []
                for one in named:
                    try:
                        card.clear(one)
                    except ReleaseRefused as error:
                        outcomes.append(error.rule)
                assert outcomes == ["not_on_card"] * gone
                assert card.finish()
                assert judge(again.image, named) == len(named)
        assert judge(device.image, named) == len(named)
        path.write_bytes(device.image)
        fsck(path, kind)
        assert seen > 100  # exFAT writes least
        print(f"{kind}: {len(device.writes)} writes and flushes, {seen} cuts")


@pytest.mark.needs_root
@pytest.mark.parametrize("kind", ["fat32", "exfat"])
def test_the_judge_sees_clusters_given_back_before_the_name_is_gone(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: the wrong order is found out."""
    from agent.clearing import card as clearing  # noqa: PLC0415

    plan = clearing.plan_removal

    def wrong(*arguments: object) -> Removal:
        removal = plan(*arguments)  # type: ignore[arg-type]
        return Removal(removal.rest[-1], (removal.name, *removal.rest[:-1]))

    monkeypatch.setattr(clearing, "plan_removal", wrong)
    with card_of(kind, tmp_path / "cards", TREE) as path:
        device, named, _ = cleared(path.read_bytes())
        with pytest.raises(AssertionError, match=r"is free|is damaged|unreadable"):
            judge_all(path, device.writes, named)
