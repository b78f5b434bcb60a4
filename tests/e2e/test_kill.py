"""kill -9 of agent, hub or broker at random moments, 100 times: nothing lost, nothing doubled, outbox empty."""

from __future__ import annotations

import hashlib
import os
import random
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from tests.e2e.processes import Installation, wait_for

KILLS = int(os.environ.get("CUSTODOCK_KILLS", "100"))
FILES_AT_FIRST = 200


def write_footage(folder: Path, number: int, chance: random.Random) -> None:
    """One more file under its final name at once, as a mover would put it."""
    size = chance.choice((0, 1, 4_000, 60_000, 60_000, 60_000, 1 << 20, (1 << 20) + 1, 9_000_000, 24 << 20))
    aside = folder.parent / "aside"
    aside.write_bytes(chance.randbytes(size))
    target = folder / "DCIM" / f"录像{number:05}.MP4.bin"
    target.parent.mkdir(exist_ok=True)
    aside.rename(target)


def digest(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def rows(database: Path, query: str, *args: object) -> list[tuple[object, ...]]:
    with sqlite3.connect(f"file:{database}?mode=ro", uri=True) as db:
        return db.execute(query, args).fetchall()


def hub_rows(installation: Installation, query: str, *args: object) -> list[tuple[object, ...]]:
    return rows(installation.hub_dir / "hub.db", query, *args)


def check_everything_once(it: Installation) -> None:
    """Vault, index and log against the camera's folder."""
    truth = Counter(digest(p) for p in it.folder.rglob("*") if p.is_file())
    in_vault = Counter(
        digest(p)
        for p in it.vault.rglob("*")
        if p.is_file()
        and not {".custody", ".staging", ".station"} & set(p.parts)
        and p.name not in ("SHA256SUMS", ".lock")
    )
    assert in_vault == truth
    index = Counter(str(sha) for (sha,) in hub_rows(it, "SELECT sha256 FROM segment"))
    assert index == truth
    sent = rows(it.agent_dir / "station.db", "SELECT seq, envelope FROM outbox ORDER BY seq")
    logged = hub_rows(it, "SELECT seq, envelope FROM log_entry WHERE source = ? ORDER BY seq", it.station)
    assert logged == sent
    assert [seq for seq, _ in sent] == list(range(1, len(sent) + 1))
    assert not list((it.vault / ".staging").iterdir())


def is_done(it: Installation, files: int) -> bool:
    """Whether everything is saved and receipted. A broker that could not start again (its port was taken for a moment)
    is started once more, as systemd would; hub and station never end by themselves."""
    assert it.hub.alive()
    assert it.agent.alive()
    if not it.broker.alive():
        it.broker.start()
    return len(hub_rows(it, "SELECT 1 FROM segment")) >= files and it.status()["outbox"]["unreceipted"] == 0


@pytest.mark.slow
def test_a_hundred_kills_lose_and_double_nothing(tmp_path: Path) -> None:
    chance = random.Random(20261123)
    it = Installation(tmp_path)
    for number in range(FILES_AT_FIRST):
        write_footage(it.folder, number, chance)
    it.start()
    try:
        files, killed = FILES_AT_FIRST, Counter[str]()
        for _ in range(KILLS):
            time.sleep(chance.uniform(0.05, 1.2))
            victim = chance.choice(it.members)
            victim.kill()
            killed[victim.name] += 1
            victim.start()
            for _ in range(chance.choice((0, 0, 2, 4))):  # so that there is work until the last kill
                write_footage(it.folder, files, chance)
                files += 1
        wait_for("everything saved and receipted", lambda: is_done(it, files), 180)
        assert it.agent.stop() == 0
        check_everything_once(it)
        key = tmp_path / "station.vkey"
        key.write_text(it.station_key)
        verified = subprocess.run(
            [sys.executable, "-m", "custody.cli", "verify", str(it.vault), "--key", str(key), "--json"],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert verified.returncode == 0, verified.stdout[-3000:] + verified.stderr[-2000:]
        assert all(killed[m.name] for m in it.members)
        print(f"{sum(killed.values())} kills {dict(killed)}, {files} files")
    except BaseException:
        print(it.logs())
        raise
    finally:
        it.stop()


def test_the_check_itself_finds_a_lost_and_a_doubled_file(tmp_path: Path) -> None:
    """Control: the harness must fail when something is missing or twice there."""
    it = Installation(tmp_path)
    chance = random.Random(1)
    for number in range(5):
        write_footage(it.folder, number, chance)
    it.start()
    try:
        wait_for("five segments", lambda: len(hub_rows(it, "SELECT 1 FROM segment")) == 5, 90)
        wait_for("receipts", lambda: it.status()["outbox"]["unreceipted"] == 0, 60)
        assert it.agent.stop() == 0
        check_everything_once(it)
        copy = next(p for p in it.vault.rglob("录像00003*") if p.suffix == ".bin")
        kept = copy.read_bytes()
        copy.unlink()
        with pytest.raises(AssertionError):
            check_everything_once(it)
        copy.write_bytes(kept)
        copy.with_name("twice.bin").write_bytes(kept)
        with pytest.raises(AssertionError):
            check_everything_once(it)
    except TimeoutError:
        print(it.logs())
        raise
    finally:
        it.stop()
