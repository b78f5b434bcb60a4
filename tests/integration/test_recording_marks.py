"""Marks of secrecy (Art. 18): one person raises, two lower; only those let in know; a lost log brings it all back."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import insert, select
from sqlalchemy.exc import IntegrityError

from hub.access import Actor, Role
from hub.bundles.selection import find_recordings
from hub.errors import Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.recordings import marking
from hub.recordings.filters import RecordingFilter
from hub.recordings.labelling import Labels, label_recordings
from hub.recordings.queries import count_recordings, load_recordings, load_restricted
from hub.reindex import reindex
from hub.requests.policy import DAY_SECONDS, Wanted
from hub.requests.service import request_use
from hub.sections import hides_files
from hub.tables import mark_request, opening, segment
from hub.times import now_utc
from tests.integration.authenticators import Authenticator, new_person
from tests.integration.site_data import Hub, tell_story
from tests.integration.test_restore_people import Office

LI = Actor("li", Role.CUSTODIAN, must_change_password=False)
WANG = Actor("wang", Role.SECTION_HEAD, must_change_password=False)
LEADER = Actor("zhou", Role.APPROVING_LEADER, must_change_password=False)
AUDITOR = Actor("shen", Role.AUDITOR, must_change_password=False)


class Scene:
    def __init__(self, hub: Hub) -> None:
        self.hub = hub
        self.phone: Authenticator = new_person(hub.db, hub.keys, "zhou", "approving_leader")
        for name, role in (("li", "custodian"), ("wang", "section_head"), ("shen", "auditor")):
            hub.account(name, role)

    def found(self, actor: Actor = LI, **asked: Any) -> list[int]:
        rows = load_recordings(self.hub.db, actor, RecordingFilter(**asked), None, 200).rows
        return [row.log_index for row in rows if not row.masked]

    def masked(self, actor: Actor, **asked: Any) -> list[int]:
        rows = load_recordings(self.hub.db, actor, RecordingFilter(**asked), None, 200).rows
        return [row.log_index for row in rows if row.masked]

    def mark(self, actor: Actor, some: list[int], mark: str) -> None:
        marking.raise_mark(self.hub.db, self.hub.keys, actor, some, mark, now_utc())

    def let(self, actor: Actor, some: list[int], name: str, *, may_know: bool = True) -> None:
        marking.change_knowing(self.hub.db, self.hub.keys, actor, some, name, may_know=may_know, now=now_utc())

    def ask(self, actor: Actor, some: list[int], mark: str) -> str:
        return marking.request_lower(self.hub.db, self.hub.keys, actor, some, mark, "marked_wrongly", now_utc())

    def approve(self, actor: Actor, request_id: str) -> None:
        marking.approve_lower(self.hub.db, self.hub.keys, actor, request_id, self.phone.code(), now_utc())

    def check(self) -> None:
        with self.hub.db.read() as connection:
            check_log(connection, self.hub.keys, 480)


@pytest.fixture
def scene(tmp_path: Path, database_url: str) -> Iterator[Scene]:
    hub = Hub(tmp_path, database_url)
    tell_story(hub)
    yield Scene(hub)
    hub.close()


def test_from_raised_to_lowered(scene: Scene) -> None:
    some = scene.found(text="检查")
    rest = len(scene.found()) - len(some)
    scene.mark(LI, some, "privacy")
    assert scene.found(text="检查") == some
    for actor in (WANG, LEADER, AUDITOR):
        assert scene.found(actor, text="检查") == scene.masked(actor, text="检查") == []
        assert (len(scene.found(actor)), scene.masked(actor)) == (rest, some)  # each is still there, as a number
        assert scene.masked(actor, mark="restricted") == scene.masked(actor, station="dock-jiaoyuju-1") == some
        assert count_recordings(scene.hub.db, actor, RecordingFilter()).hidden == len(some)
        [privacy, *_] = load_restricted(scene.hub.db, actor, some[0])[0]
        assert (privacy.number, privacy.hidden) == (len(some), len(some))
        assert load_restricted(scene.hub.db, actor, some[0])[1] is None
    scene.mark(LI, some[:1], "commercial_secret")
    with pytest.raises(Invalid):
        scene.mark(LI, some, "commercial_secret")  # one of them has it
    with pytest.raises(Invalid):
        scene.mark(LI, some, "normal")
    with pytest.raises(NotFound):
        scene.mark(WANG, some, "state_secret")  # who may not know them cannot even mark them
    scene.check()
    scene.let(WANG, some, "shen")
    assert scene.found(AUDITOR, text="检查") == some
    scene.let(LEADER, some, "wang")
    with pytest.raises(Invalid):
        scene.ask(WANG, some, "commercial_secret")
    request_id = scene.ask(WANG, some, "normal")
    for actor, refusal in ((WANG, SecondPersonNeeded), (LI, NotFound), (AUDITOR, NotFound)):
        with pytest.raises(refusal):
            scene.approve(actor, request_id)
    assert scene.masked(LEADER) == some
    scene.approve(LEADER, request_id)
    assert scene.found(LEADER, text="检查") == some
    with pytest.raises(NotOpenAnyMore):
        scene.approve(LEADER, request_id)
    scene.check()
    reindex(scene.hub.db, 480)
    assert scene.masked(LEADER) == []
    scene.check()


def test_nobody_lets_themselves_in(scene: Scene) -> None:
    some = scene.found(text="询问")
    with pytest.raises(Invalid):
        scene.let(WANG, some, "shen")  # nothing is restricted yet
    scene.mark(LI, some, "state_secret")
    for actor in (WANG, LEADER):
        with pytest.raises(NotAllowed):
            scene.let(actor, some, actor.name)
    for actor, refusal in ((LI, NotAllowed), (AUDITOR, NotAllowed), (replace(WANG, section="B"), NotFound)):
        with pytest.raises(refusal):
            scene.let(actor, some, "shen")
    with pytest.raises(Invalid):
        scene.let(WANG, some, "nobody-of-this-name")
    scene.let(WANG, some, "li", may_know=False)  # now nobody knows it: it is not out of reach
    assert scene.found(LI, text="询问") == []
    scene.let(WANG, some, "shen")
    assert scene.found(AUDITOR, text="询问") == some
    scene.check()


def test_what_may_not_be_known_is_not_handed_on(scene: Scene) -> None:
    some = scene.found(text="询问")
    scene.mark(LI, some, "privacy")
    copy = Wanted("copy", tuple(some), "1 named", None, "court", "", "case 7", DAY_SECONDS)
    view = replace(copy, use="view", holder="shen", recipient="")

    def ask(actor: Actor, wanted: Wanted) -> str:
        return request_use(scene.hub.db, scene.hub.keys, actor, wanted, now_utc())

    for wanted in (copy, view):
        with pytest.raises(NotFound):
            ask(WANG, wanted)
    with pytest.raises(Invalid):
        ask(LI, view)  # who is to view it may not know it
    with pytest.raises(NotFound):
        label_recordings(scene.hub.db, scene.hub.keys, WANG, some, Labels(place="x"), now_utc())
    everything = RecordingFilter(station="dock-jiaoyuju-1")
    assert not set(some) & set(find_recordings(scene.hub.db, everything, WANG))
    assert set(some) <= set(find_recordings(scene.hub.db, everything, LI))
    with scene.hub.db.read() as connection:
        c = segment.c
        row = connection.execute(select(c.station, c.docking).where(c.log_index == some[0])).one()
        assert hides_files(connection, "wang", *row)
        assert not hides_files(connection, "li", *row)
    scene.let(WANG, some, "shen")
    assert ask(LI, copy)
    assert ask(LI, view)


def test_the_database_itself_refuses_one_person(scene: Scene) -> None:
    asked = {"recordings": "[1]", "mark": "normal", "reason": "period_over", "requested_by": "a", "requested_at": "t"}
    for decided_by in ("a", None):
        decided = {"decided_by": decided_by, "decided_at": "t", "approved": True}
        with pytest.raises(IntegrityError), scene.hub.db.begin() as tx:
            tx.execute(insert(mark_request).values(id="r", **asked, **decided))


def test_a_request_can_be_withdrawn_and_refused(scene: Scene) -> None:
    some = scene.found(text="询问")
    scene.mark(WANG, some, "privacy")
    for actor in (WANG, LEADER):
        request_id = scene.ask(WANG, some, "normal")
        with pytest.raises(NotFound):
            marking.refuse_lower(scene.hub.db, scene.hub.keys, LI, request_id, now_utc())
        marking.refuse_lower(scene.hub.db, scene.hub.keys, actor, request_id, now_utc())
        with pytest.raises(NotOpenAnyMore):
            scene.approve(LEADER, request_id)
    assert scene.masked(LEADER) == some
    scene.check()


def test_a_lost_log_brings_marks_and_kinds_back(tmp_path: Path) -> None:
    office = Office(tmp_path)
    try:
        backup = office.backup("backup")
        with office.db.read() as connection:
            some = list(connection.execute(select(segment.c.log_index)).scalars())
        now = now_utc()
        label_recordings(office.db, office.keys, LI, some, Labels("other_on_site", True, "人民路"), now)
        marking.raise_mark(office.db, office.keys, WANG, some[:1], "privacy", now)
        marking.request_lower(office.db, office.keys, WANG, some[:1], "normal", "period_over", now)
        again = office.lost_and_back(backup)
        rows = load_recordings(again.db, WANG, RecordingFilter(kind="other_on_site")).rows
        assert sorted(row.log_index for row in rows) == some
        assert [row.log_index for row in load_recordings(again.db, LI, RecordingFilter(mark="privacy")).rows] == some[
            :1
        ]
        with again.db.read() as connection:
            asked = connection.execute(select(mark_request)).one()
            assert connection.execute(select(opening.c.value)).all() == []  # no station keeps what people wrote
        assert json.loads(asked.recordings) == some[:1]
        with again.db.begin() as tx:
            tx.execute(mark_request.delete())
        with pytest.raises(LogUntrusted):
            again.check()
    finally:
        office.close()
