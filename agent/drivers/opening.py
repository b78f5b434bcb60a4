"""Opening the driver of a recognised recorder on its device node."""

from __future__ import annotations

from datetime import tzinfo
from pathlib import Path

from agent.drivers.ascii import AsciiExchange
from agent.drivers.driver import Driver, Exchange
from agent.drivers.links import SerialLink, UsbLink
from agent.drivers.scsi import ScsiExchange
from agent.drivers.table import DriverTable, Transport
from agent.errors import DriverFailed

USB_NODES = Path("/dev/bus/usb")
PASSWORD_BYTES_MAX = 64


def open_driver(table: DriverTable, node: Path, zone: tzinfo, site: Path | None = None) -> Driver:
    """The driver on /dev/sgN (scsi), a serial line or /dev/bus/usb/BBB/DDD (ascii). Raises DriverFailed.

    Only after `recognition.may_drive` said yes: a stranger's device must never get these commands. `site` is the folder
    of the site's profiles, where the password file lies.
    """
    password = _password(table, site)
    exchange: Exchange
    if table.transport is Transport.SCSI:
        exchange = ScsiExchange(table, node)
    elif node.is_relative_to(USB_NODES):
        exchange = AsciiExchange(table, UsbLink(node, table.interface, table.endpoint_in, table.endpoint_out))
    else:
        exchange = AsciiExchange(table, SerialLink(node))
    return Driver(table, exchange, zone, password)


def _password(table: DriverTable, site: Path | None) -> str:
    if not table.password_file:
        return ""
    try:
        if site is None:
            raise FileNotFoundError(2, "no site folder")
        path = site / table.password_file
        if path.stat().st_mode & 0o077:
            raise PermissionError(1, "others may read it: chmod 600")
        text = path.read_bytes()[: PASSWORD_BYTES_MAX + 2].decode("ascii").strip()
    except (OSError, ValueError) as error:
        detail = error.strerror if isinstance(error, OSError) else "not ASCII"
        raise DriverFailed(
            f"its password file {table.password_file} cannot be read: {detail}",
            f"无法读取口令文件 {table.password_file}：{detail}",
        ) from None  # the cause would quote bytes of the password
    if not 0 < len(text) <= PASSWORD_BYTES_MAX:
        raise DriverFailed(f"its password file {table.password_file} is empty or too long", "口令文件为空或过长")
    return text
