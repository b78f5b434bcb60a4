"""What people have stated of one recording, added up. Pure.

Labels: of each field the newest statement counts that was not undone. Marks: only ever higher, until two people lower
one. So order is all that matters, and the same entries always give the same `Standing`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import get_args

from custody.event import Event
from custody.hubevents import (
    RecordingKnowingChanged,
    RecordingLabelled,
    RecordingLabelsUndone,
    RecordingMarkDecided,
    RecordingMarked,
    SecrecyMark,
)

MARKS: tuple[str, ...] = get_args(SecrecyMark)  # rising
NORMAL, STATE_SECRET = MARKS[0], MARKS[-1]
STATING = (RecordingLabelled, RecordingLabelsUndone, RecordingMarked, RecordingKnowingChanged, RecordingMarkDecided)


@dataclass(frozen=True, slots=True)
class Standing:
    """How a recording stands. `*_at`: log index of the labelling whose opening holds the text."""

    kind: str | None = None
    parties_present: bool | None = None
    place_at: int | None = None
    matter_at: int | None = None
    case_at: int | None = None
    mark: str = NORMAL
    known_to: frozenset[str] = frozenset()

    @property
    def restricted(self) -> bool:
        """Whether only those who need to know may see more than that it exists."""
        return self.mark != NORMAL


UNSTATED = Standing()


def rank(mark: str) -> int:
    """How much a mark protects, from 0."""
    return MARKS.index(mark)


def approvals_needed(mark: str) -> int:
    """How many people beside the one who asks must approve a use of a recording with this mark (Art. 17, 18).

    Raises ValueError for no mark.
    """
    return 1 if rank(mark) == 0 else 2


def stand(events: Iterable[tuple[int, Event]]) -> Standing:
    """What `events`, all about one recording, rising by log index, come to."""
    standing = UNSTATED
    labellings: list[tuple[int, RecordingLabelled]] = []
    for index, event in events:
        match event:
            case RecordingLabelled():
                labellings.append((index, event))
            case RecordingLabelsUndone(labelling_id=undone):
                labellings = [one for one in labellings if one[1].labelling_id != undone]
            case RecordingMarked(mark=mark) if rank(mark) > rank(standing.mark):
                known = standing.known_to if standing.restricted else frozenset({event.account})
                standing = replace(standing, mark=mark, known_to=known)
            case RecordingKnowingChanged(account=account) if standing.restricted:
                changed = standing.known_to | {account} if event.may_know else standing.known_to - {account}
                standing = replace(standing, known_to=changed)
            case RecordingMarkDecided(mark=mark, approved=True) if rank(mark) < rank(standing.mark):
                standing = replace(standing, mark=mark, known_to=frozenset() if mark == NORMAL else standing.known_to)
            case _:
                pass
    for index, labelling in labellings:
        standing = _labelled(standing, index, labelling)
    return standing


def _labelled(standing: Standing, index: int, event: RecordingLabelled) -> Standing:
    return replace(
        standing,
        kind=event.kind or standing.kind,
        parties_present=standing.parties_present if event.parties_present is None else event.parties_present,
        place_at=standing.place_at if event.place_commitment is None else index,
        matter_at=standing.matter_at if event.matter_commitment is None else index,
        case_at=standing.case_at if event.case_number_commitment is None else index,
    )
