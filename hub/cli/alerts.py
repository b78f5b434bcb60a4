"""`dock-hub alert`: open alerts, doing something about them, and trying the senders."""

from __future__ import annotations

import argparse
from typing import Any

from hub.cli.shared import ACCOUNT_HELP, command, database_of, opened, settings_of, show, show_rows
from hub.errors import Invalid
from hub.times import now_utc, to_text

LIST_HELP = (
    "List alerts that are open, the gravest first; with --resolved those that are over.\n"
    "All of them: whoever has this computer has the database."
)
SENDER_HELP = (
    "Send a test to every address of the file that alert_senders in hub.toml names.\n"
    "It says that it is a test, and nothing else. Exit code 1 when an address did not take it."
)


def add_to(commands: Any) -> None:
    """Declare the commands of this module."""
    alerts = commands.add_parser("alert", help="what needs somebody").add_subparsers(required=True)
    listed = command(alerts, "list", _list, LIST_HELP)
    listed.add_argument("--resolved", action="store_true", help="the newest that are over")
    noted = command(alerts, "acknowledge", _acknowledge, "Take note of an alert: it goes to nobody else any more.")
    ended = command(alerts, "resolve", _resolve, "Say that an alert is over, and how. Most end by themselves.")
    for one in (noted, ended):
        one.add_argument("alert", metavar="ALERT", help="as `dock-hub alert list` shows it")
        one.add_argument("--account", required=True, help=ACCOUNT_HELP)
    noted.add_argument("--note", default="", help="what was found; up to 200 characters, for the audit log")
    ended.add_argument("--note", required=True, help="what was done; up to 200 characters, for the audit log")
    command(alerts, "test-sender", _test_sender, SENDER_HELP)


def _list(arguments: argparse.Namespace) -> None:
    from hub.alerts.kinds import ORDER  # noqa: PLC0415
    from hub.alerts.queries import read_open, read_resolved  # noqa: PLC0415

    with opened(arguments)[2].read() as connection:
        if arguments.resolved:
            rows = read_resolved(connection)
        else:
            rows = tuple(sorted(read_open(connection), key=lambda row: (ORDER[row.severity], row.opened_at)))
    show_rows(arguments, [_plain(row) for row in rows], _line)


def _plain(row: Any) -> dict[str, Any]:
    facts = {name: getattr(row.about, name) for name in ("kind", "station", "camera", "bay", "detail")}
    ended = None if row.resolved_at is None else to_text(row.resolved_at)
    state = {"severity": row.severity.value, "state": row.state, "opened_at": to_text(row.opened_at)}
    return {"id": row.id} | facts | state | {"resolved_at": ended, "count": row.count, "assigned_to": row.assigned_to}


def _line(row: dict[str, Any]) -> str:
    from hub.alerts.kinds import KINDS  # noqa: PLC0415

    kind = KINDS[row["kind"]]
    where = " ".join(filter(None, (row["station"], row["camera"])))
    said = f"{kind.zh.title} / {kind.en.title}"
    return "\t".join((row["id"], row["severity"], row["state"], row["opened_at"], where, said))


def _acknowledge(arguments: argparse.Namespace) -> None:
    from hub.alerts.service import acknowledge  # noqa: PLC0415
    from hub.keychanges.command import person  # noqa: PLC0415

    _, keys, database = opened(arguments)
    acknowledge(database, keys, person(arguments, database, keys), arguments.alert, arguments.note)
    show(arguments, {"alert": arguments.alert, "state": "acknowledged"})


def _resolve(arguments: argparse.Namespace) -> None:
    from hub.alerts.service import resolve  # noqa: PLC0415
    from hub.keychanges.command import person  # noqa: PLC0415

    _, keys, database = opened(arguments)
    resolve(database, keys, person(arguments, database, keys), arguments.alert, arguments.note)
    show(arguments, {"alert": arguments.alert, "state": "resolved"})


def _test_sender(arguments: argparse.Namespace) -> None:
    from hub.service import make_sender  # noqa: PLC0415

    settings = settings_of(arguments)
    sender = make_sender(settings, database_of(settings))
    if sender is None:
        raise Invalid("hub.toml names no alert_senders: see deploy/docs/alerts.md")
    if not sender.send_test(now_utc()):
        raise Invalid("an address did not take the test; its service or this computer's network says why")
    show(arguments, {"sent": True})
