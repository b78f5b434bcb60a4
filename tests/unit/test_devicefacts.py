"""USB and SCSI names out of a tree shaped like sysfs."""

from pathlib import Path

from agent.devicefacts import attached_names, device_facts, disk_names, source_names
from agent.profiles.recognition import DeviceFacts
from agent.source import SourceFacts, SourceKind, TimeBasis
from agent.usbports import Attached, Disk

DISK = "devices/pci0000:00/usb1/1-2/1-2.4/1-2.4:1.0/host6/target6:0:0/6:0:0:0/block/sdb"


def sysfs(root: Path, files: dict[str, bytes], disk: str = DISK) -> Path:
    for name, content in files.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content)
    (root / disk / "sdb1").mkdir(parents=True, exist_ok=True)
    (root / "dev/block").mkdir(parents=True)
    (root / "dev/block/8:16").symlink_to(root / disk)
    (root / "dev/block/8:17").symlink_to(root / disk / "sdb1")
    return root


def test_a_usb_disk_and_its_partition(tmp_path: Path) -> None:
    root = sysfs(
        tmp_path,
        {
            f"{DISK}/device/vendor": b"NOVATEK \n",
            f"{DISK}/device/model": b"CAM \xff X         \n",
            "devices/pci0000:00/usb1/1-2/1-2.4/idVendor": b"1B3F\n",
            "devices/pci0000:00/usb1/1-2/1-2.4/idProduct": b"30fe\n",
            "devices/pci0000:00/usb1/1-2/1-2.4/serial": b"AB\x1b[31m12\n",
            "devices/pci0000:00/usb1/1-2/idVendor": b"05e3\n",  # the hub
            "devices/pci0000:00/usb1/1-2/idProduct": b"0610\n",
        },
    )
    expected = DeviceFacts("1b3f", "30fe", "AB[31m12", "NOVATEK", "CAM \\xff X")
    assert disk_names(8, 16, root) == expected
    assert disk_names(8, 17, root) == expected


def test_what_sysfs_lacks_is_empty(tmp_path: Path) -> None:
    assert disk_names(8, 16, sysfs(tmp_path, {})) == DeviceFacts()
    assert disk_names(9, 9, tmp_path) == DeviceFacts()
    assert disk_names(9, 9, tmp_path / "none") == DeviceFacts()


def test_nonsense_is_no_usb_id(tmp_path: Path) -> None:
    root = sysfs(tmp_path, {f"{DISK}/idVendor": b"zzzz", f"{DISK}/idProduct": b"0001"})
    assert disk_names(8, 16, root) == DeviceFacts()


def test_an_image_has_only_its_volumes(tmp_path: Path) -> None:
    said = SourceFacts(SourceKind.IMAGE, ("FAT32", "ext4"), ("CAM", ""), ("1-2", ""), 1, TimeBasis.UTC)
    image = tmp_path / "card.img"
    assert source_names(image) == DeviceFacts()  # it left meanwhile
    image.touch()
    assert device_facts(source_names(image), [said]) == DeviceFacts(labels=("CAM",), volume_ids=("1-2",))


def test_what_is_plugged_in_is_called_as_the_same_disk_on_the_command_line(tmp_path: Path) -> None:
    usb = "devices/pci0000:00/usb1/1-2/1-2.4"
    root = sysfs(
        tmp_path,
        {
            f"{DISK}/device/vendor": b"NOVATEK \n",
            f"{DISK}/device/model": b"CAM_1 X         \n",
            f"{usb}/idVendor": b"1b3f\n",
            f"{usb}/idProduct": b"30fe\n",
            f"{usb}/serial": b"AB12\n",
        },
    )
    disks = (Disk("/dev/sdb", 1 << 20, True, "NOVATEK", "CAM_1 X"), Disk("/dev/sdc", 0, True, "NOVATEK", "CAM_1 X"))
    seen = Attached("p", 1, 2, "1b3f:30fe", "AB12", "", "", ("080650",), False, disks)
    assert attached_names(seen) == disk_names(8, 16, root)
    volumes = [
        SourceFacts(SourceKind.IMAGE, ("FAT32",), (label,), (label,), 1, TimeBasis.UTC) for label in ("ONE", "TWO")
    ]
    assert device_facts(attached_names(seen), volumes).labels == ("ONE", "TWO")
