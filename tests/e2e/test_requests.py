"""Footage asked for, approved, put on the register and revoked, by two people in a real browser."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from hub.site import SESSION_COOKIE
from tests.e2e.test_approvals import sound
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM
from tests.integration.use_scene import UseScene

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class Windows:
    """A bureau, and a browser window for each of its people."""

    def __init__(self, scene: UseScene, address: str, browser: playwright.Browser) -> None:
        self.scene, self._address, self._browser = scene, address, browser

    def of(self, name: str) -> playwright.Page:
        """Signed in with password and code, without the pages: they have tests of their own."""
        context = self._browser.new_context(base_url=self._address, locale="zh-CN")
        token = self.scene.signed_in(name)
        context.add_cookies([{"name": SESSION_COOKIE, "value": token, "url": self._address}])
        return context.new_page()


@pytest.fixture
def windows(tmp_path: Path) -> Iterator[Windows]:
    scene = UseScene(tmp_path)
    server = uvicorn.Server(uvicorn.Config(scene.hub.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield Windows(scene, f"http://127.0.0.1:{port}", browser)
        browser.close()
    server.should_exit = True
    thread.join()
    scene.sound()
    scene.hub.close()


def test_from_the_recording_to_the_register(windows: Windows) -> None:
    officer, leader, scene = windows.of("wang"), windows.of("leader"), windows.scene
    officer.goto(f"/recordings/{scene.recordings[0]}")
    sound(officer)
    officer.get_by_role("link", name="申请借阅", exact=True).click()
    assert officer.get_by_label("查阅", exact=True).is_checked()
    assert officer.get_by_label("查阅人账号").input_value() == "wang"
    assert officer.get_by_label("刻录").count() == 0, "an officer asks to view"
    sound(officer)
    officer.get_by_label("事由（请勿写人名）").fill("核对笔录")
    officer.get_by_role("button", name="提交申请").click()
    officer.get_by_text("申请人和查阅人不得审批").wait_for()
    sound(officer)

    leader.goto("/requests")
    sound(leader)
    leader.locator("#mine").get_by_role("link").first.click()
    assert leader.get_by_text("其将取得对本人执法行为的记录").is_visible()
    leader.get_by_label("您的验证器验证码").fill(scene.phones["leader"].code())
    leader.get_by_role("button", name="批准", exact=True).click()
    leader.get_by_text("在采集站").wait_for()
    sound(leader)

    officer.goto("/requests/register")
    assert officer.get_by_text("核对笔录").is_visible()
    assert officer.get_by_text("已批准").first.is_visible()
    sound(officer)
    officer.get_by_role("link", name="查阅").click()
    officer.get_by_label("立即撤销，原因").fill("已核对完毕")
    officer.get_by_role("button", name="撤销").click()
    officer.get_by_text("已撤销").wait_for()
    scene.docked.receive()
    assert scene.docked.receive().kind == "grant_revoked.v1"


def test_the_form_shows_what_the_chosen_use_needs(windows: Windows) -> None:
    records = windows.of("records")
    records.goto("/requests/new?recordings=4&recordings=5")
    records.get_by_label("查阅", exact=True).check()
    assert records.get_by_label("查阅人账号").is_visible()
    assert not records.get_by_label("复制件交给谁").is_visible()
    records.get_by_label("对外提供").check()
    assert not records.get_by_label("查阅人账号").is_visible()
    records.get_by_label("事由（请勿写人名）").fill("案件调取")
    records.get_by_role("button", name="提交申请").click()
    assert "复制件交给谁" in records.get_by_role("alert").inner_text()
    records.get_by_label("复制件交给谁").fill("区法院")
    sound(records)
    records.get_by_role("button", name="提交申请").click()
    records.get_by_role("button", name="撤回").click()
    records.get_by_text("已撤回").wait_for()
