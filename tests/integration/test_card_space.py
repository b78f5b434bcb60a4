"""Free space of each file system, against what its own tools or the kernel say, and when its structures are hurt."""

import os
import random
import re
from pathlib import Path

import pytest

from agent.card import CardSource, open_source
from agent.freespace import Space
from tests.integration.cards import (
    MIB,
    exfat_card,
    ext_card,
    fat_card,
    faulty_card,
    mounted,
    needs,
    ntfs_card,
    partitioned,
    patch,
    plant,
    run,
)

TREE = {"DCIM/A.MP4": random.Random(9).randbytes(3_000_001), "DCIM/B.MP4": b"x", "EMPTY.TXT": b""}


def spaces(image: Path) -> tuple[Space, ...]:
    source = open_source(image)
    assert isinstance(source, CardSource)
    try:
        return source.spaces()
    finally:
        source.close()


def said_by_mtools(image: Path) -> int:
    """The "bytes free" line of mdir, which counts the table when the hint sector is wiped."""
    lines = run("mdir", "-i", image, "::").decode().splitlines()
    return int(re.sub(r"\D", "", next(line for line in lines if "bytes free" in line)))


@pytest.mark.parametrize(("bits", "size_mib", "per_cluster"), [(12, 4, 2), (16, 64, 4), (32, 64, 1)])
def test_fat_counts_free_clusters(tmp_path: Path, bits: int, size_mib: int, per_cluster: int) -> None:
    image = fat_card(tmp_path / "card.img", TREE, bits, size_mib, per_cluster)
    [space] = spaces(image)
    assert space.free_bytes == said_by_mtools(image)
    assert space.exact
    assert space.total_bytes - space.free_bytes >= 3_000_001


def test_a_wrong_hint_of_fat32_is_not_believed(tmp_path: Path) -> None:
    image = fat_card(tmp_path / "card.img", TREE)
    before = spaces(image)
    patch(image, 512 + 488, (7).to_bytes(4, "little"))  # FSInfo: free clusters
    assert spaces(image) == before


def test_an_unreadable_table_of_fat_counts_as_used(tmp_path: Path) -> None:
    image = fat_card(tmp_path / "card.img", {})
    [whole] = spaces(image)
    table = 32 * 512
    length = int.from_bytes(image.read_bytes()[36:40], "little") * 512
    one, _ = faulty_card(image, [(table + 65536, 512)])
    assert one.spaces() == (whole,)  # the second copy has it
    both, _ = faulty_card(image, [(table + 65536, 512), (table + length + 65536, 512)])
    [hurt] = both.spaces()
    assert not hurt.exact
    assert hurt.free_bytes is not None
    assert whole.free_bytes is not None
    assert whole.free_bytes - hurt.free_bytes == 128 * 512


@pytest.mark.needs_root
def test_exfat_and_ntfs_agree_with_the_kernel(tmp_path: Path) -> None:
    for make, mount, name in ((exfat_card, "mount.exfat-fuse", "exfat"), (ntfs_card, "ntfs-3g", "ntfs")):
        image = tmp_path / f"{name}.img"
        with make(image) as folder:
            plant(folder, TREE)
        [space] = spaces(image)
        with mounted(image, mount) as folder:
            kernel = os.statvfs(folder)
        assert space == Space(space.total_bytes, kernel.f_bfree * kernel.f_frsize, exact=True)
        assert space.total_bytes - (space.free_bytes or 0) >= 3_000_001


@pytest.mark.needs_root
def test_an_unreadable_bitmap_of_exfat_counts_as_used(tmp_path: Path) -> None:
    image = tmp_path / "card.img"
    with exfat_card(image):
        pass
    [whole] = spaces(image)
    boot = image.read_bytes()[:512]
    heap = int.from_bytes(boot[88:92], "little") * 512  # the bitmap lies in the first cluster
    hurt_card, _ = faulty_card(image, [(heap, 512)])
    [hurt] = hurt_card.spaces()
    assert not hurt.exact
    assert hurt.free_bytes is not None
    assert hurt.free_bytes < (whole.free_bytes or 0)


@pytest.mark.parametrize("kind", ["ext2", "ext3", "ext4"])
def test_ext_agrees_with_dumpe2fs(tmp_path: Path, kind: str) -> None:
    needs("dumpe2fs")
    image = ext_card(tmp_path / "card.img", plant(tmp_path / "root", TREE), kind)
    said = dict(
        re.findall(r"^(Block count|Free blocks|Block size): +(\d+)$", run("dumpe2fs", "-h", image).decode(), re.M)
    )
    size = int(said["Block size"])
    assert spaces(image) == (Space(int(said["Block count"]) * size, int(said["Free blocks"]) * size, exact=True),)
    patch(image, 1024 + 12, (1).to_bytes(4, "little"))  # the superblock's own total is a hint
    assert spaces(image)[0].free_bytes == int(said["Free blocks"]) * size


def test_ext_without_readable_descriptors_says_what_the_superblock_says(tmp_path: Path) -> None:
    image = ext_card(tmp_path / "card.img", plant(tmp_path / "root", TREE))
    [whole] = spaces(image)
    block = 1024 << int.from_bytes(image.read_bytes()[1024 + 24 : 1024 + 28], "little")
    first = int.from_bytes(image.read_bytes()[1024 + 20 : 1024 + 24], "little")
    card, _ = faulty_card(image, [((first + 1) * block, 512)])
    assert card.spaces() == (Space(whole.total_bytes, whole.free_bytes, exact=False),)


def test_every_partition_has_its_own_space(tmp_path: Path) -> None:
    one = fat_card(tmp_path / "one.img", TREE)
    two = ext_card(tmp_path / "two.img", plant(tmp_path / "root", TREE))
    card = partitioned(tmp_path / "card.img", [one, two], "dos")
    assert spaces(card) == (*spaces(one), *spaces(two))
    assert all(space.total_bytes > 30 * MIB for space in spaces(card))
