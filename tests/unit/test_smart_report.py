"""What root leaves for the agent: whole, recent, and of the vault's own disks only."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from agent import smart_report
from agent.smart import DiskState, read_smart
from agent.smart_report import AGE_MAX_SECONDS, now, read_report, write_report

GOOD = {"smart_status": {"passed": True}, "model_name": "Disk 1", "scsi_grown_defect_list": 3}


def left(file: Path, at: Any, disks: Any) -> Path:
    file.write_text(json.dumps({"at": at, "disks": disks}))
    return file


def test_an_answer_is_read_as_if_we_had_asked(tmp_path: Path) -> None:
    answers = read_report(left(tmp_path / "report.json", 100.0, {"sda": GOOD}), 200.0)
    disk = read_smart("sda", answers["sda"])
    assert (disk.state, disk.model, disk.signs) == (DiskState.ATTENTION, "Disk 1", ("reallocated=3",))


@pytest.mark.parametrize("seconds", [99.0, 101.0 + AGE_MAX_SECONDS])
def test_an_old_answer_or_one_of_another_boot_is_none(tmp_path: Path, seconds: float) -> None:
    assert read_report(left(tmp_path / "report.json", 100.0, {"sda": GOOD}), seconds) == {}


@pytest.mark.parametrize("text", ["", "{", "[]", "null", '{"at": 1}', '{"at": "x", "disks": {}}', "[" * 100_000])
def test_a_torn_report_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "report.json").write_text(text)
    assert read_report(tmp_path / "report.json", 2.0) == {}
    assert read_report(tmp_path / "missing.json", 2.0) == {}


@pytest.mark.skipif(shutil.which("smartctl") is None, reason="needs smartmontools; deploy/check installs it")
def test_what_the_real_smartctl_says_goes_through(tmp_path: Path) -> None:
    file = tmp_path / "report.json"
    assert write_report(tmp_path, file, ["null", "mmcblk0"]) == ["null"]
    disk = read_smart("null", read_report(file, now())["null"])
    assert (disk.state, disk.signs) == (DiskState.UNKNOWN, ("unasked: /dev/null: Unable to detect device type",))
    assert [path.name for path in tmp_path.iterdir()] == ["report.json"]


def test_the_place_is_the_units() -> None:
    unit = (Path(__file__).parents[2] / "systemd/custodock-smart.service").read_text("utf-8")
    assert f" {smart_report.REPORT}\n" in unit
    assert f"RuntimeDirectory={smart_report.REPORT.parent.name}\n" in unit
