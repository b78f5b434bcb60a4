"""`dock-hub`: the first steps, what a script reads and how each command ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from hub.app import main


def test_init_then_everything_else(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hub = str(tmp_path / "hub")

    def ask(*words: str) -> dict[str, object]:
        main([*words, "--dir", hub, "--json"])
        answer: dict[str, object] = json.loads(capsys.readouterr().out)
        return answer

    made = ask("init", "--id", "h-1")
    assert ask("keys") == {name: made[name] for name in ("log_key", "receipt_key", "event_key", "command_key")}
    assert {"hub_id", "log_key", "receipt_key", "event_key"} <= made.keys()
    line = "dock-1+" + str(made["log_key"]).split("+", 1)[1]
    with pytest.raises(SystemExit) as ended:
        ask("station", "add", line)  # its hash is of another name
    assert ended.value.code == 1
    capsys.readouterr()
    assert ask("log", "check")["size"] == 0
    with pytest.raises(SystemExit) as ended:
        ask("init")
    assert ended.value.code == 1
    capsys.readouterr()
    with pytest.raises(SystemExit) as ended:
        main(["log", "check", "--dir", str(tmp_path / "elsewhere")])
    assert ended.value.code == 3
