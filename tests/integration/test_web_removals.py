"""Revocations and removals by pages: one asks, another approves with a code; each role sees what concerns it."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from custody.checkpoint import SigningKey
from custody.cosignature import CosigningKey
from hub.logcheck import check_log
from hub.tables import opening, station, witness
from hub.witnesses.service import add_witness
from tests.integration.authenticators import set_up
from tests.integration.site_data import Hub
from tests.integration.test_web_commands import post
from tests.integration.test_web_releases import text
from tests.integration.web_peer import signed_in

WITNESS = CosigningKey(SigningKey.from_seed("office.example/leader", bytes(range(32))))
ASK = {
    "stations": {"station": "dock-1", "reason": "stolen", "sure": "1"},
    "witnesses": {"witness": WITNESS.key.name, "reason": "its keeper left", "sure": "1"},
    "details": {"officer": "310042", "why": "asked_by_person", "sure": "1"},
}
ASKERS = {"stations": "administrator", "witnesses": "administrator", "details": "records_custodian"}
APPROVERS = {"stations": "auditor", "witnesses": "approving_leader", "details": "approving_leader"}


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    made = Hub(tmp_path)
    story = made.station("dock-1")
    made.take("dock-1", story.overdue("310042"))
    add_witness(made.db, made.keys, WITNESS.public.line, "test", url="http://127.0.0.1:9")
    yield made
    made.close()


def request_id(browser: TestClient, kind: str) -> str:
    found = re.search(rf"/removals/{kind}/([0-9a-f-]{{36}})/approve", browser.get("/removals").text)
    assert found
    return found[1]


def counts(hub: Hub) -> tuple[bool, bool, bool]:
    """Whether the station's key, the witness's key and the officer's number are still there."""
    with hub.db.read() as connection:
        revoked = connection.execute(select(station.c.revoked_at)).scalar_one()
        removed = connection.execute(select(witness.c.removed_at)).scalar_one()
        value = connection.execute(select(opening.c.value)).scalar_one()
        check_log(connection, hub.keys, 480)
    return revoked is None, removed is None, value is not None


@pytest.mark.parametrize("kind", ASK)
def test_two_people_and_a_code(hub: Hub, kind: str) -> None:
    asker, other = signed_in(hub, "asker", ASKERS[kind]), signed_in(hub, "other", APPROVERS[kind])
    assert post(asker, f"/removals/{kind}", **(ASK[kind] | {"sure": ""})) == 422
    assert post(other, f"/removals/{kind}", **ASK[kind]) == 403
    assert post(asker, f"/removals/{kind}", **ASK[kind]) == 303
    assert "another person decides" in text(asker, "/removals?lang=en")
    assert "Set up your second factor" in text(other, "/removals?lang=en")
    phone = set_up(hub.db, other)
    address = f"/removals/{kind}/{request_id(other, kind)}/approve"
    assert post(asker, address, code="123456") == 403
    assert post(other, address, code="000000") == 422
    assert counts(hub) == (True, True, True)
    assert post(other, address, code=phone.code()) == 303
    assert counts(hub) == tuple(kind != one for one in ASK)
    assert post(other, address, code="000000") == 409
    assert "No request waits" in text(other, "/removals?lang=en")
    assert "asker" in text(asker, "/removals")
    assert "310042" not in text(asker, "/removals")


def test_a_newer_request_takes_the_place_of_an_older_one(hub: Hub) -> None:
    asker, other = signed_in(hub, "asker", "administrator"), signed_in(hub, "other", "auditor")
    set_up(hub.db, other)
    assert post(asker, "/removals/stations", **ASK["stations"]) == 303
    old = request_id(other, "stations")
    assert post(asker, "/removals/stations", **(ASK["stations"] | {"from_seq": "1"})) == 303
    assert request_id(other, "stations") != old
    assert post(other, f"/removals/stations/{old}/approve", code="000000") == 409


WRONG = [
    ("stations", {"station": "dock-9"}), ("stations", {"from_seq": "99"}), ("stations", {"from_seq": "x"}),
    ("stations", {"reason": ""}), ("witnesses", {"witness": "nobody"}), ("witnesses", {"reason": ""}),
    ("details", {"officer": ""}), ("details", {"officer": "9"}), ("details", {"why": "because"}),
    ("details", {"before": "tomorrow"}), ("details", {"entries": "1 x"}),
]  # fmt: skip


def test_what_does_not_fit_asks_for_nothing(hub: Hub) -> None:
    askers = {role: signed_in(hub, f"p-{role}", role) for role in set(ASKERS.values())}
    for kind, change in WRONG:
        assert post(askers[ASKERS[kind]], f"/removals/{kind}", **(ASK[kind] | change)) == 422, (kind, change)
    assert "No request waits" in text(askers["administrator"], "/removals?lang=en")


def test_the_records_custodian_sees_personal_detail_only(hub: Hub) -> None:
    admin, records = signed_in(hub, "admin2", "administrator"), signed_in(hub, "records", "records_custodian")
    assert post(admin, "/removals/stations", **ASK["stations"]) == 303
    assert post(records, "/removals/details", **ASK["details"]) == 303
    page = text(records, "/removals?lang=en")
    assert "Personal detail behind 1 log entries" in page
    assert "Key of station" not in page
    assert "Key of station dock-1" in text(admin, "/removals?lang=en")
