"""`dock-agent profile …`: parse, call, print, exit."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from agent.devicefacts import device_facts
from agent.errors import Exit
from agent.inspection import inspect_source
from agent.profile_report import examination_json, examination_lines, profile_json, profile_line
from agent.profile_test import examine
from agent.profiles.loading import BUILT_IN, load_profile, load_profiles
from agent.profiles.profile import Profile
from agent.settings import invalid

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
        epilog="To add a camera model: agent/profiles/README.md. Start with: dock-agent profile test /path/to/card",
    )
    below = command.add_subparsers(required=True, metavar="ACTION")
    test = below.add_parser(
        "test",
        help="which profile recognises a card, and what it reads from it",
        description="Look at CARD without changing it: which profile recognises it and why, what the others missed, "
        "which camera it is, how its names are read, sidecars, free space and charge source.",
        epilog=TEST_EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    test.add_argument("card", type=Path, metavar="CARD", help="folder, card image, or block device (/dev/sdX)")
    test.add_argument("--profile", type=Path, metavar="FILE", help="a profile to try, beside the installed ones")
    test.set_defaults(call=_test)
    listing = below.add_parser("list", help="all profiles", description="List all profiles.")
    listing.set_defaults(call=_list)
    show = below.add_parser(
        "show",
        help="print a profile's TOML, to begin another from it",
        description="Print the TOML of profile NAME: a beginning for one of your own.",
    )
    show.add_argument("name", metavar="NAME")
    show.set_defaults(call=_show)
    for parser in (test, listing, show):
        parser.add_argument(
            "--dir", type=Path, metavar="DIR", help=f"state directory; its {SITE_FOLDER}/ holds the site's profiles"
        )
        parser.add_argument(
            "--json", action="store_true", default=argparse.SUPPRESS, help="print one JSON object instead of text"
        )
    return command


def _test(args: argparse.Namespace) -> int:
    asked = load_profile(args.profile) if args.profile else None
    profiles = {profile.name: profile for profile in _profiles(args)} | ({asked.name: asked} if asked else {})
    wanted = dict.fromkeys(glob for profile in profiles.values() for glob in profile.wanted_files)
    found = inspect_source(args.card, wanted)
    if not found.files and found.whole:
        message = ("存储卡上没有文件。", "The card holds no files.")
        print(json.dumps({"files": 0}) if args.json else "\n".join(message))
        return int(Exit.SOURCE_EMPTY)
    seen = examine(tuple(profiles.values()), device_facts(args.card, found.facts), found, asked)
    if args.json:
        print(json.dumps(examination_json(seen, found), ensure_ascii=False))
    else:
        print("\n".join(examination_lines(seen, found)))
    return int(Exit.COMPLETE if seen.fits else Exit.INCOMPLETE)


def _list(args: argparse.Namespace) -> int:
    profiles = _profiles(args)
    if args.json:
        print(json.dumps([profile_json(profile) for profile in profiles], ensure_ascii=False))
    else:
        print("\n".join(map(profile_line, profiles)))
    return 0


def _show(args: argparse.Namespace) -> int:
    profile = next((profile for profile in _profiles(args) if profile.name == args.name), None)
    if profile is None:
        raise invalid(
            f"there is no profile {args.name!r}; see: dock-agent profile list",
            f"没有名为 {args.name!r} 的配置；请运行 dock-agent profile list 查看",
        )
    folder = BUILT_IN if profile.built_in else args.dir / SITE_FOLDER
    text = (folder / f"{profile.name}.toml").read_text("utf-8")
    print(json.dumps(profile_json(profile) | {"toml": text}, ensure_ascii=False) if args.json else text, end="")
    if args.json:
        print()
    return 0


def _profiles(args: argparse.Namespace) -> tuple[Profile, ...]:
    return load_profiles(args.dir / SITE_FOLDER if args.dir else None)
