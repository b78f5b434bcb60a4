"""A bureau in which every free text that comes from outside tries to be something else than text."""

from __future__ import annotations

import base64
from datetime import timedelta
from pathlib import Path

from sqlalchemy import func, select, update
from starlette.testclient import TestClient

from custody.commandbody import Hold
from custody.stationevents import CameraDocked, DeviceRefused, DockingStarted
from hub import log
from hub.access import Actor, Role
from hub.accounts import people, placing, tokens
from hub.accounts.changes import Asked
from hub.accounts.service import Visit, start_session
from hub.alerts.raising import open_alert
from hub.alerts.rules import opening
from hub.commands.service import request_command
from hub.identifiers import new_id
from hub.requests.policy import Wanted
from hub.requests.service import request_use
from hub.tables import account, log_entry, log_state, segment
from hub.times import now_utc
from tests.integration.site_data import Hub
from tests.integration.web_peer import client

MARK = "EVILMARK"
# markup, an attribute breaker, a script's address, a template, a formula
PRINTS = f"=1+1<script>owned=1</script>\"' onmouseover='owned=1' {{{{7*7}}}}{MARK}<evil-tag>&lt;javascript:owned=1"
# a terminal's title and colours, its eighth-bit form, bidi override and isolate, zero width, line ends, NUL
EVIL = f"{PRINTS}\x1b]0;owned\x07\x1b[2J\x9b31m\u202egpj.exe\u2066\u200b\u2028\r\nSet-Cookie: a=b\x00"
LONG = EVIL + "长" * 300
NAMES = {Role.AUDITOR: "@SUM.auditor", Role.ADMINISTRATOR: "-1-admin", Role.APPROVING_LEADER: "@leader",
         Role.SECTION_HEAD: "-head"}  # fmt: skip


class Hostile:
    """The hub; nobody has an account on it until `fill`."""

    def __init__(self, directory: Path) -> None:
        self.hub = Hub(directory)
        self.tokens: dict[Role, str] = {}

    def fill(self) -> None:
        """Everything that anybody outside can name."""
        hub = self.hub
        for role, name in NAMES.items():
            hub.account(name, role)
            with hub.db.begin() as tx:
                tx.execute(update(account).where(account.c.name == name).values(must_change_password=False))
                self.tokens[role] = start_session(tx, name, Visit("192.0.2.1", EVIL), now_utc(), code_due=False)
        self._stay()
        now = now_utc()
        people.ask(hub.db, hub.keys, self.actor(Role.ADMINISTRATOR), Asked("new", "create", Role.OFFICER, PRINTS), now)
        place = placing.Place("@leader", "", PRINTS[:40], "")
        for one in (place, placing.Place("", "dock-a", PRINTS[:40], "")):
            try:
                placing.ask(hub.db, hub.keys, self.actor(Role.ADMINISTRATOR), one, PRINTS, now)
            except placing.ChangeRefused:
                continue
        tokens.add_token(hub.db, hub.keys, self.actor(Role.AUDITOR), PRINTS[:100], 3, now)
        hold = Hold(hold_id=new_id(now), camera=PRINTS[:100], docking=None, file_sha256=None, reason=PRINTS[:200])
        self.command = request_command(hub.db, hub.keys, self.actor(Role.SECTION_HEAD), "dock-a", hold)
        with hub.db.read() as connection:
            self.recording = connection.execute(segment.select()).first().log_index  # type: ignore[union-attr]
        wanted = Wanted("copy", (self.recording,), PRINTS, None, PRINTS[:200], "", PRINTS[:200], 3600)
        self.request = request_use(hub.db, hub.keys, self.actor(Role.SECTION_HEAD), wanted, now)
        self.alert = self._alert()

    def _alert(self) -> str:
        now = now_utc()
        with self.hub.db.begin() as tx, log.appending(tx, self.hub.keys, now) as entries:
            raised = opening("camera_overdue", new_id(now), station="dock-a", camera=PRINTS)
            return open_alert(tx, entries, raised, now)

    def _stay(self) -> None:
        story = self.hub.station("dock-a", now_utc() - timedelta(hours=2))
        at = (now_utc() - timedelta(hours=1)).replace(tzinfo=None)
        usb = {"bay": EVIL, "usb_id": EVIL, "usb_serial": EVIL}
        story.docking, story.entry = "docking-1", 0
        raw = (base64.b64encode(b"\xff\xfe" + EVIL.encode()).decode(),)
        sent = [
            story.seal(CameraDocked, camera_id=LONG, **usb, volume_ids=(EVIL,), profile=EVIL, disputed=True),
            story.seal(DeviceRefused, **usb, port=EVIL, product=LONG, reason="unknown_device", count=1),
            story.seal(
                DockingStarted, docking_id="docking-1", camera_id=LONG, bay=EVIL, source_kind="block_device",
                file_systems=(EVIL,), labels=(LONG,), volume_ids=(EVIL,), source_bytes=1 << 30, new_files=1,
                new_bytes=9,
            ),
            story.file(LONG, EVIL, f"DCIM/{EVIL}.MP4", at, path_raw=raw),
            story.file(LONG, EVIL, f"{LONG}/b.MP4", at),
            story.close(LONG, EVIL, 2, 9, "source_gone", failed=1),
        ]  # fmt: skip
        self.hub.take("dock-a", *sent)
        self.hub.say("dock-a", online=True, software=EVIL, clock=EVIL)
        self.hub.say("dock-a", "1", state=EVIL, camera=LONG, reason=EVIL, verdict=EVIL)

    def actor(self, role: Role) -> Actor:
        return Actor(NAMES[role], role, must_change_password=False)

    def browser(self, role: Role) -> TestClient:
        """Of somebody who is signed in."""
        made = client(self.hub.app)
        made.cookies.set("custodock_session", self.tokens[role])
        return made

    def things(self) -> dict[str, list[str]]:
        """What stands for a name in a route's address."""
        with self.hub.db.read() as connection:
            first_of_each = select(func.min(log_entry.c.idx), func.max(log_entry.c.idx)).group_by(log_entry.c.source)
            entries = [str(index) for row in connection.execute(first_of_each) for index in row]
            size = connection.execute(select(log_state.c.size)).scalar_one()
        return {
            "log_index": [str(self.recording)],
            "index": [*entries, str(self.recording)],
            "command_id": [self.command],
            "size": [str(size)],
            "station_id": ["dock-a"],
            "request_id": [self.request],
            "alert_id": [self.alert],
            "viewing_id": [],  # begins with a grant that a station took; tests/e2e/test_viewing.py looks at its page
        }
