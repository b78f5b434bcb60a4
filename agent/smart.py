"""How the vault's disks are, by their own account: SMART through smartctl, life time of eMMC through sysfs.

Slow (a disk answers in up to a second) and best asked once an hour. A disk that cannot be asked is `unknown`, which is
no fault: USB bridges and virtual disks often cannot. smartctl needs CAP_SYS_RAWIO and CAP_SYS_ADMIN, which our service
has not: there root asks (smart_report.py).
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

SMARTCTL = shutil.which("smartctl") or "/usr/sbin/smartctl"  # not on every user's PATH
TIMEOUT_SECONDS = 20
ANSWER_BYTES_MAX = 4 << 20
SECTOR_ATTRIBUTES = {5: "reallocated", 197: "pending", 198: "uncorrectable"}  # ATA ids: raw value counts sectors
WEAR_ATTRIBUTES = (231, 233, 177, 202, 173)  # normalised value: 100 new, falling; vendors differ in the id …
WEAR_NAME = re.compile("wear|life", re.IGNORECASE)  # … and some use these ids for a temperature
WORN_PERCENT = 80


class DiskState(StrEnum):
    """What a disk says of itself."""

    OK = "ok"
    ATTENTION = "attention"  # it works, and shows signs of wear or bad sectors
    FAILED = "failed"  # by its own threshold: replace it now
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class DiskHealth:
    """One disk. `signs` are codes with figures, such as ``reallocated=1975``."""

    name: str  # kernel name, such as sda
    state: DiskState
    model: str = ""
    serial: str = ""
    temperature_c: int | None = None
    power_on_hours: int | None = None
    worn_percent: int | None = None  # of its rated writes
    signs: tuple[str, ...] = ()


def vault_disks(vault: Path, root: Path = Path("/sys")) -> list[str]:
    """Kernel names of the disks under a folder: through partitions, RAID and encryption; empty where none is seen."""
    try:
        device = os.stat(vault).st_dev
    except OSError:
        return []
    return disks_under(os.major(device), os.minor(device), root)


def disks_under(major: int, minor: int, root: Path) -> list[str]:
    """Kernel names of the whole disks that carry a block device."""
    found: set[str] = set()
    waiting = [Path(os.path.realpath(root / "dev/block" / f"{major}:{minor}"))]
    while waiting:
        folder = waiting.pop()
        if not folder.is_dir():
            continue
        if (folder / "partition").exists():
            waiting.append(folder.parent)
        elif below := _slaves(folder):
            waiting.extend(below)
        else:
            found.add(folder.name)
    return sorted(found)


def _slaves(folder: Path) -> list[Path]:
    try:
        return [Path(os.path.realpath(slave)) for slave in (folder / "slaves").iterdir()]
    except OSError:
        return []


def disk_health(name: str, root: Path = Path("/sys"), program: str = SMARTCTL) -> DiskHealth:
    """Ask one disk; never wakes one that sleeps. Never raises."""
    if name.startswith("mmcblk"):
        return emmc_health(name, root)
    try:
        return read_smart(name, ask_smartctl(name, program))
    except (OSError, subprocess.TimeoutExpired) as error:
        return _unasked(name, type(error).__name__)


def ask_smartctl(name: str, program: str = SMARTCTL) -> bytes:
    """What smartctl prints of one disk, as JSON. Raises OSError, subprocess.TimeoutExpired."""
    return subprocess.run(
        [program, "--json=c", "--all", "--nocheck=standby", f"/dev/{name}"],
        capture_output=True, timeout=TIMEOUT_SECONDS, check=False, stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip


def emmc_health(name: str, root: Path = Path("/sys")) -> DiskHealth:
    """Wear of an eMMC: JEDEC's estimate in steps of 10 %, type A and B; an SD card tells nothing."""
    device = root / "block" / name / "device"
    try:
        lives = [int(word, 16) for word in (device / "life_time").read_text("ascii").split()]
        spare = int((device / "pre_eol_info").read_text("ascii"), 16)
    except (OSError, ValueError):
        return _unasked(name, "no life_time")
    worn = max(lives, default=0) * 10
    signs = tuple(
        s for s in (f"worn={worn}" if worn >= WORN_PERCENT else "", f"pre_eol={spare}" if spare > 1 else "") if s
    )
    state = DiskState.FAILED if worn > 100 or spare >= 3 else DiskState.ATTENTION if signs else DiskState.OK
    return DiskHealth(name, state, worn_percent=min(worn, 100), signs=signs)


def read_smart(name: str, answer: bytes) -> DiskHealth:
    """What the JSON of ``smartctl --all`` says, ATA, NVMe and SCSI. Whatever is wrong with it: unknown."""
    try:
        body = json.loads(answer[:ANSWER_BYTES_MAX])
    except (ValueError, RecursionError):
        return _unasked(name, "no JSON")
    passed = _at(body, "smart_status", "passed")
    if not isinstance(passed, bool):
        message = _at(body, "smartctl", "messages", 0, "string")
        return _unasked(name, message if isinstance(message, str) else "tells no SMART status")
    worn = _worn(body)
    signs = [*_ata_signs(body), *_nvme_signs(body), *_scsi_signs(body)]
    if worn is not None and worn >= WORN_PERCENT:
        signs.append(f"worn={worn}")
    failing = not passed or any(s.startswith("failing_now") for s in signs)
    state = DiskState.FAILED if failing else DiskState.ATTENTION if signs else DiskState.OK
    return DiskHealth(
        name,
        state,
        _clean(body.get("model_name")),
        _clean(body.get("serial_number")),
        _whole(_at(body, "temperature", "current")),
        _whole(_at(body, "power_on_time", "hours")),
        worn,
        tuple(signs[:8]),
    )


def _unasked(name: str, why: str) -> DiskHealth:
    return DiskHealth(name, DiskState.UNKNOWN, signs=(f"unasked: {_clean(why)}",))


def _attributes(body: Any) -> list[tuple[int, Any]]:
    table = _at(body, "ata_smart_attributes", "table")
    rows = table if isinstance(table, list) else []
    return [(number, row) for row in rows if (number := _whole(_at(row, "id"))) is not None]


def _ata_signs(body: Any) -> list[str]:
    signs = []
    for number, row in _attributes(body):
        failed = _at(row, "when_failed")
        if failed in ("now", "past"):
            prefail = failed == "now" and _at(row, "flags", "prefailure") is True
            signs.append(f"{'failing_now' if prefail else 'below_threshold_' + failed}={number}")
        count = _whole(_at(row, "raw", "value"))
        if number in SECTOR_ATTRIBUTES and count:
            signs.append(f"{SECTOR_ATTRIBUTES[number]}={count & 0xFFFF_FFFF}")  # some vendors pack more above 32 bits
    return signs


def _nvme_signs(body: Any) -> list[str]:
    log = _at(body, "nvme_smart_health_information_log")
    signs = [f"{key}={number}" for key in ("critical_warning", "media_errors") if (number := _whole(_at(log, key)))]
    spare, least = _whole(_at(log, "available_spare")), _whole(_at(log, "available_spare_threshold"))
    if spare is not None and least is not None and spare <= least:
        signs.append(f"available_spare={spare}")
    return signs


def _scsi_signs(body: Any) -> list[str]:
    grown = _whole(_at(body, "scsi_grown_defect_list"))
    return [f"reallocated={grown}"] if grown else []


def _worn(body: Any) -> int | None:
    for path in (
        ("nvme_smart_health_information_log", "percentage_used"),
        ("scsi_percentage_used_endurance_indicator",),
    ):
        if (used := _whole(_at(body, *path))) is not None:
            return used
    if _whole(_at(body, "rotation_rate")) not in (0, None):
        return None  # these ids mean other things on a turning disk
    left = {
        number: _whole(_at(row, "value"))
        for number, row in _attributes(body)
        if number in WEAR_ATTRIBUTES and WEAR_NAME.search(str(_at(row, "name")))
    }
    for number in WEAR_ATTRIBUTES:
        if (value := left.get(number)) is not None and 0 <= value <= 100:
            return 100 - value
    return None


def _at(body: Any, *path: str | int) -> Any:
    for step in path:
        if isinstance(step, str):
            body = body.get(step) if isinstance(body, dict) else None
        else:
            body = body[step] if isinstance(body, list) and len(body) > step else None
    return body


def _whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63 else None


def _clean(value: Any) -> str:
    return re.sub(r"[^ -~]", "", value)[:64] if isinstance(value, str) else ""
