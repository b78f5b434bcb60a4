"""What a profile says, as frozen values. `loading.py` makes them from TOML and holds every invariant stated here."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from zoneinfo import ZoneInfo

from agent.drivers.table import DriverTable
from agent.profiles.globs import Glob

NAME_FIELDS = frozenset(
    {"serial", "officer", "start", "sequence", "mark", "encrypted", "channel", "recording", "address"}
)  # the named groups that a pattern may have
FILE_FIELDS = frozenset({"serial", "officer", "percent"})
Path = tuple[bytes, ...]


class Evidence(StrEnum):
    """Where a profile's facts come from; shown to people, decides nothing."""

    TRIED = "tried"  # with the real device, by us or the site
    DOCUMENTED = "documented"  # by its maker
    QUOTED = "quoted"  # names seen in public code or data
    GUESS = "guess"


class ChargeSource(StrEnum):
    """Where a charge reading may come from. Without one the charge is unknown, and unknown is never ready."""

    DRIVER = "driver"
    PTP = "ptp"  # battery property 0x5001
    POWER_SUPPLY = "power_supply"  # the kernel's class
    CURRENT_SENSOR = "current_sensor"  # of the bay, by hwmon
    STATUS_FILE = "status_file"


@dataclass(frozen=True, slots=True)
class UsbId:
    """Vendor and product as four lower-case hex digits; product None: any."""

    vendor: str
    product: str | None


@dataclass(frozen=True, slots=True)
class ScsiName:
    """What INQUIRY says, as patterns over the whole trimmed text, without regard to case."""

    vendor: re.Pattern[str]
    model: re.Pattern[str]


@dataclass(frozen=True, slots=True)
class Signs:
    """What a camera is recognised by; any of them may be empty. `generic`: only where no other profile fits."""

    usb: tuple[UsbId, ...] = ()
    usb_serial: re.Pattern[str] | None = None
    scsi: tuple[ScsiName, ...] = ()
    label: re.Pattern[str] | None = None
    all_paths: tuple[Glob, ...] = ()
    any_path: tuple[Glob, ...] = ()
    generic: bool = False


@dataclass(frozen=True, slots=True)
class NamePattern:
    """How the end of a path is read: `regex` over its last `components` components joined by "/".

    `start` reads the text of the group of that name as wall-clock time; it is None if and only if there is none.
    """

    regex: re.Pattern[bytes]
    components: int
    start: TimeFormat | None
    example: str


@dataclass(frozen=True, slots=True)
class TimeFormat:
    """A fixed-width time format: %Y %m %d %H %M %S and literal text, each directive once, at least to the minute."""

    text: str
    regex: re.Pattern[str]

    def parse(self, text: str) -> datetime | None:
        """The naive wall-clock time, or None where the text is no such time."""
        found = self.regex.fullmatch(text)
        if not found:
            return None
        numbers = {key: int(value) for key, value in found.groupdict().items()}
        try:
            return datetime(**numbers)  # type: ignore[arg-type]  # noqa: DTZ001 - a camera's wall clock has no zone
        except ValueError:
            return None


@dataclass(frozen=True, slots=True)
class FileRule:
    """A small file on the card that says something: its path and the fields that `regex` finds in its bytes."""

    path: Glob
    regex: re.Pattern[bytes]


@dataclass(frozen=True, slots=True)
class Roles:
    """Globs by what they say a file is. Asked in this order; what none of them matches is `other`."""

    ignored: tuple[Glob, ...] = ()
    proxy: tuple[Glob, ...] = ()
    sidecar: tuple[Glob, ...] = ()
    footage: tuple[Glob, ...] = ()
    key_file: tuple[Glob, ...] = ()  # footage that the camera marked (重点文件)


@dataclass(frozen=True, slots=True)
class Charge:
    """Where to ask for the charge, best first, and what is enough for duty."""

    sources: tuple[ChargeSource, ...] = ()
    status_file: FileRule | None = None  # set if and only if `sources` has STATUS_FILE; its regex has a group `percent`
    minimum_percent: int | None = None  # None: what the station asks of every camera


@dataclass(frozen=True, slots=True)
class Profile:
    """One camera family."""

    name: str  # [a-z0-9-], unique
    en: str
    zh: str
    evidence: Evidence
    built_in: bool
    time_zone: ZoneInfo | None  # of times in names and of file times on FAT; None: the station's own
    bitrate_kbit: int  # of the usual recording mode, kbit/s
    minimum_free_hours: float | None  # None: what the station asks of every camera
    signs: Signs
    roles: Roles
    names: tuple[NamePattern, ...] = ()
    identity_files: tuple[FileRule, ...] = ()
    charge: Charge = field(default_factory=Charge)
    driver: DriverTable | None = None

    @property
    def bytes_per_hour(self) -> int:
        """What one hour of recording takes at `bitrate_kbit`."""
        return self.bitrate_kbit * 1000 * 3600 // 8

    @property
    def wanted_files(self) -> tuple[Glob, ...]:
        """The small files whose content recognition, identity or charge need."""
        status = (self.charge.status_file,) if self.charge.status_file else ()
        return tuple(rule.path for rule in (*self.identity_files, *status))
