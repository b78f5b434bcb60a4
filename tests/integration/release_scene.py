"""A camera at a hub: docked, saved, closed, and the log cosigned by its station: its release can be asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from sqlalchemy import insert

from custody.checkpoint import open_checkpoint
from custody.commands import CommandHead, Header, open_command
from custody.event import Sha256Hex
from custody.stationevents import CameraDocked, CameraLeftV2, CommandAnswered, ReleaseFinished, ReleaseIntended
from hub import log
from hub.commands.queries import load_envelopes
from hub.db import Database
from hub.keys import HubKeys
from hub.tables import cosignature
from hub.times import now_utc, to_text
from tests.integration.site_data import Hub, Story

CAMERA, BAY = "DSJ-000317", "1"
DOCKING = "019c5a10-3333-7000-8000-000000000001"
FILES = 4


def cosign(db: Database, keys: HubKeys, station: str) -> None:
    """The station has cosigned the newest checkpoint."""
    with db.begin() as tx:
        size = open_checkpoint(log.newest_note(tx), keys.log.verify_key).size
        now = to_text(now_utc())
        row = {"size": size, "witness": f"{station}/witness", "line": "-", "cosigned_at": now, "received_at": now}
        tx.execute(insert(cosignature).values(**row))


class Docked:
    """One station whose camera lies in its bay, everything of it saved."""

    def __init__(
        self, hub: Hub, name: str = "dock-1", *, cosigned: bool = True, story: Story | None = None, **closing: Any
    ) -> None:
        """`story`: a station that is enrolled already, with what it has stated so far."""
        self.hub, self.station = hub, story or hub.station(name)
        self.number, self.previous, self.last = 0, "0" * 64, b""
        story = self.station
        sent = [self._docked(), story.dock(DOCKING, CAMERA, BAY, FILES, 4_000_000)]
        taken_at = (story.at + timedelta(hours=8)).replace(tzinfo=None, microsecond=0)
        sent += [story.file(CAMERA, BAY, f"DCIM/100MEDIA/DSJ_{n:04d}.MP4", taken_at) for n in range(FILES)]
        sent.append(story.close(CAMERA, BAY, FILES, 4_000_000, **closing))
        hub.take(name, *sent)
        if cosigned:
            cosign(hub.db, hub.keys, name)

    def _docked(self) -> bytes:
        return self.station.seal(
            CameraDocked, camera_id=CAMERA, bay=BAY, usb_id="1234:5678", usb_serial="S1", volume_ids=("1A2B-3C4D",),
            profile="generic", disputed=False,
        )  # fmt: skip

    def say(self, **state: Any) -> None:
        """The station's retained state."""
        self.hub.say(self.station.name, online=True, clock="synchronised", **state)

    def leave(self) -> None:
        facts = {"camera_id": CAMERA, "bay": BAY, "officer_commitment": None, "offload": "safe", "verdict": "ready"}
        self.hub.take(self.station.name, self.station.seal(CameraLeftV2, **facts))

    def receive(self) -> Header:
        """The next command, opened as the station opens it; the station keeps the order and says so."""
        [(_, _, raw)] = load_envelopes(self.hub.db, [(self.station.name, self.number + 1)])
        head, key = CommandHead(self.number, Sha256Hex(self.previous)), self.hub.keys.commands.verify_key
        got = open_command(raw, self.station.name, key, head, now_utc(), "synchronised")
        self.number, self.previous, self.last = got.head.number, got.head.sha256, raw
        self.station.at = now_utc()
        facts = {"number": got.head.number, "kind": got.header.kind, "command_sha256": got.sha256}
        answer = self.station.seal(CommandAnswered, **facts, result="accepted", reason="done")
        self.hub.take(self.station.name, answer)
        return got.header

    def clear(self, header: Header, cleared: int, kept: int, rule: str) -> None:
        """What the station states of a release that it carried out."""
        common = {
            "command_id": header.id, "command_sha256": self.previous, "camera_id": CAMERA, "bay": BAY,
            "docking_id": DOCKING,
        }  # fmt: skip
        people = {"requested_by": "keeper", "approved_by": "head"}
        facts = {"files": cleared + kept, "bytes_in_all": 4_000_000, "list_sha256": Sha256Hex("1" * 64)}
        fate = {"outcome": "partly" if kept else "cleared", "rule": rule, "cleared": cleared, "kept": kept}
        proof = {"unknown": 0, "certificate_sha256": Sha256Hex("c" * 64), "certificate_bytes": 900}
        begun = self.station.seal(ReleaseIntended, **common, **people, **facts)
        self.hub.take(self.station.name, begun, self.station.seal(ReleaseFinished, **common, **fate, **proof))
