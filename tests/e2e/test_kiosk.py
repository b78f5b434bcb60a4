"""The dock's screen in a real browser: what people see in each state, handing out a camera, and who is kept out."""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx2
import pytest

from agent.board import Board
from agent.duty import NOTICE, open_checkouts
from agent.opening import Opened, open_dock
from agent.store import OutboxRow
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.stationevents import CameraCheckedOutV2, CameraReturnedV2
from tests.e2e.kiosk_scene import kiosk, scene
from tests.e2e.test_browser import ARGUMENTS, AXE, CHROMIUM, playwright
from tests.openings import named
from tests.ports import free_port

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Screen:
    """The screen in a thread with an event loop of its own, as the agent has."""

    def __init__(self, opened: Opened, port: int) -> None:
        self.opened, self.address = opened, f"http://127.0.0.1:{port}"
        self.loop, self.ready, self._stop = asyncio.new_event_loop(), threading.Event(), asyncio.Event()
        self.board: Board
        self._port = port
        self._thread = threading.Thread(target=self.loop.run_until_complete, args=(self._run(),))
        self._thread.start()
        assert self.ready.wait(60)

    async def _run(self) -> None:
        async with kiosk(self.opened, self._port, scene()) as self.board:
            self.ready.set()
            await self._stop.wait()

    def show(self, bay: str, **changes: Any) -> None:
        """Let a bay show something else."""

        async def change() -> None:
            state = self.board.state(bay)
            assert state is not None
            self.board.show(replace(state, **changes))

        asyncio.run_coroutine_threadsafe(change(), self.loop).result(10)

    def rows(self) -> list[OutboxRow]:
        """The station's outbox."""
        return asyncio.run_coroutine_threadsafe(
            self.opened.dock.store.call(lambda store: store.outbox_from(1, 1000)), self.loop
        ).result(10)

    def events(self) -> list[Any]:
        """Everything that the station has stated."""
        envelopes = [parse_envelope(row.envelope) for row in self.rows()]
        return [decode_event(envelope.payload_type, envelope.payload) for envelope in envelopes]

    def close(self) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self.loop.close()


@pytest.fixture(scope="module")
def screen(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Screen]:
    home = tmp_path_factory.mktemp("dock")
    with open_dock(home / "vault", home) as opened:
        shown = Screen(opened, free_port())
        yield shown
        shown.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[playwright.Browser]:
    with playwright.sync_playwright() as driver:
        opened = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield opened
        opened.close()


@pytest.fixture
def page(screen: Screen, browser: playwright.Browser) -> Iterator[playwright.Page]:
    """The screen, without script errors and refused resources."""
    context = browser.new_context(base_url=screen.address, locale="zh-CN", viewport={"width": 1920, "height": 1080})
    opened, complaints = context.new_page(), []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    opened.goto("/")
    opened.locator(".bay").first.wait_for()
    yield opened
    context.close()
    assert [text for text in complaints if "40" not in text] == []  # refusals (403, 409) are asked for below


def bay(page: playwright.Page, name: str) -> playwright.Locator:
    return page.locator(f'.bay[data-bay="{name}"]')


def test_only_a_bay_that_is_safe_says_that_the_camera_may_be_taken(page: playwright.Page) -> None:
    said = {card.get_attribute("data-bay"): card.inner_text() for card in page.locator(".bay").all()}
    assert {name for name, text in said.items() if "可以取下" in text} == {"3", "4", "5"}
    assert all("请勿取下" in said[name] for name in ("2", "11"))
    assert "电量 41 %，要求 80 %" in said["4"]
    assert "存储卡已 14 秒没有响应" in said["11"]


def test_a_change_shows_at_once(screen: Screen, page: playwright.Page) -> None:
    progress = screen.board.state("2").progress  # type: ignore[union-attr]
    screen.show("2", progress=replace(progress, files_done=40))
    bay(page, "2").get_by_text("40/48").wait_for(timeout=15_000)


@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (800, 480), (390, 844)])
def test_nothing_sticks_out_and_axe_finds_no_fault(page: playwright.Page, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text())
    assert faults(page) == []
    bay(page, "4").get_by_role("button").click()
    for name in ("#number", "#pin", "#desk-cancel", "#desk-go"):
        box = page.locator(name).bounding_box()
        assert box is not None
        assert 0 <= box["y"] <= height - box["height"], name
    assert faults(page) == []


@pytest.mark.parametrize("language", ["zh", "en"])
@pytest.mark.parametrize(("width", "height"), [(1920, 1080), (1280, 720), (800, 480), (390, 844)])
def test_every_word_lies_within_its_bay(page: playwright.Page, language: str, width: int, height: int) -> None:
    page.set_viewport_size({"width": width, "height": height})
    if language == "en":
        page.locator("#language").click()
        bay(page, "1").get_by_text("Free").wait_for()
    outside = """() => [...document.querySelectorAll('.bay')].flatMap((card) => {
        const edge = card.getBoundingClientRect(), range = document.createRange();
        return [...card.querySelectorAll('*')].filter((node) => {
            range.selectNodeContents(node);
            const box = range.getBoundingClientRect();
            return box.right > edge.right || box.bottom > edge.bottom;
        }).map((node) => card.dataset.bay + ': ' + node.textContent);
    })"""
    assert page.evaluate(outside) == []


def test_all_bays_are_seen_at_once_on_a_dock_s_screen(page: playwright.Page) -> None:
    last = page.locator(".bay").nth(11).bounding_box()  # twelve bays; the thirteenth state is the scene's alone
    assert last is not None
    assert last["y"] + last["height"] <= 1080


def test_a_screen_that_hears_nothing_says_so_and_shows_nothing_green(
    screen: Screen, browser: playwright.Browser
) -> None:
    context = browser.new_context(base_url=screen.address, locale="zh-CN")
    opened = context.new_page()
    opened.clock.install()
    opened.goto("/")
    opened.locator(".bay").first.wait_for()
    opened.clock.fast_forward(40_000)
    opened.get_by_text("请勿取下记录仪").wait_for()
    assert "grayscale(1)" in opened.locator("#bays").evaluate("node => getComputedStyle(node).filter")
    context.close()


def faults(page: playwright.Page) -> list[Any]:
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})")
    return [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]]


def test_check_out_shows_the_notice_of_article_8_and_can_be_taken_back(screen: Screen, page: playwright.Page) -> None:
    bay(page, "3").get_by_role("button", name="领用").click()
    page.locator("#number").fill("1001")
    page.locator("#pin").fill("1111")
    page.get_by_role("button", name="领用", exact=True).last.click()
    page.get_by_text("工号或 PIN 不正确").wait_for()
    for digit in "2468":  # as on a touch screen
        page.locator("#keypad").get_by_text(digit, exact=True).click()
    page.locator("#desk-go").click()
    page.get_by_text(NOTICE).wait_for()
    page.get_by_role("button", name="知道了").click()
    bay(page, "3").get_by_text("已由工号 1001 领用").wait_for()
    out = [event for event in screen.events() if isinstance(event, CameraCheckedOutV2)][-1]
    assert (out.camera_id, out.verdict, out.notice) == ("DSJ-000321", "ready", NOTICE)
    assert named(screen.rows())[-1] == "1001"

    bay(page, "3").get_by_role("button", name="撤销领用").click()
    page.locator("#number").fill("1001")
    page.locator("#pin").fill("2468")
    page.locator("#desk-go").click()
    bay(page, "3").get_by_role("button", name="领用", exact=True).wait_for()
    back = [event for event in screen.events() if isinstance(event, CameraReturnedV2)][-1]
    assert (back.camera_id, back.was_out) == ("DSJ-000321", False)


def test_taking_a_camera_that_is_not_ready_is_asked_for_in_red_and_stated(
    screen: Screen, page: playwright.Page
) -> None:
    bay(page, "4").get_by_role("button", name="领用").click()
    go = page.get_by_role("button", name=re.compile("仍要领用"))
    page.locator("#number").fill("1001")
    page.locator("#pin").fill("2468")
    go.click()
    page.get_by_text(NOTICE).wait_for()
    out = [event for event in screen.events() if isinstance(event, CameraCheckedOutV2)][-1]
    assert (out.verdict, out.reasons) == ("not_ready", ("charge_low", "space_low"))


def test_the_desk_closes_when_the_camera_leaves(screen: Screen, page: playwright.Page) -> None:
    screen.show("9", state="safe", verdict=screen.board.state("3").verdict)  # type: ignore[union-attr]
    bay(page, "9").get_by_role("button", name="领用").click()
    assert page.locator("#desk").is_visible()
    screen.show("9", state="empty", camera=None, verdict=None)
    page.locator("#desk").wait_for(state="hidden")


def post(address: str, path: str, body: object, **headers: str) -> tuple[int, dict[str, Any]]:
    sent = {"content-type": "application/json", "x-custodock": "kiosk"} | headers
    answer = httpx2.post(address + path, json=body, headers=sent)
    return answer.status_code, answer.json()


ASKED = {"bay": "2", "number": "1001", "pin": "2468"}


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (ASKED, {}, 409),  # still copying
        (ASKED | {"bay": "nothing"}, {}, 409),
        (ASKED | {"bay": "4"}, {}, 409),  # not ready, and not confirmed; or out already
        (ASKED | {"more": 1}, {}, 422),
        (ASKED, {"x-custodock": ""}, 403),  # another page in the same browser
        (ASKED, {"host": "evil.example"}, 421),  # a name that was made to point here
    ],
)
def test_who_may_not(screen: Screen, body: dict[str, Any], headers: dict[str, str], status: int) -> None:
    before = len(screen.events())
    assert post(screen.address, "/check-out", body, **headers)[0] == status
    assert len(screen.events()) == before


def test_wrong_pins_block_the_number_and_not_the_dock(screen: Screen) -> None:
    wrong = {"bay": "3", "number": "9999", "pin": "0000"}
    assert [post(screen.address, "/check-out", wrong)[0] for _ in range(2)] == [403, 403]
    mine = {"bay": "3", "number": "1001", "pin": "0000"}
    answers = [post(screen.address, "/check-out", mine)[0] for _ in range(6)]
    assert answers[-1] == 429
    assert post(screen.address, "/check-out", mine | {"pin": "2468"})[0] == 429  # even the right one waits


def test_officers_names_and_pins_stay_here(screen: Screen) -> None:
    said = json.dumps([str(event) for event in screen.events()], ensure_ascii=False)
    assert "张伟" not in said
    assert "2468" not in said
    assert Path(screen.opened.dock.vault).exists()
    rows = asyncio.run_coroutine_threadsafe(screen.opened.dock.store.call(open_checkouts), screen.loop).result(10)
    assert {row.camera for row in rows} == {"DSJ-000322"}
