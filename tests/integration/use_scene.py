"""A bureau in which footage is asked for: one docked camera, people with their roles, two approving leaders."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from sqlalchemy import select, update

from custody.stationevents import CameraLeftV2
from hub.access import Actor, Role
from hub.accounts import placing
from hub.accounts.codes import enter_code
from hub.accounts.placing import Place
from hub.accounts.service import sign_in
from hub.logcheck import check_log
from hub.requests.approving import approve_use
from hub.requests.policy import DAY_SECONDS, Wanted
from hub.requests.queries import UseRow, load_request
from hub.requests.service import request_use
from hub.tables import account, segment
from hub.times import now_utc
from tests.integration.authenticators import Authenticator, new_person, with_factor
from tests.integration.release_scene import CAMERA, Docked
from tests.integration.site_data import Hub

OFFICER = Actor("wang", Role.OFFICER, must_change_password=False, officer="1001")
RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
OTHER_LEADER = Actor("leader-2", Role.APPROVING_LEADER, must_change_password=False)
AUDITOR = Actor("auditor", Role.AUDITOR, must_change_password=False)
PEOPLE = (OFFICER, RECORDS, LEADER, OTHER_LEADER, AUDITOR)


class UseScene:
    """The hub, its one station, and everybody's authenticator. Officer 1001, `wang`, had carried the camera."""

    def __init__(self, directory: Path) -> None:
        self.hub = Hub(directory)
        story, left = self.hub.station("dock-1"), {"camera_id": CAMERA, "bay": "1", "offload": "safe"}
        self.hub.take("dock-1", story.stated(CameraLeftV2, **left, verdict="ready", officer="1001"))
        self.docked = Docked(self.hub, story=story)
        self._passwords = {one.name: self.hub.account(one.name, one.role.value) for one in PEOPLE}
        self.phones: dict[str, Authenticator] = {
            one.name: with_factor(self.hub.db, self.hub.keys, one.name) for one in PEOPLE
        }
        self._number("wang", "1001")
        with self.hub.db.read() as connection:
            found = connection.execute(select(segment.c.log_index).order_by(segment.c.log_index)).scalars()
            self.recordings = tuple(found)

    def _number(self, name: str, number: str) -> None:
        db, keys = self.hub.db, self.hub.keys
        ann, bob = (Actor(one, Role.ADMINISTRATOR, must_change_password=False) for one in ("ann", "bob"))
        self.hub.account("ann", "administrator")
        phone = new_person(db, keys, "bob", "administrator")
        placing.ask(db, keys, ann, Place(name, "", "", number), "carries a camera", now_utc())
        [asked] = placing.list_requests(db, waiting=True)
        placing.approve(db, keys, bob, asked.id, phone.code(), now_utc())

    def view(self, **changes: Any) -> Wanted:
        """A request to view the first recording."""
        facts: dict[str, Any] = {
            "use": "view", "recordings": self.recordings[:1], "selection": "1 recordings named", "holder": "wang",
            "recipient": "", "case_number": "(2026) 17", "reason": "complaint 12", "valid_seconds": 3 * DAY_SECONDS,
        }  # fmt: skip
        return Wanted(**facts | changes)

    def copy(self, **changes: Any) -> Wanted:
        """A request to hand out all of it."""
        facts = {"use": "disclose", "recordings": self.recordings, "holder": None, "recipient": "区法院"}
        return self.view(**facts | changes)

    def ask(self, actor: Actor, wanted: Wanted) -> str:
        return request_use(self.hub.db, self.hub.keys, actor, wanted, now_utc())

    def approve(self, request_id: str, actor: Actor = LEADER) -> None:
        approve_use(self.hub.db, self.hub.keys, actor, request_id, self.phones[actor.name].code(), now_utc())

    def signed_in(self, name: str) -> str:
        """A session of somebody, as it stands in their browser's cookie."""
        db, now = self.hub.db, now_utc()
        with db.begin() as tx:  # each password costs a tenth of a second
            tx.execute(update(account).where(account.c.name == name).values(must_change_password=False))
        token = sign_in(db, self.hub.keys, name, self._passwords[name], "here", now)
        enter_code(db, self.hub.keys, name, self.phones[name].code(), token, now)
        return token

    def row(self, request_id: str, actor: Actor = LEADER) -> UseRow:
        return load_request(self.hub.db, actor, request_id, now_utc())

    def do(self, service: Callable[..., None], actor: Actor, request_id: str, *more: str) -> None:
        service(self.hub.db, self.hub.keys, actor, request_id, *more, now_utc())

    def sound(self) -> None:
        with self.hub.db.read() as connection:
            check_log(connection, self.hub.keys, 480)
