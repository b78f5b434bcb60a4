"""USB devices at the dock, told by udev: what is plugged into which port, now and after every change.

Level-triggered: every event makes us look at everything again, so an event that the kernel dropped (a storm overruns
its queue) costs nothing. What is found is plain values; deciding about them is `usbports.py`.
"""

from __future__ import annotations

import asyncio
import logging
from collections import defaultdict
from collections.abc import Callable
from contextlib import suppress

import pyudev

from agent.usbports import Attached, Disk
from agent.waiting import happened

log = logging.getLogger("agent.devices")

GATHER_SECONDS = 0.1  # one plug makes a dozen events
LOOK_SECONDS = 30.0  # without any event: whatever was missed shows up by then
RECEIVE_BUFFER_BYTES = 8 << 20
HUB_CLASS = "09"
CAMERA_MARKS = ("CUSTODOCK_CAMERA", "ID_MTP_DEVICE", "ID_GPHOTO2")  # the first by our own rules, which clear the others
SECTOR_BYTES = 512  # unit of the kernel's `size`, whatever the disk's own


class DeviceWatch:
    """Follows the USB devices of this machine and gives `show` every new picture, the first one at once."""

    def __init__(self, show: Callable[[tuple[Attached, ...]], None]) -> None:
        """`show` is called in the event loop."""
        self._show = show
        self._stirred = asyncio.Event()
        self._context = pyudev.Context()

    async def run(self) -> None:
        """Work until cancelled. Raises OSError where there is no udev."""
        monitor = pyudev.Monitor.from_netlink(self._context)
        monitor.filter_by("usb")
        monitor.filter_by("block")
        with suppress(OSError):  # more than an ordinary user may ask for
            monitor.set_receive_buffer_size(RECEIVE_BUFFER_BYTES)
        monitor.start()  # before the first look: what comes in between is seen again
        loop = asyncio.get_running_loop()
        loop.add_reader(monitor.fileno(), self._drain, monitor)
        seen: tuple[Attached, ...] | None = None
        try:
            while True:
                found = await asyncio.to_thread(scan, self._context)
                if found != seen:
                    seen = found
                    self._show(found)
                if await happened(self._stirred, LOOK_SECONDS):
                    await asyncio.sleep(GATHER_SECONDS)
                self._stirred.clear()
        finally:
            loop.remove_reader(monitor.fileno())

    def _drain(self, monitor: pyudev.Monitor) -> None:
        self._stirred.set()
        with suppress(OSError):  # ENOBUFS: events were dropped; we look at everything anyway
            while monitor.poll(timeout=0) is not None:
                pass


def scan_now() -> tuple[Attached, ...]:
    """Every USB device that is no hub, as of now."""
    return scan(pyudev.Context())


def scan(context: pyudev.Context) -> tuple[Attached, ...]:
    """Every USB device that is no hub, by port. A device that leaves while it is looked at is left out."""
    disks: defaultdict[str, list[Disk]] = defaultdict(list)
    for block in context.list_devices(subsystem="block", DEVTYPE="disk"):
        owner = block.find_parent("usb", "usb_device")
        if owner is not None:
            with suppress(KeyError, ValueError, OSError, pyudev.DeviceNotFoundError):
                disks[owner.sys_path].append(_disk(block))
    found = []
    for device in context.list_devices(subsystem="usb", DEVTYPE="usb_device"):
        with suppress(KeyError, ValueError, OSError, pyudev.DeviceNotFoundError):
            if _text(device, "bDeviceClass") != HUB_CLASS:
                found.append(_attached(context, device, disks[device.sys_path]))
    return tuple(sorted(found, key=lambda one: one.port))


def _attached(context: pyudev.Context, device: pyudev.Device, disks: list[Disk]) -> Attached:
    bus, number = device.attributes.asint("busnum"), device.attributes.asint("devnum")
    return Attached(
        port=_port(device),
        bus_number=bus,
        device_number=number,
        usb_id=f"{_text(device, 'idVendor')}:{_text(device, 'idProduct')}",
        serial=_text(device, "serial"),
        manufacturer=_text(device, "manufacturer"),
        product=_text(device, "product"),
        interfaces=_interfaces(context, device),
        media_player=any(device.get(mark) for mark in CAMERA_MARKS),
        disks=tuple(sorted(disks, key=lambda disk: disk.node)),
        sys_path=device.sys_path,
    )


def _port(device: pyudev.Device) -> str:
    """Controller, generation of its bus and chain of ports: the same place has the same name after every boot.

    `ID_PATH` would call the USB 2 and the USB 3 half of one controller alike; bus numbers change with the boot.
    """
    chain = device.sys_name.partition("-")[2]
    root = device.parent
    while root is not None and not root.sys_name.startswith("usb"):
        root = root.parent
    if not chain or root is None or root.parent is None:
        raise ValueError(f"{device.sys_name} hangs on no port")  # a root hub
    return f"{root.parent.sys_name}-usb{_text(root, 'version')[:1]}-{chain}"


def _interfaces(context: pyudev.Context, device: pyudev.Device) -> tuple[str, ...]:
    """Class, subclass and protocol of each interface, six hex digits."""
    found = []
    for interface in context.list_devices(subsystem="usb", DEVTYPE="usb_interface").match_parent(device):
        if interface.parent == device:  # not those of what hangs behind it
            names = ("bInterfaceClass", "bInterfaceSubClass", "bInterfaceProtocol")
            found.append("".join(_text(interface, name) for name in names))
    return tuple(sorted(found))


def _disk(block: pyudev.Device) -> Disk:
    attributes = block.attributes
    node = block.device_node
    if node is None:
        raise ValueError(f"{block.sys_name} has no node")
    scsi = block.find_parent("scsi", "scsi_device")
    return Disk(
        node=node,
        size_bytes=attributes.asint("size") * SECTOR_BYTES,
        read_only=attributes.asint("ro") == 1,
        vendor=_text(scsi, "vendor") if scsi else "",  # not udev's ID_VENDOR, ID_MODEL: blanks are underscores there
        model=_text(scsi, "model") if scsi else "",
    )


def _text(device: pyudev.Device, name: str) -> str:
    """A sysfs attribute as printable text, "" where there is none: it is what the device says of itself."""
    with suppress(KeyError):
        text = device.attributes.get(name)
        return "".join(c for c in text.decode("utf-8", "replace") if c.isprintable()).strip()[:126] if text else ""
    return ""
