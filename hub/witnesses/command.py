"""`dock-hub witness`: who witnesses the log, and how many are enough."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from custody.inert import inert_json
from hub.bundles.command import operator_account
from hub.db import Database
from hub.errors import Conflict, Invalid
from hub.keys import HubKeys
from hub.settings import write_new
from hub.witnesses.queries import load_witnesses
from hub.witnesses.rootsheet import load_sheet, render_sheet
from hub.witnesses.service import accept_station, add_witness, set_policy


def list_witnesses(db: Database, arguments: argparse.Namespace) -> None:
    """Print witnesses, offers, alarms."""
    found = load_witnesses(db)
    if arguments.json:
        print(inert_json(dataclasses.asdict(found), default=str))
        return
    policy = "none set" if found.needed is None else f"{found.needed} of {len(found.current)}"
    print(f"策略 / policy: {policy}\n已见证 / witnessed: {found.witnessed_size}")
    for row in found.current:
        where = row.url or (f"station {row.station}" if row.station else "asks by itself")
        print(
            f"{row.label}\t{where}\t{row.last_size}\t落后 / behind {row.behind}\t{row.alarm or '-'}\n  {row.key_line}"
        )
    for name, line in found.offered:
        print(f"待确认 / offered by station {name}:\n  {line}")
    for alarm in found.alarms:
        print(f"告警 / ALARM {alarm.name}: {alarm.code}, {alarm.size}, {alarm.at.isoformat()}")
    for name in found.refusing_stations:
        print(f"告警 / ALARM station {name} refuses this log")


def change(db: Database, keys: HubKeys, arguments: argparse.Namespace) -> dict[str, Any]:
    """Do what the words ask for. Raises DomainError."""
    operator = operator_account()
    match arguments.what:
        case "accept":
            return {"witness": accept_station(db, keys, arguments.station, operator)}
        case "add":
            return {"witness": add_witness(db, keys, arguments.key, operator, url=arguments.url)}
        case "policy":
            set_policy(db, keys, arguments.needed, operator)
            return {"needed": arguments.needed}
    raise Invalid(f"unknown: {arguments.what}")


def write_root_sheet(db: Database, keys: HubKeys, target: Path) -> dict[str, Any]:
    """Write the sheet as one HTML file. Raises Conflict rather than replace a file, Invalid."""
    sheet = load_sheet(db, keys.log.verify_key.line)
    try:
        write_new(target, render_sheet(sheet), 0o644)
    except FileExistsError:
        raise Conflict(f"{target} 已存在，不会覆盖。 / {target} exists and is never overwritten.") from None
    except OSError as error:
        raise Invalid(f"无法写入 {target}。 / {target} cannot be written: {error}") from None
    return {"sheet": str(target), "witnessed": sheet.witnessed, "cosigners": list(sheet.cosigners)}
