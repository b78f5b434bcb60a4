"""No footage leaves without two people: every way to be without an approval, and what a bundle proves of it."""

from __future__ import annotations

import csv
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import update

from custody.hubevents import BundleFinished
from hub.bundles.footage import TargetFailed
from hub.bundles.selection import export_endings, exports_in_log
from hub.bundles.service import export_bundle
from hub.bundles.tags import no_stamp
from hub.bundles.work import Order
from hub.errors import Conflict, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.problems import NotOpenAnyMore
from hub.requests.exporting import ApprovalRevoked, approved_order, check_approved
from hub.requests.service import note_copy, refuse_use, revoke_use, withdraw_use
from hub.tables import use_recording, use_request
from hub.times import now_utc
from tests.integration.approved_exports import LEADER, RECORDS, approved, asked
from tests.integration.test_export import Scene, scene

__all__ = ["scene"]


def broken_stamp(_note: str) -> bytes | None:
    raise TargetFailed("the disk is gone")


def _endings(scene: Scene) -> list[BundleFinished]:
    with scene.hub.db.read() as connection:
        return export_endings(connection)


def refused(scene: Scene, order: Order, name: str = "bundle") -> str:
    """Why an export of `order` does not begin; nothing is stated or left behind."""
    before = len(scene.hub.types())
    with pytest.raises(Conflict) as found:
        export_bundle(scene.hub.db, scene.hub.keys, order, [scene.vault], scene.tmp / name)
    assert len(scene.hub.types()) == before
    assert not (scene.tmp / name).exists()
    return str(found.value)


def test_the_statement_and_the_register_name_the_request_and_both_people(scene: Scene) -> None:
    order = approved(scene.hub.db, scene.hub.keys, scene.order())
    export_bundle(scene.hub.db, scene.hub.keys, order, [scene.vault], scene.tmp / "bundle")
    with scene.hub.db.read() as connection:
        [(_, stated)] = exports_in_log(connection)
        check_log(connection, scene.hub.keys, 480)
    assert (stated.request_id, stated.requested_by, stated.approved_by) == (order.request_id, "records", "leader")
    [row] = csv.DictReader((scene.tmp / "bundle/register.csv").read_text("utf-8-sig").splitlines())
    assert (row["申请 request"], row["申请人 asked for by"], row["批准人 approved by"]) == (
        order.request_id, "records", "leader",
    )  # fmt: skip
    assert scene.hub.types()[-4:] == [
        "use.requested.v1", "use.decided.v1", "bundle.exported.v1", "bundle.finished.v1",
    ]  # fmt: skip


def test_without_an_approval_of_exactly_this_nothing_is_exported(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    assert "not approved" in refused(scene, scene.order())
    waiting = asked(db, keys, scene.order())
    assert "not approved" in refused(scene, replace(scene.order(), request_id=waiting))
    withdraw_use(db, keys, RECORDS, waiting, now_utc())
    assert "refused or withdrawn" in refused(scene, replace(scene.order(), request_id=waiting))
    good = approved(db, keys, scene.order())
    for other in (
        replace(good, recordings=good.recordings[:1]), replace(good, recipient="another"), replace(good, reason="x"),
        replace(good, selection="x"),
    ):  # fmt: skip
        assert "not what was approved" in refused(scene, other, name=f"b{id(other)}")
    with db.read() as connection, pytest.raises(Conflict, match="expired"):
        check_approved(connection, good, "", now_utc() + timedelta(days=7))
    export_bundle(db, keys, good, [scene.vault], scene.tmp / "bundle")  # the control
    assert "used already" in refused(scene, good, name="second")


def test_the_bundle_proves_request_approval_and_number(scene: Scene) -> None:
    for number in (1, 2):
        order = approved(scene.hub.db, scene.hub.keys, scene.order())
        target = scene.tmp / f"bundle-{number}"
        export_bundle(scene.hub.db, scene.hub.keys, order, [scene.vault], target)
        report = scene.verify(target)
        assert [found for found in report.findings if not found.is_information] == []
        assert report.bundle
        assert report.bundle.copy_number == number
        assert f"Copy no. {number}" in (target / "bag-info.txt").read_text()
        assert f"<th>复制件编号</th><td>{number}</td>" in (target / "说明.html").read_text()
    rows = csv.DictReader((target / "register.csv").read_text("utf-8-sig").splitlines())
    assert [row["复制件编号 copy no."] for row in rows] == ["1", "2"]


def test_a_revoked_approval_begins_no_bundle_and_finishes_none(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    order = approved(db, keys, scene.order())
    with pytest.raises(TargetFailed):  # interrupted: it was stated, and would go on
        export_bundle(db, keys, order, [scene.vault], scene.tmp / "begun", 0, broken_stamp)

    def revoked_meanwhile(_note: str) -> bytes | None:
        revoke_use(db, keys, LEADER, order.request_id, "wrong case", now_utc())
        return None

    for stamp in (revoked_meanwhile, no_stamp):
        with pytest.raises(ApprovalRevoked):
            export_bundle(db, keys, order, [scene.vault], scene.tmp / "begun", 0, stamp)
    assert {ending.reason for ending in _endings(scene)} == {"target_failed", "approval_revoked"}
    assert not (scene.tmp / "begun").exists()
    assert "revoked" in refused(scene, order, "other")
    with pytest.raises(NotOpenAnyMore):
        revoke_use(db, keys, LEADER, order.request_id, "again", now_utc())


def test_an_approval_that_is_over_revives_on_no_clock_change(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    order, long_after = approved(db, keys, scene.order()), now_utc() + timedelta(days=8)
    refuse_use(db, keys, LEADER, asked(db, keys, replace(order, reason="other")), "no", long_after)  # the log goes on
    with db.read() as connection, pytest.raises(Conflict, match="expired"):
        check_approved(connection, order, "", now_utc())  # the clock was set back
    with pytest.raises(NotFound), db.read() as connection:
        approved_order(connection, "none", "root")


def test_what_became_of_a_copy_is_noted_once(scene: Scene) -> None:
    db, keys = scene.hub.db, scene.hub.keys
    order = approved(db, keys, scene.order())
    with pytest.raises(NotOpenAnyMore):  # it was not made yet
        note_copy(db, keys, RECORDS, order.request_id, "returned", "", now_utc())
    export_bundle(db, keys, order, [scene.vault], scene.tmp / "bundle")
    note_copy(db, keys, RECORDS, order.request_id, "returned", "shelf 3", now_utc())
    with pytest.raises(NotOpenAnyMore):
        note_copy(db, keys, RECORDS, order.request_id, "lost", "", now_utc())
    with db.read() as connection:
        check_log(connection, keys, 480)
    assert scene.hub.types()[-1] == "copy.ended.v1"


@pytest.mark.parametrize(
    "changed",
    [{"approved": False}, {"decided_by": "other"}, {"recipient": "other"}, {"copy_number": 9}, "list", "no list", None],
)
def test_a_changed_row_is_found(scene: Scene, changed: dict[str, object] | str | None) -> None:
    approved(scene.hub.db, scene.hub.keys, scene.order())
    with scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)  # the control
    with scene.hub.db.begin() as tx:
        match changed:
            case "list":
                tx.execute(update(use_recording).where(use_recording.c.recording == 3).values(recording=99))
            case "no list":
                tx.execute(use_recording.delete())
            case None:
                tx.execute(use_request.delete())
            case _:
                tx.execute(update(use_request).values(**changed))
    with pytest.raises(LogUntrusted) as found, scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)
    assert found.value.fault == "use_altered"
