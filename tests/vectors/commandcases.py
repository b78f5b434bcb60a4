"""Vectors of commands: one good one of each clock and kind, and one fault each."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from custody.checkpoint import SigningKey
from custody.commandbody import Body, Hold, HoldLifted, PolicyChange
from custody.commands import COMMAND_TYPE, CommandHead, Header, body_text, seal_command
from custody.envelope import EVENT_TYPE, seal
from custody.fields import Sha256Hex, dump_json, write_fields
from tests.vectors.dockings import OTHER_KEY

COMMAND_KEY = SigningKey.from_seed("hub.example/commands", bytes(range(96, 128)))
STATION = "dock-test"
ISSUED = datetime(2026, 3, 5, 8, 0, tzinfo=UTC)
HEAD = CommandHead(6, Sha256Hex("ab" * 32))
UUID = "0195f000-0000-7000-8000-000000000007"
HOLD = Hold(hold_id=UUID, camera="DSJ-000317", reason="case 2026-17")
POLICY = PolicyChange(minimum_charge_percent=90, minimum_minutes=240, duty_minutes=720)
LIFT = HoldLifted(hold_id=UUID, reason="case closed")


def header(body: Body = POLICY, **changes: object) -> Header:
    """The next command to the station."""
    made = Header(
        id=UUID,
        station=STATION,
        number=HEAD.number + 1,
        previous=HEAD.sha256,
        issued_at=ISSUED,
        expires_at=ISSUED + timedelta(days=30),
        kind=body.KIND,
        body=body_text(body),
    )
    return replace(made, **changes)  # type: ignore[arg-type]


def commands(files: dict[str, bytes]) -> list[dict[str, object]]:
    """Put the files below ``commands`` into `files` and return their cases."""
    cases: list[dict[str, object]] = []

    def add(name: str, raw: bytes, code: str | None, hours: float = 1, clock: str = "synchronised") -> None:
        files[f"commands/{name}.json"] = raw
        cases.append(
            {
                "file": f"commands/{name}.json",
                "code": code,
                "answered": code is None or code in ANSWERED_CODES,
                "key": COMMAND_KEY.verify_key.line,
                "station": STATION,
                "head_number": HEAD.number,
                "head_sha256": HEAD.sha256,
                "now": (ISSUED + timedelta(hours=hours)).isoformat(),
                "clock": clock,
            }
        )

    def made(body: Body = POLICY, **changes: object) -> bytes:
        return seal_command(header(body, **changes), COMMAND_KEY)

    def bent(**changes: object) -> bytes:
        """Signed by the right key, with a field that `seal_command` would not write."""
        body = write_fields(header()) | changes
        return seal(COMMAND_TYPE, dump_json({k: v for k, v in body.items() if v is not ...}), COMMAND_KEY)

    good, days = made(), 24
    add("policy", good, None)
    add("policy-clock-unsynchronised", good, None, clock="unsynchronised")
    add("policy-expired", good, "expired", hours=30 * days)
    add("policy-expired-clock-unsynchronised", good, None, hours=31 * days, clock="unsynchronised")
    add("policy-within-tolerance", good, None, hours=-4.9 / 60)
    add("policy-from-future", good, "from_future", hours=-5.1 / 60)
    add("hold", made(HOLD), None)
    add("hold-expired", made(HOLD), None, hours=400 * days)
    add("hold-clock-unknown", made(HOLD), None, hours=-400 * days, clock="unknown")
    add("lift-clock-synchronised", made(LIFT), None)
    add("lift-clock-unsynchronised", made(LIFT), "clock_unsynchronised", clock="unsynchronised")
    add("lift-clock-unknown", made(LIFT), "clock_unsynchronised", clock="unknown")
    add("signer-other", seal_command(header(), replace_name(OTHER_KEY)), "bad_signature")
    add("signature-changed", _flip_signature(good), "bad_signature")
    add("an-event-instead", seal(EVENT_TYPE, dump_json(write_fields(header())), COMMAND_KEY), "bad_format")
    add("too-long", good + b" " * 61440, "too_long")
    add("field-missing", bent(expires_at=...), "bad_format")
    add("number-as-text", bent(number="7"), "bad_format")
    add("station-other", made(station="dock-other"), "wrong_station")
    add("replayed", made(number=HEAD.number, previous=Sha256Hex("cd" * 32)), "replayed")
    add("gap", made(number=HEAD.number + 2), "gap")
    add("previous-other", made(previous=Sha256Hex("cd" * 32)), "wrong_previous")
    add("kind-unknown", bent(kind="format.v1"), "unknown_kind")
    add("body-no-object", bent(body="[]"), "bad_body")
    add("body-out-of-range", bent(body=json.dumps({**write_fields(POLICY), "duty_minutes": 59})), "bad_body")
    add("body-field-twice", bent(body='{"a":1,"a":1}'), "bad_body")
    add("body-field-added", bent(body=json.dumps({**write_fields(POLICY), "later": 1})), None)
    add("hold-of-nothing", bent(kind="hold.v1", body=json.dumps({**write_fields(HOLD), "camera": None})), "bad_body")
    add("valid-too-long", bent(expires_at="2028-03-05T08:00:00Z"), "bad_body")
    add("expires-before-issue", bent(expires_at="2026-03-05T08:00:00Z"), "bad_body")
    return cases


ANSWERED_CODES = ("unknown_kind", "bad_body", "expired", "from_future", "clock_unsynchronised", "not_approved")


def replace_name(key: SigningKey) -> SigningKey:
    """Another key under the command key's name."""
    return SigningKey(COMMAND_KEY.name, key.private)


def _flip_signature(raw: bytes) -> bytes:
    at = raw.rindex(b'"sig":"') + 10
    return raw[:at] + (b"A" if raw[at : at + 1] != b"A" else b"B") + raw[at + 1 :]
