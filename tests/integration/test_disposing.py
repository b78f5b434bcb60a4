"""A disposition carried out at a station: exactly the named files leave, however often it is stopped in between."""

from __future__ import annotations

import asyncio
import hashlib
import json
import shutil
import signal
import subprocess
import sys
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from agent.disposing import remove
from agent.dispositionbook import open_orders
from agent.errors import VaultError
from agent.keyrotation import rotate_key
from agent.opening import Opened
from agent.pipeline import Order, offload
from agent.store import Store
from custody.checkpoint import SigningKey
from custody.cli import main as verify
from custody.stationevents import DispositionFinished, DispositionIntended
from tests.integration.disposing_scene import (
    FILES,
    LATER,
    NAMED,
    TODAY,
    Scene,
    disposing,
    order,
    prepare,
    stated,
)
from tests.release_case import LOG_KEY

STAY = FILES.keys() - set(NAMED)


@pytest.fixture(scope="module")
def offloaded(tmp_path_factory: pytest.TempPathFactory) -> Scene:
    return asyncio.run(prepare(tmp_path_factory.mktemp("disposing") / "home"))


@pytest.fixture
def scene(offloaded: Scene, tmp_path: Path) -> Scene:
    shutil.copytree(offloaded.home, tmp_path / "home")
    return replace(offloaded, home=tmp_path / "home")


def run(scene: Scene, story: Callable[[Opened], Awaitable[Any]]) -> Any:
    with scene.open() as opened:
        return asyncio.run(story(opened))  # type: ignore[arg-type]


def verified(scene: Scene, capsys: pytest.CaptureFixture[str], *keys: str) -> tuple[int, dict[str, int]]:
    """Exit code of `custody verify`, and how often each kind was found."""
    given: list[str] = []
    for n, line in enumerate(keys):
        (scene.home / f"{n}.vkey").write_text(f"{line}\n")
        given += ["--key", str(scene.home / f"{n}.vkey")]
    capsys.readouterr()
    code = verify(["verify", str(scene.home / "vault"), "--json", *given])
    body = json.loads(capsys.readouterr().out)
    kinds = [one["kind"] for one in body["findings"] + body["information"]]
    return code, {kind: kinds.count(kind) for kind in kinds if kind != "seqs_absent"}


def test_named_files_leave_and_the_rest_proves_what_they_were(scene: Scene, capsys: pytest.CaptureFixture[str]) -> None:
    async def story(opened: Opened) -> None:
        sealed = await order(scene, opened)
        await disposing(opened).attend()
        [intended], [finished] = await stated(opened, DispositionIntended), await stated(opened, DispositionFinished)
        assert intended.command_sha256 == finished.command_sha256
        assert (finished.outcome, finished.rule) == ("disposed", "complete")
        assert finished.disposed == intended.entries
        assert (len(finished.disposed), finished.kept) == (2, ())
        assert (intended.requested_by, intended.approved_by, intended.basis) == ("records", "leader", "3 years over")
        assert intended.bytes_in_all == sum(len(FILES[name]) for name in NAMED)
        assert sealed.raw in scene.record().read_bytes()
        assert await opened.dock.store.call(open_orders) == []
        assert await stated(opened, DispositionFinished) == [finished]
        await disposing(opened).attend()  # nothing more to do
        assert await stated(opened, DispositionFinished) == [finished]

    run(scene, story)
    assert scene.left() == STAY
    assert scene.path(".custody/leaves/DCIM/long.MP4.leaves").exists()
    assert len(scene.path("SHA256SUMS").read_text().splitlines()) == len(FILES)
    assert verified(scene, capsys) == (0, {"disposition_stated": 1, "disposed": 2})
    assert verified(scene, capsys, LOG_KEY.verify_key.line)[1].get("disposition") == 1
    forged = SigningKey.from_seed(LOG_KEY.name, bytes([4]) * 32).verify_key.line  # of another log of this name
    code, kinds = verified(scene, capsys, forged)
    assert (code, kinds["disposition_altered"], kinds["missing"]) == (1, 1, 2)


@pytest.mark.parametrize("edit", ["no record", "record of nothing", "renamed", "another file", "leaves", "altered"])
def test_what_no_authority_covers_is_missing_or_altered(
    scene: Scene, edit: str, capsys: pytest.CaptureFixture[str]
) -> None:
    async def story(opened: Opened) -> None:
        await order(scene, opened)
        await disposing(opened).attend()

    run(scene, story)
    record, leaves = scene.record(), scene.path(".custody/leaves/DCIM/long.MP4.leaves")
    lines = record.read_bytes().splitlines(keepends=True)
    found: dict[str, Callable[[], object]] = {
        "no record": record.unlink,
        "record of nothing": lambda: _write(record, lines[0]),
        "renamed": lambda: record.rename(record.with_name("disposition-0123456789abcdef.jsonl")),
        "another file": lambda: scene.path("DCIM/002.MP4").unlink(),
        "leaves": lambda: _write(leaves, leaves.read_bytes()[:-32]),
        "altered": lambda: _write(record, lines[0].replace(b'"sig":"', b'"sig":"A', 1) + lines[1]),
    }
    found[edit]()
    code, kinds = verified(scene, capsys)
    assert code == 1
    wanted = {"another file": {"missing": 1}, "leaves": {"leaves_altered": 1}, "no record": {"missing": 2}}
    assert wanted.get(edit, {"disposition_altered": 1, "missing": 2}).items() <= kinds.items()


def _write(path: Path, raw: bytes) -> None:
    path.chmod(0o600)
    path.write_bytes(raw)


# os.remove 1 is of what an earlier stop may have left in staging; 2 and 3 are the files
EARLY = ("INSERT INTO outbox 1", "COMMIT 1", "os.rename 1", "os.remove 2")
MOMENTS = (*EARLY, "COMMIT 2", "os.remove 3", "UPDATE disposition_file 2", "COMMIT 4")


@pytest.mark.parametrize("moment", [*MOMENTS, "never"])
def test_killed_at(scene: Scene, moment: str, capsys: pytest.CaptureFixture[str]) -> None:
    run(scene, lambda opened: order(scene, opened))
    assert child(scene, moment) == (0 if moment == "never" else -signal.SIGKILL)
    assert scene.left() >= STAY
    assert (scene.left() == FILES.keys()) == (moment in EARLY)
    assert verified(scene, capsys)[0] == 0  # at no moment is a file gone that no record accounts for

    async def go_on(opened: Opened) -> None:
        await disposing(opened).attend()
        [intended], [finished] = await stated(opened, DispositionIntended), await stated(opened, DispositionFinished)
        assert (finished.outcome, finished.disposed) == ("disposed", intended.entries)

    run(scene, go_on)
    assert scene.left() == STAY
    assert verified(scene, capsys) == (0, {"disposition_stated": 1, "disposed": 2})


def child(scene: Scene, moment: str) -> int:
    argv = [sys.executable, "-m", "tests.integration.disposing_scene", str(scene.home), moment]
    return subprocess.run(argv, check=False).returncode


def test_a_hold_that_comes_between_two_files_keeps_the_second(scene: Scene) -> None:
    run(scene, lambda opened: order(scene, opened))
    assert child(scene, "os.remove 3") == -signal.SIGKILL
    (second,) = scene.left() - STAY

    async def go_on(opened: Opened) -> None:
        await opened.dock.store.call(place_hold, FILES[second])
        await disposing(opened).attend()
        [finished] = await stated(opened, DispositionFinished)
        assert (finished.outcome, finished.rule) == ("partly", "file_held")
        assert (len(finished.disposed), len(finished.kept)) == (1, 1)
        states = await opened.dock.store.call(lambda store: store.state_counts(scene.docking))
        assert {state: count for state, (count, _) in states.items()} == {"sealed": 4, "disposed": 1}

    run(scene, go_on)
    assert scene.left() == STAY | {second}


def place_hold(store: Store, content: bytes) -> None:
    digest = hashlib.sha256(content).hexdigest()
    with store.begin():
        store.execute("PRAGMA defer_foreign_keys = ON")
        number = store.execute("SELECT max(number) FROM command").fetchone()[0]
        row = (number, "h", digest, "case 17")
        store.execute("INSERT INTO hold (number, hold_id, file_sha256, reason) VALUES (?,?,?,?)", row)


WAITS: dict[str, dict[str, Any]] = {
    "disposition_off": {"disposition_on": False},
    "not_enrolled": {"trust": None},
    "clock_unsynchronised": {"now": lambda: (LATER, "unknown")},
}


@pytest.mark.parametrize("rule", [*WAITS, "checkpoint_not_proved"])
def test_what_may_be_fulfilled_soon_is_waited_for(scene: Scene, rule: str) -> None:
    async def story(opened: Opened) -> None:
        await order(scene, opened, proved=rule != "checkpoint_not_proved")
        await disposing(opened, **WAITS.get(rule, {})).attend()
        assert [one.rule for one in await opened.dock.store.call(open_orders)] == [rule]
        late = {"now": lambda: (LATER + timedelta(days=8), "synchronised")}
        await disposing(opened, **late).attend()
        assert await opened.dock.store.call(open_orders) == []
        [finished] = await stated(opened, DispositionFinished)
        assert (finished.outcome, finished.rule) == ("refused", "expired")

    run(scene, story)
    assert scene.left() == FILES.keys()


ENDS: dict[str, Callable[[Scene], object]] = {
    "floor_not_over": lambda _: None,
    "vault_copy_missing": lambda scene: scene.path(NAMED[0]).unlink(),
    "vault_copy_differs": lambda scene: _write(scene.path(NAMED[0]), b"other"),
}


@pytest.mark.parametrize("rule", [*ENDS, "file_held"])
def test_what_is_not_fulfilled_ends_it_and_nothing_leaves(scene: Scene, rule: str) -> None:
    async def story(opened: Opened) -> None:
        early = LATER if rule != "floor_not_over" else TODAY + timedelta(days=3 * 365 - 1)
        await order(scene, opened, now=early)
        if rule == "file_held":
            await opened.dock.store.call(place_hold, FILES[NAMED[1]])
        if rule in ENDS:
            ENDS[rule](scene)
        before = set(scene.home.rglob("vault/**/DCIM/*"))
        await disposing(opened, now=lambda: (early, "synchronised")).attend()
        assert set(scene.home.rglob("vault/**/DCIM/*")) == before
        [finished] = await stated(opened, DispositionFinished)
        assert (finished.outcome, finished.rule, finished.disposed) == ("refused", rule, ())
        assert await stated(opened, DispositionIntended) == []

    run(scene, story)


def test_a_camera_that_still_has_them_is_offloaded_anew(scene: Scene) -> None:
    """And its clearing finds no copy that it could count on before that."""

    async def story(opened: Opened) -> None:
        await order(scene, opened)
        await disposing(opened).attend()
        again = await offload(opened.dock, Order(scene.camera(), "CAM1", "1"), lambda _: None)
        assert again.closed is not None
        assert (again.closed.counts.copied, again.closed.counts.already_saved) == (2, 3)

    run(scene, story)


def test_a_hold_on_a_later_docking_keeps_what_it_found_saved(scene: Scene) -> None:
    async def story(opened: Opened) -> None:
        again = await offload(opened.dock, Order(scene.camera(), "CAM1", "1"), lambda _: None)
        assert again.closed is not None
        assert again.closed.counts.already_saved == 5
        await order(scene, opened)
        await opened.dock.store.call(hold_docking, again.closed.docking_id)
        await disposing(opened).attend()
        [finished] = await stated(opened, DispositionFinished)
        assert finished.rule == "file_held"

    run(scene, story)
    assert scene.left() == FILES.keys()


def hold_docking(store: Store, docking: str) -> None:
    with store.begin():
        number = store.execute("SELECT max(number) FROM command").fetchone()[0]
        row = (number, "h", docking, "case 17")
        store.execute("INSERT INTO hold (number, hold_id, docking, reason) VALUES (?,?,?,?)", row)


def test_after_a_rotation_of_the_stations_key_the_record_leads_to_the_new_one(
    scene: Scene, capsys: pytest.CaptureFixture[str]
) -> None:
    async def rotate(opened: Opened) -> None:
        await opened.dock.store.call(rotate_key, scene.home / "station", opened.station)

    async def story(opened: Opened) -> None:
        await order(scene, opened)
        await disposing(opened).attend()

    run(scene, rotate)
    run(scene, rotate)
    run(scene, story)
    assert verified(scene, capsys) == (0, {"disposition_stated": 1, "disposed": 2})


def test_remove_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "vault").mkdir()
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_bytes(b"precious")
    (tmp_path / "vault/folder").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(VaultError):
        remove(tmp_path / "vault", b"folder/file")
    assert (tmp_path / "elsewhere/file").read_bytes() == b"precious"
