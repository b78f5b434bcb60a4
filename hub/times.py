"""Times as the tables hold them: aware UTC, ISO 8601 with microseconds and ``Z``, so that text order is time order."""

from __future__ import annotations

from datetime import UTC, datetime


def now_utc() -> datetime:
    """The hub's clock."""
    return datetime.now(UTC)


def to_text(at: datetime) -> str:
    """An aware time as the tables hold it."""
    return at.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def from_text(text: str | None) -> datetime | None:
    """Read a time column; None stays None. Raises ValueError for anything else than `to_text` writes."""
    return None if text is None else datetime.fromisoformat(text)
