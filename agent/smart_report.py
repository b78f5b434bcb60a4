"""What the vault's disks answer to SMART, asked by root for the agent, which has no right to ask.

`python -m agent.smart_report VAULT FILE` (custodock-smart.service, once an hour) asks every disk under VAULT and leaves
the answers in FILE; the agent reads it with `read_report`. Only the vault's own disks are ever asked: a camera's never.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from agent.smart import ANSWER_BYTES_MAX, ask_smartctl, vault_disks

REPORT = Path("/run/custodock-smart/report.json")
AGE_MAX_SECONDS = 9000.0  # it comes once an hour
REPORT_BYTES_MAX = 8 * ANSWER_BYTES_MAX


def write_report(vault: Path, file: Path, names: Sequence[str] | None = None) -> list[str]:
    """Ask and replace `file` as a whole; which disks were asked. `names`: instead of the vault's. Raises OSError."""
    names = vault_disks(vault) if names is None else names
    answers = {name: _answer(name) for name in names if not name.startswith("mmcblk")}  # eMMC tells everybody
    body = {"at": now(), "disks": answers}
    aside = file.with_name(f".{file.name}.new")
    aside.write_text(json.dumps(body), "utf-8")
    os.replace(aside, file)
    return sorted(answers)


def read_report(file: Path, seconds: float) -> Mapping[str, bytes]:
    """The answers by disk, as smartctl gave them; nothing where the report is missing, torn or older than it may be.

    `seconds` is `now()`: time since this machine was switched on, which no clock that is set can falsify.
    """
    try:
        with file.open("rb") as opened:
            body: Any = json.loads(opened.read(REPORT_BYTES_MAX))
        if not 0 <= seconds - float(body["at"]) <= AGE_MAX_SECONDS:
            return {}
        return {str(name): json.dumps(answer).encode() for name, answer in body["disks"].items()}
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}


def now() -> float:
    """Seconds since this machine was switched on, suspended or not."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def _answer(name: str) -> Any:
    """smartctl's JSON, or its shape for why there is none."""
    try:
        return json.loads(ask_smartctl(name))
    except (OSError, subprocess.TimeoutExpired, ValueError) as error:
        return {"smartctl": {"messages": [{"string": type(error).__name__}]}}


def main() -> int:
    """Entry point of the service."""
    vault, file = map(Path, sys.argv[1:])
    print(f"asked: {', '.join(write_report(vault, file)) or 'no disk'}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
