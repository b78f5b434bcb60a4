"""At which log index each envelope stands that the hub has lost, and what is still missing. Pure.

Keepings tell whose envelopes stand where (`runs`), so there every index is known at once. Where none covers the log
(its last moments), the log indexes that stations have from receipts place their envelopes; what they have no receipt
for takes the indexes that are left, if only one source can have stood there. Nothing of this is believed: the root of
the signed checkpoint decides.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from hub.keeping import Run


@dataclass(frozen=True, slots=True)
class Told:
    """Part of the log whose order is known: `runs` fill ``[start, size)``."""

    start: int
    size: int
    runs: tuple[Run, ...]


@dataclass(frozen=True, slots=True)
class Piece:
    """Log indexes ``[start, start + count)``. `source` None: nobody has told whose they are."""

    start: int
    count: int
    source: str | None
    first_seq: int = 0


@dataclass(frozen=True, slots=True)
class Missing:
    """Log indexes ``[start, end)`` that nobody has given yet. `source` None: not even whose they are is known."""

    start: int
    end: int
    source: str | None
    first_seq: int = 0


def place(
    start: int,
    target: int,
    told: Sequence[Told],
    heads: Mapping[str, int],
    claimed: Mapping[int, tuple[str, int]],
    held: Mapping[str, int],
) -> list[Piece]:
    """Pieces that fill ``[start, target)`` in order.

    `heads`: seq of each source's last envelope before `start`. `claimed`: source and seq by log index, from receipts.
    `held`: up to which seq each source's envelopes are at hand without a gap.
    """
    pieces: list[Piece] = []
    seqs, at = dict(heads), start
    for part in sorted(told, key=lambda part: (part.size, part.start)):
        if part.size <= at:
            continue
        runs = _cut(part, at, target)
        if part.start > at:
            ends = {run.source: run.first_seq for run in reversed(runs)}
            pieces += _fill(at, min(part.start, target), seqs, claimed, held, ends)
            _advance(seqs, pieces)
            at = min(part.start, target)
        for run in runs:
            pieces.append(Piece(at, run.count, run.source, run.first_seq))
            at += run.count
        _advance(seqs, pieces)
        if at >= target:
            break
    if at < target:
        pieces += _fill(at, target, seqs, claimed, held, {})
    return pieces


def find_missing(pieces: Sequence[Piece], held: Mapping[str, Sequence[tuple[int, int]]]) -> list[Missing]:
    """What no one has given yet, in order. `held`: seqs at hand by source, as rising ranges ``(first, end)``."""
    found: list[Missing] = []
    for piece in pieces:
        if piece.source is None:
            found.append(Missing(piece.start, piece.start + piece.count, None))
            continue
        for first, end in _gaps(piece.first_seq, piece.first_seq + piece.count, held.get(piece.source, ())):
            shift = piece.start - piece.first_seq
            found.append(Missing(first + shift, end + shift, piece.source, first))
    return found


def _cut(part: Told, start: int, end: int) -> list[Run]:
    """The runs of a part within ``[start, end)``."""
    runs, at = [], part.start
    for run in part.runs:
        skip = min(max(0, start - at), run.count)
        count = min(run.count - skip, max(0, end - at - skip))
        if count > 0:
            runs.append(Run(run.source, run.first_seq + skip, count))
        at += run.count
    return runs


def _fill(
    start: int,
    end: int,
    seqs: Mapping[str, int],
    claimed: Mapping[int, tuple[str, int]],
    held: Mapping[str, int],
    ends: Mapping[str, int],
) -> list[Piece]:
    """Pieces for a stretch that no keeping covers. `ends`: first seq of each source behind the stretch, if known."""
    placed: dict[str, set[int]] = {}
    for index in range(start, end):
        if index in claimed:
            source, seq = claimed[index]
            placed.setdefault(source, set()).add(seq)
    waiting = {}  # envelopes that may stand here though no receipt places them
    for source, last in held.items():
        stop = ends.get(source, last + 1)
        own = placed.get(source, set())
        unplaced = [seq for seq in range(seqs.get(source, 0) + 1, stop) if seq not in own]
        if unplaced:
            waiting[source] = unplaced
    alone, rest = next(iter(waiting.items())) if len(waiting) == 1 else (None, [])
    queue, pieces = iter(rest), list[Piece]()
    for index in range(start, end):
        found: tuple[str | None, int] = claimed.get(index, (None, 0))
        if found[0] is None and alone is not None:
            seq = next(queue, 0)
            found = (alone, seq) if seq else found
        before = pieces[-1] if pieces else None
        goes_on = before is not None and before.source == found[0]
        if before is not None and goes_on and (before.source is None or found[1] == before.first_seq + before.count):
            pieces[-1] = Piece(before.start, before.count + 1, before.source, before.first_seq)
        else:
            pieces.append(Piece(index, 1, *found))
    return pieces


def _advance(seqs: dict[str, int], pieces: Sequence[Piece]) -> None:
    for piece in pieces:
        if piece.source is not None:
            seqs[piece.source] = max(seqs.get(piece.source, 0), piece.first_seq + piece.count - 1)


def _gaps(first: int, end: int, held: Sequence[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    at = first
    for low, high in held:
        if high <= at:
            continue
        if low >= end:
            break
        if low > at:
            yield at, low
        at = high
    if at < end:
        yield at, end
