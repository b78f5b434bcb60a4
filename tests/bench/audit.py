"""How fast the log's pages answer over a million entries, and what an export of all of them takes.

    python -m tests.bench.audit --dir DIR [--rows N] [--postgres]

Fills DIR once, as `tests.bench.query` does but with real envelopes, and 20,000 statements of the hub about accounts and
recordings on top. Then it measures whole requests through the application in this process. Target: p95 below 150 ms.
`--export` takes the whole log away as CSV and JSON Lines and says how long it took and how much memory the process had
at most. Ends with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import resource
import sys
import tempfile
import time
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select

from custody.checkpoint import SigningKey
from custody.event import Event
from custody.events import seal_event
from custody.hubevents import BundleExported, LogExported
from hub import log
from hub.audit.export import csv_parts, hand_over, jsonl_parts, state_export
from hub.audit.selection import EntryFilter
from hub.identifiers import new_id
from hub.language import Language, load_translations
from hub.tables import segment
from hub.times import now_utc
from hub.wording import Wording
from tests.bench.query import CAMERAS, STATIONS, fill, measure
from tests.integration.postgres import new_database, running_server
from tests.integration.site_data import Hub, tell_story
from tests.integration.web_peer import signed_in

TARGET_MS = 150.0
ACCOUNTS, STATEMENTS = 20, 20_000
KEY = SigningKey.from_seed("dock-00", bytes(range(32)))


def envelope_of(event: Event) -> bytes:
    """A real envelope, for pages and files read these; its chain does not hold, which only `log check` would mind."""
    return seal_event(replace(event, id=new_id(event.at)), KEY)


def state_uses(hub: Hub) -> None:
    """What people did: exports of the log and of recordings."""
    chance = random.Random(11)
    with hub.db.read() as connection:
        last = connection.execute(select(func.max(segment.c.log_index))).scalar_one()
    for _ in range(0, STATEMENTS, 1000):
        with hub.db.begin() as tx, log.appending(tx, hub.keys, now_utc()) as entries:
            for n in range(1000):
                who = f"person-{chance.randrange(ACCOUNTS):02d}"
                if n % 2:
                    entries.record(
                        LogExported,
                        export_id=new_id(now_utc()),
                        account=who,
                        format="csv",
                        selection="",
                        first_index=0,
                        log_size=last,
                        entries=last,
                    )
                else:
                    entries.record(
                        BundleExported,
                        bundle_id=new_id(now_utc()),
                        part=1,
                        parts=1,
                        recordings=(chance.randrange(last),),
                        recordings_in_all=1,
                        bytes_in_all=400_000_000,
                        selection="1 recording",
                        recipient="区法院",
                        reason="案件调取",
                        operator=who,
                    )


def questions(hub: Hub) -> list[tuple[str, list[str]]]:
    """What is asked, each in several spellings so that no answer is simply remembered."""
    chance = random.Random(3)
    with hub.db.read() as connection:
        last = connection.execute(select(func.max(segment.c.log_index))).scalar_one()
    cameras = [f"DSJ-{chance.randrange(CAMERAS):06d}" for _ in range(40)]
    stations = [f"dock-{n:02d}" for n in range(STATIONS)]
    people = [f"person-{n:02d}" for n in range(ACCOUNTS)]
    deep = [chance.randrange(last) for _ in range(40)]
    day = f"{now_utc() + timedelta(hours=8):%Y-%m-%d}"
    sealed, closed = "segment.sealed.v1", "docking.closed.v1"
    lists = [
        ("first page", [""]),
        ("deep page", [f"cursor={n}" for n in deep]),
        ("kind, common", [f"type={sealed}&cursor={n}" for n in deep]),
        ("kind, rare", ["type=station.frozen.v1", "type=account.created.v1", "type=none"]),
        ("source", [f"source={s}" for s in stations]),
        ("source, deep", [f"source={s}&cursor={n}" for s, n in zip(stations * 2, deep, strict=True)]),
        ("hub itself, deep", [f"source=hub&cursor={n}" for n in deep]),
        ("source that is not", ["source=nobody"]),
        ("kind and source", [f"type={closed}&source={s}" for s in stations]),
        ("common kind, source", [f"type={sealed}&source={s}" for s in (*stations, "dock-xinqu-1", "hub")]),
        ("camera", [f"camera={c}" for c in cameras]),
        ("camera, deep", [f"camera={c}&cursor={n}" for c, n in zip(cameras, deep, strict=True)]),
        ("camera and kind", [f"camera={c}&type={closed}" for c in cameras]),
        ("camera and source", [f"camera={c}&source={stations[i % 20]}" for i, c in enumerate(cameras)]),
        ("recording", [f"recording={n}" for n in deep]),
        ("account", [f"account={p}" for p in people]),
        ("account and kind", [f"account={p}&type=bundle.exported.v1" for p in people]),
        ("account that is not", ["account=nobody"]),
        ("today", [f"from={day}&to={day}"]),
        ("a day long ago", ["from=2020-01-01&to=2020-01-31"]),
        ("source and today", [f"source={s}&from={day}" for s in stations]),
        ("camera and old days", [f"camera={c}&to=2020-01-01" for c in cameras]),
    ]
    asked = [(name, [f"/log?{q}" for q in queries]) for name, queries in lists]
    with hub.db.read() as connection:
        some = connection.execute(select(segment.c.log_index).order_by(segment.c.log_index.desc()).limit(3)).scalars()
        seals = [f"/log/entries/{n}" for n in some]
    return [*asked, ("one entry", seals), ("chain of custody", [s.replace("log/entries", "recordings") for s in seals])]


def export_all(hub: Hub) -> None:
    """The whole log, as the command line does it."""
    words = Wording(Language.ZH, load_translations()[Language.ZH])
    for form in ("jsonl", "csv"):
        started, count = time.perf_counter(), 0
        stated = state_export(hub.db, hub.keys, "bench", form, EntryFilter())
        made = jsonl_parts(hub.db, stated.indexes) if form == "jsonl" else csv_parts(hub.db, stated.indexes, words)
        for part in hand_over(hub.db, hub.keys, stated, made):
            count += len(part)
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss >> 10
        taken = time.perf_counter() - started
        print(f"export {form}: {len(stated.indexes):,} entries, {count >> 20} MiB, {taken:.0f} s, at most {peak} MiB")


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="segments (default 1,000,000)")
    parser.add_argument("--dir", type=Path, required=True, help="where the hub is made; kept and used again (SQLite)")
    parser.add_argument("--rounds", type=int, default=60, help="requests per question (default 60)")
    parser.add_argument("--postgres", action="store_true", help="on a private PostgreSQL server, filled anew")
    parser.add_argument("--export", action="store_true", help="export the whole log too")
    parser.add_argument("--fill-only", action="store_true", help="fill and end")
    arguments = parser.parse_args()
    arguments.dir.mkdir(parents=True, exist_ok=True)
    with contextlib.ExitStack() as stack:
        url = None
        if arguments.postgres:
            scratch = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="pg")))
            url = new_database(stack.enter_context(running_server(scratch)))
        hub = Hub(arguments.dir, url)
        stack.callback(hub.close)
        ready = arguments.dir / "ready"
        if not ready.exists():
            fill(hub, arguments.rows, envelope_of)
            tell_story(hub)
            state_uses(hub)
            ready.touch()
        missed = not arguments.fill_only and ask_all(hub, arguments.rounds)
        if arguments.export:
            export_all(hub)
    sys.exit(1 if missed else 0)


def ask_all(hub: Hub, rounds: int) -> bool:
    """Print how long each question takes; whether a target was missed."""
    browser = signed_in(hub, f"bench-{time.time_ns()}")
    missed = False
    print(f"{'question':28} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8}")
    for name, addresses in questions(hub):
        browser.get(addresses[0])
        p50, p95, worst = measure(browser, addresses, rounds)
        missed |= p95 >= TARGET_MS
        print(f"{name:28} {p50:8.1f} {p95:8.1f} {worst:8.1f}{'  MISSED' if p95 >= TARGET_MS else ''}", flush=True)
    return missed


if __name__ == "__main__":
    main()
