"""Builds dockings as a station leaves them, from public test keys and fixed times; a fault bends one step."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from custody import manifest
from custody.checkpoint import SigningKey
from custody.digest import CHUNK_BYTES, FileDigest, RollingHash, read_chunks
from custody.event import Event, Sha256Hex
from custody.events import ChainHead, seal_event
from custody.stationevents import DockingClosed, Gap, Media, SegmentSealed
from custody.sums import checksum_line

STATION_KEY = SigningKey.from_seed("dock-test", bytes(range(32)))  # public test keys: anybody may sign with them
OTHER_KEY = SigningKey.from_seed("dock-other", bytes(range(32, 64)))
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)


@dataclass
class Station:
    """A station's key and chain. `seal` signs the next event."""

    key: SigningKey = STATION_KEY
    head: ChainHead = field(default_factory=ChainHead)

    def seal(self, make: Callable[..., Event]) -> tuple[Event, bytes]:
        """Sign what `make` returns for the chain fields."""
        seq = self.head.seq + 1
        event = make(
            id=f"0195f000-0000-7000-8000-{seq:012d}",
            source=self.key.name,
            seq=seq,
            previous=self.head.hash_hex,
            at=AT + timedelta(seconds=seq),
            clock="synchronised",
        )
        raw = seal_event(event, self.key)
        self.head = ChainHead(seq, Sha256Hex(hashlib.sha256(raw).hexdigest()))
        return event, raw


@dataclass
class Docking:
    """What to build. The hooks change one thing each before it is signed or written."""

    files: Mapping[str, bytes]
    docking_id: str = "0195f000-d0c1"
    camera: str = "cam-7"
    already_saved: tuple[tuple[str, bytes, str], ...] = ()  # path, content, docking
    failed: tuple[str, ...] = ()
    met: tuple[manifest.Met, ...] = ()
    gaps: Mapping[str, tuple[Gap, ...]] = field(default_factory=dict)
    duration_ms: int | None = 60_000
    bend_seal: Callable[[SegmentSealed], SegmentSealed] = lambda event: event
    bend_lines: Callable[[list[bytes]], list[bytes]] = lambda lines: lines
    bend_closed: Callable[[DockingClosed], DockingClosed] = lambda event: event
    sealed_by: SigningKey | None = None  # another key signs the seals


def build(vault: Path, docking: Docking, station: Station | None = None) -> Path:
    """Write the docking into `vault` and return its folder."""
    station = station or Station()
    place = f"{docking.camera}/2026/03/01/{docking.docking_id}"
    folder = vault / place
    (folder / ".custody").mkdir(parents=True)
    lines, tally, sums = [_header(docking, station)], manifest.Tally(), []
    entry = 0
    for path, content in docking.files.items():
        entry += 1
        sealed, raw = _segment(folder, place, docking, station, entry, path, content)
        lines.append(manifest.copied_line(entry, raw))
        tally.add(manifest.Copied(entry=entry, envelope=raw), sealed.size_bytes)
        sums.append(checksum_line(sealed.sha256, path.encode()))
    for saved in _others(docking, entry):
        tally.add(saved)
        lines.append(manifest.entry_line(saved))
    for met in docking.met:
        tally.add(met)
        lines.append(manifest.finding_line(met))
    for number, path in enumerate(docking.files, 1):
        lines += manifest.gap_lines(number, docking.gaps.get(path, ())[100:])
    lines = docking.bend_lines([*lines, manifest.counts_line(tally.counts)])
    _close(folder, docking, station, lines, tally, sums)
    return folder


def _header(docking: Docking, station: Station) -> bytes:
    return manifest.header_line(
        manifest.Header(
            station=station.key.name,
            docking_id=docking.docking_id,
            camera_id=docking.camera,
            bay="1",
            started_at=AT,
            source_kind="image",
            file_systems=("FAT32",),
            labels=("BODYCAM",),
            volume_ids=("1234-5678",),
            source_bytes=32 << 30,
            time_basis="camera_local",
        )
    )


def _others(docking: Docking, entry: int) -> list[manifest.AlreadySaved | manifest.Failed]:
    found: list[manifest.AlreadySaved | manifest.Failed] = []
    for path, content, saved_in in docking.already_saved:
        entry += 1
        sha256 = digest(content)[0].sha256.hex()
        found.append(
            manifest.AlreadySaved(
                entry=entry,
                path=path,
                path_raw=raw(path),
                size_bytes=len(content),
                saved_in=saved_in,
                sha256=Sha256Hex(sha256),
            )
        )
    for path in docking.failed:
        entry += 1
        found.append(
            manifest.Failed(
                entry=entry,
                path=path,
                path_raw=raw(path),
                size_bytes=9,
                code="source_unreadable",
                detail="cannot be opened",
            )
        )
    return found


def _segment(
    folder: Path, place: str, docking: Docking, station: Station, entry: int, path: str, content: bytes
) -> tuple[SegmentSealed, bytes]:
    digests, leaves = digest(content)
    gaps = docking.gaps.get(path, ())

    def make(**common: object) -> Event:
        return docking.bend_seal(
            SegmentSealed(
                **common,  # type: ignore[arg-type]
                docking_id=docking.docking_id,
                camera_id=docking.camera,
                bay="1",
                entry=entry,
                path=path,
                path_raw=raw(path),
                version=1,
                vault_path=f"{place}/{path}",
                size_bytes=len(content),
                sha256=Sha256Hex(digests.sha256.hex()),
                tree_root=Sha256Hex(digests.tree_root.hex()),
                chunk_bytes=CHUNK_BYTES,
                chunk_count=digests.chunk_count,
                modified_at="2026-03-01T15:00:00",
                time_basis="camera_local",
                gaps=gaps[:100],
                gap_count=len(gaps),
                gap_bytes=sum(g.length_bytes for g in gaps),
                changed_while_copied=False,
                media=None
                if docking.duration_ms is None
                else Media(container="MPEG-4", duration_ms=docking.duration_ms),
            )
        )

    signer = Station(docking.sealed_by, station.head) if docking.sealed_by else station
    sealed, envelope = signer.seal(make)
    station.head = signer.head
    target = folder / path
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    if digests.chunk_count > 1:
        kept = folder / ".custody" / "leaves" / f"{path}.leaves"
        kept.parent.mkdir(parents=True, exist_ok=True)
        kept.write_bytes(leaves)
    assert isinstance(sealed, SegmentSealed)
    return sealed, envelope


def _close(
    folder: Path, docking: Docking, station: Station, lines: list[bytes], tally: manifest.Tally, sums: list[bytes]
) -> None:
    reader = manifest.ManifestReader(io.BytesIO(b"".join(lines)))
    for _ in reader.lines():
        pass  # digests on the way

    def make(**common: object) -> Event:
        return docking.bend_closed(
            DockingClosed(
                **common,  # type: ignore[arg-type]
                docking_id=docking.docking_id,
                camera_id=docking.camera,
                bay="1",
                complete=not docking.failed,
                reason="unreadable_files" if docking.failed else "complete",
                counts=tally.counts,
                manifest_sha256=reader.sha256,
                manifest_bytes=reader.size_bytes,
            )
        )

    _, closing = station.seal(make)
    (folder / ".custody/manifest.jsonl").write_bytes(b"".join(lines))
    if sums:
        (folder / "SHA256SUMS").write_bytes(b"".join(sums))
    (folder / ".custody/station.vkey").write_text(f"{station.key.verify_key.line}\n")
    (folder / ".custody/completed.dsse.json").write_bytes(closing)


def digest(content: bytes) -> tuple[FileDigest, bytes]:
    """FileDigest and concatenated leaves of a content."""
    rolling = RollingHash()
    leaves = b"".join(rolling.update(chunk) for chunk in read_chunks(io.BytesIO(content)))
    return rolling.digest(), leaves


def raw(path: str) -> tuple[str, ...]:
    """`path_raw` of a path of harmless components."""
    return manifest.raw_path(part.encode() for part in path.split("/"))


def bent(**changes: object) -> Callable[[SegmentSealed], SegmentSealed]:
    """A hook that changes the seal of entry 1."""
    return lambda event: replace(event, **changes) if event.entry == 1 else event  # type: ignore[arg-type]


def pattern(seed: int, size: int) -> bytes:
    """Bytes that differ from chunk to chunk and compress well."""
    block = bytes((seed + i * 7) % 256 for i in range(256))
    whole = bytearray(block * (size // 256 + 1))
    for start in range(0, size, CHUNK_BYTES):
        whole[start : start + 8] = (start + seed).to_bytes(8)
    return bytes(whole[:size])
