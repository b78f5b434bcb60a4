"""The pages of requests and the register: wrong forms, lists that are asked for as a whole, filters, CSV and PDF."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from html import unescape

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from hub.requests.service import refuse_use, revoke_use
from hub.site import SESSION_COOKIE
from hub.tables import use_request
from tests.integration.release_scene import CAMERA
from tests.integration.use_scene import LEADER, OFFICER, RECORDS, UseScene
from tests.integration.web_peer import client, form_token

ASK = {"use": "disclose", "recordings": "4、5", "recipient": "区法院", "reason": "案件 17 调取", "days": "3"}
FORMULA = '=HYPERLINK("x")'


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[UseScene]:
    made = UseScene(tmp_path_factory.mktemp("hub"))
    yield made
    made.sound()
    made.hub.close()


def browser_of(scene: UseScene, name: str) -> TestClient:
    browser = client(scene.hub.app)
    browser.cookies.set(SESSION_COOKIE, scene.signed_in(name))
    return browser


@pytest.fixture(scope="module")
def records(scene: UseScene) -> TestClient:
    return browser_of(scene, "records")


@pytest.fixture(scope="module")
def leader(scene: UseScene) -> TestClient:
    return browser_of(scene, "leader")


def ids(scene: UseScene) -> set[str]:
    with scene.hub.db.read() as connection:
        return set(connection.execute(select(use_request.c.id)).scalars())


@pytest.mark.parametrize(
    "wrong",
    [
        {"recordings": ""}, {"recordings": "0"}, {"recordings": "x"}, {"recordings": "99999"}, {"reason": " "},
        {"recipient": "x" * 501}, {"recipient": ""}, {"use": "keep"}, {"days": "8"}, {"days": "x"}, {"days": "-1"},
        {"use": "view", "holder": ""}, {"use": "view", "holder": "nobody"}, {"case_number": "x" * 61},
        {"reason": "a\u202eb"},
    ],
)  # fmt: skip
def test_a_wrong_form_says_why_keeps_what_was_entered_and_asks_for_nothing(
    scene: UseScene, records: TestClient, wrong: dict[str, str]
) -> None:
    before, token = ids(scene), form_token(records.get("/password").text)
    answer = records.post("/requests", data={"form_token": token, **(ASK | wrong)})
    assert answer.status_code == 422
    assert "申请未提交" in answer.text
    assert f'value="{(ASK | wrong)["reason"].strip()}"' in unescape(answer.text) or "reason" in wrong
    assert ids(scene) == before


def test_a_limited_list_is_asked_for_as_a_whole(scene: UseScene, records: TestClient) -> None:
    found = re.search(r'href="(/requests/new\?camera=[^"]+)"', records.get(f"/recordings?camera={CAMERA}").text)
    assert found
    page = records.get(unescape(found[1])).text
    assert 'name="recordings" value="4 5 6 7"' in page
    assert "/requests/new" not in records.get("/recordings").text  # of all there are nobody asks


def test_asked_for_decided_and_found_in_the_register(scene: UseScene, records: TestClient, leader: TestClient) -> None:
    token = form_token(records.get("/password").text)
    sent = [records.post("/requests", data={"form_token": token, **ASK}) for _ in range(2)]
    assert {answer.status_code for answer in sent} == {303}
    [path] = {answer.headers["location"] for answer in sent}  # a double click asks once
    form = {"form_token": form_token(leader.get("/password").text)}
    assert f'action="{path}/approve"' in leader.get(path).text
    assert f'action="{path}/approve"' not in records.get(path).text
    assert leader.post(f"{path}/approve", data=form | {"code": "000000"}).status_code == 422
    assert leader.post(f"{path}/refuse", data=form | {"reason": " "}).status_code == 422
    assert leader.post(f"{path}/approve", data=form | {"code": scene.phones["leader"].code()}).status_code == 303
    assert leader.post(f"{path}/refuse", data=form | {"reason": "late"}).status_code == 409
    assert f"--approved {path.rpartition('/')[2]}" in records.get(path).text
    assert "第 1 号复制件" in records.get("/requests/register?use=disclose").text


def test_the_register_is_limited_by_each_filter_and_to_what_one_may_see(scene: UseScene, leader: TestClient) -> None:
    mine = scene.ask(OFFICER, scene.view(case_number="(2026) 99", reason="filter: mine"))
    other = scene.ask(RECORDS, scene.copy(use="burn", recordings=scene.recordings[-1:], reason=FORMULA))
    scene.approve(mine)
    scene.do(revoke_use, OFFICER, mine, "done")
    scene.do(refuse_use, LEADER, other, "no")

    def listed(browser: TestClient, query: str) -> set[str]:
        answer = browser.get(f"/requests/register?{query}")
        assert answer.status_code == 200, answer.text
        return {key for key in (mine, other) if f"/requests/{key}" in answer.text}

    for query, found in (
        ("", {mine, other}), ("person=wang", {mine}), ("person=leader", {mine, other}), ("person=nobody", set()),
        ("use=burn", {other}), ("case=99", {mine}), ("case=%25", set()), (f"recording={scene.recordings[-1]}", {other}),
        ("from=2020-01-01&to=2020-01-02", set()), ("from=2020-01-01", {mine, other}),
    ):  # fmt: skip
        assert listed(leader, query) == found, query
    assert listed(browser_of(scene, "wang"), "") == {mine}
    for query in ("from=x", "from=2026-01-02&to=2026-01-01", "use=keep", "recording=-1", f"person={'x' * 201}"):
        assert leader.get(f"/requests/register?{query}").status_code == 422, query
    made = leader.get("/requests/register.csv?lang=en")
    rows = {row["Request"]: row for row in csv.DictReader(made.content.decode("utf-8-sig").splitlines())}
    assert rows[other]["Reason"] == f"'{FORMULA}"
    assert (rows[other]["State"], rows[other]["Why it ended"]) == ("Refused", "no")
    assert (rows[mine]["State"], rows[mine]["Recordings"]) == ("Revoked", str(scene.recordings[0]))
    pdf = leader.get("/requests/register.pdf?use=burn")
    assert (pdf.status_code, pdf.content[:5]) == (200, b"%PDF-")


def test_a_recordings_page_and_its_custody_tell_nobody_of_requests_that_they_may_not_see(scene: UseScene) -> None:
    scene.ask(RECORDS, scene.view(holder="auditor", reason="an inquiry about the officer"))
    place = f"/recordings/{scene.recordings[0]}"
    officer, auditor = browser_of(scene, "wang"), browser_of(scene, "auditor")
    for path in (place, f"{place}/custody"):
        assert "an inquiry" not in officer.get(path).text
    assert "auditor" in auditor.get(place).text.partition('id="uses"')[2].partition("</section>")[0]
