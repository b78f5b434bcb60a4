"""Languages of the pages: Chinese first, English second. Message ids are English; ``locale/zh_CN/hub.po`` has the rest.

The .po file is read at start-up, so there is no compiled file that could be older than its source.
"""

from __future__ import annotations

import gettext
import io
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path

from babel.messages.mofile import write_mo
from babel.messages.pofile import read_po

LOCALE_DIR = Path(__file__).parent / "locale"
COOKIE = "custodock_language"


class Language(StrEnum):
    """What a page can be written in; the value is its BCP 47 tag."""

    ZH = "zh-CN"
    EN = "en"


Translations = Mapping[Language, gettext.NullTranslations]


def load_translations(folder: Path = LOCALE_DIR) -> Translations:
    """The translations of every language. Raises OSError or babel's PoFileError when the .po cannot be read."""
    with (folder / "zh_CN" / "hub.po").open("rb") as file:
        catalog = read_po(file, locale="zh_CN", abort_invalid=True)
    compiled = io.BytesIO()
    write_mo(compiled, catalog)  # leaves out fuzzy entries: unchecked wording is never shown
    compiled.seek(0)
    return {Language.ZH: gettext.GNUTranslations(compiled), Language.EN: gettext.NullTranslations()}


def choose_language(cookie: str | None, accept_language: str | None) -> Language:
    """The language a person has switched to; else the first of ours that their browser names; else Chinese."""
    if cookie in tuple(Language):
        return Language(cookie)
    for tag in _by_preference((accept_language or "")[:500]):
        if tag.startswith("zh"):
            return Language.ZH
        if tag.startswith("en"):
            return Language.EN
    return Language.ZH


def _by_preference(header: str) -> list[str]:
    """Tags of an Accept-Language header, the most wanted first; a weight that is no number counts as 0."""
    weighted = []
    for position, part in enumerate(header.split(",")):
        tag, _, weight = part.strip().lower().partition(";q=")
        try:
            q = float(weight) if weight else 1.0
        except ValueError:
            q = 0.0
        if tag and q > 0:
            weighted.append((-q, position, tag))
    return [tag for _, _, tag in sorted(weighted)]


def mark(message: str) -> str:
    """Mark a message that is translated later, where the language is known; extraction finds it by this name."""
    return message
