"""Install or remove the hub as a systemd service, with its nightly check. Safe to repeat, as the agent's is.

Program: /opt/custodock/hub, root's. Settings, keys, SQLite database: --dir, the service's own user's. Where the
directory holds no hub yet, one is made (`dock-hub init`).
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from pathlib import Path

from deploy.environment import HOME, ROOT, build_program, forget_old
from deploy.places import make_directory
from deploy.system import InstallError, point, run, write

USER = "custodock-hub"
UNIT, CHECK, TIMER = "custodock-hub.service", "custodock-log-check.service", "custodock-log-check.timer"
DIRECTORY = Path("/var/lib/custodock-hub")
PROGRAM, COMMAND = HOME / "hub", Path("/usr/local/bin/dock-hub")
UNITS = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/custodock-hub.conf")
PLACES = tuple(UNITS / f"{unit}.d" / "place.conf" for unit in (UNIT, CHECK))
NEXT = """\
已安装。设置、密钥与数据库位于 / Installed. Settings, keys and database lie in {directory}
  首次 / first page  runuser -u custodock-hub -- dock-hub user first --dir {directory}
  密钥 / key lines   runuser -u custodock-hub -- dock-hub keys --dir {directory}
  登记 / enrol       runuser -u custodock-hub -- dock-hub station add KEYLINE --dir {directory}
  设置 / settings    {directory}/hub.toml，改后 / then: systemctl restart custodock-hub
  日志 / log         journalctl -u custodock-hub -u custodock-log-check
"""
REMOVED = """\
程序与服务已移除。密钥和数据库未动 / Program and services are removed. Keys and database were not touched.
位于 / They lie in {directory}
"""


def install(directory: Path | None, wheels: Path | None, *, start: bool) -> None:
    """Program, user, directory, hub, services, in this order. Raises InstallError."""
    directory = directory or installed_directory()
    program = build_program(wheels, "hub")
    write(SYSUSERS, unit_text("custodock-hub.sysusers"))
    run("systemd-sysusers", str(SYSUSERS))
    make_directory(directory, USER)
    if not (directory / "hub.toml").exists():
        run("runuser", "-u", USER, "--", str(program / "bin" / "dock-hub"), "init", "--dir", str(directory))
    changed = [write(UNITS / name, unit_text(name)) for name in (UNIT, CHECK, TIMER)]
    changed += [write(place, place_text(directory)) for place in PLACES]
    switched = point(PROGRAM, program)
    point(COMMAND, PROGRAM / "bin" / "dock-hub")
    run("systemctl", "daemon-reload")
    run("systemctl", "--quiet", "enable", UNIT, TIMER)
    idle = subprocess.run(["systemctl", "--quiet", "is-active", UNIT], check=False).returncode != 0
    if start and (idle or switched or any(changed)):
        restart()
    if start:
        run("systemctl", "start", TIMER)
    if start or idle:  # otherwise an earlier version still runs
        forget_old(program)
    sys.stdout.write(NEXT.format(directory=directory))


def unit_text(name: str) -> str:
    """A file of systemd/ in this checkout."""
    return (ROOT / "systemd" / name).read_text("utf-8")


def place_text(directory: Path) -> str:
    """The drop-in that tells a unit where the hub's directory is."""
    return (
        "# Written by deploy/install hub.\n"
        f"[Unit]\nRequiresMountsFor={directory}\n"
        f"[Service]\nEnvironment=CUSTODOCK_HUB_DIR={directory}\nReadWritePaths={directory}\n"
    )


def installed_directory() -> Path:
    """The directory of the installed hub, else the default."""
    text = PLACES[0].read_text("utf-8") if PLACES[0].exists() else ""
    found = re.search(r"^Environment=CUSTODOCK_HUB_DIR=(.+)$", text, re.M)
    return Path(found[1]) if found else DIRECTORY


def restart() -> None:
    """Start the service anew; returns when the hub serves. Raises InstallError with its last words."""
    if subprocess.run(["systemctl", "restart", UNIT], check=False).returncode != 0:
        words = subprocess.run(
            ["journalctl", "--unit", UNIT, "--lines", "20", "--no-pager", "--output", "cat"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        raise InstallError(
            f"The hub does not start. The log is as it was. Its last words:\n{words}",
            "中心未能启动，日志保持原样。其最后的输出见下。",
        )


def uninstall() -> None:
    """Remove services and program. Keys, database, settings and user stay."""
    directory = installed_directory()
    for unit in (UNIT, TIMER):
        if (UNITS / unit).exists():
            run("systemctl", "--quiet", "disable", "--now", unit)
    for path in (*(UNITS / name for name in (UNIT, CHECK, TIMER)), *PLACES, SYSUSERS):
        path.unlink(missing_ok=True)
    for place in PLACES:
        if place.parent.is_dir() and not any(place.parent.iterdir()):
            place.parent.rmdir()
    if COMMAND.is_symlink() and COMMAND.readlink().is_relative_to(PROGRAM):
        COMMAND.unlink()
    PROGRAM.unlink(missing_ok=True)
    for program in HOME.glob("hub-*"):
        shutil.rmtree(program, ignore_errors=True)
    if HOME.is_dir() and not any(HOME.iterdir()):
        HOME.rmdir()
    run("systemctl", "daemon-reload")
    sys.stdout.write(REMOVED.format(directory=directory))
