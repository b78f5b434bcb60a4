"""`dock-agent status` and `dock-agent doctor`: what an operator asks first. Both only read."""

from __future__ import annotations

import json
import os
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from agent.clearclient import SOCKET, connect
from agent.errors import AgentError
from agent.kiosk.words import TITLES
from agent.report import size_text, time_text
from agent.settings import HubLink, Settings, load_settings
from agent.station import clock_quality, load_or_create_station
from agent.store import Store
from agent.witness import load_memory
from custody.witness import size_of

FREE_BYTES_MIN = 2 << 30


def read_status(settings: Settings) -> dict[str, Any]:
    """Live state of the running agent (if it runs) and the store's own figures; field names are stable.

    A station that was never started has neither key nor store; looking makes none, for the name would stay.
    """
    key, database = settings.directory / "station.key", settings.directory / "station.db"
    live = _live(settings.directory / "status.json")
    station = load_or_create_station(settings.directory) if key.exists() else None
    status = {
        "station": station.id if station else None,
        "key": station.key.verify_key.line if station else None,
        "running": bool(live),
        "uplink": bool(live.get("uplink")),
        "enrolled": settings.link is not None,
        "bays": live.get("bays", []),
        "outbox": {"unreceipted": 0, "oldest_seconds": 0},
        "checkpoint_size": None,
        "witnessed_size": None,
        "log_refused": None,
        "dockings": [],
    }
    if not database.exists():
        return status
    store = Store(database)
    try:
        with store.translated():
            return status | _kept(store)
    finally:
        store.close()


def process_birth(pid: int) -> int:
    """When the process began, in clock ticks since the boot: unlike a time of day, no set clock moves it.

    Raises OSError when there is no such process. proc_pid_stat(5), field 22; the unit hides the rest of /proc, the
    boot's id included.
    """
    after_name = Path(f"/proc/{pid}/stat").read_bytes().rpartition(b")")[2].split()
    return int(after_name[19])


def _live(path: Path) -> dict[str, Any]:
    """What the running agent wrote; empty when none runs: a later process of the same id has another birth."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        live: dict[str, Any] = json.loads(path.read_text("utf-8"))
        if process_birth(live["pid"]) == live["birth"]:
            return live
    return {}


def _kept(store: Store) -> dict[str, Any]:
    depth, oldest = store.outbox_depth()
    age = 0 if oldest is None else max(0, round((datetime.now(UTC) - oldest).total_seconds()))
    logs = [load_memory(store, origin) for (origin,) in store.execute("SELECT log FROM witness").fetchall()]
    dockings = [
        {
            "docking": row.id,
            "camera": row.camera,
            "bay": row.bay,
            "started_at": row.started_at.isoformat(),
            "closed": row.closed_seq is not None,
            "reason": row.reason,
            "files": {state: number for state, (number, _) in store.state_counts(row.id).items()},
        }
        for row in store.recent_dockings(10)
    ]
    return {
        "outbox": {"unreceipted": depth, "oldest_seconds": age},
        "checkpoint_size": max((size_of(memory.largest) for memory in logs), default=None),
        "witnessed_size": max((memory.size for memory in logs), default=None),
        "log_refused": next((memory.stopped.value for memory in logs if memory.stopped), None),
        "dockings": dockings,
    }


def status_lines(status: dict[str, Any]) -> list[str]:
    """The status for people."""
    running = "运行中 / running" if status["running"] else "未运行 / not running"
    uplink = "已连接 / connected" if status["uplink"] else "未连接 / not connected"
    outbox = status["outbox"]
    lines = [
        f"采集站 / station {status['station'] or '-'}: {running}",
        f"中心 / hub: {uplink if status['enrolled'] else '未登记 / not enrolled'}",
        f"待回执 / waiting for receipts: {outbox['unreceipted']}"
        + (f"（最久 {time_text(outbox['oldest_seconds'])}）" if outbox["unreceipted"] else ""),
    ]
    if status["log_refused"]:
        lines.append(
            f"中心的日志自相矛盾，已拒绝 / the hub's log contradicts itself and is refused: {status['log_refused']} "
            "(dock-agent witness)"
        )
    for bay in status["bays"]:
        done = f" {bay['files_done']}/{bay['files_total']}" if bay["files_total"] else ""
        words = f"{bay['camera'] or '-'} {state_text(bay['state'])}{done} {bay['reason'] or ''}"
        lines.append(f"仓位 / bay {bay['bay']}: {words.rstrip()}")
    if status["key"]:
        lines.append(f"公钥行 / key line {status['key']}")
    for row in status["dockings"]:
        lines.append(f"{row['docking']}  {row['camera']}  {files_text(row['files'])}  {row['reason'] or '…'}")
    return lines


def state_text(state: str) -> str:
    """A bay's state as the dock's screen says it."""
    _, zh, en = TITLES.get(state, ("", state, state))
    return f"{zh} / {en.lower()}"


FILES = {
    "planned": "待复制 / to copy",
    "known": "此前已保存 / saved before",
    "sealed": "新封存 / sealed",
    "changed": "复制时有变化 / changed",
    "failed": "读不出 / not read",
    "disposed": "已按授权处置 / disposed of",
}


def files_text(files: dict[str, int]) -> str:
    """How many files of one docking are in which state."""
    return ", ".join(f"{number} {FILES.get(state, state)}" for state, number in files.items()) or "-"


@dataclass(frozen=True)
class Check:
    """One answer of `doctor`."""

    check: str
    ok: bool
    detail: str


def doctor(directory: Path) -> list[Check]:
    """Check everything the agent stands on; never raises for what it is there to find."""
    checks: list[Check] = []

    def check(name: str, probe: Callable[[], tuple[bool, str]]) -> None:
        try:
            ok, detail = probe()
        except AgentError as error:
            ok, detail = False, f"{error.zh} / {error.en}"
        except (OSError, ValueError) as error:  # ValueError: a host name that no resolver takes
            ok, detail = False, str(error)
        checks.append(Check(name, ok, detail))

    try:
        settings = load_settings(directory)
    except AgentError as error:
        return [Check("settings", ok=False, detail=f"{error.zh} / {error.en}")]
    checks.append(Check("settings", ok=True, detail=f"{len(settings.bays)} bays, vault {settings.vault.resolve()}"))
    check("key", lambda: _key(settings))
    check("database", lambda: _database(settings))
    check("vault", lambda: _vault(settings.vault))
    check("clock", lambda: ((quality := clock_quality()) == "synchronised", quality))
    check("broker", lambda: _broker(settings.link))
    check("release", lambda: _release(settings))
    return checks


def _key(settings: Settings) -> tuple[bool, str]:
    if not (settings.directory / "station.key").exists():
        return False, "no key yet: run dock-agent enrol or run"
    return True, load_or_create_station(settings.directory).key.verify_key.label


def _database(settings: Settings) -> tuple[bool, str]:
    if not (settings.directory / "station.db").exists():
        return True, "not there yet; created on first use"
    store = Store(settings.directory / "station.db")
    try:
        verdict = store.check()
    finally:
        store.close()
    return verdict == "ok", verdict


def _vault(vault: Path) -> tuple[bool, str]:
    if not vault.is_dir():
        return True, "not there yet; created on first use"
    free = psutil.disk_usage(str(vault)).free
    if not os.access(vault, os.W_OK | os.X_OK):
        return False, "not writable"
    return free > FREE_BYTES_MIN, f"{size_text(free)} free"


def _release(settings: Settings) -> tuple[bool, str]:
    if not settings.release:
        return True, "off: nothing is ever cleared from a camera"
    connect().close()
    return True, f"on; {SOCKET} answers"


def _broker(link: HubLink | None) -> tuple[bool, str]:
    if link is None:
        return True, "not enrolled: events wait in the outbox"
    host, port, _ = link.address()
    with socket.create_connection((host, port), timeout=3):
        return True, f"{host}:{port} answers"
