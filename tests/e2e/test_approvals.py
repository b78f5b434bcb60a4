"""Two people in a real browser: a release asked for, approved with a code and carried out; a hold lifted."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn

from tests.e2e.test_browser import ARGUMENTS, AXE, CHROMIUM
from tests.integration.authenticators import Authenticator, set_up
from tests.integration.release_scene import CAMERA, Docked
from tests.integration.site_data import Hub
from tests.integration.web_peer import signed_in

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]


class People:
    """A hub with a docked camera, and browser windows of two people."""

    def __init__(self, hub: Hub, address: str, browser: playwright.Browser) -> None:
        self.hub, self.docked = hub, Docked(hub)
        self.docked.say(release=True, release_keep_days=0)
        self._address, self._browser = address, browser
        self.keeper, _ = self._window("keeper", "custodian")
        self.leader, self.phone = self._window("leader", "approving_leader")

    def _window(self, name: str, role: str) -> tuple[playwright.Page, Authenticator]:
        person = signed_in(self.hub, name, role)
        phone = set_up(self.hub.db, person)
        context = self._browser.new_context(base_url=self._address, locale="zh-CN")
        cookie = {"name": "custodock_session", "value": person.cookies["custodock_session"], "url": self._address}
        context.add_cookies([cookie])
        return context.new_page(), phone


@pytest.fixture
def people(tmp_path: Path) -> Iterator[People]:
    hub = Hub(tmp_path)
    server = uvicorn.Server(uvicorn.Config(hub.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield People(hub, f"http://127.0.0.1:{port}", browser)
        browser.close()
    server.should_exit = True
    thread.join()
    hub.close()


def sound(page: playwright.Page) -> None:
    """Nothing sticks out at a phone's width, and axe finds no fault."""
    for width in (390, 1280):
        page.set_viewport_size({"width": width, "height": 800})
        assert page.evaluate("document.documentElement.scrollWidth") <= width
    page.evaluate(AXE.read_text())
    found = page.evaluate("axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})")
    assert [(v["id"], [n["html"] for n in v["nodes"]][:3]) for v in found["violations"]] == []


def test_a_release_from_the_request_to_the_certificate(people: People) -> None:
    keeper, leader = people.keeper, people.leader
    keeper.goto("/commands")
    keeper.get_by_role("link", name="清除记录仪").click()
    sound(keeper)
    keeper.get_by_role("link", name=CAMERA).click()
    assert keeper.get_by_text("卡上 4 个文件中的 4 个").is_visible()
    sound(keeper)
    keeper.get_by_label("事由（请勿写人名）").fill("存储卡已满")
    keeper.get_by_label("同意将上述文件从记录仪上清除").check()
    keeper.get_by_role("button", name="提交申请").click()
    keeper.wait_for_url("**/commands/release/*")
    assert keeper.get_by_text("由您提出申请").is_visible()

    leader.goto("/commands")
    leader.get_by_role("link", name="查看并审批").click()
    sound(leader)
    leader.get_by_label("您的验证器验证码").fill("000000")
    leader.get_by_role("button", name="批准", exact=True).click()
    assert "验证码不正确" in leader.get_by_role("alert").inner_text()
    leader.get_by_label("您的验证器验证码").fill(people.phone.code())
    leader.get_by_role("button", name="批准", exact=True).click()
    leader.get_by_text("向 dock-1 下达第 1 号命令").wait_for()

    header = people.docked.receive()
    people.docked.clear(header, 4, 0, "complete")
    keeper.reload()
    assert keeper.get_by_text("清除结束：已清除 4 个，保留 0 个，不明 0 个").is_visible()
    assert keeper.get_by_text(f".custody/release-{people.docked.previous[:16]}.jsonl").is_visible()
    sound(keeper)
