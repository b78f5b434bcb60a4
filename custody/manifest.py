"""The manifest of one docking: everything that was met on a camera, as JSON Lines. See ``custody/spec/manifest.md``.

Written and read as a stream: header, entries, findings, further gaps, counts; memory stays flat for any number of
files. Seals are embedded as the exact bytes of their envelopes and come back as those bytes: they are cut out of the
line, never re-serialised.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from typing import BinaryIO, ClassVar, Literal

from custody.envelope import MAX_ENVELOPE_BYTES
from custody.errors import FormatError
from custody.fields import Sha256Hex, dump_json, load_object, read_fields, write_fields
from custody.stationevents import Counts, Gap

MAX_LINE_BYTES = 1 << 20  # holds the longest envelope, path and list of gaps, and bounds what a reader needs
GAPS_PER_LINE = 1000
_COPIED = re.compile(rb'\{"entry":([1-9][0-9]{0,15}),"state":"copied","envelope":(\{[^\n]*\})\}\n')

FindingKind = Literal[
    "skipped_symlink",
    "skipped_special",
    "directory_loop",
    "still_being_written",
    "deleted_entry",
    "orphan",
    "unreadable_directory",
    "unreadable_entry",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class Header:
    """Whose docking this is and what the source says of itself; the first line."""

    manifest: Literal["custodock-manifest/1"] = "custodock-manifest/1"
    alg: Literal["sha256"] = "sha256"
    station: str
    docking_id: str
    camera_id: str
    bay: str
    started_at: datetime
    source_kind: Literal["folder", "image", "block_device", "ptp"]
    file_systems: tuple[str, ...]
    labels: tuple[str, ...]
    volume_ids: tuple[str, ...]
    source_bytes: int | None
    time_basis: Literal["utc", "camera_local"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Copied:
    """Entry `entry` was copied; `envelope` holds the exact bytes of its seal, unverified."""

    entry: int
    envelope: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class AlreadySaved:
    """The same bytes lie in the vault since docking `saved_in`."""

    STATE: ClassVar[str] = "already_saved"
    entry: int
    path: str  # for people; never to be opened
    path_raw: tuple[str, ...]  # base64 of each component
    size_bytes: int
    saved_in: str
    sha256: Sha256Hex


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed:
    """Nothing of this entry could be saved."""

    STATE: ClassVar[str] = "failed"
    entry: int
    path: str
    path_raw: tuple[str, ...]
    size_bytes: int
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """Something on the card that is no file to copy; offset and length are of the medium, where known."""

    finding: FindingKind
    path: str
    path_raw: tuple[str, ...]
    detail: str
    offset_bytes: int | None = None
    length_bytes: int | None = None


@dataclass(frozen=True, slots=True)
class MoreGaps:
    """Gaps of a copied entry beyond those in its seal, rising; an entry with many has several such lines."""

    entry: int
    gaps: tuple[Gap, ...]


Entry = Copied | AlreadySaved | Failed
Item = Header | Entry | Met | MoreGaps | Counts

COUNTED_AS: dict[str, str] = {
    "skipped_symlink": "skipped",
    "skipped_special": "skipped",
    "directory_loop": "skipped",
    "still_being_written": "skipped",
    "deleted_entry": "deleted_seen",
    "orphan": "deleted_seen",
    "unreadable_directory": "unreadable",
    "unreadable_entry": "unreadable",
}
_STATES: dict[str, type[AlreadySaved | Failed]] = {cls.STATE: cls for cls in (AlreadySaved, Failed)}


class Tally:
    """Adds up what the last line of a manifest must say."""

    def __init__(self) -> None:
        """Start with nothing."""
        self._sums = dict.fromkeys((f.name for f in fields(Counts)), 0)

    @property
    def counts(self) -> Counts:
        """The sums so far."""
        return Counts(**self._sums)

    def add(self, item: Entry | Met, copied_bytes: int = 0) -> None:
        """Count one line; `copied_bytes` is the size of a copied entry, as its seal gives it."""
        match item:
            case Copied():
                self._add("copied", 1)
                self._add("bytes_copied", copied_bytes)
            case AlreadySaved():
                self._add("already_saved", 1)
            case Failed():
                self._add("failed", 1)
            case Met():
                self._add(COUNTED_AS[item.finding], 1)
                return
        self._add("listed", 1)

    def _add(self, name: str, count: int) -> None:
        self._sums[name] += count


# --- Writing: values to lines, in this order -------------------------------------------------------------------------


def header_line(header: Header) -> bytes:
    """The first line."""
    return _line(write_fields(header))


def copied_line(entry: int, envelope: bytes) -> bytes:
    """A copied entry with the exact bytes of its seal's envelope. Raises FormatError for bytes that are not one."""
    line = b'{"entry":%d,"state":"copied","envelope":%s}\n' % (entry, envelope)
    if not _COPIED.fullmatch(line) or len(envelope) > MAX_ENVELOPE_BYTES:
        raise FormatError("a manifest takes an entry number from 1 and an envelope on one line")
    return line


def entry_line(entry: AlreadySaved | Failed) -> bytes:
    """An entry that was saved before, or could not be saved."""
    return _line({"entry": entry.entry, "state": entry.STATE} | write_fields(entry))


def finding_line(met: Met) -> bytes:
    """Something met that is no file to copy."""
    return _line(write_fields(met))


def gap_lines(entry: int, gaps: Sequence[Gap]) -> Iterator[bytes]:
    """The gaps of a copied entry beyond those that its seal holds; no line for none."""
    for start in range(0, len(gaps), GAPS_PER_LINE):
        part = gaps[start : start + GAPS_PER_LINE]
        yield _line({"gaps_of": entry, "gaps": [[gap.offset_bytes, gap.length_bytes] for gap in part]})


def counts_line(counts: Counts) -> bytes:
    """The last line."""
    return _line({"counts": write_fields(counts)})


def raw_path(path: Iterable[bytes]) -> tuple[str, ...]:
    """A source's path components as `path_raw` holds them."""
    return tuple(base64.b64encode(component).decode() for component in path)


def _line(body: dict[str, object]) -> bytes:
    line = dump_json(body) + b"\n"
    if len(line) > MAX_LINE_BYTES:
        raise FormatError(f"a line of a manifest holds at most {MAX_LINE_BYTES} bytes, this one has {len(line)}")
    return line


# --- Reading: a stream to values -------------------------------------------------------------------------------------


class ManifestReader:
    """Reads a manifest line by line and digests it on the way; `size_bytes` and `sha256` are final after the last."""

    def __init__(self, stream: BinaryIO) -> None:
        """Read from the first byte of `stream`."""
        self._stream = stream
        self._sha256 = hashlib.sha256()
        self.size_bytes = 0
        self.line_number = 0

    @property
    def sha256(self) -> Sha256Hex:
        """Of everything read so far."""
        return Sha256Hex(self._sha256.hexdigest())

    def __iter__(self) -> Iterator[Item]:
        """Every line in turn. Raises FormatError, naming the line, for one that is malformed, missing or misplaced."""
        section = -1
        for line in self.lines():
            try:
                item = parse_line(line)
                section = _next_section(section, item)
            except FormatError as error:
                raise FormatError(f"manifest line {self.line_number}: {error}") from None
            yield item
        if section != 4:
            raise FormatError(f"manifest line {self.line_number}: the manifest ends before its counts")

    def lines(self) -> Iterator[bytes]:
        """Every line as it stands, for a reader that goes on after a malformed one; longer ones come in pieces."""
        while line := self._stream.readline(MAX_LINE_BYTES + 1):
            self._sha256.update(line)
            self.size_bytes += len(line)
            self.line_number += 1
            yield line


def parse_line(line: bytes) -> Item:
    """One line with its newline. Raises FormatError."""
    if len(line) > MAX_LINE_BYTES or not line.endswith(b"\n"):
        raise FormatError("too long, or cut off")
    if copied := _COPIED.fullmatch(line):
        return Copied(entry=int(copied[1]), envelope=copied[2])
    body = load_object(line)
    if "manifest" in body:
        return read_fields(Header, body, "header")
    if "entry" in body:
        cls = _STATES.get(str(body.get("state")))
        if cls is None:
            raise FormatError(f"entry state {str(body.get('state'))[:40]!r}")
        return read_fields(cls, body, "entry")
    if "finding" in body:
        return read_fields(Met, body, "finding")
    if "gaps_of" in body:
        return _read_gaps(body)
    if "counts" in body:
        return read_fields(Counts, body["counts"], "counts")
    raise FormatError("a line of no known kind")


def _read_gaps(body: dict[str, object]) -> MoreGaps:
    entry, pairs = body["gaps_of"], body.get("gaps")
    if type(entry) is not int or not isinstance(pairs, list):
        raise FormatError("gaps_of: an entry and its gaps expected")
    gaps = []
    for pair in pairs:
        if not isinstance(pair, list) or len(pair) != 2:
            raise FormatError("gaps: offset and length expected")
        gaps.append(read_fields(Gap, {"offset_bytes": pair[0], "length_bytes": pair[1]}, "gap"))
    return MoreGaps(entry, tuple(gaps))


def _next_section(section: int, item: Item) -> int:
    now = _section(item)
    once = now in (0, 4)
    if now < section or (now == section and once) or (section == -1 and now != 0):
        raise FormatError("a line out of order")
    return now


def _section(item: Item) -> int:
    match item:
        case Header():
            return 0
        case Copied() | AlreadySaved() | Failed():
            return 1
        case Met():
            return 2
        case MoreGaps():
            return 3
        case Counts():
            return 4
