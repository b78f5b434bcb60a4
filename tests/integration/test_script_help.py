"""Every script in deploy explains itself on a machine without our packages."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SCRIPTS = ("check", "install", "lock", "try", "venv", "verifier", "mosquitto/issue", "mosquitto/make-acl")


@pytest.fixture
def bare_path(tmp_path: Path) -> str:
    """A PATH whose python3 has no packages, as on a machine before the first start."""
    program = tmp_path / "python3"
    program.write_text(f'#!/bin/sh\nexec {shlex.quote(sys._base_executable)} -S "$@"\n')  # type: ignore[attr-defined]
    program.chmod(0o755)
    return f"{tmp_path}:/usr/bin:/bin"


@pytest.mark.parametrize("script", SCRIPTS)
def test_each_script_explains_itself_and_its_exit_codes_on_a_bare_machine(script: str, bare_path: str) -> None:
    command, environment = [ROOT / "deploy" / script, "--help"], {"PATH": bare_path}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    if script not in ("lock", "mosquitto/make-acl"):  # tools of ours: 1 is stated beside --check
        assert "exit" in done.stdout.lower()
    assert done.stdout.rstrip().endswith((".", "。")) or "options:" in done.stdout
