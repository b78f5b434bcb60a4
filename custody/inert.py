"""Names from a disk, a card or a signed text, made harmless for a terminal or a page."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any


def inert(name: bytes | str) -> str:
    """A name for a terminal or page: one to one, with whatever does not print, and the backslash, as an escape."""
    text = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return text if text.isprintable() and "\\" not in text else "".join(map(_inert_char, text))


def inert_lines(lines: Iterable[str]) -> str:
    """Lines for a terminal, each inert, one under the other; tabs stay, for columns."""
    return "\n".join("\t".join(map(inert, line.split("\t"))) for line in lines)


def inert_json(value: Any, indent: int | None = None, default: Any = None) -> str:
    """`value` as JSON for people and programs: letters as they are, whatever does not print as an escape of JSON.

    JSON itself lets through what reorders a line (U+202E) and what some terminals obey (U+009B).
    """
    return inert_json_text(json.dumps(value, ensure_ascii=False, indent=indent, default=default))


def inert_json_text(text: str) -> str:
    """The same JSON, with whatever does not print as an escape."""
    return text if text.isprintable() else "".join(map(_json_char, text))


def _json_char(char: str) -> str:
    return char if char.isprintable() or char == "\n" else json.dumps(char)[1:-1]


def _inert_char(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
