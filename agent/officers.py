"""Officers who may take cameras at this dock, known by number and PIN. Names stay here; events carry numbers."""

from __future__ import annotations

import hmac
import math
import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from agent.errors import AgentError, Exit, Reaction, SettingsInvalid
from agent.store import Store
from custody.commandbody import RosterEntry
from custody.pin import hash_pin

NUMBER = re.compile(r"[A-Za-z0-9-]{1,20}")
PIN = re.compile(r"[0-9]{4,12}")
TRIES_MAX = 5  # wrong PINs in a row; then each further one doubles the wait
BLOCK_SECONDS = 60
BLOCK_SECONDS_MAX = 3600


class PinRefused(AgentError):
    """Number or PIN is not right; which of them is not said."""

    code = "pin_refused"
    reaction = Reaction.RETRY
    exit_code = Exit.USAGE

    def __init__(self) -> None:
        super().__init__(
            "Number or PIN is not right. The camera was not checked out. Try again.",
            "工号或 PIN 不正确，记录仪未领用。请重新输入。",
        )


class PinBlocked(AgentError):
    """Too many wrong PINs: everybody with this number waits."""

    code = "pin_blocked"
    reaction = Reaction.RETRY
    exit_code = Exit.USAGE

    def __init__(self, seconds: int) -> None:
        super().__init__(
            f"Too many wrong PINs. Wait {seconds} s, or ask the custodian.",
            f"PIN 输错次数过多。请等待 {seconds} 秒，或联系管理人员。",
        )


@dataclass(frozen=True, slots=True)
class Officer:
    """A person as the dock knows them."""

    number: str
    name: str
    disabled: bool


def set_officer(store: Store, number: str, name: str, pin: str) -> None:
    """Add an officer or give one a new name and PIN, inside the caller's transaction. Raises SettingsInvalid."""
    if not NUMBER.fullmatch(number):
        raise _invalid("an officer's number is 1 to 20 of A-Z a-z 0-9 -", "工号为 1 至 20 位 A-Z a-z 0-9 -")
    if not PIN.fullmatch(pin):
        raise _invalid("a PIN is 4 to 12 digits", "PIN 为 4 至 12 位数字")
    if not 0 < len(name) <= 40 or not name.isprintable():
        raise _invalid("an officer's name is 1 to 40 printable characters", "姓名为 1 至 40 个可见字符")
    store.execute(
        "INSERT INTO officer (number, name, pin_hash) VALUES (?,?,?) ON CONFLICT (number) DO UPDATE SET "
        "name = excluded.name, pin_hash = excluded.pin_hash, failures = 0, blocked_until = NULL, disabled_at = NULL",
        (number, name, hash_pin(pin)),
    )


def keep_officer(store: Store, entry: RosterEntry, at: datetime) -> bool:
    """Keep an officer as the hub's roster tells; False for a new one without a PIN, who could take nothing.

    Inside the caller's transaction. A PIN that does not come stays, and so does the block after wrong ones.
    """
    disabled = at.isoformat() if entry.disabled else None
    if entry.pin_hash is not None:
        store.execute(
            "INSERT INTO officer (number, name, pin_hash, disabled_at) VALUES (?,?,?,?) ON CONFLICT (number) DO UPDATE "
            "SET name = excluded.name, pin_hash = excluded.pin_hash, failures = 0, blocked_until = NULL, "
            "disabled_at = excluded.disabled_at",
            (entry.number, entry.name, entry.pin_hash, disabled),
        )
        return True
    known = "UPDATE officer SET name = ?, disabled_at = ? WHERE number = ?"
    return store.execute(known, (entry.name, disabled, entry.number)).rowcount > 0


def disable_officer(store: Store, number: str, at: datetime) -> bool:
    """Let an officer take nothing more; whether there was one."""
    return store.execute("UPDATE officer SET disabled_at = ? WHERE number = ?", (at.isoformat(), number)).rowcount > 0


def officers(store: Store) -> list[Officer]:
    """Everybody this dock knows, by number."""
    rows = store.execute("SELECT number, name, disabled_at FROM officer ORDER BY number")
    return [Officer(number, name, disabled is not None) for number, name, disabled in rows]


def check_pin(store: Store, number: str, pin: str, now: datetime) -> Officer:
    """The officer whose PIN this is. Runs its own transactions: a wrong try is counted durably before it is answered.

    Raises PinRefused, PinBlocked. Unknown numbers cost as much time as known ones, and are counted too.
    """
    row = store.execute(
        "SELECT name, pin_hash, failures, blocked_until, disabled_at FROM officer WHERE number = ?", (number,)
    ).fetchone()
    name, kept, failures, blocked_until, disabled_at = row or ("", _NOBODY, 0, None, "never")
    left = (datetime.fromisoformat(blocked_until) - now).total_seconds() if blocked_until else 0
    if 0 < left <= BLOCK_SECONDS_MAX:  # longer than any block: the clock was set back, which must lock nobody out
        raise PinBlocked(math.ceil(left))
    right = hmac.compare_digest(hash_pin(pin[:64], bytes.fromhex(kept.split("$")[1])), kept)
    if right and disabled_at is None:
        with store.begin():
            store.execute("UPDATE officer SET failures = 0, blocked_until = NULL WHERE number = ?", (number,))
        return Officer(number, name, disabled=False)
    with store.begin():
        store.execute(
            "UPDATE officer SET failures = ?, blocked_until = ? WHERE number = ?",
            (failures + 1, _blocked_until(failures + 1, now), number),
        )
    raise PinRefused


def _blocked_until(failures: int, now: datetime) -> str | None:
    if failures < TRIES_MAX:
        return None
    seconds = min(BLOCK_SECONDS_MAX, BLOCK_SECONDS << min(16, failures - TRIES_MAX))
    return (now + timedelta(seconds=seconds)).astimezone(UTC).isoformat()


_NOBODY = "scrypt$" + "00" * 16 + "$" + "00" * 32  # no PIN gives this: for unknown numbers


def _invalid(en: str, zh: str) -> SettingsInvalid:
    return SettingsInvalid(f"{en}. Nothing was changed.", f"{zh}。未作任何改动。")
