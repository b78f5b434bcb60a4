"""Both READMEs tell the same commands; `tests/vm/test_service.py` carries out those of a station."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HEADS = {"README.md": "## A docking station", "README.zh-CN.md": "## 采集站"}


def commands(name: str, head: str) -> list[str]:
    section = (ROOT / name).read_text("utf-8").partition(f"\n{head}\n")[2].partition("\n## ")[0]
    return [line.partition("  #")[0].strip() for line in section.splitlines() if line.startswith("    ")]


def test_both_languages_tell_the_same_steps() -> None:
    english, chinese = (commands(name, head) for name, head in HEADS.items())
    assert english == chinese
    assert len(english) == 9


@pytest.mark.parametrize("name", HEADS)
def test_the_pictures_are_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    shown = [part.partition(")")[0] for part in text.split("](")[1:] if part.partition(")")[0].endswith(".png")]
    assert "deploy/docs/kiosk.png" in shown
    assert all((ROOT / picture).is_file() for picture in shown)
