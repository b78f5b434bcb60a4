"""Chips on the dock's I2C bus whose registers the test sets: the kernel's own drivers read them.

chips = Chips(lab, [0x40, 0x0B])
chips.set(0x0B, {0x0D: 42})            # word registers, little endian as SMBus sends them
chips.set(0x40, {0x04: 1000}, big_endian=True)
chips.attach(0x40, "ina226")           # the kernel's driver takes it; by then its registers should make sense
chips.name(0x40)                       # what the kernel calls the device: "1-0040"
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping

from tests.vm.drivers import build_drivers
from tests.vm.lab import Lab

WRITE = """
import ctypes, fcntl, json, os, sys
bus, address, words = json.loads(sys.stdin.readline())
I2C_SLAVE_FORCE, I2C_SMBUS, WORD_DATA = 0x0706, 0x0720, 3

class Data(ctypes.Union):
    _fields_ = [("word", ctypes.c_uint16), ("block", ctypes.c_uint8 * 34)]

class Call(ctypes.Structure):
    _fields_ = [("read", ctypes.c_uint8), ("command", ctypes.c_uint8), ("size", ctypes.c_uint32),
                ("data", ctypes.POINTER(Data))]

fd = os.open(f"/dev/i2c-{bus}", os.O_RDWR)
fcntl.ioctl(fd, I2C_SLAVE_FORCE, address)
for register, word in words:
    data = Data(word=word)
    fcntl.ioctl(fd, I2C_SMBUS, Call(0, register, WORD_DATA, ctypes.pointer(data)))
"""
DRIVERS = {"ina226": "ina2xx"}  # others are in the image


class Chips:
    """One stub bus with the chips by address."""

    def __init__(self, lab: Lab, chips: Iterable[int]) -> None:
        self._lab = lab
        for driver in DRIVERS.values():
            lab.put(build_drivers() / f"{driver}.ko", "/run/drivers")
        addresses = ",".join(str(address) for address in chips)
        load = f"modprobe i2c-dev && modprobe i2c-stub chip_addr={addresses}"
        lab.run(f"cat > /run/write-chip.py && {load}", stdin=WRITE.encode())
        named = lab.run('for bus in /sys/bus/i2c/devices/i2c-*; do echo "${bus##*-} $(cat $bus/name)"; done').out
        self.bus = next(int(line.split()[0]) for line in named.splitlines() if "SMBus stub" in line)

    def name(self, address: int) -> str:
        """What the kernel calls the device."""
        return f"{self.bus}-{address:04x}"

    def attach(self, address: int, kind: str) -> None:
        """Let the kernel's driver have the chip."""
        module = DRIVERS.get(kind)
        load = f"insmod /run/drivers/{module}.ko" if module else f"modprobe {kind}"
        self._lab.run(f"{load} && echo {kind} {address:#x} > /sys/bus/i2c/devices/i2c-{self.bus}/new_device")

    def set(self, address: int, words: Mapping[int, int], *, big_endian: bool = False) -> None:
        """Set 16-bit registers; negative numbers as two's complement."""
        swap = [
            (register, int.from_bytes((word & 0xFFFF).to_bytes(2, "big" if big_endian else "little"), "little"))
            for register, word in words.items()
        ]
        order = json.dumps([self.bus, address, swap]).encode() + b"\n"
        self._lab.run("python3 /run/write-chip.py", stdin=order)
