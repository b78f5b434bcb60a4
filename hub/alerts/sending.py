"""Alerts to where people look anyway: WeCom, DingTalk, Feishu, mail, by the library apprise (an optional package).

Exactly this is sent: how grave, the kind of alert, the station's name, the time, and the address of the alert's page.
No name of a person, no camera, no case and no footage. What is to be sent was put down in the transaction of what it
tells (`hub.alerts.raising.queue_message`); it is claimed, sent, then marked: a crash sends twice, never not at all.
"""

from __future__ import annotations

import logging
import os
import re
import stat
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import delete, select, update

from hub.alerts.kinds import KINDS, Severity
from hub.alerts.saying import severity, title
from hub.db import Database
from hub.errors import SettingsInvalid
from hub.language import Language, load_translations, mark
from hub.tables import alert, alert_message
from hub.times import to_text
from hub.wording import BEIJING, Wording, visible

logger = logging.getLogger("hub.alerts")

TOO_LATE = timedelta(days=1)  # what could not be sent for so long is on the pages; nobody wants it by then
FIRST_WAIT, LONGEST_WAIT = timedelta(seconds=30), timedelta(hours=1)
AT_ONCE = 20
_HOURS = re.compile(r"(?:[01]\d|2[0-3]):[0-5]\d-(?:[01]\d|2[0-3]):[0-5]\d")
KEPT = timedelta(days=7)
BUREAU, TEST = mark("the hub"), mark("A test of Custodock's alerts; nothing has happened")
NOT_NOTED = mark("Nobody has taken note of it yet")
Notify = Callable[[str, str], bool]  # title and body to one address; whether it took them


@dataclass(frozen=True, slots=True)
class SenderSettings:
    """What the file says. `quiet`: hours of the day, Beijing time, in which alerts of a severity wait."""

    urls: tuple[str, ...]
    language: Language = Language.ZH
    pages: str = ""  # address of the hub as people reach it
    quiet: Mapping[Severity, tuple[time, time]] = field(default_factory=dict)


def read_senders(path: Path) -> SenderSettings:
    """Read the file of addresses. They hold passwords: it must not be readable by others. Raises SettingsInvalid."""
    try:
        with path.open("rb") as file:
            if os.fstat(file.fileno()).st_mode & (stat.S_IRWXG | stat.S_IRWXO):
                raise SettingsInvalid(f"{path}: others can read it, and it holds passwords; run chmod 600")
            said = tomllib.load(file)
    except (OSError, ValueError) as error:
        raise SettingsInvalid(f"{path} cannot be read: {error}") from None
    if unknown := said.keys() - {"urls", "language", "pages", "quiet"}:
        raise SettingsInvalid(f"{path}: unknown key {sorted(unknown)[0]!r}")
    urls, pages, quiet = said.get("urls", []), said.get("pages", ""), said.get("quiet", {})
    if not (isinstance(urls, list) and urls and all(isinstance(one, str) for one in urls)):
        raise SettingsInvalid(f"{path}: urls is a list of addresses as apprise writes them")
    if said.get("language", "zh-CN") not in tuple(Language) or not isinstance(pages, str):
        raise SettingsInvalid(f"{path}: language is one of {', '.join(Language)}, pages the hub's address")
    if not isinstance(quiet, dict):
        raise SettingsInvalid(f"{path}: quiet is a table of severities")
    hours = {name: _hours(path, name, text) for name, text in quiet.items()}
    return SenderSettings(tuple(urls), Language(said.get("language", "zh-CN")), pages.rstrip("/"), dict(hours.values()))


def _hours(path: Path, name: str, text: object) -> tuple[Severity, tuple[time, time]]:
    if name not in (Severity.WARNING, Severity.NOTICE) or not isinstance(text, str) or not _HOURS.fullmatch(text):
        raise SettingsInvalid(f'{path}: quiet names warning or notice, as "22:00-07:00"; what is critical never waits')
    start, end = text.split("-")
    return Severity(name), (time.fromisoformat(start), time.fromisoformat(end))


def quiet_until(settings: SenderSettings, grave: Severity, now: datetime) -> datetime | None:
    """When an alert of this severity may be sent; None: now. Pure."""
    if grave not in settings.quiet:
        return None
    start, end = settings.quiet[grave]
    local = now.astimezone(BEIJING)
    at = local.timetz().replace(tzinfo=None)
    if not (start <= at < end if start <= end else at >= start or at < end):
        return None
    wakes = local.replace(hour=end.hour, minute=end.minute, second=0, microsecond=0)
    return wakes if wakes > local else wakes + timedelta(days=1)


def wait_after(attempts: int) -> timedelta:
    """How long to wait after so many attempts in vain, from 1. Pure."""
    return min(LONGEST_WAIT, FIRST_WAIT * (1 << min(attempts - 1, 10)))


def message_of(words: Wording, pages: str, row: Any) -> tuple[str, str]:
    """Title and body: all that is ever sent. `row`: alert, kind, station, opened_at, level. Pure."""
    where = visible(row.station) if row.station else words.say(BUREAU)
    at = words.moment(datetime.fromisoformat(row.opened_at))
    link = f"{pages}/alerts/{row.alert}" if pages else ""
    again = words.say(NOT_NOTED) if row.level else ""
    return f"[{severity(words, row.kind)}] {title(words, row.kind)}", "\n".join(filter(None, (where, at, again, link)))


def through_apprise(urls: tuple[str, ...]) -> tuple[Notify, ...]:
    """One for each address. Raises SettingsInvalid without the package, or for an address that it does not know."""
    try:
        import apprise  # noqa: PLC0415  an optional package, and 20 MB of memory
    except ImportError:
        raise SettingsInvalid("alert_senders needs the package apprise: see deploy/docs/alerts.md") from None
    return tuple(_address(apprise.Apprise(), number, url) for number, url in enumerate(urls, 1))


def _address(sender: Any, number: int, url: str) -> Notify:
    if not sender.add(url):  # its text holds a password and stays out of every message
        raise SettingsInvalid(f"alert_senders: apprise does not know address {number}")
    return lambda head, body: bool(sender.notify(body=body, title=head))


class Sender:
    """Sends what is due. Several processes may: each message is claimed by one."""

    def __init__(self, db: Database, settings: SenderSettings, notify: Sequence[Notify]) -> None:
        """`notify`: one for each address."""
        self._db, self._settings, self._notify = db, settings, notify
        self._took: dict[int, set[int]] = {}  # of messages that some addresses have not taken: those that have
        self._words = Wording(settings.language, load_translations()[settings.language])

    def send_due(self, now: datetime) -> int:
        """Send up to `AT_ONCE` messages; how many went. Raises SQLAlchemy's errors."""
        return sum(self._send(row, now) for row in self._claim(now))

    def send_test(self, now: datetime) -> bool:
        """Send a message that says that it is a test; whether every address took it."""
        told = [notify(self._words.say(TEST), self._words.moment(now)) for notify in self._notify]
        return all(told)

    def _claim(self, now: datetime) -> list[Any]:
        """Messages that are due and still wanted, put off by their next wait, so that nobody else takes them."""
        due = select(alert_message.c.id).where(alert_message.c.next_at <= to_text(now)).order_by(alert_message.c.id)
        with self._db.begin() as tx:
            ids = tx.execute(due.limit(AT_ONCE).with_for_update(skip_locked=True)).scalars().all()
            query = select(alert_message, alert.c.kind, alert.c.station, alert.c.opened_at, alert.c.resolved_at)
            query = query.join(alert, alert.c.id == alert_message.c.alert).where(alert_message.c.id.in_(ids))
            claimed = []
            for row in tx.execute(query.order_by(alert_message.c.id)).all():
                values = self._next(row, now)
                tx.execute(update(alert_message).where(alert_message.c.id == row.id).values(**values))
                if "attempts" in values:
                    claimed.append(row)
        return claimed

    def _next(self, row: Any, now: datetime) -> dict[str, Any]:
        """What becomes of a message that is due: another time, never, or (with `attempts`) now."""
        if row.resolved_at is not None or row.kind not in KINDS:
            return {"next_at": None, "outcome": "over"}
        if now - datetime.fromisoformat(row.created_at) > TOO_LATE:
            return {"next_at": None, "outcome": "too_late"}
        waits = quiet_until(self._settings, KINDS[row.kind].severity, now)
        if waits is not None:
            return {"next_at": to_text(waits)}
        return {"attempts": row.attempts + 1, "next_at": to_text(now + wait_after(row.attempts + 1))}

    def _send(self, row: Any, now: datetime) -> bool:
        """To every address that has not taken it. Only what all have taken is done; a crash forgets who had."""
        took = self._took.setdefault(row.id, set())
        for number, notify in enumerate(self._notify):
            if number not in took and notify(*message_of(self._words, self._settings.pages, row)):
                took.add(number)
        sent = len(took) == len(self._notify)
        outcome = "sent" if sent else "not_taken"
        values = {"outcome": outcome} | ({"next_at": None} if sent else {})
        with self._db.begin() as tx:
            tx.execute(update(alert_message).where(alert_message.c.id == row.id).values(**values))
        if sent:
            del self._took[row.id]
        logger.info("alert_message id=%d outcome=%s attempts=%d", row.id, outcome, row.attempts + 1)
        return sent


def forget_old(db: Database, now: datetime) -> None:
    """Drop what was put down long ago, sent or not: without senders it only grows."""
    old = alert_message.c.created_at < to_text(now - KEPT)
    with db.read() as connection:
        if connection.execute(select(alert_message.c.id).where(old).limit(1)).first() is None:
            return
    with db.begin() as tx:
        tx.execute(delete(alert_message).where(old))
