"""The station clears a docked camera by an authorisation of the hub: from the command to the certificate."""

from __future__ import annotations

import asyncio
import hashlib
import json
import random
import socket
import subprocess
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.card import open_source
from agent.commands import Answer, command_head, take_command
from agent.commands import Trust as CommandTrust
from agent.proved import keep_proved
from agent.release import Trust
from agent.releasebook import keep_order, open_orders
from agent.releasing import Sources
from agent.store import Store
from custody.commandbody import Hold
from custody.commands import Header, body_text, seal_command
from custody.release import Pins
from custody.releasebody import Release
from custody.stationevents import DockingClosed, ReleaseFinished, ReleaseIntended
from tests.integration.bay_scene import Scene, device, scene
from tests.integration.cards import digests, fat_card, locate, patch, run
from tests.integration.clearer import Clearer
from tests.release_case import COMMAND_KEY, LOG_KEY, Case, authorised

CHANCE = random.Random(11)
TREE = {f"DCIM/{n:03}/Recording number {n:04}.MP4": CHANCE.randbytes(30_000 + 7 * n) for n in range(12)}
TREE |= {"LOG/CAMERA.LOG": b"power on\n"}
HASHES = {name: hashlib.sha256(content).hexdigest() for name, content in TREE.items()}


@dataclass
class Bench:
    """A station with release switched on, and the program that clears."""

    home: Path
    card: Path
    children: list[subprocess.Popen[bytes]]
    clock: tuple[datetime, str] | None = None
    clearer: Clearer | None = None

    def connect(self) -> socket.socket:
        assert self.clearer is not None
        line, child = self.clearer.start()
        self.children.append(child)
        return line

    def sources(self, **changes: Any) -> Sources:
        trust = Trust(COMMAND_KEY.verify_key, Pins(LOG_KEY.verify_key))
        now = lambda: self.clock or (datetime.now(UTC), "synchronised")  # noqa: E731
        return replace(Sources(True, trust, self.connect, 0, now), **changes)  # type: ignore[arg-type]


@pytest.fixture
def bench(tmp_path: Path) -> Any:
    images = tmp_path / "cards"
    images.mkdir()
    made = Bench(tmp_path / "home", fat_card(images / "card.img", TREE), [])
    made.home.mkdir()
    yield made
    for child in made.children:
        child.kill()
        child.wait()


async def until_safe(dock: Scene, bench: Bench) -> None:
    bench.clearer = Clearer(bench.home.parent, bench.card.parent, dock.opened.station.id)
    dock.plug(device(1, bench.card))
    await dock.until_judged()


async def authorise(dock: Scene, bench: Bench, *, proved: bool = True, **changes: Any) -> Case:
    """The hub has everything of the station and authorises the release of its last docking."""
    rows = await dock.opened.dock.store.call(lambda store: store.outbox_from(1, 100_000))
    closed = (await dock.events(DockingClosed))[-1]

    @dataclass
    class Docked:
        docking_id: str = closed.docking_id

    case = await authorised(dock.opened, Docked(), bench.card, [row.envelope for row in rows], **changes)  # type: ignore[arg-type]
    answer = await dock.opened.dock.store.call(_take, dock, case.command)
    assert answer is not None
    assert answer.result == "accepted", answer
    if proved:
        await dock.opened.dock.store.call(_prove, case)
    assert dock.releasing is not None
    dock.releasing.stir()
    return case


def _take(store: Store, dock: Scene, raw: bytes) -> Answer | None:
    trust = CommandTrust(COMMAND_KEY.verify_key, LOG_KEY.verify_key, {Release.KIND: keep_order})
    return take_command(store, dock.opened.station, trust, raw, datetime.now(UTC), "synchronised")


def _prove(store: Store, case: Case) -> None:
    from custody.checkpoint import open_checkpoint  # noqa: PLC0415

    with store.begin():
        keep_proved(store, open_checkpoint(case.body.checkpoint, LOG_KEY.verify_key))


def left_on(card: Path) -> dict[str, str]:
    source = open_source(card)
    try:
        return digests(source)
    finally:
        source.close()


async def finished(dock: Scene, seconds: float = 60) -> ReleaseFinished:
    await until(lambda: dock.events(ReleaseFinished), seconds)
    return (await dock.events(ReleaseFinished))[-1]  # type: ignore[no-any-return]


async def until(look: Callable[[], Awaitable[Any]], seconds: float = 60) -> None:
    """Until what it awaits is true."""
    deadline = time.monotonic() + seconds
    while not await look():
        assert time.monotonic() < deadline
        await asyncio.sleep(0.05)


async def _waits_for(dock: Scene, rule: str) -> bool:
    return [order.rule for order in await dock.opened.dock.store.call(open_orders, None)] == [rule]


async def test_a_camera_is_cleared_by_authority_and_says_so(bench: Bench) -> None:
    """Intent, then the files, then the certificate; the one that was not authorised stays."""
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        entries = len(TREE) - 1
        case = await authorise(dock, bench, entries=[(1, entries)])
        end = await finished(dock)
        (intent,) = await dock.events(ReleaseIntended)
        assert (intent.files, intent.requested_by, intent.approved_by) == (entries, "custodian", "leader")
        assert (end.outcome, end.rule, end.cleared, end.kept, end.unknown) == ("cleared", "complete", entries, 0, 0)
        (certificate,) = case.folder.glob(".custody/release-*.jsonl")
        text = certificate.read_bytes()
        assert hashlib.sha256(text).hexdigest() == end.certificate_sha256
        lines = [json.loads(line) for line in text.splitlines()]
        assert [line["outcome"] for line in lines[1:]] == ["cleared"] * entries
        await dock.until(lambda s: s.state == "safe" and s.reason == "released")
        assert any(s.state == "clearing" and s.progress.files_total == entries for s in dock.seen)
        assert await dock.opened.dock.store.call(open_orders, None) == []
    cleared = {line["sha256"] for line in lines[1:]}
    assert left_on(bench.card) == {name: one for name, one in HASHES.items() if one not in cleared}
    assert len(left_on(bench.card)) == 1
    assert await asyncio.to_thread(_sums_hold, case.folder)


def _sums_hold(folder: Path) -> bool:
    return subprocess.run(["sha256sum", "--quiet", "-c", "SHA256SUMS"], cwd=folder, check=False).returncode == 0


@pytest.mark.parametrize("way", ["off", "not_proved", "clock", "no_program"])
async def test_what_may_still_come_is_waited_for(bench: Bench, way: str) -> None:
    """Nothing is cleared, nothing is stated, and the order is kept with the rule it waits for."""
    changes: dict[str, Any] = {}
    if way == "off":
        changes["release_on"] = False
    if way == "no_program":
        changes["connect"] = _refuse
    rule = {"off": "release_off", "not_proved": "checkpoint_not_proved", "clock": "clock_unsynchronised",
            "no_program": "clearing_unavailable"}[way]  # fmt: skip
    async with scene(bench.home, bench.sources(**changes)) as dock:
        await until_safe(dock, bench)
        if way == "clock":
            bench.clock = datetime.now(UTC), "unsynchronised"
        await authorise(dock, bench, proved=way != "not_proved")
        await until(lambda: _waits_for(dock, rule))
        assert await dock.events(ReleaseFinished) == []
    assert left_on(bench.card) == HASHES


def _refuse() -> socket.socket:
    raise ConnectionRefusedError(111, "Connection refused")


async def command(dock: Scene, body: Hold) -> None:
    """A later command of the hub."""
    head = await dock.opened.dock.store.call(command_head)
    now = datetime.now(UTC)
    header = Header(
        id="01900000-0000-7000-8000-000000000099", station=dock.opened.station.id, number=head.number + 1,
        previous=head.sha256, issued_at=now, expires_at=now + timedelta(hours=1), kind=body.KIND, body=body_text(body),
    )  # fmt: skip
    answer = await dock.opened.dock.store.call(_take, dock, seal_command(header, COMMAND_KEY))
    assert answer is not None
    assert answer.result == "accepted"


@pytest.mark.parametrize("what", ["camera", "docking", "file"])
async def test_what_is_held_is_never_cleared(bench: Bench, what: str) -> None:
    """A hold that comes after the authorisation, and while it waits."""
    name = min(TREE)
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        case = await authorise(dock, bench, proved=False)
        await until(lambda: _waits_for(dock, "checkpoint_not_proved"))
        named: dict[str, Any] = {
            "camera": {"camera": case.body.camera_id},
            "docking": {"docking": case.body.docking_id},
            "file": {"camera": case.body.camera_id, "file_sha256": HASHES[name]},
        }[what]
        await command(dock, Hold(hold_id="01900000-0000-7000-8000-000000000042", reason="case 7", **named))
        await dock.opened.dock.store.call(_prove, case)
        assert dock.releasing is not None
        dock.releasing.stir()
        end = await finished(dock)
    if what == "file":
        assert (end.outcome, end.rule, end.cleared, end.kept) == ("partly", "file_held", len(TREE) - 1, 1)
        assert left_on(bench.card) == {name: HASHES[name]}
    else:
        assert (end.outcome, end.rule, end.cleared, end.certificate_sha256) == ("refused", "held", 0, None)
        assert left_on(bench.card) == HASHES


async def test_a_file_that_changed_on_the_camera_stays_and_new_ones_are_not_touched(bench: Bench) -> None:
    """One byte differs from what was sealed, and a new recording came: both stay as they are."""
    name = min(TREE)
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        at = locate(bench.card, TREE[name][:64])
        patch(bench.card, at, b"\0")
        run("mcopy", "-i", bench.card, "-", "::NEW.MP4", stdin=b"new footage")
        await authorise(dock, bench)
        end = await finished(dock)
        assert (end.outcome, end.rule, end.cleared, end.kept) == ("partly", "content_differs", len(TREE) - 1, 1)
    changed = hashlib.sha256(b"\0" + TREE[name][1:]).hexdigest()
    assert left_on(bench.card) == {name: changed, "NEW.MP4": hashlib.sha256(b"new footage").hexdigest()}


async def test_a_vault_that_is_not_whole_clears_nothing(bench: Bench) -> None:
    """A copy was altered on the vault's disk after it was sealed."""
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        case = await authorise(dock, bench, proved=False)
        _, copy = case.seals()[min(TREE)]
        copy.chmod(0o600)
        patch(copy, 5, b"\0\1\2")
        await dock.opened.dock.store.call(_prove, case)
        assert dock.releasing is not None
        dock.releasing.stir()
        end = await finished(dock)
        assert (end.outcome, end.rule) == ("refused", "vault_copy_differs")
    assert left_on(bench.card) == HASHES


async def test_a_camera_that_was_taken_out_meanwhile_is_not_cleared(bench: Bench) -> None:
    """It comes back to the same bay with the same card; only a new docking's authorisation would do."""
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        case = await authorise(dock, bench, proved=False)
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        await dock.opened.dock.store.call(_prove, case)
        dock.plug(device(1, bench.card))
        end = await finished(dock)
        assert (end.outcome, end.rule) == ("refused", "camera_left_since")
    assert left_on(bench.card) == HASHES


async def test_an_order_whose_time_is_over_ends_without_its_camera(bench: Bench) -> None:
    """Nothing was cleared, and the hub hears that."""
    async with scene(bench.home, bench.sources()) as dock:
        await until_safe(dock, bench)
        dock.plug()
        await dock.until(lambda s: s.state == "empty")
        await authorise(dock, bench)
        assert dock.releasing is not None
        await dock.releasing.end_expired()
        assert await dock.events(ReleaseFinished) == []
        bench.clock = datetime.now(UTC) + timedelta(hours=9), "synchronised"
        await dock.releasing.end_expired()
        end = await finished(dock)
        assert (end.outcome, end.rule, end.bay) == ("refused", "expired", "-")
