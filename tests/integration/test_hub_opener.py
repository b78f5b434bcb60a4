"""Whatever becomes of the opener's process, every message is opened, once and in order."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass

import psutil
import pytest

from hub import opener as module
from hub.opener import Opener
from hub.opening import Message, StationKeys, open_all
from tests.bench.stations import SigningStation


@dataclass
class Place:
    """An opener whose process is up, and messages of every kind with what must become of them."""

    opener: Opener
    messages: list[Message]
    keys: StationKeys

    @property
    def process(self) -> psutil.Process:
        [child] = [c for c in psutil.Process().children() if "hub.opener" in c.cmdline()]
        return child

    def check(self) -> None:
        opening = self.opener.begin(self.messages, self.keys)
        assert opening.result() == open_all(self.messages, self.keys, 480)
        assert opening.done()

    def wait_until_up(self) -> None:
        until = time.monotonic() + 60
        while not self.opener.start():
            assert time.monotonic() < until
            time.sleep(0.02)


@pytest.fixture
def place() -> Iterator[Place]:
    dock, topic = SigningStation("dock-1"), "custodock/1/dock-1/"
    raws = [dock.started(), dock.docking_started(), *(dock.segment() for _ in range(30)), dock.docking_closed()]
    messages = [Message(f"{topic}events", raw, "dock-1") for raw in raws]
    messages += [Message(f"{topic}events", b"\x00\xff", "dock-1"), Message("nobody's", raws[0], None)]
    messages += [Message(f"{topic}state", b'{"online":true}', "dock-1"), Message(f"{topic}bay/3", b"", "dock-1")]
    opener = Opener(480)
    found = Place(opener, messages, {"dock-1": [dock.key.verify_key]})
    found.wait_until_up()
    yield found
    opener.close()


def test_the_process_opens_as_we_do(place: Place) -> None:
    place.check()
    openings = [place.opener.begin(place.messages, place.keys) for _ in range(40)]  # more than the pipes hold
    expected = open_all(place.messages, place.keys, 480)
    assert all(opening.result() == expected for opening in openings)
    assert place.process.cpu_times().user > 0


def test_keys_enrolled_later_are_told(place: Place) -> None:
    place.check()
    later = SigningStation("dock-2")
    place.keys = {**place.keys, "dock-2": [later.key.verify_key]}
    place.messages += [Message("custodock/1/dock-2/events", later.started(), "dock-2")]
    place.check()


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGSTOP])
def test_a_process_that_ends_or_hangs_loses_nothing(
    place: Place, how: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 0.5)
    old = place.process.pid
    openings = [place.opener.begin(place.messages, place.keys) for _ in range(5)]
    os.kill(old, how)
    openings += [place.opener.begin(place.messages, place.keys) for _ in range(5)]
    expected = open_all(place.messages, place.keys, 480)
    assert all(opening.result() == expected for opening in openings)
    monkeypatch.undo()  # the next one is not to be given up because the machine is busy
    place.check()
    place.wait_until_up()
    place.check()
    assert place.process.pid != old


def test_time_in_which_nobody_waited_is_not_held_against_it(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "PATIENCE_SECONDS", 2.0)
    old = place.process.pid
    opening = place.opener.begin(place.messages, place.keys)
    time.sleep(2.1)  # a commit of ours that takes long
    assert opening.result() == open_all(place.messages, place.keys, 480)
    assert place.process.pid == old


def test_it_ends_with_its_owner() -> None:
    opener = Opener(480)
    opener.start()
    process = opener._process
    assert process
    assert process.stdin
    process.stdin.close()
    assert process.wait(60) == 0
    opener.close()
