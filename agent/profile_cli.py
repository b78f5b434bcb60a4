"""`dock-agent profile …`: its parser. What it calls is imported when it is called: an offload must not wait for it."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

SITE_FOLDER = "profiles"  # of the state directory: profiles that add to the built-in ones or replace them
TEST_EXITS = """\
exit codes:
  0  the card is recognised; with --profile: that profile comes first
  1  no profile of its own fits (it would be docked as generic); with --profile: another one comes first
  2  wrong usage, or a profile that cannot be used
  3  the card cannot be read, or holds no file system
  4  the card holds no files
"""


def add_profile(commands: Any) -> argparse.ArgumentParser:
    """The command and its three subcommands."""
    command: argparse.ArgumentParser = commands.add_parser(
        "profile",
        help="try camera profiles on a card, list and show them",
        description="Camera profiles say how a camera model is recognised and how its names are read. They do not "
        "decide what is docked: everything on a card is.",
        epilog="To add a camera model: agent/profiles/README.md",
    )
    below = command.add_subparsers(required=True, metavar="ACTION")
    test = below.add_parser(
        "test",
        help="which profile recognises a card, and what it reads from it",
        description="Look at CARD without changing it: which profile recognises it and why, what the others missed,\n"
        "which camera it is, how its names are read, sidecars, free space and charge source.",
        epilog=TEST_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument("card", type=Path, metavar="CARD", help="folder, card image, or block device (/dev/sdX)")
    test.add_argument("--profile", type=Path, metavar="FILE", help="a profile to try, beside the installed ones")
    test.set_defaults(call=_call, action="test")
    exits = "exit codes: 0 done; 2 wrong usage, or a profile that cannot be used"
    text = "List all profiles, built-in ones and the site's own."
    listing = below.add_parser("list", help="all profiles", description=text, epilog=exits)
    listing.set_defaults(call=_call, action="list")
    show = below.add_parser(
        "show",
        help="print a profile's TOML, to begin another from it",
        description="Print the TOML of profile NAME: a beginning for one of your own. For example: "
        "dock-agent profile show dcim > mine.toml",
        epilog=exits,
    )
    show.add_argument("name", metavar="NAME", help="as dock-agent profile list shows it")
    show.set_defaults(call=_call, action="show")
    for parser in (test, listing, show):
        parser.add_argument(
            "--dir", type=Path, metavar="DIR", help=f"state directory; its {SITE_FOLDER}/ holds the site's profiles"
        )
        parser.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
        )
    return command


def _call(args: argparse.Namespace) -> int:
    from agent import profile_calls  # noqa: PLC0415

    calls = {"test": profile_calls.test, "list": profile_calls.list_all, "show": profile_calls.show}
    return calls[args.action](args)
