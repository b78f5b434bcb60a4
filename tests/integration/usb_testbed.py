"""A pretended /sys and udev (umockdev) in which USB devices come and go; run its users under `umockdev-wrapper`.

The library is called through ctypes: Debian has no binding of it for a Python in a virtual environment.
"""

from __future__ import annotations

import ctypes
from pathlib import Path

CONTROLLER = "pci0000:00/0000:00:04.0"
SYS = f"/devices/{CONTROLLER}"
ROOT_HUBS = {2: "usb1", 3: "usb2"}


class Testbed:
    """One machine with a USB 2 and a USB 3 root hub and a hub at port 1 of the first."""

    __test__ = False  # not a test class

    def __init__(self) -> None:
        self._lib = ctypes.CDLL("libumockdev.so.0")
        self._lib.umockdev_testbed_new.restype = ctypes.c_void_p
        self._bed = ctypes.c_void_p(self._lib.umockdev_testbed_new())
        self._lib.umockdev_testbed_get_root_dir.restype = ctypes.c_char_p
        self._root = Path(self._lib.umockdev_testbed_get_root_dir(self._bed).decode())
        self._numbers = 10
        self._paths: dict[str, list[str]] = {}
        self._add(f"P: {SYS}\nE: SUBSYSTEM=pci\n")
        for version, name in ROOT_HUBS.items():
            self._usb_device(
                f"{SYS}/{name}", name, "1d6b:0002", "", device_class="09", extra=f"A: version= {version}.00\n"
            )
        self._usb_device(f"{SYS}/usb1/1-1", "1-1", "0424:2514", "", device_class="09")

    def plug(
        self,
        place: str,
        usb_id: str = "1b3f:8301",
        serial: str = "CAM0001",
        interfaces: tuple[str, ...] = ("080650",),
        disks: tuple[tuple[str, int], ...] = (),
        extra: str = "",
    ) -> None:
        """Plug in at `place`, a kernel name such as 1-1.3; `disks` are (name, sectors)."""
        root = "usb1" if place.startswith("1-") else "usb2"
        above = f"{SYS}/{root}" + ("/1-1" if place.startswith("1-1.") else "")
        path, made = f"{above}/{place}", []
        self._usb_device(path, place, usb_id, serial, extra=extra)
        made.append(path)
        for number, interface in enumerate(interfaces):
            inner = f"{path}/{place}:1.{number}"
            codes = zip(("Class", "SubClass", "Protocol"), (interface[i : i + 2] for i in (0, 2, 4)), strict=True)
            attributes = "".join(f"A: bInterface{name}={code}\n" for name, code in codes)
            self._add(f"P: {inner}\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_interface\n{attributes}")
            made.append(inner)
        for name, sectors in disks:
            scsi = f"{path}/{place}:1.0/host0/target0:0:0/0:0:0:{len(made)}"
            self._add(
                f"P: {scsi}\nE: SUBSYSTEM=scsi\nE: DEVTYPE=scsi_device\nA: vendor=ACME    \nA: model=Body Cam_1\n"
            )
            disk = f"{scsi}/block/{name}"
            self._add(
                f"P: {disk}\nN: {name}\nE: SUBSYSTEM=block\nE: DEVTYPE=disk\nE: DEVNAME=/dev/{name}\n"
                f"E: ID_VENDOR=ACME\nE: ID_MODEL=Body_Cam_1\nA: size={sectors}\nA: ro=1\n"
            )
            made += [scsi, disk]
        self._paths[place] = made

    def unplug(self, place: str) -> None:
        """Pull it out."""
        for path in reversed(self._paths.pop(place)):
            self._event(path, "remove")
            self._lib.umockdev_testbed_remove_device(self._bed, f"/sys{path}".encode())
            if "/block/" in path:  # a link that umockdev forgets
                (self._root / "sys/block" / path.rpartition("/")[2]).unlink(missing_ok=True)

    def _usb_device(
        self, path: str, name: str, usb_id: str, serial: str, *, device_class: str = "00", extra: str = ""
    ) -> None:
        self._numbers += 1
        vendor, product = usb_id.split(":")
        facts = {
            "bDeviceClass": device_class, "idVendor": vendor, "idProduct": product, "serial": serial,
            "manufacturer": "ACME", "product": f"Body camera {name}", "busnum": 1 if "usb1" in path else 2,
            "devnum": self._numbers,
        }  # fmt: skip
        attributes = "".join(f"A: {key}={value}\n" for key, value in facts.items())
        self._add(f"P: {path}\nE: SUBSYSTEM=usb\nE: DEVTYPE=usb_device\n{attributes}{extra}")

    def _add(self, text: str) -> None:
        failure = ctypes.c_void_p()
        call = self._lib.umockdev_testbed_add_from_string
        if not call(self._bed, text.encode(), ctypes.byref(failure)):
            raise ValueError(text)

    def _event(self, path: str, action: str) -> None:
        self._lib.umockdev_testbed_uevent(self._bed, f"/sys{path}".encode(), action.encode())
