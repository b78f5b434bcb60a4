"""Identifiers of the hub's own events: UUIDv7, RFC 9562 section 5.7, which sort by time."""

from __future__ import annotations

import secrets
import uuid
from datetime import datetime


def new_id(at: datetime) -> str:
    """A UUIDv7 of this time and 74 random bits."""
    milliseconds = int(at.timestamp() * 1000) & ((1 << 48) - 1)
    value = milliseconds << 80 | 0x7 << 76 | secrets.randbits(12) << 64 | 0b10 << 62 | secrets.randbits(62)
    return str(uuid.UUID(int=value))
