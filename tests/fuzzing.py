"""Structured fuzz: valid evidence is bent where its formats have joints, then read. Shared by the fuzz tests.

A case is its number: the same number gives the same bytes again.
"""

from __future__ import annotations

import base64
import copy
import json
import random
from collections.abc import Callable
from typing import Any

DEEP = 20_000
_ODD: tuple[Any, ...] = (
    None, True, False, -1, 0, 1, 255, (1 << 53) - 1, 1 << 53, 1 << 64, 10**400, 0.5, 1.0, 1e300, "", "x", "x" * 40_000,
    "\0", "\ud800", "\x1b[31m", "\u202e", "..", "../../../../etc/passwd", "/etc/passwd", "a/" * 2000, "<b>", "=cmd()",
    "hub", "dock-test", "9" * 400, "0" * 64, "f" * 64, "0001-01-01T00:00:00+14:00", "2026-02-30T00:00:00Z",
    "9999-12-31T23:59:59.999999-14:00", [], {}, [[]], [None], {"": {}},
)  # fmt: skip
_RAW = (
    "[" * DEEP + "]" * DEEP,
    '{"a":' * DEEP + "0" + "}" * DEEP,
    "1" + "0" * 9000,
    "NaN",
    "Infinity",
    "-0",
    "1e999",
    '"\\ud800"',
    "",
)


def bent_json(rng: random.Random, raw: bytes) -> bytes:
    """A JSON text with one thing in it changed: a value, a name, a name twice, or text that is hardly JSON."""
    try:
        body = json.loads(raw)
    except (ValueError, RecursionError):  # bent before
        return bent_bytes(rng, raw)
    places = list(_places(body))
    if not places:
        return bent_bytes(rng, raw)
    holder, key = rng.choice(places)
    choice = rng.randrange(6)
    if choice == 0:
        holder.pop(key)
    elif choice == 1:
        other, at = rng.choice(places)
        holder[key] = copy.deepcopy(other[at])
    elif choice == 2 and isinstance(holder, dict):
        holder[f"{key}\u00e9"] = holder.pop(key)
    elif choice == 3:
        holder[key] = "\x00MARK"
    elif choice == 4 and isinstance(holder[key], list):
        holder[key] = holder[key] * rng.choice((2, 50))
    else:
        holder[key] = rng.choice(_ODD)
    text = json.dumps(body, ensure_ascii=rng.random() < 0.3, separators=(",", ":"))
    if choice == 3:
        text = text.replace(json.dumps("\x00MARK"), rng.choice(_RAW), 1)
    elif choice == 5 and text.startswith("{") and rng.random() < 0.3:
        text = text[:-1] + "," + text[1:]  # every name twice
    return text.encode(errors="surrogatepass")


def _places(value: Any) -> list[tuple[Any, Any]]:
    found: list[tuple[Any, Any]] = []
    waiting = [value]
    while waiting:
        holder = waiting.pop()
        for key in list(holder) if isinstance(holder, dict) else range(len(holder)):
            found.append((holder, key))
            if isinstance(holder[key], dict | list) and holder[key]:
                waiting.append(holder[key])
    return found


def bent_lines(rng: random.Random, raw: bytes) -> bytes:
    """A text with one of its lines changed, doubled, moved, joined or dropped."""
    lines = raw.split(b"\n")
    at = rng.randrange(len(lines))
    line = lines[at]
    new: list[bytes] = rng.choice([
        lambda: [],
        lambda: [line, line],
        lambda: [line, rng.choice(lines)],
        lambda: [line + rng.choice([b" ", b"\r", b"\0", b"\xff", "\u2028".encode(), b"="])],
        lambda: [b" " + line],
        lambda: [line.swapcase()],
        lambda: [line[: rng.randrange(len(line) + 1)]],
        lambda: [rng.choice([b"0", b"-1", b"00", b"9" * 19, b"1" * 4400, b"\xef\xbc\x91", b"", b"A" * 70_000])],
        lambda: [stray_bits(rng, line)],
        lambda: [bent_bytes(rng, line)],
    ])()  # fmt: skip
    lines[at : at + 1] = new
    if rng.random() < 0.1:
        rng.shuffle(lines)
    return b"\n".join(lines)


def stray_bits(rng: random.Random, line: bytes) -> bytes:
    """The last word's base64 with bits that its bytes do not have."""
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stem = line.rstrip(b"=")
    if not stem or stem[-1:] not in alphabet or len(stem) == len(line):
        return line + b"="
    return stem[:-1] + bytes([alphabet[alphabet.index(stem[-1:]) ^ 1]]) + line[len(stem) :]


def bent_bytes(rng: random.Random, raw: bytes) -> bytes:
    """Some bytes flipped, cut, doubled or put in."""
    if not raw:
        return rng.randbytes(rng.randrange(4))
    at, end = sorted((rng.randrange(len(raw)), rng.randrange(len(raw) + 1)))
    short = min(end, at + rng.choice((1, 2, 33)))
    return rng.choice([
        lambda: raw[:at] + bytes([raw[at] ^ 1 << rng.randrange(8)]) + raw[at + 1 :],
        lambda: raw[:at],
        lambda: raw[:at] + raw[short:],
        lambda: raw[:short] + raw[at:],
        lambda: raw[:at] + rng.randbytes(rng.choice((1, 3, 40))) + raw[at:],
        lambda: raw[:at] + rng.choice((b"\n", b"\0", b'"', b"\\", b"\xe2\x80\x94 ")) + raw[at:],
    ])()  # fmt: skip


def bent_envelope(rng: random.Random, raw: bytes, sign: Callable[[str, bytes], bytes]) -> bytes:
    """An envelope over a bent payload, signed by `sign(payload type, payload)`; or its own JSON bent, unsigned."""
    if rng.random() < 0.3:
        return bent_json(rng, raw)
    try:
        body = json.loads(raw)
        payload, kind = bent_json(rng, base64.b64decode(body["payload"])), str(body["payloadType"])
    except (ValueError, TypeError, KeyError, RecursionError):  # bent before
        return bent_bytes(rng, raw)
    return sign(kind if kind.isascii() and rng.random() < 0.95 else "text/plain", payload)
