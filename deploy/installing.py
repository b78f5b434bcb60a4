"""Install or remove the docking station's agent as a systemd service on this machine.

Program: /opt/custodock, root's, read-only for the service. Settings, key, database, vault: --dir, the service's user's.
Run it again after an update of this checkout, or after moving the vault in agent.toml: it changes what differs.
"""

from __future__ import annotations

import argparse
import grp
import hashlib
import json
import os
import pwd
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from collections.abc import Sequence
from pathlib import Path

from deploy.ownership import own_rule, usb_disks

ROOT = Path(__file__).resolve().parents[1]
LOCK = ROOT / "deploy" / "agent.lock"
HOME = Path("/opt/custodock")
CURRENT = HOME / "current"
COMMANDS = Path("/usr/local/bin")
PYTHON = Path("/usr/bin/python3")
USER = "custodock"
UNIT = "custodock-agent.service"
DIRECTORY = Path("/var/lib/custodock")
PLACE = Path(f"/etc/systemd/system/{UNIT}.d/place.conf")
OWN_DISKS = Path("/etc/udev/rules.d/90-custodock-own.rules")
FILES = {  # in systemd/ of this checkout: where it goes
    UNIT: Path("/etc/systemd/system") / UNIT,
    "custodock.sysusers": Path("/etc/sysusers.d/custodock.conf"),
    "custodock.tmpfiles": Path("/etc/tmpfiles.d/custodock.conf"),
    "60-custodock-cameras.rules": Path("/etc/udev/rules.d/60-custodock-cameras.rules"),
    "99-custodock.rules": Path("/etc/udev/rules.d/99-custodock.rules"),
}
SETTINGS = """\
# 本采集站的设置；改后运行 / Settings of this station; after a change: systemctl restart custodock-agent
# 存证库目录；移动后再次运行 deploy/install agent / where footage goes; after moving it run deploy/install agent again
vault = "{vault}"
"""
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


class InstallError(Exception):
    """What stops the installation, for people: what happened, what is safe, what to do."""

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.words = f"{zh}\n{en}\n"


def main(argv: Sequence[str] | None = None) -> int:
    """Entry point; 0 done, 1 not done, 2 wrong use."""
    args = _parser().parse_args(argv)
    os.umask(0o022)
    try:
        check_machine()
        if args.uninstall:
            uninstall()
        else:
            install(args.dir, args.vault, args.wheels, args.own_disk, start=not args.no_start)
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


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="deploy/install",
        description="Install the docking station's agent as a systemd service. 将采集站程序安装为系统服务。"
        "Safe to repeat: it changes what differs, restarts the service only then, and never touches footage.",
    )
    option = parser.add_argument
    option("what", choices=["agent"], help="安装内容 / what to install")
    option(
        "--dir", type=checked_place, metavar="DIR", help=f"设置、密钥与数据库 / settings, key, database ({DIRECTORY})"
    )
    option("--vault", type=checked_place, metavar="DIR", help=_VAULT_HELP)
    option("--wheels", type=Path, default=os.environ.get("CUSTODOCK_WHEELS"), metavar="DIR", help=_WHEELS_HELP)
    option("--own-disk", action="append", default=[], metavar="DEV", help=_OWN_HELP)
    option("--no-start", action="store_true", help="不启动服务 / neither start nor restart the service")
    option("--uninstall", action="store_true", help="卸载，保留录像 / remove all but footage, key, database, settings")
    return parser


def checked_place(text: str) -> Path:
    """A path that the service can use and a unit can hold. Raises ArgumentTypeError."""
    path = Path(text)
    # it goes into a unit and a TOML file as it is
    if not re.fullmatch(r"/[\w/.+-]*\w", text) or ".." in path.parts or text.startswith("//"):
        raise argparse.ArgumentTypeError(f"an absolute path of letters, digits and . _ + - is needed: {text}")
    if path.parts[1] in ("home", "root", "tmp"):
        raise argparse.ArgumentTypeError(f"/home, /root and /tmp are hidden from the service: {text}")
    return path


def install(
    directory: Path | None, vault: Path | None, wheels: Path | None, own: Sequence[str], *, start: bool
) -> None:
    """Everything in order: program, user, directories, disks that are ours, rules, service. Raises InstallError."""
    directory = directory or installed_directory()
    program = build_program(wheels)
    changed = {name: write(target, (ROOT / "systemd" / name).read_text("utf-8")) for name, target in FILES.items()}
    run("systemd-sysusers", str(FILES["custodock.sysusers"]))
    vault = make_places(directory, vault)
    write(OWN_DISKS, own_disks([directory, vault], own))
    run("udevadm", "control", "--reload")
    # cards that are docked already; only now that every disk of our own is excepted
    run("udevadm", "trigger", "--settle", "--action=change", "--subsystem-match=block", "--property-match=ID_BUS=usb")
    run("udevadm", "trigger", "--settle", "--action=change", "--subsystem-match=usb")
    changed["place"] = write(PLACE, place_text(directory, vault))
    switched = point(CURRENT, program)
    for name in ("dock-agent", "custody"):
        point(COMMANDS / name, CURRENT / "bin" / name)
    run("systemctl", "daemon-reload")
    run("systemctl", "--quiet", "enable", UNIT)
    idle = subprocess.run(["systemctl", "--quiet", "is-active", UNIT], check=False).returncode != 0
    if start and (idle or switched or changed[UNIT] or changed["place"]):
        restart()
    forget_old(program)
    sys.stdout.write(NEXT.format(directory=directory))


def installed_directory() -> Path:
    """The state directory of the installed service, else the default."""
    found = re.search(r"^Environment=CUSTODOCK_DIR=(.+)$", PLACE.read_text("utf-8") if PLACE.exists() else "", re.M)
    return Path(found[1]) if found else DIRECTORY


def build_program(wheels: Path | None) -> Path:
    """A finished environment for exactly this checkout and lock, built beside the one in use. Raises InstallError."""
    version = json.loads(run(str(PYTHON), "-c", "import json, sys; print(json.dumps([*sys.version_info[:3]]))"))
    if version < [3, 11]:
        raise InstallError(f"{PYTHON} is too old; 3.11 is needed.", f"{PYTHON} 版本过低，需要 3.11。")
    target = HOME / f"agent-{source_digest(version)[:16]}"
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
        run(*pip, *offline, "--require-hashes", "--only-binary", ":all:", "--no-deps", "--requirement", str(LOCK))
        with tempfile.TemporaryDirectory() as copy:  # pip leaves traces in what it builds from
            for name in ("agent", "custody", "hub"):
                shutil.copytree(ROOT / name, Path(copy) / name, ignore=shutil.ignore_patterns("__pycache__"))
            for name in ("pyproject.toml", "README.md", "LICENSE"):
                shutil.copy(ROOT / name, copy)
            run(*pip, "--no-index", "--no-deps", "--no-build-isolation", copy)
    except InstallError:
        shutil.rmtree(target, ignore_errors=True)
        raise
    done.touch()
    os.sync()
    return target


def source_digest(version: Sequence[int]) -> str:
    """SHA-256 over all that the program's environment depends on."""
    total = hashlib.sha256(repr([*version]).encode())
    files = [path for name in ("agent", "custody", "hub") for path in (ROOT / name).rglob("*") if path.is_file()]
    for path in sorted([*files, LOCK, ROOT / "pyproject.toml", Path(__file__)]):
        if "__pycache__" not in path.parts:
            total.update(repr((str(path.relative_to(ROOT)), hashlib.sha256(path.read_bytes()).hexdigest())).encode())
    return total.hexdigest()


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


def make_directory(path: Path) -> None:
    """The directory, given to the service's user. Raises InstallError for one with content of another user."""
    owner = pwd.getpwnam(USER)
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
                f"give it to the user {USER} if it is this station's.",
                f"{path} 属于其他用户且非空，未作改动。请另选目录；如确属本站，请将其归属改为用户 {USER}。",
            )
        os.fchown(folder, owner.pw_uid, owner.pw_gid)
        os.fchmod(folder, 0o750)
    finally:
        os.close(folder)


def own_disks(used: Sequence[Path], named: Sequence[str]) -> str:
    """The rules that keep the station's own USB disks writable. Raises InstallError when one cannot be told."""
    lines = ["# Written by deploy/install: USB disks of the station itself stay writable.\n"]
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
        lines.append(rule)
        sys.stdout.write(f"本站自用磁盘，保持可写 / the station's own disk, stays writable: {disk.path}\n")
    return "".join(lines)


def place_text(directory: Path, vault: Path) -> str:
    """The drop-in that tells the unit where this station's things are."""
    both = f"{directory} {vault}"
    return (
        "# Written by deploy/install from --dir and agent.toml.\n"
        f"[Unit]\nRequiresMountsFor={both}\n\n"
        f"[Service]\nEnvironment=CUSTODOCK_DIR={directory}\nReadWritePaths={both}\n"
    )


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


def forget_old(program: Path) -> None:
    """Remove earlier versions of the program."""
    for old in HOME.glob("agent-*"):
        if old != program:
            shutil.rmtree(old)


def uninstall() -> None:
    """Remove service, rules and program. Footage, key, database, settings and user stay."""
    directory = installed_directory()
    if FILES[UNIT].exists():
        run("systemctl", "--quiet", "disable", "--now", UNIT)
    for path in (*FILES.values(), PLACE, OWN_DISKS):
        path.unlink(missing_ok=True)
    if PLACE.parent.is_dir() and not any(PLACE.parent.iterdir()):
        PLACE.parent.rmdir()
    for name in ("dock-agent", "custody"):
        link = COMMANDS / name
        if link.is_symlink() and link.readlink().is_relative_to(HOME):
            link.unlink()
    shutil.rmtree(HOME, ignore_errors=True)
    run("systemctl", "daemon-reload")
    run("udevadm", "control", "--reload")
    sys.stdout.write(REMOVED.format(directory=directory))


def run(*argv: str) -> str:
    """Run a program, its output. Raises InstallError with its last words."""
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        said = (done.stderr or done.stdout).strip()[-2000:]
        raise InstallError(
            f"{argv[0]} ended with {done.returncode}; footage was not touched. Run deploy/install again when the cause "
            f"is gone:\n{said}",
            f"{argv[0]} 失败（{done.returncode}），录像未受影响。排除原因后请重新运行 deploy/install。",
        )
    return done.stdout


if __name__ == "__main__":
    sys.exit(main())
