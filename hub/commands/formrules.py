"""What is wrong with a form that orders a command, said before anything is ordered. Pure.

The formats of `custody.commandbody` refuse the same and more; their messages are for programs. Here are the ones that
people meet, in words that can be translated.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from hub.language import mark

_ID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[1-8][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
_SHA256 = re.compile(r"[0-9a-f]{64}")
_PIN = re.compile(r"[0-9]{4,12}")
_NUMBER = re.compile(r"[A-Za-z0-9-]{1,20}")
MAX_FILES = 400

NO_STATION = mark("There is no such station.")
NAMES_NOTHING = mark("Name a camera, an offload or a file.")
BAD_SHA256 = mark("A SHA-256 is 64 digits of 0-9 and a-f. It stands on the page of the recording.")
BAD_TEXT = mark("Give a reason of 1 to 200 characters, on one line.")
BAD_HOLD = mark("This is no hold's id. Holds stand in the list below, each with the way to lift it.")
NO_OFFLOAD = mark("This station has no such offload with saved files. Its id stands in the list of its recordings.")
BAD_FILES = mark("These are not all files of this offload.")
TOO_MANY = mark("One command names at most 400 files. Give it in several, each with some of their SHA-256.")
NOT_SURE = mark("Confirm that you mean it: tick the box above the button.")
BAD_PIN = mark("A PIN is 4 to 12 digits.")
BAD_NUMBER = mark("A service number is 1 to 20 letters, digits or hyphens.")
BAD_NAME = mark("Give the officer's name, at most 40 characters.")
BAD_CHARGE = mark("Charge is 1 to 100 percent, room 30 to 1440 minutes, a duty 60 to 14400 minutes.")

_SURE = ("lift", "disposition")  # these loosen or end something: asked for only on purpose


def fault_of(form: str, given: Mapping[str, str]) -> str | None:
    """Why what was entered into `form` cannot be ordered, as a marked message, or None."""
    if form in _SURE and not given.get("sure"):
        return NOT_SURE
    return _FAULTS[form](given)


def _hold(given: Mapping[str, str]) -> str | None:
    if given["file_sha256"] and not _SHA256.fullmatch(given["file_sha256"]):
        return BAD_SHA256
    if not (given["camera"] or given["docking"] or given["file_sha256"]):
        return NAMES_NOTHING
    return _text(given["reason"])


def _lift(given: Mapping[str, str]) -> str | None:
    return _text(given["reason"]) if _ID.fullmatch(given["hold_id"]) else BAD_HOLD


def _disposition(given: Mapping[str, str]) -> str | None:
    if not all(_SHA256.fullmatch(word) for word in given["files"].split()):
        return BAD_SHA256
    return _text(given["basis"])


def _officer(given: Mapping[str, str]) -> str | None:
    if not _NUMBER.fullmatch(given["number"]):
        return BAD_NUMBER
    if not 0 < len(given["name"]) <= 40 or not given["name"].isprintable():
        return BAD_NAME
    return BAD_PIN if given["pin"] and not _PIN.fullmatch(given["pin"]) else None


def _policy(given: Mapping[str, str]) -> str | None:
    limits = {"charge": (1, 100), "minutes": (30, 1440), "duty": (60, 14400)}
    return None if all(_whole(given[name], *ends) for name, ends in limits.items()) else BAD_CHARGE


_FAULTS = {
    "hold": _hold, "lift": _lift, "disposition": _disposition,
    "officer": _officer, "policy": _policy,
}  # fmt: skip


def _text(text: str) -> str | None:
    return None if 0 < len(text) <= 200 and text.isprintable() else BAD_TEXT


def _whole(text: str, low: int, high: int) -> bool:
    return text.isascii() and text.isdigit() and len(text) <= 16 and low <= int(text) <= high
