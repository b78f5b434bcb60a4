"""The calls of `dock-agent profile …`: call, print, answer the exit code."""

from __future__ import annotations

import argparse
import json

from agent.devicefacts import device_facts, source_names
from agent.errors import Exit, SourceEmpty
from agent.examination import examine
from agent.inspection import inspect_source
from agent.profile_cli import SITE_FOLDER
from agent.profile_report import examination_json, examination_lines, profile_json, profile_line
from agent.profiles.loading import BUILT_IN, load_profile, load_profiles
from agent.profiles.profile import Profile
from agent.settings import invalid
from custody.inert import inert_json, inert_lines


def test(args: argparse.Namespace) -> int:
    """Look at a card and explain it. Raises AgentError."""
    asked = load_profile(args.profile) if args.profile else None
    profiles = {profile.name: profile for profile in _profiles(args)} | ({asked.name: asked} if asked else {})
    wanted = dict.fromkeys(glob for profile in profiles.values() for glob in profile.wanted_files)
    found = inspect_source(args.card, wanted)
    if not found.files and found.whole:
        raise SourceEmpty(
            "The card is readable and holds no file. Nothing was changed.", "存储卡可读，但没有任何文件。未作任何改动。"
        )
    facts = device_facts(source_names(args.card), [found.facts])
    seen = examine(tuple(profiles.values()), facts, found, asked)
    if args.json:
        print(inert_json(examination_json(seen, found)))
    else:
        print(inert_lines(examination_lines(seen, found)))
    return int(Exit.COMPLETE if seen.fits else Exit.INCOMPLETE)


def list_all(args: argparse.Namespace) -> int:
    """Print all profiles. Raises ProfileInvalid."""
    profiles = _profiles(args)
    if args.json:
        print(json.dumps([profile_json(profile) for profile in profiles], ensure_ascii=False))
    else:
        print("\n".join(map(profile_line, profiles)))
    return 0


def show(args: argparse.Namespace) -> int:
    """Print one profile's TOML. Raises SettingsInvalid."""
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
