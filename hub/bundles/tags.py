"""Everything in a bundle beside the footage: statements, proofs, keys, lists and the page for people."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path

from sqlalchemy import Connection, select

from custody import bundle
from custody.bag import BAG_INFO, BAGIT, DECLARATION, PAYLOAD_MANIFEST, TAG_MANIFEST, info_lines, manifest_bytes
from custody.bundle import (
    OUTSIDE_THE_TAG_MANIFEST,
    docking_folder,
    envelope_path,
    footage_path,
    leaves_path,
    manifest_path,
    proof_path,
)
from custody.disk import list_tree
from custody.hubevents import BundleExported, KeyRotated
from custody.inert import inert
from custody.stationevents import DockingClosed, SegmentSealed, StationKeyRotated
from custody.sums import checksum_line
from custody.zipped import verifier_zipapp
from hub import log
from hub.bundles.footage import TargetFailed
from hub.bundles.page import render_page, render_register
from hub.bundles.selection import (
    Entry,
    Prover,
    closing_of,
    copies_in_log,
    exports_in_log,
    number_of,
    read_entries,
    segments_of,
    statements_around,
)
from hub.db import Database
from hub.keys import HubKeys
from hub.tables import log_entry, station

_MANIFEST = ".custody/manifest.jsonl"
Stamp = Callable[[str], bytes | None]  # the time-stamp of a checkpoint, where there is one to have


def no_stamp(_note: str) -> bytes | None:
    """A hub without an authority."""
    return None


def write_tags(
    db: Database,
    keys: HubKeys,
    part: Path,
    bundle_id: str,
    seals: Mapping[int, SegmentSealed],
    leaves: Mapping[int, bytes],
    vaults: Sequence[Path],
    stamp: Stamp = no_stamp,
) -> str:
    """Write all tag files of the bundle in `part` and return the SHA-256 of its tag manifest.

    The footage and the statement of the export are there already; what an interrupted run left is written anew.
    """
    write = _Writer(part)
    with db.read() as connection:
        exports, copies = exports_in_log(connection), copies_in_log(connection)
        own = [(index, export) for index, export in exports if export.bundle_id == bundle_id]
        approval = copies.get(own[0][1].request_id or "", [])
        stated = (*own, *approval)
        wanted = {*seals, *statements_around(connection, seals.values()), *(index for index, _ in stated)}
        entries, note = _write_statements(connection, write, wanted)
        _write_keys(connection, write, keys, {seal.source for seal in seals.values()})
        whole = _whole_dockings(connection, seals.values(), closing_of(entries))
    token = stamp(note)
    (part / bundle.TIMESTAMP.decode()).unlink(missing_ok=True)  # an interrupted run's is of another checkpoint
    if token is not None:
        write(bundle.TIMESTAMP, token)
    for index, seal in seals.items():
        if seal.chunk_count > 1:
            write(leaves_path(seal), leaves[index])
    for closing, folder in whole:
        _write_manifest(write, closing, folder, vaults)
    digests = {footage_path(seal): str(seal.sha256) for seal in seals.values()}
    write(bundle.SUMS, b"".join(checksum_line(digest, path) for path, digest in sorted(digests.items())))
    write(PAYLOAD_MANIFEST, b"".join(manifest_bytes(digests)))
    write(bundle.REGISTER, render_register(exports, copies, set(seals)))
    write(bundle.PAGE, render_page(own, approval, seals, keys.lines))
    write(bundle.VERIFIER, verifier_zipapp())
    write(BAGIT, DECLARATION)
    write(BAG_INFO, _info(own[0][1], number_of(approval), seals))
    write.check_names(set(digests))
    return write.tag_manifest()


def write_closing(db: Database, part: Path, index: int) -> None:
    """The statement that the bundle is whole (entry `index`) and its proof, which the tag manifest cannot list."""
    write = _Writer(part)
    with db.read() as connection:
        [entry] = read_entries(connection, [index])
        write(bundle.FINISHED, entry.raw)
        proof = Prover(connection).prove(index)
    body, _, signatures = proof.note.rpartition("\n\n")
    log_signature = signatures.partition("\n")[0]  # the log's own comes first; the verifier wants it alone
    write(bundle.FINISHED_PROOF, replace(proof, note=f"{body}\n\n{log_signature}\n").text.encode())


class _Writer:
    """Writes files of one bundle and remembers their digests. Durability is `publish`'s."""

    def __init__(self, part: Path) -> None:
        self.part = part
        self._digests: dict[bytes, str] = {}

    def __call__(self, path: bytes, content: bytes) -> None:
        target = self.part / path.decode()
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
        self._digests[path] = hashlib.sha256(content).hexdigest()

    def copy(self, source: Path, path: bytes) -> None:
        """Copy a file of any length."""
        target = self.part / path.decode()
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
        self._digests[path] = _digest(target)[0]

    def check_names(self, footage: set[bytes]) -> None:
        """The folder holds what was written under these very names, and nothing else. Raises TargetFailed.

        A disk that takes two names for one (case, or another form of a character) has lost one of the two by now.
        """
        held = {p: kind for p, kind in list_tree(os.fsencode(self.part)).entries.items() if kind != "folder"}
        expected = footage | self._digests.keys()
        wrong = sorted((expected ^ held.keys()) - OUTSIDE_THE_TAG_MANIFEST)
        if wrong:
            shown, lacks = inert(wrong[0]), wrong[0] in expected
            raise TargetFailed(
                f"目标磁盘上的文件与写入的不一致：{'缺少' if lacks else '多出'} {shown}。请换用区分大小写的磁盘，"
                f"或删除 {self.part} 后重新导出。 / the disk does not hold the names that were written: {shown} "
                f"{'is not there' if lacks else 'is too much'}. Use a disk that tells names apart by case, or delete "
                f"{self.part} and export again."
            )

    def tag_manifest(self) -> str:
        """Write the list of everything written, and return its SHA-256."""
        content = b"".join(manifest_bytes(self._digests))
        (self.part / TAG_MANIFEST.decode()).write_bytes(content)
        return hashlib.sha256(content).hexdigest()


def _write_statements(connection: Connection, write: _Writer, wanted: set[int]) -> tuple[list[DockingClosed], str]:
    """Envelopes and proofs under one checkpoint; the closings among them, and that checkpoint."""
    prover = Prover(connection, witnessed_over=max(wanted))
    write(bundle.CHECKPOINT, prover.note.encode())
    closings = []
    for entry in read_entries(connection, wanted):
        _write_statement(write, prover, entry)
        if isinstance(entry.event, DockingClosed):
            closings.append(entry.event)
    return closings, prover.note


def _write_statement(write: _Writer, prover: Prover, entry: Entry) -> None:
    write(envelope_path(entry.index), entry.raw)
    write(proof_path(entry.index), prover.prove(entry.index).text.encode())


def _write_keys(connection: Connection, write: _Writer, keys: HubKeys, stations: set[str]) -> None:
    write(bundle.LOG_KEY, f"{keys.log.verify_key.line}\n".encode())
    write(bundle.HUB_KEY, f"{keys.events.verify_key.line}\n".encode())
    kind, source = log_entry.c.event_type, log_entry.c.source
    hubs = (kind == KeyRotated.TYPE) & (source == log.HUB_SOURCE)
    theirs = (kind == StationKeyRotated.TYPE) & source.in_(sorted(stations))
    rotations = select(log_entry.c.idx, log_entry.c.envelope).where(hubs | theirs).order_by(log_entry.c.idx)
    for entry in connection.execute(rotations):  # so that an older key on paper still leads here
        write(bundle.ROTATION + b"%012d.dsse.json" % entry.idx, log.stored_bytes(entry.envelope))
    rows = connection.execute(select(station.c.id, station.c.key_line).where(station.c.id.in_(sorted(stations))))
    for row in rows:
        write(bundle.STATION_KEY + f"{row.id}.vkey".encode(), f"{row.key_line}\n".encode())


def _whole_dockings(
    connection: Connection, seals: Iterable[SegmentSealed], closings: Mapping[tuple[str, str], DockingClosed]
) -> list[tuple[DockingClosed, str]]:
    """Closings of dockings of which every recording is in the bundle, with their folders.

    Only their manifests are handed out: that of a docking exported in part would name what is not.
    """
    counts: dict[tuple[str, str], int] = {}
    folders: dict[tuple[str, str], str] = {}
    for seal in seals:
        key = (seal.source, seal.docking_id)
        counts[key] = counts.get(key, 0) + 1
        folders.setdefault(key, docking_folder(seal))
    return [
        (closings[key], folders[key])
        for key, count in counts.items()
        if key in closings and count == closings[key].counts.copied == segments_of(connection, *key)
    ]


def _write_manifest(write: _Writer, closing: DockingClosed, folder: str, vaults: Sequence[Path]) -> None:
    """The docking's manifest, where a vault has the one that the closing names; the verifier says when it lacks."""
    for vault in vaults:
        source = vault / folder / _MANIFEST
        if source.is_file() and _digest(source) == (closing.manifest_sha256, closing.manifest_bytes):
            write.copy(source, manifest_path(closing.source, folder))
            return


def _digest(path: Path) -> tuple[str, int]:
    digest, size = hashlib.sha256(), 0
    with path.open("rb") as stream:
        while part := stream.read(1 << 20):
            digest.update(part)
            size += len(part)
    return digest.hexdigest(), size


def _info(export: BundleExported, number: int | None, seals: Mapping[int, SegmentSealed]) -> bytes:
    total = sum(seal.size_bytes for seal in seals.values())
    return info_lines(
        [
            *([] if number is None else [("External-Description", f"Copy no. {number}")]),
            ("Bagging-Date", f"{export.at:%Y-%m-%d}"),
            ("Bag-Software-Agent", f"custodock {version('custodock')}"),
            ("External-Identifier", export.bundle_id),
            ("Payload-Oxum", f"{total}.{len(seals)}"),
            ("Custodock-Bundle", "1"),
        ]
    )
