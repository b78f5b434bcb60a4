"""`dock-hub export`: recordings with everything that proves them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from hub.cli.shared import ACCOUNT_HELP, command, opened, show

EXPORT_HELP = """\
Export recordings with everything that proves them, as a BagIt folder that `custody verify` checks offline.

--to FILE.iso makes an image to burn instead of a folder; it needs the program xorriso, and room for both meanwhile.

The hub holds no footage: name the vault of each station concerned, mounted or on this computer, by --footage. Every
file is proved against its seal while it is copied and once more from the target's disk. Before the first byte is copied
the export is stated in the audit log, with recipient, reason and this account; when it ends, how.

Two people stand for every export. One asks for it, by --request or on the hub's page “Use of footage”; another one, an
approving leader, approves it there with a code of the authenticator, which gives the copy its number. Then --approved
makes one bundle of exactly that, within the days asked for (by --request: seven), unless the approval is revoked; the
bundle proves request, approval and number. Interrupted, the same command goes on; nothing is ever overwritten.

  dock-hub export --dir /var/lib/custodock-hub --request --account li 1042 1043 \\
      --recipient "区法院" --reason "(2026) 17 号案件调取"
  dock-hub export --dir … --request --account li --period 2026-03-01 2026-03-07 --camera cam-7 --recipient … --reason …
  dock-hub export --dir … --approved 0195f000-… --footage /mnt/dock-1/vault --to /media/disc/case-17"""


def add_to(commands: Any) -> None:
    """Declare the command of this module."""
    export = command(commands, "export", _export, EXPORT_HELP)
    export.add_argument("recordings", metavar="RECORDING", type=int, nargs="*", help="log index of a recording's seal")
    export.add_argument("--period", nargs=2, metavar=("FROM", "TO"), help="all recordings of these days, YYYY-MM-DD")
    export.add_argument("--camera", default="", help="with --period: of this camera only")
    export.add_argument("--station", default="", help="with --period: of this station only")
    export.add_argument(
        "--footage",
        type=Path,
        action="append",
        metavar="VAULT",
        help="a station's vault; may be repeated",
    )
    export.add_argument("--to", type=Path, metavar="DIR|FILE.iso", help="the bundle to make; must not exist")
    which = export.add_mutually_exclusive_group()
    which.add_argument(
        "--request", action="store_true", help="ask for it; another person approves it on the hub's page"
    )
    which.add_argument("--approved", metavar="REQUEST", help="make the bundle of this request")
    export.add_argument("--account", help=f"with --request: {ACCOUNT_HELP}")
    kinds = ("copy", "burn", "disclose")
    export.add_argument("--use", choices=kinds, default="copy", help="with --request: what it is for (Art. 17)")
    export.add_argument("--case", default="", help="with --request: number of the case file")
    export.add_argument("--recipient", default="", help="with --request: who gets it; goes into the audit log")
    export.add_argument("--reason", default="", help="with --request: why; goes into the audit log")


def _export(arguments: argparse.Namespace) -> None:
    from hub.bundles.command import ask, export  # noqa: PLC0415
    from hub.timestamps import load_authority  # noqa: PLC0415

    settings, keys, database = opened(arguments)
    if arguments.request:
        return show(arguments, ask(database, keys, arguments))
    authority = load_authority(settings.timestamp_url, settings.timestamp_ca)
    show(arguments, dataclasses.asdict(export(database, keys, arguments, authority)))
