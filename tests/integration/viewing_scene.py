"""A station with saved footage that serves it, a hub that has its seals, and people with grants to view it."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from sqlalchemy import select

from agent.commands import Trust, command_head, take_command
from agent.opening import open_dock
from agent.pipeline import Order, offload
from agent.settings import HubLink, load_settings, save_link
from agent.station import Station, load_or_create_station
from agent.store import Store
from agent.viewing.offer import load_or_create_certificate, state_offer
from agent.viewing.process import make_ground
from agent.viewing.server import Ground
from custody.topics import station_topic
from hub.access import Actor, Role
from hub.opening import received
from hub.requests.approving import approve_use
from hub.requests.policy import Wanted
from hub.requests.service import request_use, revoke_use
from hub.stations.service import enrol_station
from hub.tables import command, segment, use_request
from hub.times import now_utc
from tests.integration.authenticators import Authenticator, new_person
from tests.integration.site_data import Hub
from tests.ports import free_port

CUSTODIAN = Actor("custodian", Role.CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
HOLDER = Actor("holder", Role.SECTION_HEAD, must_change_password=False)
OTHER = Actor("other", Role.OFFICER, must_change_password=False)
STATION = "dock-view"
PURPOSE = "投诉复核 2026-17"


@dataclass(frozen=True, slots=True)
class Saved:
    """One recording: its log index, its file in the vault, and what the index says of it."""

    recording: int
    path: Path
    docking: str
    sha256: str


class ViewingScene:
    """Everything but the running servers."""

    def __init__(self, root: Path, footage: dict[str, bytes | Path]) -> None:
        """`footage` by file name: bytes, or a file to take."""
        root.mkdir(exist_ok=True)
        self.root, self.agent_dir = root, root / "agent"
        self.vault, self.port = self.agent_dir / "vault", free_port()
        (root / "hub").mkdir()
        self.hub = Hub(root / "hub")
        self.agent_dir.mkdir(mode=0o700)
        self.address = f"127.0.0.1:{self.port}"
        (self.agent_dir / "agent.toml").write_text(f'vault = "vault"\nviewing = "{self.address}"\n')
        keys = self.hub.keys
        link = HubLink(
            "mqtt://127.0.0.1:1", keys.receipts.verify_key, keys.log.verify_key,
            command_key=keys.commands.verify_key,
        )  # fmt: skip
        save_link(self.agent_dir, link)
        self._trust = Trust(keys.commands.verify_key, keys.log.verify_key, {}, keys.receipts.verify_key)
        self.station: Station = load_or_create_station(self.agent_dir, STATION)
        enrol_station(self.hub.db, keys, self.station.key.verify_key.line)
        self._sent = 0
        self._requests: dict[str, str] = {}  # by grant
        _, self.certificate = load_or_create_certificate(self.agent_dir, STATION)
        self._offload(footage)
        with self.store() as store:
            state_offer(store, self.station, self.address, self.certificate)
        self.deliver()
        self.phone: Authenticator = new_person(self.hub.db, keys, LEADER.name, LEADER.role)
        for one in (CUSTODIAN, HOLDER, OTHER):
            self.hub.account(one.name, one.role)

    def _offload(self, footage: dict[str, bytes | Path]) -> None:
        card = self.root / "card" / "DCIM"
        card.mkdir(parents=True)
        for name, content in footage.items():
            if isinstance(content, Path):
                os.link(content, card / name)
            else:
                (card / name).write_bytes(content)

        async def copy() -> None:
            with open_dock(self.vault, self.agent_dir) as opened:
                result = await offload(opened.dock, Order(card.parent, "CAM-1", "1"), lambda _: None)
                assert result.closed is not None
                assert result.closed.complete
                await opened.dock.workers.close()

        asyncio.run(copy())

    @contextmanager
    def store(self) -> Iterator[Store]:
        """The station's database."""
        with closing(Store(self.agent_dir / "station.db")) as store:
            yield store

    def ground(self) -> Ground:
        """What a server of this station works with; close its store."""
        return make_ground(load_settings(self.agent_dir), STATION, Store(self.agent_dir / "station.db"))

    def deliver(self) -> None:
        """What the station has stated since the last time reaches the hub's log."""
        with self.store() as store:
            rows = store.outbox_from(self._sent + 1, 10_000)
        self._sent += len(rows)
        topic = station_topic(STATION, "events")
        self.hub.intake.take([received(topic, row.message, STATION) for row in rows])

    def saved(self, name: str) -> Saved:
        """A recording by its file name."""
        c = segment.c
        with self.hub.db.read() as connection:
            row = connection.execute(select(c).where(c.file_name == name)).one()
        return Saved(row.log_index, self.vault / row.vault_path, row.docking, row.sha256)

    def grant(self, name: str, seconds: int = 3600) -> str:
        """A grant to view a file, asked for, approved and taken by the station; its id."""
        db, keys, now = self.hub.db, self.hub.keys, now_utc()
        wanted = Wanted("view", (self.saved(name).recording,), "1 named", HOLDER.name, "", "", PURPOSE, seconds)
        request_id = request_use(db, keys, CUSTODIAN, wanted, now)
        approve_use(db, keys, LEADER, request_id, self.phone.code(), now)
        self._carry_out(now)
        with db.read() as connection:
            grants = select(use_request.c.grants).where(use_request.c.id == request_id)
            [grant_id] = json.loads(connection.execute(grants).scalar_one())
        self._requests[grant_id] = request_id
        return str(grant_id)

    def revoke(self, grant_id: str, *, station_knows: bool = True) -> None:
        """End a grant at the hub, and at the station where it is on line."""
        revoke_use(self.hub.db, self.hub.keys, LEADER, self._requests[grant_id], "case closed", now_utc())
        if station_knows:
            self._carry_out(now_utc())

    def _carry_out(self, now: datetime) -> None:
        """The station takes every command that it has not answered yet, at this time."""
        with self.store() as store:
            query = select(command.c.envelope).where(command.c.number > command_head(store).number)
            with self.hub.db.read() as connection:
                raws = connection.execute(query.order_by(command.c.number)).scalars().all()
            for raw in raws:
                answer = take_command(store, self.station, self._trust, bytes(raw), now, "synchronised")
                assert answer is not None
                assert (answer.result, answer.reason) == ("accepted", "done")
        self.deliver()

    @contextmanager
    def serving(self) -> Iterator[subprocess.Popen[bytes]]:
        """The station's process that serves footage, while it runs."""
        words = [sys.executable, "-P", "-m", "agent.viewing", str(self.agent_dir), STATION, str(os.getpid())]
        process = subprocess.Popen(words)
        try:
            listening(process, self.port)
            yield process
        finally:
            process.terminate()
            process.wait(20)

    def close(self) -> None:
        """Close the hub."""
        self.hub.close()


def listening(process: subprocess.Popen[bytes], port: int) -> None:
    """Wait until `process` listens. Raises AssertionError when it ended instead."""
    end = time.monotonic() + 60
    while True:
        assert process.poll() is None
        assert time.monotonic() < end
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.02)


def make_video(path: Path, seconds: int, kilobits: int = 3000) -> None:
    """H.264 in MP4 at an even bit rate, with a key frame every 2 seconds. Raises FileNotFoundError without ffmpeg."""
    rate = f"{kilobits}k"
    words = ["-f", "lavfi", "-i", "testsrc2=size=640x360:rate=25", "-t", str(seconds), "-c:v", "libx264"]
    words += ["-preset", "ultrafast", "-b:v", rate, "-minrate", rate, "-maxrate", rate, "-bufsize", rate]
    words += ["-g", "50", "-x264opts", "nal-hrd=cbr", "-movflags", "+faststart", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
