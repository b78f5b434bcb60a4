"""The lights of a bay, through the kernel's LED class: what the person at the dock sees from across the room.

A light is an extra: the kiosk and the hub say the same in words. So a light that is missing or refuses is no error.
Green never shines for anything that is not green: where a colour cannot be shown, the bay shows a warmer one or none.

An LED's name carries its colour as the kernel's naming asks (``bay1:green:status``); one with ``multi_intensity``
mixes all of them. Writing needs the group of the LED files, which our udev rule gives. Blinking is the kernel's timer:
two files come with it, root's, and the rule opens them a moment later. Whoever shows a look may wait seconds for
them, so lights have a thread of their own.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from agent.baystate import BayState
from agent.readiness import Code, Level

LEDS = Path("/sys/class/leds")
OPENED_SECONDS = 3.0  # by then udev, however busy the dock is, has opened the files of a trigger, or never will
OPENED_LOOK_SECONDS = 0.02


class Colour(StrEnum):
    """What a person calls it."""

    OFF = "off"
    GREEN = "green"
    AMBER = "amber"  # red and green together
    RED = "red"
    BLUE = "blue"


PARTS: Mapping[Colour, frozenset[str]] = {
    Colour.OFF: frozenset(),
    Colour.GREEN: frozenset(("green",)),
    Colour.AMBER: frozenset(("red", "green")),
    Colour.RED: frozenset(("red",)),
    Colour.BLUE: frozenset(("blue",)),
}
INSTEAD = {Colour.BLUE: Colour.AMBER, Colour.AMBER: Colour.RED}  # where the bay has no such light


@dataclass(frozen=True, slots=True)
class Look:
    """A colour, steady or blinking (milliseconds on and off)."""

    colour: Colour
    blink: tuple[int, int] | None = None


# Blinking differs too, for eyes that do not tell red from green: only a camera that is ready shows steady green.
LOOKS: Mapping[str, Look] = {
    "empty": Look(Colour.OFF),
    "listing": Look(Colour.BLUE, (500, 500)),
    "clearing": Look(Colour.BLUE, (200, 200)),
    "copying": Look(Colour.BLUE, (500, 500)),
    "charging": Look(Colour.AMBER, (1000, 1000)),
    "attention": Look(Colour.AMBER, (200, 1800)),
    "safe": Look(Colour.GREEN, (1800, 200)),  # copied; may be taken out, not yet judged fit for duty
    "ready": Look(Colour.GREEN),
    "not_ready": Look(Colour.RED),
    "failed": Look(Colour.RED, (200, 200)),
}
UNKNOWN_STATE = LOOKS["attention"]
CHARGING = frozenset({Code.CHARGE_LOW, Code.CHARGE_INCOMPLETE})  # what time in the bay mends by itself


def led_state(bay: BayState) -> str:
    """Which of `LOOKS` tells what this bay shows."""
    if bay.state == "recognising":
        return "listing"
    if bay.state != "safe" or bay.verdict is None:
        return bay.state
    if bay.verdict.level is not Level.NOT_READY:
        return "ready"
    # remarks beside it, such as a dock's clock that is not synchronised, do not make waiting for charge a fault
    grave = [reason for reason in bay.verdict.reasons if reason.level is Level.NOT_READY]
    only_charge = all(reason.code in CHARGING for reason in grave)
    return "charging" if only_charge else "not_ready"


class BayLeds:
    """The lights of one bay. Writes only when look or lights change: each write would start the blinking anew."""

    def __init__(self, names: Sequence[str], root: Path = LEDS) -> None:
        """`names` below `root`, as the settings give them; nothing is written yet."""
        self._folders = [root / name for name in names]
        self._shown: tuple[Look, list[Path]] | None = None

    def show(self, state: str) -> Look:
        """Show a bay's state; returns the look that was wanted. Lights that appear later are taken in. Never raises."""
        look = LOOKS.get(state, UNKNOWN_STATE)
        present = [folder for folder in self._folders if folder.is_dir()]
        if self._shown != (look, present):
            _write(look, present)
            self._shown = look, present
        return look


def _write(look: Look, folders: Sequence[Path]) -> None:
    lights = {folder: _parts_of(folder) for folder in folders}
    parts = _shown_by(look.colour, frozenset().union(*lights.values()))
    # Those that go dark first, so that a bay never passes through a colour that means something else.
    for folder in sorted(lights, key=lambda f: bool(lights[f] & parts)):
        _set(folder, lights[folder] & parts, look.blink)


def _shown_by(colour: Colour, available: frozenset[str]) -> frozenset[str]:
    while not PARTS[colour] <= available:
        if colour not in INSTEAD:
            return frozenset()
        colour = INSTEAD[colour]
    return PARTS[colour]


def _parts_of(folder: Path) -> frozenset[str]:
    """The basic colours that one LED can show."""
    return frozenset(_read(folder / "multi_index").split() or folder.name.split(":")[-2:-1]) & {"red", "green", "blue"}


def _set(folder: Path, lit: frozenset[str], blink: tuple[int, int] | None) -> None:
    full = _read(folder / "max_brightness") or "255"
    _put(folder / "trigger", "none")  # first: a running timer would overwrite the brightness
    _put(folder / "brightness", "0")
    if not lit:
        return
    if index := _read(folder / "multi_index").split():
        _put(folder / "multi_intensity", " ".join(full if part in lit else "0" for part in index))
    _put(folder / "brightness", full)
    # Without the timer trigger the colour shows steadily, which is better than nothing.
    if blink is not None and _put(folder / "trigger", "timer"):
        until = time.monotonic() + OPENED_SECONDS
        _put_opened(folder / "delay_on", str(blink[0]), until)
        _put_opened(folder / "delay_off", str(blink[1]), until)


def _read(path: Path) -> str:
    try:
        return path.read_text("ascii").strip()
    except (OSError, ValueError):
        return ""


def _put_opened(path: Path, value: str, until: float) -> None:
    """Write an attribute as soon as it is ours to write, at the latest at `until` on the monotonic clock."""
    while not _put(path, value) and path.exists() and time.monotonic() < until:
        time.sleep(OPENED_LOOK_SECONDS)


def _put(path: Path, value: str) -> bool:
    """Write an attribute that exists; False when it does not take it."""
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_TRUNC | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.write(descriptor, value.encode("ascii")) > 0
    except OSError:
        return False
    finally:
        os.close(descriptor)
