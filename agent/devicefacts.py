"""What a device and its volumes are called, for recognising its profile. A device's texts are data, not truth."""

from __future__ import annotations

import os
import re
import stat
from collections.abc import Iterable, Iterator
from dataclasses import replace
from pathlib import Path

from agent.profiles.recognition import DeviceFacts
from agent.source import SourceFacts
from agent.usbports import Attached

SYSFS = Path("/sys")
TEXT_MAX = 200
_USB_ID = re.compile(r"[0-9a-f]{4}")


def device_facts(names: DeviceFacts, volumes: Iterable[SourceFacts]) -> DeviceFacts:
    """What a profile is recognised by: a device's names, with the labels and ids of the volumes found on it."""
    volumes = tuple(volumes)
    return replace(
        names,
        labels=tuple(label for one in volumes for label in one.labels if label),
        volume_ids=tuple(volume_id for one in volumes for volume_id in one.volume_ids if volume_id),
    )


def attached_names(device: Attached) -> DeviceFacts:
    """The USB and SCSI names of what is plugged into a bay."""
    vendor, _, product = device.usb_id.partition(":")
    disk = device.disks[0] if device.disks else None
    return DeviceFacts(vendor, product, device.serial, disk.vendor if disk else "", disk.model if disk else "")


def source_names(source: Path, sysfs: Path = SYSFS) -> DeviceFacts:
    """The USB and SCSI names of a source, where it is a disk. Never raises OSError."""
    try:
        status = os.stat(source)
    except OSError:  # it left meanwhile
        return DeviceFacts()
    if not stat.S_ISBLK(status.st_mode):
        return DeviceFacts()
    return disk_names(os.major(status.st_rdev), os.minor(status.st_rdev), sysfs)


def disk_names(major: int, minor: int, sysfs: Path = SYSFS) -> DeviceFacts:
    """The USB and SCSI names of one disk or partition; those that sysfs lacks are ""."""
    names = DeviceFacts()
    for folder in _folders(sysfs / "dev/block" / f"{major}:{minor}", sysfs):
        scsi = folder / "device"
        if not names.scsi_model and (scsi / "model").exists():
            names = replace(names, scsi_vendor=_text(scsi / "vendor"), scsi_model=_text(scsi / "model"))
        if (folder / "idVendor").exists():
            said = usb_names(folder)
            names = replace(names, usb_vendor=said.usb_vendor, usb_product=said.usb_product, usb_serial=said.usb_serial)
            break  # the hubs above it are not the camera
    return names


def usb_names(folder: Path) -> DeviceFacts:
    """The ids and serial of the USB device whose folder in sysfs this is; all "" where its ids are none."""
    vendor, product = _text(folder / "idVendor").lower(), _text(folder / "idProduct").lower()
    if not (_USB_ID.fullmatch(vendor) and _USB_ID.fullmatch(product)):
        return DeviceFacts()
    return DeviceFacts(vendor, product, _text(folder / "serial"))


def _folders(link: Path, sysfs: Path) -> Iterator[Path]:
    """The device's folder in sysfs and those above it."""
    folder, top = link.resolve(), sysfs.resolve()
    while folder != top and folder.is_relative_to(top):
        yield folder
        folder = folder.parent


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            raw = file.read(4096)
    except OSError:
        return ""
    text = raw.decode("utf-8", "backslashreplace")
    return "".join(char for char in text if char.isprintable()).strip()[:TEXT_MAX]
