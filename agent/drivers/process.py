"""Drives one recorder: `python -m agent.drivers.process SITE PROFILE SYS_PATH BUS DEVICE PARENT_PID`, see unlocking.py.

A process of its own, so that a recorder that hangs in the kernel costs it alone; confined before the recorder says its
first byte. It looks at the device's USB ids itself: what it is told to drive may have been swapped meanwhile. Prints
one JSON object: what the recorder said, or `{"error", "en", "zh"}` with that error's exit code.
"""

import json
import sys
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.confine import confine, die_with, leave_network, limit_cpu
from agent.devicefacts import usb_names
from agent.drivers.driver import Prepared, prepare
from agent.drivers.opening import USB_NODES, open_driver
from agent.drivers.table import DriverTable, Transport
from agent.errors import AgentError, DriverFailed
from agent.profiles.loading import load_profiles
from agent.profiles.profile import Profile
from agent.profiles.recognition import may_drive

CPU_SECONDS = 20
MEMORY_BYTES = 512 << 20
OPEN_FILES = 32
DEV = Path("/dev")


def node_of(table: DriverTable, device: Path, bus: int, number: int) -> Path:
    """Where its commands go: the device's serial line or else its USB node; its SCSI node. Raises DriverFailed.

    `device` is its folder in sysfs; only its own interfaces count, never what hangs behind it.
    """
    folder = "scsi_generic" if table.transport is Transport.SCSI else "tty"
    for uevent in sorted(device.glob(f"{device.name}:*/**/{folder}/*/uevent")):
        for line in uevent.read_text("ascii", "replace").splitlines():
            if line.startswith("DEVNAME="):
                return DEV / line.removeprefix("DEVNAME=")
    if table.transport is Transport.SCSI:
        raise DriverFailed("it shows no SCSI device", "没有 SCSI 设备")
    return USB_NODES / f"{bus:03}" / f"{number:03}"


def profile_for(site: Path, name: str, device: Path) -> tuple[Profile, DriverTable]:
    """The profile of this name, if its driver may speak to this device. Raises ProfileInvalid, DriverFailed."""
    for profile in load_profiles(site):
        if profile.name == name and profile.driver is not None and may_drive(profile, usb_names(device)):
            return profile, profile.driver
    raise DriverFailed("it is not the device that its profile names", "设备与配置不符")


def drive(arguments: Sequence[str]) -> Prepared:
    """Everything from the profile to the switch. Raises AgentError."""
    site, name, sys_path, bus, number = arguments
    device = Path(sys_path)
    profile, table = profile_for(Path(site), name, device)
    now = datetime.now(UTC)
    zone = profile.time_zone or now.astimezone().tzinfo or UTC
    driver = open_driver(table, node_of(table, device, int(bus), int(number)), zone, Path(site))
    try:
        confine(MEMORY_BYTES, OPEN_FILES, file_bytes=1 << 20)
        leave_network()
        limit_cpu(CPU_SECONDS)
        return prepare(driver, lambda: datetime.now(UTC))
    finally:
        driver.close()


def said(prepared: Prepared) -> dict[str, Any]:
    """What the dock needs of it; the record's names of people stay with the recorder."""
    return {
        "serial": prepared.info.serial if prepared.info else "",
        "battery_percent": prepared.battery_percent,
        "clock_was": prepared.clock_was and prepared.clock_was.isoformat(),
        "clock_set": prepared.clock_set,
        "clock_error_seconds": prepared.clock_error_seconds,
        "clock_left_seconds": prepared.clock_left_seconds,
        "faults": [fault.en for fault in prepared.faults],
    }


def main() -> int:
    """Entry point of the process."""
    *arguments, parent = sys.argv[1:]
    if not die_with(int(parent)):
        return 1
    try:
        print(json.dumps(said(drive(arguments)), ensure_ascii=False))
    except AgentError as error:
        print(json.dumps({"error": error.code, "en": error.en, "zh": error.zh}, ensure_ascii=False))
        return int(error.exit_code)
    return 0


if __name__ == "__main__":
    sys.exit(main())
