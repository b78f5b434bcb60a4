"""A bureau of two sections whose recordings every role sees another part of, and what each of them should see."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import pyotp
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from custody.commandbody import HoldLifted
from custody.stationevents import CameraDocked, CameraLeftV2, CameraReturnedV2
from hub import log
from hub.access import Action, Actor, Role
from hub.alerts.raising import open_alert
from hub.alerts.rules import opening
from hub.bundles.work import Order
from hub.commands.service import request_command
from hub.identifiers import new_id
from hub.recordings.labelling import Labels, label_recordings
from hub.recordings.marking import raise_mark
from hub.requests.service import request_use
from hub.tables import account, docking, log_entry, second_factor, segment, station
from hub.tables import opening as shown
from hub.times import now_utc, to_text
from tests.integration.approved_exports import copy_of
from tests.integration.site_data import Hub, Story
from tests.integration.web_peer import add_person, client, sign_in, signed_in
from tests.unit.test_access import REACH, WITHIN

# whose a thing is, in the letters of test_access.TABLE: to officer 1001 of section A, and to everybody else of it
OWN, LENT, OURS, THEIRS, BUREAU = "os", "ss", "ss", "aa", "aa"
ABSENT = "  "
SECRET = pyotp.random_base32()
CARRIED = {"CAM-OWN": ("dock-b", "1001", OWN), "CAM-OURS": ("dock-a", "1002", "as"),
           "CAM-LENT": ("dock-b", "1003", "as"), "CAM-THEIRS": ("dock-b", "2001", THEIRS)}  # fmt: skip
SECRET_CAMERA = "CAM-SECRET"  # of section A; what it recorded is restricted, and none of the people may know it
STATIONS = {"dock-a": OURS, "dock-b": THEIRS, "dock-c": ABSENT}


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody of section A and their browser; `role` None: not wholly signed in, `browser` as it is."""

    name: str
    role: Role | None
    browser: TestClient

    def reaches(self, action: Action) -> str:
        """The letters of the things that they may do `action` to."""
        return WITHIN[REACH[action][self.role]] if self.role else ""

    def may(self, action: Action, whose: str) -> bool:
        """Whether they may do `action` to a thing of `OWN`, `OURS`, …"""
        return whose[0 if self.role is Role.OFFICER else 1] in self.reaches(action)


class Bureau:
    """The scene."""

    def __init__(self, directory: Path) -> None:
        self.hub = Hub(directory)
        a, b = self.hub.station("dock-a"), self.hub.station("dock-b")
        self._section(station, station.c.id, "dock-a", "A")
        self._section(station, station.c.id, "dock-b", "B")
        for number, section in (("1002", "A"), ("1003", "A"), ("2001", "B")):
            add_person(self.hub.db, self.hub.keys, f"carries-{number}", "officer")
            self._section(account, account.c.name, f"carries-{number}", section, officer=number)
        self.people = [self._person(role) for role in Role]
        for camera, (name, number, _) in CARRIED.items():
            self._stay(a if name == "dock-a" else b, camera, number)
        self._stay(a, SECRET_CAMERA, "1002")
        marker = Actor("carries-1002", Role.OFFICER, must_change_password=False, section="A", officer="1002")
        raise_mark(self.hub.db, self.hub.keys, marker, [self.seal(SECRET_CAMERA)], "privacy", now_utc())
        for story in (a, b):
            self.hub.say(story.name, online=True, software=f"version of {story.name}")
            self.hub.say(story.name, "1", state="safe", camera=f"now in {story.name}")

    def _section(self, table: object, key: object, name: str, section: str, **more: str) -> None:
        with self.hub.db.begin() as tx:
            tx.execute(update(table).where(key == name).values(section=section, **more))  # type: ignore[arg-type]

    def _person(self, role: Role) -> Person:
        name = f"p-{role.value}"
        browser = signed_in(self.hub, name, role)
        with self.hub.db.begin() as tx:
            row = {"account": name, "secret": SECRET, "confirmed_at": to_text(now_utc()), "last_step": 0}
            tx.execute(insert(second_factor).values(**row))
        number = {"officer": "1001"} if role is Role.OFFICER else {}
        self._section(account, account.c.name, name, "A", **number)
        return Person(name, role, browser)

    def _stay(self, story: Story, camera: str, number: str) -> None:
        docked = {"bay": "1", "usb_id": "1:2", "usb_serial": "", "volume_ids": (), "profile": "generic"}
        sent = [
            story.stated(CameraLeftV2, camera_id=camera, bay="1", offload="safe", verdict="ready", officer=number),
            story.seal(CameraDocked, camera_id=camera, **docked, disputed=False),
            story.stated(CameraReturnedV2, camera_id=camera, bay="1", officer=number, was_out=True),
            story.dock(f"docking-{camera}", camera, "1", 1, 1 << 20),
        ]
        at = (now_utc() - timedelta(hours=2)).replace(tzinfo=None)
        sent.append(story.file(camera, "1", f"DCIM/{camera}.MP4", at))
        self.hub.take(story.name, *sent, story.close(camera, "1", 1, 1 << 20))

    def person(self, role: Role) -> Person:
        """The one of this role."""
        return next(one for one in self.people if one.role is role)

    def recordings(self) -> dict[str, str]:
        """Log indexes of seals, as texts, and whose they are."""
        with self.hub.db.read() as connection:
            found = connection.execute(select(segment.c.log_index, segment.c.camera)).all()
        whose = {camera: carried[2] for camera, carried in CARRIED.items()} | {SECRET_CAMERA: ABSENT}
        return {str(row.log_index): whose[row.camera] for row in found} | {"99999": ABSENT}

    def seal(self, camera: str) -> int:
        """The log index of a camera's recording."""
        with self.hub.db.read() as connection:
            return connection.execute(select(segment.c.log_index).where(segment.c.camera == camera)).scalar_one()

    def kept(self) -> dict[str, str]:
        """Recordings by log index, and whose their stations are; what none of the people may know is nobody's."""
        held = {str(self.seal(camera)): STATIONS[name] for camera, (name, _, _) in CARRIED.items()}
        return held | {str(self.seal(SECRET_CAMERA)): ABSENT, "99999": ABSENT}

    def labellings(self) -> dict[str, str]:
        """New labellings by log index, and whose the recordings are."""
        made = {"99999": ABSENT}
        for camera, section, whose in (("CAM-OWN", "A", OWN), ("CAM-OURS", "A", "as"), ("CAM-THEIRS", "B", THEIRS)):
            head = Actor("head", Role.SECTION_HEAD, must_change_password=False, section=section)
            labels = Labels(kind="other_on_site")
            made[str(label_recordings(self.hub.db, self.hub.keys, head, [self.seal(camera)], labels, now_utc()))] = (
                whose
            )
        return made

    def entries(self) -> dict[str, str]:
        """Log indexes of entries of every kind, and whose they are."""
        whose = self.recordings()
        with self.hub.db.read() as connection:
            for row in connection.execute(select(docking)):
                carried = CARRIED[row.camera][2] if row.camera in CARRIED else "as"
                whose[str(row.started_index)] = whose[str(row.closed_index)] = carried
            for row in connection.execute(select(log_entry.c.idx, log_entry.c.source).order_by(log_entry.c.idx)):
                other = {"hub": BUREAU, "dock-a": "as", "dock-b": THEIRS}
                whose.setdefault(str(row.idx), other[row.source])
        return whose

    def opened(self) -> dict[str, str]:
        """Log indexes of entries whose commitments can be shown, and whose they are."""
        whose = self.entries()
        with self.hub.db.read() as connection:
            found = connection.execute(select(shown.c.log_index)).scalars()
            return {str(index): whose[str(index)] for index in found} | {"99999": ABSENT}

    def dockings(self) -> dict[str, str]:
        """Offloads as station/id, and whose their stations are."""
        held = {f"{name}/docking-{camera}": STATIONS[name] for camera, (name, _, _) in CARRIED.items()}
        return held | {"dock-a/docking-none": ABSENT}

    def requests(self, by: Person) -> dict[str, str]:
        """New requests for a copy, and whose they are to `by`."""
        head = Actor("carries-1002", Role.SECTION_HEAD, must_change_password=False, section="A")
        other = replace(head, name="carries-2001", section="B")
        asked = [
            (head, "CAM-OURS", OURS),
            (other, "CAM-THEIRS", THEIRS),
            (replace(other, name=by.name), "CAM-OWN", "oo"),
        ]
        return {self._request(who, camera): whose for who, camera, whose in asked} | {new_id(now_utc()): ABSENT}

    def _request(self, who: Actor, camera: str) -> str:
        with self.hub.db.read() as connection:
            index = connection.execute(select(segment.c.log_index).where(segment.c.camera == camera)).scalar_one()
        order = Order((index,), "1 recordings named", "court", "case 7", "")
        reason = f"case 7 of {new_id(now_utc())}"  # the very same asked for twice is one request
        return request_use(self.hub.db, self.hub.keys, who, copy_of(order, reason=reason), now_utc())

    def alerts(self) -> dict[str, str]:
        """New alerts, and whose they are."""
        raised = (
            ("camera_overdue", "dock-a", OURS),
            ("camera_overdue", "dock-b", THEIRS),
            ("key_revoked", "dock-a", BUREAU),
        )
        with self.hub.db.begin() as tx, log.appending(tx, self.hub.keys, now_utc()) as entries:
            made = {
                open_alert(tx, entries, opening(kind, new_id(now_utc()), station=name, camera="C"), now_utc()): whose
                for kind, name, whose in raised
            }
        return made | {new_id(now_utc()): ABSENT}

    def code(self) -> str:
        """The present code of everybody's authenticator, as often as one wants it."""
        with self.hub.db.begin() as tx:
            tx.execute(update(second_factor).values(last_step=0))
        return pyotp.TOTP(SECRET).now()

    def commands(self, by: Person) -> dict[str, str]:
        """New requests to lift a hold, and whose they are to `by`."""
        head = Actor("somebody", Role.SECTION_HEAD, must_change_password=False)
        asked = [("dock-a", replace(head, section="A"), OURS), ("dock-b", replace(head, section="B"), THEIRS)]
        asked.append(("dock-b", replace(head, name=by.name, section="B"), "oo"))
        return {self._lift(name, who): whose for name, who, whose in asked} | {new_id(now_utc()): ABSENT}

    def _lift(self, name: str, who: Actor) -> str:
        body = HoldLifted(hold_id=new_id(now_utc()), reason="closed")
        return request_command(self.hub.db, self.hub.keys, who, name, body)

    def nobody(self) -> Person:
        """A browser that nobody signed in with."""
        return Person("", None, client(self.hub.app))

    def newcomer(self) -> Person:
        """Somebody who still has the first password."""
        browser = client(self.hub.app)
        assert sign_in(browser, "newcomer", self.hub.account("newcomer", "auditor")) == 303
        return Person("newcomer", None, browser)
