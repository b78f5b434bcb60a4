"""Copying on a real disk: what is announced is true, and what is not true is never announced."""

import os
import random
import threading
import time
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from agent.copies import Copied, Failed, Gap, Known
from agent.disk import Vault
from agent.errors import ReadbackMismatch, SourceGone
from agent.folder import FolderReader, FolderSource
from agent.longcopy import OPEN_CHUNKS, STRETCH_CHUNKS, LongCopy
from agent.run import Done, Run
from agent.source import Entry, Reader
from agent.transfer import CopyItem, Result, copy_items
from custody.digest import leaf_hash
from tests.integration.cards import mounted, needs, run
from tests.integration.transfer_cases import MIB, EdgeSource, item_of, items_of, judge, staged, write_files


def copy_all(source: FolderSource | EdgeSource, items: list[CopyItem], vault: Path) -> dict[int, Result]:
    results = list(copy_items(source, items, vault, lambda n, bytes_done: None))
    by_number = {result.n: result for result in results}
    assert len(by_number) == len(results)
    return by_number


def copied(result: Result) -> Copied:
    assert isinstance(result, Copied), result
    return result


sizes = st.one_of(
    st.integers(0, 5000),
    st.sampled_from([0, 1, 4095, 4096, 4097, MIB - 1, MIB, MIB + 1, 8 * MIB, 8 * MIB + 1, 17 * MIB - 3, 24 * MIB]),
)


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(sizes, min_size=1, max_size=6))
def test_copies_equal_the_source(tmp_path: Path, many: list[int]) -> None:
    base = tmp_path / os.urandom(8).hex()
    (base / "vault").mkdir(parents=True)
    contents = write_files(base / "camera", many)
    source = FolderSource(os.fsencode(base / "camera"))
    items = items_of(source)

    results = copy_all(source, items, base / "vault")

    assert len(results) == len(many)
    for item in items:
        judge(base / "vault", item, copied(results[item.n]), contents[b"/".join(item.entry.path)])
    assert staged(base / "vault") == set()


def test_the_judge_finds_one_wrong_byte(tmp_path: Path) -> None:
    """Negative control: the measure that all these tests use does fail."""
    source = EdgeSource({"a": os.urandom(3 * MIB)})
    (item,) = source.items()
    result = copied(copy_all(source, [item], tmp_path)[0])
    judge(tmp_path, item, result, source.contents["a"])
    path = tmp_path / os.fsdecode(item.target)
    path.chmod(0o600)
    with path.open("r+b") as file:
        file.seek(2 * MIB)
        file.write(bytes([source.contents["a"][2 * MIB] ^ 1]))
    with pytest.raises(AssertionError):
        judge(tmp_path, item, result, source.contents["a"])


def test_many_small_files_in_many_folders(tmp_path: Path) -> None:
    contents = write_files(tmp_path / "camera", [number % 7000 for number in range(3000)])
    (tmp_path / "vault").mkdir()
    source = FolderSource(os.fsencode(tmp_path / "camera"))
    items = items_of(source)
    results = copy_all(source, items, tmp_path / "vault")
    for item in items:
        judge(tmp_path / "vault", item, copied(results[item.n]), contents[b"/".join(item.entry.path)])
    assert staged(tmp_path / "vault") == set()


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_a_known_file_is_not_copied(tmp_path: Path, size: int) -> None:
    source = EdgeSource({"same": os.urandom(size), "other": os.urandom(size)})
    leaf = leaf_hash(source.contents["same"][:MIB])
    items = [item_of(n, e, leaf) for n, e in enumerate(source.entries()) if isinstance(e, Entry)]
    results = copy_all(source, items, tmp_path)
    assert results[0] == Known(0)
    judge(tmp_path, items[1], copied(results[1]), source.contents["other"])
    assert not (tmp_path / "cam/same").exists()


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_a_taken_name_is_never_replaced(tmp_path: Path, size: int) -> None:
    source = EdgeSource({"a": os.urandom(size), "b": os.urandom(size)})
    (tmp_path / "cam").mkdir()
    (tmp_path / "cam/a").write_bytes(b"evidence")
    items = source.items()
    results = copy_all(source, items, tmp_path)
    failed = results[0]
    assert isinstance(failed, Failed)
    assert failed.code == "target_taken"
    assert (tmp_path / "cam/a").read_bytes() == b"evidence"
    judge(tmp_path, items[1], copied(results[1]), source.contents["b"])


@pytest.mark.parametrize("size", [5000, 9 * MIB])
def test_unreadable_sectors_are_zeros_with_a_gap(tmp_path: Path, size: int) -> None:
    source = EdgeSource({"a": os.urandom(size)})
    bad = (512, 1024) if size < MIB else (MIB - 512, 1024)  # the second lies across two chunks
    source.bad = [bad]
    (item,) = source.items()
    result = copied(copy_all(source, [item], tmp_path)[0])
    data = bytearray(source.contents["a"])
    data[bad[0] : bad[0] + bad[1]] = bytes(bad[1])
    judge(tmp_path, item, result, bytes(data))
    assert result.gaps == (Gap(*bad),)


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_a_file_that_changed_meanwhile_says_so(tmp_path: Path, size: int) -> None:
    source = EdgeSource({"a": os.urandom(size), "b": os.urandom(size)})
    source.altered = {"b"}
    results = copy_all(source, source.items(), tmp_path)
    assert [copied(results[n]).changed for n in (0, 1)] == [False, True]


@pytest.mark.parametrize("size", [5000, 3 * MIB])
def test_a_file_that_shrank_is_kept_as_far_as_it_goes(tmp_path: Path, size: int) -> None:
    source = EdgeSource({"a": os.urandom(size)})
    (item,) = source.items()
    source.contents["a"] = source.contents["a"][: size - 1500]
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert result.changed
    judge(tmp_path, item, result, source.contents["a"])


def test_the_source_leaves(tmp_path: Path) -> None:
    """Finished files are reported before the error; the broken one is resumed and costs at most 16 MiB again."""
    source = EdgeSource({"a": os.urandom(5 * MIB), "b": os.urandom(60 * MIB), "c": os.urandom(10)})
    items = source.items()
    source.gone_at = ("b", 50 * MIB)
    results: list[Result] = []
    with pytest.raises(SourceGone):
        results.extend(copy_items(source, items, tmp_path, lambda n, bytes_done: None))
    assert [result.n for result in results] == [0]

    source.gone_at = None
    again = copy_all(source, items[1:], tmp_path)
    judge(tmp_path, items[1], copied(again[1]), source.contents["b"])
    judge(tmp_path, items[2], copied(again[2]), source.contents["c"])
    assert copied(again[1]).resumed_at_bytes >= (50 - 16) * MIB
    assert staged(tmp_path) == set()


def test_gaps_survive_a_resume(tmp_path: Path) -> None:
    """A gap of the first attempt stays named although the second attempt does not read there again."""
    source = EdgeSource({"a": os.urandom(40 * MIB)})
    (item,) = source.items()
    source.bad = [(3 * MIB + 512, 512), (33 * MIB, 512)]
    source.gone_at = ("a", 36 * MIB)
    with pytest.raises(SourceGone):
        copy_all(source, [item], tmp_path)
    source.gone_at = None
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert result.resumed_at_bytes >= 20 * MIB
    assert result.gaps == (Gap(3 * MIB + 512, 512), Gap(33 * MIB, 512))
    data = bytearray(source.contents["a"])
    for start, length in source.bad:
        data[start : start + length] = bytes(length)
    judge(tmp_path, item, result, bytes(data))


@pytest.mark.parametrize(
    "damage", ["torn leaves", "zero leaves", "torn gaps", "zero gaps", "flipped part", "no leaves", "short part"]
)
def test_a_damaged_journal_proves_less_and_never_too_much(tmp_path: Path, damage: str) -> None:
    source = EdgeSource({"a": os.urandom(30 * MIB)})
    source.bad = [(MIB, 512)]
    (item,) = source.items()
    source.gone_at = ("a", 28 * MIB)
    with pytest.raises(SourceGone):
        copy_all(source, [item], tmp_path)
    part, leaves, gaps = (tmp_path / ".staging" / f"{item.key}.{end}" for end in ("part", "leaves", "gaps"))
    whole = leaves.stat().st_size // 32
    assert whole >= 12
    if damage == "torn leaves":
        os.truncate(leaves, whole * 32 - 5)
        proven = whole - 1
    elif damage == "zero leaves":  # a power cut: the file's length was durable before the last commit's leaves were
        proven = whole - STRETCH_CHUNKS
        leaves.write_bytes(leaves.read_bytes()[: proven * 32] + bytes(STRETCH_CHUNKS * 32))
    elif damage == "torn gaps":
        gaps.write_bytes(gaps.read_bytes() + b"123")
        proven = whole
    elif damage == "zero gaps":  # a power cut kept the second sector of what was appended, and the first one not
        gaps.write_bytes(gaps.read_bytes() + bytes(9) + b"52 512\n7 512\n")
        proven = whole
    elif damage == "flipped part":
        with part.open("r+b") as file:
            file.seek(5 * MIB + 77)
            byte = file.read(1)[0]
            file.seek(5 * MIB + 77)
            file.write(bytes([byte ^ 4]))
        proven = 5
    elif damage == "no leaves":
        leaves.unlink()
        proven = 0
    else:
        os.truncate(part, 7 * MIB + 5)
        proven = 7
    source.gone_at = None
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert result.resumed_at_bytes == proven * MIB
    data = bytearray(source.contents["a"])
    data[MIB : MIB + 512] = bytes(512)
    judge(tmp_path, item, result, bytes(data))
    assert result.gaps == (Gap(MIB, 512),)


def test_no_torn_gap_outlives_the_gap_that_is_written_over_it(tmp_path: Path) -> None:
    """What a power cut left of two lines is longer than the line of the next attempt."""
    source = EdgeSource({"a": os.urandom(32 * MIB)})
    source.bad = [(MIB, 512), (21 * MIB, 512)]
    (item,) = source.items()
    for gone_at, torn in ((20 * MIB, bytes(len(b"22020096 512")) + b"\n7 512\n"), (30 * MIB, b"")):
        source.gone_at = ("a", gone_at)
        with pytest.raises(SourceGone):
            copy_all(source, [item], tmp_path)
        with (tmp_path / ".staging" / f"{item.key}.gaps").open("ab") as gaps:
            gaps.write(torn)
    source.gone_at = None
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert result.resumed_at_bytes > 21 * MIB
    assert result.gaps == (Gap(MIB, 512), Gap(21 * MIB, 512))


def test_a_finished_copy_put_back_to_staging_is_not_copied_again(tmp_path: Path) -> None:
    """The agent stopped between the rename and the commit of the seal: recovery stages the files again."""
    source = EdgeSource({"a": os.urandom(20 * MIB)})
    source.bad = [(MIB, 512)]
    (item,) = source.items()
    first = copied(copy_all(source, [item], tmp_path)[0])
    assert item.leaves_target is not None
    (tmp_path / os.fsdecode(item.target)).rename(tmp_path / ".staging" / f"{item.key}.part")
    (tmp_path / os.fsdecode(item.leaves_target)).rename(tmp_path / ".staging" / f"{item.key}.leaves")
    reads = source.reads
    again = copied(copy_all(source, [item], tmp_path)[0])
    assert (again.sha256, again.tree_root, again.gaps) == (first.sha256, first.tree_root, first.gaps)
    assert again.resumed_at_bytes == 20 * MIB
    assert source.reads <= reads + 2  # its first and last chunk: is it still this file?


@pytest.mark.parametrize("other_from", [0, 20 * MIB])
def test_another_file_of_the_same_name_size_and_time_is_never_mixed_with_an_unfinished_copy(
    tmp_path: Path, other_from: int
) -> None:
    """A camera that lost its clock was emptied and recorded again between two dockings."""
    source = EdgeSource({"a": os.urandom(40 * MIB)})
    (item,) = source.items()
    source.gone_at = ("a", 36 * MIB)
    with pytest.raises(SourceGone):
        copy_all(source, [item], tmp_path)
    source.gone_at = None
    source.contents["a"] = source.contents["a"][:other_from] + os.urandom(40 * MIB - other_from)
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert result.resumed_at_bytes == 0
    judge(tmp_path, item, result, source.contents["a"])


def flip_after_journal(vault: Path, item: CopyItem, at: int) -> None:
    """Wait until the chunk at `at` is journalled, so never written again, then change one byte of it on the disk."""
    leaves = vault / ".staging" / f"{item.key}.leaves"
    deadline = time.monotonic() + 60
    while leaves.stat().st_size < (at // MIB + 1) * 32:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    fd = os.open(vault / ".staging" / f"{item.key}.part", os.O_RDWR)
    byte = os.pread(fd, 1, at)[0]
    os.pwrite(fd, bytes([byte ^ 0x20]), at)
    os.fsync(fd)
    os.close(fd)


def test_a_bit_flipped_on_the_disk_is_found_and_mended(tmp_path: Path) -> None:
    source = EdgeSource({"a": os.urandom(30 * MIB)})
    (item,) = source.items()
    source.on_changed = lambda entry: flip_after_journal(tmp_path, item, 4 * MIB + 99)
    result = copied(copy_all(source, [item], tmp_path)[0])
    assert source.reads == 31  # the wrong chunk once more, nothing else
    judge(tmp_path, item, result, source.contents["a"])


def test_a_wrong_chunk_that_the_source_cannot_prove_is_never_accepted(tmp_path: Path) -> None:
    """The copy is wrong and the source gives other bytes each time: no vault file, and the disk is not trusted."""
    source = EdgeSource({"a": os.urandom(20 * MIB)})
    (item,) = source.items()

    def flip(entry: Entry) -> None:
        flip_after_journal(tmp_path, item, 3 * MIB)
        content = bytearray(source.contents["a"])
        content[3 * MIB] ^= 1
        source.contents["a"] = bytes(content)

    source.on_changed = flip
    with pytest.raises(ReadbackMismatch):
        copy_all(source, [item], tmp_path)
    assert not (tmp_path / os.fsdecode(item.target)).exists()


class _FailingMemory(EdgeSource):
    """Alters one bit of a buffer some time after it was filled from the source: memory without error correction."""

    def open(self, entry: Entry) -> Reader:
        reader, source = super().open(entry), self

        class Altering:
            def read_into(self, buffer: memoryview, offset: int) -> int:
                length = reader.read_into(buffer, offset)
                if source.delays and length:
                    threading.Timer(source.delays.pop(), self.alter, (buffer,)).start()
                return length

            def alter(self, buffer: memoryview) -> None:
                buffer[len(buffer) // 2] ^= 0x10

            changed, close = reader.changed, reader.close

        return Altering()

    delays: list[float]


@pytest.mark.parametrize("seed", range(4))
def test_memory_that_fails_while_copying_never_parts_digests_from_the_disk(tmp_path: Path, seed: int) -> None:
    """Whichever step it hits: what is announced is true of what lies in the vault, or the copy is made anew."""
    source = _FailingMemory({"a": os.urandom(60 * MIB)})
    generator = random.Random(seed)
    source.delays = [generator.uniform(0, 0.02) for _ in range(40)]
    (item,) = source.items()
    result = copied(copy_all(source, [item], tmp_path)[0])
    judge(tmp_path, item, result, (tmp_path / os.fsdecode(item.target)).read_bytes())


@pytest.mark.needs_root
def test_a_folder_on_a_failing_disk_gives_what_can_be_read(tmp_path: Path) -> None:
    """Reads past the page cache fail whole chunks; each is asked for again, page by page."""
    needs("losetup", "mke2fs", root=True)
    card, vault = tmp_path / "card.img", tmp_path / "vault"
    vault.mkdir()
    with card.open("wb") as file:
        file.truncate(64 * MIB)
    run("mke2fs", "-q", "-F", "-t", "ext2", card)
    whole = os.urandom(24 * MIB + 777)
    with mounted(card, "mount -t ext2") as folder:
        (folder / "A.MP4").write_bytes(whole)
    with mounted(card, "mount -t ext2 -o ro") as folder:
        source = FolderSource(os.fsencode(folder))
        (item,) = (item for item in items_of(source) if item.entry.path == (b"A.MP4",))
        with card.open("r+b") as file:
            file.truncate(card.read_bytes().index(whole[9_000_000:9_000_100]) // 4096 * 4096)
        result = copied(copy_all(source, [item], vault)[item.n])
        source.close()
    assert result.gaps
    assert 8 * MIB < result.gaps[0].offset_bytes <= 9_000_000
    expected = bytearray(whole)
    for gap in result.gaps:
        expected[gap.offset_bytes : gap.offset_bytes + gap.length_bytes] = bytes(gap.length_bytes)
    judge(vault, item, result, bytes(expected))


@pytest.mark.parametrize("cut", [0, 5 * MIB, 5 * MIB + 1, 20 * MIB - 1])
def test_a_file_cut_the_moment_after_it_was_opened(tmp_path: Path, cut: int) -> None:
    """Reads ahead lie beyond its end then: the copy ends where the file does, and says that it changed."""
    contents = write_files(tmp_path / "card", [20 * MIB])
    ((path, content),) = contents.items()

    class Cut(FolderSource):
        def open(self, entry: Entry) -> FolderReader:
            reader = super().open(entry)
            os.truncate(tmp_path / "card" / os.fsdecode(path), cut)
            return reader

    source, vault = Cut(os.fsencode(tmp_path / "card")), tmp_path / "vault"
    vault.mkdir()
    (item,) = items_of(source)
    result = copied(copy_all(source, [item], vault)[item.n])
    source.close()
    assert result.changed
    judge(vault, item, result, content[:cut])


def test_closing_early_keeps_what_is_durable(tmp_path: Path) -> None:
    source = EdgeSource({"a": os.urandom(2 * MIB), "b": os.urandom(50 * MIB)})
    items = source.items()
    results = copy_items(source, items, tmp_path, lambda n, bytes_done: None)
    first = copied(next(results))
    results.close()
    judge(tmp_path, items[first.n], first, source.contents[items[first.n].entry.handle])
    rest = [item for item in items if item.n != first.n and not (tmp_path / os.fsdecode(item.target)).exists()]
    for n, result in copy_all(source, rest, tmp_path).items():
        judge(tmp_path, items[n], copied(result), source.contents[items[n].entry.handle])


def test_results_come_while_items_still_come(tmp_path: Path) -> None:
    """The order of a docking is a stream: no result may wait for the end of it."""
    source = EdgeSource({f"{n:02}": os.urandom(2 * MIB) for n in range(20)})
    drawn = 0

    def stream() -> list[CopyItem]:
        nonlocal drawn
        for item in source.items():
            drawn += 1
            yield item  # type: ignore[misc]

    iterator = copy_items(source, stream(), tmp_path, lambda n, bytes_done: None)
    next(iterator)
    assert drawn < 10
    assert len(list(iterator)) == 19


def test_one_slow_write_holds_up_reading(tmp_path: Path) -> None:
    """A stop costs at most 16 MiB also where one of the writers lags: nobody reads far beyond an unwritten chunk."""
    source = EdgeSource({"long": os.urandom(40 * MIB)})
    (item,) = source.items()
    vault = Vault(os.fsencode(tmp_path))
    run = Run(source, vault)
    written = threading.Event()
    try:
        run.write_lanes[0].submit(written.wait)  # the disk takes its time with every fourth chunk
        run.source_lane.submit(LongCopy(run, item).read)
        seen = -1
        while seen < max(source.reads, 1):  # until it stands still
            seen = source.reads
            time.sleep(0.5)
        assert 0 < seen <= OPEN_CHUNKS
    finally:
        written.set()
        run.finish()
        vault.close()
    assert run.failure is None
    events = [run.events.get_nowait() for _ in range(run.events.qsize())]
    ((result,),) = [event.outcomes for event in events if isinstance(event, Done)]
    assert isinstance(result, Copied)
    judge(tmp_path, item, result, source.contents["long"])
