"""The 89-byte record, and what a driver table of a profile may say."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.drivers.driver import fill
from agent.drivers.record import RecorderInfo, parse_info
from agent.drivers.table import CommandName, Transport
from agent.errors import ProfileInvalid
from agent.profiles.loading import parse_profile
from tests.integration.recorders import ASCII, HEAD, SCSI, record, table


def test_reads_a_record() -> None:
    assert parse_info(record()) == RecorderInfo("1234567", "012345", "张伟", "330100", "校外监管科")


def test_blanks_and_nuls_pad_and_a_cut_letter_is_dropped() -> None:
    raw = b"12345  " + b"\0" * 6 + ("执" * 15).encode("gbk") + b"A\xd6" + b" " * 12 + b"\xff" * 32
    info = parse_info(raw)
    assert info.serial == "12345"
    assert info.user_name == "执" * 15 + "A"
    assert (info.user_no, info.unit_no) == ("", "")
    assert set(info.unit_name) <= {"\ufffd"}


@settings(deadline=None)
@given(st.binary(min_size=89, max_size=89))
def test_any_record_is_printable(raw: bytes) -> None:
    info = parse_info(raw)
    assert all(text.isprintable() for text in (info.serial, info.user_no, info.user_name, info.unit_no, info.unit_name))


def test_another_length_is_no_record() -> None:
    with pytest.raises(ValueError, match="89"):
        parse_info(bytes(88))


def test_reads_both_kinds_of_table() -> None:
    ascii_table, scsi_table = table(ASCII), table(SCSI)
    assert ascii_table.transport is Transport.ASCII
    assert set(ascii_table.commands) == set(scsi_table.commands) == set(CommandName)
    assert scsi_table.commands[CommandName.INIT].cdb == bytes.fromhex("C00100000000")


def test_values_are_put_in() -> None:
    assert fill("T={time};P={password}", {"time": "1", "password": "2"}) == b"T=1;P=2"


@pytest.mark.parametrize(
    ("old", "new", "key"),
    [
        ('cdb = "C0 01', 'cdb = "04 01', "driver.commands.init.cdb"),  # FORMAT UNIT
        ('cdb = "C0 01', 'cdb = "C0', "driver.commands.init.cdb"),
        ('cdb = "C0 01', 'cdb = "zz', "driver.commands.init.cdb"),
        ("reply_bytes = 89", "reply_bytes = 90", "driver.commands.read_info.reply_bytes"),
        ("[0-9]{1,3})", "[0-9]{1,3}", "driver.commands.battery.reply"),
        ("(?P<percent>", "(", "driver.commands.battery.reply"),
        ('send = ["{time}"]', 'send = ["x"]', "driver.commands.sync_time.send"),
        ('send = ["{time}"]', 'send = ["{tim}"]', "driver.commands.sync_time.send"),
        ('send = ["{time}"]', 'send = ["{time}", "x"]', "driver.commands.sync_time.send"),
        ('send = ["{time}"]', 'send = ["{time}😀"]', "driver.commands.sync_time.send"),
        ("commands.init", "commands.format", "driver.commands.format"),
        ('transport = "scsi"', 'transport = "tcp"', "driver.transport"),
        ("timeout_seconds = 1", "timeout_seconds = 0", "driver.timeout_seconds"),
        ("timeout_seconds = 1", 'timeout_seconds = 1\nbusy = "x"', "driver.busy"),  # not of this transport
        ("timeout_seconds = 1", 'timeout_seconds = 1\npassword_file = "pin"', "driver.password_file"),
        ("timeout_seconds = 1", 'timeout_seconds = 1\npassword_file = "../pin"', "driver.password_file"),
        ("%Y%m%d", "%s", "driver.time_format"),
        ('usb = ["ffff:0001"]', 'usb = ["ffff:*"]', "driver"),
    ],
)
def test_a_table_that_could_do_harm_or_nothing_is_refused(old: str, new: str, key: str) -> None:
    text = HEAD + SCSI
    assert old in text
    with pytest.raises(ProfileInvalid) as caught:
        parse_profile(text.replace(old, new).encode(), "x.toml")
    assert f"x.toml: {key}:" in caught.value.en
