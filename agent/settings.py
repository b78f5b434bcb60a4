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


@dataclass(frozen=True, slots=True)
class HubLink:
    """Where the hub is reached and which keys its answers must carry. TLS by ``mqtts://`` with the three files."""

    url: str
    receipt_key: VerifyKey
    log_key: VerifyKey
    ca: Path | None = None
    certificate: Path | None = None
    private_key: Path | None = None

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
    """A bay fed from the file system: `folder` is watched for footage of one camera, `cards` for card images.

    Exactly one of the two is set. A card image's camera is its file name without ``.img``.
    """

    name: str
    folder: Path | None = None
    cards: Path | None = None
    camera: str | None = None


@dataclass(frozen=True, slots=True)
class Settings:
    """Everything an operator may decide. `link` is None until the station is enrolled."""

    directory: Path
    vault: Path
    bays: tuple[BaySettings, ...] = ()
    settle_seconds: float = SETTLE_SECONDS
    link: HubLink | None = None


def load_settings(directory: Path) -> Settings:
    """Read DIR/agent.toml and DIR/enrolment.json. Raises SettingsInvalid with the key that is wrong."""
    path = directory / "agent.toml"
    try:
        body = tomllib.loads(path.read_text("utf-8"))
    except (OSError, ValueError) as error:
        raise invalid(f"{path.name} cannot be read: {error}", f"无法读取 {path.name}：{error}") from error
    _no_others(body, {"vault", "bay", "settle_seconds"}, path.name)
    vault = body.get("vault")
    settle = body.get("settle_seconds", SETTLE_SECONDS)
    if not isinstance(vault, str) or not vault:
        raise invalid('vault = "FOLDER" is missing', '缺少 vault = "目录"')
    if not isinstance(settle, int | float) or not 0 <= settle <= 3600:
        raise invalid("settle_seconds is a number from 0 to 3600", "settle_seconds 应为 0 到 3600 的数")
    bodies = body.get("bay", [])
    if not isinstance(bodies, list):
        raise invalid("[[bay]] expected", "应为 [[bay]]")
    bays = tuple(_bay(b, directory) for b in bodies)
    if len({b.name for b in bays}) != len(bays):
        raise invalid("two bays have one name", "有两个仓位同名")
    return Settings(directory, directory / vault, bays, float(settle), load_link(directory))


def _bay(body: Any, directory: Path) -> BaySettings:
    if not isinstance(body, dict):
        raise invalid("[[bay]] expected", "应为 [[bay]]")
    _no_others(body, {"name", "folder", "cards", "camera"}, "[[bay]]")
    texts = {key: body[key] for key in body if isinstance(body[key], str)}
    for key in body.keys() - texts.keys():
        raise invalid(f"{key} of a bay is text in quotes", f"仓位的 {key} 应为带引号的文本")
    check_bay(texts.get("name", ""))
    if ("folder" in texts) == ("cards" in texts) or ("folder" in texts and "camera" not in texts):
        raise invalid(
            f"bay {texts['name']} needs either folder and camera, or cards",
            f"仓位 {texts['name']} 需要 folder 与 camera，或者 cards",
        )
    if "camera" in texts:
        check_camera(texts["camera"])
    return BaySettings(
        texts["name"],
        directory / texts["folder"] if "folder" in texts else None,
        directory / texts["cards"] if "cards" in texts else None,
        texts.get("camera"),
    )


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
        files = {key: Path(body[key]) for key in ("ca", "certificate", "private_key") if body.get(key)}
        return HubLink(str(body["mqtt"]), parse_key_line(body["receipt_key"]), parse_key_line(body["log_key"]), **files)
    except (OSError, ValueError, KeyError, TypeError, KeyInvalid) as error:
        raise invalid(
            f"{path.name} cannot be read ({error}); enrol this station again",
            f"无法读取 {path.name}（{error}）；请重新登记本采集站",
        ) from error


def save_link(directory: Path, link: HubLink) -> None:
    """Keep what enrolment agreed, durably."""
    body = {
        "mqtt": link.url,
        "receipt_key": link.receipt_key.line,
        "log_key": link.log_key.line,
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
