"""Where a station's things are: state directory, settings, vault, and which USB disks are its own."""

from __future__ import annotations

import argparse
import grp
import json
import os
import pwd
import re
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path

from deploy.ownership import own_rule, usb_disks
from deploy.system import InstallError, run

USER = "custodock"
OWN_DISKS = Path("/etc/udev/rules.d/90-custodock-own.rules")
SETTINGS = """\
# 本采集站的设置；改后运行 / Settings of this station; after a change: systemctl restart custodock-agent
# 存证库目录；移动后再次运行 deploy/install agent / where footage goes; after moving it run deploy/install agent again
vault = "{vault}"

# 整站的设置写在各仓位之前 / settings of the whole dock stand above the bays:
# kiosk_port = 8766
#
# 每个仓位一段；端口以 dock-agent bays 显示为准 / one for each bay; ports as dock-agent bays shows them:
# [[bay]]
# name = "1"
# ports = ["0000:01:00.0-usb2-1.2", "0000:01:00.0-usb3-1.2"]
"""


def checked_place(text: str) -> Path:
    """A path that the service can use and a unit can hold. Raises ArgumentTypeError."""
    path = Path(text)
    # it goes into a unit and a TOML file as it is
    if not re.fullmatch(r"/[\w/.+-]*\w", text) or ".." in path.parts or text.startswith("//"):
        raise argparse.ArgumentTypeError(f"an absolute path of letters, digits and . _ + - is needed: {text}")
    if path.parts[1] in ("home", "root", "tmp"):
        raise argparse.ArgumentTypeError(f"/home, /root and /tmp are hidden from the service: {text}")
    return path


def make_places(directory: Path, vault: Path | None) -> Path:
    """State directory, settings where there are none, and vault; returns where the vault is. Raises InstallError.

    What lies in the state directory may have been put there by whoever has the service's user: no link is followed, and
    what agent.toml says is checked like an argument.
    """
    make_directory(directory)
    settings = directory / "agent.toml"
    if not os.path.lexists(settings):
        with settings.open("x", encoding="utf-8") as file:
            file.write(SETTINGS.format(vault=vault or "vault"))
            os.fchown(file.fileno(), 0, grp.getgrnam(USER).gr_gid)
            os.fchmod(file.fileno(), 0o640)
    try:
        said = checked_place(str(directory / str(tomllib.loads(settings.read_text("utf-8"))["vault"])))
    except (OSError, ValueError, KeyError, argparse.ArgumentTypeError) as error:
        raise InstallError(f"{settings} cannot be used: {error}", f"{settings} 无法使用：{error}") from error
    if vault is not None and vault != said:
        raise InstallError(
            f"{settings} says that footage goes to {said}. It decides; change it there if you mean {vault}.",
            f"{settings} 中的存证库为 {said}，以其为准；如需 {vault}，请在该文件中修改。",
        )
    make_directory(said)
    return said


def make_directory(path: Path, user: str = USER) -> None:
    """The directory, given to the service's user. Raises InstallError for one with content of another user."""
    owner = pwd.getpwnam(user)
    try:
        path.mkdir(parents=True, exist_ok=True)
        folder = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    except OSError as error:
        raise InstallError(
            f"{path} cannot be used: {error.strerror}. A real directory is needed, not a link.",
            f"{path} 无法使用：{error.strerror}。需要真实目录，不能是链接。",
        ) from error
    try:
        if os.fstat(folder).st_uid == owner.pw_uid:
            return
        if {*os.listdir(folder)} - {"lost+found"}:
            raise InstallError(
                f"{path} belongs to another user and is not empty. It was left as it is. Choose another directory, or "
                f"give it to the user {user} if it is this installation's.",
                f"{path} 属于其他用户且非空，未作改动。请另选目录；如确属本次安装，请将其归属改为用户 {user}。",
            )
        os.fchown(folder, owner.pw_uid, owner.pw_gid)
        os.fchmod(folder, 0o750)
    finally:
        os.close(folder)


def own_disks(used: Sequence[Path], named: Sequence[str]) -> str:
    """The rules that keep the station's own USB disks writable. Raises InstallError when one cannot be told.

    Rules only come on top: a disk that is not plugged in today is still the station's own.
    """
    head = "# Kept by deploy/install: USB disks of the station itself stay writable. Lines may be removed by hand.\n"
    lines = OWN_DISKS.read_text("utf-8").splitlines(keepends=True) if OWN_DISKS.exists() else [head]
    listed = json.loads(run("lsblk", "--json", "--output", "PATH,TRAN,MOUNTPOINTS"))
    for disk in usb_disks(listed):
        if not (disk.path in named or disk.is_own(used)):
            if disk.mounts:
                raise InstallError(
                    f"The USB disk {disk.path} is mounted at {', '.join(sorted(disk.mounts))} and would become "
                    f"read-only like a camera. Unmount it, or say --own-disk {disk.path} if it is the station's own.",
                    f"USB 磁盘 {disk.path} 已挂载，安装后将与记录仪一样变为只读。"
                    f"请先卸载；如为本站自用，请加 --own-disk {disk.path}。",
                )
            continue
        words = run("udevadm", "info", "--query=property", f"--name={disk.path}").splitlines()
        rule = own_rule(dict(word.split("=", 1) for word in words if "=" in word))
        if rule is None:
            raise InstallError(
                f"{disk.path} is this station's own disk but has neither serial nor partition table to know it by.",
                f"{disk.path} 为本站自用磁盘，但没有可供识别的序列号或分区表。",
            )
        if rule not in lines:
            lines.append(rule)
        sys.stdout.write(f"本站自用磁盘，保持可写 / the station's own disk, stays writable: {disk.path}\n")
    return "".join(lines)


SERIAL_LINES = """\
# serial lines of recorders, ttyACM and ttyUSB; by number, for their drivers are not loaded yet when the service starts
DeviceAllow=char-166 rw
DeviceAllow=char-188 rw
"""


def place_text(directory: Path, vault: Path, *, recorders: bool = False) -> str:
    """The drop-in that tells the unit where this station's things are; `recorders`: some are spoken to."""
    both = f"{directory} {vault}"
    return (
        "# Written by deploy/install from --dir and agent.toml.\n"
        f"[Unit]\nRequiresMountsFor={both}\n\n"
        f"[Service]\nEnvironment=CUSTODOCK_DIR={directory}\nReadWritePaths={both}\n"
        + (SERIAL_LINES if recorders else "")
    )


def smart_place_text(vault: Path) -> str:
    """The drop-in that tells which vault's disks are asked how they are."""
    return (
        "# Written by deploy/install from agent.toml.\n"
        f"[Unit]\nRequiresMountsFor={vault}\n\n[Service]\nEnvironment=CUSTODOCK_VAULT={vault}\n"
    )
