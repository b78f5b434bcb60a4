"""Builds bundles from public test keys and fixed times, without the hub's writer; a fault bends one step.

Only names of places are shared with the verifier (custody/bundle.py). The log is built here, the simplest way.
"""

from __future__ import annotations

import hashlib
import shutil
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import leaf_hash, tree_root
from custody.envelope import parse_envelope
from custody.event import Event, Sha256Hex
from custody.events import decode_event
from custody.hubevents import AccountCreated, BundleExported, BundleFinished, KeyRevoked, StationEnrolled
from custody.manifest import Copied, ManifestReader
from custody.merkle import inclusion_proof
from custody.stationevents import DockingStarted, SegmentSealed
from custody.tlogproof import LogProof
from tests.vectors.dockings import STATION_KEY, Docking, Station, build, digest, pattern

LOG_KEY = SigningKey.from_seed("hub.example/log", bytes(range(96, 128)))
HUB_KEY = SigningKey.from_seed("hub.example/events", bytes(range(128, 160)))
FILES = {"DCIM/VID00001.MP4": pattern(1, (1 << 20) + 70), "DCIM/VID00002.MP4": pattern(2, 300), "empty.log": b""}
Files = dict[str, bytes]


@dataclass
class Hub(Station):
    """The hub's own chain: its events name the source `hub`, its key has a path for a name."""

    key: SigningKey = HUB_KEY

    def seal(self, make: Callable[..., Event]) -> tuple[Event, bytes]:
        """Sign what `make` returns for the chain fields."""
        return Station.seal(self, lambda **common: make(**common | {"source": "hub"}))


@dataclass
class Bundle:
    """What to build. The hooks change one thing each before it is signed or written."""

    files: Mapping[str, bytes] = field(default_factory=lambda: dict(FILES))
    log_key: SigningKey = LOG_KEY
    enrolled: SigningKey = STATION_KEY
    sealed_by: SigningKey | None = None
    left_out: frozenset[str] = frozenset()  # files of which the bundle holds nothing
    bend_export: Callable[[BundleExported], BundleExported] = lambda event: event
    bend_finish: Callable[[BundleFinished], BundleFinished] = lambda event: event
    cosign: Callable[[str], str] = lambda note: note
    finished_by: Station | None = None  # another than the hub states that the bundle is whole
    bend_files: Callable[[Files], None] = lambda files: None  # before the lists are made: as a forger would
    bend_entries: Callable[[list[bytes]], None] = lambda entries: None  # what the log holds, before it is signed
    bend_closing: Callable[[Files], None] = lambda files: None
    revoked_from: int | None = None  # the station's key is revoked after the docking, its events from this seq in doubt
    verifier: bytes = b"custody.pyz of the test vectors\n"


def build_bundle(top: Path, spec: Bundle) -> None:
    """Write the bundle into the new folder `top`."""
    files = make_bundle(spec)
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)


def make_bundle(spec: Bundle) -> Files:
    """Every file of the bundle by path."""
    hub = Hub()
    entries = [_enrolment(hub, spec)]
    payload, station_entries, manifest, folder = _docking(spec)
    entries += [station_entries[0], _say(hub, AccountCreated, account="li", role="auditor"), *station_entries[1:]]
    seals = {i: e for i, e in enumerate(map(_event, entries)) if isinstance(e, SegmentSealed)}
    here = {i: s for i, s in seals.items() if s.path not in spec.left_out}
    if spec.revoked_from is not None:
        entries.append(_revocation(hub, spec.revoked_from, seals))
    entries.append(_export(hub, spec, here))
    spec.bend_entries(entries)
    files: Files = {f"data/{STATION_KEY.name}/{s.vault_path}": payload[s.path] for s in here.values()}
    leaves = {s.vault_path: digest(payload[s.path])[1] for s in here.values() if s.chunk_count > 1}
    files |= {f"leaves/{STATION_KEY.name}/{path}.leaves": content for path, content in leaves.items()}
    note = spec.cosign(log_note(spec.log_key, entries))
    files["checkpoint"] = note.encode()
    for index in [i for i, e in enumerate(map(_event, entries)) if not isinstance(e, AccountCreated)]:
        if index in here or index not in seals:
            files[f"envelopes/{index}.dsse.json"] = entries[index]
            files[f"proofs/{index}.tlog-proof"] = log_proof(entries, index, note)
    if len(here) == len(seals):
        files[f"manifests/{STATION_KEY.name}/{folder}/manifest.jsonl"] = manifest
    keys = {"log": spec.log_key, "hub": HUB_KEY, f"station-{STATION_KEY.name}": spec.enrolled}
    files |= {f"untrusted-keys/{name}.vkey": f"{key.verify_key.line}\n".encode() for name, key in keys.items()}
    files |= {"register.csv": b"time\n", "说明.html": b"<!doctype html>\n", "custody.pyz": spec.verifier}
    files |= {"bagit.txt": b"BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n", "bag-info.txt": b"A: b\n"}
    files["manifest-sha256.txt"] = _lines({n: c for n, c in files.items() if n.startswith("data/")})
    files["SHA256SUMS"] = files["manifest-sha256.txt"]  # equal for names without a percent sign or backslash
    spec.bend_files(files)
    relist(files)
    finish(hub, spec, entries, files)
    spec.bend_closing(files)
    return files


def relist(files: Files) -> None:
    """Make the tag manifest over what is there."""
    tags = {n: c for n, c in files.items() if not n.startswith(("data/", "closing/")) and n != "tagmanifest-sha256.txt"}
    files["tagmanifest-sha256.txt"] = _lines(tags)


def _lines(files: Mapping[str, bytes]) -> bytes:
    names = sorted(files, key=str.encode)
    return "".join(f"{hashlib.sha256(files[name]).hexdigest()}  {name}\n" for name in names).encode()


def _enrolment(hub: Hub, spec: Bundle) -> bytes:
    return _say(hub, StationEnrolled, station=STATION_KEY.name, key_line=spec.enrolled.verify_key.line)


def _revocation(hub: Hub, from_seq: int, seals: Mapping[int, SegmentSealed]) -> bytes:
    facts = {"change_id": "0195f000-0e00", "station": STATION_KEY.name, "key_line": STATION_KEY.verify_key.line}
    people = {"reason": "stolen", "requested_by": "li", "approved_by": "wang"}
    last_seq = max(seal.seq for seal in seals.values()) + 1  # the closing
    return _say(hub, KeyRevoked, **facts, **people, from_seq=from_seq, last_seq=last_seq)


def _docking(spec: Bundle) -> tuple[dict[str, bytes], list[bytes], bytes, str]:
    """Contents by path; the station's envelopes in order; the manifest; the docking's folder in the vault."""
    station = Station()
    opening = _say(
        station,
        DockingStarted,
        docking_id="0195f000-d0c1",
        camera_id="cam-7",
        bay="1",
        source_kind="image",
        file_systems=("FAT32",),
        labels=("BODYCAM",),
        volume_ids=("1234-5678",),
        source_bytes=32 << 30,
        new_files=len(spec.files),
        new_bytes=sum(map(len, spec.files.values())),
    )
    with tempfile.TemporaryDirectory() as scratch:
        folder = build(Path(scratch), Docking(spec.files, sealed_by=spec.sealed_by), station)
        manifest = (folder / ".custody/manifest.jsonl").read_bytes()
        closing = (folder / ".custody/completed.dsse.json").read_bytes()
        with (folder / ".custody/manifest.jsonl").open("rb") as stream:
            seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
        place = folder.relative_to(scratch).as_posix()
        shutil.rmtree(folder)
    return dict(spec.files), [opening, *seals, closing], manifest, place


def _export(hub: Hub, spec: Bundle, here: Mapping[int, SegmentSealed]) -> bytes:
    def make(**common: object) -> Event:
        return spec.bend_export(
            BundleExported(
                **common,  # type: ignore[arg-type]
                bundle_id="0195f000-b0d1",
                part=1,
                parts=1,
                recordings=tuple(here),
                recordings_in_all=len(here),
                bytes_in_all=sum(seal.size_bytes for seal in here.values()),
                selection="all",
                recipient="区法院",
                reason="test",
                operator="li",
            )
        )

    return hub.seal(make)[1]


def finish(hub: Hub, spec: Bundle, entries: list[bytes], files: Files) -> None:
    """State in the log, after `entries`, that the bundle of these files is whole."""

    def make(**common: object) -> Event:
        digest_ = hashlib.sha256(files["tagmanifest-sha256.txt"]).hexdigest()
        return spec.bend_finish(
            BundleFinished(
                **common,  # type: ignore[arg-type]
                bundle_id="0195f000-b0d1",
                complete=True,
                reason="complete",
                tag_manifest_sha256=Sha256Hex(digest_),
            )
        )

    later = [*entries, (spec.finished_by or hub).seal(make)[1]]
    files["closing/finished.dsse.json"] = later[-1]
    files["closing/finished.tlog-proof"] = log_proof(later, len(entries), log_note(spec.log_key, later))


def _say(speaker: Station, kind: type[Event], **facts: object) -> bytes:
    return speaker.seal(lambda **common: kind(**common, **facts))[1]


def _event(raw: bytes) -> Event:
    envelope = parse_envelope(raw)
    return decode_event(envelope.payload_type, envelope.payload)


def log_note(key: SigningKey, entries: list[bytes]) -> str:
    """The signed checkpoint of a log of these entries."""
    return sign_checkpoint(Checkpoint(key.name, len(entries), tree_root(map(leaf_hash, entries))), key)


def log_proof(entries: list[bytes], index: int, note: str) -> bytes:
    """The tlog-proof of entry `index` under that checkpoint."""

    def subtree(level: int, place: int) -> bytes:
        return tree_root(map(leaf_hash, entries[place << level : (place + 1) << level]))

    return LogProof(index, tuple(inclusion_proof(index, len(entries), subtree)), note).text.encode()


def bent_export(**changes: object) -> Callable[[BundleExported], BundleExported]:
    """A hook that changes the statement of the export."""
    return lambda event: replace(event, **changes)  # type: ignore[arg-type]


def bent_finish(**changes: object) -> Callable[[BundleFinished], BundleFinished]:
    """A hook that changes the statement that the bundle is whole."""
    return lambda event: replace(event, **changes)  # type: ignore[arg-type]
