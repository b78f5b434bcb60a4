"""When the vault will be full, from the bytes that came in day by day.

Method: days are added up in weeks of seven, ending yesterday, so that working days and weekends weigh as they do in
life. Of the last eight weeks the median is taken, which one great operation does not move, and the newest week; the
larger of the two is the rate, because a warning too early costs less than a full disk. Nothing is assumed to be
removed. With less than one whole week there is no forecast: None, not a guess.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, timedelta
from statistics import median

from agent.store import Store

WEEKS = 8
DAYS_KEPT = 400
DAYS_REDONE = 7  # a docking may last and grow; older days do not change any more


def daily_rate(days: Mapping[date, int], today: date) -> float | None:
    """Bytes a day to reckon with; `days` without an entry had none. None with less than a week since the first day."""
    first = min(days, default=today)
    weeks = []
    for week in range(WEEKS):
        start = today - timedelta(days=7 * (week + 1))
        if start < first:
            break
        weeks.append(sum(days.get(start + timedelta(days=day), 0) for day in range(7)))
    return max(median(weeks), weeks[0]) / 7 if weeks else None


def days_left(free_bytes: int, days: Mapping[date, int], today: date) -> float | None:
    """Days until `free_bytes` are used up; None when unknown or when nothing comes in."""
    rate = daily_rate(days, today)
    return max(0, free_bytes) / rate if rate else None


def vault_days(store: Store, today: date) -> dict[date, int]:
    """Bytes that came into the vault by day (UTC) of their docking's start, kept in one row a day; opens a transaction.

    The rows are made from the entries, so calling it any number of times changes nothing: the newest days are added up
    again, and once all days when there is no row yet.
    """
    with store.begin():
        known = store.execute("SELECT 1 FROM vault_day LIMIT 1").fetchone()
        since = today - timedelta(days=DAYS_REDONE if known else DAYS_KEPT)
        store.execute(
            "INSERT INTO vault_day SELECT substr(d.started_at, 1, 10) AS day, sum(e.saved_bytes) FROM docking d "
            "JOIN entry e ON e.docking = d.id AND e.state IN ('sealed', 'changed') WHERE d.started_at >= ? "
            "GROUP BY day HAVING sum(e.saved_bytes) NOT NULL "
            "ON CONFLICT (day) DO UPDATE SET written_bytes = excluded.written_bytes",
            (since.isoformat(),),
        )
        store.execute("DELETE FROM vault_day WHERE day < ?", ((today - timedelta(days=DAYS_KEPT)).isoformat(),))
        rows = store.execute("SELECT day, written_bytes FROM vault_day ORDER BY day").fetchall()
    return {date.fromisoformat(day): written for day, written in rows}
