"""Which profile, which camera: the same for the same facts, explained, and never two cameras under one name unseen."""

from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.profiles.identity import (
    DisputeKind,
    Identity,
    Part,
    PartKind,
    camera_identity,
    disputed,
    is_placeholder,
)
from agent.profiles.loading import load_profiles, parse_profile
from agent.profiles.names import describe_name
from agent.profiles.profile import Path
from agent.profiles.recognition import DeviceFacts, may_drive, rank, recognise
from agent.settings import check_camera

PROFILES = load_profiles()
GENERIC = next(profile for profile in PROFILES if profile.name == "generic")
ZFY = next(profile for profile in PROFILES if profile.name == "zfy-dsj")
NOTHING = DeviceFacts()
SITE = parse_profile(
    b"""
name = "site"
evidence = "tried"
time_zone = "station"
bitrate_kbit = 1
[title]
zh = "x"
en = "x"
[recognise]
usb = ["1B3F:30FE", "2207:*"]
usb_serial = "AB[0-9]+"
label = "cam.*"
[[recognise.scsi]]
vendor = "NOVATEK"
model = "CAM.*"
[files]
footage = ["*.MP4"]
[[identity_file]]
path = "SYS/ID.TXT"
pattern = 'SN=(?P<serial>\\w+)'
[driver]
transport = "ascii"
commands.switch_to_disk.send = ["U"]
""",
    "site.toml",
)
USB = DeviceFacts("1b3f", "30fe", "AB12", "Novatek", "CAM X", ("Camera",), ("1234-ABCD",))


def paths(*texts: str) -> list[Path]:
    return [tuple(part.encode() for part in text.split("/")) for text in texts]


@pytest.mark.parametrize(
    ("sample", "expected"),
    [
        (["DCIM/100/1234567_012345_20260301080000_0001.MP4", "DCIM/100/x.md5"], "zfy-dsj"),
        (["p1/Media/Video/DCAM_A1_012345_20260301_080000.mp4"], "dcam"),
        (["media/imp/x.mp4"], "dcam"),
        (["CARDV/MOVIE/2016_0513_100420_026.MOV"], "novatek-cardv"),
        (["CARDV/PHOTO/IMG001.JPG"], "novatek-cardv"),
        (["DCIM/100MEDIA/VID00001.MP4"], "dcim"),
        (["20140509-000500-001000_10.0.0.1-CH2.avi"], "nvr-export"),
        (["u_B8A4_20260301_080000/20260301_080000_1A2B.mkv", "u_B8A4_20260301_080000/bookmark_1_2"], "axis-body-worn"),
        (["holiday.mp4", "notes.txt"], "generic"),
        ([], "generic"),
    ],
)
def test_recognises_the_families(sample: list[str], expected: str) -> None:
    match = recognise(PROFILES, NOTHING, paths(*sample))
    assert match.profile.name == expected
    assert match.recognised is (expected not in ("dcim", "generic"))


def test_explains_what_fits_and_what_does_not() -> None:
    match = recognise([GENERIC, SITE], USB, [])
    assert match.profile is SITE
    assert [reason.points for reason in match.why] == [40, 20, 25, 10]
    other = recognise([SITE], DeviceFacts("2207", "0001", "zz"), [])
    assert [reason.points for reason in other.why] == [10, 0, 0, 0]
    assert not other.recognised
    assert all(reason.en and reason.zh for reason in (*match.why, *other.why))


def test_a_few_strangers_among_the_names_do_not_hide_a_family() -> None:
    sample = paths(*(f"1234567_012345_202603010800{n:02}_0001.MP4" for n in range(9)), "x.mp4")
    match = recognise(PROFILES, NOTHING, sample)
    assert (match.profile.name, match.score) == ("zfy-dsj", 36)
    assert recognise(PROFILES, NOTHING, sample[-2:]).score == 20
    assert recognise(PROFILES, NOTHING, [*sample[-2:], *paths("y.mp4")]).profile.name == "generic"


@settings(deadline=None, max_examples=50)
@given(st.permutations(PROFILES), st.integers(0, 3))
def test_the_order_of_profiles_decides_nothing(order: list[object], n: int) -> None:
    sample = paths("DCIM/A.MP4", "CARDV/RO/A.MOV", "Media/IMP/x.mp4")[:n]
    shuffled = rank(order, NOTHING, sample)  # type: ignore[arg-type]
    assert shuffled == rank(PROFILES, NOTHING, sample)


def test_a_tie_goes_to_the_site() -> None:
    twin = replace(ZFY, name="a-twin")
    own = replace(ZFY, name="zzz", built_in=False)
    sample = paths("1234567_012345_20260301080000_0001.MP4")
    assert [match.profile.name for match in rank([ZFY, twin, own, GENERIC], NOTHING, sample)] == [
        "zzz", "a-twin", "zfy-dsj", "generic",
    ]  # fmt: skip


def test_only_exact_usb_ids_are_driven() -> None:
    assert may_drive(SITE, USB)
    assert not may_drive(SITE, replace(USB, usb_product="30ff"))
    assert not may_drive(ZFY, USB)


def seen(sample: Sequence[Path] = (), facts: DeviceFacts = NOTHING, **more: object) -> Identity | None:
    names = [describe_name(ZFY, path) for path in sample]
    return camera_identity(ZFY, facts, names, **more)  # type: ignore[arg-type]


def clip(serial: str, n: int = 1) -> Path:
    return paths(f"DCIM/{serial}_012345_20260301080000_{n:04}.MP4")[0]


def test_the_serial_on_the_body_is_the_name() -> None:
    identity = seen([clip("1234567")], USB)
    assert identity is not None
    assert identity.id == "1234567"
    assert not identity.conflict
    assert Part(PartKind.VOLUME_ID, "1234-ABCD") in identity.parts
    by_driver = seen([clip("1234567")], USB, driver_serial="7654321")
    assert by_driver is not None
    assert by_driver.id == "7654321"


def test_a_file_of_the_camera_names_it() -> None:
    identity = camera_identity(SITE, USB, files={(b"SYS", b"ID.TXT"): b"SN=X99\r\n"})
    assert identity is not None
    assert identity.id == "X99"


def test_without_a_serial_usb_and_volume_together_are_the_name() -> None:
    identity = camera_identity(GENERIC, USB)
    assert identity is not None
    assert identity.id == "generic-AB12-1234-ABCD"
    sample = camera_identity(GENERIC, replace(USB, usb_serial="0123456789ABCDEF"))
    assert sample is not None
    assert sample.id == "generic-1234-ABCD"
    assert camera_identity(GENERIC, DeviceFacts(usb_serial="000000000000", volume_ids=("",))) is None


@pytest.mark.parametrize("serial", ["", "0000000", "ffff-ffff", "0123456789ABCDEF", "123456789abcdef"])
def test_placeholders(serial: str) -> None:
    assert is_placeholder(serial)
    assert not is_placeholder("1234567")


def identity_of(facts: DeviceFacts, *serials: str) -> Identity:
    identity = seen([clip(serial, n) for n, serial in enumerate(serials)], facts)
    assert identity is not None
    return identity


def test_the_same_camera_is_not_disputed() -> None:
    assert disputed(identity_of(USB, "1234567"), identity_of(USB, "1234567", "1234567")) is None
    assert disputed(identity_of(USB), identity_of(replace(USB, labels=("other",)))) is None


def test_two_cameras_that_share_nothing_are_not_disputed() -> None:
    other = DeviceFacts("1b3f", "30fe", "AB13", volume_ids=("5555-6666",))
    assert disputed(identity_of(USB, "1234567"), identity_of(other, "7654321")) is None


def test_a_placeholder_is_no_shared_serial() -> None:
    one = replace(USB, usb_serial="0123456789ABCDEF")
    two = replace(one, volume_ids=("5555-6666",))
    assert disputed(identity_of(one), identity_of(two)) is None


@pytest.mark.parametrize(
    ("known", "now", "kind"),
    [
        (identity_of(USB, "1234567"), identity_of(replace(USB, volume_ids=("5-6",)), "7654321"), "cloned_usb_serial"),
        (identity_of(USB), identity_of(replace(USB, volume_ids=("5555-6666",))), "cloned_usb_serial"),
        (identity_of(USB, "1234567"), identity_of(replace(USB, usb_serial="AB99"), "1234567"), "other_device"),
        (identity_of(USB, "1234567"), identity_of(replace(USB, usb_product="0001"), "1234567"), "other_device"),
        (identity_of(USB, "1234567"), identity_of(replace(USB, volume_ids=("5-6",)), "1234567"), "other_volume"),
        (identity_of(USB, "1234567"), identity_of(replace(USB, usb_serial="AB99"), "7654321"), "card_moved"),
        (identity_of(USB, "1234567"), identity_of(USB, "1234567", "7654321"), "several_serials"),
    ],
)
def test_disputes(known: Identity, now: Identity, kind: str) -> None:
    dispute = disputed(known, now)
    assert dispute is not None
    assert dispute.kind is DisputeKind(kind)
    assert now.id in dispute.en
    assert now.id in dispute.zh


texts = st.text(max_size=100) | st.sampled_from([" ", "\u202e", "a b", "0" * 80, "序列号", "\ud800"])


@settings(deadline=None, max_examples=50)
@given(texts, texts, st.lists(texts, max_size=2).map(tuple))
def test_every_name_is_one_that_the_settings_take_and_is_stable(
    serial: str, usb: str, volumes: tuple[str, ...]
) -> None:
    facts = DeviceFacts(usb_serial=usb, volume_ids=volumes)
    identity = camera_identity(GENERIC, facts, driver_serial=serial)
    assert identity == camera_identity(GENERIC, facts, driver_serial=serial)
    if identity is not None:
        assert check_camera(identity.id) == identity.id
        assert disputed(identity, identity) is None
