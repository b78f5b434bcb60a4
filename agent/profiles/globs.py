"""Patterns for paths whose components are bytes in any encoding.

A pattern is components with "/" between them: `*` any run of bytes, `?` one byte, `**` any number of components. It may
begin at any folder: `DCIM/*/*.MP4` also finds `p2/DCIM/100MEDIA/A.mp4`; with a leading "/" only at the top. ASCII
letters match in either case. Other letters match in UTF-8 and in GBK, the two that cameras write.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

ENCODINGS = ("utf-8", "gbk")
COMPONENTS_MAX = 64  # deeper paths match nothing
_FLAGS = re.IGNORECASE | re.DOTALL


@dataclass(frozen=True, slots=True)
class Glob:
    """One pattern; equal texts are equal globs."""

    text: str

    def matches(self, path: Sequence[bytes]) -> bool:
        """Whether the whole path matches."""
        return _matches(_compiled(self.text), path, to_end=True)

    def begins(self, path: Sequence[bytes]) -> bool:
        """Whether the path, or a folder above it, matches: how a folder shows in a list of files."""
        return _matches(_compiled(self.text), path, to_end=False)


def check_glob(text: str) -> Glob:
    """The glob of this text. Raises ValueError for one that says something else than it seems to."""
    for part in text.removeprefix("/").split("/"):
        if not part or "\0" in part or ("**" in part and part != "**"):
            raise ValueError("components are not empty, and ** stands alone")
    return Glob(text)


def any_matches(globs: tuple[Glob, ...], path: Sequence[bytes]) -> bool:
    """Whether one of the globs matches the whole path; the usual `*.MP4` kind of them costs one regex together."""
    names, others = _sorted_out(globs)
    if len(path) > COMPONENTS_MAX:
        return False
    return bool(names and path and names.fullmatch(path[-1])) or any(glob.matches(path) for glob in others)


@cache
def _sorted_out(globs: tuple[Glob, ...]) -> tuple[re.Pattern[bytes] | None, tuple[Glob, ...]]:
    """One regex for the globs of a single component, and the others."""
    names = [glob for glob in globs if "/" not in glob.text and glob.text != "**"]
    joined = b"|".join(_component(glob.text).pattern for glob in names)
    return re.compile(joined, _FLAGS) if names else None, tuple(glob for glob in globs if glob not in names)


@cache
def _compiled(text: str) -> tuple[re.Pattern[bytes] | None, ...]:
    """A regex for each component; None stands for `**`."""
    parts = text.removeprefix("/").split("/")
    if not text.startswith("/") and parts[0] != "**":
        parts = ["**", *parts]
    return tuple(None if part == "**" else _component(part) for part in parts)


def _component(part: str) -> re.Pattern[bytes]:
    spellings = []
    for encoding in ENCODINGS:
        try:
            spellings.append(b"".join(_token(char, encoding) for char in part))
        except UnicodeEncodeError:  # a letter that GBK lacks
            continue
    return re.compile(b"|".join(dict.fromkeys(spellings)), _FLAGS)


def _token(char: str, encoding: str) -> bytes:
    return {"*": b".*", "?": b"."}.get(char) or re.escape(char.encode(encoding))


def _matches(parts: tuple[re.Pattern[bytes] | None, ...], path: Sequence[bytes], to_end: bool) -> bool:
    """Which beginnings of the pattern each beginning of the path may have used up: no backtracking."""
    if len(path) > COMPONENTS_MAX:
        return False
    states = _skipping({0}, parts)
    for component in path:
        if not to_end and len(parts) in states:
            return True
        following = set()
        for state in states:
            if state == len(parts):
                continue
            part = parts[state]
            if part is None:
                following.add(state)
            elif part.fullmatch(component):
                following.add(state + 1)
        states = _skipping(following, parts)
        if not states:
            return False
    return len(parts) in states


def _skipping(states: set[int], parts: tuple[re.Pattern[bytes] | None, ...]) -> set[int]:
    """With every state also those behind a `**` that stands for nothing."""
    for state in sorted(states):
        at = state
        while at < len(parts) and parts[at] is None:
            at += 1
            states.add(at)
    return states
