"""`deploy/try` for real: a fresh clone, own ports and state, the packages of the environment that runs the tests."""

import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

ROOT = Path(__file__).resolve().parents[2]
SECONDS = 600

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not (ROOT / ".git").exists() or not shutil.which("git"), reason="needs a git checkout to clone"),
]


@pytest.fixture(scope="module")
def clone(tmp_path_factory: pytest.TempPathFactory) -> Path:
    target = tmp_path_factory.mktemp("clone") / "custodock"
    subprocess.run(["git", "clone", "--quiet", "--no-hardlinks", ROOT, target], check=True)
    return target


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One trial's directory for all tests: the first sets it up, the others start it again."""
    return tmp_path_factory.mktemp("trial") / "state"


def environment() -> dict[str, str]:
    return {**os.environ, "CUSTODOCK_VENV": sys.prefix, "PYTHONDONTWRITEBYTECODE": "1"}


def run_try(clone: Path, *arguments: str, answer: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [clone / "deploy" / "try", *arguments], env=environment(), cwd=clone.parent, input=answer, capture_output=True,
        text=True, check=False, timeout=SECONDS,
    )  # fmt: skip


def programs_of(state: Path) -> list[psutil.Process]:
    """The running programs whose command line names this state directory."""
    mine = []
    for process in psutil.process_iter(["cmdline", "status"]):
        line = process.info["cmdline"] or []
        if process.info["status"] != psutil.STATUS_ZOMBIE and any(str(state) in word for word in line):
            mine.append(process)
    return mine


@pytest.fixture
def running(clone: Path, state: Path) -> Iterator[subprocess.Popen[str]]:
    """A trial that keeps running, with the sample docked."""
    heed = ["env", "--default-signal=INT"]  # a shell starts what it puts in the background deaf to Ctrl-C, tests too
    process = subprocess.Popen(
        [*heed, clone / "deploy" / "try", "--sample", "--dir", state],
        env=environment(),
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout
    for line in process.stdout:
        if "safe to remove" in line:
            break
    yield process
    process.kill()
    process.stdout.close()
    process.wait()


def test_docks_the_sample_twice_with_one_state(clone: Path, state: Path) -> None:
    first = run_try(clone, "--sample", "--once", "--dir", str(state))
    assert first.returncode == 0, first.stdout + first.stderr
    assert "8 个文件与源卡一致" in first.stdout
    assert re.search(r"custody verify +0: ", first.stdout)
    assert re.search(r"dock's screen +http://127.0.0.1:\d+\n", first.stdout)
    assert not programs_of(state)
    for sums in (state / "vault").rglob("SHA256SUMS"):  # as the README tells everybody to do
        subprocess.run(["sha256sum", "--quiet", "--strict", "--check", sums.name], cwd=sums.parent, check=True)
    second = run_try(clone, "--sample", "--once", "--dir", str(state))
    assert second.returncode == 0, second.stdout + second.stderr
    password = re.compile(r"password +(\S+)")
    assert password.findall(first.stdout) == password.findall(second.stdout) != []


def test_ctrl_c_stops_everything(running: subprocess.Popen[str], state: Path) -> None:
    assert len(programs_of(state)) >= 4
    running.send_signal(signal.SIGINT)
    assert running.stdout
    rest = running.stdout.read()
    assert running.wait(60) == 0
    assert "已停止 / stopped" in rest
    assert not programs_of(state)


def test_a_killed_trial_leaves_nothing_running(running: subprocess.Popen[str], state: Path) -> None:
    running.kill()
    deadline = time.monotonic() + 30
    while programs_of(state) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not programs_of(state)


def test_fresh_deletes_nothing_without_a_yes(clone: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    (state / "made-by-deploy-try").touch()
    (state / "ready.json").touch()
    (state / "vault").mkdir()
    refused = run_try(clone, "--fresh", "--dir", str(state), answer="no\n")
    assert refused.returncode == 1
    assert (state / "vault").exists()


def test_help_teaches_and_wrong_use_ends_with_2(clone: Path) -> None:
    assert "deploy/try --sample" in run_try(clone, "--help").stdout
    assert run_try(clone, "--once").returncode == 2
