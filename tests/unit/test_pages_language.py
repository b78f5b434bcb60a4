"""Every visible text is marked, translated and filled in; languages are chosen as people expect."""

from __future__ import annotations

import ast
import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from babel.messages.catalog import Catalog
from babel.messages.pofile import read_po
from jinja2 import Environment

from hub.language import LOCALE_DIR, Language, choose_language
from hub.site import TEMPLATE_DIR

HUB = TEMPLATE_DIR.parent
TEMPLATES = sorted(TEMPLATE_DIR.glob("*.html"))
ENVIRONMENT = Environment(autoescape=True, extensions=["jinja2.ext.i18n"])
VALUE = re.compile(r"%\((\w+)\)s")


@pytest.fixture(scope="module")
def catalog() -> Catalog:
    with (LOCALE_DIR / "zh_CN" / "hub.po").open("rb") as file:
        return read_po(file, locale="zh_CN", abort_invalid=True)


def used_messages() -> set[str]:
    found: set[str] = set()
    for template in TEMPLATES:
        for _, _, message in ENVIRONMENT.extract_translations(template.read_text()):
            found.add(message if isinstance(message, str) else message[0])
    for source in (module.read_text() for module in HUB.rglob("*.py")):
        for node in ast.walk(ast.parse(source)) if "mark(" in source else ():
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "mark":
                found.add(ast.literal_eval(node.args[0]))
    return found


def test_every_text_is_translated_and_none_is_left_over(catalog: Catalog) -> None:
    translated, used = {str(m.id) for m in catalog if m.id}, used_messages()
    assert used - translated == set()
    assert translated - used == set()


def test_translations_are_chinese_complete_and_keep_their_values(catalog: Catalog) -> None:
    for message in catalog:
        if message.id:
            text = str(message.string)
            assert text, message.id
            assert not message.fuzzy, message.id
            assert re.search(r"[\u4e00-\u9fff]", text), message.id
            assert set(VALUE.findall(text)) == set(VALUE.findall(str(message.id))), message.id


class VisibleText(HTMLParser):
    """Collects what a reader sees or hears of a template whose expressions were taken out."""

    def __init__(self) -> None:
        super().__init__()
        self.found: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found += [value or "" for name, value in attrs if name in ("title", "alt", "aria-label", "placeholder")]

    def handle_data(self, data: str) -> None:
        self.found.append(data)


@pytest.mark.parametrize("template", TEMPLATES, ids=lambda p: p.name)
def test_templates_hold_no_bare_text(template: Path) -> None:
    """Such a text would be shown in one language only. Names of languages, algorithms and commands are no words."""
    parser = VisibleText()
    parser.feed(re.sub(r"\{\{.*?\}\}|\{%.*?%\}", "", template.read_text(), flags=re.DOTALL))
    text = re.sub(r"English|中文|SHA-256|sha256sum -c recording-\.sha256", "", " ".join(parser.found))
    assert not re.findall(r"[A-Za-z\u4e00-\u9fff]+", text)


@pytest.mark.parametrize(
    ("cookie", "header", "language"),
    [
        (None, None, Language.ZH),
        (None, "", Language.ZH),
        (None, "fr-FR,fr;q=0.9", Language.ZH),
        (None, "en-US,en;q=0.9", Language.EN),
        (None, "en;q=0.3, zh-CN;q=0.9", Language.ZH),
        (None, "en;q=nonsense, zh;q=0.1", Language.ZH),
        (None, "en;q=0", Language.ZH),
        ("en", "zh-CN", Language.EN),
        ("zh-CN", "en", Language.ZH),
        ("<script>", "en", Language.EN),
    ],
)
def test_language_is_chosen(cookie: str | None, header: str | None, language: Language) -> None:
    assert choose_language(cookie, header) is language
