"""`dock-hub export` as a process: its words, and killed at any moment it goes on without a second statement."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import pytest

from custody.bundleexamine import examine_bundle
from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.finding import Exit
from custody.manifest import Copied, ManifestReader
from hub.access import Actor, Role
from hub.accounts.service import Visit, change_password, create_account
from hub.bundles.selection import exports_in_log
from hub.db import open_database, sqlite_url
from hub.intake import Intake
from hub.keys import load_keys
from hub.opening import Message
from hub.requests.approving import approve_use
from hub.stations.service import enrol_station
from hub.times import now_utc
from tests.integration.approved_exports import LEADER, phone_of_leader
from tests.integration.web_peer import PASSWORD
from tests.vectors.dockings import STATION_KEY, Docking, Station, build, pattern

FILES = {f"DCIM/VID{i:05d}.MP4": pattern(i, CHUNK_BYTES + i) for i in range(8)}
ORDER = ["--recipient", "区法院", "--reason", "案件 17"]


@dataclass(frozen=True)
class Site:
    hub: Path
    vault: Path
    tmp: Path

    def run(self, *words: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(self.command(*words), capture_output=True, text=True, check=False)

    def command(self, *words: str) -> list[str]:
        return [sys.executable, "-m", "hub.app", *words, "--dir", str(self.hub), "--json"]

    def export(self, target: Path, *words: str) -> list[str]:
        return self.command("export", *words, "--footage", str(self.vault), "--to", str(target))

    def request(self, *words: str, name: str = "records") -> subprocess.CompletedProcess[str]:
        """Ask for an export by the command line."""
        command = self.command("export", "--request", "--account", name, *words)
        return subprocess.run(command, capture_output=True, text=True, check=False, input=f"{PASSWORD}\n")

    def approve(self, request_id: str) -> None:
        """The leader approves it."""
        keys, db = load_keys(self.hub / "keys", "h-1"), open_database(sqlite_url(self.hub / "hub.db"))
        approve_use(db, keys, LEADER, request_id, phone_of_leader(db, keys).code(), now_utc())
        db.close()

    def approved(self, *words: str) -> str:
        """The id of a request for `words` that was approved."""
        asked = self.request(*words, *ORDER)
        assert asked.returncode == 0, asked.stderr
        request_id: str = json.loads(asked.stdout)["request"]
        self.approve(request_id)
        return request_id

    def verify(self, bundle: Path) -> Exit:
        with Hasher() as hasher:
            key = load_keys(self.hub / "keys", "h-1").log.verify_key
            return examine_bundle(os.fsencode(bundle), [key], [], lambda _: None, hasher).exit


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Site:
    tmp = tmp_path_factory.mktemp("site")
    site = Site(tmp / "hub", tmp / "vault", tmp)
    assert site.run("init", "--id", "h-1").returncode == 0
    keys, db = load_keys(site.hub / "keys", "h-1"), open_database(sqlite_url(site.hub / "hub.db"))
    enrol_station(db, keys, STATION_KEY.verify_key.line)
    folder = build(site.vault, Docking(FILES), Station())
    with (folder / ".custody/manifest.jsonl").open("rb") as stream:
        envelopes = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
    envelopes.append((folder / ".custody/completed.dsse.json").read_bytes())
    intake = Intake(db, keys, 480)
    intake.take([Message("custodock/1/dock-test/events", raw, "dock-test") for raw in envelopes])
    intake.close()
    for name, role in (("records", Role.RECORDS_CUSTODIAN), ("auditor", Role.AUDITOR)):
        first, actor = create_account(db, keys, name, role), Actor(name, role, must_change_password=True)
        change_password(db, keys, actor, first, PASSWORD, PASSWORD, Visit("here"), now_utc())
    db.close()
    return site


def test_a_period_by_the_command_line_asked_for_by_one_person_and_approved_by_another(site: Site) -> None:
    target, period = site.tmp / "period", ["--period", "2026-03-01", "2026-03-01", "--camera", "cam-7"]
    asked = site.request(*period, *ORDER)
    answer = json.loads(asked.stdout)
    assert answer["recordings"] == 8
    early = subprocess.run(
        site.export(target, "--approved", answer["request"]), capture_output=True, text=True, check=False
    )
    assert early.returncode == 1
    assert "not approved by another person yet" in early.stderr
    site.approve(answer["request"])
    other = site.export(target, "--approved", answer["request"], "1", "2")
    wrong = subprocess.run(other, capture_output=True, text=True, check=False)
    assert (wrong.returncode, "not what was approved" in wrong.stderr) == (1, True)
    ran = subprocess.run(
        site.export(target, "--approved", answer["request"], *period), capture_output=True, text=True, check=True
    )
    done = json.loads(ran.stdout)
    assert (done["recordings"], done["path"]) == (8, str(target))
    assert site.verify(target) is Exit.VERIFIED
    again = site.export(site.tmp / "again", "--approved", answer["request"])
    used = subprocess.run(again, capture_output=True, text=True, check=False)
    assert (used.returncode, "was used already" in used.stderr) == (1, True)


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--period", "2026-03-02", "2026-03-01", *ORDER], "--period"),
        (["--period", "1999-01-01", "1999-01-02", *ORDER], "No recording fits"),
        ([*ORDER], "Name recordings"),
        (["999", *ORDER], "no recording"),
        (["1", "--recipient", "区法院"], "--reason"),
        (["1", "--reason", "案件 17"], "--recipient"),
    ],
)
def test_what_cannot_be_asked_for_ends_1_in_both_languages(site: Site, words: list[str], said: str) -> None:
    ran = site.request(*words)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert any("\u4e00" <= c <= "\u9fff" for c in ran.stderr)


def test_who_may_not_ask_and_an_export_that_nobody_asked_for(site: Site) -> None:
    assert site.request("1", *ORDER, name="auditor").returncode == 1
    for words in ([], ["1"], ["--approved", "0195f000-0000-7000-8000-000000000007"]):
        ran = subprocess.run(site.export(site.tmp / "none", *words), capture_output=True, text=True, check=False)
        assert ran.returncode == 1
        assert any("\u4e00" <= c <= "\u9fff" for c in ran.stderr)
    assert not list(site.tmp.glob("none*"))


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_under_one_statement(site: Site) -> None:
    rng, killed_midway = random.Random(7), 0
    for number in range(5):
        target = site.tmp / f"killed-{number}"
        command = site.export(target, "--approved", site.approved(*map(str, range(1, 9))))
        child = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        part = target.with_name(f"{target.name}.part")
        while child.poll() is None and not part.exists():  # from here on it has something to lose
            time.sleep(0.002)
        time.sleep(rng.random() * 0.25)
        child.send_signal(signal.SIGKILL)
        child.wait()
        killed_midway += part.exists()
        assert not target.exists() or site.verify(target) is Exit.VERIFIED  # a name stands for a whole bundle
        if not target.exists():
            again = subprocess.run(command, capture_output=True, text=True, check=False)
            assert again.returncode == 0, again.stderr
        assert site.verify(target) is Exit.VERIFIED
        assert not list(site.tmp.glob(f"killed-{number}.*"))
    assert killed_midway >= 2, "the kills came too late to show anything"
    db = open_database(sqlite_url(site.hub / "hub.db"))
    with db.read() as connection:
        ids = [export.bundle_id for _, export in exports_in_log(connection)]
    db.close()
    assert len(ids) == len(set(ids))
