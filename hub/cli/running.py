"""`dock-hub run`: the hub itself."""

from __future__ import annotations

import argparse
from typing import Any

from hub.cli.shared import command, settings_of


def add_to(commands: Any) -> None:
    """Declare the command of this module."""
    run = command(commands, "run", _run, "Run the hub until SIGTERM. Migrates the database and checks the log first.")
    run.add_argument("--host", help="address of the pages (default 127.0.0.1; TLS is the reverse proxy's)")
    run.add_argument("--port", type=int, help="port of the pages (default 8080)")
    run.add_argument("--database", help="overrides hub.toml")
    run.add_argument("--mqtt", help="mqtt://host:port or mqtts://host:port of the broker")
    run.add_argument("--ca", dest="mqtt_ca", help="PEM: the authority of the broker's certificate (mqtts)")
    run.add_argument("--cert", dest="mqtt_cert", help="PEM: the hub's client certificate (mqtts)")
    run.add_argument("--key", dest="mqtt_key", help="PEM: its private key (mqtts)")
    run.add_argument("--replica", metavar="NAME", help="one of several hub processes on one PostgreSQL, by this name")


def _run(arguments: argparse.Namespace) -> None:
    from hub.service import run  # noqa: PLC0415 (loads the web server)

    run(settings_of(arguments))
