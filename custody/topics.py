"""MQTT topics, both ways, defined once. See ``custody/spec/topics.md``.

Broker rules, clients and documents are made from `TOPICS` and checked against it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Literal

from custody.errors import FormatError

ROOT = "custodock/1"
LOG_CHECKPOINT = f"{ROOT}/log/checkpoint"
BUREAU_UNIT = "~bureau"  # of alerts that are no section's; no section can have this name
STATION_ID = re.compile(r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?")

Channel = Literal["state", "bay", "events", "receipts", "commands", "witness", "cosignatures", "keep", "refill"]
Party = Literal["station", "hub", "supervisor"]


@dataclass(frozen=True, slots=True)
class Topic:
    """One kind of topic: its pattern ({station} etc. stand for one level), who writes, who reads, and how."""

    pattern: str
    writer: Party
    readers: tuple[Party, ...]
    qos: int
    retained: bool
    payload: str


TOPICS = (
    Topic(f"{ROOT}/{{station}}/state", "station", ("hub", "supervisor"), 1, True, "station state, JSON; will: offline"),
    Topic(f"{ROOT}/{{station}}/bay/{{bay}}", "station", ("hub", "supervisor"), 1, True, "bay state, JSON"),
    Topic(
        f"{ROOT}/{{station}}/events", "station", ("hub",), 1, False, "one envelope, and its opening where it has one"
    ),
    Topic(f"{ROOT}/{{station}}/receipts", "hub", ("station",), 1, False, "one signed receipt or resend request"),
    Topic(f"{ROOT}/{{station}}/commands", "hub", ("station",), 1, False, "one signed command"),
    Topic(f"{ROOT}/{{station}}/keep", "hub", ("station",), 1, False, "one signed keeping, or one refill request"),
    Topic(f"{ROOT}/{{station}}/refill", "station", ("hub",), 1, False, "one page of an answer to a refill request"),
    Topic(f"{ROOT}/{{station}}/witness", "hub", ("station",), 1, False, "C2SP tlog-witness add-checkpoint body"),
    Topic(f"{ROOT}/{{station}}/cosignatures", "station", ("hub",), 1, False, "cosignature, conflict or refusal, JSON"),
    Topic(LOG_CHECKPOINT, "hub", ("station", "supervisor"), 1, True, "the newest checkpoint, signed note"),
    # the hub reads what it wrote: after a crash, a restore or a takeover it finds what is retained there and clears it
    Topic(f"{ROOT}/alerts/{{unit}}/{{alert}}", "hub", ("hub", "supervisor"), 1, True, "one open alert, JSON"),
)


def station_topic(station: str, channel: Channel, bay: str | None = None) -> str:
    """The topic of one station's channel. Raises FormatError for a bad station id or bay."""
    check_station_id(station)
    if (channel == "bay") != (bay is not None):
        raise FormatError("a bay topic, and only it, names a bay")
    if bay is None:
        return f"{ROOT}/{station}/{channel}"
    if not re.fullmatch(r"[A-Za-z0-9._-]{1,32}", bay):
        raise FormatError(f"not a bay name: {bay[:40]!r}")
    return f"{ROOT}/{station}/bay/{bay}"


def alert_topic(section: str, alert_id: str) -> str:
    """The topic of one alert; `section` "": the bureau's as a whole. Raises FormatError for a name that is no level."""
    if not re.fullmatch(r"[\w.@-]{0,64}", section) or not re.fullmatch(r"[0-9a-f-]{1,36}", alert_id):
        raise FormatError(f"not a section and an alert's id: {section[:80]!r}, {alert_id[:40]!r}")
    return f"{ROOT}/alerts/{section or BUREAU_UNIT}/{alert_id}"


@lru_cache(maxsize=4096)
def parse_station_topic(topic: str) -> tuple[str, Channel, str | None]:
    """Station, channel and bay of a topic. Raises FormatError for any other topic."""
    parts = topic.split("/")
    if len(parts) in (4, 5) and parts[:2] == ROOT.split("/"):
        check_station_id(parts[2])
        match parts[3:]:
            case ["bay", bay] if re.fullmatch(r"[A-Za-z0-9._-]{1,32}", bay):
                return parts[2], "bay", bay
            case [
                "state" | "events" | "receipts" | "commands" | "witness" | "cosignatures" | "keep" | "refill" as channel
            ]:
                return parts[2], channel, None
    raise FormatError(f"not a station's topic: {topic[:120]!r}")


def check_station_id(station: str) -> None:
    """Raise FormatError unless `station` is 1 to 63 of a-z, 0-9 and inner hyphens."""
    if not STATION_ID.fullmatch(station) or station in ("log", "alerts", "hub"):
        raise FormatError(f"a station id is 1 to 63 of a-z, 0-9 and inner hyphens: {station[:80]!r}")


def subscription(pattern: str) -> str:
    """An MQTT filter that matches every topic of a pattern."""
    return re.sub(r"\{\w+\}", "+", pattern)
