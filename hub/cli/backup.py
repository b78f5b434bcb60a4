"""`dock-hub backup` and `restore`."""

from __future__ import annotations

import argparse
import dataclasses
import sys
from pathlib import Path
from typing import Any

from hub.cli.shared import command, opened, show

BACKUP_HELP = """\
Write a backup while the hub runs: a folder, or one file if the name ends in .tar. It gets its name once it was checked.

It holds the database (as SQLite, whatever engine the hub has), the settings and a manifest with digests; the private
keys only with --with-keys. Without them nobody can restore: keep them once, offline, apart from the nightly backups.
What comes after the backup is not lost: stations keep it (`dock-hub restore --help`). Nothing is ever replaced.

  dock-hub backup --dir /var/lib/custodock-hub --to /backup/hub-$(date +%F).tar --quiet"""


BEGIN_HELP = """\
Make a new hub directory from a backup. Its log is read-only until it is refilled.

Then `dock-hub run`: it serves pages, asks every station for what came after the backup, and goes on by itself once the
log is again what it was, up to the newest checkpoint that anybody holds. Until then it takes nothing in, signs nothing.
The whole procedure: deploy/docs/restore.md."""

FINISH_HELP = """\
Complete now, where no hub runs or a station will never answer.

--without STATION goes on although this station did not answer. What only it holds is then not in the log, and if it
holds a newer checkpoint, the log is forked as soon as it is back: only for a station that is destroyed. The log states
who was not waited for."""

KEYS_WARNING = (
    "注意：备份中含有未加密的私钥，得到它的人可以伪造日志；请离线保管，或使用 --passphrase-file。 / "
    "Note: this backup holds the private keys as they are; whoever gets it can forge the log. Keep it offline, or give "
    "--passphrase-file."
)


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    opens = "file whose first line opens the keys of the backup"
    backup = command(commands, "backup", _backup, BACKUP_HELP)
    backup.add_argument("--to", type=Path, required=True, metavar="DIR|FILE.tar", help="must not exist")
    backup.add_argument("--with-keys", action="store_true", help="the private keys too; see above")
    backup.add_argument("--passphrase-file", type=Path, metavar="FILE", help=opens)
    backup.add_argument("--quick", action="store_true", help="check the copy as a start does, not all of it")
    backup.add_argument("--quiet", action="store_true", help="print nothing when all went well: for a timer")

    restore = commands.add_parser("restore", help="bring a hub back and refill its log").add_subparsers(required=True)
    begin = command(restore, "begin", _restore_begin, BEGIN_HELP)
    begin.add_argument("backup", type=Path, metavar="BACKUP", help="the folder or .tar that `dock-hub backup` made")
    begin.add_argument("--keys", type=Path, metavar="DIR", help="folder with log.pem, receipts.pem, events.pem")
    begin.add_argument("--passphrase-file", type=Path, metavar="FILE", help=opens)
    begin.add_argument("--database", help="postgresql://… of an empty database; default: SQLite in DIR")
    add = command(restore, "add", _restore_add, "Put in what people bring: checkpoints and mirrors of the log.")
    add.add_argument("--checkpoint", type=Path, action="append", default=[], metavar="FILE", help="a signed note")
    text = "a mirror: entry bundles below tile/entries, C2SP tlog-tiles"
    add.add_argument("--entries", type=Path, action="append", default=[], metavar="DIR", help=text)
    command(restore, "status", _restore_status, "What is missing, of whom, who was asked when, and what to do.")
    finish = command(restore, "finish", _restore_finish, FINISH_HELP)
    finish.add_argument("--without", action="append", default=[], metavar="STATION", help="a station that is lost")


def _backup(arguments: argparse.Namespace) -> None:
    from hub.backup import back_up, note_backup  # noqa: PLC0415
    from hub.restore.command import read_passphrase  # noqa: PLC0415

    settings, keys, database = opened(arguments)
    passphrase = read_passphrase(arguments.passphrase_file)
    if arguments.with_keys and passphrase is None:
        print(KEYS_WARNING, file=sys.stderr)
    manifest = back_up(
        settings, database, keys, arguments.to,
        with_keys=arguments.with_keys, passphrase=passphrase, quick=arguments.quick,
    )  # fmt: skip
    note_backup(database, manifest.size)
    if not arguments.quiet:
        told = dataclasses.asdict(manifest)
        show(arguments, {"backup": str(arguments.to)} | {k: told[k] for k in ("size", "created_at", "keys", "log")})


def _restore_begin(arguments: argparse.Namespace) -> None:
    from hub.restore.command import begin_restore  # noqa: PLC0415

    begin_restore(arguments, show)


def _restore_add(arguments: argparse.Namespace) -> None:
    from hub.restore.command import add_to_restore  # noqa: PLC0415

    add_to_restore(arguments, opened, show)


def _restore_status(arguments: argparse.Namespace) -> None:
    from hub.restore.command import show_restore  # noqa: PLC0415

    show_restore(arguments, opened)


def _restore_finish(arguments: argparse.Namespace) -> None:
    from hub.restore.command import finish_restore  # noqa: PLC0415

    finish_restore(arguments, opened, show)
