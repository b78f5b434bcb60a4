"""What the dock does with a recorder before it is a disk, over any transport.

A recorder's answers are hostile input: bounded, and matched as a whole against the profile's pattern. Each call blocks
for about the profile's time-out at most, SG_IO longer while the kernel resets a device: call in a thread.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, tzinfo
from typing import Protocol, TypeVar

from agent.drivers.record import RECORD_BYTES, RecorderInfo, parse_info
from agent.drivers.table import Command, CommandName, DriverTable
from agent.errors import DriverFailed

_T = TypeVar("_T")
CLOCK_YEARS = range(1970, 3000)  # what a clock can say, lost or not
REENUMERATION_SECONDS = 15.0  # about 5 s were seen in the field; a recorder that is no disk by then stays in question


class LinkGone(DriverFailed):
    """The recorder left the bus."""

    def __init__(self) -> None:
        super().__init__("it was disconnected", "设备已断开")


class Exchange(Protocol):
    """One command and its answer over one transport."""

    def run(self, command: Command, values: Mapping[str, str]) -> bytes:
        """Send with `{name}` replaced by its value; the whole answer, b"" if none is expected. Raises DriverFailed."""
        ...

    def close(self) -> None:
        """Release the device; closing twice does nothing."""
        ...


@dataclass(frozen=True, slots=True)
class Prepared:
    """What a recorder said before it became a disk; None where it has no such command or did not answer well.

    `faults`: the commands that failed on the way. They do not keep footage from being docked.
    """

    id_code: str | None
    info: RecorderInfo | None
    battery_percent: int | None
    clock_was: datetime | None  # before it was set, aware
    clock_set: bool
    clock_error_seconds: float | None  # camera minus station, before it was set
    clock_left_seconds: float | None  # the same when it was read back after it was set
    faults: tuple[DriverFailed, ...]


class Driver:
    """The calls of one recorder. Each raises DriverFailed when it is refused, unanswered or answered with nonsense."""

    def __init__(self, table: DriverTable, exchange: Exchange, zone: tzinfo, password: str = "") -> None:
        """`zone` is that of the recorder's clock."""
        self._table, self._exchange, self._zone, self._password = table, exchange, zone, password

    def can(self, name: CommandName) -> bool:
        """Whether the profile has this command."""
        return name in self._table.commands

    def init(self) -> None:
        """What must come first."""
        self._call(CommandName.INIT)

    def identify(self) -> str:
        """The code of maker and model."""
        return self._group(CommandName.IDENTIFY, "id_code")

    def read_info(self) -> RecorderInfo:
        """Serial and who carries it."""
        answer = self._call(CommandName.READ_INFO)
        if len(answer) != RECORD_BYTES:
            raise unexpected(answer)
        return parse_info(answer)

    def read_battery(self) -> int:
        """Charge in percent, as the recorder reports it."""
        text = self._group(CommandName.BATTERY, "percent")
        if not (text.isascii() and text.isdigit()) or int(text) > 100:
            raise unexpected(text.encode())
        return int(text)

    def read_time(self) -> datetime:
        """What its clock says, aware."""
        text = self._group(CommandName.READ_TIME, "time")
        try:
            at = datetime.strptime(text, self._table.time_format).replace(tzinfo=self._zone)
        except ValueError:
            raise unexpected(text.encode()) from None
        if at.year not in CLOCK_YEARS:
            raise unexpected(text.encode())
        return at

    def sync_time(self, now: datetime) -> None:
        """Set the clock to `now`, an aware time."""
        text = now.astimezone(self._zone).strftime(self._table.time_format)
        self._call(CommandName.SYNC_TIME, time=text)

    def switch_to_disk(self) -> None:
        """Make it a disk. It leaves the bus for about 5 s, perhaps without answering; only the disk proves it."""
        with suppress(LinkGone):
            self._call(CommandName.SWITCH_TO_DISK)

    def close(self) -> None:
        """Release the device; closing twice does nothing."""
        self._exchange.close()

    def _call(self, name: CommandName, **values: str) -> bytes:
        command = self._table.commands[name]
        answer = self._exchange.run(command, {"password": self._password, **values})
        if command.refused and answer.startswith(command.refused):
            raise DriverFailed(f"it refused {name.value}", f"拒绝执行 {name.value}")
        if command.reply and not command.reply.fullmatch(answer):
            raise unexpected(answer)
        return answer

    def _group(self, name: CommandName, group: str) -> str:
        answer = self._call(name)
        reply = self._table.commands[name].reply
        found = reply.fullmatch(answer) if reply else None
        text = (found[group] or b"").decode("ascii", "replace") if found else ""
        if not text:
            raise unexpected(answer)
        return text


def prepare(driver: Driver, clock: Callable[[], datetime]) -> Prepared:
    """Ask everything, set the clock by `clock` (aware), then switch to disk.

    The clock is read before it is set, since nobody could say afterwards how wrong it was, and read back after. All of
    it comes before the switch: a recorder that is a disk takes no more commands. Raises DriverFailed only when the
    switch is refused or the recorder leaves before it: what else fails is among the faults.
    """
    faults: list[DriverFailed] = []

    def error_of(at: datetime | None) -> float | None:
        return None if at is None else (at - clock()).total_seconds()

    def ask(name: CommandName, call: Callable[[], _T]) -> _T | None:
        try:
            return call() if driver.can(name) else None
        except LinkGone:
            raise
        except DriverFailed as error:
            faults.append(error)
            return None

    def set_clock() -> bool:
        driver.sync_time(clock())
        return True

    ask(CommandName.INIT, driver.init)
    id_code = ask(CommandName.IDENTIFY, driver.identify)
    info = ask(CommandName.READ_INFO, driver.read_info)
    battery = ask(CommandName.BATTERY, driver.read_battery)
    was = ask(CommandName.READ_TIME, driver.read_time)
    error = error_of(was)
    clock_set = bool(ask(CommandName.SYNC_TIME, set_clock))
    left = error_of(ask(CommandName.READ_TIME, driver.read_time)) if clock_set else None
    if driver.can(CommandName.SWITCH_TO_DISK):
        driver.switch_to_disk()
    return Prepared(id_code, info, battery, was, clock_set, error, left, tuple(faults))


def unexpected(answer: bytes) -> DriverFailed:
    """An answer that fits nothing. It is not repeated: it may hold names of people."""
    return DriverFailed(f"unexpected answer of {len(answer)} bytes", f"应答异常（{len(answer)} 字节）")


def fill(text: str, values: Mapping[str, str]) -> bytes:
    """A command's text with its values, in GBK as recorders have it."""
    for name, value in values.items():
        text = text.replace("{" + name + "}", value)
    return text.encode("gbk")
