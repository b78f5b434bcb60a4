"""`dock-hub`: the command line. Parse, call, print, exit."""

from __future__ import annotations

import argparse
import dataclasses
import json
import logging
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from hub import log
from hub.access import Role
from hub.commandhelp import complete
from hub.db import Database, open_database
from hub.errors import HubError, Invalid, LogUntrusted, NotFound
from hub.keychanges.command import ACCOUNT_HELP, APPROVE_HELP, approve_change, key_lines, person, rotate
from hub.keychanges.service import finish_changes, list_changes
from hub.keys import ROLES, HubKeys, create_keys, load_keys
from hub.logcheck import check_and_keep, check_start
from hub.logfaults import FAULTS, INDEX_FAULTS, IndexWrong
from hub.mark import look_outside
from hub.migrations import check_schema, migrate
from hub.settings import Settings, load_settings, make_settings, write_settings
from hub.times import now_utc

EXIT_CODES = """exit codes:
  0  done
  1  the request cannot be met; nothing was changed
  2  the command line is wrong
  3  settings, keys or database cannot be used
  4  the log cannot be trusted; nothing was signed
  5  the log is sound, but index rows do not follow from it: `dock-hub reindex`
  6  the log is read-only, behind what others hold of it: `dock-hub restore status`
"""

EXPORT_HELP = """\
Export recordings with everything that proves them, as a BagIt folder that `custody verify` checks offline.

--to FILE.iso makes an image to burn instead of a folder; it needs the program xorriso, and room for both meanwhile.

The hub holds no footage: name the vault of each station concerned, mounted or on this computer, by --footage. Every
file is proved against its seal while it is copied and once more from the target's disk. Before the first byte is copied
the export is stated in the audit log, with recipient, reason and the account that runs this command; when it ends, how.

This is an operator's command: it does not ask a second person yet. Whoever may run it on the hub's computer can export;
the audit log shows it. Interrupted, the same command goes on; nothing is ever overwritten.

  dock-hub export --dir /var/lib/custodock-hub 1042 1043 --footage /mnt/dock-1/vault --to /media/disc/case-17 \\
      --recipient "区法院" --reason "(2026) 17 号案件调取"
  dock-hub export --dir … --period 2026-03-01 2026-03-07 --camera cam-7 --footage … --to … --recipient … --reason …"""


LOG_EXPORT_HELP = """\
Hand out log entries as a file, or the whole log as a folder that anybody can check.

jsonl: one object a line: index, received_at, envelope (base64, the exact bytes), event. csv: for people and their
spreadsheets. --tiles: a static C2SP tlog-tiles tree (checkpoint, tile/…, tile/entries/…), see custody/spec/tiles.md;
the same command again adds what is new. Every export is stated in the log before its first byte, with this account.

  dock-hub log export --dir /var/lib/custodock-hub --to march.csv --format csv --period 2026-03-01 2026-03-31
  dock-hub log export --dir /var/lib/custodock-hub --to - --from 120000 | gzip > tail.jsonl.gz
  dock-hub log export --dir /var/lib/custodock-hub --tiles /srv/mirror/log"""

BACKUP_HELP = """\
Write a backup while the hub runs: a folder, or one file if the name ends in .tar. It gets its name once it was checked.

It holds the database (as SQLite, whatever engine the hub has), the settings and a manifest with digests; the private
keys only with --with-keys. Without them nobody can restore: keep them once, offline, apart from the nightly backups.
What comes after the backup is not lost: stations keep it (`dock-hub restore --help`). Nothing is ever replaced.

  dock-hub backup --dir /var/lib/custodock-hub --to /backup/hub-$(date +%F).tar --quiet"""

KEYS_WARNING = (
    "注意：备份中含有未加密的私钥，得到它的人可以伪造日志；请离线保管，或使用 --passphrase-file。 / "
    "Note: this backup holds the private keys as they are; whoever gets it can forge the log. Keep it offline, or give "
    "--passphrase-file."
)

WITNESS_HELP = """\
Accept witnesses of the audit log, and set how many make a checkpoint witnessed.

A witness cosigns what it was proven to extend everything it saw before. Stations witness by themselves: each states its
witness key in its own signed chain, and `witness list` shows it. Compare it with what `dock-agent witness --dir DIR`
prints on the station itself, then accept it. A leader's or auditor's computer runs `custody witness`; take its key line
from that person, not from the network. Put at least one witness where the hub's administrator has no account.

  dock-hub witness list --dir DIR
  dock-hub witness accept dock-7 --dir DIR                          a station's key, as it offered it
  dock-hub witness add KEYLINE --url http://10.1.2.3:8450 --dir DIR   a computer that the hub asks
  dock-hub witness add KEYLINE --dir DIR                            a computer that asks the hub (custody witness pull)
  dock-hub witness policy 2 --dir DIR                               two of them make a checkpoint witnessed"""
CHECK_HELP = (
    "Derive everything again from the entries and compare.\n"
    "Entries, signatures, chains, tiles, checkpoints, state, stations, accounts and every index row; stops at the\n"
    "first wrong item and names it; --json gives fault and item. Meant for every night.\n"
    "\nfaults of the log (exit 4):\n"
    + "".join(f"  {code:20} {en}\n" for code, (_, en) in FAULTS.items())
    + "faults of the index (exit 5):\n"
    + "".join(f"  {code:20} {en}\n" for code, (_, en) in INDEX_FAULTS.items())
)


def main(argv: Sequence[str] | None = None) -> None:
    """Entry of `dock-hub`; ends the process with one of `EXIT_CODES`."""
    words = list(sys.argv[1:] if argv is None else argv)
    if words[:1] == ["broker"]:
        from hub.broker import main as broker  # noqa: PLC0415 (it parses its own words)

        return broker(words[1:])
    arguments = _parser().parse_args(words)
    logging.basicConfig(level=logging.INFO, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s %(message)s")
    logging.getLogger("alembic").setLevel(logging.WARNING)
    try:
        arguments.run(arguments)
    except HubError as error:
        if arguments.json:
            found = {"fault": error.fault, "item": error.item} if isinstance(error, LogUntrusted | IndexWrong) else {}
            print(json.dumps({"error": error.code, **found, "detail": str(error)}, ensure_ascii=False))
        print(f"dock-hub: {error}", file=sys.stderr)
        sys.exit(error.exit_code)


# --- commands ---


def _init(arguments: argparse.Namespace) -> None:
    directory: Path = arguments.dir
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    hub_id = arguments.id or f"hub-{now_utc():%Y%m%d-%H%M%S}"
    given = {"hub_id": hub_id, "database": arguments.database}
    settings = make_settings(directory, {name: value for name, value in given.items() if value})
    try:
        # keys first: hub.toml marks a hub that is ready, so a crash in between is repeated, not half used
        keys = create_keys(settings.keys_directory, hub_id)
        database = _open(settings)
        migrate(database)
        with database.begin() as tx:
            log.create(tx, keys, now_utc())
        write_settings(settings)
    except FileExistsError as error:
        raise Invalid(f"{error.filename} exists: this directory holds a hub already; choose an empty one") from None
    _print(arguments, {"hub_id": hub_id, "directory": str(directory)} | key_lines(keys))


def _keys(arguments: argparse.Namespace) -> None:
    settings = _settings(arguments)
    _print(arguments, key_lines(load_keys(settings.keys_directory, settings.hub_id)))


def _key(work: Callable[[argparse.Namespace, Settings, HubKeys, Database], dict[str, Any]]) -> Any:
    return lambda arguments: _print(arguments, work(arguments, *_opened(arguments)))


def _key_list(arguments: argparse.Namespace) -> None:
    rows = list_changes(_opened(arguments)[2])
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
    for row in () if arguments.json else rows:
        state = f"rotated {row['rotated_at']} by {row['approved_by']}" if row["approved_by"] else "waits for approval"
        print(f"{row['id']}\t{row['role']}\t{row['requested_by']}\t{state}")


def _station_freeze(arguments: argparse.Namespace) -> None:
    from hub.stations.service import freeze_station  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    freeze_station(database, keys, person(arguments, database, keys), arguments.station, arguments.reason)
    _print(arguments, {"station": arguments.station, "frozen": True})


def _station_add(arguments: argparse.Namespace) -> None:
    from hub.stations.service import enrol_station  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    _print(arguments, {"station": enrol_station(database, keys, arguments.key)})


def _station_list(arguments: argparse.Namespace) -> None:
    from hub.stations.queries import list_stations  # noqa: PLC0415

    rows = [dataclasses.asdict(row) for row in list_stations(_opened(arguments)[2])]
    if arguments.json:
        print(json.dumps(rows, ensure_ascii=False))
    for row in () if arguments.json else rows:
        state = f"FROZEN: {row['frozen_reason']}" if row["frozen_at"] else "online" if row["online"] else "offline"
        print(f"{row['id']}\tseq {row['last_seq']}\t{state}")


def _station_show(arguments: argparse.Namespace) -> None:
    from hub.stations.queries import show_station  # noqa: PLC0415

    _print(arguments, dataclasses.asdict(show_station(_opened(arguments)[2], arguments.station)))


def _user_add(arguments: argparse.Namespace) -> None:
    from hub.accounts.service import create_account  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    role = "administrator" if arguments.admin else arguments.role
    password = create_account(database, keys, arguments.name, role)
    _print(arguments, {"account": arguments.name, "role": role, "password": password})


def _run(arguments: argparse.Namespace) -> None:
    from hub.service import run  # noqa: PLC0415 (loads the web server)

    run(_settings(arguments))


def _log_check(arguments: argparse.Namespace) -> None:
    settings, keys, database = _opened(arguments, trusted=False)
    if arguments.quick:
        with database.read() as connection:
            report = check_start(connection, keys, settings.utc_offset_minutes)
    else:
        report = check_and_keep(database, keys, settings.utc_offset_minutes)
    _print(arguments, {"size": report.size, "root": report.root.hex(), "envelopes_checked": report.checked})


def _log_show(arguments: argparse.Namespace) -> None:
    from hub.logqueries import show_entries  # noqa: PLC0415

    with _opened(arguments)[2].read() as connection:
        for entry in show_entries(connection, arguments.start, arguments.limit):
            print(json.dumps(dataclasses.asdict(entry), ensure_ascii=False))


def _log_proof(arguments: argparse.Namespace) -> None:
    from hub.logqueries import make_proof  # noqa: PLC0415

    with _opened(arguments)[2].read() as connection:
        try:
            proof = make_proof(connection, arguments.index)
        except ValueError as error:
            raise NotFound(str(error)) from None
    if arguments.json:
        _print(arguments, {"index": proof.index, "hashes": [h.hex() for h in proof.hashes], "checkpoint": proof.note})
    else:
        print(proof.text, end="")


def _log_root_sheet(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import write_root_sheet  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    _print(arguments, write_root_sheet(database, keys, arguments.out.absolute()))


def _witness_list(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import list_witnesses  # noqa: PLC0415

    list_witnesses(_opened(arguments)[2], arguments)


def _witness_change(arguments: argparse.Namespace) -> None:
    from hub.witnesses.command import change  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    _print(arguments, change(database, keys, arguments))


def _export(arguments: argparse.Namespace) -> None:
    from hub.bundles.command import export  # noqa: PLC0415
    from hub.timestamps import load_authority  # noqa: PLC0415

    settings, keys, database = _opened(arguments)
    authority = load_authority(settings.timestamp_url, settings.timestamp_ca)
    _print(arguments, dataclasses.asdict(export(database, keys, arguments, authority)))


def _log_export(arguments: argparse.Namespace) -> None:
    from hub.audit.command import export as export_log  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    done = export_log(database, keys, arguments)
    if done is not None:
        _print(arguments, done)


def _reader_add(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import add_reader  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    _print(arguments, {"reader": arguments.name, "token": add_reader(database, keys, arguments.name)})


def _reader_list(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import list_readers  # noqa: PLC0415

    rows = list_readers(_opened(arguments)[2])
    if arguments.json:
        print(json.dumps([dataclasses.asdict(row) for row in rows], ensure_ascii=False))
    for row in () if arguments.json else rows:
        print(f"{row.name}\t{row.created_at}\t{f'revoked {row.revoked_at}' if row.revoked_at else 'good'}")


def _reader_revoke(arguments: argparse.Namespace) -> None:
    from hub.audit.readers import revoke_reader  # noqa: PLC0415

    _, keys, database = _opened(arguments)
    revoke_reader(database, keys, arguments.name)
    _print(arguments, {"reader": arguments.name, "revoked": True})


def _backup(arguments: argparse.Namespace) -> None:
    from hub.backup import back_up  # noqa: PLC0415
    from hub.restore.command import read_passphrase  # noqa: PLC0415

    settings, keys, database = _opened(arguments)
    passphrase = read_passphrase(arguments.passphrase_file)
    if arguments.with_keys and passphrase is None:
        print(KEYS_WARNING, file=sys.stderr)
    manifest = back_up(
        settings, database, keys, arguments.to,
        with_keys=arguments.with_keys, passphrase=passphrase, quick=arguments.quick,
    )  # fmt: skip
    if not arguments.quiet:
        told = dataclasses.asdict(manifest)
        _print(arguments, {"backup": str(arguments.to)} | {k: told[k] for k in ("size", "created_at", "keys", "log")})


def _restore_begin(arguments: argparse.Namespace) -> None:
    from hub.restore.command import begin_restore  # noqa: PLC0415

    begin_restore(arguments, _print)


def _restore_add(arguments: argparse.Namespace) -> None:
    from hub.restore.command import add_to_restore  # noqa: PLC0415

    add_to_restore(arguments, _opened, _print)


def _restore_status(arguments: argparse.Namespace) -> None:
    from hub.restore.command import show_restore  # noqa: PLC0415

    show_restore(arguments, _opened)


def _restore_finish(arguments: argparse.Namespace) -> None:
    from hub.restore.command import finish_restore  # noqa: PLC0415

    finish_restore(arguments, _opened, _print)


def _user_password(arguments: argparse.Namespace) -> None:
    from hub.accounts.service import give_first_password  # noqa: PLC0415

    _, _, database = _opened(arguments)
    _print(arguments, {"account": arguments.name, "password": give_first_password(database, arguments.name)})


def _reindex(arguments: argparse.Namespace) -> None:
    from hub.reindex import reindex  # noqa: PLC0415

    settings, _, database = _opened(arguments)
    _print(arguments, {"entries": reindex(database, settings.utc_offset_minutes)})


# --- what the commands share ---


def _settings(arguments: argparse.Namespace) -> Settings:
    names = ("database", "host", "port", "mqtt", "mqtt_ca", "mqtt_cert", "mqtt_key")
    given = {name: getattr(arguments, name, None) for name in names}
    if replica := getattr(arguments, "replica", None):
        given |= {"replica": True, "mqtt_client_id": replica}
    return load_settings(arguments.dir, **given)


def _opened(arguments: argparse.Namespace, *, trusted: bool = True) -> tuple[Settings, HubKeys, Database]:
    """Settings, keys and a database of exactly this version's schema.

    A log that is older than this hub's newest checkpoint is closed first; unless `trusted`, for the check finds out.
    """
    settings = _settings(arguments)
    database = _open(settings)
    with database.read() as connection:
        check_schema(connection)
    keys = finish_changes(database, settings.keys_directory, settings.hub_id)
    if trusted:
        look_outside(settings, database, keys, keep=False)
    return settings, keys, database


def _open(settings: Settings) -> Database:
    try:
        return open_database(settings.database_url)
    except ValueError as error:
        raise Invalid(str(error)) from None


def _print(arguments: argparse.Namespace, answer: dict[str, Any]) -> None:
    if arguments.json:
        print(json.dumps(answer, ensure_ascii=False))
    else:
        for name, value in answer.items():
            print(f"{name}: {value}")


def _command(group: Any, name: str, run: Callable[[argparse.Namespace], None], text: str) -> argparse.ArgumentParser:
    """A command with what all of them take; its help begins with the first line of `text`."""
    raw = argparse.RawDescriptionHelpFormatter
    made: argparse.ArgumentParser = group.add_parser(
        name, help=text.partition("\n")[0], description=text, formatter_class=raw, epilog=EXIT_CODES
    )
    made.add_argument("--dir", type=Path, required=True, help="the hub's directory: hub.toml, keys, database")
    made.add_argument("--json", action="store_true", help="print the result as JSON")
    made.set_defaults(run=run)
    complete(made)
    return made


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="dock-hub",
        formatter_class=raw,
        epilog=EXIT_CODES,
        description="The hub of Custodock: takes in what stations sign, keeps the audit log, serves the pages.\n"
        "First `dock-hub init --dir DIR`, then `dock-hub user add NAME --admin --dir DIR`,\n"
        "then `dock-hub run --dir DIR`. Each command explains itself, with examples: `dock-hub COMMAND --help`.\n"
        "中心：接收采集站签名的事件，保管审计日志，提供网页。",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    init = _command(commands, "init", _init, "Make a new hub: keys, database, settings.")
    init.add_argument("--database", help="postgresql://…; default: SQLite in DIR")
    init.add_argument("--id", help="name of this hub within its key names, for ever; default: from the time")

    text = "Print the hub's public key lines: to enrol stations, and on paper for whoever verifies without trusting us."
    _command(commands, "keys", _keys, text)

    _add_keys(commands)
    stations = commands.add_parser("station", help="enrol and list stations").add_subparsers(required=True)
    add = _command(stations, "add", _station_add, "Enrol a station by the key line that `dock-agent enrol` printed.")
    add.add_argument("key", metavar="KEYLINE", help="name+hash+base64; the name becomes the station's id")
    _command(stations, "list", _station_list, "List the enrolled stations.")
    show = _command(stations, "show", _station_show, "Show one station.")
    show.add_argument("station", metavar="STATION", help="its id, as `dock-hub station list` shows it")
    text = (
        "Take nothing more from a station, for instance because its key was stolen. One person may; the log keeps it."
    )
    freeze = _command(stations, "freeze", _station_freeze, text)
    freeze.add_argument("station", metavar="STATION", help="its id, as `dock-hub station list` shows it")
    freeze.add_argument("--reason", required=True, help="goes into the audit log; no names of people")
    freeze.add_argument("--account", required=True, help=ACCOUNT_HELP)

    users = commands.add_parser("user", help="accounts of people").add_subparsers(required=True)
    user = _command(users, "add", _user_add, "Create an account and print its first password, to be changed at once.")
    user.add_argument("name", metavar="NAME", help="with which the person signs in")
    user.add_argument("--admin", action="store_true", help="an administrator, who runs the hub and sees no footage")
    user.add_argument("--role", default="officer", help=f"{', '.join(Role)} (default officer)")

    text = "Give an account a new first password and end its sessions. Needed after a restore: no log holds passwords."
    _command(users, "password", _user_password, text).add_argument("name", metavar="NAME", help="the account")

    run = _command(commands, "run", _run, "Run the hub until SIGTERM. Migrates the database and checks the log first.")
    run.add_argument("--host", help="address of the pages (default 127.0.0.1; TLS is the reverse proxy's)")
    run.add_argument("--port", type=int, help="port of the pages (default 8080)")
    run.add_argument("--database", help="overrides hub.toml")
    run.add_argument("--mqtt", help="mqtt://host:port or mqtts://host:port of the broker")
    run.add_argument("--ca", dest="mqtt_ca", help="PEM: the authority of the broker's certificate (mqtts)")
    run.add_argument("--cert", dest="mqtt_cert", help="PEM: the hub's client certificate (mqtts)")
    run.add_argument("--key", dest="mqtt_key", help="PEM: its private key (mqtts)")
    run.add_argument("--replica", metavar="NAME", help="one of several hub processes on one PostgreSQL, by this name")

    _add_log(commands)
    _add_witnesses(commands)
    _add_export(commands)
    _add_backup(commands)
    _command(commands, "reindex", _reindex, "Rebuild every index row from the log. Intake waits meanwhile.")
    commands.add_parser("broker", help="run the embedded MQTT broker on loopback; see `dock-hub broker --help`")
    return parser


def _add_keys(commands: Any) -> None:
    changes = commands.add_parser("key", help="rotate the hub's keys, by two people").add_subparsers(required=True)
    ask = _command(changes, "rotate", _key(rotate), "Ask for a new key; another account approves it.")
    ask.add_argument("role", choices=ROLES, help="which of the hub's keys")
    approve = _command(changes, "approve", _key(approve_change), APPROVE_HELP)
    approve.add_argument("change", metavar="CHANGE", help="as `key rotate` printed it")
    for one in (ask, approve):
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)
    _command(changes, "list", _key_list, "List rotations and requests.")


def _add_log(commands: Any) -> None:
    logs = commands.add_parser("log", help="check, show and prove log entries").add_subparsers(required=True)
    check = _command(logs, "check", _log_check, CHECK_HELP)
    check.add_argument("--quick", action="store_true", help="only what `run` checks at its start")
    entries = _command(logs, "show", _log_show, "Print log entries, one JSON object per line.")
    entries.add_argument("--start", type=int, default=0, metavar="INDEX", help="the first entry (default 0)")
    entries.add_argument("--limit", type=int, default=50, metavar="N", help="so many at most (default 50)")
    proof = _command(logs, "proof", _log_proof, "Print a C2SP tlog-proof of one entry, to hand out.")
    proof.add_argument("index", type=int, metavar="INDEX", help="the entry's number, as pages and `log show` give it")
    _add_log_export(logs)
    text = "Write the log's root as one sheet to print, with a QR code: HTML, for A4."
    sheet = _command(logs, "root-sheet", _log_root_sheet, text)
    sheet.add_argument("--out", type=Path, required=True, metavar="FILE.html", help="must not exist")
    readers = logs.add_parser("reader", help="programs that may read entries").add_subparsers(required=True)
    text = "Admit a program that reads log entries, and print its token: it is shown this once."
    _command(readers, "add", _reader_add, text).add_argument("name", metavar="NAME", help="a name for the log's book")
    _command(readers, "list", _reader_list, "List the programs that may read log entries.")
    text = "End a program's token, at once and for good."
    revoke = _command(readers, "revoke", _reader_revoke, text)
    revoke.add_argument("name", metavar="NAME", help="as `dock-hub log reader list` shows it")


def _add_log_export(logs: Any) -> None:
    export = _command(logs, "export", _log_export, LOG_EXPORT_HELP)
    export.add_argument("--to", type=Path, metavar="FILE|-", help="file to make, which must not exist; -: stdout")
    export.add_argument("--tiles", type=Path, metavar="FOLDER", help="make or continue a mirror in this folder")
    export.add_argument("--format", choices=["jsonl", "csv"], default="jsonl", help="of --to (default jsonl)")
    export.add_argument("--lang", choices=["zh", "en"], default="zh", help="of csv (default zh)")
    export.add_argument("--from", type=int, default=0, dest="start", metavar="INDEX", help="entries from this index on")
    export.add_argument("--type", default="", help="only this kind, such as docking.closed.v1")
    for name in ("source", "camera", "recording", "account"):
        export.add_argument(f"--{name}", default="", help=f"only of this {name}")
    export.add_argument("--period", nargs=2, metavar=("FROM", "TO"), help="only received on these days, YYYY-MM-DD")


def _add_backup(commands: Any) -> None:
    from hub.restore.command import BEGIN_HELP, FINISH_HELP  # noqa: PLC0415

    opens = "file whose first line opens the keys of the backup"
    backup = _command(commands, "backup", _backup, BACKUP_HELP)
    backup.add_argument("--to", type=Path, required=True, metavar="DIR|FILE.tar", help="must not exist")
    backup.add_argument("--with-keys", action="store_true", help="the private keys too; see above")
    backup.add_argument("--passphrase-file", type=Path, metavar="FILE", help=opens)
    backup.add_argument("--quick", action="store_true", help="check the copy as a start does, not all of it")
    backup.add_argument("--quiet", action="store_true", help="print nothing when all went well: for a timer")

    restore = commands.add_parser("restore", help="bring a hub back and refill its log").add_subparsers(required=True)
    begin = _command(restore, "begin", _restore_begin, BEGIN_HELP)
    begin.add_argument("backup", type=Path, metavar="BACKUP", help="the folder or .tar that `dock-hub backup` made")
    begin.add_argument("--keys", type=Path, metavar="DIR", help="folder with log.pem, receipts.pem, events.pem")
    begin.add_argument("--passphrase-file", type=Path, metavar="FILE", help=opens)
    begin.add_argument("--database", help="postgresql://… of an empty database; default: SQLite in DIR")
    add = _command(restore, "add", _restore_add, "Put in what people bring: checkpoints and mirrors of the log.")
    add.add_argument("--checkpoint", type=Path, action="append", default=[], metavar="FILE", help="a signed note")
    text = "a mirror: entry bundles below tile/entries, C2SP tlog-tiles"
    add.add_argument("--entries", type=Path, action="append", default=[], metavar="DIR", help=text)
    _command(restore, "status", _restore_status, "What is missing, of whom, who was asked when, and what to do.")
    finish = _command(restore, "finish", _restore_finish, FINISH_HELP)
    finish.add_argument("--without", action="append", default=[], metavar="STATION", help="a station that is lost")


def _add_witnesses(commands: Any) -> None:
    raw = argparse.RawDescriptionHelpFormatter
    witnesses = commands.add_parser(
        "witness", help="accept witnesses of the log", description=WITNESS_HELP, formatter_class=raw
    ).add_subparsers(required=True, dest="what")
    _command(witnesses, "list", _witness_list, "List witnesses, keys that stations offer, and alarms.")
    text = "Accept the witness key that a station offered in its own chain."
    _command(witnesses, "accept", _witness_change, text).add_argument(
        "station", metavar="STATION", help="whose key, as `dock-hub witness list` shows it"
    )
    add = _command(witnesses, "add", _witness_change, "Accept a witness by the key line that its keeper gave you.")
    add.add_argument("key", metavar="KEYLINE", help="name+hash+base64, as `custody witness init` printed it")
    add.add_argument("--url", help="where `custody witness run` answers; without it, the witness asks by itself")
    remove = _command(witnesses, "remove", _witness_change, "Let a witness count no more.")
    remove.add_argument("name", metavar="NAME", help="as `dock-hub witness list` shows it")
    policy = _command(witnesses, "policy", _witness_change, "Set how many witnesses make a checkpoint witnessed.")
    policy.add_argument("needed", metavar="N", type=int, help="so many witnesses; 0: none is asked for")


def _add_export(commands: Any) -> None:
    export = _command(commands, "export", _export, EXPORT_HELP)
    export.add_argument("recordings", metavar="RECORDING", type=int, nargs="*", help="log index of a recording's seal")
    export.add_argument("--period", nargs=2, metavar=("FROM", "TO"), help="all recordings of these days, YYYY-MM-DD")
    export.add_argument("--camera", default="", help="with --period: of this camera only")
    export.add_argument("--station", default="", help="with --period: of this station only")
    export.add_argument(
        "--footage",
        type=Path,
        action="append",
        required=True,
        metavar="VAULT",
        help="a station's vault; may be repeated",
    )
    export.add_argument(
        "--to", type=Path, required=True, metavar="DIR|FILE.iso", help="the bundle to make; must not exist"
    )
    export.add_argument("--recipient", required=True, help="who gets it; goes into the audit log")
    export.add_argument("--reason", required=True, help="why; goes into the audit log")


if __name__ == "__main__":
    main()
