"""Lights without hardware in the dock: LEDs of the kernel's class (its uleds driver), and what they were told, by time.

lights = Lights(lab, ["bay1:red:status", …])
lights.steady("bay1:red:status")          # brightness now, None while a trigger drives it
lights.changes("bay1:blue:status", since) # [(seconds, brightness)]: what the hardware would have shown
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass

from tests.vm.drivers import build_drivers
from tests.vm.lab import Lab

LOG = "/run/lights.log"
HOLD = """
import json, os, select, struct, sys, time
held = {}
for name in sys.argv[1:]:
    fd = os.open("/dev/uleds", os.O_RDWR)
    os.write(fd, struct.pack("64si", name.encode(), 255))
    held[fd] = name
with open("/run/lights.log", "w", buffering=1) as log:
    while True:
        for fd in select.select([*held], [], [])[0]:
            (brightness,) = struct.unpack("i", os.read(fd, 4))
            log.write(json.dumps([time.monotonic(), held[fd], brightness]) + "\\n")
"""


@dataclass(frozen=True, slots=True)
class Shown:
    """One LED in sysfs: its trigger, brightness, and the milliseconds of its blinking (0, 0 without)."""

    trigger: str
    brightness: int
    blink: tuple[int, int]


class Lights:
    """The LEDs of one dock."""

    def __init__(self, lab: Lab, names: Sequence[str]) -> None:
        """They appear one after the other, as a driver's do."""
        self._lab = lab
        lab.put(build_drivers() / "uleds.ko", "/run/drivers")
        lab.run("cat > /run/hold-lights.py && insmod /run/drivers/uleds.ko", stdin=HOLD.encode())
        lab.run(f"systemd-run --quiet --unit=lights python3 /run/hold-lights.py {' '.join(names)}")
        last = f"/sys/class/leds/{names[-1]}"
        lab.run(
            f"for i in $(seq 300); do [ -e {last} ] && [ -e {LOG} ] && udevadm settle && exit; sleep .1; done; exit 1"
        )

    def now(self, names: Sequence[str]) -> list[Shown]:
        """What the LED class says of them, in one look."""
        files = "trigger brightness delay_on delay_off"
        folders = " ".join(f"/sys/class/leds/{name}" for name in names)
        look = f"for d in {folders}; do for f in {files}; do cat $d/$f 2>/dev/null || echo 0; done; done"
        lines = self._lab.run(look).out.splitlines()
        return [_shown(*lines[at : at + 4]) for at in range(0, len(lines), 4)]

    def changes(self, name: str) -> list[tuple[float, int]]:
        """All that it was told so far: seconds of the dock's monotonic clock, brightness."""
        lines = [json.loads(line) for line in self._lab.run(f"cat {LOG}").out.splitlines()]
        return [(at, brightness) for at, told, brightness in lines if told == name]


def _shown(triggers: str, brightness: str, on: str, off: str) -> Shown:
    chosen = triggers[triggers.index("[") + 1 : triggers.index("]")]
    return Shown(chosen, int(brightness), (int(on), int(off)))
