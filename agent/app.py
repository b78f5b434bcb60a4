"""`dock-agent`: the command of the docking station. Parse, call, print, exit."""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from agent.commandhelp import complete
from agent.dock_cli import add_bays, add_camera, add_officer, add_rotate_key, add_secret, add_witness
from agent.errors import AgentError, Exit
from agent.opening import Opened, open_dock
from agent.pipeline import Order, Result, offload
from agent.profile_cli import add_profile
from agent.report import outcome_json, outcome_lines, progress_line
from agent.settings import HubLink, check_bay, check_camera, invalid, load_settings, save_link
from agent.source import parse_place
from agent.station import load_or_create_station
from agent.witness import load_or_create_witness_key
from custody.checkpoint import parse_key_line
from custody.enrolment import comparison_code
from custody.errors import KeyInvalid
from custody.inert import inert_json, inert_lines

CODE_WORDS = """\
请由现场人员把下面的核对码念给另一名系统管理员，由其在中心“采集站”页面输入；不要与公钥行走同一途径。
Read this code to a second administrator, who enters it on the hub's page Stations; not by the way of the key line."""
EXITS = """\
exit codes of offload:
  0    complete: everything on the source is in the vault, sealed
  1    copied, but not complete: gaps, unreadable or changing files; all are recorded
  2    wrong usage or settings
  3    the source cannot be read, is no file system, or left while it was read
  4    the source holds no files
  5    the vault cannot be written
  6    the vault is full
  7    another dock-agent works in this vault
  8    the station's own key, database or disk cannot be trusted
  130  interrupted; run it again and it goes on where it stopped
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; returns the exit code."""
    args = _parser().parse_args(argv)
    os.umask(0o027)  # footage, manifests and the station's book are nobody else's to read
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    try:
        code: int = args.call(args)
    except AgentError as error:
        _print_error(error, as_json=args.json)
        code = int(error.exit_code)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # the reader of our output left; the work is done
        code = 0
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dock-agent",
        description="Custodock's docking station: takes footage off cameras, proves the copy, reports to the hub.",
        epilog="采集站：从记录仪取出录像，证明副本无误，并向中心上报。\n\n"
        "Start with: dock-agent offload /path/to/card --vault /path/to/vault --camera CAM01\n"
        "Each command explains itself, with examples and exit codes: dock-agent COMMAND --help",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for add in (
        _add_offload, _add_run, _add_status, _add_doctor, _add_enrol, add_bays, add_camera, add_officer, add_profile,
        add_witness, add_rotate_key, add_secret,
    ):  # fmt: skip
        command = add(commands)
        command.add_argument("--json", action="store_true", help="print one JSON object instead of text")
        complete(command)
    return parser


def _add_offload(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "offload",
        help="copy everything new from a folder, card image, block device or PTP camera into a vault",
        description="Copy everything new from SOURCE into the vault: hashed while it is copied, fsynced, read back "
        "from the disk, sealed and signed. The source is only ever read. Interrupt it at any time: the next run goes "
        "on where it stopped. It needs no hub; its events wait in the outbox.",
        epilog=EXITS,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "source", type=parse_place, metavar="SOURCE",
        help="folder, card image, block device (/dev/sdX), or PTP/MTP camera (ptp:usb:BUS,DEVICE as lsusb shows them)",
    )  # fmt: skip
    command.add_argument("--vault", type=Path, help="folder that receives the footage (default: that of --dir)")
    command.add_argument("--camera", required=True, help="name or serial number of the camera; its folder in the vault")
    command.add_argument("--bay", default="cli", help="bay named in the events (default: cli)")
    command.add_argument("--dir", type=Path, help="state directory with key and database (default: VAULT/.station)")
    command.set_defaults(call=_offload)
    return command


def _add_run(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "run",
        help="watch the bays and report to the hub until stopped",
        description="Watch the bays of DIR/agent.toml, dock what appears there, report to the hub until stopped. This "
        "is what the service runs; stopped in the middle of a copy, the next start goes on where it stopped.",
    )
    _add_dir(command)
    command.set_defaults(call=_run)
    return command


def _add_status(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "status",
        help="show bays, last dockings and what waits for the hub",
        description="Show bays, last dockings, what waits for the hub's receipt, and the station's key line.",
    )
    _add_dir(command)
    command.set_defaults(call=_status)
    return command


def _add_doctor(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "doctor",
        help="check settings, key, database, vault, clock and broker",
        description="Check what the agent stands on: settings, key, database, vault, clock, broker. Changes nothing.",
    )
    _add_dir(command)
    command.set_defaults(call=_doctor)
    return command


def _add_enrol(commands: Any) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(
        "enrol",
        help="create this station's key and pin the hub's",
        description="Create the station's key (if there is none) and pin the hub's keys, as the hub's page Stations "
        "and `dock-hub keys` show them. Give the printed key line to one administrator, who enters it on that page; "
        "read the printed code to another one, who enters it there: by voice, not the way that the key line goes. The "
        "same command again prints both again.",
    )
    _add_dir(command)
    command.add_argument("--station", help="name of this station (default: dock- and 8 digits of its key)")
    command.add_argument("--hub-receipt-key", required=True, metavar="KEYLINE", help="receipt_key of dock-hub keys")
    command.add_argument("--hub-log-key", required=True, metavar="KEYLINE", help="log_key of dock-hub keys")
    command.add_argument("--hub-command-key", metavar="KEYLINE", help="without it this station takes no commands")
    command.add_argument("--mqtt", required=True, metavar="URL", help="mqtt://host:port or mqtts://host:port")
    pems = {"ca": "authority of the broker's certificate", "certificate": "this station's", "private-key": "its key"}
    for name, what in pems.items():
        command.add_argument(f"--{name}", type=Path, metavar="FILE", help=f"PEM file for mqtts: {what}")
    command.set_defaults(call=_enrol)
    return command


def _add_dir(command: argparse.ArgumentParser) -> None:
    command.add_argument("--dir", type=Path, required=True, help="state directory with agent.toml, key and database")


def _offload(args: argparse.Namespace) -> int:
    if args.vault is None and args.dir is None:
        raise invalid("offload needs --vault or --dir", "offload 需要 --vault 或 --dir")
    vault = args.vault or load_settings(args.dir).vault
    order = Order(args.source, check_camera(args.camera), check_bay(args.bay))
    show = _no_progress if args.json or not sys.stderr.isatty() else _show_progress
    with open_dock(vault, args.dir or vault / ".station") as opened:
        result = asyncio.run(_offload_interruptibly(opened, order, show))
    if show is _show_progress:
        sys.stderr.write("\r\x1b[K")
    print(inert_json(outcome_json(result)) if args.json else inert_lines(outcome_lines(result)))
    if result.error is not None:
        _print_error(result.error, as_json=False)
        return int(result.error.exit_code)
    return int(Exit.COMPLETE if result.closed is not None and result.closed.complete else Exit.INCOMPLETE)


async def _offload_interruptibly(opened: Opened, order: Order, show: Callable[..., None]) -> Result:
    work = asyncio.create_task(offload(opened.dock, order, show))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, work.cancel)
    try:
        return await work
    except asyncio.CancelledError:
        sys.stderr.write(
            "\nInterrupted. Every sealed file is safe; run the same command again to go on.\n"
            "已中断。已封存的文件均安全；重新运行同一命令即可继续。\n"
        )
        raise SystemExit(int(Exit.INTERRUPTED)) from None


# An offload must not wait for libraries it never uses: MQTT, watchdog and psutil are imported by who needs them.


def _run(args: argparse.Namespace) -> int:
    from agent.service import Service  # noqa: PLC0415

    settings = load_settings(args.dir)
    with open_dock(settings.vault, args.dir) as opened:
        asyncio.run(Service(settings, opened).run())
    return 0


def _status(args: argparse.Namespace) -> int:
    from agent.status import read_status, status_lines  # noqa: PLC0415

    status = read_status(load_settings(args.dir))
    print(inert_json(status) if args.json else inert_lines(status_lines(status)))
    return 0


def _doctor(args: argparse.Namespace) -> int:
    from agent.status import doctor  # noqa: PLC0415

    findings = doctor(args.dir)
    if args.json:
        print(inert_json([vars(f) for f in findings]))
    else:
        print(inert_lines(f"{'ok  ' if f.ok else 'FAIL'} {f.check}: {f.detail}" for f in findings))
    return 0 if all(f.ok for f in findings) else 1


def _enrol(args: argparse.Namespace) -> int:
    try:
        receipt_key, log_key = parse_key_line(args.hub_receipt_key), parse_key_line(args.hub_log_key)
        command_key = parse_key_line(args.hub_command_key) if args.hub_command_key else None
    except KeyInvalid as error:
        raise invalid(str(error), f"密钥行无效：{error}") from error
    ca, certificate, private_key = (path and path.absolute() for path in (args.ca, args.certificate, args.private_key))
    link = HubLink(args.mqtt, receipt_key, log_key, ca, certificate, private_key, command_key)
    link.address()
    try:
        args.dir.mkdir(parents=True, exist_ok=True, mode=0o700)
        station = load_or_create_station(args.dir, args.station)
        witness = load_or_create_witness_key(args.dir, station)
        save_link(args.dir, link)
    except OSError as error:
        raise invalid(f"{args.dir} cannot be written: {error}", f"无法写入 {args.dir}：{error}") from error
    line = station.key.verify_key.line
    code = comparison_code(line, log_key.line, receipt_key.line, command_key.line) if command_key else None
    made = {"station": station.id, "key": line, "witness_key": witness.public.line, "code": code}
    print(json.dumps(made) if args.json else f"{line}\n")
    if code is not None and not args.json:
        print(f"{CODE_WORDS}\n\n    {code}\n")
    return 0


def _no_progress(_progress: object) -> None:
    return


def _show_progress(progress: Any) -> None:
    sys.stderr.write(f"\r\x1b[K{progress_line(progress)}")
    sys.stderr.flush()


def _print_error(error: AgentError, *, as_json: bool) -> None:
    if as_json:
        print(inert_json({"error": error.code, "en": error.en, "zh": error.zh}))
    else:
        sys.stderr.write(f"{error.zh}\n{error.en}\n[{error.code}]\n")


if __name__ == "__main__":
    sys.exit(main())
