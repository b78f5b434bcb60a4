"""Open the station's vault, key and store for one process at a time, and close what an earlier stop left open."""

from __future__ import annotations

import fcntl
import logging
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from agent.closing import STAGING, recover
from agent.disk import vault_error
from agent.errors import VaultError, VaultLocked
from agent.keyrotation import finish_rotation
from agent.media import MediaProbe
from agent.pipeline import Dock
from agent.secretlane import recover as recover_secret
from agent.station import Station, load_or_create_station
from agent.store import Store
from agent.store_thread import StoreThread
from agent.worker_process import Workers

log = logging.getLogger("agent.opening")


@dataclass(frozen=True, slots=True)
class Opened:
    """What an opened station consists of."""

    dock: Dock
    station: Station


@contextmanager
def open_dock(vault: Path, directory: Path, station_id: str | None = None) -> Iterator[Opened]:
    """Lock the vault, open key and store, close what an earlier stop left open.

    Raises VaultLocked, VaultError, StoreUntrusted, KeyUnreadable.
    """
    try:
        (vault / STAGING).mkdir(parents=True, exist_ok=True)
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        lock = os.open(vault / ".lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise vault_error(error) from error
    try:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise vault_locked() from None
        station = load_or_create_station(directory, station_id)
        store = Store(directory / "station.db")
        try:
            with store.translated():
                station = finish_rotation(store, directory, station)
                recover(store, vault, station)
                recover_secret(store, vault, station)
        except VaultError as error:
            # The next offload tries again and says so; until then the hub must still hear from this station.
            log.error("recovery_postponed code=%s why=%s", error.code, error.en)  # noqa: TRY400 - the words are for people
        thread, probe = StoreThread(store), MediaProbe()
        try:
            yield Opened(Dock(vault, station, thread, probe, Workers(vault)), station)
        finally:
            probe.close()
            thread.close()
    finally:
        os.close(lock)


def vault_locked() -> VaultLocked:
    """Another agent has the vault."""
    return VaultLocked(
        "Another dock-agent is working in this vault. Nothing was touched. Wait until it has ended, or let the running "
        "agent do the work.",
        "另一个 dock-agent 正在使用此存证库。未改动任何内容。请等待其结束，或交由正在运行的程序处理。",
    )
