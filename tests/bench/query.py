"""How fast the pages answer over a million recordings.

    python -m tests.bench.query --dir DIR [--rows N]

Fills DIR once (log, index and full text as intake writes them; only the signatures are left out, which no list reads;
a few signed dockings on top), then measures whole requests through the application in this process: session check,
query, template. Target: p95 below 100 ms for each question. Ends with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import hashlib
import random
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import func, select
from starlette.testclient import TestClient

from custody.event import Event, Sha256Hex
from custody.stationevents import Counts, DockingClosed, DockingStarted, Media, SegmentSealed
from hub import log
from hub.projections import Projection, project
from hub.tables import segment
from hub.times import now_utc, to_text
from tests.integration.site_data import Hub, tell_story
from tests.integration.web_peer import signed_in

TARGET_MS = 100.0
CAMERAS, STATIONS, PER_DOCKING = 500, 20, 48
FIRST_DAY = datetime(2024, 1, 1, 8, 0)  # noqa: DTZ001  (cameras tell no zone)
WORDS = ("现场检查", "投诉举报", "校外培训", "询问笔录", "文书送达", "查封现场", "日常巡查", "证据保全")
DOCKINGS_PER_COMMIT = 400
DIGEST = Sha256Hex("ab" * 32)


def without_signature(event: Event) -> bytes:
    """Stands for an envelope where no page reads one."""
    return f"{event.source} {event.seq}".encode()


def fill(
    hub: Hub,
    rows: int,
    envelope: Callable[[Event], bytes] = without_signature,
    names: Sequence[str] = tuple(f"dock-{n:02d}" for n in range(STATIONS)),
    events: Callable[[random.Random, int, str, dict[str, int]], Iterator[Event]] | None = None,
) -> None:
    """Dockings of `PER_DOCKING` segments each, in the order in which stations would deliver them.

    `events`: what the stations state of one docking; by default `docking_events`.
    """
    chance = random.Random(7)
    for name in names:
        hub.station(name)
    seqs = dict.fromkeys(names, 0)
    now = now_utc()
    for start in range(0, rows // PER_DOCKING, DOCKINGS_PER_COMMIT):
        projection = Projection()
        with hub.db.begin() as tx:
            with log.appending(tx, hub.keys, now) as entries:
                for docking in range(start, min(start + DOCKINGS_PER_COMMIT, rows // PER_DOCKING)):
                    for event in (events or docking_events)(chance, docking, names[docking % len(names)], seqs):
                        raw = envelope(event)
                        digest = hashlib.sha256(raw).hexdigest()
                        index = entries.add(event.source, event.seq, raw, digest, event.TYPE)
                        draft = project(event, 480)
                        assert draft is not None
                        projection.add(index, draft, to_text(now))
            projection.write(tx)
        print(f"\r{entries.size:,} entries", end="", file=sys.stderr)
    print(file=sys.stderr)


def docking_events(
    chance: random.Random, number: int, station: str, seqs: dict[str, int], camera: str = ""
) -> Iterator[Event]:
    """One docking: started, segments, closed; of any camera unless one is named."""
    camera, day = camera or f"DSJ-{chance.randrange(CAMERAS):06d}", FIRST_DAY + timedelta(days=number // 25)
    docking = f"019c5a10-{number >> 16:04x}-7000-8000-{number:012x}"

    def stamp() -> dict[str, Any]:
        seqs[station] += 1
        at = now_utc()
        return {"id": "", "source": station, "seq": seqs[station], "previous": DIGEST, "at": at, "clock": "unknown"}

    place = {"docking_id": docking, "camera_id": camera, "bay": str(number % 8 + 1)}
    yield DockingStarted(
        **stamp(),
        **place,
        source_kind="block_device",
        file_systems=("exfat",),
        labels=(),
        volume_ids=(),
        source_bytes=64 << 30,
        new_files=PER_DOCKING,
        new_bytes=PER_DOCKING * 400_000_000,
    )
    for entry in range(1, PER_DOCKING + 1):
        at = day + timedelta(minutes=10 * entry)
        yield segment_event(chance, stamp(), place, entry, at)
    good = number % 50 != 0
    yield DockingClosed(
        **stamp(),
        **place,
        complete=good,
        reason="complete" if good else "read_fault",
        counts=_counts(),
        manifest_sha256=DIGEST,
        manifest_bytes=40_000,
    )


def _counts() -> Counts:
    return Counts(
        listed=PER_DOCKING,
        copied=PER_DOCKING,
        already_saved=0,
        failed=0,
        skipped=0,
        deleted_seen=0,
        unreadable=0,
        bytes_copied=PER_DOCKING * 400_000_000,
    )


def segment_event(
    chance: random.Random, stamp: dict[str, Any], place: dict[str, Any], entry: int, at: datetime
) -> SegmentSealed:
    """One segment; one in two hundred is not well; names of the three kinds met in the field."""
    camera = place["camera_id"]
    kind = chance.randrange(3)
    if kind == 0:
        path = f"DCIM/100MEDIA/{camera}_{at:%Y%m%d_%H%M%S}_{entry:04d}.MP4"
    elif kind == 1:
        path = f"Media/Video/DCAM_{camera[-6:]}_{chance.randrange(10**6):06d}_{at:%Y%m%d_%H%M%S}.mp4"
    else:
        path = f"执法记录/{at:%Y%m%d}/{chance.choice(WORDS)}_{at:%H%M%S}.mp4"
    ill = chance.randrange(200) == 0
    return SegmentSealed(
        **stamp,
        **place,
        entry=entry,
        path=path,
        path_raw=(),
        version=1,
        vault_path=f"{camera}/{at:%Y/%m/%d}/{place['docking_id']}/{path}",
        size_bytes=chance.randrange(300_000_000, 500_000_000),
        sha256=DIGEST,
        tree_root=DIGEST,
        chunk_bytes=1 << 20,
        chunk_count=400,
        modified_at=at.isoformat(),
        time_basis="camera_local",
        gaps=(),
        gap_count=1 if ill else 0,
        gap_bytes=4096 if ill else 0,
        changed_while_copied=False,
        media=Media(container="MPEG-4", duration_ms=600_000, video_codec="AVC", truncated=False, playable=True),
    )


def questions(hub: Hub) -> list[tuple[str, list[str]]]:
    """What is asked, each in several spellings so that no answer is simply remembered."""
    chance = random.Random(3)
    with hub.db.read() as connection:
        last = connection.execute(select(func.max(segment.c.log_index))).scalar_one()
        newest = connection.execute(select(func.max(segment.c.recorded_day))).scalar_one()
    span = (datetime.fromisoformat(newest) - FIRST_DAY).days
    days = [(FIRST_DAY + timedelta(days=chance.randrange(max(1, span)))) for _ in range(40)]
    cameras = [f"DSJ-{chance.randrange(CAMERAS):06d}" for _ in range(40)]
    stations = [f"dock-{n:02d}" for n in range(STATIONS)]
    deep = [chance.randrange(max(1, last)) for _ in range(40)]
    month = [(d, d + timedelta(days=30)) for d in days]
    lists: list[tuple[str, list[str]]] = [
        ("first page", [""]),
        ("deep page", [f"cursor={n}" for n in deep]),
        ("camera", [f"camera={c}" for c in cameras]),
        ("camera, deep", [f"camera={c}&cursor={n}" for c, n in zip(cameras, deep, strict=True)]),
        ("station", [f"station={s}" for s in stations]),
        ("one day", [f"from={d:%Y-%m-%d}&to={d:%Y-%m-%d}" for d in days]),
        ("a month", [f"from={a:%Y-%m-%d}&to={b:%Y-%m-%d}" for a, b in month]),
        ("from a day on, deep", [f"from=2020-01-01&cursor={d:%Y-%m-%d}~{n}" for d, n in zip(days, deep, strict=True)]),
        (
            "camera and month",
            [f"camera={c}&from={a:%Y-%m-%d}&to={b:%Y-%m-%d}" for c, (a, b) in zip(cameras, month, strict=True)],
        ),
        (
            "station and month",
            [f"station={s}&from={a:%Y-%m-%d}&to={b:%Y-%m-%d}" for s, (a, b) in zip(stations, month, strict=False)],
        ),
        ("camera and station", [f"camera={c}&station={s}" for c, s in zip(cameras, stations, strict=False)]),
        ("any label", ["label=any"]),
        ("rare label, none", ["label=zero_length"]),
        ("label and month", [f"label=gaps&from={a:%Y-%m-%d}&to={b:%Y-%m-%d}" for a, b in month]),
        ("label and camera", [f"label=gaps&camera={c}" for c in cameras]),
        ("two Chinese letters", [f"q={w[:2]}" for w in WORDS]),
        ("one Chinese letter", ["q=检", "q=查"]),
        ("four Chinese letters", [f"q={w}" for w in WORDS]),
        ("Latin", ["q=dcam", "q=100media"]),
        ("in every name", ["q=mp4", "q=.mp"]),
        ("number that is there", [f"q={d:%Y%m%d}" for d in days]),
        ("number that is not", ["q=20259931", "q=99999999"]),
        ("words that are not", ["q=没有", "q=zzzz", "q=飞机场"]),
        ("two words", [f"q={w[:2]} {d:%Y%m%d}" for w, d in zip(WORDS, days, strict=False)]),
        ("in every name, camera", [f"q=mp4&camera={c}" for c in cameras]),
        ("in every name, old month", [f"q=mp4&from={a:%Y-%m-%d}&to={b:%Y-%m-%d}" for a, b in month]),
        ("word, camera, station", [f"q=检查&camera={c}&station={s}" for c, s in zip(cameras, stations, strict=False)]),
        ("in every name, deep", [f"q=mp4&cursor={n}" for n in deep]),
    ]
    asked = [(name, [f"/recordings?{q}" for q in queries]) for name, queries in lists]
    return [
        ("overview", ["/"]),
        ("overview, live part", ["/overview/live"]),
        *asked,
        ("one recording", [f"/recordings/{last - n}" for n in range(3)]),
        ("log", ["/log", *(f"/log?cursor={n}" for n in deep[:10])]),
        ("log, one kind", ["/log?type=docking.closed.v1", "/log?type=station.frozen.v1"]),
        ("log, kind and station", [f"/log?type=docking.closed.v1&source={s}" for s in stations]),
    ]


def measure(browser: TestClient, addresses: list[str], rounds: int) -> tuple[float, float, float]:
    """p50, p95 and maximum in milliseconds over `rounds` requests; each must answer 200."""
    taken = []
    for n in range(rounds):
        started = time.perf_counter()
        answer = browser.get(addresses[n % len(addresses)])
        taken.append((time.perf_counter() - started) * 1000)
        if answer.status_code != 200:
            raise SystemExit(f"{addresses[n % len(addresses)]}: {answer.status_code}")
    taken.sort()
    return taken[len(taken) // 2], taken[int(len(taken) * 0.95) - 1], taken[-1]


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="segments (default 1,000,000)")
    parser.add_argument("--dir", type=Path, required=True, help="where the hub is made; kept and used again")
    parser.add_argument("--rounds", type=int, default=60, help="requests per question (default 60)")
    arguments = parser.parse_args()
    ready = arguments.dir / "ready"
    arguments.dir.mkdir(parents=True, exist_ok=True)
    hub = Hub(arguments.dir)
    started = time.perf_counter()
    if not ready.exists():
        fill(hub, arguments.rows)
        tell_story(hub)
        ready.write_text(f"{arguments.rows}\n")
        print(f"filled in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    browser = signed_in(hub, f"bench-{time.time_ns()}")
    missed = False
    print(f"{'question':28} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    for name, addresses in questions(hub):
        browser.get(addresses[0])
        p50, p95, worst = measure(browser, addresses, arguments.rounds)
        missed |= p95 >= TARGET_MS
        print(f"{name:28} {p50:8.1f} {p95:8.1f} {worst:8.1f}{'  MISSED' if p95 >= TARGET_MS else ''}", flush=True)
    hub.close()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
