"""The main path in a real browser: sign in, watch, find, verify; and what only a browser can tell.

Needs Chromium (Debian: chromium) and the Python package playwright.
"""

from __future__ import annotations

import re
import shutil
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import uvicorn

from tests.integration.site_data import Hub, tell_story
from tests.integration.web_peer import PASSWORD
from tests.ports import free_port

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
]
AXE = Path(__file__).parent / "axe" / "axe.min.js"  # axe-core 4.14.1, MPL-2.0, unchanged
NOT_FOUND = "Failed to load resource: the server responded with a status of 404 (Not Found)"  # the page /nothing
PAGES = (
    "/",
    "/stations",
    "/stations/dock-jiaoyuju-1",
    "/recordings",
    "/recordings?q=没有",
    "/recordings?label=any",
    "/alerts",
    "/alerts?show=resolved",
    "/commands",
    "/commands/release",
    "/requests",
    "/requests/register",
    "/log",
    "/log/entries/3",
    "/log?type=docking.closed.v1&from=2026-01-01",
    "/recordings/8/custody",
    "/password",
    "/verify",
    "/nothing",
)


@contextmanager
def serving(hub: Hub, port: int) -> Iterator[None]:
    """The hub's pages on a port; open streams are given a second to end."""
    config = uvicorn.Config(hub.app, port=port, log_level="critical", timeout_graceful_shutdown=1)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    try:
        yield
    finally:
        server.should_exit = True
        thread.join()


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hub, str]]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    tell_story(hub)
    port = free_port()
    with serving(hub, port):
        yield hub, f"http://127.0.0.1:{port}"
    hub.close()


@pytest.fixture(scope="module")
def context(site: tuple[Hub, str]) -> Iterator[playwright.BrowserContext]:
    """A browser in Chinese whose person has signed in for the first time and chosen a password."""
    hub, address = site
    first = hub.account()
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        opened = browser.new_context(base_url=address, locale="zh-CN", viewport={"width": 1280, "height": 800})
        page = opened.new_page()
        page.goto("/recordings?label=gaps")
        assert page.title() == "登录 · 存证坞"
        page.get_by_label("账号").fill("admin")
        page.get_by_label("密码").fill("wrong password")
        page.get_by_role("button", name="登录").click()
        assert "账号或密码不正确" in page.get_by_role("alert").inner_text()
        page.get_by_label("密码").fill(first)
        page.get_by_role("button", name="登录").click()
        page.wait_for_url("**/password")
        page.get_by_label("当前密码").fill(first)
        page.get_by_label("新密码", exact=True).fill(PASSWORD)
        page.get_by_label("再次输入新密码").fill(PASSWORD)
        page.get_by_role("button", name="保存新密码").click()
        page.wait_for_url(address + "/")
        page.close()
        yield opened
        browser.close()


@pytest.fixture
def page(context: playwright.BrowserContext) -> Iterator[playwright.Page]:
    """A page that must stay without script errors and refused resources."""
    opened = context.new_page()
    complaints: list[str] = []
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on(
        "console",
        lambda message: (
            complaints.append(f"{message.text} {message.location}") if message.type in ("error", "warning") else None
        ),
    )
    opened.on("request", lambda request: complaints.append(request.url) if "127.0.0.1" not in request.url else None)
    yield opened
    opened.close()
    complaints = [text for text in complaints if not text.startswith(NOT_FOUND)]
    assert not complaints, "\n".join(complaints)  # as a message: pytest would shorten the list


def test_overview_renews_itself(site: tuple[Hub, str], page: playwright.Page) -> None:
    page.goto("/")
    bay = page.get_by_role("listitem").filter(has_text="3 号仓位")
    assert "12/48" in bay.inner_text()
    site[0].say("dock-jiaoyuju-1", "3", camera="DSJ-000330", state="copying", files_done=47, files_total=48)
    bay.get_by_text("47/48").wait_for(timeout=15_000)
    assert page.url.endswith("/")


def test_a_lost_hub_is_said_and_found_again(site: tuple[Hub, str], context: playwright.BrowserContext) -> None:
    port = free_port()
    page = context.new_page()
    with serving(site[0], port):
        page.goto(f"http://127.0.0.1:{port}/")
        page.get_by_text("实时，截至").wait_for()
        page.get_by_role("link", name="dock-jiaoyuju-1").first.focus()
    page.get_by_text("连接已中断，以下内容截至").wait_for()
    assert page.locator("#live.stale").count() == 1
    assert page.locator("#live-said").inner_text() == "连接已中断，页面内容已过期。"
    with serving(site[0], port):
        page.get_by_text("实时，截至").wait_for(timeout=60_000)
        assert page.locator("#live.stale").count() == 0
        assert page.evaluate("document.activeElement.textContent") == "dock-jiaoyuju-1"
        page.close()


def test_a_changed_part_keeps_who_stands_in_it(site: tuple[Hub, str], page: playwright.Page) -> None:
    page.goto("/")
    page.get_by_text("实时，截至").wait_for()
    page.locator("#open-dock-laocheng-2").focus()
    site[0].say("dock-laocheng-2", "B", camera="ZFY-9", state="copying", files_done=3, files_total=7)
    page.locator("#station-dock-laocheng-2").get_by_text("3/7").wait_for(timeout=15_000)
    assert page.evaluate("document.activeElement.id") == "open-dock-laocheng-2"


def test_from_search_to_proof(page: playwright.Page) -> None:
    page.goto("/")
    page.get_by_role("link", name="录像", exact=True).click()
    page.get_by_label("文件名或目录中的字词").fill("查封")
    page.get_by_role("button", name="查询").click()
    page.get_by_role("link", name=re.compile("查封现场")).click()
    assert page.get_by_role("heading", level=1).inner_text() == "查封现场_06.MP4"
    page.get_by_text("包含证明").click()
    assert page.get_by_text("刚刚依据存储的原始字节计算").is_visible()
    with page.expect_download() as started:
        page.get_by_role("link", name="下载校验行").click()
    line = Path(started.value.path()).read_text()
    assert re.fullmatch(r"[0-9a-f]{64}  DSJ-000321/.*查封现场_06\.MP4\n", line)


def test_language_switch_is_kept(page: playwright.Page) -> None:
    page.goto("/recordings?q=检查")
    page.get_by_role("link", name="English").click()
    assert page.get_by_role("heading", level=1).inner_text() == "Recordings"
    assert page.get_by_label("Words in names and folders").input_value() == "检查"
    page.goto("/log")
    assert page.get_by_role("heading", level=1).inner_text() == "Audit log"
    page.get_by_role("link", name="中文").click()
    assert page.get_by_role("heading", level=1).inner_text() == "审计日志"


def test_keyboard_reaches_content_first(page: playwright.Page) -> None:
    page.goto("/recordings")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.textContent") == "跳到正文"
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.matches('main a, main input')")


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("path", ["/", "/recordings", "/log"])  # with a day's work; all: test_every_page.py
def test_nothing_sticks_out_and_axe_finds_no_fault(page: playwright.Page, path: str, width: int) -> None:
    page.set_viewport_size({"width": width, "height": 800})
    page.goto(path)
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text())  # through the debugger: the page's own policy would refuse it
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})")
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []


@pytest.mark.parametrize("path", PAGES)
def test_no_element_is_given_a_picture_that_the_policy_refuses(page: playwright.Page, path: str) -> None:
    """Not even by a rule that a later sheet overrules: the earlier one may apply while the later one is on its way."""
    page.goto(path)
    found = page.evaluate("""
        () => {
            const rules = [...document.styleSheets].flatMap(sheet => [...sheet.cssRules]);
            const refused = rules.filter(rule => rule.selectorText && rule.cssText.includes('url("data:'));
            const bare = refused.map(rule => rule.selectorText.replaceAll(/::?(before|after|placeholder)/g, ""));
            return [refused.length, bare.filter(selector => document.querySelector(selector))];
        }
    """)
    assert found[0] > 10, "no such rule was recognised in Bootstrap's sheet"
    assert found[1] == []


def test_axe_finds_a_planted_fault(page: playwright.Page) -> None:
    page.goto("/recordings")
    page.evaluate("document.querySelector('label[for=q]').remove()")
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run()")
    assert "label" in [v["id"] for v in found["violations"]]


def test_works_without_javascript(site: tuple[Hub, str], context: playwright.BrowserContext) -> None:
    assert context.browser is not None
    plain = context.browser.new_context(base_url=site[1], java_script_enabled=False, locale="zh-CN")
    page = plain.new_page()
    page.goto("/")
    page.get_by_label("账号").fill("admin")
    page.get_by_label("密码").fill(PASSWORD)
    page.get_by_role("button", name="登录").click()
    assert page.get_by_role("heading", level=1).inner_text() == "总览"
    page.goto("/recordings?q=检查")
    assert page.get_by_role("row").count() == 3
    page.locator("summary").first.click()
    page.get_by_role("button", name="退出登录").click()
    assert page.title() == "登录 · 存证坞"
    plain.close()
