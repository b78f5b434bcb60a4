"""The table of kinds in deploy/docs/alerts.md and alerts.zh-CN.md, made from hub/alerts/kinds.py by tests.generate."""

from __future__ import annotations

from pathlib import Path

from hub.alerts.kinds import KINDS, Kind
from hub.alerts.saying import SEVERITIES
from hub.language import Language, load_translations
from hub.wording import Wording

DOCS = Path(__file__).parents[1] / "deploy" / "docs"
BEGIN, END = "<!-- kinds: made by tests/generate.py from hub/alerts/kinds.py -->\n", "<!-- kinds end -->\n"
_ENDS = {
    Language.EN: {"condition": "by itself", "cause": "by itself, or a person", "person": "a person"},
    Language.ZH: {"condition": "自动", "cause": "自动或人工", "person": "人工"},
}
_LINE = "|---|---|---|---|---|---|\n"
_HEAD = {
    Language.EN: f"| code | severity | Art. | what | goes to; then, when nobody took note of it | ends |\n{_LINE}",
    Language.ZH: f"| 代码 | 级别 | 条款 | 内容 | 通知谁；逾时无人知悉再通知谁 | 解除 |\n{_LINE}",
}


def pages() -> dict[Path, str]:
    """Each page with a fresh table."""
    return {DOCS / name: _page(DOCS / name, language) for name, language in
            (("alerts.md", Language.EN), ("alerts.zh-CN.md", Language.ZH))}  # fmt: skip


def _page(path: Path, language: Language) -> str:
    words = Wording(language, load_translations()[language])
    before, _, rest = path.read_text(encoding="utf-8").partition(BEGIN)
    rows = "".join(_row(words, kind) for kind in KINDS.values())
    return before + BEGIN + _HEAD[language] + rows + END + rest.partition(END)[2]


def _row(words: Wording, kind: Kind) -> str:
    said = kind.zh if words.language is Language.ZH else kind.en
    comma = "、" if words.language is Language.ZH else ", "
    steps = [comma.join(words.role(role.value) for role in sorted(step)) for step in kind.goes_to]
    hours = words.duration(kind.after.total_seconds())
    severity, ends = words.say(SEVERITIES[kind.severity]), _ENDS[words.language][kind.ends]
    unit = ("；" if words.language is Language.ZH else "; ") + words.say("the hub") if kind.bureau else ""
    cells = (f"`{kind.code}`", severity + unit, str(kind.article), f"**{said.title}.** {said.do}",
             f" → {hours} → ".join(steps), ends)  # fmt: skip
    return "| " + " | ".join(cells) + " |\n"
