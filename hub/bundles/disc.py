"""A finished bundle folder as an ISO 9660 image (level 3, Rock Ridge, Joliet), by the program xorriso."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

from hub.bundles.footage import TargetFailed
from hub.errors import Invalid

SUFFIX = ".iso"
_MATCHES = "Both file objects match as far as expectable."
_ENVIRONMENT = {"LC_ALL": "C.UTF-8", "PATH": os.defpath + ":/usr/sbin:/sbin"}  # names are UTF-8, answers are English


def is_image(target: Path) -> bool:
    """Whether the operator asks for an image rather than a folder."""
    return target.suffix.lower() == SUFFIX


def check_program() -> None:
    """Raise Invalid when there is no xorriso."""
    if shutil.which("xorriso", path=_ENVIRONMENT["PATH"]) is None:
        raise Invalid(
            "制作 ISO 需要程序 xorriso（Debian：apt install xorriso）；也可导出为文件夹。未导出任何内容。 / "
            "an ISO image needs the program xorriso (Debian: apt install xorriso); or export a folder. "
            "Nothing was exported."
        )


def make_image(folder: Path, image: Path) -> None:
    """Write `folder` into `image`, durable, and compare every file of it with what the disk gives back.

    Raises TargetFailed when xorriso fails or the image is not equal to the folder.
    """
    image.unlink(missing_ok=True)
    for path in [folder, *folder.rglob("*")]:  # whoever gets the disc may read it, whatever their user id
        path.chmod(0o755 if path.is_dir() else 0o444)
    form = ("-quiet", "-iso-level", "3", "-R", "-J", "-joliet-long", "-D", "-V", "CUSTODOCK")
    said = _run("-as", "mkisofs", *form, "-o", str(image), str(folder))
    if said.returncode:
        raise _failed(said.stdout)
    descriptor = os.open(image, os.O_RDONLY)
    try:
        os.fsync(descriptor)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
    said = _run("-indev", str(image), "-compare_r", str(folder), "/", "-end")
    if said.returncode or _MATCHES not in said.stdout or "Differences detected" in said.stdout:
        raise _failed(said.stdout)


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = ["xorriso", *arguments]
    return subprocess.run(
        command,
        env=_ENVIRONMENT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        check=False,
    )


def _failed(said: str) -> TargetFailed:
    last = " | ".join(said.strip().splitlines()[-3:])
    return TargetFailed(
        f"制作 ISO 失败，未留下可用的映像：{last}。排除故障后可用同一命令继续。 / "
        f"making the ISO image failed and left no usable one: {last}. The same command goes on here once the fault "
        "is mended."
    )
