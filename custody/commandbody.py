"""What the hub may tell a station to do: one frozen class for each kind of command. See ``custody/spec/commands.md``.

A published kind is never edited: a change adds ``.v2``. A kind of another module extends `Body` and stands in the list
of `custody.commands`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import ClassVar, Literal

from custody.errors import FormatError
from custody.fields import Sha256Hex

# When a command may be carried out, by the station's clock (`custody.commands.judge_times`):
# always - it only protects, so no clock and no expiry keeps it from being carried out;
# lenient - within its time where the clock is synchronised, and at any time where it is not;
# strict - only within its time, and only by a synchronised clock: it loosens or ends something.
Timing = Literal["always", "lenient", "strict"]
MAX_ROSTER = 200
MAX_FILES = 400
MAX_FORGOTTEN = 1000  # as a removal names entries
MAX_GRANT_SECONDS = 7 * 86400
_NUMBER = re.compile(r"[A-Za-z0-9-]{1,20}")
_PIN_HASH = re.compile(r"scrypt\$[0-9a-f]{32}\$[0-9a-f]{64}")
_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Body:
    """What a command says beyond its place and time."""

    KIND: ClassVar[str] = ""
    TIMING: ClassVar[Timing] = "strict"
    APPROVED: ClassVar[bool] = False  # two people stand for it, and the log proves it (`custody.approval`)

    def check(self) -> None:
        """Raise FormatError for values that no station may act on; types were checked before."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RosterEntry:
    """One officer as a dock knows them. The name is for the dock's screen and goes no further."""

    number: str  # service number: 1 to 20 of A-Z a-z 0-9 -
    name: str  # 1 to 40 printable characters
    pin_hash: str | None  # scrypt$salt$hash in hex, N=2^14 r=8 p=1; null: the PIN stays as it is at this dock
    disabled: bool  # takes no camera any more


@dataclass(frozen=True, slots=True, kw_only=True)
class Roster(Body):
    """Officers to add, change or disable; those it does not name stay as they are."""

    KIND = "roster.v1"
    TIMING = "lenient"
    officers: tuple[RosterEntry, ...]  # 1 to 200

    def check(self) -> None:
        """Raise FormatError unless every officer can be kept as they are told."""
        if not 0 < len(self.officers) <= MAX_ROSTER:
            raise FormatError(f"a roster command names 1 to {MAX_ROSTER} officers")
        if len({one.number for one in self.officers}) != len(self.officers):
            raise FormatError("an officer is named twice")
        for one in self.officers:
            if not _NUMBER.fullmatch(one.number):
                raise FormatError("an officer's number is 1 to 20 of A-Z a-z 0-9 -")
            if not 0 < len(one.name) <= 40 or not one.name.isprintable():
                raise FormatError("an officer's name is 1 to 40 printable characters")
            if one.pin_hash is not None and not _PIN_HASH.fullmatch(one.pin_hash):
                raise FormatError("a PIN travels as scrypt$salt$hash")


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicyChange(Body):
    """What the station asks of cameras from now on (Art. 7), and how long a duty lasts."""

    KIND = "policy.v1"
    TIMING = "lenient"
    minimum_charge_percent: int  # 1 to 100
    minimum_minutes: int  # of recording that must fit on the card, 30 to 1440
    duty_minutes: int  # after which a camera that was taken is overdue, 60 to 14400

    def check(self) -> None:
        """Raise FormatError for a value outside its range."""
        _within(self.minimum_charge_percent, 1, 100, "minimum_charge_percent")
        _within(self.minimum_minutes, 30, 1440, "minimum_minutes")
        _within(self.duty_minutes, 60, 14400, "duty_minutes")


@dataclass(frozen=True, slots=True, kw_only=True)
class Hold(Body):
    """Nothing that this names may be cleared from a camera or leave the vault until the hold is lifted.

    Every field that is set must fit: a camera and a docking together mean that docking of that camera.
    """

    KIND = "hold.v1"
    TIMING = "always"
    hold_id: str  # UUIDv7
    camera: str | None = None  # its id, see camera.docked.v1
    docking: str | None = None  # its id
    file_sha256: Sha256Hex | None = None  # of one file
    reason: str  # case or order; no names of people

    def check(self) -> None:
        """Raise FormatError unless it names what to keep."""
        _id(self.hold_id, "hold_id")
        check_text(self.reason, "reason")
        named = [text for text in (self.camera, self.docking, self.file_sha256) if text is not None]
        if not named or not all(0 < len(text) <= _TEXT_MAX for text in named):
            raise FormatError("a hold names a camera, a docking or a file")


@dataclass(frozen=True, slots=True, kw_only=True)
class HoldLifted(Body):
    """A hold ends."""

    KIND = "hold_lifted.v1"
    TIMING = "strict"
    APPROVED = True
    hold_id: str  # see hold.v1
    reason: str  # why; no names of people

    def check(self) -> None:
        """Raise FormatError unless it names a hold."""
        _id(self.hold_id, "hold_id")
        check_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grant(Body):
    """An account may view one file, for a time and a purpose."""

    KIND = "grant.v1"
    TIMING = "strict"
    APPROVED = True
    grant_id: str  # UUIDv7
    docking: str  # where the file was saved
    file_sha256: Sha256Hex  # the file
    holder: str  # account at the hub
    purpose: str  # why; no names of people
    valid_seconds: int  # from its receipt on, by a clock that nobody can set; at most 7 days
    until: datetime  # and no longer than this by the wall clock

    def check(self) -> None:
        """Raise FormatError unless it can be kept."""
        _id(self.grant_id, "grant_id")
        for name in ("docking", "holder", "purpose"):
            check_text(getattr(self, name), name)
        _within(self.valid_seconds, 1, MAX_GRANT_SECONDS, "valid_seconds")


@dataclass(frozen=True, slots=True, kw_only=True)
class GrantRevoked(Body):
    """A grant is good for nothing any more."""

    KIND = "grant_revoked.v1"
    TIMING = "always"
    grant_id: str  # see grant.v1
    reason: str  # why; no names of people

    def check(self) -> None:
        """Raise FormatError unless it names a grant."""
        _id(self.grant_id, "grant_id")
        check_text(self.reason, "reason")


@dataclass(frozen=True, slots=True, kw_only=True)
class Disposition(Body):
    """The authorisation to let files of one docking leave the vault. Not a deletion: the station decides by itself
    whether floor, holds and clock allow it, and file by file."""

    KIND = "disposition.v1"
    TIMING = "strict"
    APPROVED = True
    disposition_id: str  # UUIDv7
    docking: str  # its id
    file_sha256s: tuple[Sha256Hex, ...]  # 1 to 400 files of it
    basis: str  # the rule or order that ends their retention; no names of people

    def check(self) -> None:
        """Raise FormatError unless it names files."""
        _id(self.disposition_id, "disposition_id")
        check_text(self.docking, "docking")
        check_text(self.basis, "basis")
        if not 0 < len(self.file_sha256s) <= MAX_FILES or len(set(self.file_sha256s)) != len(self.file_sha256s):
            raise FormatError(f"a disposition names 1 to {MAX_FILES} files, none twice")


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyChange(Body):
    """The hub's key of one role was rotated: the log entry and its proof, to be checked against the pinned keys.

    Never late: a station that was away follows every rotation in the order of its commands.
    """

    KIND = "key_rotated.v1"
    TIMING = "always"
    rotation: str  # envelope of the key.rotated.v1 event
    proof: str  # C2SP tlog-proof under the checkpoint of its own commit


@dataclass(frozen=True, slots=True, kw_only=True)
class OpeningsForgotten(Body):
    """People removed what shows a person behind these of the station's events: it forgets that too, and at once.

    Never late, and nobody's name travels: the station knows its events by their numbers. It forgets only what the hub
    has a receipt for, so nothing is lost that was not there to be removed.
    """

    KIND = "openings_forgotten.v1"
    TIMING = "always"
    removal_id: str  # see opening.removed.v1
    seqs: tuple[int, ...]  # numbers of this station's events, rising, 1 to 1000

    def check(self) -> None:
        """Raise FormatError unless it names events in one way only."""
        _id(self.removal_id, "removal_id")
        if not 0 < len(self.seqs) <= MAX_FORGOTTEN or list(self.seqs) != sorted(set(self.seqs)):
            raise FormatError(f"it names 1 to {MAX_FORGOTTEN} events, rising")


def _id(value: str, name: str) -> None:
    if not _ID.fullmatch(value):
        raise FormatError(f"{name} is a UUID in lower case")


def check_text(value: str, name: str) -> None:
    """Raise FormatError unless `value` can stand in a command as a line for people."""
    if not 0 < len(value) <= _TEXT_MAX or not value.isprintable() or value != value.strip():
        raise FormatError(f"{name} is 1 to {_TEXT_MAX} printable characters without blanks at its ends")


def _within(value: int, low: int, high: int, name: str) -> None:
    if not low <= value <= high:
        raise FormatError(f"{name} is {low} to {high}")
