"""The USB slots of a virtual dock: what is plugged in, how fast it answers, where it is broken."""

from __future__ import annotations

import socket
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tests.ptp.usbredir import UsbDevice, UsbRedir
from tests.vm.qmp import Qmp
from tests.vm.shell import Shell

SLOTS = range(1, 10)
MASS_STORAGE = 8
BUS = "bus.limit"


@dataclass(eq=False, slots=True)
class Plugged:
    """Something in a slot. `path`: its ID_PATH; `disk`: its device link, for storage."""

    name: str
    path: str
    storage: bool
    nodes: list[str] = field(default_factory=list)
    limit: str = ""

    @property
    def disk(self) -> str:
        """The whole disk, as udev links it; partitions add `-part1`."""
        return f"/dev/disk/by-path/{self.path}"


class Slots(Shell):
    """A running dock's shell and slots. `Lab` gives it power."""

    directory: Path

    def __init__(self, key: Path, control: Path) -> None:
        """Everything is empty. `key` and `control`: see `Shell`."""
        super().__init__(key, control)
        self._qmp: Qmp | None = None
        self.forget_slots()

    @property
    def qmp(self) -> Qmp:
        """QEMU's monitor, while the machine is on, for what this class does not offer."""
        assert self._qmp is not None, "it is off"
        return self._qmp

    def forget_slots(self) -> None:
        """The machine was switched off or on: nothing is plugged in."""
        self._plugged: dict[str, Plugged] = {}
        self._has_bus = False

    def plug(
        self,
        image: Path,
        slot: int,
        *,
        serial: str = "CAM0001",
        read_only: bool = False,
        wait: bool = True,
        on_bus: bool = False,
    ) -> Plugged:
        """Put a card into a slot. `read_only`: its write protection is on. Returns when udev has dealt with it.

        Identity is 46f4:0001 with this serial; the slot decides the ID_PATH.
        """
        name = self._claim(slot)
        card = Plugged(name, f"pci-0000:00:10.0-usb-0:{slot}:1.0-scsi-0:0:0:0", storage=True)
        call = self.qmp.call
        group = f"{name}.limit"
        if on_bus:
            group = BUS
        else:
            call("object-add", qom_type="throttle-group", id=group, limits={"bps-total": 0})
            card.limit = group
        file = {"driver": "file", "filename": str(image.resolve())}
        call("blockdev-add", **file, node_name=f"{name}.file", read_only=read_only)
        limit = {"driver": "throttle", "throttle-group": group, "read-only": read_only}
        call("blockdev-add", **limit, node_name=f"{name}.top", file=f"{name}.file")
        card.nodes += [f"{name}.file", f"{name}.top"]
        call("device_add", driver="usb-storage", id=name, bus="xhci.0", port=str(slot), serial=serial,
             drive=f"{name}.top", removable=True)  # fmt: skip
        self._plugged[name] = card
        if wait:
            self.run(f"for i in $(seq 300); do [ -e {card.disk} ] && udevadm settle && exit; sleep .1; done; exit 1")
        return card

    def plug_luns(self, images: Sequence[Path], slot: int, *, serial: str = "CAM0001") -> Plugged:
        """Put a camera with several disks into a slot, one image each."""
        name = self._claim(slot)
        camera = Plugged(name, f"pci-0000:00:10.0-usb-0:{slot}:1.0-scsi-0:0:0:0", storage=False)
        call = self.qmp.call
        call("device_add", driver="usb-bot", id=name, bus="xhci.0", port=str(slot), serial=serial)
        for lun, image in enumerate(images):
            node = f"{name}.lun{lun}"
            call("blockdev-add", driver="file", filename=str(image.resolve()), node_name=node)
            camera.nodes.append(node)
            call("device_add", driver="scsi-hd", bus=f"{name}.0", lun=lun, drive=node, id=f"{name}-{lun}")
        call("qom-set", path=f"/machine/peripheral/{name}", property="attached", value=True)
        self._plugged[name] = camera
        return camera

    def plug_soft(self, device: UsbDevice, slot: int) -> Plugged:
        """Put a device in software into a slot: a PTP camera (tests/ptp) or a `UsbDisk`."""
        name = self._claim(slot)
        address = self.directory / f"{name}.redir"
        address.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(address))
            server.listen(1)
            where = {"type": "unix", "data": {"path": str(address)}}
            backend = {"type": "socket", "data": {"server": False, "addr": where}}
            self.qmp.call("chardev-add", id=f"{name}.redir", backend=backend)
            UsbRedir(device).serve(server.accept()[0])
        self.qmp.call("device_add", driver="usb-redir", id=name, bus="xhci.0", port=str(slot), chardev=f"{name}.redir")
        path = f"pci-0000:00:10.0-usb-0:{slot}" + (":1.0-scsi-0:0:0:0" if device.interface[0] == MASS_STORAGE else "")
        self._plugged[name] = plugged = Plugged(name, path, storage=False)
        return plugged

    def plug_keyboard(self, slot: int) -> Plugged:
        """Put a keyboard into a slot."""
        name = self._claim(slot)
        self.qmp.call("device_add", driver="usb-kbd", id=name, bus="xhci.0", port=str(slot))
        self._plugged[name] = keyboard = Plugged(name, f"pci-0000:00:10.0-usb-0:{slot}", storage=False)
        return keyboard

    def unplug(self, plugged: Plugged) -> None:
        """Pull it out, whatever the dock is doing with it."""
        del self._plugged[plugged.name]
        self.qmp.call("device_del", id=plugged.name)
        self.qmp.wait("DEVICE_DELETED", plugged.name)
        for node in reversed(plugged.nodes):
            self.qmp.call("blockdev-del", node_name=node)
        if plugged.limit:
            self.qmp.call("object-del", id=plugged.limit)

    def unplug_all(self) -> None:
        """Empty every slot."""
        for plugged in [*self._plugged.values()]:
            self.unplug(plugged)

    def limit_bus(self, bytes_per_second: int) -> None:
        """What all cards on the bus get together from now on; 0 lifts the limit."""
        if not self._has_bus:
            self.qmp.call("object-add", qom_type="throttle-group", id=BUS, limits={"bps-total": bytes_per_second})
            self._has_bus = True
        self.qmp.call("qom-set", path=f"/objects/{BUS}", property="limits", value={"bps-total": bytes_per_second})

    def throttle(self, card: Plugged, *, bytes_per_second: int) -> None:
        """Limit a card's speed from now on, both directions together; 0 lifts the limit."""
        limits = {"bps-total": bytes_per_second}
        self.qmp.call("qom-set", path=f"/objects/{card.name}.limit", property="limits", value=limits)

    def bad_sectors(self, card: Plugged, sectors: Iterable[int], *, operation: str = "read") -> None:
        """From now on these 512-byte sectors end in EIO (`operation`: "read" or "write"), once for each card.

        What the dock has cached it does not ask for again: plug with wait=False, or read past the cache.
        """
        read_only = bool(self._node(f"{card.name}.file")["ro"])
        rules: list[dict[str, Any]] = [
            {"event": "none", "iotype": operation, "errno": 5, "sector": sector, "once": False} for sector in sectors
        ]
        node = f"{card.name}.bad"
        self.qmp.call("blockdev-add", driver="blkdebug", node_name=node, image=f"{card.name}.file",
                      read_only=read_only, inject_error=rules)  # fmt: skip
        top = {"driver": "throttle", "node-name": f"{card.name}.top", "throttle-group": f"{card.name}.limit",
               "read-only": read_only, "file": node}  # fmt: skip
        self.qmp.call("blockdev-reopen", options=[top])
        card.nodes.insert(1, node)

    def _node(self, name: str) -> dict[str, Any]:
        nodes: list[dict[str, Any]] = self.qmp.call("query-named-block-nodes", flat=True)
        return next(node for node in nodes if node["node-name"] == name)

    def _claim(self, slot: int) -> str:
        name = f"slot{slot}"
        assert slot in SLOTS, f"there is no slot {slot}"
        assert name not in self._plugged, f"slot {slot} is taken"
        return name
