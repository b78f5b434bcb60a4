"""The rules of a disposition: 10,000 histories that each lack one of them dispose of nothing and name it."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from agent.disposition import MAX_ENTRIES, Dispose, DockingFacts, Facts, Refused, SavedFile, decide
from agent.release import Trust, VaultCopy
from agent.store import HoldRow
from custody.checkpoint import SigningKey
from custody.commandbody import Disposition
from custody.disposition import floor_ends
from custody.event import Sha256Hex
from custody.release import Pins
from hub.vocabulary import REASONS
from tests.disposition_case import DISPOSITION_ID, WITNESS, Command, Sealed, seal_disposition, sha256
from tests.release_case import COMMAND_KEY, LOG_KEY, Log

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
HISTORIES = 10_000
CAMERA, DOCKING = "CAM1", "20220302T070000Z-01020304"
FILES = 6
DIGESTS = tuple(sha256(b"file %d" % n) for n in range(FILES))
OTHER = SigningKey.from_seed("other", bytes([3]) * 32)
PINS = Pins(LOG_KEY.verify_key, (WITNESS.public,), 1)


@cache
def command(shape: int, digests: tuple[Sha256Hex, ...], changes: tuple[tuple[str, Any], ...]) -> Sealed:
    """Histories differ more in what the station knows than in what the hub sends: made once each."""
    log = Log()
    for n in range(shape):
        log.add(b"entry %d" % n)
    body = Disposition(
        disposition_id=DISPOSITION_ID, docking=DOCKING, file_sha256s=digests, basis="Art. 15, three years are over"
    )
    wanted = Command("dock-1", body, NOW - timedelta(minutes=5))
    return seal_disposition(log, replace(wanted, **dict(changes)))


@dataclass
class History:
    """Everything of one disposition, to be made wrong in one place before it is judged."""

    chance: random.Random
    command: dict[str, Any] = field(default_factory=dict)
    facts: dict[str, Any] = field(default_factory=dict)
    docking: dict[str, Any] = field(default_factory=dict)
    file: dict[str, Any] = field(default_factory=dict)  # of one of the named files
    holds: list[HoldRow] = field(default_factory=list)
    extra: tuple[Sha256Hex, ...] = ()  # digests that the docking has not
    root: bytes | None = b""  # b"": the right one
    twins: int = 0  # more entries with the first named digest

    def __post_init__(self) -> None:
        self.named = sorted(self.chance.sample(range(FILES), self.chance.randrange(1, 3)))
        self.victim = self.chance.choice(self.named)

    def judge(self) -> Dispose | Refused:
        digests = tuple(DIGESTS[n] for n in self.named) + self.extra
        sealed = command(self.chance.choice((0, 5)), digests, tuple(self.command.items()))
        roots = {sealed.checkpoint.size: sealed.checkpoint.root if self.root == b"" else self.root}
        facts = Facts(
            disposition_on=True, station="dock-1", trust=Trust(COMMAND_KEY.verify_key, PINS), now=NOW,
            clock="synchronised",
            docking=replace(DockingFacts(CAMERA, True, True, False, False, False), **self.docking),
            proved_roots={} if self.root is None else roots, holds=tuple(self.holds),  # type: ignore[arg-type]
        )  # fmt: skip
        return decide(sealed.raw, replace(facts, **self.facts), self.saved())

    def saved(self) -> list[SavedFile]:
        files = []
        for n, digest in enumerate(DIGESTS):
            old = NOW - timedelta(days=self.chance.randrange(1097, 5000))
            one = SavedFile(n + 1, b"t%d" % n, 20, digest, True, old, ((CAMERA, DOCKING),), VaultCopy(20, digest))
            files.append(replace(one, **self.file) if n == self.victim else one)
        self.chance.shuffle(files)
        first = next(one for one in files if one.entry == self.named[0] + 1)
        return files + [replace(first, entry=FILES + 1)] * self.twins


def hold(**named: str | None) -> HoldRow:
    return HoldRow("h", **({"camera": None, "docking": None, "file_sha256": None} | named), reason="case 17")


def later_hold(history: History) -> None:
    """On a later docking, whose manifest counts on this copy."""
    history.holds.append(hold(docking="later"))
    history.file.update(named_by=((CAMERA, DOCKING), (CAMERA, "later")))


Lack = Callable[[History], Any]
LACKS: dict[str, list[Lack]] = {  # rule → ways to lack it
    "disposition_off": [lambda h: h.facts.update(disposition_on=False)],
    "not_enrolled": [lambda h: h.facts.update(trust=None)],
    "clock_unsynchronised": [lambda h: h.facts.update(clock="unsynchronised"),
                             lambda h: h.facts.update(clock="unknown")],
    "not_authorised": [
        lambda h: h.command.update(key=OTHER),
        lambda h: h.command.update(key=LOG_KEY),
        lambda h: h.command.update(station="dock-2"),
        lambda h: h.command.update(issued_at=NOW + timedelta(hours=1)),  # or this station's clock is behind
    ],
    "expired": [lambda h: h.facts.update(now=NOW + timedelta(days=8)),
                lambda h: h.command.update(issued_at=NOW - timedelta(days=7))],
    "not_approved": [
        lambda h: h.command.update(approval="none"),
        lambda h: h.command.update(approval="other_body"),
        lambda h: h.command.update(approval="not_the_hub"),
        lambda h: h.command.update(approval="not_in_log"),
        lambda h: h.command.update(approved_by="records"),
        lambda h: h.command.update(log_key=SigningKey.from_seed(LOG_KEY.name, bytes([4]) * 32)),
    ],
    "not_witnessed": [lambda h: h.command.update(cosigned=False)],
    "checkpoint_not_proved": [lambda h: setattr(h, "root", None)],
    "checkpoint_contradicts": [lambda h: setattr(h, "root", b"\1" * 32)],
    "docking_unknown": [lambda h: h.facts.update(docking=None)],
    "docking_incomplete": [lambda h: h.docking.update(closed=False)],
    "not_receipted": [lambda h: h.docking.update(receipted=False)],
    "camera_disputed": [lambda h: h.docking.update(disputed=True)],
    "offload_under_way": [lambda h: h.docking.update(offload_under_way=True)],
    "clearing_under_way": [lambda h: h.docking.update(clearing=True)],
    "file_unknown": [lambda h: setattr(h, "extra", (sha256(b"of another docking"),))],
    "too_many_files": [lambda h: setattr(h, "twins", MAX_ENTRIES)],
    "seal_not_receipted": [lambda h: h.file.update(receipted=False)],
    "file_held": [
        lambda h: h.holds.append(hold(camera=CAMERA)),
        lambda h: h.holds.append(hold(docking=DOCKING)),
        lambda h: h.holds.append(hold(file_sha256=DIGESTS[h.victim])),
        lambda h: h.holds.append(hold(camera=CAMERA, docking=DOCKING, file_sha256=DIGESTS[h.victim])),
        later_hold,
    ],
    "floor_not_over": [
        lambda h: h.file.update(recorded_by=None),
        lambda h: h.file.update(recorded_by=NOW),
        lambda h: h.file.update(recorded_by=datetime(2023, 3, 2, 8, 0, 1, tzinfo=UTC)),
        lambda h: h.file.update(recorded_by=NOW - timedelta(days=h.chance.randrange(1095))),
        lambda h: h.file.update(recorded_by=NOW + timedelta(days=1)),
    ],
    "vault_copy_missing": [lambda h: h.file.update(vault=None)],
    "vault_copy_differs": [lambda h: h.file.update(vault=VaultCopy(20, "00" * 32)),
                           lambda h: h.file.update(vault=VaultCopy(19, DIGESTS[h.victim]))],
}  # fmt: skip


def test_with_every_rule_exactly_the_named_files_are_disposed_of() -> None:
    for seed in range(200):
        history = History(random.Random(seed))
        history.holds = [hold(camera="CAM2"), hold(docking="other"), hold(camera=CAMERA, docking="other")]
        decision = history.judge()
        assert isinstance(decision, Dispose), decision
        assert [one.entry for one in decision.files] == [n + 1 for n in history.named]
        assert (decision.order.approved.requested_by, decision.order.approved.approved_by) == ("records", "leader")


def test_ten_thousand_histories_that_lack_one_rule_dispose_of_nothing_and_name_it() -> None:
    seen: Counter[str] = Counter()
    rules = list(LACKS)
    for seed in range(HISTORIES):
        history = History(random.Random(seed))
        rule = rules[seed % len(rules)]
        history.chance.choice(LACKS[rule])(history)
        decision = history.judge()
        assert isinstance(decision, Refused), (seed, rule)
        assert decision.rule == rule, (seed, decision)
        seen[rule] += 1
    page = (Path(__file__).parents[2] / "custody/spec/disposition.md").read_text("utf-8")
    assert all(f"`{rule}`" in page and rule in REASONS for rule in rules)
    assert min(seen.values()) >= HISTORIES // len(rules)


def test_files_of_one_digest_go_together() -> None:
    history = History(random.Random(1), twins=2)
    decision = history.judge()
    assert isinstance(decision, Dispose)
    assert [one.entry for one in decision.files] == [*(n + 1 for n in history.named), FILES + 1, FILES + 1]


@pytest.mark.parametrize(
    ("recorded_by", "ends"),
    [("2023-03-02T08:00:00", "2026-03-02T08:00:00"), ("2024-02-29T12:00:00", "2027-03-01T12:00:00"),
     ("2021-02-28T00:00:00", "2024-02-28T00:00:00"), ("2021-03-01T00:00:00", "2024-03-01T00:00:00")],
)  # fmt: skip
def test_the_floor_is_three_calendar_years(recorded_by: str, ends: str) -> None:
    assert floor_ends(datetime.fromisoformat(recorded_by + "Z")) == datetime.fromisoformat(ends + "Z")


def test_the_floor_ends_to_the_microsecond() -> None:
    on, before = (History(random.Random(7)) for _ in range(2))
    on.file.update(recorded_by=datetime(2023, 3, 2, 8, 0, tzinfo=UTC))
    before.file.update(recorded_by=datetime(2023, 3, 2, 8, 0, 0, 1, tzinfo=UTC))
    assert isinstance(on.judge(), Dispose)
    refused = before.judge()
    assert isinstance(refused, Refused)
    assert (refused.rule, refused.entry) == ("floor_not_over", before.victim + 1)
