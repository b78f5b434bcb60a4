"""The agent's settings: one frozen object from ``DIR/agent.toml``; unknown keys stop startup.

What enrolment wrote (hub keys, MQTT address) lies beside it in ``DIR/enrolment.json``: the one file is people's, the
other the program's.
"""

from __future__ import annotations

import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from agent.errors import SettingsInvalid
from agent.station import write_durably
from custody.checkpoint import VerifyKey, parse_key_line
from custody.errors import KeyInvalid

SETTLE_SECONDS = 2.0
BAY_NAME = re.compile(r"[A-Za-z0-9._-]{1,32}")
CAMERA_MAX = 64
RECIPIENT = re.compile(r"age1[02-9ac-hj-np-z]{58}")
VIEWING_HOST = re.compile(r"[A-Za-z0-9.:-]{1,100}")
PORT = re.compile(r"[A-Za-z0-9:._-]{1,80}-usb[0-9]-[0-9]+(\.[0-9]+)*")


@dataclass(frozen=True, slots=True)
class HubLink:
    """Where the hub is reached and which keys its answers must carry. TLS by ``mqtts://`` with the three files.

    Without `command_key` (enrolled by an earlier version) the station takes no commands.
    """

    url: str
    receipt_key: VerifyKey
    log_key: VerifyKey
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None
    command_key: VerifyKey | None = None

    def address(self) -> tuple[str, int, bool]:
        """Host, port and whether TLS. Raises SettingsInvalid."""
        try:
            parts = urlsplit(self.url)
            host, port = parts.hostname, parts.port
        except ValueError:  # a port above 65535, half an IPv6 address
            host = port = None
        if not host or parts.scheme not in ("mqtt", "mqtts"):
            raise SettingsInvalid(
                f"not an MQTT address: {self.url!r}; use mqtt://host:port or mqtts://host:port",
                f"MQTT 地址无效：{self.url!r}；应为 mqtt://主机:端口 或 mqtts://主机:端口",
            )
        secure = parts.scheme == "mqtts"
        return host, port or (8883 if secure else 1883), secure


@dataclass(frozen=True, slots=True)
class BaySettings:
    """A bay: USB `ports` as `dock-agent bays` prints them, or a `folder` watched for footage of one camera, or `cards`,
    a folder in which card images appear.

    Exactly one of the three is set. A card image's camera is its file name without ``.img``. The others belong to USB
    bays: `sensor` and `sensor_channel` name the bay's current sensor (hwmon device), `supply` a power supply of the
    kernel that stands for the camera's battery, `leds` its lights, `secret` that it is for footage under state secrecy.
    """

    name: str
    ports: tuple[str, ...] = ()
    folder: Path | None = None
    cards: Path | None = None
    camera: str | None = None
    sensor: str | None = None
    sensor_channel: int = 1
    supply: str | None = None
    leds: tuple[str, ...] = ()
    secret: bool = False  # what is plugged in here is under state secrecy (Art. 18)


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator may decide. `link` is None until the station is enrolled; `kiosk_port` 0: no screen;
    `viewing` "": no footage is served to the hub."""

    directory: Path
    vault: Path
    bays: tuple[BaySettings, ...] = ()
    settle_seconds: float = SETTLE_SECONDS
    kiosk_port: int = 0
    minimum_charge_percent: int = 80  # Art. 7; what "full battery" means
    minimum_hours: float = 2.0  # Art. 7; what "large space" means, in hours of recording
    duty_hours: float = 12.0  # a camera that was checked out is due back by then
    release: bool = False  # may authorised footage be cleared from cameras at all
    release_keep_days: int = 0  # how long it stays on them at least, after it was saved
    secret_recipients: tuple[str, ...] = ()  # age keys of who alone may read what secret bays keep
    disposition: bool = False  # may files leave the vault at all, on the authority of two people
    viewing: str = ""  # host:port under which the hub reaches this dock for footage (custody/spec/viewing.md)
    link: HubLink | None = None

    def viewing_address(self) -> tuple[str, int]:
        """Host and port of `viewing`. Raises SettingsInvalid."""
        host, _, port = self.viewing.rpartition(":")
        host = host.removeprefix("[").removesuffix("]")
        if not VIEWING_HOST.fullmatch(host) or not re.fullmatch("[0-9]{1,5}", port) or not 0 < int(port) < 65536:
            raise invalid('viewing is "host:port" of this dock', 'viewing 应为本站的 "地址:端口"')
        return host, int(port)


def load_settings(directory: Path) -> Settings:
    """Read DIR/agent.toml and DIR/enrolment.json. Raises SettingsInvalid with the key that is wrong."""
    path = directory / "agent.toml"
    try:
        body = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise invalid(f"{path.name} cannot be read: {error}", f"无法读取 {path.name}：{error}") from error
    numbers = {"settle_seconds", "kiosk_port", "minimum_charge_percent", "minimum_hours", "duty_hours",
               "release_keep_days"}  # fmt: skip
    _no_others(body, {"vault", "bay", "release", "disposition", "secret_recipients", "viewing"} | numbers, path.name)
    for switch in ("release", "disposition"):
        if type(body.get(switch, False)) is not bool:
            raise invalid(f"{switch} is true or false", f"{switch} 应为 true 或 false")
    vault = body.get("vault")
    if not isinstance(vault, str) or not vault:
        raise invalid('vault = "FOLDER" is missing', '缺少 vault = "目录"')
    bodies = body.get("bay", [])
    if not isinstance(bodies, list):
        raise invalid("[[bay]] expected", "应为 [[bay]]")
    bays = tuple(_bay(b, directory) for b in bodies)
    if len({b.name for b in bays}) != len(bays):
        raise invalid("two bays have one name", "有两个仓位同名")
    ports = [port for bay in bays for port in bay.ports]
    if len(set(ports)) != len(ports):
        raise invalid("two bays have one port", "有两个仓位使用同一端口")
    if not isinstance(viewing := body.get("viewing", ""), str):
        raise invalid('viewing is "host:port" of this dock', 'viewing 应为本站的 "地址:端口"')
    settings = Settings(
        directory, directory / vault, bays,
        settle_seconds=_number(body, "settle_seconds", 0, 3600, SETTLE_SECONDS),
        kiosk_port=int(_number(body, "kiosk_port", 0, 65535, 0)),
        minimum_charge_percent=int(_number(body, "minimum_charge_percent", 1, 100, 80)),
        minimum_hours=_number(body, "minimum_hours", 0.5, 24, 2),
        duty_hours=_number(body, "duty_hours", 1, 240, 12),
        release=body.get("release", False),
        release_keep_days=int(_number(body, "release_keep_days", 0, 3650, 0)),
        secret_recipients=_recipients(body.get("secret_recipients", []), any(bay.secret for bay in bays)),
        disposition=body.get("disposition", False),
        viewing=viewing,
        link=load_link(directory),
    )  # fmt: skip
    if settings.viewing:
        settings.viewing_address()
    return settings


def _recipients(value: Any, needed: bool) -> tuple[str, ...]:
    """Raises SettingsInvalid. What looks like a key and is none is found by the library, before anything is read."""
    if not isinstance(value, list) or not all(isinstance(key, str) and RECIPIENT.fullmatch(key) for key in value):
        raise invalid(
            'secret_recipients is a list of age keys such as ["age1…"]',
            'secret_recipients 应为 age 公钥列表，如 ["age1…"]',
        )
    if needed and not value:
        raise invalid("a secret bay needs secret_recipients", "涉密仓位需要设置 secret_recipients")
    return tuple(value)


def _number(body: dict[str, Any], key: str, low: float, high: float, default: float) -> float:
    value = body.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
        raise invalid(f"{key} is a number from {low:g} to {high:g}", f"{key} 应为 {low:g} 到 {high:g} 的数")
    return float(value)


_BAY_TEXTS = {"name", "folder", "cards", "camera", "sensor", "supply"}
LED_NAME = re.compile(r"[A-Za-z0-9_.:+-]{1,63}")


def _bay(body: Any, directory: Path) -> BaySettings:
    if not isinstance(body, dict):
        raise invalid("[[bay]] expected", "应为 [[bay]]")
    _no_others(body, _BAY_TEXTS | {"ports", "sensor_channel", "leds", "secret"}, "[[bay]]")
    texts = {key: body[key] for key in _BAY_TEXTS & body.keys() if isinstance(body[key], str)}
    for key in (_BAY_TEXTS & body.keys()) - texts.keys():
        raise invalid(f"{key} of a bay is text in quotes", f"仓位的 {key} 应为带引号的文本")
    name, ports = check_bay(texts.get("name", "")), _ports(body.get("ports", []))
    sources = [key for key in ("folder", "cards") if key in texts] + (["ports"] if ports else [])
    if len(sources) != 1 or ("folder" in texts and "camera" not in texts):
        raise invalid(
            f"bay {name} needs one of these: ports; folder and camera; cards",
            f"仓位 {name} 需要以下之一：ports；folder 与 camera；cards",
        )
    if "camera" in texts:
        check_camera(texts["camera"])
    if type(secret := body.get("secret", False)) is not bool or (secret and not ports):
        raise invalid(
            f"secret of bay {name} is true or false, and of USB ports only",
            f"仓位 {name} 的 secret 应为 true 或 false，且仅用于 USB 端口",
        )
    return BaySettings(
        name, ports,
        directory / texts["folder"] if "folder" in texts else None,
        directory / texts["cards"] if "cards" in texts else None,
        texts.get("camera"), texts.get("sensor"), int(_number(body, "sensor_channel", 1, 3, 1)), texts.get("supply"),
        led_names(body.get("leds", [])), secret,
    )  # fmt: skip


def _ports(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(port, str) and PORT.fullmatch(port) for port in value):
        raise invalid(
            'ports is a list of ports as `dock-agent bays` prints them, such as ["0000:01:00.0-usb2-1.2"]',
            'ports 为 `dock-agent bays` 显示的端口列表，例如 ["0000:01:00.0-usb2-1.2"]',
        )
    return tuple(value)


def led_names(value: Any) -> tuple[str, ...]:
    """The ``leds`` of a bay: names of ``/sys/class/leds``. Raises SettingsInvalid."""
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise invalid(
            'leds of a bay is a list such as ["bay1:green:status"]', '仓位的 leds 应为列表，如 ["bay1:green:status"]'
        )
    for name in value:
        if not LED_NAME.fullmatch(name) or name in (".", ".."):
            raise invalid(f"not the name of an LED: {name!r}", f"LED 名称无效：{name!r}")
    return tuple(value)


def check_bay(name: str) -> str:
    """The bay's name, if it can be one. Raises SettingsInvalid."""
    if not BAY_NAME.fullmatch(name):
        raise invalid("a bay's name is 1 to 32 of A-Z a-z 0-9 . _ -", "仓位名称为 1 至 32 位 A-Z a-z 0-9 . _ -")
    return name


def check_camera(camera: str) -> str:
    """The camera's name, if it can be one. Raises SettingsInvalid."""
    if not 0 < len(camera) <= CAMERA_MAX or not camera.isprintable() or camera != camera.strip():
        raise invalid(
            "a camera's name is 1 to 64 printable characters without blanks at its ends",
            "记录仪名称为 1 至 64 个可见字符，首尾无空格",
        )
    return camera


def load_link(directory: Path) -> HubLink | None:
    """What enrolment wrote, or None. Raises SettingsInvalid when it cannot be read."""
    path = directory / "enrolment.json"
    if not path.exists():
        return None
    try:
        body = json.loads(path.read_text("utf-8"))
        ca, certificate, private_key = (_path(body, key) for key in ("ca", "certificate", "private_key"))
        command_key = parse_key_line(body["command_key"]) if body.get("command_key") else None
        receipt_key, log_key = parse_key_line(body["receipt_key"]), parse_key_line(body["log_key"])
        return HubLink(str(body["mqtt"]), receipt_key, log_key, ca, certificate, private_key, command_key)
    except (OSError, ValueError, KeyError, TypeError, KeyInvalid) as error:
        raise invalid(
            f"{path.name} cannot be read ({error}); enrol this station again",
            f"无法读取 {path.name}（{error}）；请重新登记本采集站",
        ) from error


def _path(body: dict[str, Any], key: str) -> Path | None:
    return Path(body[key]) if body.get(key) else None


def save_link(directory: Path, link: HubLink) -> None:
    """Keep what enrolment agreed, durably."""
    body = {
        "mqtt": link.url,
        "receipt_key": link.receipt_key.line,
        "log_key": link.log_key.line,
        "command_key": link.command_key.line if link.command_key is not None else "",
        "ca": str(link.ca or ""),
        "certificate": str(link.certificate or ""),
        "private_key": str(link.private_key or ""),
    }
    write_durably(directory / "enrolment.json", json.dumps(body, indent=2).encode() + b"\n", 0o600)


def invalid(en: str, zh: str) -> SettingsInvalid:
    """A setting that stops startup; nothing was touched."""
    return SettingsInvalid(f"Settings: {en}. Nothing was started.", f"设置有误：{zh}。未启动任何操作。")


def _no_others(body: dict[str, Any], known: set[str], where: str) -> None:
    for key in sorted(body.keys() - known):
        raise invalid(f"{where} has an unknown key {key!r}", f"{where} 中有未知的设置项 {key!r}")
