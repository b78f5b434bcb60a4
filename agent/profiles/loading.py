"""TOML -> Profile, strictly: an unknown key, a missing field or a pattern that misses its own example is an error."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from zoneinfo import ZoneInfo

from agent.drivers.table import CommandName, DriverTable
from agent.profiles.driver_table import read_driver
from agent.profiles.profile import (
    FILE_FIELDS,
    NAME_FIELDS,
    Charge,
    ChargeSource,
    Evidence,
    FileRule,
    NamePattern,
    Profile,
    Roles,
    ScsiName,
    Signs,
    TimeFormat,
    UsbId,
)
from agent.profiles.tables import TableReader, profile_invalid

FILE_BYTES_MAX = 256 * 1024
FALLBACK = "generic"
BUILT_IN = Path(__file__).parent
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,31}")
_USB = re.compile(r"([0-9a-f]{4}):([0-9a-f]{4}|\*)")
_DIRECTIVES = {"Y": ("year", 4), "m": ("month", 2), "d": ("day", 2), "H": ("hour", 2), "M": ("minute", 2)} | {
    "S": ("second", 2)
}


def load_profiles(site: Path | None = None) -> tuple[Profile, ...]:
    """All built-in profiles, by name; one of the `site` folder replaces the built-in of its name.

    Raises ProfileInvalid with file and key, also when the folder cannot be read. A folder that is not there is empty.
    """
    found = {profile.name: profile for profile in _folder(BUILT_IN, built_in=True)}
    if site is not None:
        found |= {profile.name: profile for profile in _folder(site, built_in=False)}
    return tuple(found[name] for name in sorted(found))


def load_profile(path: Path, *, built_in: bool = False) -> Profile:
    """The profile of one file. Raises ProfileInvalid."""
    try:
        with path.open("rb") as file:
            raw = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise profile_invalid(path.name, "", f"cannot be read: {error.strerror}", "无法读取") from error
    if len(raw) > FILE_BYTES_MAX:
        raise profile_invalid(path.name, "", "larger than 256 KiB", "超过 256 KiB")
    return parse_profile(raw, path.name, built_in=built_in)


def parse_profile(raw: bytes, file: str, *, built_in: bool = False) -> Profile:
    """The profile that these bytes state; `file` names it in errors. Pure. Raises ProfileInvalid."""
    try:
        body = tomllib.loads(raw.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise profile_invalid(file, "", f"no TOML in UTF-8: {error}", f"不是 UTF-8 编码的 TOML：{error}") from error
    top = TableReader(file, "", body)
    name = top.text("name")
    if not _NAME.fullmatch(name):
        raise top.wrong("name", "1 to 32 of a-z 0-9 -", "应为 1 至 32 位 a-z 0-9 -")
    title = top.table("title")
    signs, driver = _signs(top.table("recognise")), read_driver(top)
    charge = _charge(top.table("charge"))
    readiness = top.table("readiness")
    asks_space = readiness.has("minimum_free_hours")
    profile = Profile(
        name=name,
        en=title.text("en"),
        zh=title.text("zh"),
        evidence=_choice(top, "evidence", Evidence),
        built_in=built_in,
        time_zone=_zone(top),
        bitrate_kbit=top.whole("bitrate_kbit", 1, 1_000_000),
        minimum_free_hours=float(readiness.number("minimum_free_hours", 0, 1000)) if asks_space else None,
        signs=signs,
        roles=_roles(top.table("files")),
        names=tuple(_name(table) for table in top.tables("name_pattern")),
        identity_files=tuple(_file_rule(table, "serial") for table in top.tables("identity_file")),
        charge=charge,
        driver=driver,
    )
    for reader in (title, readiness, top):
        reader.finish()
    _check_driver(top, signs, driver, charge)
    return profile


def _folder(folder: Path, *, built_in: bool) -> list[Profile]:
    try:
        paths = sorted(path for path in folder.iterdir() if path.suffix == ".toml")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise profile_invalid(str(folder), "", f"cannot be read: {error.strerror}", "无法读取") from error
    profiles = [load_profile(path, built_in=built_in) for path in paths]
    for path, profile in zip(paths, profiles, strict=True):
        if path.stem != profile.name:  # so two files never hold one name
            raise profile_invalid(
                path.name, "name", f"the file of {profile.name!r} is called {profile.name}.toml",
                f"名称 {profile.name!r} 的文件应为 {profile.name}.toml",
            )  # fmt: skip
    return profiles


def _signs(table: TableReader) -> Signs:
    usb = []
    for text in table.texts("usb", ()):
        found = _USB.fullmatch(text.lower())
        if not found:
            raise table.wrong("usb", f"{text!r} is not vendor:product, as in 1b3f:30fe", f"{text!r} 应为 厂商:产品")
        usb.append(UsbId(found[1], None if found[2] == "*" else found[2]))
    scsi = []
    for entry in table.tables("scsi"):
        scsi.append(ScsiName(entry.pattern("vendor"), entry.pattern("model")))
        entry.finish()
    signs = Signs(
        usb=tuple(usb),
        usb_serial=table.pattern("usb_serial") if table.has("usb_serial") else None,
        scsi=tuple(scsi),
        label=table.pattern("label") if table.has("label") else None,
        all_paths=table.globs("all_paths"),
        any_path=table.globs("any_path"),
        generic=table.flag("generic", default=False),
    )
    table.finish()
    return signs


def _roles(table: TableReader) -> Roles:
    roles = Roles(**{key: table.globs(key) for key in ("ignored", "proxy", "sidecar", "footage", "key_file")})
    table.finish()
    if not roles.footage:
        raise table.wrong("footage", "this key is missing: which files are footage?", "缺少此键：哪些文件是录像？")
    return roles


def _name(table: TableReader) -> NamePattern:
    regex = table.byte_pattern("pattern", NAME_FIELDS)
    start = _time_format(table) if "start" in regex.groupindex else None
    example = table.text("example")
    table.finish()
    components = example.count("/") + 1
    found = regex.fullmatch(example.encode())
    if not found:
        raise table.wrong("example", "its own pattern does not match it", "与自身的 pattern 不符")
    if start and start.parse((found["start"] or b"").decode("latin-1")) is None:
        raise table.wrong("start_format", "it does not read the start in the example", "无法读出示例中的起始时间")
    return NamePattern(regex, components, start, example)


def _time_format(table: TableReader) -> TimeFormat:
    text, pieces, seen = table.text("start_format"), [], []
    for piece in re.split(r"(%.)", text):
        if not piece.startswith("%"):
            pieces.append(re.escape(piece))
            continue
        name, digits = _DIRECTIVES.get(piece[1:], ("", 0))
        if not name or name in seen:
            raise table.wrong("start_format", f"{piece} cannot stand here", f"{piece} 不能用在此处")
        seen.append(name)
        pieces.append(f"(?P<{name}>[0-9]{{{digits}}})")
    if not {"year", "month", "day", "hour", "minute"} <= set(seen):
        raise table.wrong("start_format", "%Y %m %d %H %M are needed, %S may follow", "需含 %Y %m %d %H %M，可含 %S")
    return TimeFormat(text, re.compile("".join(pieces)))


def _file_rule(table: TableReader, needed: str) -> FileRule:
    rule = FileRule(table.glob("path"), table.byte_pattern("pattern", FILE_FIELDS))
    table.finish()
    if needed not in rule.regex.groupindex:
        raise table.wrong("pattern", f"it needs a group (?P<{needed}>…)", f"需含分组 (?P<{needed}>…)")
    return rule


def _charge(table: TableReader) -> Charge:
    sources = []
    for text in table.texts("sources", ()):
        if text not in list(ChargeSource):
            known = ", ".join(ChargeSource)
            raise table.wrong("sources", f"{text!r} is none of {known}", f"{text!r} 不在可用来源之中：{known}")
        sources.append(ChargeSource(text))
    wanted = ChargeSource.STATUS_FILE in sources
    if wanted != table.has("status_file"):
        raise table.wrong(
            "status_file", "needed if and only if sources names it", "与 sources 中的 status_file 须同时出现"
        )
    status = _file_rule(table.table("status_file"), "percent") if wanted else None
    minimum = table.whole("minimum_percent", 1, 100) if table.has("minimum_percent") else None
    table.finish()
    return Charge(tuple(sources), status, minimum)


def _check_driver(top: TableReader, signs: Signs, driver: DriverTable | None, charge: Charge) -> None:
    """A vendor command to a stranger's device could do anything: only exact USB ids may lead to one."""
    if driver and not any(usb.product for usb in signs.usb):
        raise top.wrong(
            "driver", "a driver needs an exact id in recognise.usb, so that no other device gets its commands",
            "驱动须在 recognise.usb 中给出确切的设备号，以免其他设备收到其命令",
        )  # fmt: skip
    if ChargeSource.DRIVER in charge.sources and not (driver and CommandName.BATTERY in driver.commands):
        raise top.wrong(
            "charge.sources", '"driver" needs a driver with a battery command', '"driver" 需要带 battery 命令的驱动'
        )


def _choice(table: TableReader, key: str, kind: type[Evidence]) -> Evidence:
    text = table.text(key)
    try:
        return kind(text)
    except ValueError:
        known = ", ".join(kind)
        raise table.wrong(key, f"{text!r} is none of {known}", f"{text!r} 不在 {known} 之中") from None


def _zone(table: TableReader) -> ZoneInfo | None:
    text = table.text("time_zone")
    if text == "station":
        return None
    try:
        return ZoneInfo(text)
    except (ValueError, OSError, KeyError) as error:  # a key that is no path, no file, no zone
        raise table.wrong(
            "time_zone", f'{text!r} is no zone like "Asia/Shanghai", nor "station"',
            f'{text!r} 不是时区（如 "Asia/Shanghai"），也不是 "station"',
        ) from error  # fmt: skip
