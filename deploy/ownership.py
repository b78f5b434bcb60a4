"""Which USB disks are the station's own: decided from what lsblk says, so that no rule ever makes a vault read-only."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

_PLAIN = re.compile(r"[\w .:+=@,-]+")
GUESTS = (PurePath("/media"), PurePath("/mnt"), PurePath("/run/media"))  # where people mount what they plugged in


@dataclass(frozen=True, slots=True)
class UsbDisk:
    """A USB disk and everywhere that it, its partitions or what is built on them are mounted ([SWAP] counts)."""

    path: str
    mounts: frozenset[str]

    def is_own(self, used: Collection[Path]) -> bool:
        """Whether the station lives on it: its system, or a directory in `used`."""
        places = [PurePath(mount) for mount in self.mounts]
        if any(not any(p.is_relative_to(g) for g in GUESTS) for p in places):
            return True
        return any(use.is_relative_to(place) for use in used for place in places)


def usb_disks(lsblk: Mapping[str, Any]) -> list[UsbDisk]:
    """The USB disks in the answer of `lsblk --json --output PATH,TRAN,MOUNTPOINTS`."""
    disks = (d for d in lsblk["blockdevices"] if d["tran"] == "usb")
    return [UsbDisk(d["path"], frozenset(_mounts(d))) for d in disks]


def _mounts(device: Mapping[str, Any]) -> Iterator[str]:
    yield from (mount for mount in device["mountpoints"] if mount)
    for child in device.get("children", ()):
        yield from _mounts(child)


def own_rule(properties: Mapping[str, str]) -> str | None:
    """The udev rule that knows this disk again in any port, or None when it says too little of itself.

    By serial and partition table together: cheap adapters share one serial.
    """
    keys = [key for key in ("ID_SERIAL", "ID_PART_TABLE_UUID", "ID_FS_UUID") if properties.get(key)]
    if len(keys) < 2:
        return None
    # a partition has its own ID_FS_UUID but its disk's serial and table
    keys = keys[:2]
    if not all(
        _PLAIN.fullmatch(properties[key]) for key in keys
    ):  # a disk chose these words; the rule matches patterns
        return None
    asked = ", ".join(f'ENV{{{key}}}=="{properties[key]}"' for key in keys)
    return f'SUBSYSTEM=="block", {asked}, ENV{{CUSTODOCK_OWN}}="1"\n'
