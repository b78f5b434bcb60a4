"""Grants to view a file: kept here, good for a limited time by a clock that nobody can set.

A grant is good for so many seconds of CLOCK_BOOTTIME from its receipt on, and until a moment of the wall clock. To set
the wall clock back never makes one longer: within the same boot the first bound holds; after a reboot only the second
is left, and it counts only by a synchronised clock.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import datetime
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
class GrantRow:
    """A grant as it was received."""

    grant_id: str
    docking: str
    file_sha256: str
    holder: str
    purpose: str
    valid_seconds: int
    until: datetime
    received: Uptime
    revoked: bool


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
        "SELECT g.grant_id, docking, file_sha256, holder, purpose, valid_seconds, until, boot, boottime_seconds, "
        "EXISTS (SELECT 1 FROM grant_revoked r WHERE r.grant_id = g.grant_id) FROM view_grant g WHERE g.grant_id = ?",
        (grant_id,),
    ).fetchone()
    if row is None:
        return None
    grant, docking, file_sha256, holder, purpose, valid_seconds, until, boot, seconds, revoked = row
    end, received = datetime.fromisoformat(until), Uptime(boot, seconds)
    return GrantRow(grant, docking, file_sha256, holder, purpose, valid_seconds, end, received, bool(revoked))


def why_not_good(grant: GrantRow, now: datetime, clock: Clock, uptime: Uptime) -> str | None:
    """Why nothing may be viewed by this grant now; None when it is good. Pure."""
    if grant.revoked:
        return "revoked"
    if clock == "synchronised" and now >= grant.until:
        return "expired"
    if uptime.boot != grant.received.boot:
        return None if clock == "synchronised" else "clock_unsynchronised"
    return "expired" if uptime.seconds - grant.received.seconds >= grant.valid_seconds else None
