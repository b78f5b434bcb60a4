"""USB devices that come and go before a real udev monitor, on a machine that umockdev pretends."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from typing import Any

import pytest

WRAPPER = shutil.which("umockdev-wrapper")
pytestmark = pytest.mark.skipif(WRAPPER is None, reason="umockdev is not installed")


@pytest.fixture(scope="module")
def told() -> dict[str, list[dict[str, Any]]]:
    """What the watch showed at each turn of devices_child.py."""
    argv = [str(WRAPPER), sys.executable, "-m", "tests.integration.devices_child"]
    done = subprocess.run(argv, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    answer: dict[str, list[dict[str, Any]]] = json.loads(done.stdout)
    return answer


def test_what_is_plugged_in_before_the_start_is_found(told: dict[str, list[dict[str, Any]]]) -> None:
    (camera,) = told["first"]
    assert camera["port"] == "0000:00:04.0-usb2-1.2"
    assert (camera["usb_id"], camera["serial"], camera["interfaces"]) == ("1b3f:8301", "CAM0001", ["080650"])
    disk = {"node": "/dev/sda", "size_bytes": 1 << 20, "read_only": True, "vendor": "ACME", "model": "Body Cam_1"}
    assert camera["disks"] == [disk]


def test_ports_of_both_generations_and_every_lun_are_told_apart(told: dict[str, list[dict[str, Any]]]) -> None:
    assert [one["port"] for one in told["both"]] == [
        "0000:00:04.0-usb2-1.2",
        "0000:00:04.0-usb2-1.3",
        "0000:00:04.0-usb3-4",
    ]
    assert [disk["size_bytes"] for disk in told["both"][1]["disks"]] == [2 << 20, 0]
    assert told["both"][2]["interfaces"] == ["030000", "030101"]


def test_who_left_is_gone_and_the_others_stay(told: dict[str, list[dict[str, Any]]]) -> None:
    assert [one["port"] for one in told["left"]] == [one["port"] for one in told["both"][1:]]


def test_after_a_storm_of_200_replugs_the_picture_is_true_and_printable(told: dict[str, list[dict[str, Any]]]) -> None:
    camera = told["after_storm"][0]
    assert camera["serial"] == "CAM[31m0009"
    assert camera["disks"][0]["node"] == "/dev/sda"
