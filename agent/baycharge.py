"""What a bay knows of the charge of the camera in it: every source asked, the best answer kept."""

from __future__ import annotations

from collections import deque
from datetime import UTC, datetime
from pathlib import Path

from agent.charge import (
    ChargeState,
    Origin,
    Reading,
    Sample,
    best_reading,
    charged_mah,
    judge_current,
    measured,
    ptp_level,
    reported_level,
    unknown,
)  # fmt: skip
from agent.charge_sysfs import SYS, battery_supply, camera_supply, find_sensor, read_sample, sensor_source
from agent.profiles.names import charge_percent
from agent.recognise import Recognised
from agent.settings import BaySettings
from agent.usbports import Attached

SAMPLES_MAX = 1000  # at one a second: far more than `judge_current` looks at


class ChargeMeter:
    """One bay's view of one stay. `sample` is called every second or so, `reading` whenever somebody asks."""

    def __init__(self, bay: BaySettings, device: Attached, root: Path = SYS) -> None:
        """Nothing is read yet."""
        self._bay, self._device, self._root = bay, device, root
        self._samples: deque[Sample] = deque(maxlen=SAMPLES_MAX)
        self._peak_ma = 0
        self._told: list[Reading] = []  # what the camera itself said, with the time it said it

    def heard(self, seen: Recognised) -> None:
        """Take in what the camera told when it was recognised."""
        self._told = []
        if seen.ptp is not None and seen.ptp.battery_percent is not None:
            self._told.append(ptp_level(seen.ptp.battery_percent, seen.at))
        if seen.said is not None and seen.said.battery_percent is not None:
            self._told.append(reported_level(seen.said.battery_percent, seen.said.at, "driver"))
        contents = {path: raw for one in seen.inspections for path, raw in one.contents.items()}
        percent = charge_percent(seen.profile, contents)
        if percent is not None:
            self._told.append(_written(percent, seen.at))

    def sample(self, seconds: float) -> None:
        """Look at the bay's sensor, at a steady clock's `seconds`."""
        sensor = find_sensor(self._bay.sensor, self._root) if self._bay.sensor else None
        sample = read_sample(sensor, seconds, self._bay.sensor_channel) if sensor else None
        if sample is not None:
            self._samples.append(sample)
            self._peak_ma = max(self._peak_ma, sample.milliamps)

    def reading(self) -> Reading:
        """The best of what is known now; unknown where nothing is."""
        now = datetime.now(UTC)
        found = list(self._told)
        if self._bay.supply:
            found.append(battery_supply(self._root / "class/power_supply" / self._bay.supply, now))
        elif self._device.sys_path:
            found.append(camera_supply(self._root / self._device.sys_path.removeprefix("/sys/"), now, self._root))
        if self._samples:
            found.append(self._measured(now))
        best = best_reading(found, now)
        if best.tells() or not found:
            return best
        return unknown(now, found[-1].detail, found[-1].source)

    @property
    def charged_mah(self) -> int | None:
        """What has flowed into the camera during this stay; None without a sensor."""
        return charged_mah(list(self._samples)) if self._samples else None

    def _measured(self, now: datetime) -> Reading:
        sensor = find_sensor(self._bay.sensor or "", self._root)
        source = sensor_source(sensor, self._bay.sensor_channel) if sensor else "hwmon"
        return measured(judge_current(list(self._samples), peak_ma=self._peak_ma, present=True), now, source)


def _written(percent: int, at: datetime) -> Reading:
    """A status file tells what was true when the camera wrote it, before it was docked: no better than a conclusion."""
    return Reading(percent, ChargeState.UNKNOWN, Origin.INFERRED, "status_file", at)
