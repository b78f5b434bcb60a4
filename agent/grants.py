"""Grants to view a file: kept here, good for a limited time that no clock can give back.

A grant ends so many seconds after its receipt, and no later than a moment of the wall clock; it is received by a
synchronised clock only. What time has surely been reached follows from the kernel's clock since that receipt, which
only a reboot begins anew, from a synchronised wall clock, and from a durable mark of both. So a grant that was over
once stays over, whatever the wall clock is set to and however often the station starts.
"""

from __future__ import annotations

import time
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

from agent.store import Store
from custody.commandbody import Grant
from custody.event import Clock

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True, slots=True)
class Uptime:
    """This boot, and its seconds so far, sleep included."""

    boot: str
    seconds: float


@dataclass(frozen=True, slots=True)
class Reached:
    """A time that was surely reached when the kernel's clock said `uptime`."""

    at: datetime
    uptime: Uptime


@dataclass(frozen=True, slots=True)
class GrantRow:
    """A grant as it was received."""

    grant_id: str
    docking: str
    file_sha256: str
    holder: str
    purpose: str
    valid_seconds: int
    until: datetime
    received: Reached
    revoked: bool

    @property
    def over_at(self) -> datetime:
        """When it ends, by both of its bounds."""
        return min(self.until, self.received.at + timedelta(seconds=self.valid_seconds))


def read_uptime() -> Uptime:
    """The kernel's clock that only a reboot begins anew."""
    return Uptime(_BOOT_ID.read_text().strip(), time.clock_gettime(time.CLOCK_BOOTTIME))


def keep_grant(store: Store, number: int, grant: Grant, now: Uptime) -> bool:
    """Keep a grant, inside the caller's transaction; False when there is one of this id."""
    values = (
        grant.grant_id, number, grant.docking, grant.file_sha256, grant.holder, grant.purpose, grant.valid_seconds,
        grant.until.isoformat(), now.boot, now.seconds,
    )  # fmt: skip
    sql = f"INSERT INTO view_grant VALUES ({','.join('?' * 10)}) ON CONFLICT (grant_id) DO NOTHING"  # noqa: S608
    return store.execute(sql, values).rowcount == 1


def revoke_grant(store: Store, number: int, grant_id: str) -> None:
    """End a grant, here already or not, inside the caller's transaction."""
    store.execute("INSERT INTO grant_revoked VALUES (?,?) ON CONFLICT (grant_id) DO NOTHING", (grant_id, number))


def find_grant(store: Store, grant_id: str) -> GrantRow | None:
    """A grant, good or not; None when none of this id came."""
    row = store.execute(
        "SELECT g.grant_id, docking, file_sha256, holder, purpose, valid_seconds, until, answered_at, boot, "
        "boottime_seconds, EXISTS (SELECT 1 FROM grant_revoked r WHERE r.grant_id = g.grant_id) "
        "FROM view_grant g JOIN command USING (number) WHERE g.grant_id = ?",
        (grant_id,),
    ).fetchone()
    if row is None:
        return None
    grant, docking, file_sha256, holder, purpose, valid_seconds, until, answered_at, boot, seconds, revoked = row
    received = Reached(datetime.fromisoformat(answered_at), Uptime(boot, seconds))
    end = datetime.fromisoformat(until)
    return GrantRow(grant, docking, file_sha256, holder, purpose, valid_seconds, end, received, bool(revoked))


def load_mark(store: Store) -> Reached | None:
    """The latest time that was noted as surely reached."""
    row = store.execute("SELECT at, boot, boottime_seconds FROM clock_mark").fetchone()
    return None if row is None else Reached(datetime.fromisoformat(row[0]), Uptime(row[1], row[2]))


def keep_mark(store: Store, reached: Reached) -> None:
    """Note that this time was reached, inside the caller's transaction; an earlier one than noted changes nothing."""
    kept = load_mark(store)
    if kept is None or reached.at > kept.at:
        values = (reached.at.isoformat(), reached.uptime.boot, reached.uptime.seconds)
        store.execute("INSERT OR REPLACE INTO clock_mark VALUES (1, ?, ?, ?)", values)


def time_reached(known: Iterable[Reached], now: datetime, clock: Clock, uptime: Uptime) -> datetime | None:
    """The latest time that is surely reached now, by what was known before; None when nothing is sure. Pure."""
    sure = [now] if clock == "synchronised" else []
    for one in known:
        same_boot = one.uptime.boot == uptime.boot
        since = max(0.0, uptime.seconds - one.uptime.seconds) if same_boot else 0.0
        sure.append(one.at + timedelta(seconds=since))
    return max(sure, default=None)


def why_not_good(grant: GrantRow, mark: Reached | None, now: datetime, clock: Clock, uptime: Uptime) -> str | None:
    """Why nothing may be viewed by this grant now; None when it is good. Pure.

    After a reboot only a synchronised clock tells how much of the grant is left, so without one it is not good.
    """
    if grant.revoked:
        return "revoked"
    reached = time_reached([grant.received] + ([mark] if mark else []), now, clock, uptime)
    if reached is None or reached >= grant.over_at:
        return "expired"
    if uptime.boot != grant.received.uptime.boot and clock != "synchronised":
        return "clock_unsynchronised"
    return None
