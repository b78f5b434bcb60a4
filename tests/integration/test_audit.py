"""The audit pages: every filter against the whole log read entry by entry, entries in words, custody, exports."""

from __future__ import annotations

import base64
import csv
import hashlib
import html
import io
import itertools
import json
import subprocess
import sys
from collections.abc import Iterator
from datetime import date, datetime, timedelta
from typing import Any

import pytest
import typst
from sqlalchemy import insert, select, update
from starlette.testclient import TestClient

from custody.event import Event, Sha256Hex
from custody.hubevents import BundleExported, BundleFinished
from custody.stationevents import CameraCheckedOut, CameraDocked, CameraLeft, CameraReturned
from hub import log
from hub.audit.export import inert
from hub.audit.queries import count_entries, read_event
from hub.audit.selection import EntryFilter, all_indexes, newest_indexes
from hub.audit.typeset import FONTS, TypesettingFailed, typeset
from hub.identifiers import new_id
from hub.logcheck import check_log
from hub.reindex import reindex
from hub.subjects import subjects_of
from hub.tables import hub_subject, log_check, log_entry
from hub.times import now_utc, to_text
from tests.integration.conftest import ENGINES
from tests.integration.hubs import drop_triggers
from tests.integration.postgres import new_database
from tests.integration.site_data import HOSTILE, Hub, Story, tell_story
from tests.integration.web_peer import client, form_token, signed_in

NEEDS_FONT = pytest.mark.skipif(
    not set(FONTS) & set(typst.Fonts().families()),
    reason="needs a font with Chinese letters (Debian: fonts-wqy-microhei); deploy/check installs it",
)
CAMERA = "DSJ-900001"
STAY = "019c5a10-9999-7000-8000-000000000001"
FORMULA = "=HYPERLINK(\"http://x\")&@SUM(1+1)*cmd|' /C calc'!A0.MP4"


@pytest.fixture(scope="module", params=ENGINES)
def hub(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hub]:
    """A hub with work, a camera that was on duty, an export and people, on each engine."""
    url = new_database(request.getfixturevalue("postgres")) if request.param == "postgresql" else None
    made = Hub(tmp_path_factory.mktemp("hub"), url)
    tell_story(made)
    on_duty(made)
    for name in ("wang", "li"):
        made.account(name, "auditor")
    export(made, "wang", (seal_of(made),), complete=True)
    export(made, "li", (seal_of(made), 12), complete=False)
    yield made
    made.close()


@pytest.fixture(scope="module")
def browser(hub: Hub) -> TestClient:
    return signed_in(hub, "auditor-1", "auditor")


def on_duty(hub: Hub) -> None:
    """A camera is taken, comes back, is offloaded and leaves."""
    s = hub.station("dock-duty", now_utc() - timedelta(hours=8))
    place = {"camera_id": CAMERA, "bay": "4"}
    duty = {"verdict": "ready", "reasons": ()}
    sent = [docked(s)]
    sent.append(s.seal(CameraCheckedOut, **place, **duty, officer="310042", notice="n", due_at=now_utc()))
    sent.append(s.seal(CameraLeft, **place, offload="safe", verdict="ready", officer="310042"))
    s.at += timedelta(hours=3)
    sent += [docked(s), s.seal(CameraReturned, **place, officer="310042", was_out=True)]
    sent += [
        s.dock(STAY, CAMERA, "4", 2, 9),
        s.file(CAMERA, "4", "DCIM/A.MP4", s.at),
        s.file(CAMERA, "4", FORMULA, s.at),
    ]
    sent += [s.close(CAMERA, "4", 2, 9), s.seal(CameraLeft, **place, offload="safe", verdict="ready", officer=None)]
    hub.take(s.name, *sent)


def docked(s: Story) -> bytes:
    facts = {"usb_id": "1:2", "usb_serial": "s", "volume_ids": (), "profile": "generic", "disputed": False}
    return s.seal(CameraDocked, camera_id=CAMERA, bay="4", **facts)


def export(hub: Hub, who: str, recordings: tuple[int, ...], *, complete: bool) -> None:
    name = new_id(now_utc())
    facts = {"bytes_in_all": 9, "selection": "s", "recipient": "区法院", "reason": "案件", "operator": who}
    with hub.db.begin() as tx, log.appending(tx, hub.keys, now_utc()) as entries:
        entries.record(
            BundleExported,
            bundle_id=name,
            part=1,
            parts=1,
            recordings=recordings,
            recordings_in_all=len(recordings),
            **facts,
        )
        digest = Sha256Hex("ab" * 32) if complete else None
        reason = "complete" if complete else "target_failed"
        entries.record(BundleFinished, bundle_id=name, complete=complete, reason=reason, tag_manifest_sha256=digest)


def seal_of(hub: Hub, path: str = "DCIM/A.MP4") -> int:
    [found] = [index for index, _, _, event, _ in whole_log(hub) if getattr(event, "path", "") == path]
    return found


def whole_log(hub: Hub) -> list[tuple[int, str, str, Event, str]]:
    """Index, source, type, event, time of receipt of every entry."""
    with hub.db.read() as connection:
        rows = connection.execute(select(log_entry).order_by(log_entry.c.idx)).all()
    found = []
    for row in rows:
        event = read_event(bytes(row.envelope))
        assert event is not None
        found.append((row.idx, row.source, row.event_type, event, row.received_at))
    return found


# --- filters ---


def expected(hub: Hub, asked: EntryFilter) -> list[int]:
    """By reading all of it."""
    entries = whole_log(hub)
    by_index = {index: event for index, _, _, event, _ in entries}
    seal: Any = by_index.get(-1 if asked.recording is None else asked.recording)

    def fits(index: int, source: str, kind: str, event: Any, received: str) -> bool:
        subjects = set(subjects_of(event)) if source == "hub" else set()
        day = to_day(received)
        same_stay = seal is not None and (source, getattr(event, "docking_id", "")) == (seal.source, seal.docking_id)
        return (
            asked.event_type in ("", kind)
            and asked.source in ("", source)
            and (asked.camera in ("", getattr(event, "camera_id", "")) or ("camera", asked.camera) in subjects)
            and (not asked.account or ("account", asked.account) in subjects)
            and (
                asked.recording is None
                or index == asked.recording
                or ("recording", str(asked.recording)) in subjects
                or (same_stay and kind.startswith("docking."))
            )
            and (asked.day_from is None or asked.day_from.isoformat() <= day)
            and (asked.day_to is None or day <= asked.day_to.isoformat())
        )

    return [index for index, *rest in entries if fits(index, *rest)]


def to_day(received: str) -> str:
    return f"{datetime.fromisoformat(received) + timedelta(hours=8):%Y-%m-%d}"


def test_every_filter_and_every_two_of_them_find_what_reading_all_of_it_finds(hub: Hub) -> None:
    today = (now_utc() + timedelta(hours=8)).date()
    day = timedelta(days=1)
    seal = seal_of(hub)
    choices: dict[str, list[Any]] = {
        "event_type": ["", "segment.sealed.v1", "docking.closed.v1", "bundle.exported.v1", "camera.left.v1", "none"],
        "source": ["", "hub", "dock-duty", "dock-jiaoyuju-1", "nobody"],
        "camera": ["", CAMERA, "DSJ-000321", "ZFY-7 <b>\u202e", "nobody"],
        "recording": [None, seal, 12, 999_999],
        "account": ["", "wang", "li", "nobody"],
        "day_from": [None, today, today + day],
        "day_to": [None, today, today - day],
    }
    size = len(whole_log(hub))
    none: dict[str, Any] = {name: values[0] for name, values in choices.items()}
    tried = 0
    for one, other in itertools.combinations(choices, 2):
        for a, b in itertools.product(choices[one], choices[other]):
            asked = EntryFilter(**none | {one: a, other: b})
            right = expected(hub, asked)
            with hub.db.read() as connection:
                assert list(all_indexes(connection, asked, size)) == right, asked
                got: list[int] = []
                before = None
                while page := newest_indexes(connection, asked, size, before, 3):
                    got += page
                    before = page[-1]
                assert got == right[::-1], asked
            tried += bool(right)
    assert tried > 100


def test_days_end_where_beijing_days_end(hub: Hub) -> None:
    with hub.db.writer.connect() as tx:
        tx.begin()
        drop_triggers(tx)
        size = count_entries(tx)
        for index in range(size):
            at = "2026-03-04T15:59:59.999999Z" if index < 10 else "2026-03-04T16:00:00.000000Z"
            tx.execute(update(log_entry).where(log_entry.c.idx == index).values(received_at=at))
        assert list(all_indexes(tx, EntryFilter(day_to=date(2026, 3, 4)), size)) == list(range(10))
        assert list(all_indexes(tx, EntryFilter(day_from=date(2026, 3, 5)), size)) == list(range(10, size))
        tx.rollback()


def test_filters_that_no_entry_could_have_are_refused(browser: TestClient) -> None:
    for query in ("from=2026-13-01", "from=2026-03-02&to=2026-03-01", "recording=x", "recording=-1", "account=%00",
                  "camera=" + "a" * 201, "recording=" + "9" * 19, "recording=%D9%A1"):  # fmt: skip
        assert browser.get(f"/log?{query}").status_code == 422, query
    assert browser.get("/log?to=9999-12-31&from=0001-01-01").status_code == 200


def test_subjects_are_built_again_and_a_changed_one_is_found(hub: Hub) -> None:
    def rows(connection: Any) -> list[Any]:
        return sorted(map(tuple, connection.execute(select(hub_subject))))

    with hub.db.read() as connection:
        before = rows(connection)
        check_log(connection, hub.keys, 480)
    assert {("account", "wang"), ("recording", str(seal_of(hub)))} <= {row[:2] for row in before}
    reindex(hub.db, 480)
    with hub.db.read() as connection:
        assert rows(connection) == before


# --- one entry, in words ---


def test_every_entry_reads_in_both_languages(hub: Hub, browser: TestClient) -> None:
    for lang in ("en", "zh-CN"):  # the last one stays chosen
        listed = html.unescape(browser.get(f"/log?lang={lang}").text)
        assert ("接收方：区法院" if lang == "zh-CN" else "for 区法院, because") in listed
        for index, _, kind, _, _ in whole_log(hub):
            page = browser.get(f"/log/entries/{index}?lang={lang}")
            assert page.status_code == 200, (index, kind)
            assert "%(" not in page.text, kind


def test_an_entry_leads_on(hub: Hub, browser: TestClient) -> None:
    seal = seal_of(hub)
    page = browser.get(f"/log/entries/{seal}").text
    assert f'href="/recordings/{seal}"' in page
    assert f'href="/log/entries/{seal - 1}"' in page
    assert f'href="/log/entries/{seal + 1}"' in page
    assert 'href="/log/entries/-1"' not in browser.get("/log/entries/0").text
    assert browser.get("/log/entry?index=7").headers["location"] == "/log/entries/7"
    page = html.unescape(browser.get(f"/log/entries/{seal_of(hub, HOSTILE)}").text)
    assert "<script>alert(1)</script>/⟨U+202E⟩" in page.replace("&lt;", "<")
    assert "\u202e" not in page


# --- chain of custody ---


def test_the_chain_tells_who_when_where_and_what_is_not_known(hub: Hub, browser: TestClient) -> None:
    seal = seal_of(hub)
    page = html.unescape(browser.get(f"/recordings/{seal}/custody").text)
    told = [
        "310042 从 4 号仓位领用记录仪 DSJ-900001",
        "记录仪 DSJ-900001 从 4 号仓位取出",
        "记录仪 DSJ-900001 放入 4 号仓位",
        "由 310042 领用的记录仪 DSJ-900001 已归还",
        "开始从 4 号仓位的记录仪 DSJ-900001 导出",
        "复制了记录仪 DSJ-900001 的 DCIM/A.MP4",
        "导出结束：2 个文件中复制了 2 个",
        "记录仪 DSJ-900001 从 4 号仓位取出；导出情况：已全部保存",
        f"中心核验签名后将其收为日志第 {seal} 条",
        "wang 导出 1 段录像",
        "导出结束：完整",
        "li 导出 2 段录像",
        "无法写入",
    ]
    places = [page.find(text) for text in told]
    assert -1 not in places, [text for text, at in zip(told, places, strict=True) if at < 0]
    at = 0
    for text in told:
        at = page.find(text, at)
        assert at >= 0, f"{text} is not in order"
    assert page.count("放入 4 号仓位") == 1, "the docking before the duty is another story"
    assert "无人办理领用" not in page
    assert "没有外部机构的时间戳" in page
    assert "没有经由中心的导出记录" not in page
    for index in (seal, seal + 2):
        assert f'href="/log/entries/{index}/proof"' in page


def test_gaps_in_the_chain_are_said(hub: Hub, browser: TestClient) -> None:
    [seal] = [i for i, _, _, e, _ in whole_log(hub) if getattr(e, "path", "").endswith("查封现场_06.MP4")]
    page = html.unescape(browser.get(f"/recordings/{seal}/custody?lang=en").text)
    for text in (
        "69,632 B of this file could not be read",
        "The offload did not end well",
        "When the camera was put into the bay is not in the log",
        "nobody had checked it out",
        "No export through the hub is in the log",
        "no record here can show",
    ):
        assert text in page, text
    browser.get("/?lang=zh-CN")


@NEEDS_FONT
def test_custody_as_a_document(hub: Hub, browser: TestClient) -> None:
    answer = browser.get(f"/recordings/{seal_of(hub, HOSTILE)}/custody.pdf")
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "application/pdf"
    assert answer.content.startswith(b"%PDF-")
    assert len(answer.content) > 5_000


def test_who_may_not(hub: Hub) -> None:
    officer = signed_in(hub, "officer-9", "officer")
    token = form_token(officer.get("/password").text)
    assert officer.post("/log/export", data={"form_token": token, "format": "csv"}).status_code == 403
    for path in ("/log", "/log/entry?index=0", "/log/checkpoints/0", "/log/timestamps/1"):
        assert officer.get(path).status_code == 403, path
    for path in ("/log/entries/0", f"/recordings/{seal_of(hub)}/custody", f"/recordings/{seal_of(hub)}/custody.pdf"):
        assert officer.get(path).status_code == 404, path  # another officer carried the camera
    anonymous = client(hub.app)
    token = form_token(anonymous.get("/sign-in").text)
    answer = anonymous.post("/log/export", data={"form_token": token, "format": "csv"})
    assert (answer.status_code, answer.headers["location"]) == (303, "/sign-in")


# --- exports ---


def take(browser: TestClient, form: str, **asked: str) -> Any:
    token = form_token(browser.get("/log").text)
    return browser.post("/log/export", data={"form_token": token, "format": form, **asked})


def last_two(hub: Hub) -> tuple[Any, Any]:
    return tuple(event for _, _, _, event, _ in whole_log(hub)[-2:])  # type: ignore[return-value]


def test_csv_is_for_spreadsheets_and_no_cell_is_a_formula(hub: Hub, browser: TestClient) -> None:
    answer = take(browser, "csv", camera=CAMERA)
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.content.startswith(b"\xef\xbb\xbf")
    rows = list(csv.reader(io.StringIO(answer.content.decode("utf-8-sig"), newline="")))
    right = expected(hub, EntryFilter(camera=CAMERA))
    assert [int(row[0]) for row in rows[1:]] == right
    assert len({len(row) for row in rows}) == 1
    assert any(FORMULA in cell for row in rows for cell in row)
    for row in rows:
        for cell in row:
            assert not cell.lstrip().startswith(("=", "+", "-", "@", "＝")), cell
    stated, finished = last_two(hub)
    assert (stated.account, stated.format, stated.selection) == ("auditor-1", "csv", f"camera={CAMERA}")
    assert stated.entries == len(right)
    assert (finished.export_id, finished.complete) == (stated.export_id, True)
    assert (finished.size_bytes, finished.sha256) == (
        len(answer.content),
        hashlib.sha256(answer.content).hexdigest(),
    )


@pytest.mark.parametrize("cell", ["=1", " =1", "\u3000=1", "\ufeff@x", "+1", "-1", "@a", "\t=1", "＝1", "\n=1", "－2"])
def test_what_a_spreadsheet_takes_for_a_formula(cell: str) -> None:
    assert inert(cell) == f"'{cell}"


@pytest.mark.parametrize("cell", ["", "a=1", "现场", "2026-03-05 14:00:00", "1,024"])
def test_what_it_does_not(cell: str) -> None:
    assert inert(cell) == cell


def test_json_lines_hold_the_exact_bytes(hub: Hub, browser: TestClient) -> None:
    before = whole_log(hub)
    answer = take(browser, "jsonl")
    lines = [json.loads(line) for line in answer.content.splitlines()]
    assert [line["index"] for line in lines] == [index for index, *_ in before]
    with hub.db.read() as connection:
        stored = connection.execute(select(log_entry.c.envelope).order_by(log_entry.c.idx).limit(len(lines))).scalars()
        for line, raw in zip(lines, stored, strict=True):
            assert base64.b64decode(line["envelope"]) == bytes(raw)
            assert json.loads(base64.b64decode(json.loads(bytes(raw))["payload"])) == line["event"]
    stated, finished = last_two(hub)
    assert (stated.log_size, stated.selection, finished.complete) == (len(before), "", True)


@NEEDS_FONT
def test_pdf_of_entries(hub: Hub, browser: TestClient) -> None:
    answer = take(browser, "pdf", type="docking.closed.v1")
    assert answer.content.startswith(b"%PDF-")
    assert last_two(hub)[1].complete


def test_without_a_font_for_chinese_nothing_is_made() -> None:
    """No page of empty boxes; the exit code is what the hub says so by."""
    program = "import sys, hub.audit.typeset as t; t.FONTS = (); sys.exit(t._child('log'))"
    done = subprocess.run([sys.executable, "-c", program], input=b"{}", capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (7, b"")


@NEEDS_FONT
def test_a_text_that_breaks_the_page_ends_only_its_own_process() -> None:
    with pytest.raises(TypesettingFailed):
        typeset("log", {"title": "no rows, no columns"})
    words = dict.fromkeys(("title", "footer"), '#eval("1") *a* $x$ \\u{202e} \U0010ffff')
    made = typeset(
        "log", {**words, "lang": "zh", "intro": [], "checkpoint": [], "columns": ["a"] * 5, "rows": [["#x"] * 5]}
    )
    assert made.startswith(b"%PDF-")


def test_a_bad_order_states_nothing(hub: Hub, browser: TestClient) -> None:
    before = len(whole_log(hub))
    assert take(browser, "exe").status_code == 422
    assert take(browser, "csv", **{"from": "yesterday"}).status_code == 422
    assert browser.post("/log/export", data={"format": "csv"}).status_code == 403
    assert len(whole_log(hub)) == before


def test_chain_and_index_hold_after_all_of_this(hub: Hub) -> None:
    with hub.db.read() as connection:
        check_log(connection, hub.keys, 480)


# --- how the log stands ---


def test_the_page_says_how_the_last_check_ended(hub: Hub, browser: TestClient) -> None:
    def keep(fault: str, item: str, ago: timedelta) -> None:
        at = to_text(now_utc() - ago)
        with hub.db.begin() as tx:
            tx.execute(insert(log_check).values(started_at=at, finished_at=at, size=9, fault=fault, item=item))

    assert "从未" in browser.get("/log").text
    keep("", "", timedelta(hours=2))
    assert "完好" in browser.get("/log").text
    keep("", "", timedelta(hours=40))
    assert "已过期" in browser.get("/log").text
    keep("entry_altered", "entry/17", timedelta(0))
    page = browser.get("/log").text
    assert 'role="alert"' in page
    assert "日志条目已被改动" in page
    assert "entry/17" in page
