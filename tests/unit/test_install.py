"""What deploy/install decides before it changes anything: whose USB disk is whose, and which places it accepts."""

import argparse
from pathlib import Path
from typing import Any

import pytest

from deploy.environment import source_digest
from deploy.ownership import UsbDisk, own_rule, usb_disks
from deploy.places import checked_place, place_text, smart_place_text
from deploy.recorders import checked_recorder, opens_recorders, recorder_rules
from deploy.system import point, write

VAULT = Path("/srv/vault")


def device(
    path: str, *mounts: str, tran: str | None = None, children: list[dict[str, Any]] | None = None
) -> dict[str, Any]:
    return {"path": path, "tran": tran, "mountpoints": [*mounts] or [None], "children": children or []}


def test_mounts_are_found_through_partitions_and_encryption() -> None:
    crypt = device("/dev/mapper/vault", "/srv")
    listed = {
        "blockdevices": [
            device(
                "/dev/sda", tran="usb", children=[device("/dev/sda1", children=[crypt]), device("/dev/sda2", "[SWAP]")]
            ),
            device("/dev/sdb", tran="usb"),
            device("/dev/nvme0n1", "/", tran="nvme"),
        ]
    }
    assert usb_disks(listed) == [
        UsbDisk("/dev/sda", frozenset({"/srv", "[SWAP]"})),
        UsbDisk("/dev/sdb", frozenset()),
    ]


@pytest.mark.parametrize(
    ("mounts", "own"),
    [
        ({"/"}, True),
        ({"/boot/firmware"}, True),
        ({"[SWAP]"}, True),
        ({"/srv"}, True),
        ({"/data"}, True),  # a place that somebody chose; cards are mounted elsewhere
        ({"/media/pi/CAMERA"}, False),
        ({"/run/media/pi/CAMERA"}, False),
        ({"/mnt"}, False),
        (set(), False),
    ],
)
def test_the_disk_that_the_station_lives_on_is_its_own(mounts: set[str], own: bool) -> None:
    assert UsbDisk("/dev/sda", frozenset(mounts)).is_own([VAULT]) is own


def test_a_guests_place_that_holds_the_vault_is_own() -> None:
    assert UsbDisk("/dev/sda", frozenset({"/mnt/disk"})).is_own([Path("/mnt/disk/vault")])
    assert not UsbDisk("/dev/sda", frozenset({"/mnt/disk"})).is_own([Path("/mnt/disk2/vault")])


def test_a_disk_is_known_by_serial_and_partition_table() -> None:
    properties = {"ID_SERIAL": "Samsung_T7_S5SX-0:0", "ID_PART_TABLE_UUID": "c3f1", "ID_FS_UUID": "1"}
    assert own_rule(properties) == (
        'SUBSYSTEM=="block", ENV{ID_SERIAL}=="Samsung_T7_S5SX-0:0", ENV{ID_PART_TABLE_UUID}=="c3f1", '
        'ENV{CUSTODOCK_OWN}="1"\n'
    )


@pytest.mark.parametrize(
    "properties",
    [
        {},
        {"ID_SERIAL": "only"},  # shared by every cheap adapter of one make
        {"ID_PART_TABLE_UUID": "c3f1"},
        {"ID_SERIAL": 'a", RUN+="/bin/sh', "ID_PART_TABLE_UUID": "c3f1"},
        {"ID_SERIAL": "two\nlines", "ID_PART_TABLE_UUID": "c3f1"},
        {"ID_SERIAL": "Any*", "ID_PART_TABLE_UUID": "c3f1"},
    ],
)
def test_a_disk_that_cannot_be_told_gets_no_rule(properties: dict[str, str]) -> None:
    assert own_rule(properties) is None


@pytest.mark.parametrize(
    "text",
    [
        "relative",
        "/",
        "/srv/a b",
        "/srv/../etc",
        "/home/pi/vault",
        "/root/x",
        "/tmp/vault",
        "/srv/%h",
        "/srv\n[Service]",
        "//tmp/x",
    ],
)
def test_a_place_that_the_service_cannot_use_or_that_a_unit_would_misread_is_refused(text: str) -> None:
    with pytest.raises(argparse.ArgumentTypeError):
        checked_place(text)


@pytest.mark.parametrize("text", ["/srv/dock", "/data/存证", "/var/lib/custodock", "/srv/a.b_c-d+e"])
def test_other_places_are_taken(text: str) -> None:
    assert checked_place(text) == Path(text)


def test_the_drop_in_opens_state_and_vault() -> None:
    assert place_text(Path("/srv/dock"), VAULT).splitlines()[1:] == [
        "[Unit]", "RequiresMountsFor=/srv/dock /srv/vault", "",
        "[Service]", "Environment=CUSTODOCK_DIR=/srv/dock", "ReadWritePaths=/srv/dock /srv/vault",
    ]  # fmt: skip


def test_the_disks_that_root_asks_are_those_of_the_vault() -> None:
    assert smart_place_text(VAULT).splitlines()[1:] == [
        "[Unit]", "RequiresMountsFor=/srv/vault", "", "[Service]", "Environment=CUSTODOCK_VAULT=/srv/vault",
    ]  # fmt: skip


def test_a_recorder_is_opened_by_its_exact_ids_and_stays_so(tmp_path: Path) -> None:
    file = tmp_path / "recorders.rules"
    file.write_text(recorder_rules("", []))
    assert not opens_recorders(file)
    assert "char-166" not in place_text(Path("/srv/dock"), VAULT)
    once = recorder_rules(file.read_text(), ["1b3f:8301"])
    assert recorder_rules(once, ["1b3f:8301"]) == once
    assert recorder_rules(once, ["1b3f:8302"]).startswith(once)
    assert once.splitlines()[1:] == [
        'SUBSYSTEM=="usb", ENV{DEVTYPE}=="usb_device", ATTR{idVendor}=="1b3f", ATTR{idProduct}=="8301", '
        'ENV{ID_MM_DEVICE_IGNORE}="1", GROUP:="custodock", MODE:="0660"',
        'SUBSYSTEM=="tty", ATTRS{idVendor}=="1b3f", ATTRS{idProduct}=="8301", GROUP:="custodock", MODE:="0660"',
    ]
    file.write_text(once)
    assert opens_recorders(file)
    assert place_text(Path("/srv/dock"), VAULT, recorders=True).endswith(
        "DeviceAllow=char-166 rw\nDeviceAllow=char-188 rw\n"
    )
    assert checked_recorder("1B3F:8301") == "1b3f:8301"
    for wrong in ("1b3f", "1b3f:*", '1b3f:8301", RUN+="x', "1b3f:83010"):
        with pytest.raises(argparse.ArgumentTypeError):
            checked_recorder(wrong)


def test_files_and_links_report_whether_they_changed(tmp_path: Path) -> None:
    file, link = tmp_path / "folder" / "file", tmp_path / "bin" / "link"
    assert (write(file, "one"), write(file, "one"), write(file, "two")) == (True, False, True)
    assert file.read_text() == "two"
    one, two = tmp_path / "one", tmp_path / "two"
    assert (point(link, one), point(link, one), point(link, two)) == (True, False, True)
    assert link.readlink() == two
    assert [path.name for path in link.parent.iterdir()] == ["link"]


def test_another_python_makes_another_program() -> None:
    assert source_digest([3, 11, 2]) == source_digest([3, 11, 2]) != source_digest([3, 13, 1])
