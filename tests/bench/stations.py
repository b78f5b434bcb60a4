"""Stations that exist only to sign: chains of realistic envelopes for benches and integration tests."""

from __future__ import annotations

import base64
import dataclasses
import hashlib
from datetime import UTC, datetime, timedelta
from typing import Any

from custody.checkpoint import SigningKey
from custody.commitments import Opening, attach, render_opening, state
from custody.envelope import seal
from custody.event import NO_PREVIOUS, Event, Sha256Hex
from custody.events import seal_event
from custody.keyrotation import sign_station_rotation
from custody.stationevents import (
    CameraCheckedOutV2,
    CameraOverdueV2,
    Counts,
    DockingClosed,
    DockingStarted,
    Media,
    SegmentSealed,
    StationKeyRotated,
    StationStarted,
)

START = datetime(2026, 2, 14, 1, 0, tzinfo=UTC)


class SigningStation:
    """A station's key and chain; each method seals the next envelope and moves the chain on."""

    def __init__(self, name: str) -> None:
        """The key follows from the name, so that every run signs the same."""
        self.name = name
        self.key = SigningKey.from_seed(name, hashlib.sha256(name.encode()).digest())
        self.seq = 0
        self.previous = str(NO_PREVIOUS)
        self.docking = f"019c5a10-0000-7000-8000-{int.from_bytes(hashlib.sha256(name.encode()).digest()[:6]):012x}"

    def seal(self, kind: type[Event], /, **facts: Any) -> bytes:
        """The next envelope of the chain."""
        event = kind(
            id=f"019c5a10-0000-7000-8000-{self.seq + 1:012x}",
            source=self.name,
            seq=self.seq + 1,
            previous=Sha256Hex(self.previous),
            at=START + timedelta(seconds=self.seq),
            clock="synchronised",
            **facts,
        )
        return self._push(seal_event(event, self.key))

    def stated(self, kind: type[Event], /, **facts: Any) -> bytes:
        """The next envelope of a kind that commits, with its opening, as both travel."""

        def salt(count: int) -> bytes:  # every run says the same; a real station takes random bytes
            return hashlib.sha256(f"{self.name}/{self.seq + 1}".encode()).digest()[:count]

        common = {
            "id": f"019c5a10-0000-7000-8000-{self.seq + 1:012x}", "source": self.name, "seq": self.seq + 1,
            "previous": Sha256Hex(self.previous), "at": START + timedelta(seconds=self.seq), "clock": "synchronised",
        }  # fmt: skip
        made = state(kind, salt, common | facts)
        raw = self._push(seal_event(made.event, self.key))
        return attach(
            raw, render_opening(Opening(hashlib.sha256(raw).hexdigest(), made.opened)) if made.opened else None
        )

    def overdue(self, officer: str = "310042") -> bytes:
        """camera.overdue with its opening."""
        return self.stated(CameraOverdueV2, camera_id="DSJ-000123", officer=officer, due_at=START)

    def checked_out(self, officer: str = "310042") -> bytes:
        """camera.checked_out with its opening."""
        facts = {"bay": "1", "verdict": "ready", "reasons": (), "notice": "read out", "due_at": START}
        return self.stated(CameraCheckedOutV2, camera_id="DSJ-000123", officer=officer, **facts)

    def seal_raw(self, payload_type: str, payload: bytes) -> bytes:
        """The next envelope with any payload, which must name the right seq and previous hash itself."""
        return self._push(seal(payload_type, payload, self.key))

    def rotate(self) -> bytes:
        """station.key_rotated; from then on the station signs with its next key, which follows from the one before."""
        seed = hashlib.sha256(self.key.verify_key.line.encode()).digest()
        old, new = self.key.verify_key, SigningKey.from_seed(self.name, seed)
        facts = {"old_line": old.line, "new_line": new.verify_key.line}
        raw = self.seal(StationKeyRotated, **facts, new_signature=sign_station_rotation(old, new))
        self.key = new
        return raw

    def fork(self) -> SigningStation:
        """A second history of the same station, from here on."""
        other = SigningStation(self.name)
        other.seq, other.previous, other.key = self.seq, self.previous, self.key
        return other

    def started(self, software: str = "0.1.0") -> bytes:
        """station.started."""
        return self.seal(StationStarted, software=software)

    def docking_started(self, camera: str = "DSJ-000123") -> bytes:
        """docking.started."""
        return self.seal(
            DockingStarted,
            docking_id=self.docking,
            camera_id=camera,
            bay="3",
            source_kind="image",
            file_systems=("fat32",),
            labels=("DSJ",),
            volume_ids=("1A2B-3C4D",),
            source_bytes=64 << 30,
            new_files=48,
            new_bytes=21 << 30,
        )

    def segment(self, camera: str = "DSJ-000123", path: str | None = None, **changes: Any) -> bytes:
        """segment.sealed with every field filled as a real station does: an envelope of about 2 KiB."""
        entry = self.seq + 1
        at = datetime(2026, 1, 5, 8, 0) + timedelta(minutes=10 * entry)  # noqa: DTZ001 (cameras tell no zone)
        path = path or f"DCIM/100MEDIA/{camera}_{at:%Y%m%d_%H%M%S}_{entry:04d}.MP4"
        digest = hashlib.sha256(f"{self.name}/{entry}".encode()).hexdigest()
        facts: dict[str, Any] = {
            "docking_id": self.docking,
            "camera_id": camera,
            "bay": "3",
            "entry": entry,
            "path": path,
            "path_raw": tuple(base64.b64encode(part.encode()).decode() for part in path.split("/")),
            "version": 1,
            "vault_path": f"{camera}/{at:%Y/%m/%d}/{self.docking}/{path}",
            "size_bytes": 471_859_200,
            "sha256": Sha256Hex(digest),
            "tree_root": Sha256Hex(digest[::-1]),
            "chunk_bytes": 1 << 20,
            "chunk_count": 450,
            "modified_at": at.isoformat(),
            "time_basis": "camera_local",
            "gaps": (),
            "gap_count": 0,
            "gap_bytes": 0,
            "changed_while_copied": False,
            "media": Media(
                container="MPEG-4",
                duration_ms=600_000,
                started_at=at.isoformat(),
                video_codec="AVC",
                audio_codec="AAC",
                width=1920,
                height=1080,
                truncated=False,
                playable=True,
            ),
        }
        return self.seal(SegmentSealed, **facts | changes)

    def docking_closed(self, camera: str = "DSJ-000123", **changes: Any) -> bytes:
        """docking.closed, complete."""
        counts = Counts(
            listed=48,
            copied=48,
            already_saved=0,
            failed=0,
            skipped=0,
            deleted_seen=2,
            unreadable=0,
            bytes_copied=21 << 30,
        )
        facts: dict[str, Any] = {
            "docking_id": self.docking,
            "camera_id": camera,
            "bay": "3",
            "complete": True,
            "reason": "complete",
            "counts": counts,
            "manifest_sha256": Sha256Hex("ab" * 32),
            "manifest_bytes": 40_000,
        }
        known = {f.name for f in dataclasses.fields(DockingClosed)}
        return self.seal(DockingClosed, **{k: v for k, v in (facts | changes).items() if k in known})

    def _push(self, raw: bytes) -> bytes:
        self.seq += 1
        self.previous = hashlib.sha256(raw).hexdigest()
        return raw
