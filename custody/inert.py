"""Names from a disk, a card or a signed text, made harmless for a terminal or a page."""

from __future__ import annotations


def inert(name: bytes | str) -> str:
    """A name for a terminal or page: one to one, with whatever does not print, and the backslash, as an escape."""
    text = name.decode(errors="surrogateescape") if isinstance(name, bytes) else name
    return text if text.isprintable() and "\\" not in text else "".join(map(_inert_char, text))


def _inert_char(char: str) -> str:
    if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
        return f"\\x{ord(char) - 0xDC00:02x}"
    return char if char.isprintable() and char != "\\" else char.encode("unicode_escape").decode()
