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
from hub.bundles.selection import exports_in_log
from hub.db import open_database, sqlite_url
from hub.intake import Intake
from hub.keys import load_keys
from hub.opening import Message
from hub.stations.service import enrol_station
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
        return self.command("export", *words, "--footage", str(self.vault), "--to", str(target), *ORDER)

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
    db.close()
    return site


def test_a_period_by_the_command_line(site: Site) -> None:
    target = site.tmp / "period"
    ran = subprocess.run(
        site.export(target, "--period", "2026-03-01", "2026-03-01", "--camera", "cam-7"),
        capture_output=True,
        text=True,
        check=True,
    )
    answer = json.loads(ran.stdout)
    assert (answer["recordings"], answer["path"]) == (8, str(target))
    assert site.verify(target) is Exit.VERIFIED


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--period", "2026-03-02", "2026-03-01"], "--period"),
        (["--period", "1999-01-01", "1999-01-02"], "No recording fits"),
        ([], "Name recordings"),
        (["999"], "no recording"),
    ],
)
def test_what_cannot_be_done_ends_1_in_both_languages(site: Site, words: list[str], said: str) -> None:
    ran = subprocess.run(site.export(site.tmp / "none", *words), capture_output=True, text=True, check=False)
    assert ran.returncode == 1
    assert said in ran.stderr
    assert any("\u4e00" <= c <= "\u9fff" for c in ran.stderr)
    assert not list(site.tmp.glob("none*"))


def test_reason_and_recipient_are_mandatory(site: Site) -> None:
    for missing in ("--reason", "--recipient"):
        words = site.export(site.tmp / "none", "1")
        at = words.index(missing)
        del words[at : at + 2]
        ran = subprocess.run(words, capture_output=True, text=True, check=False)
        assert ran.returncode == 2
        assert missing in ran.stderr


@pytest.mark.slow
def test_killed_at_any_moment_it_goes_on_under_one_statement(site: Site) -> None:
    rng, killed_midway = random.Random(7), 0
    for number in range(5):
        target = site.tmp / f"killed-{number}"
        command = site.export(target, *map(str, range(1, 9)))
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
