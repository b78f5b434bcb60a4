"""The body of a command ``release.v1``: which files may be cleared from a camera. See ``custody/spec/release.md``."""

from __future__ import annotations

from dataclasses import dataclass

from custody.commandbody import Body, check_text
from custody.errors import FormatError
from custody.fields import Sha256Hex

MAX_RANGES = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class EntryRange:
    """Entry numbers of the docking's manifest, both ends included."""

    first: int
    last: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Release(Body):
    """Which files of one docking may be cleared from the camera, and the proof that the log holds that docking.

    Not a deletion: the station decides by itself, and file by file.
    """

    KIND = "release.v1"
    TIMING = "strict"
    APPROVED = True
    camera_id: str  # see docking.closed.v1
    docking_id: str  # the docking that saved, or found saved, what may be cleared
    manifest_sha256: Sha256Hex  # of its manifest, which names every file with its digest
    closed_sha256: Sha256Hex  # of the exact bytes of its docking.closed envelope, which binds the manifest
    closed_index: int  # where the log holds that envelope
    checkpoint: str  # signed note with the cosignatures of witnesses
    proof: tuple[Sha256Hex, ...]  # inclusion of closed_index in that checkpoint
    entries: tuple[EntryRange, ...]  # rising, none touching the next
    reason: str | None = None  # why it is asked for; no names of people

    def check(self) -> None:
        """Raise FormatError unless it names files in one way only."""
        if not 0 < len(self.entries) <= MAX_RANGES:
            raise FormatError(f"a release names 1 to {MAX_RANGES} ranges of entries")
        last = -1
        for one in self.entries:
            if not last + 1 < one.first <= one.last:
                raise FormatError("the ranges of a release begin at 1, rise and do not touch")
            last = one.last
        if self.reason is not None:
            check_text(self.reason, "reason")
