"""Five hundred windows of the first page on one hub process: how soon a change is seen, for how much memory and CPU.

    python -m tests.bench.sse --dir DIR [--windows N] [--changes N]

DIR is one that `tests.bench.pages` filled. N real connections (500), of fifty people of every role and section in two
languages, follow the page while every station says how it is every half minute and bays copy. Printed: the time from a
bay's state being committed to each window's having it (p50, p95, max), the server's memory with and without windows,
and its share of a processor. Target: p95 below 2 s, no window lost. Ends with 1 when one is missed.
"""

from __future__ import annotations

import argparse
import asyncio
import re
import sys
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from sqlalchemy import delete, insert

from hub.accounts.service import new_cookie, token_key
from hub.site import SESSION_COOKIE
from hub.tables import session
from hub.times import now_utc, to_text
from tests.bench.pages import NAMES, PEOPLE, Server, filled
from tests.integration.site_data import Hub

TARGET_SECONDS = 2.0
WATCHED = NAMES[0]  # its first bay changes; some of the people do not see it
FIRST = 100_000  # messages that it says it waits with, plus the number of the change
SHOWN = re.compile(rb'"station-%s": .*?(1\d\d,\d{3})' % WATCHED.encode())
STATES_EVERY_SECONDS = 30.0 / len(NAMES)


@dataclass(slots=True)
class Windows:
    """What all windows have seen. `seen`: by change, when each window had it."""

    wanted: int
    all_heard: asyncio.Event = field(default_factory=asyncio.Event)
    seen: dict[int, list[float]] = field(default_factory=dict)
    heard: int = 0
    ended: int = 0
    bytes: int = 0


async def follow(port: int, cookie: str, language: str, windows: Windows) -> None:
    """One window: a plain connection that reads the stream."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 22)
    head = f"GET /overview/events HTTP/1.1\r\nHost: x\r\nAccept: text/event-stream\r\nAccept-Language: {language}\r\n"
    writer.write(f"{head}Cookie: {SESSION_COOKIE}={cookie}\r\n\r\n".encode())
    first = True
    while line := await reader.readline():
        windows.bytes += len(line)
        if not line.startswith(b"data: "):
            continue
        windows.heard += first
        first = False
        if windows.heard == windows.wanted:
            windows.all_heard.set()
        if change := SHOWN.search(line):  # not json: reading for five hundred must not hold up what is measured
            windows.seen.setdefault(int(change[1].replace(b",", b"")) - FIRST, []).append(time.perf_counter())
    windows.ended += 1


def cookies(hub: Hub, count: int) -> list[str]:
    """Sessions, spread over all people."""
    found, at = [new_cookie() for _ in range(count)], to_text(now_utc())
    with hub.db.begin() as tx:
        tx.execute(delete(session))
        for n, cookie in enumerate(found):
            row = {"token_sha256": token_key(cookie), "account": f"p-{n % PEOPLE:02d}", "code_due": False}
            tx.execute(insert(session).values(**row, created_at=at, last_seen_at=at))
    return found


def say_change(hub: Hub, number: int) -> None:
    """The watched station says something that its tile shows."""
    hub.say(WATCHED, online=True, software="0.9.0", outbox_unreceipted=FIRST + number)


async def measure(hub: Hub, server: Server, count: int, changes: int) -> int:
    """Open the windows, change things, print; what the process ends with."""
    process, windows = psutil.Process(server.process.pid), Windows(count)
    before = process.memory_info().rss
    languages = ("zh-CN", "en")
    streams = [
        asyncio.create_task(follow(server.port, cookie, languages[n % 2], windows))
        for n, cookie in enumerate(cookies(hub, count))
    ]
    started = time.perf_counter()
    with suppress(TimeoutError):
        await asyncio.wait_for(windows.all_heard.wait(), 120)
    print(f"{windows.heard} windows had their first message after {time.perf_counter() - started:.1f} s", flush=True)
    stop = asyncio.create_task(chatter(hub))
    await asyncio.sleep(15)  # what all of them missed at first has been told
    cpu, wall, told = process.cpu_times(), time.perf_counter(), windows.bytes
    taken: list[float] = []
    for number in range(1, changes + 1):
        await asyncio.to_thread(say_change, hub, number)
        committed = time.perf_counter()
        await asyncio.sleep(3.1)
        taken += [at - committed for at in windows.seen.get(number, [])]
    spent, passed = process.cpu_times(), time.perf_counter() - wall
    stop.cancel()
    share = (spent.user + spent.system - cpu.user - cpu.system) / passed
    rss = process.memory_info().rss
    for stream in streams:
        stream.cancel()
    with suppress(asyncio.CancelledError):
        await asyncio.gather(*streams)
    if not taken:
        print("no window saw a change")
        return 1
    taken.sort()
    p50, p95 = taken[len(taken) // 2], taken[int(len(taken) * 0.95) - 1]
    print(f"{len(taken)} sightings of {changes} changes: p50 {p50:.2f} s, p95 {p95:.2f} s, max {taken[-1]:.2f} s")
    print(
        f"memory {before >> 20} MiB without windows, {rss >> 20} MiB with; {(rss - before) / count / 1024:.0f} KiB each"
    )
    print(f"CPU {share * 100:.0f} % of one core; {(windows.bytes - told) / passed / 1024:.0f} KiB/s in all")
    print(f"windows lost: {windows.ended}")
    return 1 if p95 >= TARGET_SECONDS or windows.ended or windows.heard < count else 0


async def chatter(hub: Hub) -> None:
    """What two hundred stations say beside it: how they are, twice a minute each, and bays that copy."""
    number = 0
    while True:
        name = NAMES[1 + number % (len(NAMES) - 1)]
        facts = {"software": "0.9.0", "clock": "synchronised", "outbox_unreceipted": number % 7, "days_left": 200}
        await asyncio.to_thread(hub.say, name, online=True, **facts)
        if number % 4 == 0:
            half = {"files_done": number % 48, "files_total": 48}
            await asyncio.to_thread(hub.say, name, "2", state="copying", camera="DSJ-1", **half)
        number += 1
        await asyncio.sleep(STATES_EVERY_SECONDS)


def main() -> None:
    """Open, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--dir", type=Path, required=True, help="where the hub is; see tests.bench.pages")
    parser.add_argument("--rows", type=int, default=1_000_000, help="segments, when DIR is new")
    parser.add_argument("--windows", type=int, default=500)
    parser.add_argument("--changes", type=int, default=20)
    arguments = parser.parse_args()
    hub = filled(arguments.dir, arguments.rows)
    server = Server(arguments.dir)
    try:
        code = asyncio.run(measure(hub, server, arguments.windows, arguments.changes))
    finally:
        server.close()
        hub.close()
    sys.exit(code)


if __name__ == "__main__":
    main()
