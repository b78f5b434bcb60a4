"""A recorder that is no disk yet: its profile's driver asks it, sets its clock and switches it over.

The driver runs in a process of its own (`agent.drivers.process`), for so long and no longer: nothing here can stall
another bay. `driver_profile` decides, pure.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.devicefacts import attached_names
from agent.drivers.driver import CLOCK_YEARS
from agent.drivers.table import DriverTable
from agent.errors import DriverFailed
from agent.profiles.profile import Profile
from agent.profiles.recognition import may_drive
from agent.usbports import Attached, may_be_locked
from agent.waiting import happened

START_SECONDS = 10.0  # the process loads the profiles
SECONDS_MAX = 120.0  # for all commands of one recorder, whatever its profile allows each
LAST_WORDS_SECONDS = 3.0  # a recorder leaves the bus at the switch: the process still has to say what it heard
TEXT_MAX = 64
SECONDS_FAR = 1e12  # no two dates of four-digit years are so far apart


@dataclass(frozen=True, slots=True)
class RecorderSaid:
    """What a recorder said before it became a disk: claims, as everything that a camera says."""

    serial: str  # "" where it told none
    battery_percent: int | None
    clock_was: datetime | None  # what its clock said before it was set, aware; None where it cannot be asked
    clock_set: bool  # it took the time
    clock_error_seconds: float | None  # camera minus station, before it was set
    clock_left_seconds: float | None  # the same when it was read back after it was set
    faults: tuple[str, ...]  # commands that failed and did not keep it from the switch
    at: datetime


def driver_profile(profiles: Sequence[Profile], device: Attached) -> Profile | None:
    """The profile whose driver this device needs: its exact USB ids, and nothing to read on it yet."""
    if not may_be_locked(device):
        return None
    names = attached_names(device)
    return next((profile for profile in profiles if may_drive(profile, names)), None)


async def unlock(profile: Profile, site: Path, device: Attached, gone: asyncio.Event) -> RecorderSaid:
    """Let the driver do its steps. Raises DriverFailed; the process is ended, whatever happens."""
    assert profile.driver is not None  # noqa: S101 - `driver_profile` has looked
    try:
        process = await _start(profile, site, device)
    except OSError as error:
        raise DriverFailed(f"its driver does not start: {error.strerror}", "驱动进程无法启动") from error
    assert process.stdout is not None  # noqa: S101 - it was asked for
    answer = asyncio.ensure_future(_line(process.stdout))
    left = asyncio.ensure_future(happened(gone, seconds_for(profile.driver)))
    try:
        await asyncio.wait((answer, left), return_when=asyncio.FIRST_COMPLETED)
        if not answer.done() and gone.is_set():
            await asyncio.wait((answer,), timeout=LAST_WORDS_SECONDS)
        if not answer.done():
            raise DriverFailed("it did not answer in time", "未在限定时间内应答")
        return parse_answer(answer.result(), datetime.now(UTC))
    finally:
        left.cancel()
        answer.cancel()
        if process.returncode is None:
            process.kill()  # one that hangs in the kernel dies when the kernel lets go; nobody waits for it


async def _start(profile: Profile, site: Path, device: Attached) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "agent.drivers.process", str(site), profile.name, device.sys_path,
        str(device.bus_number), str(device.device_number), str(os.getpid()),
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
        # nothing of ours: settings may name secrets
        env={"LC_ALL": "C.UTF-8"} | {name: os.environ[name] for name in ("TZ",) if name in os.environ},
    )  # fmt: skip


async def _line(answers: asyncio.StreamReader) -> bytes:
    """The one line of the answer; nothing for one that does not end within 64 KiB."""
    try:
        return await answers.readline()
    except ValueError:
        return b""


def seconds_for(table: DriverTable) -> float:
    """How long a recorder may take in all: each command may wait twice, for "busy" and for its answer."""
    return min(SECONDS_MAX, START_SECONDS + 2 * table.timeout_seconds * len(table.commands))


def parse_answer(raw: bytes, at: datetime) -> RecorderSaid:
    """What the process printed. Pure. Raises DriverFailed: what it says, or for anything but an answer."""
    try:
        body: Any = json.loads(raw)
        if "error" in body:
            raise DriverFailed(str(body["en"])[:500], str(body["zh"])[:500], whole=True)
        return RecorderSaid(
            str(body["serial"])[:TEXT_MAX],
            _percent(body["battery_percent"]),
            _moment(body["clock_was"]),
            bool(body["clock_set"]),
            _seconds(body["clock_error_seconds"]),
            _seconds(body["clock_left_seconds"]),
            tuple(str(fault)[:500] for fault in body["faults"][:8]),
            at,
        )
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise DriverFailed("its driver broke off", "驱动进程中断") from error


def _moment(value: Any) -> datetime | None:
    at = None if value is None else datetime.fromisoformat(value)
    if at is not None and (at.tzinfo is None or at.year not in CLOCK_YEARS):
        raise ValueError("no moment of a clock")
    return at


def _seconds(value: Any) -> float | None:
    if value is not None and not (type(value) is float and abs(value) < SECONDS_FAR):
        raise ValueError("not seconds")
    return value


def _percent(value: Any) -> int | None:
    if value is not None and not (type(value) is int and 0 <= value <= 100):
        raise ValueError("not a percentage")
    return value
