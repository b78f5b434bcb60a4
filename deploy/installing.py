"""Install or remove the docking station's agent, or the hub (`hubinstalling`), as a systemd service on this machine.

Program: /opt/custodock, root's, read-only for the service. Settings, key, database, vault: --dir, the service's user's.
Run it again after an update of this checkout, or after moving the vault in agent.toml: it changes what differs.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from deploy import hubinstalling
from deploy.environment import HOME, ROOT, build_program, forget_old
from deploy.places import OWN_DISKS, checked_place, make_places, own_disks, place_text, smart_place_text
from deploy.recorders import RECORDERS, checked_recorder, opens_recorders, recorder_rules
from deploy.system import InstallError, point, run, write

CURRENT = HOME / "current"
COMMANDS = Path("/usr/local/bin")
UNIT, SMART, SMART_TIMER = "custodock-agent.service", "custodock-smart.service", "custodock-smart.timer"
DIRECTORY = Path("/var/lib/custodock")
UNITS = Path("/etc/systemd/system")
PLACE, SMART_PLACE = UNITS / f"{UNIT}.d/place.conf", UNITS / f"{SMART}.d/place.conf"
FILES = {  # in systemd/ of this checkout: where it goes
    UNIT: UNITS / UNIT,
    SMART: UNITS / SMART,
    SMART_TIMER: UNITS / SMART_TIMER,
    "custodock.sysusers": Path("/etc/sysusers.d/custodock.conf"),
    "custodock.tmpfiles": Path("/etc/tmpfiles.d/custodock.conf"),
    "60-custodock-cameras.rules": Path("/etc/udev/rules.d/60-custodock-cameras.rules"),
    "99-custodock.rules": Path("/etc/udev/rules.d/99-custodock.rules"),
}
NEXT = """\
已安装。本站设置、密钥与录像位于 / Installed. Settings, key and footage of this station lie in {directory}
  状态 / status     runuser -u custodock -- dock-agent status --dir {directory}
  检查 / check      runuser -u custodock -- dock-agent doctor --dir {directory}
  登记 / enrol      runuser -u custodock -- dock-agent enrol --dir {directory} --help
  日志 / log        journalctl -u custodock-agent
"""
REMOVED = """\
程序、服务与规则已移除。录像、密钥和数据库未动 / Program, service and rules are removed. Footage, key and database
were not touched. 位于 / They lie in {directory}
用户 custodock 保留，因为这些文件属于它 / The user custodock stays: it owns these files.
"""


_VAULT_HELP = "录像目录，仅首次安装时有效 / where footage goes (DIR/vault); once agent.toml is there, it decides"
_WHEELS_HELP = (
    "离线安装包目录 / take the packages from this folder, no network (CUSTODOCK_WHEELS); made elsewhere with: "
    "pip download --no-deps --require-hashes --only-binary :all: -r deploy/agent.lock -d DIR"
)
_OWN_HELP = "本站自用的 USB 磁盘，保持可写 / a USB disk of the station itself, which stays writable; may be repeated"
_RECORDER_HELP = (
    "须先发命令才成为磁盘的记录仪，如 1b3f:8301 / USB id of a recorder that its profile's driver may send commands to "
    "(agent/profiles/README.md); may be repeated"
)


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 done, 1 not done, 2 wrong use."""
    args = _parser().parse_args(argv)
    os.umask(0o022)
    try:
        check_machine()
        if args.what == "hub":
            refuse_options(args)
            if args.uninstall:
                hubinstalling.uninstall()
            else:
                hubinstalling.install(args.dir, args.wheels, start=not args.no_start)
        elif args.uninstall:
            uninstall()
        else:
            install(args.dir, args.vault, args.wheels, args.own_disk, args.recorder, start=not args.no_start)
    except InstallError as error:
        sys.stderr.write(error.words)
        return 1
    return 0


def check_machine() -> None:
    """Raises InstallError where there is nothing to install on."""
    if os.geteuid() != 0:
        raise InstallError("This needs root. Nothing was changed.", "需要 root 权限。未作任何改动。")
    if not Path("/run/systemd/system").is_dir():
        raise InstallError("systemd does not run this machine. Nothing was changed.", "本机未运行 systemd。未作改动。")


def refuse_options(args: argparse.Namespace) -> None:
    """Raises InstallError for options that only a station has."""
    given = [
        name
        for name, value in (("--vault", args.vault), ("--own-disk", args.own_disk), ("--recorder", args.recorder))
        if value
    ]
    if given:
        raise InstallError(f"{given[0]} is for a station. Nothing was changed.", f"{given[0]} 仅用于采集站。未作改动。")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/install",
        description="Install a docking station's agent, or the hub, as a systemd service. "
        "将采集站或中心安装为系统服务。"
        "可重复运行：只改动有差异之处，只在那时重启服务，从不触碰录像。"
        "Safe to repeat: it changes what differs, restarts the service only then, and never touches footage.",
        epilog="例 / example: sudo deploy/install agent --vault /srv/vault. Then, as root: systemctl status "
        "custodock-agent. 退出码 / exit codes: 0 完成 / done, 1 未完成，已说明原因 / not done, it says why, "
        "2 用法错误 / wrong use.",
    )
    option = parser.add_argument
    option("what", choices=["agent", "hub"], help="采集站或中心 / a station or the hub")
    option(
        "--dir", type=checked_place, metavar="DIR", help=f"设置、密钥与数据库 / settings, key, database ({DIRECTORY})"
    )
    option("--vault", type=checked_place, metavar="DIR", help=_VAULT_HELP)
    option("--wheels", type=Path, default=os.environ.get("CUSTODOCK_WHEELS"), metavar="DIR", help=_WHEELS_HELP)
    option("--own-disk", action="append", default=[], metavar="DEV", help=_OWN_HELP)
    option("--recorder", action="append", default=[], type=checked_recorder, metavar="ID", help=_RECORDER_HELP)
    option("--no-start", action="store_true", help="不启动服务 / neither start nor restart the service")
    option("--uninstall", action="store_true", help="卸载，保留录像 / remove all but footage, key, database, settings")
    return parser


def install(
    directory: Path | None,
    vault: Path | None,
    wheels: Path | None,
    own: Sequence[str],
    recorders: Sequence[str],
    *,
    start: bool,
) -> None:
    """Everything in order: program, user, directories, disks that are ours, rules, service. Raises InstallError."""
    directory = directory or installed_directory()
    program = build_program(wheels)
    changed = place_files("sysusers", "tmpfiles")
    run("systemd-sysusers", str(FILES["custodock.sysusers"]))
    vault = make_places(directory, vault)
    # udev reads new rules by itself: our own disks must be excepted before the rule that protects cards is there
    write(OWN_DISKS, own_disks([directory, vault], own))
    write(RECORDERS, recorder_rules(RECORDERS.read_text("utf-8") if RECORDERS.exists() else "", recorders))
    changed |= place_files("rules", "service", "timer")
    run("udevadm", "control", "--reload")
    # cards that are docked already
    run("udevadm", "trigger", "--settle", "--action=change", "--subsystem-match=block", "--property-match=ID_BUS=usb")
    run("udevadm", "trigger", "--settle", "--action=change", "--subsystem-match=usb")
    for subsystem in ("tty", "leds"):
        run("udevadm", "trigger", "--settle", "--action=change", f"--subsystem-match={subsystem}")
    changed["place"] = write(PLACE, place_text(directory, vault, recorders=opens_recorders(RECORDERS)))
    write(SMART_PLACE, smart_place_text(vault))
    switched = point(CURRENT, program)
    for name in ("dock-agent", "custody"):
        point(COMMANDS / name, CURRENT / "bin" / name)
    run("systemctl", "daemon-reload")
    run("systemctl", "--quiet", "enable", UNIT, SMART_TIMER)
    idle = subprocess.run(["systemctl", "--quiet", "is-active", UNIT], check=False).returncode != 0
    if start and (idle or switched or changed[UNIT] or changed["place"]):
        restart()
    if start:
        run("systemctl", "start", SMART_TIMER)
    if start or idle:  # otherwise an earlier version still runs
        forget_old(program)
    sys.stdout.write(NEXT.format(directory=directory))


def place_files(*kinds: str) -> dict[str, bool]:
    """Put the files of these kinds where they belong; which of them are new."""
    chosen = {name: target for name, target in FILES.items() if name.rsplit(".", 1)[1] in kinds}
    return {name: write(target, (ROOT / "systemd" / name).read_text("utf-8")) for name, target in chosen.items()}


def installed_directory() -> Path:
    """The state directory of the installed service, else the default."""
    found = re.search(r"^Environment=CUSTODOCK_DIR=(.+)$", PLACE.read_text("utf-8") if PLACE.exists() else "", re.M)
    return Path(found[1]) if found else DIRECTORY


def restart() -> None:
    """Start the service anew; returns when the agent says it is ready. Raises InstallError with its last words."""
    if subprocess.run(["systemctl", "restart", UNIT], check=False).returncode != 0:
        words = subprocess.run(
            ["journalctl", "--unit", UNIT, "--lines", "20", "--no-pager", "--output", "cat"],
            capture_output=True, text=True, check=False,
        ).stdout  # fmt: skip
        raise InstallError(
            f"The service does not start. Footage is safe. Its last words:\n{words}",
            "服务未能启动，录像安全。其最后的输出见下。",
        )


def uninstall() -> None:
    """Remove service, rules and program. Footage, key, database, settings and user stay."""
    directory = installed_directory()
    if FILES[UNIT].exists():
        run("systemctl", "--quiet", "disable", "--now", UNIT)
    if FILES[SMART_TIMER].exists():  # an earlier version had none
        run("systemctl", "--quiet", "disable", "--now", SMART_TIMER)
        shutil.rmtree("/run/custodock-smart", ignore_errors=True)
    for path in (*FILES.values(), PLACE, SMART_PLACE, OWN_DISKS, RECORDERS):
        path.unlink(missing_ok=True)
    for place in (PLACE, SMART_PLACE):
        if place.parent.is_dir() and not any(place.parent.iterdir()):
            place.parent.rmdir()
    for name in ("dock-agent", "custody"):
        link = COMMANDS / name
        if link.is_symlink() and link.readlink().is_relative_to(CURRENT):
            link.unlink()
    CURRENT.unlink(missing_ok=True)
    for program in HOME.glob("agent-*"):
        shutil.rmtree(program, ignore_errors=True)
    if HOME.is_dir() and not any(HOME.iterdir()):  # the hub may be here too
        HOME.rmdir()
    run("systemctl", "daemon-reload")
    run("udevadm", "control", "--reload")
    sys.stdout.write(REMOVED.format(directory=directory))


if __name__ == "__main__":
    sys.exit(main())
