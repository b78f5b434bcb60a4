"""What disks say of themselves, in the shapes that smartctl 7 prints for ATA, NVMe and SCSI."""

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent.smart import DiskState, disk_health, disks_under, emmc_health, read_smart, vault_disks


def ata(*attributes: dict[str, Any], passed: object = True, **more: Any) -> dict[str, Any]:
    return {
        "device": {"name": "/dev/sda", "type": "sat", "protocol": "ATA"}, "model_name": "Disk 1", "serial_number": "S1",
        "smart_status": {"passed": passed}, "temperature": {"current": 35}, "power_on_time": {"hours": 1200},
        "ata_smart_attributes": {"revision": 16, "table": list(attributes)}, **more,
    }  # fmt: skip


def attribute(
    number: int, raw: int = 0, *, name: str = "X", value: int = 100, failed: str = "", prefail: bool = False
) -> dict[str, Any]:
    return {"id": number, "name": name, "value": value, "worst": value, "thresh": 5, "when_failed": failed,
            "flags": {"prefailure": prefail}, "raw": {"value": raw, "string": str(raw)}}  # fmt: skip


def nvme(**log: int) -> dict[str, Any]:
    full = {"critical_warning": 0, "available_spare": 99, "available_spare_threshold": 10, "percentage_used": 3,
            "media_errors": 0, **log}  # fmt: skip
    return {"smart_status": {"passed": True}, "nvme_smart_health_information_log": full}


WEAR = "Wear_Leveling_Count"


@pytest.mark.parametrize(
    ("body", "state", "signs"),
    [
        (ata(), DiskState.OK, ()),
        (ata(passed=False), DiskState.FAILED, ()),
        (ata(attribute(5, 1975, failed="now", prefail=True)), DiskState.FAILED, ("failing_now=5", "reallocated=1975")),
        (ata(attribute(5, 3)), DiskState.ATTENTION, ("reallocated=3",)),
        (ata(attribute(197, 8), attribute(198, 1)), DiskState.ATTENTION, ("pending=8", "uncorrectable=1")),
        (ata(attribute(190, 9, failed="past")), DiskState.ATTENTION, ("below_threshold_past=190",)),
        (ata(attribute(199, 7), attribute(192, 6244)), DiskState.OK, ()),  # cable and power: no wear of the disk
        (ata(attribute(177, value=15, name=WEAR)), DiskState.ATTENTION, ("worn=85",)),
        (ata(attribute(177, value=60, name=WEAR)), DiskState.OK, ()),
        (ata(attribute(231, value=15, name="Temperature_Celsius")), DiskState.OK, ()),
        (ata(attribute(177, value=1, name=WEAR), rotation_rate=7200), DiskState.OK, ()),
        (nvme(), DiskState.OK, ()),
        (nvme(media_errors=7), DiskState.ATTENTION, ("media_errors=7",)),
        (nvme(available_spare=10), DiskState.ATTENTION, ("available_spare=10",)),
        (nvme(percentage_used=104), DiskState.ATTENTION, ("worn=104",)),
        ({"smart_status": {"passed": True}, "scsi_grown_defect_list": 56}, DiskState.ATTENTION, ("reallocated=56",)),
        (ata(passed="yes"), DiskState.UNKNOWN, ("unasked: tells no SMART status",)),
        ({"smartctl": {"messages": [{"string": "Permission denied"}]}}, DiskState.UNKNOWN,
         ("unasked: Permission denied",)),
        ([], DiskState.UNKNOWN, ("unasked: tells no SMART status",)),
    ],
)  # fmt: skip
def test_smart(body: object, state: DiskState, signs: tuple[str, ...]) -> None:
    disk = read_smart("sda", json.dumps(body).encode())
    assert (disk.state, disk.signs) == (state, signs)


def test_the_facts_of_a_disk() -> None:
    disk = read_smart("sda", json.dumps(ata(attribute(177, value=97, name=WEAR))).encode())
    assert (disk.model, disk.serial, disk.temperature_c, disk.power_on_hours, disk.worn_percent) == (
        "Disk 1", "S1", 35, 1200, 3,
    )  # fmt: skip


NASTY = [None, True, -1, 2**70, 1.5, "7", [], [[]], {}, {"table": 3}, {"table": [3, {"id": "5"}, {"id": 5, "raw": []}]}]


@pytest.mark.parametrize("value", NASTY)
def test_nonsense_in_any_place_never_raises_and_accuses_no_disk(value: object) -> None:
    for key in [*ata(), "nvme_smart_health_information_log", "scsi_grown_defect_list", "rotation_rate", "smartctl"]:
        state = read_smart("sda", json.dumps(ata() | {key: value}).encode()).state
        assert state in (DiskState.OK, DiskState.UNKNOWN)


def test_a_disk_whose_smartctl_is_missing_or_says_nothing(tmp_path: Path) -> None:
    assert disk_health("sda", program=str(tmp_path / "none")).state is DiskState.UNKNOWN
    assert disk_health("sda", program="/bin/true").signs == ("unasked: no JSON",)
    assert read_smart("sda", b"[" * 100_000).state is DiskState.UNKNOWN


@pytest.mark.skipif(shutil.which("smartctl") is None, reason="needs smartmontools; deploy/check installs it")
def test_the_real_smartctl_on_what_is_no_disk() -> None:
    disk = disk_health("null")
    assert disk.state is DiskState.UNKNOWN
    assert disk.signs == ("unasked: /dev/null: Unable to detect device type",)


def block(root: Path, path: str, number: str, *, partition: bool = False, slaves: tuple[str, ...] = ()) -> None:
    folder = root / "devices" / path
    (folder / "slaves").mkdir(parents=True)
    if partition:
        (folder / "partition").write_text("1\n")
    for slave in slaves:
        (folder / "slaves" / Path(slave).name).symlink_to(root / "devices" / slave)
    (root / "dev/block").mkdir(parents=True, exist_ok=True)
    (root / "dev/block" / number).symlink_to(folder)


def test_disks_are_found_through_partitions_raid_and_encryption(tmp_path: Path) -> None:
    for disk in "ab":
        block(tmp_path, f"pci/block/sd{disk}", f"8:{ord(disk)}")
        block(tmp_path, f"pci/block/sd{disk}/sd{disk}1", f"8:1{ord(disk)}", partition=True)
    block(tmp_path, "virtual/block/md0", "9:0", slaves=("pci/block/sda/sda1", "pci/block/sdb/sdb1"))
    block(tmp_path, "virtual/block/dm-0", "252:0", slaves=("virtual/block/md0",))
    assert disks_under(252, 0, tmp_path) == ["sda", "sdb"]
    assert disks_under(8, 197, tmp_path) == ["sda"]
    assert disks_under(8, 97, tmp_path) == ["sda"]
    assert disks_under(0, 40, tmp_path) == []
    assert vault_disks(tmp_path / "gone", tmp_path) == []


@pytest.mark.parametrize(
    ("life", "spare", "state", "worn"),
    [
        ("0x01 0x02", "0x01", DiskState.OK, 20),
        ("0x09 0x02", "0x01", DiskState.ATTENTION, 90),
        ("0x01 0x01", "0x02", DiskState.ATTENTION, 10),
        ("0x0b 0x02", "0x01", DiskState.FAILED, 100),
        ("0x01 0x01", "0x03", DiskState.FAILED, 10),
        ("what", "0x03", DiskState.UNKNOWN, None),
    ],
)
def test_emmc(tmp_path: Path, life: str, spare: str, state: DiskState, worn: int | None) -> None:
    device = tmp_path / "block/mmcblk0/device"
    device.mkdir(parents=True)
    (device / "life_time").write_text(life + "\n")
    (device / "pre_eol_info").write_text(spare + "\n")
    disk = emmc_health("mmcblk0", tmp_path)
    assert (disk.state, disk.worn_percent) == (state, worn)
    assert disk_health("mmcblk9", tmp_path).state is DiskState.UNKNOWN  # an SD card
