"""What openings show, checked as a hub checks them."""

from __future__ import annotations

from collections.abc import Iterable

from agent.store import OutboxRow
from custody.commitments import check_opening, committed, parse_opening
from custody.envelope import parse_envelope


def named(rows: Iterable[OutboxRow], field: str = "officer") -> list[str | None]:
    """The value behind each envelope's commitment, once its opening was verified; None where it commits to none."""
    found: list[str | None] = []
    for row in rows:
        envelope = parse_envelope(row.envelope)
        commitments = committed(envelope)[1]
        assert (row.opening is not None) == bool(commitments)
        if row.opening is None:
            found.append(None)
            continue
        opening = parse_opening(row.opening)
        check_opening(opening, envelope)
        assert {one.field for one in opening.fields} == commitments.keys()
        found += [one.value for one in opening.fields if one.field == field]
        assert found[-1] is not None
        assert found[-1].encode() not in envelope.payload
    return found
