"""`dock-hub station`: who may send evidence."""

from __future__ import annotations

import argparse
import dataclasses
from typing import Any

from hub.cli.shared import ACCOUNT_HELP, command, opened, show, show_rows
from hub.keychanges.command import person

ADD_HELP = """\
Enrol a station by the key line that `dock-agent enrol` printed: for the first station, and for trying the hub.

One person does it and no code is compared; the log says so. In a bureau two administrators enrol a station on the page
"Stations": one enters the key line, the other the code that the dock shows."""


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    stations = commands.add_parser("station", help="enrol and list stations").add_subparsers(required=True)
    add = command(stations, "add", _station_add, ADD_HELP)
    add.add_argument("key", metavar="KEYLINE", help="name+hash+base64; the name becomes the station's id")
    command(stations, "list", _station_list, "List the enrolled stations.")
    one = command(stations, "show", _station_show, "Show one station.")
    one.add_argument("station", metavar="STATION", help="its id, as `dock-hub station list` shows it")
    text = (
        "Take nothing more from a station, for instance because its key was stolen. One person may; the log keeps it."
    )
    freeze = command(stations, "freeze", _station_freeze, text)
    freeze.add_argument("station", metavar="STATION", help="its id, as `dock-hub station list` shows it")
    freeze.add_argument("--reason", required=True, help="goes into the audit log; no names of people")
    freeze.add_argument("--account", required=True, help=ACCOUNT_HELP)
    text = (
        "Ask that a station's key count no more, because it was stolen; another account approves it. Freeze it first."
    )
    revoke = command(stations, "revoke", _station_revoke, text)
    revoke.add_argument("station", metavar="STATION", help="its id, as `dock-hub station list` shows it")
    revoke.add_argument("--reason", required=True, help="goes into the audit log; no names of people")
    revoke.add_argument(
        "--from-seq", type=int, metavar="N", help="its events from this one on are in doubt; default: none"
    )
    text = "Approve a revocation: nothing of this station is taken in any more, and whoever verifies learns it."
    approve = command(stations, "approve-revocation", _station_approve, text)
    approve.add_argument("change", metavar="CHANGE", help="as `station revoke` printed it")
    for one in (revoke, approve):
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)


def _station_add(arguments: argparse.Namespace) -> None:
    from hub.bundles.command import operator_account  # noqa: PLC0415
    from hub.stations.service import enrol_station  # noqa: PLC0415

    _, keys, database = opened(arguments)
    show(arguments, {"station": enrol_station(database, keys, arguments.key, operator_account())})


def _station_list(arguments: argparse.Namespace) -> None:
    from hub.stations.queries import list_stations  # noqa: PLC0415

    rows = [dataclasses.asdict(row) for row in list_stations(opened(arguments)[2])]
    show_rows(arguments, rows, _station_line)


def _station_line(row: dict[str, Any]) -> str:
    if row["revoked_at"]:
        return f"{row['id']}\tseq {row['last_seq']}\tREVOKED {row['revoked_at']}"
    state = f"FROZEN: {row['frozen_reason']}" if row["frozen_at"] else "online" if row["online"] else "offline"
    return f"{row['id']}\tseq {row['last_seq']}\t{state}"


def _station_show(arguments: argparse.Namespace) -> None:
    from hub.stations.queries import show_station  # noqa: PLC0415

    show(arguments, dataclasses.asdict(show_station(opened(arguments)[2], arguments.station)))


def _station_freeze(arguments: argparse.Namespace) -> None:
    from hub.stations.service import freeze_station  # noqa: PLC0415

    _, keys, database = opened(arguments)
    freeze_station(database, keys, person(arguments, database, keys), arguments.station, arguments.reason)
    show(arguments, {"station": arguments.station, "frozen": True})


def _station_revoke(arguments: argparse.Namespace) -> None:
    from hub.stations.revocation import request_revocation  # noqa: PLC0415

    _, keys, database = opened(arguments)
    actor = person(arguments, database, keys)
    change = request_revocation(database, keys, actor, arguments.station, arguments.reason, arguments.from_seq)
    show(arguments, {"change": change, "station": arguments.station})


def _station_approve(arguments: argparse.Namespace) -> None:
    from hub.stations.revocation import approve_revocation  # noqa: PLC0415

    _, keys, database = opened(arguments)
    name = approve_revocation(database, keys, person(arguments, database, keys), arguments.change)
    show(arguments, {"station": name, "revoked": True})
