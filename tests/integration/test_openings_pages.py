"""What people see and do about openings: pages, downloads, the two command lines."""

from __future__ import annotations

import contextlib
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from custody.cli import main as custody
from custody.commitments import detach
from hub.access import Actor, Role
from hub.accounts.service import Visit, change_password
from hub.app import main
from hub.audit.export import csv_parts, jsonl_parts
from hub.audit.queries import read_events
from hub.db import open_database
from hub.intake import Intake
from hub.keys import load_keys
from hub.language import Language, load_translations
from hub.opening import received
from hub.openings.reading import NOT_HERE, REMOVED, Unshown
from hub.openings.service import Choice, approve_removal, request_removal
from hub.stations.service import enrol_station
from hub.times import now_utc
from hub.wording import Wording
from tests.bench.stations import SigningStation
from tests.integration.site_data import Hub
from tests.integration.web_peer import client, signed_in

RECORDS = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
LEADER = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
OFFICER = "318842"
VECTORS = Path(__file__).parents[1] / "vectors" / "openings"


@pytest.fixture
def hub(tmp_path: Path) -> Iterator[Hub]:
    """Entry 1 with its opening, entry 2 whose opening never came, entry 3 whose value was removed."""
    made, dock = Hub(tmp_path), SigningStation("dock-1")
    enrol_station(made.db, made.keys, dock.key.verify_key.line)
    made.take("dock-1", dock.checked_out(OFFICER), detach(dock.checked_out("318843"))[0], dock.checked_out("318844"))
    removal_id, _ = request_removal(made.db, made.keys, RECORDS, Choice("officer", value="318844"), "ordered")
    approve_removal(made.db, made.keys, LEADER, removal_id)
    yield made
    made.close()


def test_pages_say_the_value_or_why_there_is_none(hub: Hub) -> None:
    browser = signed_in(hub, "auditor-1", "auditor")
    there, missing, removed = (browser.get(f"/log/entries/{index}?lang=en").text for index in (1, 2, 3))
    assert f"Officer {OFFICER} takes camera" in there
    assert "Officer (not in the log)" in missing
    assert "Not here: no opening came with the entry." in missing
    assert "318843" not in missing
    assert "Officer (removed)" in removed
    assert 'href="/log/entries/5">when and by whom' in removed
    assert "318844" not in removed
    listed = browser.get("/log?lang=en").text
    assert OFFICER in listed
    assert "318844" not in listed
    said = browser.get("/log/entries/5?lang=en").text
    assert "1 entries was removed (An authority ordered it); asked for by records, approved by leader" in said
    chinese = browser.get("/log/entries/3?lang=zh-CN").text
    assert "已删除" in chinese
    assert all("Signature and proof hold" in page for page in (there, missing, removed))


def test_the_opening_is_handed_out_to_whoever_may_see_the_entry_and_to_nobody_else(
    hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    auditor = signed_in(hub, "auditor-1", "auditor")
    assert [auditor.get(f"/log/entries/{index}/opening").status_code for index in (1, 2, 3, 99)] == [200, 404, 404, 404]
    assert signed_in(hub, "li", "officer").get("/log/entries/1/opening").status_code == 404  # none of theirs
    assert client(hub.app).get("/log/entries/1/opening").status_code in (303, 401)
    (tmp_path / "e").write_bytes(auditor.get("/log/entries/1/envelope").content)
    (tmp_path / "o").write_bytes(auditor.get("/log/entries/1/opening").content)
    assert custody(["show", str(tmp_path / "e"), "--opening", str(tmp_path / "o"), "--lang", "en"]) == 0
    assert f"officer = {OFFICER}: proved by the opening" in capsys.readouterr().out


def test_no_export_of_the_log_holds_a_value(hub: Hub) -> None:
    words = Wording(Language.EN, load_translations()[Language.EN])
    for parts in (csv_parts(hub.db, [1, 2, 3], words), jsonl_parts(hub.db, [1, 2, 3])):
        exported = b"".join(parts)
        assert b"camera.checked_out.v2" in exported
        assert OFFICER.encode() not in exported


def test_an_event_that_commits_is_read_as_its_forerunner(hub: Hub) -> None:
    with hub.db.read() as connection:
        events = read_events(connection, [1, 2, 3])
    assert [getattr(events[index], "officer", None) for index in (1, 2, 3)] == [OFFICER, NOT_HERE, REMOVED]
    assert [isinstance(getattr(events[i], "officer", None), Unshown) for i in (1, 2, 3)] == [False, True, True]


@pytest.mark.parametrize(
    ("opening", "code", "said"),
    [
        ("good", 0, "officer = 310042: proved by the opening"),
        ("value-other", 1, "the opening proves nothing"),
        ("envelope-other", 1, "the opening proves nothing"),
        ("not-json", 1, "the opening proves nothing"),
        (None, 0, "officer: a commitment; no opening was given"),
    ],
)
def test_custody_show(capsys: pytest.CaptureFixture[str], opening: str | None, code: int, said: str) -> None:
    words = [] if opening is None else ["--opening", str(VECTORS / f"{opening}.opening.json")]
    assert custody(["show", str(VECTORS / "envelope.dsse.json"), "--lang", "en", *words]) == code
    assert said in capsys.readouterr().out


def test_the_command_line_needs_two_accounts(tmp_path: Path, capsys: Any, monkeypatch: Any) -> None:
    def run(password: str, *words: str) -> dict[str, Any]:
        monkeypatch.setattr("sys.stdin", io.StringIO(f"{password}\n"))
        with contextlib.suppress(SystemExit):
            main([*words, "--dir", str(tmp_path / "hub"), "--json"])
        answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        return answer if isinstance(answer, dict) else {"rows": answer}

    hub_id = run("", "init")["hub_id"]
    db, keys = open_database(f"sqlite:///{tmp_path}/hub/hub.db"), load_keys(tmp_path / "hub" / "keys", hub_id)
    people = {}
    for name, role in (("ann", "records_custodian"), ("bob", "approving_leader")):
        first, chosen = run("", "user", "add", name, "--role", role)["password"], f"a long one, {role}"
        change_password(
            db,
            keys,
            Actor(name, Role(role), must_change_password=True),
            first,
            chosen,
            chosen,
            Visit("here"),
            now_utc(),
        )
        people[name] = chosen
    dock, intake = SigningStation("dock-1"), Intake(db, keys, 480)
    enrol_station(db, keys, dock.key.verify_key.line)
    intake.take([received("custodock/1/dock-1/events", dock.checked_out(OFFICER), "dock-1")])
    intake.close()
    db.close()
    ask = ("opening", "remove", "--officer", OFFICER, "--reason", "asked_by_person", "--account")
    assert run("wrong", *ask, "ann")["error"] == "invalid"
    assert run(people["bob"], *ask, "bob")["error"] == "not_allowed"
    asked = run(people["ann"], *ask, "ann")
    assert asked["entries"] == 1
    assert (
        run(people["ann"], "opening", "approve", asked["removal"], "--account", "ann")["error"]
        == "second_person_needed"
    )
    assert run(people["bob"], "opening", "approve", asked["removal"], "--account", "bob") == {"removed": 1}
    [row] = run("", "opening", "list")["rows"]
    assert (row["requested_by"], row["approved_by"], row["reason"]) == ("ann", "bob", "asked_by_person")
    assert OFFICER not in json.dumps(row)
    assert "size" in run("", "log", "check")
