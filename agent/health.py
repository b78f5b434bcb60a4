"""How the dock itself is: room and when it ends, disks, power, heat, clock, memory. `judge` is pure, `probe` asks.

What cannot be asked is None and no finding, except the clock: every fact of the dock carries its time.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import date, datetime
from enum import IntEnum, StrEnum
from pathlib import Path
from typing import Any

import psutil

from agent.forecast import daily_rate, days_left
from agent.report import size_text
from agent.smart import DiskHealth, DiskState
from agent.station import ClockState, clock_state
from agent.status import FREE_BYTES_MIN

DAYS_ATTENTION, DAYS_URGENT = 30, 7
FREE_SHARE_ATTENTION = 0.05
CPU_ATTENTION_C, CPU_URGENT_C = 80, 90  # a Raspberry Pi slows down from 80
DISK_ATTENTION_C, DISK_URGENT_C = 60, 70  # what hard disks, and what SSDs, are built for
CLOCK_ERROR_SECONDS = 1.0
MEMORY_ATTENTION, MEMORY_URGENT = 0.10, 0.05  # share that is available
LOAD_ATTENTION = 4.0  # per processor, over 15 minutes: copying alone stays far below
DISK_CHIPS = ("nvme", "drivetemp")
DISKS_SHOWN = 8
CLOCK_UNKNOWN = ClockState("unknown")


class Level(IntEnum):
    """How urgent a finding is."""

    ATTENTION = 1  # this week
    URGENT = 2  # today: footage may soon not be taken in, or a disk is dying


class Code(StrEnum):
    """Findings; never change or reuse one."""

    VAULT_MISSING = "vault_missing"
    VAULT_NEARLY_FULL = "vault_nearly_full"
    VAULT_FULL_SOON = "vault_full_soon"
    DISK_FAILED = "disk_failed"
    DISK_WEARING = "disk_wearing"
    DISK_HOT = "disk_hot"
    CPU_HOT = "cpu_hot"
    UNDERVOLTAGE = "undervoltage"
    UNDERVOLTAGE_SEEN = "undervoltage_seen"
    THROTTLED = "throttled"
    CLOCK_UNSURE = "clock_unsure"
    CLOCK_ERROR = "clock_error"
    MEMORY_LOW = "memory_low"
    LOAD_HIGH = "load_high"


WORDS: Mapping[Code, tuple[str, str]] = {
    Code.VAULT_MISSING: ("无法读取存证库所在磁盘，暂不能采集。请检查磁盘连接。",
        "The vault's disk cannot be read; nothing can be taken in. Check the disk's connection."),
    Code.VAULT_NEARLY_FULL: ("存证库仅剩 {free}。已入库录像安全；请扩容。",
        "The vault has only {free} left. Footage in it is safe; add storage."),
    Code.VAULT_FULL_SOON: ("按目前用量，存证库约 {days} 天后存满。请安排扩容。",
        "At this rate the vault is full in about {days} days. Plan more storage."),
    Code.DISK_FAILED: ("磁盘 {disk} 自检报告故障（{signs}）。请立即备份并更换。",
        "Disk {disk} reports that it is failing ({signs}). Back it up and replace it now."),
    Code.DISK_WEARING: ("磁盘 {disk} 出现老化或坏扇区迹象（{signs}）。请准备更换。",
        "Disk {disk} shows wear or bad sectors ({signs}). Prepare to replace it."),
    Code.DISK_HOT: ("磁盘 {disk} 温度 {celsius} ℃，过高。请检查通风。",
        "Disk {disk} is at {celsius} °C, too hot. Check the ventilation."),
    Code.CPU_HOT: ("处理器温度 {celsius} ℃，过高。请检查通风。",
        "The processor is at {celsius} °C, too hot. Check the ventilation."),
    Code.UNDERVOLTAGE: ("供电电压不足，可能突然断电或写盘出错。请更换电源适配器。",
        "The supply voltage is too low: power may fail and disks may err. Replace the power supply."),
    Code.UNDERVOLTAGE_SEEN: ("开机以来曾出现供电不足。请检查电源适配器与线缆。",
        "The supply voltage was too low since power-on. Check power supply and cable."),
    Code.THROTTLED: ("处理器因过热或供电不足正在降速，采集会变慢。",
        "The processor is slowed down by heat or low voltage; copying takes longer."),
    Code.CLOCK_UNSURE: ("无法确认采集站时钟与标准时间同步。请检查网络对时。",
        "The dock's clock is not known to be right ({quality}). Check time service."),
    Code.CLOCK_ERROR: ("采集站时钟误差可能达 {seconds} 秒。请检查网络对时。",
        "The dock's clock may be wrong by {seconds} s. Check time service."),
    Code.MEMORY_LOW: ("可用内存仅 {percent} %。请检查是否运行了其他程序。",
        "Only {percent} % of memory is available. Check what else runs here."),
    Code.LOAD_HIGH: ("负载过高（每核 {load}）。请检查是否运行了其他程序。",
        "The load is high ({load} per processor). Check what else runs here."),
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class HealthFinding:
    """One thing wrong with the dock, in words for people. `subject`: which disk, where there are several."""

    code: Code
    level: Level
    zh: str
    en: str
    subject: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class HealthFacts:
    """What was asked; None where it cannot be."""

    free_bytes: int | None = None  # None: the vault's disk left
    total_bytes: int | None = None
    daily_bytes: float | None = None  # that come in, see forecast.py
    days_left: float | None = None
    disks: tuple[DiskHealth, ...] = ()
    cpu_celsius: float | None = None
    undervoltage: bool | None = None  # now
    undervoltage_seen: bool | None = None  # since power-on
    throttled: bool | None = None  # now
    clock: ClockState = CLOCK_UNKNOWN
    memory_available: float | None = None  # share of all
    load_per_cpu: float | None = None  # average of 15 minutes


@dataclass(frozen=True, slots=True)
class Health:
    """The dock's health at one moment; findings worst first."""

    facts: HealthFacts
    findings: tuple[HealthFinding, ...]

    def to_json(self) -> dict[str, Any]:
        """For the retained state: rounded, so that it changes when it means something; at most 8 KiB of JSON."""
        f = self.facts
        body: dict[str, Any] = {
            "disk_free_bytes": None if f.free_bytes is None else f.free_bytes >> 20 << 20,  # as Service._describe
            "disk_total_bytes": f.total_bytes,
            "daily_bytes": None if f.daily_bytes is None else round(f.daily_bytes) >> 20 << 20,
            "days_left": None if f.days_left is None else int(min(f.days_left, 9999)),
            "cpu_celsius": _step(f.cpu_celsius, 5),
            "undervoltage": f.undervoltage,
            "clock": f.clock.quality,
            "clock_error_ms": None
            if f.clock.max_error_seconds is None
            else _step(f.clock.max_error_seconds * 1000, 250),
            "memory_available_percent": None if f.memory_available is None else _step(f.memory_available * 100, 5),
            "load_per_cpu": None if f.load_per_cpu is None else round(f.load_per_cpu),
            "disks": [
                {"name": d.name, "state": d.state, "worn_percent": d.worn_percent, "celsius": _step(d.temperature_c, 5)}
                for d in f.disks[:DISKS_SHOWN]
            ],
            "findings": [
                {"code": x.code, "level": x.level.name.lower(), "subject": x.subject, "zh": x.zh, "en": x.en}
                for x in self.findings[:16]
            ],
        }
        return {key: value for key, value in body.items() if value is not None}


def probe(
    vault: Path, days: Mapping[date, int], disks: Sequence[DiskHealth], now: datetime, root: Path = Path("/sys")
) -> Health:
    """Ask everything that answers at once. `days` from `forecast.vault_days`, `disks` from `smart.disk_health`."""
    free = total = None
    with suppress(OSError):
        usage = psutil.disk_usage(str(vault))
        free, total = usage.free, usage.total
    memory = load = None
    with suppress(OSError):  # our unit sees of /proc its own processes only
        available = psutil.virtual_memory()
        memory = available.available / available.total if available.total else None
    with suppress(OSError):
        load = os.getloadavg()[2] / (os.cpu_count() or 1)
    throttled = firmware_throttled(root)
    alarm = voltage_alarm(root)
    facts = HealthFacts(
        free_bytes=free,
        total_bytes=total,
        daily_bytes=daily_rate(days, now.date()),
        days_left=None if free is None else days_left(free, days, now.date()),
        disks=tuple(disks),
        cpu_celsius=cpu_celsius(),
        undervoltage=_either(None if throttled is None else bool(throttled & 1), alarm),
        undervoltage_seen=None if throttled is None else bool(throttled & 1 << 16),
        throttled=None if throttled is None else bool(throttled & 0b1110),
        clock=clock_state(),
        memory_available=memory,
        load_per_cpu=load,
    )
    return Health(facts, judge(facts))


def judge(facts: HealthFacts) -> tuple[HealthFinding, ...]:
    """Everything that speaks against the dock, worst first."""
    found = [*_vault(facts), *_disks(facts.disks), *_power(facts), *_machine(facts)]
    return tuple(sorted(found, key=lambda f: (-f.level, list(Code).index(f.code), f.subject)))


def firmware_throttled(root: Path) -> int | None:
    """The Raspberry Pi's flags: bit 0 under-voltage, 1 to 3 slowed down, the same plus 16 since power-on."""
    for path in sorted(root.glob("devices/platform/*/*:firmware/get_throttled")):
        with suppress(OSError, ValueError):
            return int(path.read_text("ascii").strip(), 16)
    return None


def voltage_alarm(root: Path) -> bool | None:
    """Under-voltage by the kernel's own driver (hwmon ``rpi_volt``); it polls every two seconds."""
    for folder in sorted(root.glob("class/hwmon/hwmon*")):
        with suppress(OSError, ValueError):
            if (folder / "name").read_text("ascii").strip() == "rpi_volt":
                return int((folder / "in0_lcrit_alarm").read_text("ascii")) != 0
    return None


def cpu_celsius() -> float | None:
    """The hottest sensor that is no disk's; None on a machine without."""
    try:
        chips = psutil.sensors_temperatures()
    except (OSError, AttributeError):
        return None
    values = [s.current for chip, sensors in chips.items() if not chip.startswith(DISK_CHIPS) for s in sensors]
    return max((v for v in values if 0 < v < 150), default=None)  # a sensor that is not wired says 0 or 255


def _finding(code: Code, level: Level, subject: str = "", **figures: object) -> HealthFinding:
    zh, en = WORDS[code]
    return HealthFinding(code, level, zh.format(**figures), en.format(**figures), subject)


def _vault(facts: HealthFacts) -> Iterator[HealthFinding]:
    if facts.free_bytes is None:
        yield _finding(Code.VAULT_MISSING, Level.URGENT)
        return
    if facts.free_bytes < FREE_BYTES_MIN:
        yield _finding(Code.VAULT_NEARLY_FULL, Level.URGENT, free=size_text(facts.free_bytes))
    elif facts.free_bytes < FREE_SHARE_ATTENTION * (facts.total_bytes or 0):
        yield _finding(Code.VAULT_NEARLY_FULL, Level.ATTENTION, free=size_text(facts.free_bytes))
    if facts.days_left is not None and facts.days_left < DAYS_ATTENTION:
        level = Level.URGENT if facts.days_left < DAYS_URGENT else Level.ATTENTION
        yield _finding(Code.VAULT_FULL_SOON, level, days=int(facts.days_left))


def _disks(disks: Iterable[DiskHealth]) -> Iterator[HealthFinding]:
    for disk in disks:
        signs = ", ".join(disk.signs[:3]) or "SMART"
        if disk.state is DiskState.FAILED:
            yield _finding(Code.DISK_FAILED, Level.URGENT, disk.name, disk=disk.name, signs=signs)
        elif disk.state is DiskState.ATTENTION:
            yield _finding(Code.DISK_WEARING, Level.ATTENTION, disk.name, disk=disk.name, signs=signs)
        if disk.temperature_c is not None and disk.temperature_c >= DISK_ATTENTION_C:
            level = Level.URGENT if disk.temperature_c >= DISK_URGENT_C else Level.ATTENTION
            yield _finding(Code.DISK_HOT, level, disk.name, disk=disk.name, celsius=disk.temperature_c)


def _power(facts: HealthFacts) -> Iterator[HealthFinding]:
    if facts.undervoltage:
        yield _finding(Code.UNDERVOLTAGE, Level.URGENT)
    elif facts.undervoltage_seen:
        yield _finding(Code.UNDERVOLTAGE_SEEN, Level.ATTENTION)
    if facts.throttled:
        yield _finding(Code.THROTTLED, Level.ATTENTION)
    if facts.cpu_celsius is not None and facts.cpu_celsius >= CPU_ATTENTION_C:
        level = Level.URGENT if facts.cpu_celsius >= CPU_URGENT_C else Level.ATTENTION
        yield _finding(Code.CPU_HOT, level, celsius=round(facts.cpu_celsius))


def _machine(facts: HealthFacts) -> Iterator[HealthFinding]:
    error = facts.clock.max_error_seconds
    if facts.clock.quality != "synchronised":
        yield _finding(Code.CLOCK_UNSURE, Level.ATTENTION, quality=facts.clock.quality)
    elif error is not None and error > CLOCK_ERROR_SECONDS:
        yield _finding(Code.CLOCK_ERROR, Level.ATTENTION, seconds=f"{error:.1f}")
    if facts.memory_available is not None and facts.memory_available < MEMORY_ATTENTION:
        level = Level.URGENT if facts.memory_available < MEMORY_URGENT else Level.ATTENTION
        yield _finding(Code.MEMORY_LOW, level, percent=round(facts.memory_available * 100))
    if facts.load_per_cpu is not None and facts.load_per_cpu >= LOAD_ATTENTION:
        yield _finding(Code.LOAD_HIGH, Level.ATTENTION, load=f"{facts.load_per_cpu:.1f}")


def _either(a: bool | None, b: bool | None) -> bool | None:
    return a if b is None else b if a is None else a or b


def _step(value: float | None, step: int) -> int | None:
    return None if value is None else round(value / step) * step
