"""A person's sessions: where they are signed in, and ending that from elsewhere. Each function is one transaction."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import delete, select

from hub.access import Actor
from hub.accounts import policy
from hub.accounts.service import end_sessions, token_key
from hub.db import Database
from hub.errors import NotFound
from hub.tables import session

# what browsers call themselves, the more particular first: nearly all also claim to be Chrome or Safari
_BROWSERS = (("Edg", "Edge"), ("MicroMessenger", "WeChat"), ("QQBrowser", "QQBrowser"), ("OPR", "Opera"),
             ("Firefox", "Firefox"), ("Chrom", "Chrome"), ("Safari", "Safari"))  # fmt: skip
_SYSTEMS = (("HarmonyOS", "HarmonyOS"), ("OpenHarmony", "HarmonyOS"), ("Android", "Android"), ("iPhone", "iPhone"),
            ("iPad", "iPad"), ("Windows", "Windows"), ("Mac OS", "macOS"), ("Linux", "Linux"))  # fmt: skip


@dataclass(frozen=True, slots=True)
class Session:
    """One session that has not ended. `browser`: its own word, proof of nothing."""

    id: str
    created_at: datetime
    last_seen_at: datetime
    address: str
    browser: str
    code_due: bool
    here: bool  # the one that asks


def list_sessions(db: Database, actor: Actor, token: str, now: datetime) -> list[Session]:
    """The sessions of `actor` that have not ended, this one first, then the one last used."""
    mine = select(session).where(session.c.account == actor.name).order_by(session.c.last_seen_at.desc())
    with db.read() as connection:
        found = [
            Session(
                row.id, datetime.fromisoformat(row.created_at), datetime.fromisoformat(row.last_seen_at), row.address,
                browser_name(row.browser), row.code_due, row.token_sha256 == token_key(token),
            )
            for row in connection.execute(mine)
        ]  # fmt: skip
    good = [one for one in found if not policy.session_over(one.created_at, one.last_seen_at, now)]
    return sorted(good, key=lambda one: not one.here)


def end_session(db: Database, actor: Actor, session_id: str) -> None:
    """End one session of `actor`. Raises NotFound unless there is such a one."""
    with db.begin() as tx:
        mine = session.c.id == session_id, session.c.account == actor.name
        if tx.execute(delete(session).where(*mine)).rowcount != 1:
            raise NotFound("there is no such session")


def end_all_sessions(db: Database, actor: Actor) -> None:
    """Sign `actor` out everywhere, here too."""
    with db.begin() as tx:
        end_sessions(tx, actor.name)


def browser_name(user_agent: str) -> str:
    """Browser and system as their makers call them; of an unknown one the beginning of its own words."""
    browser = next((name for sign, name in _BROWSERS if sign in user_agent), None)
    system = next((name for sign, name in _SYSTEMS if sign in user_agent), None)
    return " · ".join(filter(None, (browser, system))) or user_agent[:60] or "—"
