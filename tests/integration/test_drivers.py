"""The same contract over a pty, USB bulk and SG_IO, with recorders that are slow, refuse, lie, hang or leave.

None of this is a real recorder: it shows that the framing and its errors are right, not that any maker's table is.
"""

import ctypes
import select
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from datetime import UTC, datetime
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from agent.drivers.ascii import AsciiExchange
from agent.drivers.driver import Driver, Exchange, LinkGone, prepare
from agent.drivers.links import USBDEVFS_BULK, SerialLink
from agent.drivers.opening import open_driver
from agent.drivers.record import RecorderInfo
from agent.drivers.scsi import ScsiExchange, SgHeader
from agent.drivers.table import Command, CommandName
from agent.errors import DriverFailed
from tests.integration.recorders import (
    ASCII,
    BUSY,
    SCSI,
    PtyRecorder,
    Recorder,
    ScsiRecorder,
    UsbRecorder,
    record,
    table,
)

NOW = datetime(2026, 3, 1, 0, 0, 5, tzinfo=UTC)
ZONE = ZoneInfo("Asia/Shanghai")
Connect = Callable[[Recorder], Driver]


@pytest.fixture(params=["pty", "usb", "scsi"])
def connect(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Connect]:
    with ExitStack() as opened:

        def made(recorder: Recorder) -> Driver:
            kind = table(SCSI if request.param == "scsi" else ASCII)
            exchange: Exchange
            if request.param == "scsi":
                (tmp_path / "sg0").touch()
                exchange = ScsiExchange(kind, tmp_path / "sg0", ScsiRecorder(recorder).ioctl)
            else:
                far = PtyRecorder(recorder) if request.param == "pty" else UsbRecorder(recorder, tmp_path / "usb")
                opened.callback(far.close)
                exchange = AsciiExchange(kind, far.link)
            driver = Driver(kind, exchange, ZONE)
            opened.callback(driver.close)
            return driver

        yield made


def test_prepares_a_recorder(connect: Connect) -> None:
    recorder = Recorder()
    prepared = prepare(connect(recorder), lambda: NOW)
    assert prepared.id_code == "ABCDE"
    assert prepared.info == RecorderInfo("1234567", "012345", "张伟", "330100", "校外监管科")
    assert (prepared.battery_percent, prepared.clock_set, prepared.faults) == (63, True, ())
    assert recorder.clock.replace("-", "").replace(":", "").replace(" ", "") == "20260301080005"  # its own zone
    assert recorder.is_disk
    asked = [CommandName.READ_TIME, CommandName.SYNC_TIME, CommandName.READ_TIME, CommandName.SWITCH_TO_DISK]
    assert recorder.heard[-4:] == asked
    was = datetime(2000, 1, 1, tzinfo=ZONE)
    assert (prepared.clock_was, prepared.clock_left_seconds) == (was, 0)
    assert prepared.clock_error_seconds == (was - NOW).total_seconds()


@pytest.mark.parametrize("clock", ["0001-01-01 00:00:00", "2026-13-01 00:00:00", "not a time at all!!"])
def test_a_clock_that_tells_no_time_is_a_fault_and_set_all_the_same(connect: Connect, clock: str) -> None:
    recorder = Recorder(clock=clock)
    prepared = prepare(connect(recorder), lambda: NOW)
    assert (prepared.clock_was, prepared.clock_error_seconds) == (None, None)
    assert (prepared.clock_set, prepared.clock_left_seconds, len(prepared.faults)) == (True, 0, 1)


def test_a_clock_that_was_not_set_is_not_read_back(connect: Connect) -> None:
    prepared = prepare(connect(Recorder(refuses={CommandName.SYNC_TIME})), lambda: NOW)
    assert prepared.clock_error_seconds is not None
    assert (prepared.clock_set, prepared.clock_left_seconds) == (False, None)


def test_what_it_refuses_on_the_way_does_not_keep_it_from_becoming_a_disk(connect: Connect) -> None:
    recorder = Recorder(refuses={CommandName.READ_INFO, CommandName.BATTERY, CommandName.SYNC_TIME})
    prepared = prepare(connect(recorder), lambda: NOW)
    assert (prepared.info, prepared.battery_percent, prepared.clock_set) == (None, None, False)
    assert len(prepared.faults) == 3
    assert all("refused" in fault.en and "拒绝" in fault.zh for fault in prepared.faults)
    assert recorder.is_disk


@pytest.mark.parametrize("nonsense", [b"BAT101", b"BAT", b"\xff\xfe\x00garbage", b"BAT63BAT63", b"A" * 4000])
def test_a_wrong_answer_is_no_charge(connect: Connect, nonsense: bytes) -> None:
    driver = connect(Recorder(faults={CommandName.BATTERY: nonsense}))
    with pytest.raises(DriverFailed, match=r"unexpected answer|transfer|no answer|refused") as caught:
        driver.read_battery()
    assert "garbage" not in caught.value.en


@pytest.mark.parametrize("cut", [record()[:88], b"", b"123"])
def test_a_record_of_another_length_is_none(connect: Connect, cut: bytes) -> None:
    driver = connect(Recorder(info=cut))
    with pytest.raises(DriverFailed):
        driver.read_info()
    assert driver.read_battery() == 63  # and the next command is not confused by it


def test_silence_ends_in_time_and_the_next_command_works(connect: Connect) -> None:
    driver = connect(Recorder(faults={CommandName.IDENTIFY: None}))
    started = time.monotonic()
    with pytest.raises(DriverFailed):
        driver.identify()
    assert time.monotonic() - started < 30  # its timeout is a second; a busy machine has its own
    assert driver.read_battery() == 63


def test_leaving_at_the_switch_is_what_it_was_told(connect: Connect) -> None:
    recorder = Recorder(vanishes=CommandName.SWITCH_TO_DISK)
    assert prepare(connect(recorder), lambda: NOW).clock_set
    assert recorder.is_disk


def test_leaving_before_is_an_error(connect: Connect) -> None:
    with pytest.raises(LinkGone):
        prepare(connect(Recorder(vanishes=CommandName.READ_INFO)), lambda: NOW)


def test_a_refused_switch_is_an_error(connect: Connect) -> None:
    recorder = Recorder(refuses={CommandName.SWITCH_TO_DISK})
    with pytest.raises(DriverFailed, match="refused"):
        prepare(connect(recorder), lambda: NOW)
    assert not recorder.is_disk


def test_answers_that_dribble_in(tmp_path: Path) -> None:
    far = PtyRecorder(Recorder(), pieces=7)
    driver = Driver(table(ASCII), AsciiExchange(table(ASCII), far.link), ZONE)
    assert driver.read_info().user_name == "张伟"
    assert driver.identify() == "ABCDE"
    far.close()


def test_late_answers_are_not_taken_for_new_ones() -> None:
    far = PtyRecorder(Recorder())
    driver = Driver(table(ASCII), AsciiExchange(table(ASCII), far.link), ZONE)
    far.say(b"BAT99")
    assert select.select([far.link._fd], [], [], 60)[0], "it has arrived"
    assert driver.read_battery() == 63
    far.close()


def test_lines_with_a_terminator() -> None:
    kind = table(ASCII.replace("timeout_seconds = 1", 'timeout_seconds = 1\nterminator = "\\r\\n"'))

    class Scripted:
        """A link that has its answers ready; the contract of `Link` is a read, a write and a close."""

        sent = b""
        ready = (b"", BUSY + b"\r", b"\nBAT", b"42\r\nrest")
        at = 0

        def write(self, data: bytes, timeout_seconds: float) -> None:
            self.sent += data

        def read(self, timeout_seconds: float) -> bytes:
            self.at += 1
            return self.ready[self.at - 1]

        def close(self) -> None:
            pass

    link = Scripted()
    assert Driver(kind, AsciiExchange(kind, link), ZONE).read_battery() == 42
    assert link.sent == b"XXCMD007\r\n"


def test_an_interface_that_a_kernel_driver_holds_is_left_to_it(tmp_path: Path) -> None:
    with pytest.raises(DriverFailed, match="busy"):
        UsbRecorder(Recorder(), tmp_path / "usb", busy_interface=True)


def test_an_interface_is_claimed_and_given_back(tmp_path: Path) -> None:
    far = UsbRecorder(Recorder(), tmp_path / "usb")
    assert far.claimed == [b"\x02\0\0\0"]
    far.close()
    far.close()
    assert far.claimed == []


def test_no_standard_scsi_command_leaves() -> None:
    exchange = ScsiExchange(table(SCSI), Path("/dev/null"), lambda *_: pytest.fail("it was sent"))
    for cdb in (bytes([0x04] + [0] * 5), bytes([0x2A] + [0] * 9), b""):  # FORMAT UNIT, WRITE(10)
        with pytest.raises(DriverFailed):
            exchange.run(Command(CommandName.INIT, (), cdb), {})
    exchange.close()


def test_structures_have_the_kernels_sizes() -> None:
    if ctypes.sizeof(ctypes.c_void_p) == 8:
        assert ctypes.sizeof(SgHeader) == 88
        assert USBDEVFS_BULK == 0xC0185502


def test_the_password_comes_from_its_file(tmp_path: Path) -> None:
    far = PtyRecorder(Recorder())
    kind = table(
        ASCII.replace('send = ["XXCMD007"]', 'send = ["XXCMD{password}"]').replace(
            "timeout_seconds", 'password_file = "pin"\ntimeout_seconds'
        )
    )
    with pytest.raises(DriverFailed, match="pin cannot be read"):
        open_driver(kind, far.path, ZONE, tmp_path)
    (tmp_path / "pin").write_text("007\n")
    (tmp_path / "pin").chmod(0o644)
    with pytest.raises(DriverFailed, match="others may read it"):
        open_driver(kind, far.path, ZONE, tmp_path)
    (tmp_path / "pin").chmod(0o600)
    driver = open_driver(kind, far.path, ZONE, tmp_path)
    assert driver.read_battery() == 63
    driver.close()
    far.close()


def test_what_is_no_serial_line_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(DriverFailed, match="no serial line"):
        SerialLink(tmp_path / "file")
    with pytest.raises(DriverFailed, match="cannot be opened"):
        SerialLink(tmp_path / "none")
