"""`dock-hub`: the command line. Parse, call, print, exit. The commands themselves are in `hub/cli`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence

from custody.inert import inert_json, inert_lines
from hub.cli import alerts, backup, export, keys, log, openings, running, stations, users, witnesses
from hub.cli.shared import EXIT_CODES
from hub.errors import HubError, LogUntrusted
from hub.logfaults import IndexWrong


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
            print(inert_json({"error": error.code, **found, "detail": str(error)}))
        print(inert_lines(f"dock-hub: {error}".split("\n")), file=sys.stderr)
        sys.exit(error.exit_code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="dock-hub",
        formatter_class=argparse.RawDescriptionHelpFormatter,
        epilog=EXIT_CODES,
        description="The hub of Custodock: takes in what stations sign, keeps the audit log, serves the pages.\n"
        "First `dock-hub init --dir DIR`, then `dock-hub run --dir DIR`, and `dock-hub user first --dir DIR` for the\n"
        "code that makes the first administrator on its page. Each command explains itself, with\n"
        "examples: `dock-hub COMMAND --help`.\n"
        "中心：接收采集站签名的事件，保管审计日志，提供网页。",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for group in (
        keys,
        stations,
        users,
        running,
        alerts,
        log,
        openings,
        witnesses,
        export,
        backup,
    ):  # in the order of the help
        group.add_to(commands)
    log.add_reindex_to(commands)
    commands.add_parser("broker", help="run the embedded MQTT broker on loopback; see `dock-hub broker --help`")
    return parser


if __name__ == "__main__":
    main()
