"""What `dock-agent bays|officer|camera` do. The database may be used while the agent runs: SQLite keeps them apart."""

from __future__ import annotations

import asyncio
import dataclasses
import getpass
import json
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal

from agent.devices import DeviceWatch, scan_now
from agent.keyrotation import rotate_key
from agent.officers import disable_officer, officers, set_officer
from agent.opening import open_dock
from agent.recognise import accept, known_cameras, readmit, set_aside
from agent.secretlane import SecretOrder, keep_secret
from agent.settings import check_camera, invalid, load_settings
from agent.source import SourcePlace
from agent.station import load_or_create_station
from agent.store import Store
from agent.usbports import Attached, classify
from agent.witness import clear, contradictions, load_memory, load_or_create_witness_key
from custody.inert import inert_json, inert_lines
from custody.secret import FOLDER

Change = Literal["accept", "set_aside", "readmit"]


def show_bays(directory: Path | None, *, once: bool, as_json: bool) -> int:
    """Print what is plugged in, once or until interrupted."""
    bays = {port: bay.name for bay in load_settings(directory).bays for port in bay.ports} if directory else {}
    if as_json or once:
        found = [_port_json(device, bays) for device in scan_now()]
        print(inert_json(found) if as_json else inert_lines(map(_port_line, found)) or NOTHING)
        return 0
    print("请逐个插入记录仪；Ctrl-C 结束 / plug one camera after the other; Ctrl-C ends", flush=True)

    def show(devices: tuple[Attached, ...]) -> None:
        print(f"--- {datetime.now():%H:%M:%S}", flush=True)  # noqa: DTZ005 - for the person at the dock
        print("\n".join(_port_line(_port_json(device, bays)) for device in devices) or NOTHING, flush=True)

    try:
        asyncio.run(DeviceWatch(show).run())
    except KeyboardInterrupt:
        print()
    return 0


def officer(directory: Path, number: str | None, name: str | None, *, disable: bool, as_json: bool) -> int:
    """List, set or disable officers."""
    with _store(directory) as store:
        if number is None:
            if name or disable:
                raise invalid("which officer? Give the number first", "请先给出工号")
            known = officers(store)
            if as_json:
                print(inert_json([dataclasses.asdict(one) for one in known]))
            else:
                lines = [
                    f"{one.number}\t{one.name}{'  （已停用 / disabled）' if one.disabled else ''}" for one in known
                ]
                print("\n".join(lines) or "尚未登记人员 / nobody yet: dock-agent officer NUMBER --name NAME --dir DIR")
            return 0
        if disable == bool(name):
            raise invalid("either --name NAME or --disable", "请使用 --name 姓名 或 --disable 之一")
        with store.begin():
            if name:
                set_officer(store, number, name, _ask_pin())
            elif not disable_officer(store, number, datetime.now(UTC)):
                raise invalid(f"there is no officer {number}", f"没有工号 {number}")
    print(json.dumps({"number": number, "disabled": disable}) if as_json else f"{number}: 完成 / done")
    return 0


def list_cameras(directory: Path, name: str | None, *, as_json: bool) -> int:
    """Print every camera, or the one of this name."""
    with _store(directory) as store:
        known = [one for one in known_cameras(store) if name in (None, one["camera"])]
    print(inert_json(known) if as_json else inert_lines(map(_camera_line, known)) or NO_CAMERA)
    return 0


def witness(directory: Path, reason: str | None, *, anew: bool, as_json: bool) -> int:
    """Show what is known of the hub's log, or settle its contradictions."""
    settings = load_settings(directory)
    if settings.link is None:
        raise invalid("this station is not enrolled: it knows no log", "本采集站尚未登记，没有可见证的日志")
    if anew and not reason:
        raise invalid("--anew goes with --clear REASON", "--anew 须与 --clear 原因 一起使用")
    station, origin = load_or_create_station(directory), settings.link.log_key.name
    with _store(directory) as store:
        if reason:
            settled = clear(store, station, origin, reason, anew=anew, now=datetime.now(UTC))
            print(json.dumps({"settled": settled, "anew": anew}) if as_json else f"完成 / done: {settled}")
            return 0
        memory, found = load_memory(store, origin), contradictions(store)
    key = load_or_create_witness_key(directory, station).public.line
    known = {"log": origin, "witness_key": key, "stopped": memory.stopped, "cosigned_size": memory.size}
    if as_json:
        notes = {"cosigned": memory.cosigned, "pending": memory.pending, "newest": memory.newest}
        print(json.dumps(known | notes | {"contradictions": [dataclasses.asdict(one) for one in found]}))
        return 0
    print(f"日志 / log {origin}\n见证公钥行 / witness key line {key}")
    print(f"已见证 / cosigned: {memory.size}" + (f"\n已停止 / stopped: {memory.stopped}" if memory.stopped else ""))
    for one in found:
        state = f"已处理 / settled {one.settled_at} ({one.settled_by})" if one.settled_at else "未处理 / not settled"
        print(f"\n#{one.n} {one.code} {one.found_at} {state}\n{one.kept}---\n{one.refused}")
    return 0


def replace_key(directory: Path, *, as_json: bool) -> int:
    """Rotate the station's key, and print its new key line. Raises RotationRefused and what `open_dock` raises."""
    settings = load_settings(directory)
    if settings.link is None:
        raise invalid("this station is not enrolled: its key is known to nobody", "本采集站尚未登记，其公钥无人知晓")
    with open_dock(settings.vault, directory) as found:
        store, station = found.dock.store, found.station
        line = asyncio.run(store.call(rotate_key, directory, station)).key.verify_key.line
    print(json.dumps({"station": station.id, "key": line}) if as_json else line)
    return 0


def secret(directory: Path, source: SourcePlace, camera_name: str, *, as_json: bool) -> int:
    """Keep a source for the custodian. Raises what `keep_secret` and `open_dock` raise."""
    settings = load_settings(directory)
    if not settings.secret_recipients:
        raise invalid("no secret_recipients: nobody could read it", "未设置 secret_recipients：将无人能够读取")
    order = SecretOrder(source, check_camera(camera_name), "cli", settings.secret_recipients)
    with open_dock(settings.vault, directory) as found:
        result = asyncio.run(keep_secret(found.dock, order, lambda _progress: None))
    facts = dataclasses.asdict(result)
    whole = ("全部内容", "everything") if result.complete else ("有内容无法读取", "not everything could be read")
    print(
        json.dumps(facts)
        if as_json
        else f"已加密保存 {result.files} 个文件（{whole[0]}）/ {result.files} files kept encrypted ({whole[1]})\n"
        f"{settings.vault / FOLDER / result.secret_id}"
    )
    return 0 if result.complete else 1


def camera(directory: Path, name: str, change: Change, why: str, *, as_json: bool) -> int:
    """Settle a camera's identity, set it aside, or take that back."""
    if name == "" or (change == "set_aside" and not why.strip()):
        raise invalid("which camera, and why?", "请给出记录仪名称和原因")
    with _store(directory) as store, store.begin():
        match change:
            case "accept":
                done = accept(store, name)
            case "set_aside":
                done = set_aside(store, name, why, datetime.now(UTC))
            case "readmit":
                if not (done := readmit(store, name)):
                    raise invalid(f"{name} is not set aside", f"记录仪 {name} 未被停用")
        if not done:
            raise invalid(f"this dock has met no camera {name}", f"本采集站没有接入过记录仪 {name}")
    print(json.dumps({"camera": name, CHANGED[change]: True}) if as_json else f"{name}: 完成 / done")
    return 0


CHANGED = {"accept": "accepted", "set_aside": "set_aside", "readmit": "readmitted"}
NO_CAMERA = "尚未接入过记录仪 / no camera yet"
NOTHING = "没有插入任何 USB 设备 / nothing is plugged in"


def _camera_line(one: dict[str, Any]) -> str:
    disputed = "  身份存疑 / disputed" if one["disputed"] else ""
    aside = f"  已停用 / set aside: {one['set_aside']}" if one["set_aside"] else ""
    return f"{one['camera']}\t{one['last_seen_at'][:16]}{disputed}{aside}"


def _port_json(device: Attached, bays: dict[str, str]) -> dict[str, Any]:
    return {
        "port": device.port,
        "bay": bays.get(device.port),
        "kind": classify(device).value,
        "usb_id": device.usb_id,
        "serial": device.serial,
        "product": " ".join((device.manufacturer, device.product)).strip(),
        "disks": [disk.node for disk in device.disks if disk.size_bytes],
    }


def _port_line(port: dict[str, Any]) -> str:
    bay = f"仓位 / bay {port['bay']}" if port["bay"] else "未设置 / not set up"
    disks = " ".join(port["disks"])
    return (
        f"{port['port']}  {bay}  {port['kind']}  {port['usb_id']} {port['product']} {port['serial']} {disks}".rstrip()
    )


@contextmanager
def _store(directory: Path) -> Iterator[Store]:
    load_settings(directory)
    store = Store(directory / "station.db")
    try:
        with store.translated():
            yield store
    finally:
        store.close()


def _ask_pin() -> str:
    """Twice at a terminal; one line where standard input is none. Never from the command line, which others can see."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().strip()
    pin = getpass.getpass("PIN: ")
    if getpass.getpass("PIN（再次输入 / again）: ") != pin:
        raise invalid("the two PINs differ", "两次输入的 PIN 不一致")
    return pin
