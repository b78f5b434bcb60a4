"""Recorders that need a command before they are a disk: which of them the service may speak to, by exact USB ids."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path

RECORDERS = Path("/etc/udev/rules.d/91-custodock-recorders.rules")
HEAD = "# Kept by deploy/install --recorder: open to the drivers of profiles. Lines may be removed by hand.\n"


def checked_recorder(text: str) -> str:
    """vendor:product in hex. Raises ArgumentTypeError."""
    if not re.fullmatch(r"[0-9a-f]{4}:[0-9a-f]{4}", text.lower()):
        raise argparse.ArgumentTypeError(f"a USB id as lsusb shows it is needed, such as 1b3f:8301: {text}")
    return text.lower()


def recorder_rules(kept: str, ids: Sequence[str]) -> str:
    """The rules file with these recorders in it; those that it had before stay."""
    lines = kept.splitlines(keepends=True) or [HEAD]
    for usb_id in ids:
        lines += [line for line in _rules(usb_id) if line not in lines]
    return "".join(lines)


def opens_recorders(file: Path) -> bool:
    """Whether the rules open any."""
    return any(line.startswith("SUBSYSTEM") for line in file.read_text("utf-8").splitlines())


def _rules(usb_id: str) -> tuple[str, str]:
    """Its USB node and, where it shows one, its serial line. `:=`: no later rule takes them back."""
    vendor, product = usb_id.split(":")
    to_us = 'GROUP:="custodock", MODE:="0660"\n'
    return (
        f'SUBSYSTEM=="usb", ENV{{DEVTYPE}}=="usb_device", ATTR{{idVendor}}=="{vendor}", '
        f'ATTR{{idProduct}}=="{product}", ENV{{ID_MM_DEVICE_IGNORE}}="1", {to_us}',
        f'SUBSYSTEM=="tty", ATTRS{{idVendor}}=="{vendor}", ATTRS{{idProduct}}=="{product}", {to_us}',
    )
