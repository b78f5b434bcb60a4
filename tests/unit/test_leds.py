"""The lights of a bay, on a copy of the kernel's tree."""

import tempfile
import threading
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

from agent import leds
from agent.errors import SettingsInvalid
from agent.leds import LOOKS, OPENED_SECONDS, BayLeds, Colour, Look
from agent.settings import led_names

RED, GREEN, BLUE = "bay1:red:status", "bay1:green:status", "bay1:blue:status"


@pytest.fixture
def tree() -> Iterator[Path]:
    """In memory: ext4 flushes each small file that is truncated and written, 1 ms a time."""
    with tempfile.TemporaryDirectory(dir="/dev/shm") as folder:
        yield Path(folder)


def led(root: Path, name: str, **files: object) -> Path:
    folder = root / name
    folder.mkdir()
    given = {"brightness": 0, "max_brightness": 255, "trigger": "[none] timer", "delay_on": 0, "delay_off": 0, **files}
    for attribute, content in given.items():
        if content is not None:
            (folder / attribute).write_text(f"{content}\n")
    return folder


def lit(root: Path, *names: str) -> dict[str, str]:
    values = {name.split(":")[1]: (root / name / "brightness").read_text().strip() for name in names}
    return {colour: value for colour, value in values.items() if value != "0"}


def blinking(folder: Path) -> tuple[int, int] | None:
    if (folder / "trigger").read_text() != "timer":
        return None
    return int((folder / "delay_on").read_text()), int((folder / "delay_off").read_text())


def test_every_state_of_a_bay_with_three_lights(tree: Path) -> None:
    folders = {colour: led(tree, f"bay1:{colour}:status") for colour in ("red", "green", "blue")}
    bay = BayLeds([RED, GREEN, BLUE], tree)
    expected = {
        Colour.OFF: set(), Colour.GREEN: {"green"}, Colour.AMBER: {"red", "green"}, Colour.RED: {"red"},
        Colour.BLUE: {"blue"},
    }  # fmt: skip
    for state in [*LOOKS, *reversed(LOOKS)]:
        look = bay.show(state)
        on = lit(tree, RED, GREEN, BLUE)
        assert set(on) == expected[look.colour]
        assert set(on.values()) <= {"255"}
        for colour in ("red", "green", "blue"):
            assert blinking(folders[colour]) == (look.blink if colour in on else None)


def test_states_look_different() -> None:
    looks = [look for state, look in LOOKS.items() if state != "listing"]
    assert len(set(looks)) == len(looks)
    assert [s for s, look in LOOKS.items() if look == Look(Colour.GREEN)] == ["ready"]


@pytest.mark.parametrize("names", [(RED,), (GREEN,), (BLUE,), (RED, GREEN), (GREEN, BLUE), ()])
def test_green_alone_never_shines_for_what_is_not_green(tree: Path, names: tuple[str, ...]) -> None:
    for name in names:
        led(tree, name)
    bay = BayLeds(names, tree)
    for state in [*LOOKS, "a state of a newer version"]:
        look = bay.show(state)
        assert (set(lit(tree, *names)) == {"green"}) == (look.colour is Colour.GREEN and GREEN in names)


def test_a_bay_without_blue_copies_in_amber_and_with_red_alone_in_red(tree: Path) -> None:
    led(tree, RED)
    BayLeds([RED], tree).show("copying")
    assert set(lit(tree, RED)) == {"red"}
    led(tree, GREEN)
    BayLeds([RED, GREEN], tree).show("copying")
    assert set(lit(tree, RED, GREEN)) == {"red", "green"}


def test_one_light_of_many_colours(tree: Path) -> None:
    folder = led(tree, "bay1:rgb:status", multi_index="green red blue", multi_intensity="0 0 0", max_brightness=31)
    bay = BayLeds(["bay1:rgb:status"], tree)
    bay.show("charging")
    assert (folder / "multi_intensity").read_text() == "31 31 0"
    assert (folder / "brightness").read_text() == "31"
    bay.show("copying")
    assert (folder / "multi_intensity").read_text() == "0 0 31"
    bay.show("empty")
    assert (folder / "brightness").read_text() == "0"


def test_missing_lights_are_no_error_and_are_taken_in_when_they_come(tree: Path) -> None:
    bay = BayLeds([GREEN], tree)
    bay.show("ready")
    led(tree, GREEN)
    bay.show("ready")
    assert set(lit(tree, GREEN)) == {"green"}


def test_a_light_without_timer_shines_steadily(tree: Path) -> None:
    folder = led(tree, RED, trigger=None, delay_on=None, delay_off=None)
    BayLeds([RED], tree).show("failed")
    assert set(lit(tree, RED)) == {"red"}
    assert sorted(p.name for p in folder.iterdir()) == ["brightness", "max_brightness"]  # nothing is ever created


def test_files_of_the_blinking_that_udev_opens_a_moment_later_are_waited_for(tree: Path) -> None:
    folder = led(tree, RED, delay_on=None)
    (folder / "delay_on").symlink_to(folder)  # there, and not ours to write
    (folder / "opened").write_text("500")
    later = threading.Timer(0.1, (folder / "opened").replace, (folder / "delay_on",))  # at once: it is never missing
    later.start()
    BayLeds([RED], tree).show("failed")
    later.join()
    assert blinking(folder) == (200, 200)


def test_files_that_nobody_opens_cost_seconds_and_the_light_shines(tree: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = led(tree, RED, delay_on=None, delay_off=None)
    (folder / "delay_on").mkdir()
    (folder / "delay_off").mkdir()
    waits: list[float] = []
    monkeypatch.setattr(leds, "time", SimpleNamespace(monotonic=lambda: sum(waits), sleep=waits.append))
    BayLeds([RED], tree).show("failed")
    assert sum(waits) == pytest.approx(OPENED_SECONDS, abs=0.1)  # once, not once a file
    assert set(lit(tree, RED)) == {"red"}


def test_the_same_state_again_does_not_restart_the_blinking(tree: Path) -> None:
    folder = led(tree, RED)
    bay = BayLeds([RED], tree)
    bay.show("failed")
    (folder / "trigger").write_text("as left")
    bay.show("failed")
    assert (folder / "trigger").read_text() == "as left"


def test_names_in_the_settings() -> None:
    assert led_names([RED, "input3::capslock"]) == (RED, "input3::capslock")
    for wrong in ("bay1", [1], ["../etc"], ["a/b"], [".."], [""], None):
        with pytest.raises(SettingsInvalid):
            led_names(wrong)
