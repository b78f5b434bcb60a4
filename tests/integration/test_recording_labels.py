"""What people state of recordings: found by it, corrected, taken back; the log derives it, and nothing of it acts."""

from __future__ import annotations

import csv
import html
import io
import re
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import delete, insert, select, update
from starlette.testclient import TestClient

from custody.envelope import EVENT_TYPE, MAX_ENVELOPE_BYTES, seal
from custody.fields import dump_json
from hub.access import Actor, Role
from hub.errors import Invalid, LogUntrusted, NotFound
from hub.logcheck import check_log
from hub.logfaults import IndexWrong
from hub.openings.service import Choice, approve_removal, request_removal
from hub.problems import NotAllowed, NotOpenAnyMore
from hub.recordings.filters import RecordingFilter
from hub.recordings.history import load_history
from hub.recordings.labelling import Labels, label_recordings, undo_labelling
from hub.recordings.queries import load_recordings
from hub.recordings.saved import FilterNotSaved, load_filters, save_filter
from hub.recordings.states import derive_standings, read_standings
from hub.reindex import reindex
from hub.tables import log_entry, mark_request, recording_known, recording_state, segment
from hub.times import now_utc
from tests.integration.conftest import ENGINES
from tests.integration.postgres import new_database
from tests.integration.site_data import HOSTILE, Hub, tell_story
from tests.integration.web_peer import form_token, signed_in
from tests.vectors.dockings import STATION_KEY

LI = Actor("li", Role.CUSTODIAN, must_change_password=False)
WANG = Actor("wang", Role.SECTION_HEAD, must_change_password=False)
ALL = Labels("complaint_report", True, "人民路 12 号", "投诉无证办学", "京教执〔2026〕12号")


@pytest.fixture(scope="module", params=ENGINES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None
    made = Hub(tmp_path_factory.mktemp("hub"), url)
    tell_story(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(hub: Hub) -> TestClient:
    return signed_in(hub, "li", "custodian")


def found(hub: Hub, **asked: Any) -> list[int]:
    return [row.log_index for row in load_recordings(hub.db, LI, RecordingFilter(**asked), None, 200).rows]


def say(hub: Hub, recordings: list[int], labels: Labels, actor: Actor = LI) -> int:
    return label_recordings(hub.db, hub.keys, actor, recordings, labels, now_utc())


def check(hub: Hub) -> None:
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


def post(browser: TestClient, path: str, **form: Any) -> Any:
    return browser.post(path, data={"form_token": form_token(browser.get("/password").text), **form})


def test_a_labelling_is_found_corrected_and_taken_back(hub: Hub) -> None:
    some = found(hub, camera="DSJ-000330")[:3]
    first = say(hub, some, ALL)
    assert found(hub, kind="complaint_report") == found(hub, about="人民路") == some
    assert found(hub, about="无证 京教执〔2026〕12号", camera="DSJ-000330", text="mp4") == some
    assert found(hub, about="人民路 没有") == found(hub, about="人民路", camera="DSJ-000317") == []
    assert found(hub, kind="complaint_report", oldest=True) == some[::-1]
    second = say(hub, some[:1], Labels(kind="evidence_taking", place="南门"), WANG)
    assert found(hub, kind="investigation") == found(hub, about="南门") == some[:1]
    assert found(hub, about="人民路") == some[1:]
    assert found(hub, about="无证") == some  # what the correction did not say
    check(hub)
    with hub.db.read() as connection:
        history = load_history(connection, some[0])
    assert (history.place, history.matter, history.case_number) == ("南门", ALL.matter, ALL.case_number)
    assert [one.log_index for one in history.said] == [second, first]
    undo_labelling(hub.db, hub.keys, LI, second, now_utc())
    assert found(hub, about="人民路") == some
    with pytest.raises(NotOpenAnyMore):
        undo_labelling(hub.db, hub.keys, LI, second, now_utc())
    undo_labelling(hub.db, hub.keys, WANG, first, now_utc())
    assert found(hub, about="人民路") == found(hub, kind="complaint_report") == []
    with hub.db.read() as connection:
        assert [one.undone_by for one in load_history(connection, some[0]).said] == ["li", "wang"]  # all of it stays
    check(hub)


def test_the_log_holds_no_text_and_a_rebuilt_index_the_same_words(hub: Hub) -> None:
    some = found(hub, camera="DSJ-000330")[3:6]
    at = say(hub, some, replace(ALL, place="秘密花园九号"))
    with hub.db.read() as connection:
        raw = bytes(connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == at)).scalar_one())
        before = read_standings(connection, some)
        assert before == derive_standings(connection, some)
    assert "秘密花园".encode() not in raw
    reindex(hub.db, 480)
    assert found(hub, about="秘密花园", kind="complaint_report") == some
    with hub.db.read() as connection:
        assert read_standings(connection, some) == before
    check(hub)


def test_a_text_that_people_removed_is_found_no_more(hub: Hub) -> None:
    some = found(hub, camera="DSJ-000330")[6:8]
    at = say(hub, some, Labels(place="某住宅", matter="上门核查"))
    records = Actor("records", Role.RECORDS_CUSTODIAN, must_change_password=False)
    leader = Actor("leader", Role.APPROVING_LEADER, must_change_password=False)
    removal, _ = request_removal(hub.db, hub.keys, records, Choice("place", entries=(at,)), "asked_by_person")
    approve_removal(hub.db, hub.keys, leader, removal)
    assert found(hub, about="某住宅") == []
    assert found(hub, about="上门") == some
    with hub.db.read() as connection:
        assert load_history(connection, some[0]).place == ""  # said, and removed
    check(hub)


FORGED = (
    lambda at: update(recording_state).where(recording_state.c.recording == at).values(kind="other_on_site"),
    lambda at: update(recording_state).where(recording_state.c.recording == at).values(mark="privacy"),
    lambda at: delete(recording_state).where(recording_state.c.recording == at),
    lambda at: insert(recording_known).values(recording=at, account="thief"),
    lambda _: insert(recording_state).values(recording=0, mark="normal"),
    lambda _: insert(mark_request).values(
        id="r", recordings="[1]", mark="normal", reason="period_over", requested_by="a", requested_at="t"
    ),
)


@pytest.mark.parametrize("number", range(len(FORGED)))
def test_the_check_finds_whatever_does_not_follow_from_the_log(hub: Hub, number: int) -> None:
    [some] = found(hub, camera="DSJ-000330")[8:9]
    if not found(hub, kind="service_of_documents"):
        say(hub, [some], Labels(kind="service_of_documents"))
    with hub.db.writer.connect() as tx:
        tx.begin()
        check_log(tx, hub.keys, 480)
        tx.execute(FORGED[number](some))
        with pytest.raises((LogUntrusted, IndexWrong)):
            check_log(tx, hub.keys, 480)
        tx.rollback()


def test_words_of_the_index_that_do_not_follow_are_found(hub: Hub) -> None:
    forged = (
        "INSERT INTO segment_text (segment_text) VALUES ('delete-all')"
        if hub.db.is_sqlite
        else "UPDATE segment_bigrams SET bigrams = bigrams || 'nservice:1'::tsvector"
    )
    with hub.db.writer.connect() as tx:
        tx.begin()
        tx.exec_driver_sql(forged)
        with pytest.raises(IndexWrong):
            check_log(tx, hub.keys, 480)
        tx.rollback()


def test_who_may_label_what(hub: Hub) -> None:
    [some] = found(hub, camera="DSJ-000317")[:1]
    elsewhere = replace(LI, section="B")
    for actor, refusal in ((elsewhere, NotFound), (Actor("a", Role.AUDITOR, must_change_password=False), NotAllowed),
                           (Actor("o", Role.OFFICER, must_change_password=False, officer="1"), NotFound)):  # fmt: skip
        with pytest.raises(refusal):
            say(hub, [some], ALL, actor)
    at = say(hub, [some], ALL)
    for actor, refusal in ((elsewhere, NotFound), (Actor("a", Role.AUDITOR, must_change_password=False), NotAllowed)):
        with pytest.raises(refusal):
            undo_labelling(hub.db, hub.keys, actor, at, now_utc())
    with pytest.raises(NotFound):
        undo_labelling(hub.db, hub.keys, LI, some, now_utc())  # a seal is no labelling
    for wrong in ([], [some] * 2 + list(range(1001))):
        with pytest.raises(Invalid):
            say(hub, wrong, ALL)
    with pytest.raises(NotFound):
        say(hub, [some, 999_999], ALL)


def test_a_thousand_recordings_fit_into_one_event() -> None:
    numbers = [(1 << 53) - 1 - n for n in range(1000)]
    raw = seal(EVENT_TYPE, dump_json({"recordings": numbers, "rest": "x" * 1000}), STATION_KEY)
    assert len(raw) < MAX_ENVELOPE_BYTES


def test_names_that_would_act_stay_text_in_pages_and_lists(hub: Hub, browser: TestClient) -> None:
    [odd] = found(hub, text="gpj")
    formula, markup = '=HYPERLINK("x")', "<img src=x onerror=1>"
    say(hub, [odd], Labels("other_on_site", False, markup, formula, "@SUM(A1)"))
    save_filter(hub.db, LI, markup, RecordingFilter(text="gpj"), is_default=False)
    for path in (f"/recordings/{odd}", "/recordings?q=gpj", f"/recordings/chosen?n={odd}", "/recordings/list.csv?q=gpj",
                 f"/recordings?about={formula}&officer={markup}", f"/recordings/day?camera={markup}&day=2026-01-01",
                 f"/marks?recording={odd}",
                 "/recordings/day?camera=ZFY-7+%3Cb%3E%E2%80%AE&day=" + day_of(hub, odd)):  # fmt: skip
        text = browser.get(path).text
        assert "<img src=x" not in text, path
        assert "<script>alert" not in text or path.startswith("/recordings/list.csv"), path
        assert not set("\u202e\u200b\x1b") & set(text), path
    assert html.escape(markup) in browser.get(f"/recordings/{odd}").text
    refused = post(browser, "/recordings/labels", n=[odd], place="a\u202eb")
    assert (refused.status_code, "\u202e" in refused.text) == (422, False)
    rows = list(csv.reader(io.StringIO(browser.get("/recordings/list.csv").content.decode("utf-8-sig"))))
    assert len(rows) == len(found(hub)) + 1
    assert not [cell for row in rows for cell in row if cell.startswith(("=", "+", "-", "@", "\t"))]
    assert HOSTILE.rpartition("/")[2][:1] not in {row[1][:1] for row in rows}


def day_of(hub: Hub, index: int) -> str:
    with hub.db.read() as connection:
        return str(connection.execute(select(segment.c.recorded_day).where(segment.c.log_index == index)).scalar_one())


def test_the_forms_say_it_and_take_it_back(hub: Hub, browser: TestClient) -> None:
    some = found(hub, camera="DSJ-000317")[5:7]
    assert browser.get("/recordings/chosen").status_code == 422
    nothing = post(browser, "/recordings/labels", n=some)
    assert (nothing.status_code, "未标注" in nothing.text) == (422, True)
    done = post(browser, "/recordings/labels", n=some, kind="other_on_site", matter="联合检查")
    page = browser.get(done.headers["location"]).text
    assert "已标注 2 段录像" in page
    [undo] = re.findall(r'action="(/recordings/labels/\d+/undo)"', page)
    assert sorted(found(hub, about="联合检查")) == sorted(some)
    assert post(browser, undo).status_code == 303
    assert found(hub, about="联合检查") == []
    assert "已标注" not in browser.get(done.headers["location"]).text
    assert post(browser, undo).status_code == 409


def test_holds_are_placed_on_each_file_and_found(hub: Hub, browser: TestClient) -> None:
    some = found(hub, camera="DSJ-000317")[7:9]
    assert found(hub, state="held") == []
    assert post(browser, "/recordings/holds", n=some, reason=" ").status_code == 422
    assert post(browser, "/recordings/holds", n=some, reason="case 7").status_code == 303
    assert found(hub, state="held") == found(hub, state="held", camera="DSJ-000317") == some
    assert found(hub, state="held", camera="DSJ-000330") == []
    assert "case 7" in browser.get(f"/recordings/{some[0]}").text
    assert post(browser, "/recordings/holds", n=[*some, 999_999], reason="case 8").status_code == 404
    assert "case 8" not in browser.get(f"/recordings/{some[0]}").text


def test_saved_filters_are_a_persons_own(hub: Hub, browser: TestClient) -> None:
    saved = {"name": "检查", "q": "检查", "from": "2026-01-01", "is_default": "1"}
    assert post(browser, "/recordings/filters", **saved).status_code == 303
    opened = browser.get("/recordings")
    assert opened.status_code == 303
    assert "q=%E6%A3%80%E6%9F%A5&from=2026-01-01" in opened.headers["location"]
    assert browser.get("/recordings?all=1").status_code == 200
    assert [one.name for one in load_filters(hub.db, WANG)] == []
    assert post(browser, "/recordings/filters", name="").status_code == 422
    assert post(browser, "/recordings/filters/remove", name="检查").status_code == 303
    assert browser.get("/recordings").status_code == 200
    for number in range(30):
        with pytest.raises(FilterNotSaved) if number >= 20 else nullcontext():
            save_filter(hub.db, replace(LI, name="wu"), f"{number}", RecordingFilter(), is_default=False)
