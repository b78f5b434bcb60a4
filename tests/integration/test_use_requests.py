"""A use of footage from asking to its end: who decides, what an approval makes, and every way around it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, insert, select, update
from sqlalchemy.exc import IntegrityError

from custody.commandbody import Grant, GrantRevoked
from hub.access import Actor, Role
from hub.accounts import codes
from hub.commands.service import issue_approved
from hub.errors import DomainError, Invalid, LogUntrusted, NotFound
from hub.problems import NotAllowed, NotOpenAnyMore, SecondPersonNeeded
from hub.requests import approving
from hub.requests.approving import approve_use
from hub.requests.details import load_details, recording_uses
from hub.requests.policy import NOT_TO_THEM, OUTSIDE, OWN_ACTS
from hub.requests.queries import load_requests
from hub.requests.service import refuse_use, revoke_use, withdraw_use
from hub.tables import account, command, log_entry, use_request
from hub.times import now_utc, to_text
from hub.viewing.book import start_viewing
from hub.viewing.problems import NoGrant
from tests.integration.use_scene import AUDITOR, LEADER, OFFICER, OTHER_LEADER, RECORDS, UseScene


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UseScene]:
    made = UseScene(tmp_path_factory.mktemp("hub"))
    yield made
    made.sound()  # whatever the tests did, rows follow from the log
    made.hub.close()


def entries(scene: UseScene) -> int:
    with scene.hub.db.read() as connection:
        return int(connection.execute(select(func.count()).select_from(log_entry)).scalar_one())


def test_an_officer_views_what_they_recorded_once_the_leader_agrees(scene: UseScene) -> None:
    request_id = scene.ask(OFFICER, scene.view(reason="my statement of 5 March"))
    assert (scene.row(request_id, OFFICER).state, scene.row(request_id).may_decide) == ("waiting", True)
    scene.approve(request_id)
    row = scene.row(request_id, OFFICER)
    assert (row.state, row.decided_by, row.copy_number) == ("approved", "leader", None)
    header = scene.docked.receive()
    assert isinstance(header.body, str)
    assert header.kind == Grant.KIND
    assert header.approval is not None
    for said in (f'"grant_id":"{header.id}"', '"holder":"wang"', '"purpose":"my statement of 5 March"'):
        assert said in header.body.replace(": ", ":")
    with scene.hub.db.read() as connection:
        details = load_details(connection, LEADER, request_id, now_utc())
        uses = recording_uses(connection, OFFICER, scene.recordings[0], now_utc())
    assert [(one.station, one.state) for one in details.grants] == [("dock-1", "accepted")]
    assert details.warnings == (OWN_ACTS,)
    assert request_id in [one.id for one in uses.rows]
    assert uses.may_ask
    start_viewing(scene.hub.db, scene.hub.keys, OFFICER, scene.recordings[0], now_utc())
    assert [(one.what, one.by) for one in scene.row(request_id).used] == [("viewed", "wang")]
    scene.do(revoke_use, OFFICER, request_id, "done with it")
    with pytest.raises(NoGrant):  # at once, whether the station knows already or not
        start_viewing(scene.hub.db, scene.hub.keys, OFFICER, scene.recordings[0], now_utc())
    revoked = scene.docked.receive()
    assert revoked.kind == GrantRevoked.KIND
    assert header.id in revoked.body
    assert scene.row(request_id).state == "revoked"


def test_many_recordings_are_a_grant_each_and_a_crash_before_they_are_sent_loses_none(
    scene: UseScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    request_id = scene.ask(RECORDS, scene.view(recordings=scene.recordings, holder="auditor"))
    with monkeypatch.context() as crash:
        crash.setattr(approving, "issue_approved", _crashed)
        with pytest.raises(KeyboardInterrupt):
            scene.approve(request_id)
    assert scene.row(request_id).state == "approved"
    assert issue_approved(scene.hub.db, scene.hub.keys) == len(scene.recordings)  # what the hub does at its next start
    assert {scene.docked.receive().kind for _ in scene.recordings} == {Grant.KIND}
    assert scene.row(request_id, AUDITOR).gains


def _crashed(*_: object) -> int:
    raise KeyboardInterrupt


def test_copies_are_numbered_one_after_another(scene: UseScene) -> None:
    numbers = []
    for use in ("copy", "burn", "disclose"):
        request_id = scene.ask(RECORDS, scene.copy(use=use, recordings=scene.recordings[1:]))
        scene.approve(request_id)
        numbers.append(scene.row(request_id).copy_number)
    assert numbers == [1, 2, 3]
    with scene.hub.db.read() as connection:
        assert OUTSIDE in load_details(connection, LEADER, request_id, now_utc()).warnings
        assert [one.id for one in load_details(connection, LEADER, request_id, now_utc()).others]
    with pytest.raises(IntegrityError), scene.hub.db.begin() as tx:  # none is given twice
        tx.execute(update(use_request).where(use_request.c.id == request_id).values(copy_number=1))


def test_whoever_asks_or_is_to_view_never_decides(scene: UseScene) -> None:
    asked = scene.ask(LEADER, scene.view(holder="auditor", reason="asked by a leader"))
    gains = scene.ask(RECORDS, scene.view(holder="leader", reason="for a leader"))
    before = entries(scene)
    for request_id in (asked, gains):
        for decide in (scene.approve, lambda key: scene.do(refuse_use, LEADER, key, "no")):
            with pytest.raises(SecondPersonNeeded):
                decide(request_id)
        for actor in (OFFICER, RECORDS, AUDITOR, Actor("x", Role.ADMINISTRATOR, must_change_password=False)):
            with pytest.raises(DomainError):
                approve_use(scene.hub.db, scene.hub.keys, actor, request_id, "000000", now_utc())
        for by in ("leader", "records"):  # past all code: the database refuses it too
            facts = {"approved": True, "decided_by": by, "decided_at": to_text(now_utc())}
            this = use_request.c.id == request_id
            if by in (scene.row(request_id).requested_by, scene.row(request_id).holder):
                with pytest.raises(IntegrityError), scene.hub.db.begin() as tx:
                    tx.execute(update(use_request).where(this).values(**facts))
    assert entries(scene) == before
    scene.approve(asked, OTHER_LEADER)
    scene.approve(gains, OTHER_LEADER)


def test_a_decision_is_one_and_needs_a_code(scene: UseScene) -> None:
    request_id = scene.ask(RECORDS, scene.copy(reason="one decision"))
    db, keys = scene.hub.db, scene.hub.keys
    with pytest.raises(codes.WrongCode):
        approve_use(db, keys, LEADER, request_id, "000000", now_utc())
    code = scene.phones["leader"].code()
    approve_use(db, keys, LEADER, request_id, code, now_utc())
    second = scene.ask(RECORDS, scene.copy(reason="with a used code"))
    with pytest.raises(codes.WrongCode):
        approve_use(db, keys, LEADER, second, code, now_utc())
    scene.do(withdraw_use, RECORDS, second)
    assert scene.row(second).state == "withdrawn"
    later: list[Callable[[], None]] = [
        lambda: approve_use(db, keys, LEADER, request_id, code, now_utc()),  # sent twice
        lambda: scene.approve(request_id, OTHER_LEADER),  # a stale page
        lambda: scene.do(refuse_use, OTHER_LEADER, request_id, "no"),
        lambda: scene.do(withdraw_use, RECORDS, request_id),
    ]
    for again in later:
        with pytest.raises(NotOpenAnyMore):
            again()


def test_of_two_who_decide_at_once_one_does(scene: UseScene) -> None:
    for turn in range(3):
        request_id = scene.ask(RECORDS, scene.copy(reason=f"race {turn}"))
        first, second = scene.phones["leader"].code(), scene.phones["leader-2"].code()
        begin, ended = threading.Barrier(3), []

        def run(work: Callable[[], None]) -> None:
            begin.wait()  # noqa: B023
            try:
                work()
                ended.append("done")  # noqa: B023
            except (NotOpenAnyMore, codes.WrongCode):
                ended.append("late")  # noqa: B023

        db, keys, now = scene.hub.db, scene.hub.keys, now_utc()
        works = [
            lambda: approve_use(db, keys, LEADER, request_id, first, now),  # noqa: B023
            lambda: approve_use(db, keys, OTHER_LEADER, request_id, second, now),  # noqa: B023
            lambda: scene.do(withdraw_use, RECORDS, request_id),  # noqa: B023
        ]
        threads = [threading.Thread(target=run, args=(work,)) for work in works]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert sorted(ended) == ["done", "late", "late"]
        with scene.hub.db.read() as connection:
            kinds = connection.execute(select(log_entry.c.event_type).order_by(log_entry.c.idx.desc()).limit(2))
            assert [*kinds.scalars()] == ["use.decided.v1", "use.requested.v1"]


def test_what_is_sent_twice_asks_once(scene: UseScene) -> None:
    wanted = scene.copy(reason="sent twice")
    first, before = scene.ask(RECORDS, wanted), entries(scene)
    assert scene.ask(RECORDS, wanted) == first
    assert entries(scene) == before
    assert scene.ask(RECORDS, scene.copy(reason="sent twice", recipient="another")) != first
    scene.do(refuse_use, LEADER, first, "not without the case file")
    assert (scene.row(first).state, scene.row(first, RECORDS).refusal) == ("refused", "not without the case file")
    assert scene.ask(RECORDS, wanted) != first, "after a refusal it is a new request"


def test_what_is_not_theirs_is_not_there(scene: UseScene) -> None:
    stranger = Actor("stranger", Role.OFFICER, must_change_password=False, officer="2002")
    other_section = Actor("b", Role.SECTION_HEAD, must_change_password=False, section="B")
    mine = scene.ask(OFFICER, scene.view(reason="only mine"))
    for actor in (stranger, other_section):
        for wanted in (scene.view(reason="theirs"), scene.view(recordings=(99999,), reason="nobody's")):
            with pytest.raises(NotFound):
                scene.ask(actor, wanted)
        for request_id in (mine, "0195f000-0000-7000-8000-000000000007", "x"):
            for service, more in ((revoke_use, ["why"]), (withdraw_use, []), (refuse_use, ["why"])):
                with pytest.raises(NotFound):
                    scene.do(service, actor, request_id, *more)
        assert load_requests(scene.hub.db, actor, now_utc()) == ()
        with scene.hub.db.read() as connection:
            assert recording_uses(connection, actor, scene.recordings[0], now_utc()).rows == ()
    with pytest.raises(NotAllowed):  # an officer asks to view, not for a copy
        scene.ask(OFFICER, scene.copy())
    with pytest.raises(NotAllowed):
        scene.do(withdraw_use, RECORDS, mine)
    with pytest.raises(NotOpenAnyMore):
        scene.do(revoke_use, OFFICER, mine, "it was not approved")


@pytest.mark.parametrize("holder", ["nobody", "closed", "office", "stranger"])
def test_only_somebody_who_may_be_shown_it_becomes_a_holder(scene: UseScene, holder: str) -> None:
    if holder != "nobody":
        scene.hub.account(holder, {"office": "equipment_office", "stranger": "officer"}.get(holder, "auditor"))
    request_id = scene.ask(RECORDS, scene.view(holder="auditor", reason=f"not {holder}"))
    with scene.hub.db.begin() as tx:
        if holder == "closed":
            tx.execute(update(account).where(account.c.name == holder).values(disabled_at=to_text(now_utc())))
    with pytest.raises(Invalid, match="no account of this name"):
        scene.ask(RECORDS, scene.view(holder=holder))
    if holder == "closed":  # closed after it was asked for: the approval makes nothing
        with scene.hub.db.begin() as tx:
            tx.execute(update(account).where(account.c.name == "auditor").values(disabled_at=to_text(now_utc())))
        with pytest.raises(Invalid, match=NOT_TO_THEM):
            scene.approve(request_id)
        assert scene.row(request_id).state == "waiting"
        with scene.hub.db.begin() as tx:  # past the log, which is looked at in the end
            tx.execute(update(account).values(disabled_at=None))


def test_an_approval_is_over_after_its_days(scene: UseScene) -> None:
    request_id = scene.ask(RECORDS, scene.view(holder="auditor", reason="three days"))
    scene.approve(request_id)
    row = load_requests(scene.hub.db, LEADER, now_utc() + timedelta(days=3, seconds=1))
    assert next(one.state for one in row if one.id == request_id) == "expired"
    with scene.hub.db.read() as connection:
        query = select(command.c.valid_seconds).order_by(command.c.id.desc()).limit(1)
        assert connection.execute(query).scalar_one() == 3 * 86400


def test_a_request_of_many_recordings_is_stated_in_parts(scene: UseScene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.requests.service.MAX_LISTED_RECORDINGS", 3)
    before = entries(scene)
    scene.ask(RECORDS, scene.copy(reason="in parts"))
    assert entries(scene) == before + 2
    scene.sound()


def test_a_list_without_its_request_is_found(tmp_path: Path) -> None:
    made = UseScene(tmp_path)
    made.sound()  # the control
    with made.hub.db.begin() as tx:
        row = {"id": "x", "use": "view", "recordings_sha256": "0", "recordings_in_all": 1, "bytes_in_all": 1,
               "selection": "", "recipient": "", "case_number": "", "reason": "r", "valid_seconds": 1,
               "requested_by": "li", "requested_at": to_text(now_utc())}  # fmt: skip
        tx.execute(insert(use_request).values(**row))
    with pytest.raises(LogUntrusted, match="use_altered"):
        made.sound()
    made.hub.close()
