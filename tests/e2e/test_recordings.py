"""In a real browser: a custodian finds recordings, labels them together, undoes it; a section head keeps a secret."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from tests.e2e.test_approvals import sound
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM
from tests.integration.site_data import Hub, tell_story
from tests.integration.web_peer import signed_in

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Windows:
    """A hub with work in it, and a browser window for each person."""

    def __init__(self, hub: Hub, address: str, browser: playwright.Browser) -> None:
        self._hub, self._address, self._browser = hub, address, browser

    def open(self, name: str, role: str) -> playwright.Page:
        person = signed_in(self._hub, name, role)
        context = self._browser.new_context(base_url=self._address, locale="zh-CN")
        cookie = {"name": "custodock_session", "value": person.cookies["custodock_session"], "url": self._address}
        context.add_cookies([cookie])
        return context.new_page()


@pytest.fixture(scope="module")
def windows(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Windows]:
    hub = Hub(tmp_path_factory.mktemp("hub"))
    tell_story(hub)
    server = uvicorn.Server(uvicorn.Config(hub.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield Windows(hub, f"http://127.0.0.1:{port}", browser)
        browser.close()
    server.should_exit = True
    thread.join()
    hub.close()


def test_from_search_to_labels_and_back(windows: Windows) -> None:
    page = windows.open("li", "custodian")
    page.goto("/recordings")
    page.get_by_label("文件名或目录中的字词").fill("检查")
    page.get_by_role("button", name="查询").click()
    assert page.get_by_text("录像：2 段", exact=True).is_visible()
    sound(page)
    page.get_by_label("本页全选").check()
    page.get_by_role("button", name="处理所选录像").click()
    page.wait_for_url("**/recordings/chosen?*")
    sound(page)
    page.get_by_label("执法类别（第四条）").select_option(label="（二）处置投诉、举报")
    page.get_by_label("案号").fill("京教执〔2026〕12号")
    page.get_by_role("button", name="提交标注").click()
    assert page.get_by_text("已标注 2 段录像").is_visible()
    sound(page)
    page.get_by_label("地点、事项或案号中的字词").fill("〔2026〕12号")
    page.get_by_role("button", name="查询").click()
    assert page.get_by_text("录像：2 段", exact=True).is_visible()
    page.get_by_role("link", name="投诉举报_现场检查_01.MP4").click()
    assert page.get_by_role("img", name="录像 6 段").is_visible()
    sound(page)
    page.get_by_text("标注历史：1 次").click()
    page.get_by_role("button", name="撤回").click()
    page.wait_for_url("**/recordings?all=1")
    page.goto("/recordings?about=12号")
    assert page.get_by_text("没有符合条件的录像").is_visible()
    page.goto("/recordings?q=检查")
    page.get_by_role("link", name="校外培训机构检查_02.MP4").click()
    page.get_by_role("link", name="当日时间线").click()
    assert page.get_by_role("cell", name="空档：无录像").first.is_visible()
    sound(page)


def test_a_secret_is_a_number_to_others(windows: Windows) -> None:
    head, auditor = windows.open("wang", "section_head"), windows.open("shen", "auditor")
    head.goto("/recordings?q=查封")
    head.get_by_role("link", name="查封现场_06.MP4").click()
    head.get_by_label("密级").select_option(label="商业秘密")
    head.get_by_role("button", name="标注", exact=True).click()
    head.get_by_role("link", name="知悉范围与降低密级").click()
    sound(head)
    auditor.goto("/recordings?q=查封")
    assert auditor.get_by_text("另有 1 段受限录像您无权知悉").is_visible()
    auditor.goto("/recordings?mark=restricted")
    assert auditor.get_by_text("受限录像", exact=False).first.is_visible()
    sound(auditor)
    head.get_by_label("账号").fill("shen")
    head.get_by_role("button", name="作出决定").click()
    head.get_by_text("有权知悉第").wait_for()
    auditor.goto("/recordings?q=查封")
    assert auditor.get_by_role("link", name="查封现场_06.MP4").is_visible()
