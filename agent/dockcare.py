"""Looks after the dock itself: its health, asked now and then, for screen and hub."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psutil

from agent.forecast import vault_days
from agent.health import Health, HealthFinding, probe
from agent.smart import DiskHealth, disk_health, read_smart, vault_disks
from agent.smart_report import REPORT, now, read_report
from agent.station import clock_quality
from agent.store_thread import StoreThread

log = logging.getLogger("agent.dockcare")

PROBE_SECONDS = 60.0
SMART_SECONDS = 3600.0  # asking wakes a sleeping disk


class DockCare:
    """The newest health of the dock. Belongs to the event loop."""

    def __init__(self, vault: Path, store: StoreThread) -> None:
        """Nothing is asked before `run`."""
        self._vault, self._store = vault, store
        self._health: Health | None = None
        self._told: frozenset[str] = frozenset()
        self._asked: dict[str, tuple[float, DiskHealth]] = {}  # by ourselves, and when

    async def run(self) -> None:
        """Ask until cancelled."""
        while True:
            disks = await asyncio.to_thread(self._disks)
            at = datetime.now(UTC).astimezone()
            days = await self._store.call(vault_days, at.date())
            self._health = await asyncio.to_thread(probe, self._vault, days, disks, at)
            self._tell(self._health.findings)
            await asyncio.sleep(PROBE_SECONDS)

    def describe(self) -> dict[str, Any]:
        """For the retained state: free space as of now, health as of the last look."""
        said: dict[str, Any] = {"clock": clock_quality()} | (self._health.to_json() if self._health else {})
        try:
            disk = psutil.disk_usage(str(self._vault))
        except OSError:  # the vault's disk left: the hub sees that its figures are missing, the bays say why
            return {key: value for key, value in said.items() if not key.startswith("disk_")}
        # whole MiB: the retained state changes when it means something
        return said | {"disk_free_bytes": disk.free >> 20 << 20, "disk_total_bytes": disk.total}

    def findings(self) -> tuple[HealthFinding, ...]:
        """What speaks against the dock, worst first."""
        return self._health.findings if self._health else ()

    def _disks(self) -> list[DiskHealth]:
        """Every disk of the vault: as root was told a while ago, else as we are told ourselves, now and then."""
        seconds = now()
        answers = read_report(REPORT, seconds)
        found = []
        for name in vault_disks(self._vault):
            if name in answers:
                found.append(read_smart(name, answers[name]))
                continue
            at, disk = self._asked.get(name, (-SMART_SECONDS, None))
            if disk is None or seconds - at >= SMART_SECONDS:
                disk = disk_health(name)
                self._asked[name] = seconds, disk
            found.append(disk)
        return found

    def _tell(self, findings: Sequence[HealthFinding]) -> None:
        """Each finding is logged when it appears."""
        for finding in findings:
            if finding.code not in self._told:
                log.warning("dock_health code=%s subject=%s why=%s", finding.code, finding.subject, finding.en)
        self._told = frozenset(finding.code for finding in findings)
