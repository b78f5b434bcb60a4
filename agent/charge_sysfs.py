"""What the kernel knows of a camera's charge: its power_supply class, and the current sensor of a bay (hwmon).

Every function takes the root of sysfs, so that a copied tree answers as the machine does. A file that is missing,
unreadable or nonsense is no error here: the reading is then unknown, with the reason. The kernel may ask the device
while a file is read (USB: up to 5 s), so the event loop calls these in a thread.
"""

from __future__ import annotations

import os
from datetime import datetime
from pathlib import Path

from agent.charge import DETAIL_MAX, ChargeState, Origin, Reading, Sample, unknown

SYS = Path("/sys")
SENSORS = frozenset(("ina209", "ina219", "ina220", "ina226", "ina230", "ina231", "ina234", "ina260", "ina3221"))
NUMBER_MAX = 10**9

_STATUS = {
    "Charging": ChargeState.CHARGING,
    "Full": ChargeState.FULL,
    "Discharging": ChargeState.DISCHARGING,
}
# Documentation/ABI/testing/sysfs-class-power. Cold, Cool, Warm and Hot only pause a charge: they stand in the detail.
_SICK = frozenset(
    ("Overheat", "Dead", "Over voltage", "Over current", "Unspecified failure", "Watchdog timer expire",
     "Safety timer expire", "Calibration required", "Blown fuse", "Cell imbalance")
)  # fmt: skip


def camera_supply(device: Path, at: datetime, root: Path = SYS) -> Reading:
    """The battery that belongs to one USB device. `device` is its folder under ``root/devices``.

    Of several batteries the weakest counts. Unknown when the device exposes none.
    """
    home = os.path.realpath(device) + os.sep
    supplies = _folders(root / "class/power_supply")
    readings = [
        battery_supply(supply, at)
        for supply in supplies
        if (os.path.realpath(supply) + os.sep).startswith(home) and _word(supply / "type") == "Battery"
    ]
    told = [r for r in readings if r.tells()]
    if not told:
        return readings[0] if readings else unknown(at, "the device exposes no battery", "power_supply")
    return min(told, key=lambda r: (r.state is not ChargeState.FAULT, r.percent is None, r.percent or 0))


def battery_supply(supply: Path, at: datetime) -> Reading:
    """One entry of ``/sys/class/power_supply`` of type Battery."""
    source = f"power_supply:{supply.name}"
    status, health = _word(supply / "status"), _word(supply / "health")
    percent = _number(supply / "capacity")
    if percent is not None and not 0 <= percent <= 100:
        percent = None
    state = _STATUS.get(status, ChargeState.UNKNOWN)
    if percent is None and (state is ChargeState.FULL or _word(supply / "capacity_level") == "Full"):
        percent, state = 100, ChargeState.FULL
    if health in _SICK:
        state = ChargeState.FAULT
    if _number(supply / "present") == 0:
        percent, state = None, ChargeState.ABSENT
    if percent is None and state is ChargeState.UNKNOWN:
        return unknown(at, f"status {status or '-'}, no capacity", source)
    detail = f"status {status or '-'}, health {health or '-'}"
    return Reading(percent, state, Origin.REPORTED, source, at, detail[:DETAIL_MAX])


def find_sensor(device: str, root: Path = SYS) -> Path | None:
    """The hwmon folder of the current sensor with this device name (I2C bus and address, such as ``1-0040``).

    The number in ``hwmonN`` changes from boot to boot, so a bay is bound to the device. None when there is none.
    """
    for folder in _folders(root / "class/hwmon"):
        if Path(os.path.realpath(folder / "device")).name == device and _word(folder / "name") in SENSORS:
            return folder
    return None


def read_sample(sensor: Path, seconds: float, channel: int = 1) -> Sample | None:
    """One look at a sensor's channel (1; an INA3221 has 1 to 3). None when it does not answer or is switched off.

    ``currN_input`` is in mA, ``inN_input`` the bus voltage in mV: for the ina2xx ``in0`` is the shunt and ``in1`` the
    bus, for the INA3221 ``in1`` to ``in3`` are the buses.
    """
    if _number(sensor / f"in{channel}_enable") == 0:
        return None
    milliamps = _number(sensor / f"curr{channel}_input")
    if milliamps is None:
        return None
    return Sample(seconds, milliamps, _number(sensor / f"in{channel}_input"))


def sensor_source(sensor: Path, channel: int = 1) -> str:
    """How a reading names its sensor: chip, device and channel."""
    return f"{_word(sensor / 'name') or 'hwmon'}:{Path(os.path.realpath(sensor / 'device')).name}/{channel}"


def _folders(folder: Path) -> list[Path]:
    try:
        return sorted(folder.iterdir())
    except OSError:
        return []


def _word(path: Path) -> str:
    """The first line of an attribute; empty when there is none."""
    try:
        with path.open("rb") as file:
            return file.read(256).decode("ascii", "replace").partition("\n")[0].strip()
    except OSError:  # absent, or the driver could not ask its device (EIO, ENODATA, ENODEV)
        return ""


def _number(path: Path) -> int | None:
    try:
        value = int(_word(path))
    except ValueError:
        return None
    return value if -NUMBER_MAX <= value <= NUMBER_MAX else None
