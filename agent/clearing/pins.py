"""What ``custodock-clear`` believes, in a file that only root writes: never what the agent tells it."""

from __future__ import annotations

import json
import os
import pwd
import stat
from dataclasses import dataclass
from pathlib import Path

from agent.station import write_durably
from custody.checkpoint import VerifyKey, parse_key_line
from custody.cosignature import parse_witness_line
from custody.errors import CustodyError
from custody.release import Pins, ReleaseRefused
from custody.topics import check_station_id

PLACE = Path("/etc/custodock/clear.json")


@dataclass(frozen=True, slots=True)
class ClearPins:
    """The station, the hub's keys, who may ask, and where card images lie that may be cleared too (a trial; None)."""

    station: str
    command_key: VerifyKey
    log: Pins
    agent_uid: int
    images: Path | None = None


def load_pins(place: Path) -> ClearPins:
    """Read the file. Raises ReleaseRefused `not_pinned` where it is missing, wrong, or writable by others than root."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        with open(descriptor, "rb") as file:
            status, text = os.fstat(descriptor), file.read(64 * 1024)
        if status.st_uid != os.geteuid() or status.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise ReleaseRefused("not_pinned", "others may write the file")
        return parse_pins(json.loads(text))
    except (OSError, ValueError, KeyError, TypeError, CustodyError) as error:
        if isinstance(error, ReleaseRefused):
            raise
        raise ReleaseRefused("not_pinned", str(error)[:200]) from None


def parse_pins(body: dict[str, object]) -> ClearPins:
    """Raises ValueError, KeyError, TypeError, CustodyError."""
    unknown = body.keys() - {
        "station",
        "command_key",
        "log_key",
        "witnesses",
        "witnesses_needed",
        "agent_user",
        "images",
    }
    lines, needed = body.get("witnesses", []), body.get("witnesses_needed", 0)
    if unknown or not isinstance(lines, list) or type(needed) is not int or not 0 <= needed <= len(lines):
        raise ValueError("unknown or wrong settings")
    station = str(body["station"])
    check_station_id(station)
    witnesses = tuple(parse_witness_line(str(line)) for line in lines)
    images = body.get("images")
    return ClearPins(
        station,
        parse_key_line(str(body["command_key"])),
        Pins(parse_key_line(str(body["log_key"])), witnesses, needed),
        pwd.getpwnam(str(body["agent_user"])).pw_uid,
        Path(str(images)).resolve() if images else None,
    )


def save_pins(place: Path, body: dict[str, object]) -> ClearPins:
    """Write the file, once it can be read. Raises ReleaseRefused, OSError."""
    try:
        pins = parse_pins(body)
    except (ValueError, KeyError, TypeError, CustodyError) as error:
        raise ReleaseRefused("not_pinned", str(error)[:200]) from None
    write_durably(place, json.dumps(body, ensure_ascii=False, indent=1).encode() + b"\n", 0o644)
    return pins
