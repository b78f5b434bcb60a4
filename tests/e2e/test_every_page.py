"""Every page that has a route, over a bureau of hostile names: nothing runs, nothing hides, axe finds nothing.

The pages come from the routes: a new one is looked at here without anybody thinking of it, and a new kind of thing in
an address fails until `hostile_scene.py` has one.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator

import pytest
import uvicorn

from hub.access import Role
from hub.accounts import firstrun
from tests.e2e.test_browser import ARGUMENTS, AXE, CHROMIUM
from tests.integration.hostile_scene import NAMES, Hostile
from tests.integration.test_web_access import all_routes

playwright = pytest.importorskip("playwright.sync_api", reason="the Python package playwright is not installed")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is not installed"),
]

RULES = "axe.run({runOnly: ['wcag2a', 'wcag2aa', 'wcag21aa', 'wcag22aa', 'best-practice']})"
LOOK = r"""() => {
    const hidden = new RegExp("[\\u0000-\\u0008\\u000b\\u000c\\u000e-\\u001f\\u007f-\\u009f"
        + "\\u200b-\\u200f\\u2028-\\u202e\\u2066-\\u2069]");
    const strange = [...document.querySelectorAll("*")].filter(one =>
        (one.localName === "script" && !(one.getAttribute("src") || "").startsWith("/static/"))
        || ["evil-tag", "iframe", "object", "embed"].includes(one.localName)
        || [...one.attributes].some(a => a.name.startsWith("on") || /^\s*javascript:/i.test(a.value)));
    const whole = document.documentElement.outerHTML;
    return {
        ran: window.owned === undefined ? 0 : 1,
        strange: strange.map(one => one.outerHTML.slice(0, 200)),
        hidden: hidden.test(whole) && whole.slice(whole.search(hidden) - 60).slice(0, 80),
        computed: whole.includes("49EVILMARK"),
        marked: whole.includes("EVILMARK"),
        wide: document.documentElement.scrollWidth > innerWidth,
    };
}"""
MORE = [
    "/nothing",
    "/sign-in",
    "/sign-in?goes_to=/x%22onload=1",
    "/recordings?q=%3Cevil-tag%3E%E2%80%AE",
    "/recordings?camera=%3Cevil-tag%3E",
    "/log?source=%3Cevil-tag%3E",
]


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Hostile, str]]:
    made = Hostile(tmp_path_factory.mktemp("hub"))
    server = uvicorn.Server(uvicorn.Config(made.hub.app, port=0, log_level="error"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    yield made, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join()
    made.hub.close()


def pages(scene: Hostile) -> dict[Role, list[str]]:
    """Each route's page, by the first of our people who sees it."""
    found: dict[Role, list[str]] = {role: [] for role in NAMES}
    browsers, things = {role: scene.browser(role) for role in NAMES}, scene.things()
    for method, path in all_routes(scene.hub):
        if method != "GET" or path.startswith(("/api/", "/log/tile/", "/overview/")):
            continue
        for address in addresses(path, things):
            for role, browser in browsers.items():
                answer = browser.get(address)
                if answer.status_code == 200:
                    if answer.headers["content-type"].startswith("text/html"):
                        found[role].append(address)
                    break
    found[Role.AUDITOR] += MORE
    return found


def addresses(path: str, things: dict[str, list[str]]) -> list[str]:
    names = re.findall(r"\{(\w+)\}", path)
    if not names:
        return [path]
    [name] = names
    return [path.replace("{" + name + "}", thing) for thing in things[name]]


def faults_of(page: playwright.Page, address: str, language: str, width: int) -> tuple[list[str], bool]:
    """What is wrong with a page, and whether something hostile stood on it."""
    page.set_viewport_size({"width": width, "height": 900})
    page.goto(f"{address}{'&' if '?' in address else '?'}lang={language}")
    seen = page.evaluate(LOOK)
    wrong = {name: what for name, what in seen.items() if what and name != "marked"}
    page.evaluate(AXE.read_text())  # through the debugger: the page's own policy would refuse it
    broken = [(v["id"], [n["html"][:200] for n in v["nodes"]][:2]) for v in page.evaluate(RULES)["violations"]]
    return [f"{address} {language} {width}: {fault}" for fault in (*wrong.items(), *broken)], bool(seen["marked"])


def test_every_page_in_both_languages_on_phone_and_desk(scene: tuple[Hostile, str]) -> None:
    hostile, address = scene
    faults: list[str] = []
    marked, looked = 0, 0
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        stranger = browser.new_page(base_url=address)
        first = f"/first?code={firstrun.first_code(hostile.hub.keys)}"
        for language, width in (("zh-CN", 390), ("en", 1280)):
            faults += faults_of(stranger, first, language, width)[0]
        hostile.fill()
        for role, found in pages(hostile).items():
            context = browser.new_context(base_url=address)
            context.add_cookies([{"name": "custodock_session", "value": hostile.tokens[role], "url": address}])
            page = context.new_page()
            for one in found:
                for language, width in (("zh-CN", 390), ("en", 1280)):
                    wrong, bad = faults_of(page, one, language, width)
                    faults, marked, looked = faults + wrong, marked + bad, looked + 1
        browser.close()
    assert not faults, "\n".join(faults)
    assert marked >= 16, "the hostile names did not reach the pages"
    assert looked >= 50
