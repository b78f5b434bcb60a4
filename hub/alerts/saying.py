"""What an alert says, in one language. Pure.

Names from stations and cameras are made inert here, for these words also go to MQTT and to senders.
"""

from __future__ import annotations

from dataclasses import dataclass

from hub.alerts.kinds import KINDS, Severity, Words
from hub.language import Language, mark
from hub.vocabulary import REASONS
from hub.wording import Wording, visible

SEVERITIES = {
    Severity.CRITICAL: mark("Critical"),
    Severity.WARNING: mark("Warning"),
    Severity.NOTICE: mark("Notice"),
}
# what `detail` can hold beside figures, reasons of vocabulary.py and faults of the log
DETAILS = {
    "not_ready": mark("Not ready for duty"),
    "unchecked": mark("not checked yet"),
    "charge_fault": mark("Charging or battery fault"),
    "battery_weak": mark("The battery may be worn"),
    "no_card": mark("No card"),
    "card_fault": mark("The card has faults"),
    "clock_wrong": mark("Its clock is behind"),
    "clock_ahead": mark("Its clock is ahead"),
    "clock_unset": mark("Its clock was never set"),
    "disk_failed": mark("A disk reports that it is failing"),
    "vault_missing": mark("The vault's disk cannot be read"),
    "disk_wearing": mark("A disk shows wear or bad sectors"),
    "disk_hot": mark("A disk is too hot"),
    "cpu_hot": mark("The processor is too hot"),
    "undervoltage": mark("The supply voltage is too low"),
    "throttled": mark("The processor is slowed down by heat or low voltage"),
    "memory_low": mark("Little memory is left"),
    "load_high": mark("The load is high"),
    "bad_proof": mark("No proof leads from one checkpoint to the other"),
    "rollback": mark("The log became shorter"),
    "stopped": mark("The witness has stopped until people decide"),
    "command": mark("a command"),
    "use": mark("a use of footage"),
    "mark": mark("a lower mark of secrecy"),
    "removal": mark("a removal of personal detail"),
    "account": mark("an account"),
    "section": mark("a section"),
    "enrolment": mark("an enrolment"),
}


@dataclass(frozen=True, slots=True)
class About:
    """What an alert is about, as its row says."""

    kind: str
    station: str | None
    camera: str | None
    bay: str | None
    detail: str


def title(words: Wording, code: str) -> str:
    """The kind of alert; an unknown kind, of a later version, is shown as it came, made visible."""
    kind = KINDS.get(code)
    return visible(code[:80]) if kind is None else _in(words, kind.zh, kind.en).title


def speak(words: Wording, about: About) -> Words:
    """Title, what happened, what is safe, what to do."""
    kind = KINDS.get(about.kind)
    if kind is None:
        return Words(visible(about.kind[:80]), "", "", "")
    said = _in(words, kind.zh, kind.en)
    named = {
        "station": visible(about.station or "—"),
        "camera": visible(about.camera or "—"),
        "bay": visible(about.bay or "—"),
        "detail": detail(words, about),
    }
    return Words(said.title, said.what.format_map(named), said.safe, said.do)


def detail(words: Wording, about: About) -> str:
    """A code in words; a figure, or a code of a later version, as it came, made visible."""
    if about.kind == "log_damaged":
        return words.log_fault(about.detail)
    if about.detail in DETAILS:
        return words.say(DETAILS[about.detail])
    return words.reason(about.detail) if about.detail in REASONS else visible(about.detail)


def severity(words: Wording, code: str) -> str:
    """How grave, in a word."""
    return words.say(SEVERITIES[KINDS[code].severity if code in KINDS else Severity.NOTICE])


def _in(words: Wording, zh: Words, en: Words) -> Words:
    return zh if words.language is Language.ZH else en
