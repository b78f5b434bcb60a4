"""What the pages and the API say about a hub with real work in it, in both languages."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select
from starlette.testclient import TestClient

from custody.checkpoint import open_checkpoint, parse_key_line
from custody.digest import leaf_hash
from custody.merkle import verify_inclusion
from hub.db import open_database, sqlite_url
from hub.tables import log_entry, segment
from hub.web import SECURITY_HEADERS, create_app
from tests.integration.conftest import ENGINES
from tests.integration.postgres import new_database
from tests.integration.site_data import Hub, tell_story
from tests.integration.web_peer import client, sign_in, signed_in

PAGES = ("/", "/overview/live", "/stations", "/stations/dock-jiaoyuju-1", "/recordings", "/log", "/password")


@pytest.fixture(scope="module", params=ENGINES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with work in it, on each database engine."""
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None
    made = Hub(tmp_path_factory.mktemp("hub"), url)
    tell_story(made)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(hub: Hub) -> TestClient:
    return signed_in(hub)


def rows_of(browser: TestClient, query: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = []
    cursor = ""
    for _ in range(100):
        page = browser.get(f"/api/v1/recordings?{query}&limit=7{cursor}").json()
        found += page["rows"]
        if page["next_cursor"] is None:
            return found
        cursor = f"&cursor={page['next_cursor']}"
    raise AssertionError("pages without end")


def first_index(browser: TestClient, query: str) -> int:
    return int(rows_of(browser, query)[0]["log_index"])


def test_overview_says_what_a_person_would_say(browser: TestClient) -> None:
    page = html.unescape(browser.get("/").text)
    for text in (
        "空闲",
        "复制中",
        "12/48",
        "剩余 3分3秒",
        "已安全保存，可以取下",
        "需要处理",
        "存储卡部分无法读取",
        "未同步",
        "在线",
    ):
        assert text in page, text
    assert "从未连接" in page
    assert "复制过程中记录仪被取下" in page
    assert 'data-stamp="' in page


def test_offline_and_silent_stations_are_told_apart(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub.station("dock-1")
    hub.say("dock-1", online=False)
    page = signed_in(hub).get("/").text
    assert "离线" in page
    assert "2026" in page.split("离线")[1][:200]
    hub.close()


def test_empty_hub_tells_what_to_do(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    browser = signed_in(hub)
    assert "尚未登记采集站" in browser.get("/").text
    assert "尚无录像" in browser.get("/recordings").text
    assert browser.get("/api/v1/recordings").json() == {"rows": [], "next_cursor": None}
    hub.close()


@pytest.mark.parametrize(
    ("query", "matches"),
    [
        ("", lambda r: True),
        ("camera=DSJ-000317", lambda r: r["camera"] == "DSJ-000317"),
        ("station=dock-laocheng-2", lambda r: r["station"] == "dock-laocheng-2"),
        ("label=gaps", lambda r: "gaps" in r["labels"]),
        ("label=any", lambda r: r["labels"]),
        ("q=检查", lambda r: "检查" in r["path"]),
        ("q=mp4", lambda r: ".mp4" in r["path"].lower()),
        ("q=mp4&camera=DSJ-000321", lambda r: r["camera"] == "DSJ-000321"),
        ("q=mp4&label=zero_length", lambda r: "zero_length" in r["labels"]),
        ("camera=DSJ-000321&station=dock-jiaoyuju-1", lambda r: r["camera"] == "DSJ-000321"),
        ("camera=DSJ-000321&station=dock-laocheng-2", lambda r: False),
        ("label=any&camera=DSJ-000321", lambda r: r["labels"] and r["camera"] == "DSJ-000321"),
        ("label=any&from=2000-01-01", lambda r: r["labels"]),
        ("label=any&to=2000-01-01", lambda r: False),
        ("q=没有", lambda r: False),
        ("q=%22+OR+*", lambda r: False),
        ("docking=019c5a10-1111-7000-8000-000000000001", lambda r: r["camera"] == "DSJ-000317"),
    ],
)
def test_filters_give_exactly_the_rows_that_fit(hub: Hub, browser: TestClient, query: str, matches: Any) -> None:
    with hub.db.read() as connection:
        stored = [dict(row) for row in connection.execute(select(segment)).mappings()]
    for row in stored:
        row["labels"] = json.loads(row["labels"])
    expected = sorted((r["log_index"] for r in stored if matches(r)), reverse=True)
    assert [r["log_index"] for r in rows_of(browser, query)] == expected


def test_days_are_inclusive_and_newest_first(hub: Hub, browser: TestClient) -> None:
    with hub.db.read() as connection:
        days = connection.execute(select(segment.c.recorded_day, segment.c.log_index)).all()
    for day in sorted({d for d, _ in days}):
        on_day = sorted((i for d, i in days if d == day), reverse=True)
        assert [r["log_index"] for r in rows_of(browser, f"from={day}&to={day}")] == on_day
        assert sorted(r["log_index"] for r in rows_of(browser, f"from={day}&q=mp4")) == sorted(
            i for d, i in days if d >= day
        )
        found = [(r["recorded_at"][:10], r["log_index"]) for r in rows_of(browser, f"to={day}")]
        assert found == sorted(((d, i) for d, i in days if d <= day), reverse=True)


def test_page_and_api_show_the_same_rows(browser: TestClient) -> None:
    page = browser.get("/recordings?label=any").text
    shown = [int(n) for n in re.findall(r'href="/recordings/(\d+)"', page)]
    assert shown == [r["log_index"] for r in rows_of(browser, "label=any")]


def test_no_result_offers_a_way_out(browser: TestClient) -> None:
    page = browser.get("/recordings?q=没有这样的").text
    assert "没有符合条件的录像" in page
    assert 'href="/recordings">清除条件' in page


@pytest.mark.parametrize(
    "query", ["from=yesterday", "label=x", "cursor=abc", "cursor=2026-01-01~5", "from=2026-02-02&to=2026-01-01"]
)
def test_meaningless_filters_are_refused(browser: TestClient, query: str) -> None:
    assert browser.get(f"/recordings?{query}").status_code == 422
    problem = browser.get(f"/api/v1/recordings?{query}")
    assert (problem.status_code, problem.headers["content-type"]) == (422, "application/problem+json")
    assert problem.json()["code"] == "bad_query"


def test_bytes_that_no_database_holds_are_no_fault_of_ours(hub: Hub, browser: TestClient) -> None:
    for path in ("/recordings?q=%00", "/recordings?camera=a%00", "/log?source=%00", "/log?type=a%00b"):
        assert browser.get(path).status_code == 422, path
    assert sign_in(client(hub.app), "a\x00", "b\x00") == 401


def test_one_recording_shows_facts_and_gaps(browser: TestClient) -> None:
    page = html.unescape(browser.get(f"/recordings/{first_index(browser, 'label=gaps')}").text)
    for text in (
        "查封现场_06.MP4",
        "73,400,320",
        "65,536",
        "共 2 处",
        "采集站已签名，并已证明记入日志",
        "保管链",
        "本次导出未能圆满结束",
    ):
        assert text in page, text


@pytest.mark.parametrize(
    ("label", "text"),
    [("zero_length", "空文件"), ("truncated", "不完整"), ("unplayable", "无法播放"), ("changed", "复制时有变动")],
)
def test_labels_are_said_in_words(browser: TestClient, label: str, text: str) -> None:
    assert text in browser.get(f"/recordings/{first_index(browser, f'label={label}')}").text


def test_a_recording_can_be_verified_without_us(hub: Hub, browser: TestClient) -> None:
    index = first_index(browser, "q=检查")
    envelope = browser.get(f"/log/entries/{index}/envelope").content
    with hub.db.read() as connection:
        assert envelope == connection.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
    lines = browser.get(f"/log/entries/{index}/proof").text.split("\n\n", 1)
    head = lines[0].split("\n")
    checkpoint = open_checkpoint(lines[1], parse_key_line(hub.keys.lines["log"]))
    assert head[:2] == ["c2sp.org/tlog-proof@v1", f"index {index}"]
    answer = browser.get(f"/api/v1/recordings/{index}").json()
    path = [bytes.fromhex(h) for h in answer["inclusion_path"]]
    verify_inclusion(leaf_hash(envelope), index, checkpoint.size, path, checkpoint.root)
    assert answer["envelope_sha256"] == hashlib.sha256(envelope).hexdigest()
    sums = browser.get(f"/recordings/{index}/sha256sums").text
    assert sums == f"{answer['statement']['sha256']}  {answer['statement']['vault_path']}\n"


def tamper(hub: Hub, index: int, old: bytes, new: bytes) -> None:
    with hub.db.begin() as tx:
        tx.exec_driver_sql("DROP TRIGGER IF EXISTS log_entry_no_update")
        raw = tx.execute(select(log_entry.c.envelope).where(log_entry.c.idx == index)).scalar_one()
        tx.execute(log_entry.update().where(log_entry.c.idx == index).values(envelope=raw.replace(old, new)))


def test_a_tampered_entry_is_shown_as_such(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    tell_story(hub)
    browser = signed_in(hub)
    index = first_index(browser, "q=检查")
    tamper(hub, index, b'"keyid":"dock-', b'"keyid":"dork-')
    for path in (f"/recordings/{index}", f"/log/entries/{index}"):
        page = browser.get(path).text
        assert "签名或证明不成立" in page
        assert "已证明记入日志" not in page
    tamper(hub, index, b'"sig":"', b'"sig":"A')
    for path in (f"/recordings/{index}", f"/log/entries/{index}"):
        answer = browser.get(path)
        assert (answer.status_code, "<code>entry_damaged</code>" in answer.text) == (500, True)
    hub.close()


def test_names_from_cameras_are_inert(browser: TestClient) -> None:
    index = first_index(browser, "q=gpj")
    for path in (
        "/",
        "/recordings",
        f"/recordings/{index}",
        f"/log/entries/{index}",
        "/recordings?q=gpj&camera=%3Cb%3E",
    ):
        page = browser.get(path).text
        assert "<script>alert" not in page, path
        assert "<b>" not in page, path
        assert not set("\u202e\u200b\x1b\x00") & set(page), path
    assert "⟨U+202E⟩" in browser.get(f"/recordings/{index}").text
    reflected = browser.get("/recordings", params={"q": '"><img src=x onerror=1>', "camera": "\u202e"}).text
    assert "<img src=x" not in reflected
    assert "\u202e" not in reflected
    sums = browser.get(f"/recordings/{index}/sha256sums")
    assert sums.headers["content-disposition"] == f'attachment; filename="recording-{index}.sha256"'


def test_log_page_lists_filters_and_gives_keys(hub: Hub, browser: TestClient) -> None:
    page = html.unescape(browser.get("/log").text)
    assert all(line in page for line in hub.keys.lines.values())
    note = client(hub.app).get("/log/checkpoint")
    assert note.headers["content-type"].startswith("text/plain")
    size = open_checkpoint(note.text, parse_key_line(hub.keys.lines["log"])).size
    entries = browser.get("/api/v1/log/entries?limit=200").json()["rows"]
    assert [e["index"] for e in entries] == list(range(size - 1, -1, -1))
    only = browser.get("/api/v1/log/entries?type=docking.closed.v1&source=dock-jiaoyuju-1&limit=1").json()
    assert [e["event_type"] for e in only["rows"]] == ["docking.closed.v1"]
    rest = browser.get(
        f"/api/v1/log/entries?type=docking.closed.v1&source=dock-jiaoyuju-1&cursor={only['next_cursor']}"
    )
    assert len(rest.json()["rows"]) == 1
    assert "没有符合条件的条目" in browser.get("/log?type=none").text
    for index in range(size):
        assert "签名与证明均有效" in browser.get(f"/log/entries/{index}").text, index


def test_every_page_speaks_both_languages(browser: TestClient) -> None:
    for path in PAGES:
        chinese, english = browser.get(f"{path}?lang=zh-CN"), browser.get(f"{path}?lang=en")
        assert (chinese.status_code, english.status_code) == (200, 200)
        assert 'lang="en"' in english.text or path.endswith("live")
        visible = re.sub(r"<[^>]*>", " ", english.text)
        names = re.sub(r"[\u4e00-\u9fff]+(?=[\w./]*\.(mp4|MP4))|执法记录/\d+|中文", "", visible)
        assert not re.findall(r"[\u4e00-\u9fff]{2,}", names), path
    assert "Overview" in browser.get("/").text  # the cookie keeps the last choice
    assert "总览" in browser.get("/?lang=zh-CN").text


def test_api_and_pages_need_nothing_from_elsewhere(browser: TestClient) -> None:
    for path in (*PAGES, "/sign-in", "/nothing-here"):
        answer = browser.get(path)
        assert not re.search(r"(src|href|action)=\"(https?:)?//", answer.text), path
        for name, value in SECURITY_HEADERS.items():
            assert answer.headers[name] == value, path
    styles = re.findall(r'href="(/static/[^"]+)"', browser.get("/").text)
    assert styles
    for path in styles:
        answer = browser.get(path)
        assert answer.status_code == 200
        assert "immutable" in answer.headers["cache-control"]
    api = browser.get("/api/v1/openapi.json").json()
    assert {"/api/v1/stations", "/api/v1/recordings", "/api/v1/recordings/{log_index}", "/api/v1/dockings"} <= set(
        api["paths"]
    )
    for gone in ("/docs", "/redoc", "/openapi.json"):
        assert browser.get(gone).status_code == 404


def test_api_lists_stations_and_dockings(browser: TestClient) -> None:
    stations = browser.get("/api/v1/stations").json()["rows"]
    assert [s["id"] for s in stations] == ["dock-jiaoyuju-1", "dock-laocheng-2", "dock-xinqu-1"]
    assert stations[0]["bays"][2]["files_done"] == 12
    page = browser.get("/api/v1/dockings?limit=3").json()
    rest = browser.get(f"/api/v1/dockings?limit=3&cursor={page['next_cursor']}").json()
    assert (len(page["rows"]), len(rest["rows"]), rest["next_cursor"]) == (3, 1, None)
    assert page["rows"][0]["reason"] == "source_gone"


def test_problems_are_pages_for_people_and_json_for_programs(browser: TestClient) -> None:
    for path, status, code in (
        ("/nothing", 404, "not_found"),
        ("/recordings/999999", 404, "not_found"),
        ("/log/entries/999999", 404, "not_found"),
    ):
        page = browser.get(path)
        assert (page.status_code, f"<code>{code}</code>" in page.text) == (status, True), path
    problem = browser.get("/api/v1/recordings/999999")
    assert problem.json() == {
        "type": "urn:custodock:problem:not_found",
        "title": "页面不存在",
        "status": 404,
        "detail": "该地址没有内容。请核对地址，或从总览开始。",
        "code": "not_found",
    }
    assert browser.post("/recordings").status_code == 405
    assert browser.get("/recordings/abc").status_code == 422


def test_a_database_that_does_not_answer_is_told_as_busy(tmp_path: Path) -> None:
    db = open_database(sqlite_url(tmp_path / "empty.db"))
    browser = client(create_app(db, {"log": "", "receipts": "", "events": ""}))
    assert browser.get("/healthz").text == "ok\n"
    assert browser.get("/readyz").status_code == 503
    answer = browser.get("/log/checkpoint")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "5")
    assert "系统繁忙" in answer.text
    db.close()


def test_odd_states_of_stations_never_break_the_page(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    hub.station("dock-1")
    browser = signed_in(hub)
    for odd in (
        {"online": True, "software": "\ud800", "disk_free_bytes": -1, "clock": 7, "outbox_unreceipted": 1e300},
    ):
        hub.say("dock-1", **odd)
        hub.say("dock-1", "1", camera=["x"], state={"a": 1}, files_done="many", files_total=0, seconds_left=-5)
        hub.say("dock-1", "2", camera="\u202e<i>", state="\x1b[31m", reason="x" * 5000, bytes_done=5, bytes_total=0)
        for path in ("/", "/api/v1/stations"):
            assert browser.get(path).status_code == 200
        assert "状态未知" in browser.get("/").text
    hub.close()


def test_envelopes_can_be_delivered_over_http(tmp_path: Path) -> None:
    hub = Hub(tmp_path)
    story = hub.station("dock-1")
    raw = base64.b64encode(story.started()).decode()
    answer = client(hub.app).post("/api/v1/envelopes", json=[raw])
    assert answer.status_code == 200
    assert len(answer.json()["answers"]) == 1
    assert client(hub.app).post("/api/v1/envelopes", json={"a": 1}).status_code == 422
    assert client(hub.app).post("/sign-in", content=b"x" * 100_000).status_code == 413
    hub.close()
