"""What to think of a USB device, pure: what kind it is, whether a bay takes it, whether it is plugged too often."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class Disk:
    """One LUN. `size_bytes` 0: a card reader without a card."""

    node: str  # such as /dev/sda; names what is plugged in now, never the bay
    size_bytes: int
    read_only: bool
    vendor: str = ""  # as it answers INQUIRY
    model: str = ""


@dataclass(frozen=True, slots=True)
class Attached:
    """One device at one port. Its own words (serial, names) are claims."""

    port: str  # see `devices._port`
    bus_number: int
    device_number: int  # with the bus number: this stay; every plugging gets another one
    usb_id: str  # vendor:product, hex
    serial: str
    manufacturer: str
    product: str
    interfaces: tuple[str, ...]  # class, subclass, protocol in hex: 080650
    media_player: bool  # udev's device lists say that it speaks MTP or PTP
    disks: tuple[Disk, ...]
    sys_path: str = ""  # its folder below /sys

    @property
    def stay(self) -> tuple[str, int, int]:
        """Tells one plugging from the next of the same device."""
        return self.port, self.bus_number, self.device_number


class Kind(StrEnum):
    """What a device is to a dock."""

    PENDING = "pending"  # the kernel has not said yet
    STORAGE = "storage"
    PTP = "ptp"
    KEYBOARD = "keyboard"  # any human interface device: it could type
    NETWORK = "network"
    UNKNOWN = "unknown_device"


REFUSED = frozenset({Kind.KEYBOARD, Kind.NETWORK, Kind.UNKNOWN})
_HUMAN_INTERFACE, _STORAGE, _STILL_IMAGE = "03", "08", "06"
_NETWORK = frozenset({"02", "0a", "e0"})  # CDC control and data; wireless controllers, RNDIS among them

_LOCKED = frozenset({_STORAGE, "0a", "ff"})  # 0a carries the data of a serial line
_SERIAL_LINE = "0202"  # CDC, abstract control model


def classify(device: Attached) -> Kind:
    """What the device is. A disk that is a keyboard or a network as well is refused whole: a camera is neither."""
    classes = {interface[:2] for interface in device.interfaces}
    if not classes:
        return Kind.PENDING
    if _HUMAN_INTERFACE in classes:
        return Kind.KEYBOARD
    if classes & _NETWORK:
        return Kind.NETWORK
    if _STORAGE in classes:
        return Kind.STORAGE
    if _STILL_IMAGE in classes or device.media_player:
        return Kind.PTP
    return Kind.UNKNOWN


def may_be_locked(device: Attached) -> bool:
    """Whether a recorder may show like this before it is a disk.

    That is a serial line, its maker's own interface or a disk without a medium, and nothing beside them.
    """
    if any(disk.size_bytes for disk in device.disks):
        return False
    shown = [interface[:2] in _LOCKED or interface.startswith(_SERIAL_LINE) for interface in device.interfaces]
    return bool(shown) and all(shown)


@dataclass(slots=True)
class ReplugLimit:
    """Holds a bay back whose device comes and goes: a loose plug, or somebody playing.

    A storm begins with the arrival that is one too many and ends when nothing came for `quiet_seconds`.
    """

    arrivals_max: int = 6
    within_seconds: float = 60.0
    quiet_seconds: float = 10.0
    storm: bool = False
    storm_arrivals: int = 0  # in the storm under way or, when it has ended, in the last one
    _arrivals: deque[float] = field(default_factory=deque)

    def arrived(self, now: float) -> bool:
        """Note an arrival at monotonic time `now`; whether a storm begins with it."""
        self.settled(now)
        self._arrivals.append(now)
        while now - self._arrivals[0] > self.within_seconds:
            self._arrivals.popleft()
        if self.storm:
            self.storm_arrivals += 1
            return False
        self.storm = len(self._arrivals) > self.arrivals_max
        self.storm_arrivals = len(self._arrivals) if self.storm else self.storm_arrivals
        return self.storm

    def settled(self, now: float) -> bool:
        """Whether work may go on: no storm, or it has been quiet for long enough, which ends it."""
        if self.storm and now - self._arrivals[-1] >= self.quiet_seconds:
            self.storm = False
            self._arrivals.clear()
        return not self.storm

    def wait_seconds(self, now: float) -> float:
        """How long until `settled` if nothing comes; 0 outside a storm."""
        return max(0.0, self._arrivals[-1] + self.quiet_seconds - now) if self.storm else 0.0
