"""What a release of a docking would clear, as far as the hub knows, and what would keep the station from it. Pure.

The rules are the station's (``custody/spec/release.md``), under the same names, and it decides by itself. Here they
spare people a request that must fail, and say beforehand which files would stay. Words: `hub.vocabulary.REASONS`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from hub.commands.holds import HoldFacts
from hub.language import mark

ADVICE = {
    "docking_incomplete": mark("Put the camera in once more; what is missing is then fetched."),
    "checkpoint_not_proved": mark(
        "The station confirms the log every minute while it is on line, once it is accepted as a witness."
    ),
    "held": mark("The hold must be lifted first, by two people."),
    "camera_disputed": mark("At the station it must be settled which camera this is (dock-agent camera --accept)."),
    "camera_left_since": mark("Put it back: its next offload is quick, and can be released."),
    "nothing_listed": mark("There is nothing on it that could be cleared."),
    "release_off": mark(
        "It is off unless somebody switches it on there: release = true in agent.toml, and the clearing program set up "
        "(deploy/docs/release.md)."
    ),
    "checked_out": mark("The station clears it only while nobody is taking it."),
    "too_early": mark("The station keeps footage on the camera for so long by its own setting; the order waits."),
    "station_away": mark("The command is sent as soon as the station is on line."),
    "hold_unknown_here": mark("A restore lost the content of a hold. The station has it and keeps what it names."),
}


@dataclass(frozen=True, slots=True)
class File:
    """A file that this docking saved."""

    log_index: int  # of its seal
    entry: int  # its number in the manifest
    path: str
    size_bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Known:
    """What the hub knows of a docking and its camera now."""

    station: str
    docking: str
    camera: str
    bay: str
    complete: bool
    listed: int  # files on the card: saved by this docking or before
    already_saved: int  # of them by an earlier one
    closed_index: int | None  # where the log holds its end
    closed_at: datetime | None
    cosigned_size: int | None  # entries of the newest checkpoint that the station itself cosigned
    left_since: bool
    disputed: bool
    checked_out: bool
    online: bool
    release_on: bool | None  # as the station says, unsigned; None: it does not say
    keep_days: int
    holds: tuple[HoldFacts, ...]


@dataclass(frozen=True, slots=True)
class Kept:
    """A file that stays on the camera, and the rule that keeps it."""

    file: File
    rule: str


def why_not(known: Known) -> tuple[str, ...]:
    """Rules that stand against a release as a whole: with one of them nobody can ask for it."""
    closed = known.closed_index
    found = {
        "docking_incomplete": closed is None or not known.complete,
        "nothing_listed": closed is not None and not known.listed,
        "checkpoint_not_proved": closed is not None and closed >= (known.cosigned_size or 0),
        "held": any(hold.fits(known.camera, known.docking, None) for hold in known.holds),
        "camera_disputed": known.disputed,
        "camera_left_since": known.left_since,
        "release_off": known.release_on is False,  # it would refuse the command as soon as it comes
    }
    return tuple(rule for rule, holds in found.items() if holds)


def why_later(known: Known, now: datetime) -> tuple[str, ...]:
    """What the station waits for before it acts: the request can be made all the same."""
    early = known.closed_at is not None and now - known.closed_at < timedelta(days=known.keep_days)
    found = {
        "checked_out": known.checked_out,
        "too_early": early,
        "station_away": not known.online,
        "hold_unknown_here": not all(hold.known for hold in known.holds),
    }
    return tuple(rule for rule, holds in found.items() if holds)


def divide(known: Known, files: Sequence[File]) -> tuple[tuple[File, ...], tuple[Kept, ...]]:
    """Which of `files` a release would clear, and which stay and why."""
    kept = tuple(
        Kept(file, "file_held")
        for file in files
        if any(hold.fits(known.camera, known.docking, file.sha256) for hold in known.holds)
    )
    stays = {one.file.entry for one in kept}
    return tuple(file for file in files if file.entry not in stays), kept


def ranges_without(listed: int, kept: Sequence[Kept]) -> tuple[tuple[int, int], ...]:
    """The manifest's entries from 1 to `listed` but those of `kept`, as ranges with both ends."""
    found, first = list[tuple[int, int]](), 1
    for entry in [*sorted(one.file.entry for one in kept), listed + 1]:
        if entry > first:
            found.append((first, entry - 1))
        first = entry + 1
    return tuple(found)
