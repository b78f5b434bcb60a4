"""The dock's hardware, as QEMU's command line; a snapshot can only be resumed on the same."""

from __future__ import annotations

import ctypes
import signal
from pathlib import Path

MEMORY_MIB = 1024
DATA_BYTES = 4 << 30
_PR_SET_PDEATHSIG = 1
_KERNEL_LINE = (
    "root=/dev/vda rootfstype=ext4 rw console=ttyS0 quiet net.ifnames=0 systemd.show_status=0 mitigations=off "
    "module_blacklist=ahci,kvm_amd,kvm_intel,iTCO_wdt"
)


def machine(image: Path, directory: Path) -> list[str]:
    """QEMU's command line. It emulates in software: not every CI has KVM, and a test must not depend on it."""
    words = f"""
        qemu-system-x86_64 -nodefaults -no-user-config -display none -machine q35,smm=off -m {MEMORY_MIB} -smp 2
        -accel tcg,thread=multi,tb-size=512 -cpu max,la57=off -rtc base=utc
        -kernel {image}/vmlinuz -initrd {image}/initrd.img
        -qmp unix:{directory}/qmp,server=on,wait=off
        -chardev file,id=console,path={directory}/console.log,append=on -serial chardev:console
        -netdev user,id=control,net=10.0.2.0/24,ipv6=off,restrict=on
        -device virtio-net-pci,netdev=control,mac=52:54:00:00:00:02,romfile=
        -netdev user,id=outside,net=10.0.3.0/24,ipv6=off
        -device virtio-net-pci,id=uplink,netdev=outside,mac=52:54:00:00:00:03,romfile=
        -drive if=none,id=root,file={directory}/root.qcow2,cache=writeback,discard=unmap
        -device virtio-blk-pci,drive=root
        -blockdev file,node-name=data-img,filename={directory}/data.img
        -blockdev file,node-name=data-log,filename={directory}/data.log
        -blockdev blklogwrites,node-name=data,file=data-img,log=data-log
        -device virtio-blk-pci,drive=data,serial=dockdata
        -device qemu-xhci,id=xhci,addr=10,p2=9,p3=9
    """.split()
    return [*words, "-append", _KERNEL_LINE]


def die_with_parent() -> None:
    """For a child before exec: be killed when the thread that made it ends, however it ends."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
