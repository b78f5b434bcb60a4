"""The virtual dock itself: what the other tests rely on is so, each with a control that would show if it were not."""

import hashlib
import shutil
import socket
import time
import urllib.request
from pathlib import Path

import pytest

from tests.ptp.camera import SoftCamera, generated
from tests.ptp.usb import UsbCamera
from tests.vm.conftest import CardBox
from tests.vm.lab import Lab
from tests.vm.usb_disk import UsbDisk
from tests.vm.writelog import drop_unflushed

MARK = 1536 << 20


def put_mark(dock: Lab, letter: str, flush: str) -> None:
    """One MiB past the page cache to /dev/vdb, with or without a flush after it."""
    source = f"head -c 1M /dev/zero | tr '\\0' {letter}"
    dock.run(f"{source} | dd of=/dev/vdb bs=1M seek={MARK >> 20} oflag=direct iflag=fullblock conv={flush}notrunc")


def mark(disk: Path) -> bytes:
    with disk.open("rb") as file:
        file.seek(MARK)
        return file.read(1)


def test_a_power_cut_loses_what_was_not_flushed_and_nothing_else(bare_dock: Lab) -> None:
    bare_dock.run("umount /var/lib/custodock")
    put_mark(bare_dock, "A", "fsync,")
    put_mark(bare_dock, "B", "")
    bare_dock.power_cut()
    disk, base, log = (bare_dock.directory / name for name in ("data.img", "data.base", "data.log"))
    assert mark(disk) == b"B", "without the log's help nothing is lost: the control"
    kept = shutil.copyfile(base, bare_dock.directory / "kept.img")
    drop_unflushed(kept, log, keep=1.0, seed=0)
    assert mark(kept) == b"B"
    cut = drop_unflushed(base, log, keep=0.0, seed=0)
    assert mark(base) == b"A"
    assert cut.lost >= 1


@pytest.mark.slow_vm
def test_after_a_power_cut_the_dock_boots_on_what_is_left(own_dock: Lab) -> None:
    own_dock.run("cd /var/lib/custodock && echo kept > flushed && sync flushed && echo lost > cached")
    cut = own_dock.power_cut(lose_unflushed=True)
    assert cut is not None
    own_dock.boot()
    assert own_dock.run("cd /var/lib/custodock && cat flushed").out == "kept\n"
    assert own_dock.run("cat /var/lib/custodock/cached", check=False).out == ""
    own_dock.run(
        "for i in $(seq 120); do systemctl is-active custodock-agent && exit; sleep 1; done; exit 1", timeout=200
    )


def test_speed_and_errors_are_as_set(dock: Lab, cards: CardBox) -> None:
    card = dock.plug(cards.card("vfat", "mbr").image, slot=1, serial="BAD0001")

    def read(sector: int, count: int) -> int:
        return dock.run(
            f"dd if={card.disk} of=/dev/null bs=512 skip={sector} count={count} iflag=direct", check=False
        ).code

    assert read(40_000, 8) == 0
    dock.bad_sectors(card, [40_002])
    assert read(40_000, 2) == 0
    assert read(40_002, 1) != 0
    assert read(40_003, 5) == 0
    megabyte = f"dd if={card.disk} of=/dev/null bs=64K count=32 iflag=direct"
    dock.throttle(card, bytes_per_second=500_000)
    dock.run(megabyte)  # the limit lets a burst of a second pass
    slow = timed(dock, megabyte)
    dock.throttle(card, bytes_per_second=0)
    assert slow > 2_097_152 / 500_000 * 0.8
    assert timed(dock, megabyte) < slow / 2


def timed(dock: Lab, command: str) -> float:
    started = time.monotonic()
    dock.run(command)
    return time.monotonic() - started


def test_a_slot_has_its_path_and_a_pulled_card_is_gone(dock: Lab, cards: CardBox) -> None:
    image = cards.card("ext4", "none").image
    first, second = (
        dock.plug(image, slot=2, serial="SAME"),
        dock.plug(cards.card("vfat", "mbr").image, slot=7, serial="SAME"),
    )
    paths = [dock.run(f"udevadm info --query=property --name={card.disk}").out for card in (first, second)]
    assert ["ID_PATH=" + card.path in text.splitlines() for card, text in zip((first, second), paths, strict=True)] == [
        True,
        True,
    ]
    dock.unplug(second)
    dock.run(f"for i in $(seq 100); do [ -e {second.disk} ] || exit 0; sleep .1; done; exit 1")
    dock.run(f"test -e {first.disk}")


def test_a_write_protected_card_says_so(dock: Lab, cards: CardBox) -> None:
    card = dock.plug(cards.card("ext4", "none").image, slot=4, read_only=True)
    assert dock.run(f"cat /sys/class/block/$(basename $(readlink -f {card.disk}))/ro").out.strip() == "1"


def test_a_camera_speaks_ptp_to_the_agents_user_alone(dock: Lab, tmp_path: Path) -> None:
    camera = SoftCamera(manufacturer="GoPro", model="HERO12", serial="C350132", battery=83)
    clip = camera.add("GX010001.MP4", camera.folder("100GOPRO", camera.folder("DCIM")), size=512_000)
    plugged = dock.plug_soft(UsbCamera(camera), slot=4)
    dock.run("for i in $(seq 100); do grep -q 2672 /sys/bus/usb/devices/*/idVendor && exit; sleep .1; done; exit 1")
    facts = dock.run(
        "udevadm settle; udevadm info --query=property $(dirname $(grep -l 2672 /sys/bus/usb/devices/*/idVendor))"
    )
    properties = dict(line.split("=", 1) for line in facts.out.splitlines())
    assert properties["ID_PATH"] == plugged.path
    assert properties["ID_SERIAL_SHORT"] == "C350132"
    assert not properties.keys() & {"ID_GPHOTO2", "ID_MTP_DEVICE", "ID_MEDIA_PLAYER"}
    assert properties["ID_MM_DEVICE_IGNORE"] == "1"
    assert dock.run(f"stat -c '%G %a' {properties['DEVNAME']}").out.strip() == "custodock 660"
    gphoto = "cd /tmp && runuser -u {user} -- env HOME=/tmp LC_ALL=C.UTF-8 gphoto2 "
    level = dock.run(gphoto.format(user="custodock") + "--get-config batterylevel").out
    assert "Current: 83%" in level
    dock.run(gphoto.format(user="custodock") + "--get-all-files --force-overwrite", timeout=300)
    dock.get("/tmp/GX010001.MP4", tmp_path / "got")
    assert (tmp_path / "got" / "GX010001.MP4").read_bytes() == generated(0, 512_000, salt=clip)
    assert dock.run(gphoto.format(user="nobody") + "--get-config batterylevel", check=False).code != 0
    camera.stall_bad, camera.things[clip].bad = True, [(100_000, 1)]
    failed = dock.run(gphoto.format(user="custodock") + "--get-all-files --force-overwrite", check=False, timeout=300)
    assert "rror" in failed.out + failed.err


def test_ports_lead_in_and_the_uplink_can_be_pulled(dock: Lab) -> None:
    with dock.spawn("cd /etc && exec timeout 100 python3 -m http.server 8180") as server:
        try:
            dock.run("for i in $(seq 300); do ss -ltn | grep -q :8180 && exit; sleep .1; done; exit 1")
            address = f"http://127.0.0.1:{dock.forward_port(8180)}/hostname"
            with urllib.request.urlopen(address, timeout=30) as reply:
                assert reply.read() == b"dock\n"
        finally:
            server.kill()
    with socket.create_server(("127.0.0.1", 0)) as broker:
        reach = "python3 -c 'import socket; socket.create_connection((\"{}\", {}), 10)'"
        dock.run(reach.format("10.0.3.2", broker.getsockname()[1]))
        assert dock.run(reach.format("192.0.2.1", 80), check=False).code != 0, "the dock reaches the world"
    dock.uplink(False)
    try:
        carrier = "for i in $(seq 50); do [ $(cat /sys/class/net/eth1/carrier) = {} ] && exit; sleep .1; done; exit 1"
        dock.run(carrier.format(0))
    finally:
        dock.uplink(True)
    dock.run(carrier.format(1))


def test_a_disk_in_software_hangs_fails_and_leaves_where_it_is_told(dock: Lab, cards: CardBox) -> None:
    image = cards.card("vfat", "mbr").image
    disk = UsbDisk(image, serial="SOFTDISK1")
    plugged = dock.plug_soft(disk, slot=4)
    dock.run(f"for i in $(seq 300); do [ -e {plugged.disk} ] && udevadm settle && exit; sleep .1; done; exit 1")
    assert dock.run(f"sha256sum < {plugged.disk}").out.split()[0] == hashlib.sha256(image.read_bytes()).hexdigest()
    read = f"dd if={plugged.disk} of=/dev/null bs=512 iflag=direct count=1 skip="
    disk.bad = (40_002,)
    assert dock.run(f"{read}40002", check=False).code != 0
    assert dock.run(f"{read}40003").code == 0
    disk.hangs = True
    with dock.spawn(f"{read}50000") as waiting:
        time.sleep(2)
        assert waiting.poll() is None, "it does not hang: the control"
        assert dock.run("true").code == 0
        disk.hangs = False
        assert waiting.wait(20) == 0
    disk.leave_after(1 << 20)
    before = disk.read_bytes
    assert dock.run(f"dd if={plugged.disk} of=/dev/null bs=64K iflag=direct count=64", check=False).code != 0
    assert before + (1 << 20) - (256 << 10) < disk.read_bytes <= before + (1 << 20)
    dock.run(f"for i in $(seq 100); do [ -e {plugged.disk} ] || exit 0; sleep .1; done; exit 1")
