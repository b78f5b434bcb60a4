"""What proves one docking, decided purely: bytes and listings in, findings out. See ``custody/spec/verify.md``.

`examine.py` reads the disk and feeds a `DockingCheck` in this order; the numbers stand in the code again.

 1. Station key: the key line beside the docking is whole; a trusted key, where given, comes before it.
 2. Closing: the envelope of docking.closed.v1 is signed by that key.
 3. Manifest: every line reads; its digest and length are those the closing names.
 4. Seals: each is signed, names its entry, docking, camera, bay and station, and no file is sealed twice.
 5. Footage: each sealed file is there, a regular file, of the sealed size, SHA-256 and tree root; if not, its leaves
    name the chunks. A file that a record of a disposition names may be gone, by that authority.
 6. SHA256SUMS: exactly one line for each sealed file.
 7. Entries are numbered from 1 without gap, and counts, manifest and closing agree.
 8. Nothing else lies in the docking's folder.

Nothing of an envelope is believed before its signature. The one exception is stated by a finding: when no usable key is
left, seals are read unproved, so that files can still be told apart from altered ones.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from hashlib import blake2b

from custody.checkpoint import VerifyKey
from custody.digest import CHUNK_BYTES
from custody.disposition import RECORD_NAME
from custody.dispositioncheck import Dispositions
from custody.errors import CustodyError, FormatError, KeyInvalid
from custody.finding import Finding, Kind
from custody.footage import Sealed
from custody.manifest import AlreadySaved, Copied, Header, Item, Met, MoreGaps, Tally, parse_line
from custody.signers import Signers, Statement
from custody.stationevents import Counts, DockingClosed, SegmentSealed
from custody.sums import checksum_line, checksum_path

CLOSING = b".custody/completed.dsse.json"
MANIFEST = b".custody/manifest.jsonl"
KEY_FILE = b".custody/station.vkey"
SUMS = b"SHA256SUMS"
LEAVES = b".custody/leaves"
CERTIFICATE_NAME = re.compile(rb"\.custody/release-[0-9a-f]{16}\.jsonl")
TAKEN = "taken"  # in place of the type of what is accounted for
PREFIX_PARTS = 5  # camera, year, month, day, docking id
MAX_NAMED = 1000  # findings of one kind about single lines: a list can have any number of lines, each of a few bytes


class DockingCheck:
    """Checks one docking. `entries` is the listing of its folder; whatever is accounted for is taken out of it."""

    def __init__(self, folder: bytes, entries: Mapping[bytes, str], trusted: Sequence[VerifyKey]) -> None:
        """Begin; `trusted` are the keys whose holder the caller knows, none for a check without authorship."""
        self.folder = folder
        self.findings: list[Finding] = []
        self.closed: DockingClosed | None = None
        self.header: Header | None = None
        self.signers = Signers(trusted, self._complain)
        self.references: list[AlreadySaved] = []
        self.files = 0
        self.bytes_sealed = 0
        self._left = dict(entries)
        self._prefix: str | None = None
        self._unreadable: set[bytes] = set()
        self._manifest_damaged = False
        self._said_damaged = False
        self._last_entry = 0
        self._entry_fault: str | None = None
        self._tally = Tally()
        self._counts: Counts | None = None
        self._gaps_open: dict[int, list[int]] = {}  # entry -> gaps and bytes that the seal does not hold
        self._sums: set[bytes] | None = None
        self._sums_absent = False
        self._sums_named: set[bytes] = set()
        self._sums_lines = 0
        self._most_sums = len(entries) + MAX_NAMED
        self._lines_named: dict[Kind, int] = {}
        self._dispositions = Dispositions(trusted, self.find)
        self.disposition_files = sorted(name for name in entries if RECORD_NAME.fullmatch(name))
        for name in (CLOSING, MANIFEST, KEY_FILE, SUMS):
            if self._left.get(name) == "file":
                self._take_out(name)
        if self._left.get(LEAVES) == "folder":
            self._left[LEAVES] = TAKEN
        for name in sorted(name for name in entries if CERTIFICATE_NAME.fullmatch(name)):
            if self._take_out(name) == "file":
                self.find(Kind.CERTIFICATE, name)

    def find(self, kind: Kind, path: bytes | None = None, **facts: object) -> None:
        """Note a finding about `path` of this docking."""
        self.findings.append(Finding(kind, self.folder, path, **facts))  # type: ignore[arg-type]

    def _find_line(self, kind: Kind, path: bytes, detail: str, **facts: object) -> None:
        """Note a finding about one line of a list, up to `MAX_NAMED` of a kind."""
        named = self._lines_named[kind] = self._lines_named.get(kind, 0) + 1
        if named <= MAX_NAMED:
            self.find(kind, path, detail=detail, **facts)
        elif named == MAX_NAMED + 1:
            self.find(kind, path, detail="and more, which are not named one by one")

    def _complain(self, kind: Kind, wanted: str, beside: str | None) -> None:
        self.find(kind, KEY_FILE if kind is Kind.KEY_FILE_OTHER else None, expected=wanted, actual=beside)

    def cannot_read(self, path: bytes, why: str) -> None:
        """Note that a file, or a folder with all below it, cannot be read: what is not seen there is not missing."""
        self._unreadable.add(path)
        self._manifest_damaged = self._manifest_damaged or path == MANIFEST
        self.find(Kind.UNREADABLE, path, detail=why)

    def missing(self, kind: Kind, path: bytes) -> None:
        """Note that `path` is missing, unless it lies where nothing could be read."""
        if not self.hides(path):
            self.find(kind, path)

    def hides(self, path: bytes) -> bool:
        """Whether `path`, or a folder that holds it, cannot be read."""
        while path and path not in self._unreadable:
            path = path.rpartition(b"/")[0]
        return path in self._unreadable

    @property
    def entries_known(self) -> bool:
        """Whether the manifest was read and is whole."""
        return not self._manifest_damaged

    # --- 1, 2: key and closing -----------------------------------------------------------------------------------

    def read_key_file(self, raw: bytes | None) -> None:
        """1. The key line that lies beside the docking; None when it is missing."""
        if raw is None:
            self.missing(Kind.KEY_FILE_MISSING, KEY_FILE)
            return
        try:
            self.signers.take_key_file(raw)
        except KeyInvalid as error:
            self.find(Kind.KEY_FILE_ALTERED, KEY_FILE, detail=str(error))

    def read_closing(self, raw: bytes | None) -> Statement | None:
        """2. The closing envelope; None when it is missing."""
        if raw is None:
            self.missing(Kind.CLOSING_MISSING, CLOSING)
            return None
        try:
            statement = self.signers.open(raw)
        except CustodyError as error:
            self.find(Kind.CLOSING_ALTERED, CLOSING, detail=str(error))
            return None
        if not isinstance(statement.event, DockingClosed):
            self.find(Kind.CLOSING_ALTERED, CLOSING, detail=f"it is a {statement.event.TYPE}")
            return None
        self.closed = statement.event
        if not statement.event.complete:
            self.find(Kind.INCOMPLETE_OFFLOAD, None, detail=statement.event.reason)
        return statement

    # --- dispositions --------------------------------------------------------------------------------------------

    def read_disposition(self, name: bytes, raw: bytes | None) -> Statement | None:
        """5. A record of a disposition, after the closing and before the manifest."""
        if raw is None or self._take_out(name) != "file":
            return None
        return self._dispositions.take(name, raw, self.closed, self.signers.beside)

    def gone(self, sealed: Sealed) -> bool:
        """5. A sealed file is not there: whether it was disposed of; if not, it is missing."""
        authority = self._dispositions.authority(sealed.event)
        if authority is None or self.hides(sealed.path):
            self.missing(Kind.MISSING, sealed.path)
            return False
        self.find(Kind.DISPOSED, sealed.path, actual=authority)
        return True

    # --- 3, 4: manifest and seals --------------------------------------------------------------------------------

    def read_line(self, number: int, line: bytes) -> tuple[Sealed, Statement] | None:
        """3. and 4. One line of the manifest; a sealed file to look at when it holds an accepted seal."""
        try:
            item = parse_line(line)
        except FormatError as error:
            self._damaged(f"line {number}: {error}")
            return None
        if self._counts is not None or (number == 1) != isinstance(item, Header):
            self._damaged(f"line {number}: a line out of order")
        return self._take(item)

    def _take(self, item: Item) -> tuple[Sealed, Statement] | None:
        match item:
            case Header():
                self.header = item
                self._agree(item.docking_id, item.camera_id, item.bay, item.station)
            case Counts():
                self._counts = item
            case MoreGaps(entry, gaps):
                if entry not in self._gaps_open and len(self._gaps_open) > self._last_entry + MAX_NAMED:
                    return None  # so many gaps of no entry are told already
                rest = self._gaps_open.get(entry, [0, 0])
                rest[0] -= len(gaps)
                rest[1] -= sum(gap.length_bytes for gap in gaps)
                self._gaps_open[entry] = rest
            case Met():
                self._tally.add(item)
            case Copied():
                self._count_entry(item.entry)
                return self._take_seal(item)
            case _:
                self._count_entry(item.entry)
                self._tally.add(item)
                if isinstance(item, AlreadySaved):
                    self.references.append(item)
        return None

    def _count_entry(self, entry: int) -> None:
        self._last_entry += 1
        if entry != self._last_entry and self._entry_fault is None:
            self._entry_fault = f"entry {entry} where {self._last_entry} is due"
        self._last_entry = entry

    def _agree(self, docking_id: str, camera_id: str, bay: str, station: str) -> None:
        closed = self.closed
        if closed is not None and (docking_id, camera_id, bay, station) != (
            closed.docking_id,
            closed.camera_id,
            closed.bay,
            closed.source,
        ):
            self.find(Kind.MANIFEST_WRONG, MANIFEST, detail="header and closing name different dockings")

    def _take_seal(self, copied: Copied) -> tuple[Sealed, Statement] | None:
        try:
            statement = self.signers.open(copied.envelope)
        except CustodyError as error:
            self._find_line(Kind.SEAL_ALTERED, MANIFEST, f"entry {copied.entry}: {error}", actual=copied.entry)
            self._manifest_damaged = True  # what this seal covered cannot be told from what was added
            return None
        event = statement.event
        if not isinstance(event, SegmentSealed):
            self._seal_wrong(copied.entry, f"it is a {event.TYPE}")
            return None
        self._tally.add(copied, event.size_bytes)
        fault = self._seal_fault(copied.entry, event)
        if fault is not None:
            self._seal_wrong(copied.entry, fault)
            return None
        if event.gap_count:
            self.find(Kind.GAPS, _relative(event), expected=event.gap_count, actual=event.gap_bytes)
        rest = [event.gap_count - len(event.gaps), event.gap_bytes - sum(g.length_bytes for g in event.gaps)]
        if rest != [0, 0]:
            self._gaps_open[copied.entry] = rest
        self.files += 1
        self.bytes_sealed += event.size_bytes
        return self._claim(event), statement

    def _seal_wrong(self, entry: int, fault: str) -> None:
        self._find_line(Kind.SEAL_WRONG, MANIFEST, f"entry {entry}: {fault}", actual=entry)

    def _seal_fault(self, entry: int, event: SegmentSealed) -> str | None:
        """4. Why a seal with a good signature does not belong here; None when it does."""
        header = self.header
        parts = event.vault_path.split("/")
        if header is not None and (event.docking_id, event.camera_id, event.bay, event.source) != (
            header.docking_id,
            header.camera_id,
            header.bay,
            header.station,
        ):
            return f"it is of docking {event.docking_id}, camera {event.camera_id}, bay {event.bay}, {event.source}"
        if event.entry != entry:
            return f"it is of entry {event.entry}"
        if len(parts) <= PREFIX_PARTS or any(part in ("", ".", "..") or "\0" in part for part in parts):
            return "its path in the vault is none"
        prefix = "/".join(parts[:PREFIX_PARTS])
        self._prefix = self._prefix or prefix
        if prefix != self._prefix:
            return f"it lies in {prefix}, others in {self._prefix}"
        if event.chunk_bytes != CHUNK_BYTES or event.chunk_count != -(-event.size_bytes // CHUNK_BYTES):
            return "its number of chunks does not fit its size"
        if self._left.get(_relative(event)) == TAKEN:
            return "its file is sealed twice"
        return None

    def _claim(self, event: SegmentSealed) -> Sealed:
        """4. and 8. Take file and leaves out of what is left."""
        path = _relative(event)
        leaves = LEAVES + b"/" + path + b".leaves"
        return Sealed(event, path, self._take_out(path), leaves if self._take_out(leaves) == "file" else None)

    def _take_out(self, path: bytes) -> str | None:
        found = self._left.get(path)
        if found is not None:
            self._left[path] = TAKEN
        folder = path.rpartition(b"/")[0]
        while folder and self._left.get(folder) == "folder":
            self._left[folder] = TAKEN
            folder = folder.rpartition(b"/")[0]
        return found

    def _damaged(self, detail: str) -> None:
        self._manifest_damaged = True
        if not self._said_damaged:  # one finding, however many lines
            self._said_damaged = True
            self.find(Kind.MANIFEST_ALTERED, MANIFEST, detail=detail)

    # --- 6: SHA256SUMS -------------------------------------------------------------------------------------------

    def begin_sums(self) -> None:
        """6. SHA256SUMS is there; its lines come before the manifest's."""
        self._sums = set()

    def read_sums_line(self, line: bytes) -> None:
        """6. One line of SHA256SUMS."""
        if self._sums is None:
            raise ValueError("begin_sums comes first")
        self._sums_lines += 1
        mark = _mark(line)
        if mark in self._sums:
            self._find_line(Kind.SUMS_ALTERED, SUMS, "a line stands twice")
        elif len(self._sums) < self._most_sums:  # `finish_sums` counts the others
            self._sums.add(mark)

    def no_sums(self) -> None:
        """6. SHA256SUMS is missing: right where nothing new was saved, a finding with the first sealed file."""
        self._sums_absent = True

    def expect_sums_line(self, sealed: Sealed) -> None:
        """6. The line of a sealed file must be there."""
        if self._sums_absent:
            self._sums_absent = False  # one finding, however many files
            self.missing(Kind.SUMS_MISSING, SUMS)
        mark = _mark(checksum_line(sealed.event.sha256, sealed.path))
        if self._sums is None:
            return
        if mark in self._sums:
            self._sums.discard(mark)
        elif self._sums_lines <= self._most_sums:
            self._sums_named.add(sealed.path)
            self.find(Kind.SUMS_ALTERED, sealed.path, detail="line missing or different")

    def unexpected_sums_line(self, line: bytes) -> None:
        """6. Called again for every line after the manifest: whatever no seal supported is named."""
        if self._sums and _mark(line) in self._sums and not self._manifest_damaged:
            path = checksum_path(line)
            if path is None or path not in self._sums_named:
                self._find_line(Kind.SUMS_ALTERED, path or SUMS, "a line that no seal supports")

    @property
    def sums_unsettled(self) -> bool:
        """Whether SHA256SUMS holds lines that no seal supported."""
        return bool(self._sums)

    def finish_sums(self) -> None:
        """6. SHA256SUMS is there when there are sealed files; a station writes none for none."""
        if self._sums is None and self.files:
            self.missing(Kind.SUMS_MISSING, SUMS)
        if self._sums_lines > max(self._most_sums, self.files):
            self.find(Kind.SUMS_ALTERED, SUMS, detail=f"{self._sums_lines} lines for {self.files} sealed files")

    # --- 3, 7, 8: the end ----------------------------------------------------------------------------------------

    def finish(self, manifest: tuple[str, int] | None) -> None:
        """3., 7. and 8., with the manifest's SHA-256 and length as read; None when there is none."""
        if manifest is None:
            self._manifest_damaged = True
        else:
            self._finish_manifest(*manifest)
        left = sorted((path, kind) for path, kind in self._left.items() if kind != TAKEN)
        in_use = {path.rpartition(b"/")[0] for path, _ in left}  # folders that what lies in them names
        for path, kind in left:
            if kind != "folder" or path not in in_use:
                maybe_sealed = path.startswith(LEAVES + b"/") or not path.startswith(b".custody/")
                unsealed = self._manifest_damaged and kind == "file" and maybe_sealed
                self.find(Kind.UNSEALED if unsealed else Kind.ADDED, path, actual=kind)

    def _finish_manifest(self, sha256: str, size: int) -> None:
        closed = self.closed
        if closed is not None and (sha256, size) != (closed.manifest_sha256, closed.manifest_bytes):
            self._damaged("not the manifest that the closing names")
        if self._counts is None:
            self._damaged("it ends before its counts")
        if self._manifest_damaged:
            return  # the numbers of a damaged manifest say nothing new
        if self._entry_fault is not None:
            self.find(Kind.ENTRIES_WRONG, MANIFEST, detail=self._entry_fault)
        if self._counts != self._tally.counts:
            self.find(Kind.COUNTS_WRONG, MANIFEST, expected=str(self._tally.counts), actual=str(self._counts))
        if closed is not None and closed.counts != self._counts:
            self.find(Kind.COUNTS_WRONG, CLOSING, expected=str(self._counts), actual=str(closed.counts))
        for entry, rest in self._gaps_open.items():
            if rest != [0, 0]:
                self.find(Kind.COUNTS_WRONG, MANIFEST, actual=entry, detail=f"entry {entry}: gaps do not add up")


def _relative(event: SegmentSealed) -> bytes:
    return "/".join(event.vault_path.split("/")[PREFIX_PARTS:]).encode()


def _mark(line: bytes) -> bytes:
    return blake2b(line, digest_size=16).digest()
