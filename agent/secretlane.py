"""The way of footage under state secrecy (Art. 18): encrypted to the custodian, kept here, one blinded event.

Order of what becomes durable: the encrypted files and what the event will say; the folder's name; the event. A stop
before the name leaves a part that the next start removes, for the camera still holds everything. A stop between name
and event leaves a whole folder, which `recover` states.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from agent import wire
from agent.disk import vault_error
from agent.errors import AgentError, SourceGone, SourceStalled
from agent.pipeline import Dock
from agent.progress import Progress, ProgressMeter
from agent.secretstated import PART_PREFIX, STATED_NAME
from agent.source import SourcePlace
from agent.station import Station, sign_events, sync_directory, uuid7
from agent.store import Store
from agent.worker_process import WorkerProcess
from custody.event import Event, Sha256Hex
from custody.secret import FOLDER
from custody.stationevents import SecretKept

log = logging.getLogger("agent.secretlane")
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class SecretOrder:
    """One source to keep. `camera` is told to the custodian alone. `gone` is set when the camera was taken out."""

    source: SourcePlace
    camera: str
    bay: str
    recipients: Sequence[str]
    gone: asyncio.Event | None = None


@dataclass(frozen=True, slots=True)
class SecretResult:
    """What is kept and stated."""

    secret_id: str
    files: int
    complete: bool
    manifest_sha256: Sha256Hex
    sums_sha256: Sha256Hex


async def keep_secret(dock: Dock, order: SecretOrder, on_progress: Callable[[Progress], None]) -> SecretResult:
    """Keep everything of one source for the custodian and state it.

    Raises AgentError; then nothing is kept and nothing is stated. Always everything on the card: what was kept before
    cannot be told from what is new without reading what the station must not know.
    """
    secret_id, meter = uuid7(), ProgressMeter(on_progress)
    worker = await WorkerProcess.start(dock.vault, "agent.secretworker")
    worker.on_waiting = meter.waiting
    leaving = asyncio.create_task(_kill_when_gone(order, worker))
    try:
        await worker.send({
            "t": "keep", "place": str(order.source), "recipients": list(order.recipients), "secret_id": secret_id,
            "station": dock.station.id, "camera": order.camera, "bay": order.bay,
        })  # fmt: skip
        result = await _follow(worker, secret_id, meter)
    except (SourceGone, SourceStalled) as error:
        raise nothing_kept(error) from error
    finally:
        leaving.cancel()
        await worker.kill()
        await asyncio.to_thread(_remove_part, dock.vault / FOLDER / (PART_PREFIX + secret_id))
    await dock.store.call(state_kept, dock.station, result)
    meter.ended(complete=result.complete, reason="secret_incomplete")
    return result


async def _kill_when_gone(order: SecretOrder, worker: WorkerProcess) -> None:
    if order.gone is not None:
        await order.gone.wait()
        await worker.kill()


async def _follow(worker: WorkerProcess, secret_id: str, meter: ProgressMeter) -> SecretResult:
    while True:
        frame = await worker.receive()
        match frame:
            case {"t": "listing"}:
                meter.listing()
            case {"t": "copying", "files": int(files), "bytes": int(size_bytes)}:
                meter.copying(files, size_bytes)
            case {"t": "progress", "items": [[0, int(done)]]}:
                meter.partial({0: done})
            case {"t": "saved", "n": int(n), "bytes": int(size_bytes)}:
                meter.partial({0: 0})
                meter.saved(n, size_bytes)
                meter.report()
            case {"t": "kept"}:
                return parse_stated(frame, secret_id)
            case _:
                raise wire.nonsense()


def parse_stated(body: dict[str, Any], secret_id: str) -> SecretResult:
    """What the worker says that the event shall say. Raises SourceUnreadable: it reads a hostile card."""
    match body:
        case {
            "secret_id": given,
            "files": int(files),
            "complete": bool(complete),
            "manifest_sha256": str(manifest),
            "sums_sha256": str(sums),
        } if given == secret_id and files >= 0 and _SHA256.fullmatch(manifest) and _SHA256.fullmatch(sums):
            return SecretResult(secret_id, files, complete, Sha256Hex(manifest), Sha256Hex(sums))
    raise wire.nonsense()  # fmt: skip


def state_kept(store: Store, station: Station, result: SecretResult) -> None:
    """State one finished folder, once."""

    def event(common: dict[str, Any]) -> Event:
        return SecretKept(
            **common, secret_id=result.secret_id, files=result.files, complete=result.complete,
            manifest_sha256=result.manifest_sha256, sums_sha256=result.sums_sha256,
        )  # fmt: skip

    with store.begin():
        if store.execute("INSERT OR IGNORE INTO secret_kept (id) VALUES (?)", (result.secret_id,)).rowcount:
            sign_events(store, station, [event])


def recover(store: Store, vault: Path, station: Station) -> None:
    """Remove parts of an earlier stop, and state folders that were finished and not stated. Raises VaultError.

    Only while nothing is being kept: at the start, under the vault's lock.
    """
    home = vault / FOLDER
    try:
        names = sorted(entry.name for entry in os.scandir(home)) if home.exists() else []
    except OSError as error:
        raise vault_error(error) from error
    known = {row[0] for row in store.execute("SELECT id FROM secret_kept")}
    for name in names:
        if name.startswith(PART_PREFIX):
            _remove_part(home / name)
        elif name not in known:
            try:
                state_kept(store, station, parse_stated(json.loads((home / name / STATED_NAME).read_bytes()), name))
            except (OSError, ValueError, AgentError) as error:  # not ours: left as it is, for people to look at
                log.error("secret_folder_unknown id=%s why=%s", name, type(error).__name__)  # noqa: TRY400


def _remove_part(part: Path) -> None:
    """Encrypted and worth nothing: what could not be removed now goes at the next start."""
    if part.exists():
        shutil.rmtree(part, ignore_errors=True)
        sync_directory(part.parent)


def nothing_kept(error: AgentError) -> AgentError:
    """A camera that left or hung. Unlike elsewhere no file of it is kept yet."""
    error.en = (
        "The camera left or stopped answering before all of it was encrypted. Nothing of it is kept here, everything "
        "is still on the camera. Connect it again: it is then read from the beginning."
    )
    error.zh = "记录仪在全部加密之前断开或停止响应。此处未保存任何内容，录像仍全部在记录仪中。请重新连接，将从头读取。"
    error.args = (error.en,)
    return error
