"""The end of a long copy: read back from the disk and mend (check lane), then publish and report (publish lane)."""

import os
from dataclasses import dataclass

from agent.copies import Copied, CopyItem, Failed, coalesce
from agent.disk import vault_error
from agent.errors import AgentError, ReadbackMismatch, SourceError, SourceGone, TargetTaken
from agent.journal import Part, SyncFailed
from agent.readback import wrong_chunks
from agent.run import CHECK_CHUNKS, Again, Run
from agent.salvage import Salvage
from custody.digest import CHUNK_BYTES, HASH_BYTES, leaf_hash, tree_root

MENDING_ROUNDS = 3


@dataclass(frozen=True, slots=True)
class Sealed:
    """A copy that is durable, complete and not yet proven."""

    item: CopyItem
    part: Part
    size_bytes: int
    sha256: bytes
    marks: bytes  # one per chunk, of the bytes that were hashed
    changed: bool
    resumed_at_bytes: int


def check(run: Run, sealed: Sealed) -> None:
    """Read copy and leaves back, mend what is wrong, hand over to `publish`. In the check lane."""
    item, part = sealed.item, sealed.part
    try:
        proven = _read_back(run, sealed)
    except SourceGone as error:
        give_up(run, item, part, error, poison=False)
    except (SourceError, ReadbackMismatch) as error:
        give_up(run, item, part, error, poison=True)
    except SyncFailed as error:
        give_up(run, item, part, vault_error(error.cause), poison=True)
    except OSError as error:
        give_up(run, item, part, vault_error(error), poison=False)
    else:
        if proven:
            run.publish_lane.submit(publish, run, sealed)
        else:
            part.close()
            run.done()


def publish(run: Run, sealed: Sealed) -> None:
    """Name the copy, durably, and report it. In the publish lane."""
    item, part = sealed.item, sealed.part
    try:
        part.publish(item.target, item.leaves_target)
    except FileExistsError as error:
        part.close()
        taken = TargetTaken(str(error.filename))
        run.done(Failed(item.n, taken.code, taken.en))
    except OSError as error:
        give_up(run, item, part, vault_error(error), poison=False)
    else:
        part.close()
        run.done(_copied(sealed))


def give_up(run: Run, item: CopyItem, part: Part, error: AgentError, *, poison: bool) -> None:
    """End a copy: poisoned and asked for again, or kept for a later docking while the run ends."""
    if not poison:
        part.close()
        run.fail(error)
        run.done()
        return
    try:
        part.discard()
    except OSError as worse:
        run.fail(vault_error(worse))
    run.done(Again(item, error))


def _read_back(run: Run, sealed: Sealed) -> bool:
    """Whether the copy is proven; False when nobody waits any more. Raises ReadbackMismatch."""
    part = sealed.part
    buffers = [run.check_buffers.take() for _ in range(CHECK_CHUNKS)]
    fd = run.vault.open_for_readback(part.name)
    try:
        wrong: list[int] | range = range(-(-sealed.size_bytes // CHUNK_BYTES))
        for _ in range(MENDING_ROUNDS):
            wrong = wrong_chunks(
                fd, sealed.size_bytes, sealed.marks, run.marker, wrong, run.ring, buffers, stop=lambda: run.abandoned
            )
            if run.abandoned:
                return False
            if not wrong:
                part.check_leaves()
                return True
            for index in wrong:
                _mend(run, sealed, index, buffers[0])
            if not run.vault.direct:
                os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        raise ReadbackMismatch(wrong[0])
    finally:
        os.close(fd)
        for buffer in buffers:
            run.check_buffers.give(buffer)


def _mend(run: Run, sealed: Sealed, index: int, buffer: memoryview) -> None:
    """Copy one chunk anew. Raises ReadbackMismatch when the source no longer gives the bytes that were hashed."""
    offset = index * CHUNK_BYTES
    expected = min(CHUNK_BYTES, sealed.size_bytes - offset)
    with run.source_lock:
        reader = run.source.open(sealed.item.entry)
        try:
            length, _ = Salvage(reader).read(buffer[:expected], offset)
        finally:
            reader.close()
    if leaf_hash(buffer[:length]) != sealed.part.leaves[index * HASH_BYTES : (index + 1) * HASH_BYTES]:
        raise ReadbackMismatch(index)
    sealed.part.mend(index, buffer, length)


def _copied(sealed: Sealed) -> Copied:
    leaves = bytes(sealed.part.leaves)
    return Copied(
        n=sealed.item.n,
        size_bytes=sealed.size_bytes,
        sha256=sealed.sha256,
        tree_root=tree_root(leaves[at : at + HASH_BYTES] for at in range(0, len(leaves), HASH_BYTES)),
        first_leaf=leaves[:HASH_BYTES],
        chunk_count=len(leaves) // HASH_BYTES,
        gaps=coalesce(sealed.part.gaps),
        changed=sealed.changed,
        copied_bytes=sealed.size_bytes - sealed.resumed_at_bytes,
        resumed_at_bytes=sealed.resumed_at_bytes,
    )
