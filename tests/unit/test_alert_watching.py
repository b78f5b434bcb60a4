"""What is watched, what is retained, and when something may be sent: the pure parts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, time, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub.alerts.conditions import Watched, conditions
from hub.alerts.kinds import WATCHED, Severity
from hub.alerts.retained import RETRY_SECONDS, SETTLE_SECONDS, Retained
from hub.alerts.sending import LONGEST_WAIT, SenderSettings, quiet_until, read_senders, wait_after
from hub.errors import SettingsInvalid

NOW = datetime(2026, 3, 5, 6, 0, tzinfo=UTC)  # 14:00 in Beijing
DAY, MINUTE = timedelta(days=1), timedelta(minutes=1)
SINCE = NOW - 9 * DAY
WELL = {"clock": "synchronised", "outbox_oldest_seconds": 5, "disk_free_bytes": 50, "disk_total_bytes": 100,
        "days_left": 90, "findings": []}  # fmt: skip
QUIET = Watched((("dock-1", True, NOW, WELL),), (), (), (), (NOW - DAY, ""), NOW - DAY, NOW - 99 * DAY)


def held(watched: Watched, since: datetime = SINCE) -> dict[str, str]:
    return {signal.kind: signal.detail for signal in conditions(watched, NOW, since)}


def station(online: bool = True, heard: datetime = NOW, **said: Any) -> Watched:
    return replace(QUIET, stations=(("dock-1", online, heard, WELL | said),))


@pytest.mark.parametrize(
    ("watched", "kinds"),
    [
        (QUIET, {}),
        (station(heard=NOW - 16 * MINUTE), {"station_silent": ""}),
        (station(online=False, heard=NOW - 14 * MINUTE, clock="unsynchronised"), {}),  # what it said then is over
        (station(clock="unsynchronised"), {"clock_wrong": ""}),
        (station(outbox_oldest_seconds=3601), {"outbox_ageing": ""}),
        (station(days_left=14), {"disk_filling": "14"}),
        (station(disk_free_bytes=2, days_left=1), {"disk_nearly_full": "2"}),
        (station(findings=[{"code": "disk_failed"}, {"code": "cpu_hot"}, {"code": "made_up"}, 7]),
            {"disk_failing": "disk_failed", "station_ailing": "cpu_hot"}),
        (station(findings={}, days_left="soon", disk_total_bytes=-1, outbox_oldest_seconds=True), {}),
        (replace(QUIET, unsafe=(("cam", "dock-1", NOW - DAY - MINUTE),)), {"footage_late": ""}),
        (replace(QUIET, unsafe=(("cam", "dock-1", NOW - DAY + MINUTE),)), {}),
        (replace(QUIET, commands=(("dock-1", 7),)), {"command_unanswered": "7"}),
        (replace(QUIET, requests=(("export", "1", NOW - 3 * DAY),)), {"request_waiting": "export"}),
        (replace(QUIET, requests=(("section", "1", NOW - 3 * DAY),)), {"account_request_waiting": "section"}),
        (replace(QUIET, requests=(("export", "1", NOW - DAY),)), {}),
        (replace(QUIET, last_check=(NOW, "entry_altered")), {"log_damaged": "entry_altered"}),
        (replace(QUIET, last_check=(NOW - 3 * DAY, "")), {"log_unchecked": ""}),
        (replace(QUIET, last_check=None, last_backup=None), {"log_unchecked": "", "backup_overdue": ""}),
        (replace(QUIET, last_check=None, last_backup=None, log_since=NOW - DAY), {}),  # a new hub
    ],
)  # fmt: skip
def test_what_holds_now(watched: Watched, kinds: dict[str, str]) -> None:
    assert held(watched) == kinds
    assert set(kinds) <= WATCHED


def test_a_hub_that_was_away_itself_gives_stations_time_to_be_heard() -> None:
    silent = station(heard=NOW - 5 * DAY)
    assert held(silent, since=NOW - 14 * MINUTE) == {}
    assert held(silent, since=NOW - 16 * MINUTE) == {"station_silent": ""}


class Broker:
    """What a broker retains: the last message of each topic."""

    def __init__(self) -> None:
        self.retained: dict[str, bytes] = {}

    def publish(self, topic: str, raw: bytes) -> None:
        self.retained.pop(topic, None)
        if raw:
            self.retained[topic] = raw


STEPS = st.lists(
    st.tuples(
        st.sampled_from(
            ["open", "end", "change", "crash", "broker_lost", "restored_broker", "tick", "lost_echo", "ask"]
        ),
        st.sampled_from("abcd"),
    ),
    max_size=40,
)


@given(STEPS)
def test_whatever_happens_the_broker_ends_with_exactly_the_open_ones(steps: list[tuple[str, str]]) -> None:
    broker, retained, wanted, now, old = Broker(), Retained(), {}, 0.0, {}

    def tick(*, echo: bool = True) -> None:
        for topic, raw in retained.due(wanted, now):
            broker.publish(topic, raw)
            if echo:
                retained.hear(topic, raw)

    def ask() -> None:
        retained.ask(now)
        for topic, raw in broker.retained.items():
            retained.hear(topic, raw)

    ask()
    for number, (step, name) in enumerate(steps):
        now += 0.3
        match step:
            case "open" | "change":
                wanted[name] = b"%d" % number
            case "end":
                wanted.pop(name, None)
            case "crash":
                retained = Retained()
                ask()
            case "broker_lost":
                old, broker.retained = dict(broker.retained), {}
                retained.forget()
                ask()
            case "restored_broker":
                broker.retained = dict(old)
                retained.forget()
                ask()
            case "ask":
                ask()
            case _:
                tick(echo=step == "tick")
    for _ in range(3):
        now += max(SETTLE_SECONDS, RETRY_SECONDS)
        tick()
    assert broker.retained == wanted


def test_nothing_is_published_before_the_broker_has_told_what_it_holds() -> None:
    """The control: one that does not wait publishes what stands there already."""
    retained = Retained()
    assert retained.due({"a": b"1"}, 99.0) == []  # not subscribed
    retained.ask(100.0)
    assert retained.due({"a": b"1"}, 100.0 + SETTLE_SECONDS / 2) == []
    retained.hear("a", b"1")
    assert retained.due({"a": b"1"}, 100.0 + SETTLE_SECONDS) == []
    assert retained.due({}, 100.0 + SETTLE_SECONDS) == [("a", b"")]
    assert retained.due({}, 100.5 + SETTLE_SECONDS) == []  # on its way


NIGHT = SenderSettings(
    ("json://x",), quiet={Severity.WARNING: (time(22), time(7)), Severity.NOTICE: (time(12), time(15))}
)


@pytest.mark.parametrize(
    ("severity", "at", "until"),
    [
        (Severity.CRITICAL, NOW.replace(hour=16), None),  # midnight in Beijing
        (Severity.WARNING, NOW.replace(hour=13, minute=59), None),
        (Severity.WARNING, NOW.replace(hour=14), NOW.replace(hour=23)),
        (Severity.WARNING, NOW.replace(hour=22, minute=59), NOW.replace(hour=23)),
        (Severity.WARNING, NOW.replace(hour=23), None),
        (Severity.NOTICE, NOW, NOW.replace(hour=7)),
    ],
)
def test_quiet_hours(severity: Severity, at: datetime, until: datetime | None) -> None:
    assert quiet_until(NIGHT, severity, at) == until


def test_waits_grow_and_end() -> None:
    waits = [wait_after(n) for n in range(1, 30)]
    assert waits[0] == timedelta(seconds=30)
    assert waits == sorted(waits)
    assert waits[-1] == LONGEST_WAIT


@pytest.mark.parametrize(
    ("text", "mode"),
    [
        ('urls = ["json://127.0.0.1"]', 0o640),
        ("urls = []", 0o600),
        ('urls = ["a"]\nurl = "b"', 0o600),
        ('urls = ["a"]\n[quiet]\ncritical = "22:00-07:00"', 0o600),
        ('urls = ["a"]\n[quiet]\nwarning = "25:00-07:00"', 0o600),
        ('urls = ["a"]\nlanguage = "fr"', 0o600),
        ("nonsense", 0o600),
    ],
)
def test_a_file_of_addresses_that_cannot_be_used(tmp_path: Path, text: str, mode: int) -> None:
    path = tmp_path / "senders.toml"
    path.write_text(text)
    path.chmod(mode)
    with pytest.raises(SettingsInvalid):
        read_senders(path)
