"""The sd_notify protocol, against a real datagram socket."""

import asyncio
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from agent.notify import Notifier


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[socket.socket]:
    """The socket that systemd would listen on."""
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind(str(tmp_path / "notify"))
        listener.setblocking(False)
        yield listener


def heard(listener: socket.socket) -> list[bytes]:
    words = []
    while True:
        try:
            words.append(listener.recv(4096))
        except BlockingIOError:
            return words


def test_says_ready_and_stopping(manager: socket.socket) -> None:
    notifier = Notifier.from_environment({"NOTIFY_SOCKET": manager.getsockname()}, 7)
    notifier.ready()
    notifier.stopping()
    assert heard(manager) == [b"READY=1", b"STOPPING=1"]


def test_an_abstract_address_is_reached() -> None:
    with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as listener:
        listener.bind("")  # the kernel picks an abstract name
        listener.setblocking(False)
        Notifier.from_environment({"NOTIFY_SOCKET": "@" + listener.getsockname()[1:].decode()}, 7).ready()
        assert heard(listener) == [b"READY=1"]


@pytest.mark.parametrize(
    ("variables", "seconds"),
    [
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "7"}, 60.0),
        ({"WATCHDOG_USEC": "1500000"}, 1.5),
        ({"WATCHDOG_USEC": "60000000", "WATCHDOG_PID": "8"}, 0.0),  # meant for our parent
        ({"WATCHDOG_USEC": "soon", "WATCHDOG_PID": "7"}, 0.0),
        ({}, 0.0),
    ],
)
def test_the_watchdog_is_kept_only_when_it_is_ours(variables: dict[str, str], seconds: float) -> None:
    assert Notifier.from_environment({"NOTIFY_SOCKET": "/run/notify", **variables}, 7).watchdog_seconds == seconds


@pytest.mark.parametrize("variables", [{}, {"NOTIFY_SOCKET": ""}, {"NOTIFY_SOCKET": "vsock:2:1234"}])
def test_nothing_is_said_where_nobody_listens(variables: dict[str, str]) -> None:
    notifier = Notifier.from_environment({"WATCHDOG_USEC": "1000000", **variables}, 7)
    notifier.ready()
    assert notifier == Notifier()


def test_a_manager_that_left_or_does_not_read_holds_nothing_up(manager: socket.socket) -> None:
    notifier = Notifier(manager.getsockname())
    for _ in range(5000):  # more than any socket buffer holds
        notifier.ready()
    manager.close()
    notifier.ready()


async def test_pings_come_from_the_event_loop_in_time(manager: socket.socket) -> None:
    keeping = asyncio.create_task(Notifier(manager.getsockname(), 0.03).keep_alive())
    said: list[bytes] = []
    async with asyncio.timeout(5):
        while len(said) < 3:
            await asyncio.sleep(0.001)
            said += heard(manager)
    assert set(said) == {b"WATCHDOG=1"}
    time.sleep(0.1)  # noqa: ASYNC251 - the loop is stuck
    assert heard(manager) == []
    keeping.cancel()
    await asyncio.wait([keeping])
    assert keeping.cancelled()


async def test_without_watchdog_it_neither_pings_nor_ends(manager: socket.socket) -> None:
    keeping = asyncio.create_task(Notifier(manager.getsockname()).keep_alive())
    await asyncio.sleep(0)
    assert not keeping.done()
    assert heard(manager) == []
    keeping.cancel()
    await asyncio.wait([keeping])
