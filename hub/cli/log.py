"""`dock-hub log` and `reindex`: check, show, prove and hand out the log, rebuild what follows from it."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from custody.inert import inert_json
from hub.cli.shared import command, opened, show, show_rows
from hub.errors import NotFound
from hub.logcheck import check_and_keep, check_start
from hub.logfaults import FAULTS, INDEX_FAULTS

CHECK_HELP = (
    "Derive everything again from the entries and compare.\n"
    "Entries, signatures, chains, tiles, checkpoints, state, stations, accounts and every index row; stops at the\n"
    "first wrong item and names it; --json gives fault and item. Meant for every night.\n"
    "\nfaults of the log (exit 4):\n"
    + "".join(f"  {code:20} {en}\n" for code, (_, en) in FAULTS.items())
    + "faults of the index (exit 5):\n"
    + "".join(f"  {code:20} {en}\n" for code, (_, en) in INDEX_FAULTS.items())
)


LOG_EXPORT_HELP = """\
Hand out log entries as a file, or the whole log as a folder that anybody can check.

jsonl: one object a line: index, received_at, envelope (base64, the exact bytes), event. csv: for people and their
spreadsheets. --tiles: a static C2SP tlog-tiles tree (checkpoint, tile/…, tile/entries/…), see custody/spec/tiles.md;
the same command again adds what is new. Every export is stated in the log before its first byte, with this account.

  dock-hub log export --dir /var/lib/custodock-hub --to march.csv --format csv --period 2026-03-01 2026-03-31
  dock-hub log export --dir /var/lib/custodock-hub --to - --from 120000 | gzip > tail.jsonl.gz
  dock-hub log export --dir /var/lib/custodock-hub --tiles /srv/mirror/log"""


def add_to(commands: Any) -> None:
    """Declare the commands below `dock-hub log`."""
    logs = commands.add_parser("log", help="check, show and prove log entries").add_subparsers(required=True)
    check = command(logs, "check", _log_check, CHECK_HELP)
    check.add_argument("--quick", action="store_true", help="only what `run` checks at its start")
    entries = command(logs, "show", _log_show, "Print log entries, one JSON object per line.")
    entries.add_argument("--start", type=int, default=0, metavar="INDEX", help="the first entry (default 0)")
    entries.add_argument("--limit", type=int, default=50, metavar="N", help="so many at most (default 50)")
    proof = command(logs, "proof", _log_proof, "Print a C2SP tlog-proof of one entry, to hand out.")
    proof.add_argument("index", type=int, metavar="INDEX", help="the entry's number, as pages and `log show` give it")
    _add_export(logs)
    text = "Write the log's root as one sheet to print, with a QR code: HTML, for A4."
    sheet = command(logs, "root-sheet", _log_root_sheet, text)
    sheet.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="must not exist")
    readers = logs.add_parser("reader", help="programs that may read entries").add_subparsers(required=True)
    text = "Admit a program that reads log entries, and print its token: it is shown this once."
    command(readers, "add", _reader_add, text).add_argument("name", metavar="NAME", help="a name for the log's book")
    command(readers, "list", _reader_list, "List the programs that may read log entries.")
    text = "End a program's token, at once and for good."
    revoke = command(readers, "revoke", _reader_revoke, text)
    revoke.add_argument("name", metavar="NAME", help="as `dock-hub log reader list` shows it")


def _add_export(logs: Any) -> None:
    export = command(logs, "export", _log_export, LOG_EXPORT_HELP)
    export.add_argument("--to", type=Path, metavar="FILE|-", help="file to make, which must not exist; -: stdout")
    export.add_argument("--tiles", type=Path, metavar="FOLDER", help="make or continue a mirror in this folder")
    export.add_argument("--format", choices=["jsonl", "csv"], default="jsonl", help="of --to (default jsonl)")
    export.add_argument("--lang", choices=["zh", "en"], default="zh", help="of csv (default zh)")
    export.add_argument("--from", type=int, default=0, dest="start", metavar="INDEX", help="entries from this index on")
    export.add_argument("--type", default="", help="only this kind, such as docking.closed.v1")
    for name in ("source", "camera", "recording", "account"):
        export.add_argument(f"--{name}", default="", help=f"only of this {name}")
    export.add_argument("--period", nargs=2, metavar=("FROM", "TO"), help="only received on these days, YYYY-MM-DD")


def _log_check(arguments: argparse.Namespace) -> None:
    settings, keys, database = opened(arguments, trusted=False)
    if arguments.quick:
        with database.read() as connection:
            report = check_start(connection, keys, settings.utc_offset_minutes)
    else:
        report = check_and_keep(database, keys, settings.utc_offset_minutes)
    show(arguments, {"size": report.size, "root": report.root.hex(), "envelopes_checked": report.checked})


def _log_show(arguments: argparse.Namespace) -> None:
    from hub.logqueries import show_entries  # noqa: PLC0415

    with opened(arguments)[2].read() as connection:
        for entry in show_entries(connection, arguments.start, arguments.limit):
            print(inert_json(dataclasses.asdict(entry)))


def _log_proof(arguments: argparse.Namespace) -> None:
    from hub.logqueries import make_proof  # noqa: PLC0415

    with opened(arguments)[2].read() as connection:
        try:
            proof = make_proof(connection, arguments.index)
        except ValueError as error:
            raise NotFound(str(error)) from None
    if arguments.json:
        show(arguments, {"index": proof.index, "hashes": [h.hex() for h in proof.hashes], "checkpoint": proof.note})
    else:
        print(proof.text, end="")


def _log_export(arguments: argparse.Namespace) -> None:
    from hub.audit.command import export as export_log  # noqa: PLC0415

    _, keys, database = opened(arguments)
    done = export_log(database, keys, arguments)
    if done is not None:
        show(arguments, done)


def _log_root_sheet(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import write_root_sheet  # noqa: PLC0415

    _, keys, database = opened(arguments)
    show(arguments, write_root_sheet(database, keys, arguments.out.absolute()))


def _reader_add(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import add_reader  # noqa: PLC0415

    _, keys, database = opened(arguments)
    show(arguments, {"reader": arguments.name, "token": add_reader(database, keys, arguments.name)})


def _reader_list(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import list_readers  # noqa: PLC0415

    show_rows(arguments, [dataclasses.asdict(row) for row in list_readers(opened(arguments)[2])], _reader_line)


def _reader_line(row: dict[str, Any]) -> str:
    state = f"revoked {row['revoked_at']}" if row["revoked_at"] else "good"
    return f"{row['name']}\t{row['created_at']}\t{state}"


def _reader_revoke(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import revoke_reader  # noqa: PLC0415

    _, keys, database = opened(arguments)
    revoke_reader(database, keys, arguments.name)
    show(arguments, {"reader": arguments.name, "revoked": True})


def add_reindex_to(commands: Any) -> None:
    """Declare `dock-hub reindex`."""
    command(commands, "reindex", _reindex, "Rebuild every index row from the log. Intake waits meanwhile.")


def _reindex(arguments: argparse.Namespace) -> None:
    from hub.reindex import reindex  # noqa: PLC0415

    settings, _, database = opened(arguments)
    show(arguments, {"entries": reindex(database, settings.utc_offset_minutes)})
