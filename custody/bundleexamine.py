"""Reads a bundle from the disk and lets `bundlecheck.py` judge: offline, streaming, without ever following a link.

Memory depends on the number of files, never on their size.
"""

from __future__ import annotations

import hashlib
import os
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from cryptography.x509 import Certificate

from custody.bag import BAGIT, MAX_BAG_LINE_BYTES, PAYLOAD_MANIFEST, TAG_MANIFEST, read_manifest
from custody.bundle import (
    CHECKPOINT,
    FINISHED,
    FINISHED_PROOF,
    KEYS,
    ROTATION,
    SUMS,
    TIMESTAMP,
    envelope_index,
    envelope_path,
    leaves_path,
    looks_like_bundle,
    proof_path,
)
from custody.bundlecheck import BundleCheck, DockingKey
from custody.bundlefacts import BundleFacts
from custody.checkpoint import MAX_NOTE_BYTES, VerifyKey
from custody.cosignature import WitnessKey
from custody.disk import Hasher, NotRegular, list_folder, list_tree, open_stream, read_small, reason
from custody.envelope import MAX_ENVELOPE_BYTES
from custody.errors import FormatError
from custody.examine import MAX_KEY_FILE_BYTES, DockingResult, Report, observe
from custody.finding import Kind, verdict
from custody.footage import judge
from custody.manifest import MAX_LINE_BYTES as MAX_MANIFEST_LINE_BYTES
from custody.manifest import Copied, parse_line
from custody.timestamp import MAX_TOKEN_BYTES
from custody.tlogproof import MAX_PROOF_BYTES

MAX_TAG_BYTES = 1 << 20  # read at once; longer tag files are digested in pieces of this length


def is_bundle(path: bytes) -> bool:
    """Whether `path` is a bundle, or what is left of one. Raises OSError when it cannot be looked at."""
    return os.path.isdir(path) and looks_like_bundle({name for name, _ in list_folder(path)})


def examine_bundle(
    path: bytes,
    trusted: Sequence[VerifyKey],
    witnesses: Sequence[WitnessKey],
    on_start: Callable[[int], None],
    hasher: Hasher,
    authorities: Sequence[Certificate] = (),
) -> Report:
    """Verify the bundle in folder `path`; `on_start` hears how many bytes of footage there are.

    Raises OSError when `path` itself cannot be read.
    """
    path = os.path.realpath(path)
    listing = list_tree(path)
    check = BundleCheck(path, listing.entries, trusted, witnesses)
    for folder, why in listing.unreadable:
        check.hide(folder, why)
    read = _Reader(check)
    check.expect_keys()
    for name in sorted(name for name in listing.entries if name.startswith(ROTATION)):  # 1
        if (raw := read.small(name, MAX_ENVELOPE_BYTES)) is not None:
            check.read_rotation(name, raw)
    for name in sorted(listing.entries):  # 1
        if (
            name.startswith(KEYS + b"/")
            and not name.startswith(ROTATION)
            and (raw := read.small(name, MAX_KEY_FILE_BYTES)) is not None
        ):
            check.read_key(name, raw)
    check.log.read_checkpoint(read.small(CHECKPOINT, MAX_NOTE_BYTES))  # 2
    check.log.read_timestamp(read.small(TIMESTAMP, MAX_TOKEN_BYTES), authorities)
    check.read_finish(read.small(FINISHED, MAX_ENVELOPE_BYTES), read.small(FINISHED_PROOF, MAX_PROOF_BYTES),
                      read.sha256(TAG_MANIFEST))  # 3  # fmt: skip
    _read_bag(check, read)  # 4
    indexes = sorted(i for name in listing.entries if (i := envelope_index(name)) is not None)
    for index in indexes:  # 5
        raw = read.small(envelope_path(index), MAX_ENVELOPE_BYTES)
        if raw is not None:
            check.read_envelope(index, raw, read.small(proof_path(index), MAX_PROOF_BYTES))
    check.check_export()  # 6
    on_start(sum(seal.size_bytes for seal in check.seals.values()))
    _read_footage(check, read, hasher)  # 7
    check.read_payload_manifest(read.lines(PAYLOAD_MANIFEST))  # 8
    check.bag.read_sums(as_they_should=read.equals(SUMS, check.bag.sums_lines()))
    for key in sorted(check.folders):  # 9
        _read_docking(check, read, key)
    check.finish()  # 10, 11
    return _report(path, check, asked_for_time=bool(authorities))


class _Reader:
    """Reads files of one bundle; what the system refuses to read becomes a finding, once."""

    def __init__(self, check: BundleCheck) -> None:
        self._contents = check.contents
        self._refused: set[bytes] = set()

    def _path(self, name: bytes) -> bytes:
        return os.path.join(self._contents.folder, name)

    def refuse(self, name: bytes, error: OSError) -> None:
        if name not in self._refused:
            self._refused.add(name)
            self._contents.find(Kind.UNREADABLE, name, detail=reason(error))

    def small(self, name: bytes, limit: int) -> bytes | None:
        """A whole small file; None when it is not there, no regular file, or refused."""
        if not self._contents.is_file(name):
            return None
        try:
            return read_small(self._path(name), limit)
        except (FileNotFoundError, NotADirectoryError, NotRegular):
            return None
        except OSError as error:
            self.refuse(name, error)
            return None

    def sha256(self, name: bytes) -> str | None:
        """SHA-256 of a file of any length; None as for `small`."""
        if not self._contents.is_file(name):
            return None
        try:
            with open_stream(self._path(name)) as stream:
                digest = hashlib.sha256()
                while part := stream.read(MAX_TAG_BYTES):
                    digest.update(part)
                return digest.hexdigest()
        except (FileNotFoundError, NotADirectoryError, NotRegular):
            return None
        except OSError as error:
            self.refuse(name, error)
            return None

    def refused(self, name: bytes) -> bool:
        """Whether the system refused to read it."""
        return name in self._refused

    def lines(self, name: bytes) -> Iterator[tuple[bytes, str]] | None:
        """The lines of a bag's manifest as they are read; None as for `small`."""
        return self._lines(name) if self._contents.is_file(name) else None

    def _lines(self, name: bytes) -> Iterator[tuple[bytes, str]]:
        try:
            with open_stream(self._path(name)) as stream:
                yield from read_manifest(iter(lambda: stream.readline(MAX_BAG_LINE_BYTES), b""))
        except NotRegular:
            raise FormatError("no regular file") from None
        except OSError as error:
            self.refuse(name, error)

    def equals(self, name: bytes, lines: Sequence[bytes]) -> bool:
        """Whether a file holds exactly these lines; a missing or refused one has its own finding."""
        if not self._contents.is_file(name):
            return True
        try:
            with open_stream(self._path(name)) as stream:
                return all(stream.read(len(line)) == line for line in lines) and not stream.read(1)
        except (FileNotFoundError, NotADirectoryError, NotRegular):
            return False  # it was there when the folder was listed
        except OSError as error:
            self.refuse(name, error)
            return True


def _read_bag(check: BundleCheck, read: _Reader) -> None:
    """4. bagit.txt and the tag manifest, then every file that it lists."""
    check.bag.begin()
    check.bag.read_declaration(read.small(BAGIT, MAX_TAG_BYTES))
    check.bag.read_tag_manifest(read.lines(TAG_MANIFEST))
    for name in check.bag.listed:
        digest = read.sha256(name)
        if digest is not None or not read.refused(name):
            check.bag.tag_file(name, digest)
    check.bag.end()


def _read_footage(check: BundleCheck, read: _Reader, hasher: Hasher) -> None:
    """7. Every sealed file, in the order of the log."""
    for index in sorted(check.seals):
        sealed = check.sealed_file(check.seals[index])
        if sealed.found is None:
            if not check.contents.hides(sealed.path):
                check.contents.find(Kind.MISSING, sealed.path)
            continue
        try:
            found = judge(check.contents.folder, sealed, observe(check.contents.folder, sealed, hasher))
            unseen = check.contents.hides(leaves_path(sealed.event))
            check.contents.findings += [f for f in found if not (unseen and f.kind is Kind.LEAVES_MISSING)]
        except (FileNotFoundError, NotADirectoryError):
            check.contents.find(Kind.MISSING, sealed.path)
        except NotRegular:
            check.contents.find(Kind.NOT_REGULAR, sealed.path, actual=sealed.found)
        except OSError as error:
            read.refuse(sealed.path, error)


def _read_docking(check: BundleCheck, read: _Reader, key: DockingKey) -> None:
    """9. A docking's manifest, where it is here: a stream."""
    path = check.docking_manifest(key)
    if path is None:
        return
    digest, size, here = hashlib.sha256(), 0, check.seal_hashes[key]
    copied: set[bytes] = set()
    try:
        with open_stream(os.path.join(check.contents.folder, path)) as stream:
            while line := stream.readline(MAX_MANIFEST_LINE_BYTES + 1):
                digest.update(line)
                size += len(line)
                with suppress(FormatError):  # a line that does not read cannot give the closing's digest
                    item = parse_line(line)
                    if isinstance(item, Copied):
                        seal = hashlib.sha256(item.envelope).digest()
                        if seal in here or len(copied) <= len(here):  # one strange seal is enough to tell
                            copied.add(seal)
    except (FileNotFoundError, NotADirectoryError, NotRegular):  # it was there when the folder was listed
        check.contents.find(Kind.MANIFEST_MISSING, path)
    except OSError as error:
        read.refuse(path, error)
    else:
        check.read_docking_manifest(key, path, copied, (digest.hexdigest(), size))


# --- The report ------------------------------------------------------------------------------------------------------


def _report(path: bytes, check: BundleCheck, *, asked_for_time: bool) -> Report:
    stations = tuple(sorted(check.keys.vouches.items()))
    proved = check.keys.log_key_given and bool(stations) and all(vouch != "bundle" for _, vouch in stations)
    looked_at = max(1, len(check.seals))  # a bundle without one seal has its findings
    return Report(
        path,
        verdict(check.findings, looked_at),
        tuple(check.findings),
        _dockings(check),
        proved,
        _facts(check, asked_for_time),
    )


def _facts(check: BundleCheck, asked_for_time: bool) -> BundleFacts:
    export = check.exports[0] if check.exports else None
    at = None if export is None else export.at.isoformat().replace("+00:00", "Z")
    log, stamp = check.log.checkpoint, check.log.timestamp
    untimed = "" if stamp else "no_authority" if check.log.has_timestamp else "no_timestamp" if asked_for_time else ""
    return BundleFacts(
        bundle_id=export.bundle_id if export else None,
        exported_at=at,
        recipient=export.recipient if export else "",
        reason=export.reason if export else "",
        selection=export.selection if export else "",
        operator=export.operator if export else "",
        copy_number=check.approval.copy_number,
        recordings=len(check.seals),
        origin=log.origin if log else None,
        log_size=log.size if log else None,
        log_key_given=check.keys.log_key_given,
        stations_by=tuple(sorted(check.keys.vouches.items())),
        cosigned=tuple(check.keys.cosigned),
        not_cosigned=tuple(check.keys.not_cosigned),
        timed=(stamp.authority, stamp.at.isoformat().replace("+00:00", "Z")) if stamp else None,
        untimed=untimed,
        dockings=len(check.folders),
        whole_dockings=len(check.whole_dockings),
    )


def _dockings(check: BundleCheck) -> tuple[DockingResult, ...]:
    """The dockings of which recordings are here."""
    found, by_docking = [], defaultdict(list)
    for seal in check.seals.values():
        by_docking[seal.source, seal.docking_id].append(seal)
    for (station, docking_id), seals in sorted(by_docking.items()):
        folder = check.folders[station, docking_id]
        signers = tuple(label for label in sorted(check.keys.vouches) if label.rpartition("+")[0] == station)
        where = os.path.join(check.contents.folder, b"data", station.encode(), folder.encode())
        sealed_bytes = sum(s.size_bytes for s in seals)
        found.append(DockingResult(where, docking_id, seals[0].camera_id, station, len(seals), sealed_bytes, signers))
    return tuple(found)
