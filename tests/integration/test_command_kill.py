"""kill -9 at every step of a command at a station: carried out and answered once, or not at all."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from agent.officers import officers
from agent.policies import ordered_policy
from custody.commandbody import Body, HoldLifted, PolicyChange, Roster
from tests.unit.test_agent_commands import UUID, Dock, approval, entry, hold

POLICY = PolicyChange(minimum_charge_percent=95, minimum_minutes=300, duty_minutes=480)
LIFT = HoldLifted(hold_id=f"{UUID}9", reason="over")
# SAVEPOINT: before the effect; RELEASE: after it; INSERT INTO outbox: signed; INSERT INTO command: answered
BEFORE = ("BEGIN", "SAVEPOINT", "RELEASE", "INSERT INTO outbox", "INSERT INTO command", "COMMIT")
CASES: dict[str, Body] = {
    "hold": hold(1), "lift": LIFT, "policy": POLICY, "roster": Roster(officers=(entry("A-1"), entry("A-2"))),
}  # fmt: skip


def effect(dock: Dock) -> tuple[object, ...]:
    return dock.store.holds(), ordered_policy(dock.store), officers(dock.store)


def run(directory: Path, moment: str, raw: bytes) -> int:
    words = [sys.executable, "-m", "tests.integration.command_child", str(directory), moment]
    return subprocess.run(words, input=raw, check=False).returncode


@pytest.mark.parametrize("moment", [*BEFORE, "answered", "never"])
@pytest.mark.parametrize("case", CASES)
def test_killed_at(tmp_path: Path, case: str, moment: str) -> None:
    dock, body = Dock(tmp_path), CASES[case]
    dock.take(dock.hub.order(hold(9)))  # what `lift` lifts
    before, answers = effect(dock), len(dock.answers())
    raw = dock.hub.order(body, approval=approval(body) if body.APPROVED else None)
    dock.store.close()
    assert run(tmp_path, moment, raw) == (0 if moment == "never" else -signal.SIGKILL)

    again = Dock(tmp_path)
    if moment in BEFORE:
        assert (effect(again), len(again.answers())) == (before, answers)
        assert again.take(raw) == ("accepted", "done")
    else:
        assert again.take(raw) is None  # it was answered: the answer lies in the outbox
    assert effect(again) != before
    assert [(a.number, a.result) for a in again.answers()] == [(1, "accepted"), (2, "accepted")]
    assert again.store.first_unreceipted() == 1
    assert again.take(raw) is None
    assert len(again.answers()) == 2
    again.store.close()
