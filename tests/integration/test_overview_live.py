"""The stream of the first page: what it tells whom, and how it ends."""

from __future__ import annotations

import asyncio
import http.client
import json
import threading
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from sqlalchemy import select, update

from hub.access import Actor, Role
from hub.accounts.service import sign_in, sign_out, token_key
from hub.language import Language
from hub.overview.live import MAX_QUEUED, MAX_WINDOWS_OF_ONE, EventStream, Live, Window
from hub.sections import EVERYTHING
from hub.site import SESSION_COOKIE
from hub.stations.history import load_history
from hub.stations.now import load_stations
from hub.tables import account, session, station
from hub.times import now_utc, to_text
from tests.integration.site_data import Hub, tell_story
from tests.ports import free_port

Told = tuple[str, dict[str, Any]]


class Served:
    """A hub on a real port, and people in it."""

    def __init__(self, directory: Any) -> None:
        self.hub = Hub(directory)
        tell_story(self.hub)
        self.port = free_port()
        self.server = uvicorn.Server(uvicorn.Config(self.hub.app, port=self.port, log_level="error"))
        self.thread = threading.Thread(target=self.server.run)
        self.thread.start()
        while not self.server.started:
            time.sleep(0.02)
        self.people = 0
        self.windows: list[Stream] = []

    def person(self, role: str = "administrator", section: str = "") -> str:
        """The cookie of somebody new."""
        self.people += 1
        name = f"p{self.people}"
        first = self.hub.account(name, role)
        with self.hub.db.begin() as tx:
            tx.execute(
                update(account).where(account.c.name == name).values(must_change_password=False, section=section)
            )
        return sign_in(self.hub.db, self.hub.keys, name, first, "here", now_utc())

    def open(self, cookie: str, query: str = "") -> Stream:
        self.windows.append(Stream(self.port, cookie, query))
        return self.windows[-1]

    def stamp(self, cookie: str) -> str:
        """What a page built now would ask with."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port)
        connection.request("GET", "/overview/live", headers={"cookie": f"{SESSION_COOKIE}={cookie}"})
        page = connection.getresponse().read().decode()
        connection.close()
        return page.partition('data-stamp="')[2].partition('"')[0]

    def close(self) -> None:
        self.server.should_exit = True
        self.thread.join()
        self.hub.close()


class Stream:
    """A window: a connection that reads messages."""

    def __init__(self, port: int, cookie: str, query: str) -> None:
        self.connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
        headers = {"cookie": f"{SESSION_COOKIE}={cookie}", "accept": "text/event-stream"}
        self.connection.request("GET", f"/overview/events{query}", headers=headers)
        self.answer = self.connection.getresponse()

    def next(self) -> Told | None:
        """The next message; None: the stream has ended."""
        event, data = "", ""
        while line := self.answer.readline().decode():
            if line.startswith("event: "):
                event = line[7:].strip()
            elif line.startswith("data: "):
                data = line[6:]
            elif event:
                return event, json.loads(data)
        return None

    def until(self, word: str) -> dict[str, str]:
        """The parts of the first message of which one holds `word`."""
        while told := self.next():
            parts: dict[str, str] = told[1].get("parts", {})
            if any(word in html for html in parts.values()):
                return parts
        raise AssertionError("the stream has ended")

    def close(self) -> None:
        self.answer.close()
        self.connection.close()


@pytest.fixture(scope="module")
def bureau(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    made = Served(tmp_path_factory.mktemp("hub"))
    yield made
    made.close()


@pytest.fixture
def served(bureau: Served) -> Iterator[Served]:
    """The hub; what a test opened is closed after it."""
    yield bureau
    while bureau.windows:
        bureau.windows.pop().close()


def test_a_window_gets_what_its_page_lacks_and_then_what_changes(served: Served) -> None:
    cookie = served.person()
    every = served.open(cookie)
    assert every.answer.getheader("content-type") == "text/event-stream; charset=utf-8"
    assert every.answer.getheader("x-accel-buffering") == "no", "a proxy must not keep messages back"
    assert every.answer.getheader("cache-control") == "no-store"
    told = every.next()
    assert told == ("again", {}), "a page of nothing has other stations"
    lacking = served.open(cookie, f"?stamp=another.1.{served.stamp(cookie).rpartition('.')[2]}")
    told = lacking.next()
    assert told is not None
    assert {"part-tasks", "part-figures", "station-dock-jiaoyuju-1"} <= set(told[1]["parts"])
    fresh = served.open(cookie, f"?stamp={served.stamp(cookie)}")
    told = fresh.next()
    assert told is not None
    assert set(told[1]["parts"]) <= {"part-tasks", "part-alerts", "part-figures", "part-offloads"}
    served.hub.say("dock-jiaoyuju-1", "3", camera="DSJ-000330", state="copying", files_done=47, files_total=48)
    for window in (every, lacking, fresh):
        assert "station-dock-laocheng-2" not in window.until("47/48"), "what did not change is not sent"


def test_another_section_is_told_nothing_of_it(served: Served) -> None:
    with served.hub.db.begin() as tx:
        tx.execute(update(station).where(station.c.id == "dock-laocheng-2").values(section="B"))
    theirs, ours = served.person("custodian", "B"), served.person("custodian")
    windows = [served.open(cookie, f"?stamp={served.stamp(cookie)}") for cookie in (ours, theirs)]
    served.hub.say("dock-laocheng-2", "B", camera="ZFY-SECRET", state="safe")
    assert "ZFY-SECRET" in windows[1].until("ZFY-SECRET")["station-dock-laocheng-2"]
    served.hub.say("dock-jiaoyuju-1", "4", camera="DSJ-OURS", state="safe")
    while told := windows[0].next():
        assert "ZFY-SECRET" not in json.dumps(told[1])
        if "DSJ-OURS" in json.dumps(told[1]):
            break
    with served.hub.db.begin() as tx:
        tx.execute(update(station).values(section=""))


@pytest.mark.parametrize("how", ["sign out", "other role", "closed", "idle"])
def test_a_stream_ends_with_what_it_was_opened_for(served: Served, how: str) -> None:
    cookie = served.person()
    name = f"p{served.people}"
    window = served.open(cookie, f"?stamp={served.stamp(cookie)}")
    assert window.next() is not None
    with served.hub.db.begin() as tx:
        if how == "other role":
            tx.execute(update(account).where(account.c.name == name).values(role="auditor"))
        elif how == "closed":
            tx.execute(update(account).where(account.c.name == name).values(disabled_at="t"))
        elif how == "idle":
            idle = to_text(now_utc() - timedelta(hours=1))
            mine = session.c.token_sha256 == token_key(cookie)
            tx.execute(update(session).where(mine).values(last_seen_at=idle, created_at=idle))
    if how == "sign out":
        sign_out(served.hub.db, cookie)
    began = time.monotonic()
    while (told := window.next()) and told[0] != "end":
        pass
    assert told == ("end", {})
    assert window.next() is None
    assert time.monotonic() - began < 30, "two seconds on an idle machine"


def test_an_open_window_is_no_use_of_the_session(served: Served) -> None:
    cookie, old = served.person(), to_text(now_utc() - timedelta(minutes=5))
    mine = session.c.token_sha256 == token_key(cookie)
    with served.hub.db.begin() as tx:
        tx.execute(update(session).where(mine).values(last_seen_at=old, created_at=old))
    window = served.open(cookie)
    assert window.next() is not None
    with served.hub.db.read() as connection:
        assert connection.execute(select(session.c.last_seen_at).where(mine)).scalar_one() == old


def test_who_is_not_signed_in_and_who_has_too_many_windows(served: Served) -> None:
    nobody = served.open("nonsense")
    assert nobody.answer.status == 401, "a redirect would lead the stream to a page"
    cookie = served.person()
    windows = [served.open(cookie) for _ in range(MAX_WINDOWS_OF_ONE)]
    assert [window.answer.status for window in windows] == [200] * MAX_WINDOWS_OF_ONE
    assert served.open(cookie).answer.status == 503


def test_a_window_that_takes_nothing_is_cut_off(served: Served) -> None:
    async def cut_off() -> int:
        live: Live = served.hub.app.state.live
        mine = Live(live._site, live._parts)  # one for this loop
        actor = Actor("nobody", Role.AUDITOR, must_change_password=False)
        window, sent, stuck = Window((actor, Language.EN), "s", ""), 0, asyncio.Event()

        async def send(message: Any) -> None:  # a connection whose other end reads nothing
            nonlocal sent
            sent += 1
            if message["type"] == "http.response.body":
                stuck.set()
                await asyncio.Event().wait()

        async def receive() -> Any:
            await asyncio.Event().wait()

        stream = asyncio.create_task(EventStream(mine, window, 60)({}, receive, send))
        window.put(b"x")
        await stuck.wait()
        for _ in range(MAX_QUEUED + 1):
            window.put(b"x")
        await stream
        return sent

    assert asyncio.run(cut_off()) == 2


def test_a_hub_that_stops_ends_its_streams(served: Served) -> None:
    window = served.open(served.person())
    assert window.next() is not None
    live: Live = served.hub.app.state.live
    live_loop = live._producer.get_loop()  # type: ignore[union-attr]
    live_loop.call_soon_threadsafe(live.close)
    while window.next() is not None:
        pass
    live._closed = False  # for the tests after this one


def test_silences_are_kept_and_a_will_describes_nothing(served: Served) -> None:
    hub = served.hub
    hub.say("dock-xinqu-1", online=True, software="7.7", disk_free_bytes=1 << 30)
    hub.say("dock-xinqu-1", online=False)
    with hub.db.read() as connection:
        (away,) = load_stations(connection, EVERYTHING, now_utc(), only="dock-xinqu-1")
    assert (away.online, away.software, away.disk_free_bytes) == (False, "7.7", 1 << 30)
    hub.say("dock-xinqu-1", online=False)  # given again by the broker
    with hub.db.read() as connection:
        (again,) = load_stations(connection, EVERYTHING, now_utc(), only="dock-xinqu-1")
    assert again.since == away.since
    hub.say("dock-xinqu-1", online=True)
    with hub.db.read() as connection:
        (silence,) = load_history(connection, "dock-xinqu-1", now_utc())
    assert (silence.kind, silence.at) == ("silence", away.since)
