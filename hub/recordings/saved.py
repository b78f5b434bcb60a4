"""Filters that people keep for themselves: a convenience, no fact, so in no log. Each function is one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlencode

from sqlalchemy import delete, func, select, update

from hub.access import Actor
from hub.db import Database, upsert_rows
from hub.language import mark
from hub.problems import Problem
from hub.recordings.filters import RecordingFilter
from hub.tables import saved_filter

MAX_FILTERS = 20  # of one account


class FilterNotSaved(Problem):
    """The name cannot be taken, or there are too many."""

    code = "filter_not_saved"
    http_status = 422
    title = mark("The filter was not saved")
    advice = mark("A name has 1 to 40 characters on one line, and nobody keeps more than 20 filters.")


@dataclass(frozen=True, slots=True)
class SavedFilter:
    """`query` is that of the list's address."""

    name: str
    query: str
    is_default: bool


def load_filters(db: Database, actor: Actor) -> tuple[SavedFilter, ...]:
    """The actor's own, by name."""
    c = saved_filter.c
    query = select(c.name, c.query, c.is_default).where(c.account == actor.name).order_by(c.name)
    with db.read() as connection:
        return tuple(SavedFilter(row.name, row.query, bool(row.is_default)) for row in connection.execute(query))


def save_filter(db: Database, actor: Actor, name: str, limits: RecordingFilter, *, is_default: bool) -> None:
    """Keep a filter under a name; one of that name is replaced. Raises FilterNotSaved."""
    name, c = name.strip(), saved_filter.c
    if not 1 <= len(name) <= 40 or not name.isprintable():
        raise FilterNotSaved
    with db.begin() as tx:
        others = c.account == actor.name, c.name != name
        if tx.execute(select(func.count()).select_from(saved_filter).where(*others)).scalar_one() >= MAX_FILTERS:
            raise FilterNotSaved
        if is_default:
            tx.execute(update(saved_filter).where(*others).values(is_default=False))
        row = (actor.name, name, urlencode(limits.parameters), is_default)
        upsert_rows(tx, saved_filter, ("account", "name", "query", "is_default"), [row])


def remove_filter(db: Database, actor: Actor, name: str) -> None:
    """Forget a filter; one that is not there is no fault."""
    with db.begin() as tx:
        tx.execute(delete(saved_filter).where(saved_filter.c.account == actor.name, saved_filter.c.name == name))
