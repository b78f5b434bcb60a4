"""How fast the first page, the stations and the recordings come, for every role, over HTTP.

    python -m tests.bench.pages --dir DIR [--rows N] [--rounds N]

Fills DIR once: N segments (1,000,000), 200 stations of eight bays in ten sections, 50 people, 1,600
cameras that were docked, judged, checked out, taken and brought back, one time in twenty to another section's dock.
Only signatures are left out, which no page reads. Then a server process answers whole requests one after the other:
connection kept, session check, query, template. Target: p95 below 150 ms for each page and role. Ends with 1 when one
is missed.
"""

from __future__ import annotations

import argparse
import http.client
import json
import random
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import uvicorn
from sqlalchemy import delete, insert, select, update

from custody.event import Event
from custody.stationevents import (
    CameraChecked,
    CameraCheckedOutV2,
    CameraDocked,
    CameraLeftV2,
    CameraReturnedV2,
    Charge,
)
from hub.access import Role
from hub.accounts.service import new_cookie, token_key
from hub.site import SESSION_COOKIE
from hub.tables import account, bay_state, camera, camera_event, docking, opening, session, station, station_state
from hub.times import now_utc, to_text
from tests.bench.query import DIGEST, docking_events, fill
from tests.integration.site_data import Hub
from tests.ports import free_port

TARGET_MS = 150.0
STATIONS, BAYS, PEOPLE, SECTIONS = 200, 8, 50, 10
AWAY = 0.05  # of cameras come back to another section's dock, and are taken by somebody of another section
NAMES = tuple(f"dock-{n:03d}" for n in range(STATIONS))


def number_of(person: int) -> str:
    """The number of a person at the stations."""
    return f"{1000 + person}"


def bay_events(chance: random.Random, number: int, name: str, seqs: dict[str, int]) -> Iterator[Event]:
    """One stay of a camera with everything that a station states of it."""
    home = chance.randrange(STATIONS) if chance.random() < AWAY else NAMES.index(name)
    camera_id, bay = f"DSJ-{home * BAYS + chance.randrange(BAYS):06d}", str(number % BAYS + 1)
    offload = docking_events(chance, number, name, seqs, camera_id)
    at = now_utc() - timedelta(hours=chance.randrange(1, 400))

    def state(kind: type[Event], **facts: Any) -> Event:
        seqs[name] += 1
        common = {"id": "", "source": name, "seq": seqs[name], "previous": DIGEST, "at": at, "clock": "unknown"}
        return kind(**common, camera_id=camera_id, bay=bay, **facts)

    device = {"usb_id": "1:2", "usb_serial": "", "volume_ids": (), "profile": "generic", "disputed": False}
    yield state(CameraDocked, **device)
    yield state(CameraReturnedV2, officer_commitment=DIGEST, was_out=True)
    yield from offload
    charge = Charge(percent=90, state="full", origin="reported", method="ptp", read_at=at)
    yield state(
        CameraChecked, verdict="ready" if chance.random() < 0.9 else "not_ready", reasons=(), charge=charge,
        free_bytes=1 << 34, total_bytes=1 << 36, free_minutes=400, clock_error_seconds=0, unsafe_files=0,
        policy_from="2026-01-01",
    )  # fmt: skip
    if chance.random() < 0.6:
        out = {"verdict": "ready", "officer_commitment": DIGEST}
        yield state(CameraCheckedOutV2, **out, reasons=(), notice="", due_at=at + timedelta(hours=12))
        yield state(CameraLeftV2, **out, offload="safe")


def open_commitments(hub: Hub) -> None:
    """Who took each camera: what stations send beside their events."""
    chance, taken, rows = random.Random(9), {}, []
    kinds = [cls.TYPE for cls in (CameraCheckedOutV2, CameraLeftV2, CameraReturnedV2)]
    with hub.db.begin() as tx:
        c = camera_event.c
        told = select(c.log_index, c.camera, c.kind).where(c.kind.in_(kinds)).order_by(c.log_index)
        for row in tx.execute(told).all():
            if row.kind == CameraCheckedOutV2.TYPE:
                section = int(row.camera[-6:]) // BAYS % SECTIONS
                colleague = section + SECTIONS * chance.randrange(PEOPLE // SECTIONS)
                taken[row.camera] = number_of(
                    chance.randrange(PEOPLE) if chance.random() < AWAY else colleague
                ).encode()
            if row.camera in taken:
                opened = {"field": "officer", "salt": b"salt", "value": taken[row.camera]}
                rows.append({"log_index": row.log_index, **opened})
        tx.execute(insert(opening), rows)


def people(hub: Hub) -> None:
    """Accounts of every role, in sections, with sessions that do not end; nobody hashes fifty passwords for this."""
    with hub.db.begin() as tx:
        for n in range(PEOPLE):
            row = {"name": f"p-{n:02d}", "role": list(Role)[n % len(Role)], "password_hash": "!", "created_at": "t"}
            place = {"section": f"S{n % SECTIONS}", "officer": number_of(n)}
            tx.execute(insert(account).values(**row, **place, must_change_password=False))
        for n, name in enumerate(NAMES):
            tx.execute(update(station).where(station.c.id == name).values(section=f"S{n % SECTIONS}"))


def say_states(hub: Hub) -> None:
    """How every station and bay is, some of them ill."""
    chance, now = random.Random(5), to_text(now_utc())
    finding = {
        "code": "vault_full_soon",
        "level": "urgent",
        "subject": "",
        "zh": "约 5 天后存满。",
        "en": "Full in 5 d.",
    }
    words = ("empty", "copying", "safe", "safe", "attention", "empty", "empty", "safe")
    with hub.db.begin() as tx:
        tx.execute(delete(station_state))
        tx.execute(delete(bay_state))
        for name in NAMES:
            online = chance.random() < 0.95
            body = {
                "station": name, "online": online, "software": "0.9.0", "clock": "synchronised", "days_left": 200,
                "disk_free_bytes": 1 << 40, "disk_total_bytes": 4 << 40, "outbox_unreceipted": chance.randrange(9),
                "outbox_oldest_seconds": chance.randrange(300), "findings": [finding] if chance.random() < 0.1 else [],
            }  # fmt: skip
            row = {"station": name, "json": json.dumps(body), "online": online, "received_at": now, "since": now}
            tx.execute(insert(station_state).values(**row))
            for bay in range(BAYS):
                said = {
                    "bay": str(bay + 1), "camera": f"DSJ-{chance.randrange(500):06d}", "state": chance.choice(words),
                    "files_done": 12, "files_total": 48, "bytes_done": 5 << 30, "bytes_total": 20 << 30,
                    "seconds_left": 183, "charge_percent": 90, "verdict": "ready",
                }  # fmt: skip
                row = {"station": name, "bay": str(bay + 1), "json": json.dumps(said), "received_at": now}
                tx.execute(insert(bay_state).values(**row))


def sessions(hub: Hub) -> dict[Role, str]:
    """A cookie of one person of each role."""
    found, at = {}, to_text(now_utc())
    with hub.db.begin() as tx:
        tx.execute(delete(session))
        for n, role in enumerate(Role):
            found[role] = new_cookie()
            row = {"token_sha256": token_key(found[role]), "account": f"p-{n:02d}", "code_due": False}
            tx.execute(insert(session).values(**row, created_at=at, last_seen_at=at))
    return found


def filled(directory: Path, rows: int) -> Hub:
    """The hub in `directory`, filled when it is new."""
    directory.mkdir(parents=True, exist_ok=True)
    hub, ready, started = Hub(directory), directory / "ready", time.perf_counter()
    if not ready.exists():
        fill(hub, rows, names=NAMES, events=bay_events)
        people(hub)
        open_commitments(hub)
        ready.write_text(f"{rows}\n")
        print(f"filled in {time.perf_counter() - started:.0f} s", file=sys.stderr)
    say_states(hub)
    return hub


def serve(directory: Path, port: int) -> None:
    """The server process."""
    uvicorn.run(Hub(directory).app, port=port, log_level="warning", access_log=False)


class Server:
    """The server process and a connection to it."""

    def __init__(self, directory: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.bench.pages", "--dir", directory, "--serve", str(self.port)]
        self.process = subprocess.Popen(command)
        for _ in range(600):
            try:
                self.connection = http.client.HTTPConnection("127.0.0.1", self.port)
                self.connection.request("GET", "/healthz")
                self.connection.getresponse().read()
            except OSError:
                time.sleep(0.1)
            else:
                return
        raise SystemExit("the server does not answer")

    def get(self, path: str, cookie: str) -> tuple[int, int]:
        """Status and length of an answer."""
        self.connection.request("GET", path, headers={"cookie": f"{SESSION_COOKIE}={cookie}"})
        answer = self.connection.getresponse()
        return answer.status, len(answer.read())

    def close(self) -> None:
        """End it."""
        self.process.terminate()
        self.process.wait()


def questions(hub: Hub) -> list[tuple[str, list[str]]]:
    """Pages, each in several spellings so that no answer is simply remembered."""
    with hub.db.read() as connection:
        cameras = connection.execute(select(camera.c.id).limit(20)).scalars().all()
        last = connection.execute(select(docking.c.first_index).order_by(docking.c.first_index.desc())).scalar()
    return [
        ("overview", ["/"]),
        ("stations", [f"/stations?sort={order}" for order in ("worst", "outbox", "disk")]),
        ("one station", [f"/stations/{name}" for name in NAMES]),
        ("recordings", ["/recordings"]),
        ("recordings, deep", [f"/recordings?cursor={n}" for n in range(0, last, last // 20)]),
        ("recordings, camera", [f"/recordings?camera={one}" for one in cameras]),
        ("recordings, words", [f"/recordings?q={quote(word)}" for word in ("检查", "投诉", "校外", "笔录")]),
    ]


def measure(server: Server, paths: list[str], cookie: str, rounds: int) -> tuple[float, float, float, int, int]:
    """p50, p95 and maximum in milliseconds, the last status and length."""
    taken, status, size = [], 0, 0
    for n in range(rounds):
        started = time.perf_counter()
        status, size = server.get(paths[n % len(paths)], cookie)
        taken.append((time.perf_counter() - started) * 1000)
    taken.sort()
    return taken[len(taken) // 2], taken[int(len(taken) * 0.95) - 1], taken[-1], status, size


def main() -> None:
    """Fill, ask, print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=1_000_000, help="segments (default 1,000,000)")
    parser.add_argument("--dir", type=Path, required=True, help="where the hub is made; kept and used again")
    parser.add_argument("--rounds", type=int, default=40, help="requests per page and role (default 40)")
    parser.add_argument("--serve", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve:
        return serve(arguments.dir, arguments.serve)
    hub = filled(arguments.dir, arguments.rows)
    cookies, asked, missed = sessions(hub), questions(hub), False
    server = Server(arguments.dir)
    print(f"{'page':22} {'role':18} {'p50 ms':>8} {'p95 ms':>8} {'max ms':>8} {'KiB':>6}")
    try:
        for name, paths in asked:
            for role, cookie in cookies.items():
                if server.get(paths[0], cookie)[0] == 403:
                    continue
                p50, p95, worst, status, size = measure(server, paths, cookie, arguments.rounds)
                missed |= p95 >= TARGET_MS
                note = "  MISSED" if p95 >= TARGET_MS else f"  {status}" if status != 200 else ""
                print(f"{name:22} {role:18} {p50:8.1f} {p95:8.1f} {worst:8.1f} {size / 1024:6.0f}{note}", flush=True)
    finally:
        server.close()
        hub.close()
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
