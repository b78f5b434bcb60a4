"""Both READMEs tell the same commands; `tests/vm/test_service.py` carries out those of a station."""

from __future__ import annotations

from pathlib import Path

import pytest

import agent.app
import custody.cli
import hub.app

PARSERS = {"dock-agent": agent.app._parser(), "dock-hub": hub.app._parser(), "custody": custody.cli._parser()}
ROOT = Path(__file__).parents[2]
KEY_LINE = "dock-14436b70+8c295845+ARRDa3Dpn9cF920XUdsCms9x1J50jS2Lgb6gFilhaCGf"
HEADS = {"README.md": "## A docking station", "README.zh-CN.md": "## 采集站"}


def commands(name: str, head: str) -> list[str]:
    section = (ROOT / name).read_text("utf-8").partition(f"\n{head}\n")[2].partition("\n## ")[0]
    return [line.partition("  #")[0].strip() for line in section.splitlines() if line.startswith("    ")]


def test_both_languages_tell_the_same_steps() -> None:
    english, chinese = (commands(name, head) for name, head in HEADS.items())
    assert english == chinese
    assert len(english) == 9


@pytest.mark.parametrize("name", HEADS)
def test_the_programs_take_the_commands_that_are_told(name: str) -> None:
    lines = [line.partition("  #")[0].split() for line in (ROOT / name).read_text("utf-8").splitlines()]
    told = [line[0 if line[0].startswith(".venv/bin/") else 3 :] for line in lines if line[:1] and ours(line)]
    assert len(told) >= 5
    for program, *words in told:
        filled = [KEY_LINE if word in ("KEYLINE", "公钥行") else word for word in words]
        assert PARSERS[Path(program).name].parse_args(filled)


def ours(line: list[str]) -> bool:
    """Whether a line of a README is a command of one of our programs."""
    as_service = line[:3] == ["sudo", "-u", "custodock"]
    return as_service or (line[0].startswith(".venv/bin/") and Path(line[0]).name in PARSERS)


@pytest.mark.parametrize("name", HEADS)
def test_the_pictures_are_there(name: str) -> None:
    text = (ROOT / name).read_text("utf-8")
    shown = [part.partition(")")[0] for part in text.split("](")[1:] if part.partition(")")[0].endswith(".png")]
    assert "deploy/docs/kiosk.png" in shown
    assert all((ROOT / picture).is_file() for picture in shown)
