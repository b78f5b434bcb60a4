"""How values are said to people: sizes, durations, times, names from cameras, states and codes. Pure.

A `Wording` belongs to one language; its public methods are the filters that templates use.
"""

from __future__ import annotations

import gettext
import unicodedata
from dataclasses import dataclass
from datetime import date, datetime, timedelta, timezone

from hub.language import Language, mark
from hub.logfaults import FAULTS, INDEX_FAULTS
from hub.vocabulary import (
    BAY_STATES,
    BAYS_IN,
    CHANGES,
    CLOCKS,
    COMMAND_FIELDS,
    COMMAND_KINDS,
    COMMAND_STATES,
    CONCERNS,
    COPY_ENDS,
    DISK_STATES,
    ENTRY_TYPES,
    HAPPENINGS,
    LABEL_EXPLANATIONS,
    LABELS,
    REASONS,
    ROLES,
    STANDINGS,
    STATION_ORDERS,
    TASKS,
    USE_STATES,
    USES,
    VERDICTS,
)

BEIJING = timezone(timedelta(hours=8), "UTC+8")  # one zone and no summer time since 1992, so no zone database is needed
_UNITS = ("B", "KB", "MB", "GB", "TB", "PB")
_HIDDEN = frozenset({"Cc", "Cf", "Co", "Cn", "Cs", "Zl", "Zp"})  # controls, bidi marks, zero-width, separators
_AGO = (
    (86400, mark("%(n)s d ago")),
    (3600, mark("%(n)s h ago")),
    (60, mark("%(n)s min ago")),
)


def visible(text: str) -> str:
    """A name from a camera with every character shown that could hide or act: U+202E becomes ``⟨U+202E⟩``.

    HTML is escaped by the template engine, not here.
    """
    if text.isprintable():
        return text
    return "".join(f"⟨U+{ord(ch):04X}⟩" if unicodedata.category(ch) in _HIDDEN else ch for ch in text)


def size(count: int | None) -> str:
    """Bytes in binary units with the short names that people read on their computers: 1.25 GB; — when unknown."""
    if count is None:
        return "—"
    value, unit = float(count), 0
    while value >= 1023.5 and unit < len(_UNITS) - 1:
        value, unit = value / 1024, unit + 1
    digits = 0 if unit == 0 or value >= 99.5 else 1 if value >= 9.95 else 2
    shown = f"{value:.{digits}f}"
    return f"{shown.rstrip('0').rstrip('.') if '.' in shown else shown} {_UNITS[unit]}"


def whole(count: int | None) -> str:
    """A count with thousands separators; — when unknown."""
    return "—" if count is None else f"{count:,}"


def digest_groups(hexadecimal: str) -> list[str]:
    """A digest in groups of eight, for comparing by eye."""
    return [hexadecimal[i : i + 8] for i in range(0, len(hexadecimal), 8)]


@dataclass(frozen=True, slots=True)
class Wording:
    """The words of one language."""

    language: Language
    translations: gettext.NullTranslations

    def say(self, message: str, **values: object) -> str:
        """Translate a marked message and fill in ``%(name)s`` values."""
        text = self.translations.gettext(message)
        return text % values if values else text

    def moment(self, at: datetime | None) -> str:
        """Date and time to the second, Beijing time; — when unknown."""
        if at is None:
            return "—"
        local = at.astimezone(BEIJING)
        return f"{self.day(local.date())} {local:%H:%M:%S}"

    def at_second(self, text: str) -> str:
        """A time column in the one form that spreadsheets sort: 2025-03-05 14:00:00, Beijing time."""
        return f"{datetime.fromisoformat(text).astimezone(BEIJING):%Y-%m-%d %H:%M:%S}"

    def day(self, day: date | None) -> str:
        """A calendar day: 2025年3月5日, or 2025-03-05 in English; — when unknown."""
        if day is None:
            return "—"
        if self.language is Language.ZH:
            return f"{day.year}年{day.month}月{day.day}日"
        return day.isoformat()

    def duration(self, seconds: float | None) -> str:
        """A length of time in its two largest units: 1小时5分, 3分20秒; — when unknown."""
        if seconds is None:
            return "—"
        total = max(0, round(seconds))
        days, hours, minutes = total // 86400, total // 3600 % 24, total // 60 % 60
        units = [
            (days, self.say(mark("%(n)s d"), n=days)),
            (hours, self.say(mark("%(n)s h"), n=hours)),
            (minutes, self.say(mark("%(n)s min"), n=minutes)),
            (total % 60, self.say(mark("%(n)s s"), n=total % 60)),
        ]
        first = next((i for i, (count, _) in enumerate(units) if count), len(units) - 1)
        shown = [text for count, text in units[first : first + 2] if count] or [units[-1][1]]
        return ("" if self.language is Language.ZH else " ").join(shown)

    def local_moment(self, text: str | None) -> str:
        """A camera's own wall clock, ISO 8601 without zone, as it came; — when unknown."""
        if text is None:
            return "—"
        try:
            at = datetime.fromisoformat(text)
        except ValueError:
            return visible(text[:80])
        return f"{self.day(at.date())} {at:%H:%M:%S}"

    def ago(self, at: datetime | None, now: datetime) -> str:
        """How long ago, in its largest unit: 3分钟前; — when unknown."""
        if at is None:
            return "—"
        seconds = int((now - at).total_seconds())
        if seconds < 10:
            return self.say(mark("just now"))
        for length, message in _AGO:
            if seconds >= length:
                return self.say(message, n=seconds // length)
        return self.say(mark("%(n)s s ago"), n=seconds)

    def bay_state(self, code: str) -> str:
        """What a bay is doing, in a word."""
        return self.say(BAY_STATES.get(code, BAY_STATES["unknown"]))

    def reason(self, code: str | None) -> str:
        """What a reason code means; an unknown code is shown as it came, made visible."""
        if not code:
            return "—"
        return self.say(REASONS[code]) if code in REASONS else visible(code[:80])

    def entry_type(self, code: str) -> str:
        """What kind of log entry this is; an unknown type is shown as it came, made visible."""
        return self.say(ENTRY_TYPES[code]) if code in ENTRY_TYPES else visible(code[:80])

    def label(self, code: str) -> str:
        """What is wrong with a recording, in a word; an unknown label is shown as it came, made visible."""
        return self.say(LABELS[code]) if code in LABELS else visible(code[:80])

    def label_explanation(self, code: str) -> str:
        """What a label means, in a sentence; empty for an unknown one."""
        return self.say(LABEL_EXPLANATIONS[code]) if code in LABEL_EXPLANATIONS else ""

    def log_fault(self, code: str) -> str:
        """What a check of the log found; an unknown code is shown as it came, made visible."""
        zh, en = {**FAULTS, **INDEX_FAULTS}.get(code, (visible(code[:80]),) * 2)
        return zh if self.language is Language.ZH else en

    def clock(self, code: str | None) -> str:
        """The quality of a station's clock."""
        return self.say(CLOCKS.get(code or "unknown", CLOCKS["unknown"]))

    def verdict(self, code: str) -> str:
        """Whether a camera may go on duty; an unknown verdict is shown as it came, made visible."""
        return self.say(VERDICTS[code]) if code in VERDICTS else visible(code[:80])

    def change(self, code: str) -> str:
        """What is asked for about an account."""
        return self.say(CHANGES[code]) if code in CHANGES else visible(code[:80])

    def role(self, code: str) -> str:
        """The name of a role."""
        return self.say(ROLES[code]) if code in ROLES else visible(code[:80])

    def command_kind(self, code: str) -> str:
        """What a command asks for; an unknown kind is shown as it came, made visible."""
        return self.say(COMMAND_KINDS[code]) if code in COMMAND_KINDS else visible(code[:80])

    def command_state(self, code: str) -> str:
        """What became of a command."""
        return self.say(COMMAND_STATES[code]) if code in COMMAND_STATES else visible(code[:80])

    def command_field(self, name: str) -> str:
        """What a fact of a command is; an unknown one is shown as it came, made visible."""
        return self.say(COMMAND_FIELDS[name]) if name in COMMAND_FIELDS else visible(name[:80])

    def use(self, code: str) -> str:
        """What footage is asked for to do with it."""
        return self.say(USES[code]) if code in USES else visible(code[:80])

    def use_state(self, code: str) -> str:
        """How a request to use footage stands."""
        return self.say(USE_STATES[code]) if code in USE_STATES else visible(code[:80])

    def copy_end(self, code: str) -> str:
        """What became of a numbered copy."""
        return self.say(COPY_ENDS[code]) if code in COPY_ENDS else visible(code[:80])

    def concern(self, code: str, count: int, said: tuple[str, str] | None) -> str:
        """What speaks against a station: in the station's own words where it gave some."""
        if said is not None:
            return visible(said[0] if self.language is Language.ZH else said[1])
        return self.say(CONCERNS[code], n=whole(count)) if code in CONCERNS else visible(code[:80])

    def task(self, code: str, count: int) -> str:
        """What somebody has to do."""
        return self.say(TASKS[code], n=whole(count))

    def standing(self, code: str) -> str:
        """Where a camera is."""
        return self.say(STANDINGS[code])

    def disk_state(self, code: str) -> str:
        """How a disk is; an unknown state is shown as it came, made visible."""
        return self.say(DISK_STATES[code]) if code in DISK_STATES else visible(code[:80])

    def happening(self, code: str) -> str:
        """What went wrong at a station."""
        return self.say(HAPPENINGS[code])

    def station_order(self, code: str) -> str:
        """What a list of stations begins with."""
        return self.say(STATION_ORDERS[code])

    def bays_in(self, tone: str, count: int) -> str:
        """How many bays are as this tone shows them."""
        return self.say(BAYS_IN[tone], n=whole(count))
