"""`dock-agent bays|officer|camera`: setting up a dock's ports, who may take cameras, and which camera is which."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING, Any

from agent.source import parse_place

if TYPE_CHECKING:
    from agent.dock_calls import Change

EXITS = """\
exit codes: 0 done; 2 wrong usage or settings; 8 the station's own database cannot be trusted
"""


def add_bays(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent bays`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "bays",
        help="show which USB port is which while you plug",
        description="Shows every device at a USB port of this machine. Plug a camera into one bay after the other and "
        "write the ports into DIR/agent.toml:\n\n"
        '    [[bay]]\n    name = "1"\n    ports = ["0000:01:00.0-usb2-1.2", "0000:01:00.0-usb3-1.2"]\n\n'
        "A socket for USB 3 has two ports: a fast camera shows at the second one. --once (and --json) prints what is "
        "plugged in now and ends; without it the list follows until Ctrl-C.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("--dir", type=Path, help="also say which bay of DIR/agent.toml a port belongs to")
    command.add_argument("--once", action="store_true", help="print what is plugged in now and end")
    command.set_defaults(call=_bays)
    return command


def add_officer(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent officer`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "officer",
        help="list, add or disable officers who may take cameras",
        description="Officers take cameras at the dock's screen with their number and a PIN. Their names are shown "
        "there and never leave the station; events carry the number. Without a number: everybody this dock knows. "
        "With --name: add the officer, or give one a new name and PIN; the PIN is asked for, or read from standard "
        "input when that is no terminal. With --disable: this officer takes nothing more.",
        epilog=EXITS,
    )
    command.add_argument("number", nargs="?", help="service number")
    command.add_argument("--name", help="name shown on the dock's screen")
    command.add_argument("--disable", action="store_true", help="this officer takes no camera any more")
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")
    command.set_defaults(call=_officer)
    return command


def add_camera(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent camera`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "camera",
        help="list the cameras this dock has met, settle a disputed one, or set one aside",
        description="Without a camera: every camera this dock has met, and whether its identity is disputed (another "
        "device showed the same serial number). With --accept: you have compared the number on the body; the camera "
        "is taken as its next docking shows it. With --set-aside: its footage is docked as always, but it is not "
        "ready for duty, until --readmit.",
        epilog=EXITS,
    )
    command.add_argument("camera", nargs="?", help="name of the camera, as the dock shows it")
    what = command.add_mutually_exclusive_group()
    what.add_argument("--accept", action="store_true", help="its identity is settled")
    what.add_argument("--set-aside", metavar="WHY", help="not for duty, for this reason")
    what.add_argument("--readmit", action="store_true", help="for duty again")
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")
    command.set_defaults(call=_camera)
    return command


def add_witness(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent witness`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "witness",
        help="show what this station knows of the hub's log, or decide about one that contradicts itself",
        description="This station cosigns the hub's audit log and refuses one that was rolled back or forked. Without "
        "--clear: what it knows, and every contradiction with both signed notes. With --clear REASON: people have "
        "looked; the station goes on from the last checkpoint that was proven to it. With --clear REASON --anew: it "
        "forgets what it knew and takes the log's next checkpoint as the first; only after a restore whose loss is "
        "known and written down. Both are stated in the station's signed chain; the notes stay.",
        epilog=EXITS,
    )
    command.add_argument("--clear", metavar="REASON", help="settle every contradiction, for this reason")
    command.add_argument("--anew", action="store_true", help="with --clear: begin anew with the log as it is now")
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")
    command.set_defaults(call=_witness)
    return command


def add_rotate_key(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent rotate-key`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "rotate-key",
        help="replace this station's key by a new one",
        description="Makes a new key on this station. The old key states it in the station's own chain, and the hub "
        "takes the next event under the new one only; the old private key is gone then. Stop the agent first: it holds "
        "the vault. Hub and network need not be there. Interrupted, the next start finishes it. Once a year, and "
        "when somebody leaves who could read the key. A stolen key is a case for dock-hub station freeze: a thief "
        "can rotate too.",
        epilog="exit codes: 0 done; 1 not now, nothing was changed; 2 wrong usage or settings; 7 another dock-agent "
        "works in this vault; 8 the station's own key, database or disk cannot be trusted",
    )
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")
    command.set_defaults(call=_rotate_key)
    return command


def add_secret(commands: Any) -> argparse.ArgumentParser:
    """`dock-agent secret`."""
    command: argparse.ArgumentParser = commands.add_parser(
        "secret",
        help="keep a card's footage encrypted to the custodian (Art. 18)",
        description="Keep everything of SOURCE in the vault, encrypted to the secret_recipients of DIR/agent.toml (age "
        "keys; the custodian makes one with age-keygen, away from this dock). Nobody reads it here, not even this "
        "station; the log learns how many files were kept, and two digests. The source is only ever read, and always "
        "from the beginning. Stop the agent first: it holds the vault. A bay with secret = true does the same by "
        "itself.",
        epilog="exit codes: 0 everything is kept; 1 kept, but not everything could be read; others as dock-agent "
        "offload\n\nexample: dock-agent secret /dev/sdb --dir /etc/custodock --camera CAM01",
    )
    command.add_argument("source", type=parse_place, metavar="SOURCE", help="folder, card image, block device or ptp:…")
    command.add_argument("--camera", required=True, help="name of the camera; only the custodian reads it")
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")
    command.set_defaults(call=_secret)
    return command


# Imported when called: an offload must not wait for what it never uses.


def _bays(args: argparse.Namespace) -> int:
    from agent.dock_calls import show_bays  # noqa: PLC0415

    return show_bays(args.dir, once=args.once, as_json=args.json)


def _rotate_key(args: argparse.Namespace) -> int:
    from agent.dock_calls import replace_key  # noqa: PLC0415

    return replace_key(args.dir, as_json=args.json)


def _secret(args: argparse.Namespace) -> int:
    from agent.dock_calls import secret  # noqa: PLC0415

    return secret(args.dir, args.source, args.camera, as_json=args.json)


def _officer(args: argparse.Namespace) -> int:
    from agent.dock_calls import officer  # noqa: PLC0415

    return officer(args.dir, args.number, args.name, disable=args.disable, as_json=args.json)


def _camera(args: argparse.Namespace) -> int:
    from agent.dock_calls import camera, list_cameras  # noqa: PLC0415

    if args.camera is None or not (args.accept or args.set_aside or args.readmit):
        return list_cameras(args.dir, args.camera, as_json=args.json)
    change: Change = "accept" if args.accept else "readmit" if args.readmit else "set_aside"
    return camera(args.dir, args.camera, change, args.set_aside or "", as_json=args.json)


def _witness(args: argparse.Namespace) -> int:
    from agent.dock_calls import witness  # noqa: PLC0415

    return witness(args.dir, args.clear, anew=args.anew, as_json=args.json)
