"""PTP's datasets: what is read from good ones, and that hostile ones raise Malformed and nothing else."""

import struct
from collections.abc import Callable
from typing import Any, get_args, get_type_hints

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import ptpdata
from agent.errors import SourceUnreadable
from agent.ptpdata import Malformed, Operation
from agent.source import SourceKind
from agent.usbfs import Interface, device_node, find_interface, port_for
from custody.manifest import Header
from custody.stationevents import DockingStarted
from tests.ptp.camera import SoftCamera
from tests.ptp.responder import Responder, text
from tests.ptp.usb import UsbCamera, UsbQuirks

DAY_NS = 86_400 * 10**9


def dataset(camera: SoftCamera, operation: int, *parameters: int) -> bytes:
    responder = Responder(camera)
    responder.answer(0x1002, (1,))
    return b"".join(responder.answer(operation, parameters).pieces)


def test_only_operations_that_read_exist() -> None:
    """The list of ISO 15740 and MTP: delete, send, format, reset, capture, set and move are not among ours."""
    writing = {0x100B, 0x100C, 0x100D, 0x100E, 0x100F, 0x1010, 0x1011, 0x1012, 0x1013, 0x1016, 0x1017, 0x1018, 0x1019,
               0x101A, 0x101C, 0x9804, 0x9806, 0x9808, 0x9811, 0x95C2, 0x95C3, 0x95C4, 0x95C5}  # fmt: skip
    assert not writing & {int(operation) for operation in Operation}
    assert {operation for operation in Operation if operation >= 0x9000} == {
        Operation.GET_PARTIAL_OBJECT_64, Operation.GET_OBJECT_PROPERTY,
    }  # fmt: skip


def test_event_and_manifest_know_every_kind_of_source() -> None:
    for stated in (DockingStarted, Header):
        assert set(get_args(get_type_hints(stated)["source_kind"])) == {kind.value for kind in SourceKind}


def test_device_info() -> None:
    info = ptpdata.parse_device_info(dataset(SoftCamera(model="执法仪 1", serial="A-1"), 0x1001))
    assert (info.manufacturer, info.model, info.serial) == ("Custodock", "执法仪 1", "A-1")
    assert {0x1007, 0x101B} <= info.operations
    assert info.properties == {0x5001, 0x5011}


def test_a_name_keeps_every_unit_that_was_sent() -> None:
    camera = SoftCamera()
    lone = b"X\0\x00\xd8"
    handles = [camera.add(name) for name in ("执法.MP4", "a/b", lone, "")]
    names = [ptpdata.parse_object_info(dataset(camera, 0x1008, handle)).name for handle in handles]
    assert names == ["执法.MP4".encode(), b"a/b", b"X\xed\xa0\x80", b""]


def test_a_size_of_64_bits_where_the_standard_has_32() -> None:
    """As some Samsung phones send ObjectInfo."""
    camera = SoftCamera()
    standard = dataset(camera, 0x1008, camera.add("A.MP4", size=9))
    wide = standard[:8] + struct.pack("<Q", 5 << 30) + standard[12:]
    info = ptpdata.parse_object_info(wide)
    assert (info.size_bytes, info.name) == (5 << 30, b"A.MP4")


def test_a_size_that_32_bits_do_not_hold_is_unknown() -> None:
    camera = SoftCamera()
    assert ptpdata.parse_object_info(dataset(camera, 0x1008, camera.add("A", size=5 << 30))).size_bytes is None


@pytest.mark.parametrize(
    ("said", "nanoseconds"),
    [
        ("19700102T000000", DAY_NS),
        ("19700102T000000.5", DAY_NS + 500_000_000),
        ("19700102T000000+0800", DAY_NS),  # the digits are the wall clock
        ("19700102T000000Z", None),  # no wall clock
        ("00000000T000000", None),
        ("20260230T000000", None),
        ("", None),
        ("1970010 T000000", None),
    ],
)
def test_wall_clock(said: str, nanoseconds: int | None) -> None:
    assert ptpdata.wall_clock_ns(said) == nanoseconds


@pytest.mark.parametrize(
    ("said", "iso"),
    [
        ("20260302T091530", "2026-03-02T09:15:30"),
        ("20260302T091530.0", "2026-03-02T09:15:30"),
        ("20260302T091530+0800", "2026-03-02T09:15:30+08:00"),
        ("20260302T091530Z", "2026-03-02T09:15:30Z"),
        ("now", None),
    ],
)
def test_clock_text(said: str, iso: str | None) -> None:
    assert ptpdata.clock_text(said) == iso


@pytest.mark.parametrize(
    ("form", "value", "percent"),
    [
        (b"\x00", 55, 55),
        (b"\x01\x00\x64\x01", 80, 80),
        (b"\x01\x00\x04\x01", 3, 75),  # four bars
        (b"\x02\x03\x00\x0a\x32\x64", 50, 50),  # an enumeration up to 100
        (b"\x02\x03\x00\x01\x02\x03", 3, 100),
        (b"\x01\x00\x64\x01", 0, None),  # may mean "powered by the cable"
        (b"\x01\x00\x64\x01", 200, None),
        (b"\x01\x05\x05\x01", 5, None),
    ],
)
def test_battery(form: bytes, value: int, percent: int | None) -> None:
    assert ptpdata.parse_battery(struct.pack("<HHBBB", 0x5001, 2, 0, 0, value) + form) == percent


@pytest.mark.parametrize(
    "parse",
    [
        ptpdata.parse_device_info, ptpdata.parse_storage_info, ptpdata.parse_object_info, ptpdata.parse_handles,
        ptpdata.parse_battery, ptpdata.parse_text, ptpdata.parse_number, ptpdata.parse_container,
    ],
)  # fmt: skip
@settings(deadline=None)
@given(data=st.binary(max_size=200))
def test_whatever_a_camera_sends_is_read_or_malformed(parse: Callable[[bytes], Any], data: bytes) -> None:
    try:
        parse(data)
    except Malformed:
        return


@settings(deadline=None)
@given(st.text(max_size=40).filter(lambda name: "\0" not in name))
def test_strings_round_trip(name: str) -> None:
    assert ptpdata.parse_text(text(name)) == name


def test_handles_that_claim_more_than_was_sent_are_malformed() -> None:
    with pytest.raises(Malformed):
        ptpdata.parse_handles(struct.pack("<II", 0xFFFFFFFF, 1))


def test_ports() -> None:
    assert port_for(1, 4) == "usb:001,004"
    assert device_node(port_for(1, 104)) == "/dev/bus/usb/001/104"
    for other in ("usb:1", "usb:001,004/../..", "ptpip:10.0.0.1", "", "usb:0001,004"):
        with pytest.raises(SourceUnreadable):
            device_node(other)


def test_the_still_image_interface_is_found() -> None:
    camera = SoftCamera()
    assert find_interface(UsbCamera(camera).descriptors()) == Interface(0, 0x81, 0x02, 512)
    phone = UsbCamera(camera, UsbQuirks(vendor_class=True, packet_bytes=64))
    assert find_interface(phone.descriptors()) == Interface(1, 0x81, 0x02, 64)


def test_a_disk_has_no_still_image_interface() -> None:
    disk = bytes.fromhex(
        "120100020000004046f4010000000102030109022000010100c0320904000002080650000705810200020007050202000200"
    )
    assert find_interface(disk) is None


@settings(deadline=None)
@given(st.binary(max_size=120))
def test_any_descriptors_can_be_looked_at(data: bytes) -> None:
    find_interface(data)
