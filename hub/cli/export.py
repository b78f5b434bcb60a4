"""`dock-hub export`: recordings with everything that proves them."""

from __future__ import annotations

import argparse
import dataclasses
from pathlib import Path
from typing import Any

from hub.cli.shared import command, opened, show

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
        required=True,
        metavar="VAULT",
        help="a station's vault; may be repeated",
    )
    export.add_argument(
        "--to", type=Path, required=True, metavar="DIR|FILE.iso", help="the bundle to make; must not exist"
    )
    export.add_argument("--recipient", required=True, help="who gets it; goes into the audit log")
    export.add_argument("--reason", required=True, help="why; goes into the audit log")


def _export(arguments: argparse.Namespace) -> None:
    from hub.bundles.command import export  # noqa: PLC0415
    from hub.timestamps import load_authority  # noqa: PLC0415

    settings, keys, database = opened(arguments)
    authority = load_authority(settings.timestamp_url, settings.timestamp_ca)
    show(arguments, dataclasses.asdict(export(database, keys, arguments, authority)))
