"""Which of the hub's keys counted where in the log: from the rotations that the log holds, back from today's keys.

The files are the anchor: the key in use must be the new key of its role's last rotation, that rotation's old key the
new one of the rotation before, and so on; each pair signed for each other. The walk checks the entries themselves.
"""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection, select, type_coerce
from sqlalchemy.types import NullType

from custody.checkpoint import VerifyKey
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.events import decode_event
from custody.hubevents import KeyRotated
from custody.keyrotation import HUB, Rotation, check_rotation
from hub.keys import HubKeys
from hub.logfaults import untrusted
from hub.tables import log_entry


@dataclass(frozen=True, slots=True)
class KeyHistory:
    """Rotations by log index, rising, and the keys in use now."""

    rotations: tuple[tuple[int, Rotation], ...]
    keys: HubKeys

    def events_at(self, index: int) -> VerifyKey:
        """The key that must have signed the hub's entry `index`: a rotation's own entry still by the old one."""
        return self._at("events", index, self.keys.events.verify_key)

    def log_at(self, previous_size: int) -> VerifyKey:
        """The key that must have signed the checkpoint that came after one of `previous_size` entries.

        The commit of a rotation has one checkpoint, and the old key signs it.
        """
        return self._at("log", previous_size, self.keys.log.verify_key)

    def _at(self, role: str, index: int, now: VerifyKey) -> VerifyKey:
        for at, rotation in self.rotations:
            if rotation.role == role and at >= index:
                return rotation.old
        return now


def read_history(connection: Connection, keys: HubKeys) -> KeyHistory:
    """All rotations. Raises LogUntrusted unless they lead to the keys in use."""
    rows = connection.execute(
        select(log_entry.c.idx, type_coerce(log_entry.c.envelope, NullType()).label("envelope"))
        .where(log_entry.c.event_type == KeyRotated.TYPE, log_entry.c.source == HUB)
        .order_by(log_entry.c.idx)
    ).all()
    found: list[tuple[int, Rotation]] = []
    for row in rows:
        try:
            envelope = parse_envelope(bytes(row.envelope))
            event = decode_event(envelope.payload_type, envelope.payload)
            if isinstance(event, KeyRotated):
                found.append((row.idx, check_rotation(event)))
        except (CustodyError, TypeError) as error:
            raise untrusted("entry_altered", f"entry/{row.idx}", str(error)) from None
    lines = dict(keys.lines)
    for index, rotation in reversed(found):
        if lines[rotation.role] != rotation.new.line:
            more = f"the {rotation.role} key in use does not follow from it"
            raise untrusted("entry_signature", f"entry/{index}", more)
        lines[rotation.role] = rotation.old.line
    return KeyHistory(tuple(found), keys)


def events_line_at(connection: Connection, index: int, line_now: str) -> str:
    """The key line that the hub's entry `index` should carry, for pages that show one entry. Checks nothing."""
    row = connection.execute(
        select(log_entry.c.idx, log_entry.c.envelope)
        .where(log_entry.c.event_type == KeyRotated.TYPE, log_entry.c.source == HUB, log_entry.c.idx >= index)
        .order_by(log_entry.c.idx)
    )
    for found in row:
        try:
            envelope = parse_envelope(bytes(found.envelope))
            event = decode_event(envelope.payload_type, envelope.payload)
        except CustodyError:
            continue
        if isinstance(event, KeyRotated) and event.role == "events":
            return event.old_line
    return line_now
