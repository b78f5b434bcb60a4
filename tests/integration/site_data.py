"""A hub with a few days of work in it, made the way real work arrives: signed by stations, taken in by `Intake`."""

from __future__ import annotations

import base64
import hashlib
import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from fastapi import FastAPI

from custody.event import Event, Sha256Hex
from custody.events import seal_event
from custody.stationevents import Counts, DockingClosed, DockingStarted, Gap, Media, SegmentSealed, StationStarted
from custody.topics import station_topic
from hub import log
from hub.accounts.service import create_account
from hub.db import Database, sqlite_url
from hub.intake import Intake
from hub.keys import HubKeys, create_keys, load_keys
from hub.opening import Message, received
from hub.stations.service import enrol_station
from hub.times import now_utc
from hub.web import create_app
from tests.bench.stations import SigningStation
from tests.integration.schema import open_migrated

HOSTILE = "DCIM/<script>alert(1)</script>/\u202egpj.exe\x1b[31m\u200b'\"&.MP4"


class Story(SigningStation):
    """A station whose clock is set by the story."""

    def __init__(self, name: str, at: datetime) -> None:
        super().__init__(name)
        self.at = at
        self.entry = 0

    def seal(self, kind: type[Event], /, **facts: Any) -> bytes:
        event = kind(
            id=f"019c5a10-0000-7000-8000-{self.seq + 1:012x}",
            source=self.name,
            seq=self.seq + 1,
            previous=Sha256Hex(self.previous),
            at=self.at,
            clock="synchronised",
            **facts,
        )
        self.at += timedelta(seconds=7)
        return self._push(seal_event(event, self.key))

    def dock(self, docking: str, camera: str, bay: str, files: int, size_bytes: int) -> bytes:
        self.docking, self.entry = docking, 0
        return self.seal(
            DockingStarted,
            docking_id=docking,
            camera_id=camera,
            bay=bay,
            source_kind="block_device",
            file_systems=("exfat",),
            labels=("执法记录",),
            volume_ids=("1A2B-3C4D",),
            source_bytes=64 << 30,
            new_files=files,
            new_bytes=size_bytes,
        )

    def file(self, camera: str, bay: str, path: str, recorded: datetime, minutes: float = 10, **changes: Any) -> bytes:
        self.entry += 1
        size_bytes = changes.get("size_bytes", int(minutes * 43_700_000) + self.entry * 4096)
        digest = hashlib.sha256(f"{self.name}/{self.docking}/{self.entry}".encode()).hexdigest()
        playable = size_bytes > 0
        media = Media(
            container="MPEG-4",
            duration_ms=int(minutes * 60_000),
            started_at=recorded.isoformat(timespec="seconds"),
            video_codec="HEVC",
            audio_codec="AAC",
            width=1920,
            height=1080,
            truncated=False,
            playable=playable,
        )
        facts: dict[str, Any] = {
            "docking_id": self.docking,
            "camera_id": camera,
            "bay": bay,
            "entry": self.entry,
            "path": path,
            "path_raw": tuple(base64.b64encode(part.encode()).decode() for part in path.split("/")),
            "version": 1,
            "vault_path": f"{camera}/{recorded:%Y/%m/%d}/{self.docking}/{path}",
            "size_bytes": size_bytes,
            "sha256": Sha256Hex(digest),
            "tree_root": Sha256Hex(hashlib.sha256(digest.encode()).hexdigest()),
            "chunk_bytes": 1 << 20,
            "chunk_count": -(-size_bytes // (1 << 20)),
            "modified_at": recorded.isoformat(timespec="seconds"),
            "time_basis": "camera_local",
            "gaps": (),
            "gap_count": 0,
            "gap_bytes": 0,
            "changed_while_copied": False,
            "media": media if playable else None,
        }
        return self.seal(SegmentSealed, **facts | changes)

    def close(
        self, camera: str, bay: str, copied: int, size_bytes: int, reason: str = "complete", **more: int
    ) -> bytes:
        counts = {"already_saved": 0, "failed": 0, "skipped": 1, "deleted_seen": 2, "unreadable": 0} | more
        listed = copied + counts["already_saved"] + counts["failed"]
        return self.seal(
            DockingClosed,
            docking_id=self.docking,
            camera_id=camera,
            bay=bay,
            complete=reason == "complete",
            reason=reason,
            counts=Counts(listed=listed, copied=copied, bytes_copied=size_bytes, **counts),
            manifest_sha256=Sha256Hex(hashlib.sha256(self.docking.encode()).hexdigest()),
            manifest_bytes=40_000,
        )


class Hub:
    """A hub in a directory (made there when there is none), its app, and an intake to feed."""

    def __init__(self, directory: Path, database_url: str | None = None) -> None:
        fresh = not (directory / "keys").exists()
        self.keys: HubKeys = (create_keys if fresh else load_keys)(directory / "keys", "test")
        self.db: Database = open_migrated(database_url or sqlite_url(directory / "hub.db"))
        if fresh:
            with self.db.begin() as tx:
                log.create(tx, self.keys, now_utc())
        self.intake = Intake(self.db, self.keys, 480)
        self.app: FastAPI = create_app(self.db, self.keys.lines, self.intake)

    def station(self, name: str, at: datetime | None = None) -> Story:
        story = Story(name, at or now_utc() - timedelta(hours=1))
        enrol_station(self.db, self.keys, story.key.verify_key.line)
        return story

    def take(self, station: str, *envelopes: bytes) -> None:
        topic = station_topic(station, "events")
        for i in range(0, len(envelopes), 500):
            self.intake.take([received(topic, raw, station) for raw in envelopes[i : i + 500]])

    def say(self, station: str, bay: str | None = None, **state: Any) -> None:
        """A retained state message of a station, or of one of its bays."""
        topic = station_topic(station, "bay", bay) if bay else station_topic(station, "state")
        body = {"bay": bay, **state} if bay else {"station": station, **state}
        self.intake.take([Message(topic, json.dumps(body).encode(), station)])

    def account(self, name: str = "admin", role: str = "administrator") -> str:
        return create_account(self.db, self.keys, name, role)

    def close(self) -> None:
        self.intake.close()
        self.db.close()


def tell_story(hub: Hub) -> None:
    """Three stations, several dockings of every outcome, labels of every kind, hostile names."""
    now = now_utc()
    local = (now + timedelta(hours=8)).replace(tzinfo=None, microsecond=0)
    morning = local.replace(hour=9, minute=0, second=0)
    _first_station(hub, now, morning)
    _second_station(hub, now, morning)
    hub.station("dock-xinqu-1")


def _first_station(hub: Hub, now: datetime, morning: datetime) -> None:
    s = hub.station("dock-jiaoyuju-1", now - timedelta(hours=5))
    sent = [s.seal(StationStarted, software="0.1.0")]
    yesterday = morning - timedelta(days=1)
    sent.append(s.dock("019c5a10-1111-7000-8000-000000000001", "DSJ-000317", "1", 14, 6_100_000_000))
    for i in range(14):
        at = yesterday + timedelta(minutes=10 * i)
        sent.append(s.file("DSJ-000317", "1", f"DCIM/100MEDIA/DSJ_000317_{at:%Y%m%d_%H%M%S}_{i + 1:04d}.MP4", at))
    sent.append(s.close("DSJ-000317", "1", 14, 6_118_000_000))
    s.at = now - timedelta(hours=2)
    sent.append(s.dock("019c5a10-1111-7000-8000-000000000002", "DSJ-000321", "2", 6, 2_000_000_000))
    names = ("投诉举报_现场检查", "校外培训机构检查", "询问笔录", "文书送达")
    for i, name in enumerate(names):
        at = morning + timedelta(minutes=25 * i)
        sent.append(s.file("DSJ-000321", "2", f"执法记录/{at:%Y%m%d}/{name}_{i + 1:02d}.MP4", at, 12.4))
    at = morning + timedelta(hours=2)
    sent.append(s.file("DSJ-000321", "2", f"执法记录/{at:%Y%m%d}/VID00005.MP4", at, size_bytes=0))
    gaps = (Gap(offset_bytes=73_400_320, length_bytes=65_536), Gap(offset_bytes=91_226_112, length_bytes=4_096))
    sent.append(
        s.file(
            "DSJ-000321",
            "2",
            f"执法记录/{at:%Y%m%d}/查封现场_06.MP4",
            at,
            8,
            gaps=gaps,
            gap_count=2,
            gap_bytes=69_632,
        )
    )
    sent.append(s.close("DSJ-000321", "2", 6, 1_983_000_000, "read_fault", unreadable=1))
    s.at = now - timedelta(minutes=8)
    sent.append(s.dock("019c5a10-1111-7000-8000-000000000003", "DSJ-000330", "3", 48, 21_000_000_000))
    for i in range(12):
        at = morning + timedelta(minutes=10 * i)
        sent.append(s.file("DSJ-000330", "3", f"DCIM/100MEDIA/DSJ_000330_{at:%Y%m%d_%H%M%S}_{i + 1:04d}.MP4", at))
    hub.take(s.name, *sent)
    hub.say(
        s.name,
        online=True,
        software="0.1.0",
        clock="synchronised",
        disk_free_bytes=612 << 30,
        disk_total_bytes=931 << 30,
        outbox_unreceipted=0,
        outbox_oldest_seconds=None,
    )
    done = {"files_done": 14, "files_total": 14, "bytes_done": 6_118_000_000, "bytes_total": 6_118_000_000}
    hub.say(s.name, "1", camera="DSJ-000317", state="safe", verdict="ready", charge_percent=96, **done)
    hub.say(s.name, "2", camera="DSJ-000321", state="attention", reason="read_fault", verdict="not_ready")
    half = {"files_done": 12, "files_total": 48, "bytes_done": 5_300_000_000, "bytes_total": 21_000_000_000}
    hub.say(s.name, "3", camera="DSJ-000330", state="copying", seconds_left=183, charge_percent=63, **half)
    hub.say(s.name, "4", camera=None, state="empty")
    hub.say(s.name, "5", camera="DSJ-000322", state="safe", verdict="not_ready", charge_percent=41, **done)


def _second_station(hub: Hub, now: datetime, morning: datetime) -> None:
    s = hub.station("dock-laocheng-2", now - timedelta(hours=9))
    day = morning - timedelta(days=3)
    sent = [s.dock("019c5a10-2222-7000-8000-000000000001", "ZFY-7 <b>\u202e", "A", 4, 900_000_000)]
    sent.append(s.file("ZFY-7 <b>\u202e", "A", HOSTILE, day, 3.2))
    sent.append(s.file("ZFY-7 <b>\u202e", "A", "Media/Video/DCAM_0000007_123456_IMP.mp4", day, 5, version=2))
    sent.append(s.file("ZFY-7 <b>\u202e", "A", "Media/Video/半途变动.mp4", day, 5, changed_while_copied=True))
    cut = Media(container="MPEG-4", duration_ms=None, truncated=True, playable=False)
    sent.append(s.file("ZFY-7 <b>\u202e", "A", "Media/Video/无尾.mp4", day, 0.4, media=cut))
    sent.append(s.close("ZFY-7 <b>\u202e", "A", 3, 620_000_000, "source_gone", failed=1))
    hub.take(s.name, *sent)
    facts = {"software": "0.1.0", "clock": "unsynchronised", "disk_free_bytes": 31 << 30, "disk_total_bytes": 465 << 30}
    hub.say(s.name, online=True, outbox_unreceipted=3, outbox_oldest_seconds=127, **facts)
    hub.say(s.name, "A", camera="ZFY-7 <b>\u202e", state="failed", reason="source_gone")
    hub.say(s.name, "B", camera="ZFY-9", state="listing")
