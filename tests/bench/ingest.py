"""How fast the hub takes envelopes in, from publish to committed log and index, and how soon a receipt comes back.

    python -m tests.bench.ingest                    broker, publisher and hub as processes of their own, SQLite
    python -m tests.bench.ingest --mosquitto        the same through Mosquitto instead of the embedded broker
    python -m tests.bench.ingest --direct           the intake function alone
    python -m tests.bench.ingest --postgres         a PostgreSQL server of its own, which must be installed
    python -m tests.bench.ingest --hubs 2           so many hub processes, which share the stations; needs --postgres

Targets on two cores: 5,000 envelopes a second sustained; receipt within 1 s for 99 of 100 at 200 a second.
Ends with 1 when a target is missed.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import json
import os
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
from sqlalchemy import func, select

from custody.checkpoint import parse_key_line
from custody.envelope import parse_envelope
from custody.receipt import Receipt, open_receipt
from custody.topics import station_topic
from hub import log
from hub.db import Database, open_database
from hub.intake import Intake
from hub.keys import load_keys
from hub.opening import Message
from hub.settings import load_settings
from hub.stations.service import enrol_station
from hub.tables import checkpoint
from tests.bench import wire
from tests.bench.stations import SigningStation
from tests.integration.postgres import new_database, running_server

TARGET_PER_SECOND = 5_000
TARGET_P99_SECONDS = 1.0
WINDOW = 512  # envelopes without receipt per station, as the agent allows itself
STALL_SECONDS = 30
MOSQUITTO = """allow_anonymous true
max_inflight_messages 1000
max_queued_messages 200000
"""  # as in deploy/mosquitto, without TLS


def make_envelopes(stations: list[SigningStation], each: int) -> dict[str, list[bytes]]:
    """What each station will send: one docking of `each` events."""
    made: dict[str, list[bytes]] = {}
    for n, station in enumerate(stations):
        camera = f"DSJ-{n:06d}"
        middle = [station.segment(camera) for _ in range(each - 2)] if station.seq else []
        if not middle:
            first = [station.started(), station.docking_started(camera)]
            middle = [*first, *(station.segment(camera) for _ in range(each - 2))]
        made[station.name] = middle
    return made


def publish_all(port: int, envelopes: dict[str, list[bytes]]) -> None:
    """Publish everything as fast as receipts come, one connection and one thread per station."""
    threads = [
        threading.Thread(target=_publish, args=(port, name, raws), daemon=True) for name, raws in envelopes.items()
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _publish(port: int, name: str, raws: list[bytes]) -> None:
    """As a station does: ahead of the receipts by a window, so that the broker never has to drop anything."""
    line = wire.connect(port, name)
    wire.subscribe(line, station_topic(name, "receipts"))
    topic = station_topic(name, "events")
    ready = [wire.publish(topic, i % 60_000 + 1, raw) for i, raw in enumerate(raws)]
    answers, sent = wire.packets(line), 0
    receipted: set[int] = set()  # two hubs answer in no order
    while len(receipted) < len(ready):
        if sent < len(ready) and sent - len(receipted) <= WINDOW - 20:
            line.sendall(b"".join(ready[sent : sent + 20]))
            sent = min(sent + 20, len(ready))
            continue
        kind, body = next(answers)
        if kind >> 4 == 3:  # unverified here: `measure_latency` verifies
            answer = json.loads(parse_envelope(wire.payload_of(body)).payload)
            if answer["type"] != "receipt.v1":
                raise SystemExit(f"the hub asks {name} to send again: {answer}")
            receipted.update(entry[0] for entry in answer["entries"])
    line.close()


class Hub:
    """A hub directory, its broker and hub processes."""

    def __init__(self, root: Path, database: str | None) -> None:
        self.directory = root / "hub"
        command = ["init", "--dir", str(self.directory), "--json", *(["--database", database] if database else [])]
        done = subprocess.run([*_dock_hub(), *command], check=True, capture_output=True, text=True)
        self.lines: dict[str, str] = json.loads(done.stdout)
        settings = load_settings(self.directory)
        self.db: Database = open_database(settings.database_url)
        self.keys = load_keys(settings.keys_directory, settings.hub_id)
        self.processes: dict[str, subprocess.Popen[bytes]] = {}

    def enrol(self, stations: list[SigningStation]) -> None:
        for station in stations:
            enrol_station(self.db, self.keys, station.key.verify_key.line)

    def start(self, port: int, *, mosquitto: bool, hubs: int) -> None:
        """Broker, then the hub's processes; returns when they have subscribed."""
        if mosquitto:
            config = self.directory / "mosquitto.conf"
            config.write_text(f"listener {port} 127.0.0.1\n{MOSQUITTO}")
            self._spawn("broker", ["mosquitto", "-c", str(config)])
        else:
            self._spawn("broker", [*_dock_hub(), "broker", "--port", str(port), "--dir", str(self.directory)])
        _wait(lambda: _listens(port), "the broker")
        for n in range(hubs):
            web = ["--port", str(_free_port()), "--mqtt", f"mqtt://127.0.0.1:{port}"]
            share = ["--replica", f"hub-{n}"] if hubs > 1 else []
            self._spawn(f"hub{n}", [*_dock_hub(), "run", "--dir", str(self.directory), *web, *share])
        logs = [self.directory / f"hub{n}.log" for n in range(hubs)]
        _wait(lambda: all("broker_connected" in one.read_text() for one in logs), "the hub")
        _wait(lambda: hubs == 1 or all("stations_divided" in one.read_text() for one in logs), "the hub's replicas")
        time.sleep(
            0.5 if hubs == 1 else 8.0
        )  # subscriptions follow the connection at once; replicas see each other in 5 s

    def _spawn(self, name: str, command: list[str]) -> None:
        with (self.directory / f"{name}.log").open("wb") as out:
            self.processes[name] = subprocess.Popen(command, stdout=out, stderr=out)

    def size(self) -> int:
        with self.db.read() as connection:
            return log.read_head(connection).size

    def commits(self) -> int:
        """How many there were that appended: each has its checkpoint."""
        with self.db.read() as connection:
            return connection.execute(select(func.count()).select_from(checkpoint)).scalar_one()

    def cpu_seconds(self) -> dict[str, float]:
        found = {name: psutil.Process(p.pid) for name, p in self.processes.items()}
        found |= {f"{name}_opener": child for name, p in found.items() for child in p.children()}
        times = {name: p.cpu_times() for name, p in found.items()}
        return {name: round(t.user + t.system, 2) for name, t in times.items()}

    def stop(self) -> None:
        for process in reversed(self.processes.values()):
            process.terminate()
            process.wait(20)
        self.db.close()


def measure_direct(hub: Hub, envelopes: dict[str, list[bytes]], batch: int) -> dict[str, Any]:
    """Feed the intake function from memory."""
    intake = Intake(hub.db, hub.keys, 480)
    messages = list(_interleaved(envelopes))
    before, started = time.process_time(), time.perf_counter()
    opening = intake.begin_opening(messages[:batch])
    for i in range(batch, len(messages) + batch, batch):  # as the line does: open the next while this one commits
        opened, opening = opening.result(), intake.begin_opening(messages[i : i + batch])
        intake.commit(opened)
    seconds = time.perf_counter() - started
    intake.close()
    assert intake.counters.accepted == len(messages), intake.counters
    return _rate(len(messages), seconds, {"intake": round(time.process_time() - before, 2)})


def measure_processes(hub: Hub, port: int, envelopes: dict[str, list[bytes]]) -> dict[str, Any]:
    """Publish from a process of its own and wait until the last envelope is committed."""
    spool = hub.directory / "spool.json"
    spool.write_text(json.dumps({n: [base64.b64encode(r).decode() for r in raws] for n, raws in envelopes.items()}))
    total = sum(map(len, envelopes.values()))
    goal, commits = hub.size() + total, hub.commits()
    publisher = subprocess.Popen(
        [sys.executable, "-m", "tests.bench.ingest", "--publish", str(spool), "--port", str(port)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert publisher.stdin
    assert publisher.stdout
    publisher.stdout.readline()  # it has prepared everything and waits
    before, started = hub.cpu_seconds(), time.perf_counter()
    publisher.stdin.write(b"go\n")
    publisher.stdin.flush()
    seen, moved_at = 0, started
    while (size := hub.size()) < goal:
        now = time.perf_counter()
        if size > seen:
            seen, moved_at = size, now
        elif now - moved_at > STALL_SECONDS:
            raise SystemExit(f"no progress for {STALL_SECONDS} s: {size} of {goal} entries")
        time.sleep(0.05)
    seconds = time.perf_counter() - started
    used = {name: round(cpu - before.get(name, 0.0), 2) for name, cpu in hub.cpu_seconds().items()}
    publisher_cpu = float(publisher.stdout.readline())
    publisher.wait()
    per_commit = round(total / (hub.commits() - commits))
    return _rate(total, seconds, used | {"publisher": publisher_cpu}) | {"envelopes_per_commit": per_commit}


def measure_latency(hub: Hub, port: int, station: SigningStation, per_second: int, seconds: int) -> dict[str, Any]:
    """Publish at a steady rate; time from publish to the verified receipt that names the envelope."""
    raws = [station.segment() for _ in range(per_second * seconds)]
    first = station.seq - len(raws) + 1
    line, listener = wire.connect(port, station.name), wire.connect(port, f"{station.name}-listener")
    wire.subscribe(listener, station_topic(station.name, "receipts"))
    receipt_key, log_key = parse_key_line(hub.lines["receipt_key"]), parse_key_line(hub.lines["log_key"])
    came_at: dict[int, float] = {}

    def listen() -> None:
        for kind, body in wire.packets(listener):
            if kind >> 4 == 3:
                answer, _ = open_receipt(wire.payload_of(body), station.name, receipt_key, log_key)
                now = time.perf_counter()
                if isinstance(answer, Receipt):
                    for entry in answer.entries:
                        came_at.setdefault(entry.seq, now)
                if len(came_at) == len(raws):
                    return

    thread = threading.Thread(target=listen, daemon=True)
    thread.start()
    topic, sent_at, started = station_topic(station.name, "events"), {}, time.perf_counter()
    for i, raw in enumerate(raws):
        time.sleep(max(0.0, started + i / per_second - time.perf_counter()))
        sent_at[first + i] = time.perf_counter()
        line.sendall(wire.publish(topic, i % 60_000 + 1, raw))
    thread.join(STALL_SECONDS)
    waits = sorted(came_at[seq] - at for seq, at in sent_at.items() if seq in came_at)
    return {
        "per_second": per_second,
        "receipts": len(waits),
        "missing": len(raws) - len(waits),
        "p50_ms": round(1000 * waits[len(waits) // 2], 1),
        "p99_ms": round(1000 * waits[int(len(waits) * 0.99)], 1),
        "max_ms": round(1000 * waits[-1], 1),
    }


def _interleaved(envelopes: dict[str, list[bytes]]) -> Iterator[Message]:
    """Twenty of each station in turn, as a broker delivers them."""
    longest = max(map(len, envelopes.values()))
    for i in range(0, longest, 20):
        for name, raws in envelopes.items():
            for raw in raws[i : i + 20]:
                yield Message(station_topic(name, "events"), raw, name)


def _rate(count: int, seconds: float, cpu: dict[str, float]) -> dict[str, Any]:
    return {
        "envelopes": count,
        "seconds": round(seconds, 2),
        "per_second": round(count / seconds),
        "cpu_seconds": cpu,
        "cpu_us_per_envelope": {name: round(s / count * 1e6) for name, s in cpu.items()},
    }


def _dock_hub() -> list[str]:
    return [sys.executable, "-m", "hub.app"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def _wait(ready: Any, what: str) -> None:
    until = time.monotonic() + 30
    while not ready():
        if time.monotonic() > until:
            raise SystemExit(f"{what} did not come up; see its log in the hub's directory")
        time.sleep(0.1)


def _run_publisher(spool: Path, port: int) -> None:
    envelopes = {n: [base64.b64decode(r) for r in raws] for n, raws in json.loads(spool.read_text()).items()}
    print("ready", flush=True)
    sys.stdin.readline()
    before = time.process_time()
    publish_all(port, envelopes)
    print(round(time.process_time() - before, 2), flush=True)


def main() -> None:
    """Measure, print one JSON object, exit 1 when a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--direct", action="store_true", help="no broker: the intake function alone")
    parser.add_argument("--mosquitto", action="store_true", help="through Mosquitto, which must be installed")
    parser.add_argument("--postgres", action="store_true", help="a PostgreSQL server of its own, settings as installed")
    parser.add_argument("--hubs", type=int, default=1, help="hub processes that share the stations")
    parser.add_argument("--stations", type=int, default=20)
    parser.add_argument("--each", type=int, default=2_000, help="envelopes per station")
    parser.add_argument("--batch", type=int, default=100, help="messages per commit with --direct")
    parser.add_argument("--latency-seconds", type=int, default=10)
    parser.add_argument("--dir", type=Path, help="keep the hub's directory here")
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--port", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.publish:
        return _run_publisher(arguments.publish, arguments.port)
    with tempfile.TemporaryDirectory() as scratch, contextlib.ExitStack() as servers:
        database = None
        if arguments.postgres:
            (place := Path(scratch) / "postgres").mkdir()
            database = new_database(servers.enter_context(running_server(place, fsync=True)))
        result = _measure(arguments, arguments.dir or Path(scratch), database)
    print(json.dumps(result, indent=2))
    slow = result["throughput"]["per_second"] < TARGET_PER_SECOND
    late = "latency" in result and result["latency"]["p99_ms"] > 1000 * TARGET_P99_SECONDS
    sys.exit(1 if slow or late else 0)


def _measure(arguments: argparse.Namespace, root: Path, database: str | None) -> dict[str, Any]:
    hub = Hub(root, database)
    stations = [SigningStation(f"station-{n}") for n in range(arguments.stations)]
    slow = SigningStation("station-steady")
    hub.enrol([*stations, slow])
    envelopes = make_envelopes(stations, arguments.each)
    sample = len(envelopes["station-0"][-1])
    result: dict[str, Any] = {"cores": os.cpu_count(), "database": hub.db.writer.dialect.name, "envelope_bytes": sample}
    if arguments.direct:
        result["throughput"] = measure_direct(hub, envelopes, arguments.batch)
        hub.stop()
        return result
    port = _free_port()
    try:
        hub.start(port, mosquitto=arguments.mosquitto, hubs=arguments.hubs)
        result["throughput"] = measure_processes(hub, port, envelopes)
        result["latency"] = measure_latency(hub, port, slow, 200, arguments.latency_seconds)
    finally:
        hub.stop()
    return result


if __name__ == "__main__":
    main()
