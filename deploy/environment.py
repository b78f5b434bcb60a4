"""The program's environment on a station: all of it root's, complete before it is used, one for each version."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

from deploy.system import InstallError, run

ROOT = Path(__file__).resolve().parents[1]
LOCKS = {"agent": ROOT / "deploy" / "agent.lock", "hub": ROOT / "deploy" / "runtime.lock"}
HOME = Path("/opt/custodock")
PYTHON = Path("/usr/bin/python3")


def build_program(wheels: Path | None, what: str = "agent") -> Path:
    """A finished environment for exactly this checkout and the lock of `what`, built beside the one in use.

    Raises InstallError.
    """
    version = json.loads(run(str(PYTHON), "-c", "import json, sys; print(json.dumps([*sys.version_info[:3]]))"))
    if version < [3, 11]:
        raise InstallError(f"{PYTHON} is too old; 3.11 is needed.", f"{PYTHON} 版本过低，需要 3.11。")
    target = HOME / f"{what}-{source_digest(version, LOCKS[what])[:16]}"
    done = target / "complete"
    if done.exists():
        return target
    sys.stdout.write("正在安装程序，逐包核对哈希 / Installing the program, each package checked against its hash\n")
    HOME.mkdir(exist_ok=True)
    shutil.rmtree(target, ignore_errors=True)
    try:
        run(str(PYTHON), "-m", "venv", str(target))
        offline = ["--no-index", "--find-links", str(wheels.absolute())] if wheels else []
        pip = [f"{target}/bin/python", "-m", "pip", "--disable-pip-version-check", "--no-input", "--quiet", "install"]
        run(
            *pip, *offline, "--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(LOCKS[what])
        )
        with tempfile.TemporaryDirectory() as copy:  # pip leaves traces in what it builds from
            for name in ("agent", "custody", "hub"):
                shutil.copytree(ROOT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, copy)
            run(*pip, "--no-index", "--no-deps", "--no-build-isolation", copy)
    except InstallError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    os.sync()  # before the mark, so that after a power cut a marked environment is whole
    done.touch()
    return target


def source_digest(version: Sequence[int], lock: Path = LOCKS["agent"]) -> str:
    """SHA-256 over all that the program's environment depends on."""
    total = hashlib.sha256(repr([*version]).encode())
    files = [path for name in ("agent", "custody", "hub") for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in sorted([*files, lock, ROOT / "pyproject.toml", Path(__file__)]):
        if "__pycache__" not in path.parts:
            total.update(repr((str(path.relative_to(ROOT)), hashlib.sha256(path.read_bytes()).hexdigest())).encode())
    return total.hexdigest()


def forget_old(program: Path) -> None:
    """Remove earlier versions of the program, and no other program."""
    for old in HOME.glob(f"{program.name.partition('-')[0]}-*"):
        if old != program:
            shutil.rmtree(old)
