"""The `[driver]` table of a profile -> DriverTable, strictly."""

from __future__ import annotations

import re
from datetime import datetime

from agent.drivers.record import RECORD_BYTES
from agent.drivers.table import REPLY_FIELDS, VENDOR_OPCODE, Command, CommandName, DriverTable, Transport
from agent.profiles.tables import TableReader

CDB_LENGTHS = (6, 10, 12, 16)
REPLY_BYTES_MAX = 4096
_PLACEHOLDER = re.compile(r"\{([^{}]*)\}")
_NEEDED_GROUP = {CommandName.IDENTIFY: "id_code", CommandName.BATTERY: "percent", CommandName.READ_TIME: "time"}


def read_driver(top: TableReader) -> DriverTable | None:
    """The driver of this profile, or None. Raises ProfileInvalid."""
    if not top.has("driver"):
        return None
    table = top.table("driver")
    text = table.text("transport")
    if text not in list(Transport):
        raise table.wrong("transport", '"ascii" or "scsi" expected', '应为 "ascii" 或 "scsi"')
    transport = Transport(text)
    named = table.table("commands")
    commands = {}
    for key in named.names():
        if key not in list(CommandName):
            known = ", ".join(CommandName)
            raise named.wrong(key, f"unknown command; known: {known}", f"未知的命令；可用：{known}")
        commands[CommandName(key)] = _command(named.table(key), CommandName(key), transport)
    if not commands:
        raise table.wrong("commands", "no command", "没有任何命令")
    driver = DriverTable(
        transport=transport,
        commands=commands,
        time_format=_time_format(table),
        timeout_seconds=float(table.number("timeout_seconds", 0.1, 60, 5)),
        password_file=_password_file(table),
        **(_ascii(table) if transport is Transport.ASCII else {}),  # type: ignore[arg-type]
    )
    table.finish()
    uses_password = any("{password}" in text for command in commands.values() for text in command.send)
    if uses_password != bool(driver.password_file):
        raise table.wrong(
            "password_file", "needed if and only if a command sends {password}", "与 {password} 须同时出现"
        )
    return driver


def _ascii(table: TableReader) -> dict[str, object]:
    return {
        "terminator": _bytes(table, "terminator"),
        "busy": _bytes(table, "busy"),
        "interface": table.whole("interface", 0, 255, 0),
        "endpoint_in": table.whole("endpoint_in", 0x81, 0x8F, 0x81),
        "endpoint_out": table.whole("endpoint_out", 0x01, 0x0F, 0x01),
    }


def _command(table: TableReader, name: CommandName, transport: Transport) -> Command:
    cdb = _cdb(table) if transport is Transport.SCSI else b""
    send = table.texts("send", () if transport is Transport.SCSI else None)
    for text in send:
        if set(_PLACEHOLDER.findall(text)) - {"time", "password"}:
            raise table.wrong(
                "send", "only {time} and {password} can stand in braces", "花括号中只能为 time 或 password"
            )
        _encoded(table, "send", text)
    if transport is Transport.SCSI and len(send) > 1:
        raise table.wrong("send", "one text at most: the data that goes out", "至多一个文本：发出的数据")
    length = table.whole("reply_bytes", 1, REPLY_BYTES_MAX, 0) if table.has("reply_bytes") else 0
    reply = table.byte_pattern("reply", REPLY_FIELDS) if table.has("reply") else None
    refused = _bytes(table, "refused")
    table.finish()
    _check_reply(table, name, transport, length, reply)
    if transport is Transport.SCSI and send and length:
        raise table.wrong(
            "reply_bytes", "a SCSI command sends data or asks for it, not both", "SCSI 命令不能同时收发数据"
        )
    if name is CommandName.SYNC_TIME and not any("{time}" in text for text in send):
        raise table.wrong("send", "{time} is missing", "缺少 {time}")
    return Command(name, send, cdb, reply, length, refused)


def _check_reply(
    table: TableReader, name: CommandName, transport: Transport, length: int, reply: re.Pattern[bytes] | None
) -> None:
    needed = _NEEDED_GROUP.get(name)
    if needed and (reply is None or needed not in reply.groupindex):
        raise table.wrong("reply", f"it needs a group (?P<{needed}>…)", f"需含分组 (?P<{needed}>…)")
    if name is CommandName.READ_INFO and length != RECORD_BYTES:
        raise table.wrong("reply_bytes", "the record has 89 bytes", "信息记录为 89 字节")
    if transport is Transport.SCSI and reply and not length:
        raise table.wrong(
            "reply_bytes", "needed with reply: how many bytes are asked for", "与 reply 同时需要：读取的字节数"
        )
    if transport is Transport.ASCII and reply and length:
        raise table.wrong("reply_bytes", "reply or reply_bytes, not both", "reply 与 reply_bytes 不能同时出现")


def _cdb(table: TableReader) -> bytes:
    try:
        cdb = bytes.fromhex(table.text("cdb"))
    except ValueError:
        cdb = b""
    if len(cdb) not in CDB_LENGTHS or cdb[0] < VENDOR_OPCODE:
        raise table.wrong(
            "cdb", "6, 10, 12 or 16 bytes in hex, the first from C0 on: makers' own commands only",
            "应为 6、10、12 或 16 字节的十六进制，首字节不小于 C0：仅限厂商自定义命令",
        )  # fmt: skip
    return cdb


def _time_format(table: TableReader) -> str:
    text = table.text("time_format", "%Y%m%d%H%M%S")
    if set(re.findall(r"%(.)", text)) - set("YmdHMS"):
        raise table.wrong("time_format", "only %Y %m %d %H %M %S", "仅限 %Y %m %d %H %M %S")
    datetime(2026, 1, 1).strftime(text)  # noqa: DTZ001 - only whether it can be written
    return text


def _bytes(table: TableReader, key: str) -> bytes:
    return _encoded(table, key, table.text(key, ""))


def _encoded(table: TableReader, key: str, text: str) -> bytes:
    try:
        return text.encode("gbk")
    except UnicodeEncodeError as error:
        raise table.wrong(key, "a character that GBK lacks", "含有 GBK 以外的字符") from error


def _password_file(table: TableReader) -> str:
    text = table.text("password_file", "")
    if text and not re.fullmatch(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,63}", text):
        raise table.wrong("password_file", "the name of a file beside this profile", "应为与本配置同目录的文件名")
    return text
