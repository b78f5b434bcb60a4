"""Changing this machine step by step: files, links and programs, with words for people when a step fails."""

from __future__ import annotations

import subprocess
from pathlib import Path


class InstallError(Exception):
    """What stops the installation, for people: what happened, what is safe, what to do."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.words = f"{zh}\n{en}\n"


def write(path: Path, text: str) -> bool:
    """Make the file say this; whether it said something else."""
    if path.exists() and path.read_text("utf-8") == text:
        return False
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text, "utf-8")
    aside.replace(path)
    return True


def point(link: Path, target: Path) -> bool:
    """Make the link lead there, never leaving it missing; whether it led elsewhere."""
    if link.is_symlink() and link.readlink() == target:
        return False
    link.parent.mkdir(parents=True, exist_ok=True)
    aside = link.with_name(f".{link.name}.new")
    aside.unlink(missing_ok=True)
    aside.symlink_to(target)
    aside.replace(link)
    return True


def run(*argv: str) -> str:
    """Run a program, its output. Raises InstallError with its words."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()
        if len(said) > 3000:  # pip names the package first and the cause last
            said = f"{said[:1500]}\n…\n{said[-1500:]}"
        raise InstallError(
            f"{argv[0]} ended with {done.returncode}; footage was not touched. Run deploy/install again when the cause "
            f"is gone:\n{said}",
            f"{argv[0]} 失败（{done.returncode}），录像未受影响。排除原因后请重新运行 deploy/install。",
        )
    return done.stdout
