"""What deploy/try runs: set up a hub and a station once, start broker, hub and agent, show what happens, stop cleanly.

All lies in one directory (`.try` by default): `hub/`, `station/`, `vault/`, `cards/` (bay 1), `footage/` (bay 2),
`log/`, `sign-in.txt`. The three programs are children of this process and end with it, however it ends.
"""

import argparse
import contextlib
import fcntl
import json
import lzma
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deploy.programs import ROOT, Programs, TrialError, answer, free_port, is_ready, listens, tool, wait_for
from deploy.showing import banner, changes, progress_lines, summary, sums_compared

SAMPLE = ROOT / "deploy" / "sample"
SAMPLE_CAMERA = "A012345"
USER = "admin"
ONCE_SECONDS = 300
POLL_SECONDS = 2.0
MARKER = "made-by-deploy-try"
READY = "ready.json"
AGENT_SETTINGS = """\
vault = "../vault"
kiosk_port = {kiosk_port}

[[bay]]  # a card image NAME.img that appears here is docked as the memory card of camera NAME
name = "1"
cards = "../cards"

[[bay]]  # footage that appears here is docked as that of the camera "phone"
name = "2"
folder = "../footage"
camera = "phone"
"""


@dataclass(frozen=True)
class Place:
    """The directory of one trial and what lies in it."""

    root: Path

    @property
    def hub(self) -> Path:
        return self.root / "hub"

    @property
    def station(self) -> Path:
        return self.root / "station"

    @property
    def vault(self) -> Path:
        return self.root / "vault"

    @property
    def cards(self) -> Path:
        return self.root / "cards"

    @property
    def footage(self) -> Path:
        return self.root / "footage"

    @property
    def logs(self) -> Path:
        return self.root / "log"


@contextlib.contextmanager
def claimed(place: Place) -> Iterator[None]:
    """Hold the trial's directory for this process. Raises TrialError when it is not ours or a trial runs in it."""
    marker = place.root / MARKER
    if place.root.exists() and not marker.exists() and any(place.root.iterdir()):
        raise TrialError(f"{place.root} holds other things; choose an empty or new directory with --dir.")
    place.root.mkdir(parents=True, exist_ok=True)
    with marker.open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise TrialError(
                f"A trial already runs in {place.root}. Stop it there with Ctrl-C, or use --dir."
            ) from None
        yield


def clear(place: Place) -> None:
    """Empty the trial's directory, except for the marker whose lock we hold."""
    for entry in place.root.iterdir():
        if entry.is_dir():
            shutil.rmtree(entry)
        elif entry.name != MARKER:
            entry.unlink()


def confirm_fresh(place: Place) -> None:
    """Ask before a trial's footage and log are deleted. Raises TrialError unless the answer is yes."""
    if not (place.root / READY).exists():
        return
    print(
        f"{place.root}: delete this trial with its footage, log and keys? 删除此试用数据？ [yes/no] ",
        end="",
        flush=True,
    )
    if sys.stdin.readline().strip().lower() not in ("yes", "y"):
        raise TrialError("Nothing was deleted.")


def set_up(place: Place) -> None:
    """Make hub, first administrator and enrolled station. `ready.json` is written last: without it we begin again."""
    if (place.root / READY).exists():
        return
    clear(place)
    for directory in (place.hub, place.station, place.vault, place.cards, place.footage, place.logs):
        directory.mkdir(mode=0o700)
    print("Setting up hub and station / 正在建立中心和采集站", flush=True)
    broker_port, kiosk_port = free_port(1883), free_port(8766)
    hub_keys = answer(tool("dock-hub", "init", "--dir", place.hub, "--json"))
    password = answer(tool("dock-hub", "user", "add", USER, "--admin", "--dir", place.hub, "--json"))["password"]
    (place.station / "agent.toml").write_text(AGENT_SETTINGS.format(kiosk_port=kiosk_port), encoding="utf-8")
    keys = ["--hub-receipt-key", hub_keys["receipt_key"], "--hub-log-key", hub_keys["log_key"]]
    keys += ["--hub-command-key", hub_keys["command_key"]]
    link = ["--mqtt", f"mqtt://127.0.0.1:{broker_port}", "--json"]
    station = answer(tool("dock-agent", "enrol", "--dir", place.station, *keys, *link))
    answer(tool("dock-hub", "station", "add", station["key"], "--dir", place.hub, "--json"))
    sign_in = place.root / "sign-in.txt"
    sign_in.touch(mode=0o600)
    sign_in.write_text(f"{USER}\n{password}\n", encoding="utf-8")
    facts = {"broker_port": broker_port, "kiosk_port": kiosk_port, "station_key": station["key"]}
    (place.root / READY).write_text(json.dumps(facts), encoding="utf-8")


def kept(place: Place, name: str) -> Any:
    """What the set-up wrote down: `broker_port`, `kiosk_port`, `station_key`; None for what an older one did not."""
    return json.loads((place.root / READY).read_text(encoding="utf-8")).get(name)


def start_all(place: Place, programs: Programs, port: int) -> str:
    """Start broker, hub, agent, each when the one before answers. Returns the hub's address. Raises TrialError."""
    broker_port = kept(place, "broker_port")
    if listens(broker_port):
        raise TrialError(
            f"Port {broker_port}, where this trial's station looks for its broker, is taken. Free it, or use --dir."
        )
    link = f"mqtt://127.0.0.1:{broker_port}"
    url = f"http://127.0.0.1:{port}"
    programs.start("broker", tool("dock-hub", "broker", "--port", str(broker_port), "--dir", place.hub))
    wait_for("The broker", programs, lambda: listens(broker_port))
    programs.start("hub", tool("dock-hub", "run", "--dir", place.hub, "--port", str(port), "--mqtt", link))
    wait_for("The hub", programs, lambda: is_ready(url))
    programs.start("agent", tool("dock-agent", "run", "--dir", place.station))
    return url


def dock_sample(place: Place) -> None:
    """Put the sample card into bay 1: unpacked beside, then renamed, so that the station never sees half a card."""
    card = place.cards / f"{SAMPLE_CAMERA}.img"
    if card.exists():
        return
    half = place.root / "sample-card.part"
    with lzma.open(SAMPLE / "card.img.xz") as packed, half.open("wb") as file:
        while block := packed.read(64 * 1024):
            if any(block):
                file.write(block)
            else:
                file.seek(len(block), os.SEEK_CUR)  # zeros stay a hole: 64 MiB take 2 MiB of disk
        file.truncate()
    half.rename(card)


def status_of(place: Place) -> Any:
    return answer(tool("dock-agent", "status", "--dir", place.station, "--json"))


def watch(place: Place, programs: Programs, once: bool) -> None:
    """Show each copy until Ctrl-C; with `once` until the sample's docking is closed and every event has its receipt."""
    deadline = time.monotonic() + ONCE_SECONDS
    shown: list[str] = []
    while True:
        programs.check()
        lines = progress_lines(status := status_of(place))
        for line in changes(shown, lines):
            print(line, flush=True)
        shown = lines
        docked = [docking for docking in status["dockings"] if docking["camera"] == SAMPLE_CAMERA]
        # an agent that was started anew docks the card again, and an earlier docking's end says nothing of this one's
        at_rest = any(
            bay["camera"] == SAMPLE_CAMERA and bay["state"] in ("safe", "attention") for bay in status["bays"]
        )
        closed = bool(docked) and all(docking["closed"] for docking in docked)
        if once and at_rest and closed and status["outbox"]["unreceipted"] == 0:
            conclude(place, docked[0])
            return
        if once and time.monotonic() > deadline:
            raise TrialError(f"Not every event had its receipt within {ONCE_SECONDS} s; see {place.root / 'log'}.")
        time.sleep(POLL_SECONDS)


def conclude(place: Place, docking: dict[str, Any]) -> None:
    """Check the docked sample in two ways and print the summary. Raises TrialError when either finds a fault.

    All dockings of the sample count together: one that met only what was saved before holds no files of its own.
    """
    folder = place.vault / SAMPLE_CAMERA
    found = "".join(sums.read_text(encoding="utf-8") for sums in folder.glob("*/*/*/*/SHA256SUMS"))
    agreeing, missing = sums_compared((SAMPLE / "card.sha256").read_text(encoding="utf-8"), found)
    verify = tool("custody", "verify", place.vault, "--key", kept(place, "station_key"))
    verified = subprocess.run(verify, cwd=ROOT, capture_output=True, text=True, check=False)
    words = "已验证 / verified" if verified.returncode == 0 else f"{verified.stdout}{verified.stderr}"
    verdict = f"{verified.returncode}: {words}"
    print(summary(docking, str(folder), agreeing, missing, verdict), flush=True)
    if missing or verified.returncode != 0:
        raise TrialError("The docked sample is not what it should be: see above.")


def trial(arguments: argparse.Namespace) -> None:
    """The whole life of one trial. Raises TrialError; KeyboardInterrupt is the ordinary end."""
    place = Place(arguments.dir.resolve())
    with claimed(place):
        if arguments.fresh:
            confirm_fresh(place)
            clear(place)
        set_up(place)
        programs = Programs(place.logs)
        try:
            url = start_all(place, programs, arguments.port or free_port(8765))
            user, password = (place.root / "sign-in.txt").read_text(encoding="utf-8").split()
            screen = f"http://127.0.0.1:{kept(place, 'kiosk_port')}" if kept(place, "kiosk_port") else "-"
            inputs = {
                "采集站屏幕 / dock's screen": screen,
                "存储卡镜像 / cards": str(place.cards),
                "录像文件夹 / footage": str(place.footage),
            }
            print(banner(url, user, password, {**inputs, "存证库 / vault": str(place.vault)}), flush=True)
            if arguments.sample:
                dock_sample(place)
            watch(place, programs, arguments.once)
        finally:
            programs.stop()


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="deploy/try",
        description="在本机启动中心和采集站，只能从本机访问。首次启动会安装软件包，生成密钥和第一个账号；以后沿用同样的数据。\n\n"
        "Start a hub and a docking station on this machine, reachable from this machine only. The first\n"
        "start installs the packages and makes keys and a first user; later starts go on with the same data.",
        epilog="examples:\n"
        "  deploy/try --sample                                 # then open the printed address\n"
        "  deploy/try --sample --once                          # dock the sample, check it in two ways, end\n"
        "  ssh -L 8765:127.0.0.1:8765 THIS-MACHINE             # to see it from another computer\n\n"
        "exit codes: 0 ended as asked, 1 something failed, 2 wrong use",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--sample", action="store_true", help="dock a sample card: 8 files, one of them cut off, one deleted"
    )
    parser.add_argument(
        "--once", action="store_true", help="with --sample: end when everything is docked and receipted"
    )
    parser.add_argument("--port", type=int, help="the hub's port (default 8765, or a free one when that is taken)")
    parser.add_argument("--dir", type=Path, default=ROOT / ".try", help="where everything is kept (default .try)")
    parser.add_argument("--fresh", action="store_true", help="begin anew: asks, then deletes what the last trial kept")
    arguments = parser.parse_args()
    if arguments.once and not arguments.sample:
        parser.error("--once needs --sample")
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # a service manager's stop is a Ctrl-C
    try:
        trial(arguments)
    except TrialError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\n已停止 / stopped", flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
