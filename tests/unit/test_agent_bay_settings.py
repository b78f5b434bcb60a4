"""Settings of USB bays, screen and duty: what can be set, and what stops startup with its key."""

from __future__ import annotations

from pathlib import Path

import pytest

from agent.errors import SettingsInvalid
from agent.settings import load_settings

PORT = "0000:01:00.0-usb2-1.2"


def settings(home: Path, text: str) -> Path:
    (home / "agent.toml").write_text(f'vault = "vault"\n{text}', "utf-8")
    return home


def test_a_usb_bay_with_everything(tmp_path: Path) -> None:
    text = f"""
kiosk_port = 8766
minimum_charge_percent = 90
minimum_hours = 8
duty_hours = 10
[[bay]]
name = "1"
ports = ["{PORT}", "xhci-hcd.0-usb3-1.2.4"]
sensor = "1-0040"
sensor_channel = 2
supply = "bay1"
leds = ["bay1:green:status"]
"""
    found = load_settings(settings(tmp_path, text))
    assert (found.kiosk_port, found.minimum_charge_percent, found.minimum_hours, found.duty_hours) == (8766, 90, 8, 10)
    (bay,) = found.bays
    assert bay.ports == (PORT, "xhci-hcd.0-usb3-1.2.4")
    assert (bay.sensor, bay.sensor_channel, bay.supply, bay.leds) == ("1-0040", 2, "bay1", ("bay1:green:status",))


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("kiosk_port = 70000", "kiosk_port"),
        ("minimum_charge_percent = true", "minimum_charge_percent"),
        ('duty_hours = "8"', "duty_hours"),
        ("kiosk_host = 1", "kiosk_host"),
        ('[[bay]]\nname = "1"\nports = "x"', "ports"),
        ('[[bay]]\nname = "1"\nports = ["/dev/sdb"]', "ports"),
        ('[[bay]]\nname = "1"\nports = []', "ports"),
        (f'[[bay]]\nname = "1"\nports = ["{PORT}"]\ncards = "c"', "ports"),
        (f'[[bay]]\nname = "1"\nports = ["{PORT}"]\n[[bay]]\nname = "2"\nports = ["{PORT}"]', "one port"),
        (f'[[bay]]\nname = "1"\nports = ["{PORT}"]\nleds = ["../x"]', "LED"),
        (f'[[bay]]\nname = "1"\nports = ["{PORT}"]\nsensor_channel = 4', "sensor_channel"),
    ],
)
def test_what_stops_startup(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SettingsInvalid, match=said):
        load_settings(settings(tmp_path, text))
