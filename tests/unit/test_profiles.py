"""Profiles: the built-in ones hold what they promise; a wrong one says where; globs and names take any bytes."""

import tomllib
from datetime import UTC, datetime
from pathlib import Path as FilePath
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent.errors import ProfileInvalid
from agent.profiles.globs import Glob, any_matches, check_glob
from agent.profiles.loading import BUILT_IN, load_profile, load_profiles, parse_profile
from agent.profiles.names import (
    NameFacts,
    Role,
    charge_percent,
    describe_name,
    field_text,
    group_sidecars,
    role_of,
    started_at,
)
from agent.profiles.profile import ChargeSource, Path, Profile

PROFILES = {profile.name: profile for profile in load_profiles()}
ZFY = PROFILES["zfy-dsj"]
MINIMAL = """
name = "mine"
evidence = "tried"
time_zone = "Asia/Shanghai"
bitrate_kbit = 5800
[title]
zh = "我的"
en = "mine"
[recognise]
[files]
footage = ["*.MP4"]
"""


def of(text: str, encoding: str = "utf-8") -> Path:
    return tuple(part.encode(encoding) for part in text.split("/"))


def wall(*parts: int) -> datetime:
    """A camera's wall clock."""
    return datetime(*parts)  # type: ignore[arg-type]  # noqa: DTZ001


def parsed(text: str) -> Profile:
    return parse_profile(text.encode(), "mine.toml")


def test_the_families_of_the_field_are_built_in() -> None:
    assert set(PROFILES) == {
        "axis-body-worn", "dcam", "dcim", "generic", "novatek-cardv", "nvr-export", "zfy-dsj",
    }  # fmt: skip
    assert all(profile.built_in and profile.driver is None for profile in PROFILES.values())


@pytest.mark.parametrize(
    ("profile", "path", "expected"),
    [
        (
            "zfy-dsj",
            "DCIM/1234567_012345_20260301080001_0007_IMP.MP4",
            NameFacts(
                Role.FOOTAGE, key_file=True, matched=True, serial="1234567", officer="012345",
                start=wall(2026, 3, 1, 8, 0, 1), sequence=7,
            ),
        ),
        (
            "dcam",
            "Media/Video/DCAM_A1000123_012345_20260301_235959_enc.mp4",
            NameFacts(
                Role.FOOTAGE, matched=True, serial="A1000123", officer="012345",
                start=wall(2026, 3, 1, 23, 59, 59), encrypted=True,
            ),
        ),
        (
            "novatek-cardv",
            "CARDV/EMR/2016_0513_100420_026.MOV",
            NameFacts(Role.FOOTAGE, key_file=True, matched=True, start=wall(2016, 5, 13, 10, 4, 20), sequence=26),
        ),
        ("dcim", "DCIM/100MEDIA/VID00001.MP4", NameFacts(Role.FOOTAGE, matched=True, sequence=1)),
        (
            "nvr-export",
            "20140509-000500-001000_192.168.1.64-CH2",
            NameFacts(
                Role.FOOTAGE, matched=True, start=wall(2014, 5, 9, 0, 5), channel="2", address="192.168.1.64"
            ),
        ),
        (
            "axis-body-worn",
            "u1_B8A44F112233_20260301_080000/20260301_080000_1A2B.mkv",
            NameFacts(
                Role.FOOTAGE, matched=True, serial="B8A44F112233", officer="u1", start=wall(2026, 3, 1, 8),
                recording="1A2B",
            ),
        ),
        ("generic", "a/b.mp4", NameFacts(Role.FOOTAGE)),
        ("zfy-dsj", "Temp/1234567_012345_20260301080001_0007.MP4",
         NameFacts(Role.IGNORED, matched=True, serial="1234567", officer="012345",
                   start=wall(2026, 3, 1, 8, 0, 1), sequence=7)),
        ("zfy-dsj", "DCIM/1234567_012345_20260231080001_0007.MP4",  # 31 February: the name lies, its other fields stay
         NameFacts(Role.FOOTAGE, matched=True, serial="1234567", officer="012345", sequence=7)),
        ("dcam", "Media/Video/readme.html", NameFacts(Role.OTHER)),
    ],
)  # fmt: skip
def test_describes_names_seen_in_the_field(profile: str, path: str, expected: NameFacts) -> None:
    assert describe_name(PROFILES[profile], of(path)) == expected


def test_a_start_becomes_utc_by_the_profiles_zone_or_the_stations() -> None:
    facts = NameFacts(Role.FOOTAGE, start=wall(2026, 3, 1, 8))
    assert started_at(ZFY, facts, UTC) == datetime(2026, 3, 1, 0, tzinfo=UTC)
    assert started_at(PROFILES["generic"], facts, ZoneInfo("Europe/Berlin")) == datetime(2026, 3, 1, 7, tzinfo=UTC)
    assert started_at(ZFY, NameFacts(Role.FOOTAGE, start=wall(1, 1, 1)), UTC) is None
    assert started_at(ZFY, NameFacts(Role.FOOTAGE), UTC) is None


def test_officers_with_chinese_names_in_either_encoding() -> None:
    profile = parsed(MINIMAL + "[[name_pattern]]\npattern = '(?P<officer>[^_]+)_\\d+\\.mp4'\nexample = 'x_1.mp4'\n")
    assert describe_name(profile, of("张伟_12.MP4", "gbk")).officer == "张伟"
    assert describe_name(profile, of("张伟_12.MP4")).officer == "张伟"
    assert describe_name(profile, (b"\xff\xfe_12.MP4",)).officer == "\\xff\\xfe"
    assert describe_name(profile, ("a\u202eb\x1b_12.MP4".encode(),)).officer == "ab"


@pytest.mark.parametrize(
    ("glob", "path", "whole", "begins"),
    [
        ("*.mp4", "DCIM/100/A.MP4", True, True),
        ("DCIM", "p2/dcim/100/A.MP4", False, True),
        ("/DCIM", "p2/DCIM/A.MP4", False, False),
        ("DCIM/*/*.MP4", "DCIM/A.MP4", False, False),
        ("DCIM/**", "DCIM/a/b/c", True, True),
        ("Media/**/x.txt", "Media/x.txt", True, True),
        ("录像/*", "录像/a", True, True),
        ("A?.MP4", "A.MP4", False, False),
        ("a.b", "axb", False, False),
    ],
)
def test_globs(glob: str, path: str, whole: bool, begins: bool) -> None:
    assert check_glob(glob).matches(of(path)) is whole
    assert any_matches((check_glob(glob),), of(path)) is whole
    assert check_glob(glob).begins(of(path)) is begins
    assert check_glob(glob).matches(of(path, "gbk")) is whole


@settings(deadline=None, max_examples=50)
@given(st.lists(st.binary(max_size=30) | st.sampled_from([b"DCIM", b"a.mp4", b"/", b"."]), max_size=6).map(tuple))
def test_any_path_gets_a_role_and_facts_that_can_be_printed(path: Path) -> None:
    for profile in PROFILES.values():
        facts = describe_name(profile, path)
        assert facts.role is role_of(profile, path)
        for text in (facts.serial, facts.officer, facts.channel, facts.recording, facts.address):
            assert text is None or (len(text) <= 64 and text.isprintable() and text == text.strip())


@settings(deadline=None, max_examples=50)
@given(st.lists(st.sampled_from([b"**", b"*", b"a", b"b*", b"?"]), min_size=1, max_size=5), st.lists(
    st.sampled_from([b"a", b"b", b"bc", b"x"]), max_size=5))  # fmt: skip
def test_globs_against_a_naive_matcher(parts: list[bytes], path: list[bytes]) -> None:
    def one(part: bytes, component: bytes) -> bool:
        if part.endswith(b"*"):
            return component.startswith(part[:-1])
        return len(component) == 1 if part == b"?" else part == component

    def naive(parts: list[bytes], path: list[bytes]) -> bool:
        if not parts:
            return not path
        if parts[0] == b"**":
            return any(naive(parts[1:], path[n:]) for n in range(len(path) + 1))
        return bool(path) and one(parts[0], path[0]) and naive(parts[1:], path[1:])

    text = "/" + b"/".join(parts).decode()
    assert any_matches((Glob("/zzz"), Glob(text)), path) is naive(parts, path)
    assert Glob(text).matches(path) is naive(parts, path)
    assert Glob(text).begins(path) is any(naive(parts, path[:n]) for n in range(len(path) + 1))


def test_sidecars_go_with_their_clip() -> None:
    paths = [
        of(text)
        for text in (
            "M/A.mp4", "M/A.mp4.md5", "M/a.GPX", "M/A_gps.json", "M/A.LRV", "M/AB.mp4", "M/AB.md5", "N/A.md5",
            "M/A.jpg", "M/lonely.json", "M/other.xyz",
        )
    ]  # fmt: skip
    groups = group_sidecars(PROFILES["dcam"], paths)
    assert dict(groups.by_clip) == {
        of("M/A.jpg"): (of("M/A.LRV"), of("M/A_gps.json"), of("M/a.GPX")),
        of("M/A.mp4"): (of("M/A.mp4.md5"),),
        of("M/AB.mp4"): (of("M/AB.md5"),),
    }
    assert groups.alone == (of("M/lonely.json"), of("N/A.md5"))


@settings(deadline=None, max_examples=50)
@given(st.lists(st.lists(st.sampled_from(
    [b"A.mp4", b"a.MP4", b"A.md5", b"A.mp4.md5", b"A_b.json", b"\xff.lrv", b".md5", b"M"]),
    min_size=1, max_size=2).map(tuple)))  # fmt: skip
def test_no_sidecar_is_lost_or_doubled(paths: list[Path]) -> None:
    groups = group_sidecars(PROFILES["dcam"], paths)
    grouped = [path for members in groups.by_clip.values() for path in members] + list(groups.alone)
    wanted = {path for path in paths if role_of(PROFILES["dcam"], path) in (Role.SIDECAR, Role.PROXY)}
    assert len(grouped) == len(set(grouped))
    assert set(grouped) == wanted


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ('name = "mine"', "name"),
        ('evidence = "tried"', "evidence"),
        ('time_zone = "Asia/Shanghai"', "time_zone"),
        ("bitrate_kbit = 5800", "bitrate_kbit"),
        ('zh = "我的"', "title.zh"),
        ('footage = ["*.MP4"]', "files.footage"),
    ],
)
def test_a_missing_field_is_named(change: str, key: str) -> None:
    with pytest.raises(ProfileInvalid) as caught:
        parsed(MINIMAL.replace(change, ""))
    assert f"mine.toml: {key}:" in caught.value.en
    assert f"mine.toml: {key}：" in caught.value.zh


@pytest.mark.parametrize(
    ("more", "key"),
    [
        ("colour = 1", "colour"),
        ("[charge]\nsources = ['guess']", "charge.sources"),
        ("[charge]\nsources = ['status_file']", "charge.status_file"),
        ("[charge]\nminimum_percent = 0", "charge.minimum_percent"),
        ("[charge]\nsources = ['driver']", "charge.sources"),
        ("[readiness]\nminimum_free_hours = '2'", "readiness.minimum_free_hours"),
        ("[[name_pattern]]\npattern = '('\nexample = 'x'", "name_pattern[1].pattern"),
        ("[[name_pattern]]\npattern = '中'\nexample = '中'", "name_pattern[1].pattern"),
        ("[[name_pattern]]\npattern = '(?P<rank>.)'\nexample = 'x'", "name_pattern[1].pattern"),
        ("[[name_pattern]]\npattern = 'a'\nexample = 'x'", "name_pattern[1].example"),
        ("[[name_pattern]]\npattern = '(?P<start>.+)'\nexample = 'x'", "name_pattern[1].start_format"),
        (
            "[[name_pattern]]\npattern = '(?P<start>.+)'\nexample = '2026'\nstart_format = '%Y'",
            "name_pattern[1].start_format",
        ),
        (
            "[[name_pattern]]\npattern = '(?P<start>.+)'\nexample = 'x'\nstart_format = '%Y%m%d%H%M'",
            "name_pattern[1].start_format",
        ),
        ("[[identity_file]]\npath = 'a//b'\npattern = '(?P<serial>.)'", "identity_file[1].path"),
        ("[[identity_file]]\npath = 'a'\npattern = '.'", "identity_file[1].pattern"),
        ("name_pattern = 3", "name_pattern"),
    ],
)
def test_a_wrong_value_is_named(more: str, key: str) -> None:
    head, table, tail = MINIMAL.partition("[title]")
    text = MINIMAL + more if more.startswith("[") else head + more + "\n" + table + tail
    with pytest.raises(ProfileInvalid) as caught:
        parsed(text)
    assert f"mine.toml: {key}:" in caught.value.en


@pytest.mark.parametrize("usb", ["1b3f", "1b3f:30fg", "*:*"])
def test_usb_ids_are_vendor_and_product(usb: str) -> None:
    with pytest.raises(ProfileInvalid, match=r"recognise\.usb"):
        parsed(MINIMAL.replace("[recognise]", f"[recognise]\nusb = ['{usb}']"))


toml_values = st.recursive(
    st.text("a%({é中\n\0", max_size=10).map(lambda t: '"' + t.encode("unicode_escape").decode().replace('"', "'") + '"')
    | st.integers(-5, 5).map(str)
    | st.sampled_from(["true", "1.5", "[]", "{}", "2026-01-01", '"*.MP4"', '"("', '"driver"', "'(?P<serial>.)'"]),
    lambda inner: st.lists(inner, max_size=2).map(lambda values: "[" + ",".join(values) + "]"),
    max_leaves=4,
)
KEYS = [
    "name",
    "evidence",
    "time_zone",
    "bitrate_kbit",
    "title",
    "recognise",
    "files",
    "name_pattern",
    "identity_file",
    "charge",
    "readiness",
    "driver",
    "title.zh",
    "recognise.usb",
    "recognise.scsi",
    "recognise.label",
    "recognise.generic",
    "files.footage",
    "files.proxy",
    "charge.sources",
    "charge.status_file.path",
    "driver.transport",
    "driver.commands.identify.send",
    "readiness.minimum_free_hours",
    "x",
]


@settings(deadline=None, max_examples=50)
@given(st.dictionaries(st.sampled_from(KEYS), toml_values, max_size=5))
def test_whatever_a_profile_says_it_is_a_profile_or_one_error(body: dict[str, str]) -> None:
    lines = [line for line in MINIMAL.splitlines() if line.split(" =")[0] not in body and not line.startswith("[")]
    text = "\n".join(f"{key} = {value}" for key, value in body.items()) + "\n" + "\n".join(lines[:4])
    for candidate in (text, text + "\n" + "\n".join(MINIMAL.splitlines()[5:])):
        try:
            profile = parsed(candidate)
        except ProfileInvalid:
            pass
        else:
            assert profile.roles.footage


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_profile_or_one_error(raw: bytes) -> None:
    with pytest.raises(ProfileInvalid):
        parse_profile(raw, "x.toml")


def test_a_site_replaces_a_profile_and_adds_one(tmp_path: FilePath) -> None:
    (tmp_path / "mine.toml").write_text(MINIMAL)
    (tmp_path / "generic.toml").write_text(MINIMAL.replace('"mine"', '"generic"').replace("5800", "4000"))
    found = {profile.name: profile for profile in load_profiles(tmp_path)}
    assert set(found) == {*PROFILES, "mine"}
    assert found["generic"].bitrate_kbit == 4000
    assert not found["generic"].built_in
    assert load_profiles(tmp_path / "missing") == load_profiles()


def test_a_file_is_called_like_its_profile(tmp_path: FilePath) -> None:
    (tmp_path / "other.toml").write_text(MINIMAL)
    with pytest.raises(ProfileInvalid, match=r"other\.toml: name: .* mine\.toml"):
        load_profiles(tmp_path)
    with pytest.raises(ProfileInvalid, match="cannot be read"):
        load_profile(tmp_path / "none.toml")
    (tmp_path / "large.toml").write_bytes(b"#" * 300_000)
    with pytest.raises(ProfileInvalid, match="256 KiB"):
        load_profile(tmp_path / "large.toml")


def test_charge_of_a_status_file() -> None:
    profile = parsed(
        MINIMAL + "[charge]\nsources = ['status_file']\nminimum_percent = 90\n"
        "[charge.status_file]\npath = 'SYS/*.txt'\npattern = 'BAT=(?P<percent>\\d+)'\n"
    )
    assert profile.charge.sources == (ChargeSource.STATUS_FILE,)
    assert profile.charge.minimum_percent == 90
    assert profile.wanted_files == (Glob("SYS/*.txt"),)
    for content, expected in ((b"\xff BAT=63\r\n", 63), (b"BAT=101", None), (b"BAT=1000", None), (b"none", None)):
        assert charge_percent(profile, {of("SYS/a.txt"): content}) == expected
    assert charge_percent(profile, {of("a.txt"): b"BAT=5"}) is None
    assert charge_percent(ZFY, {of("SYS/a.txt"): b"BAT=5"}) is None


def test_space_in_hours() -> None:
    assert ZFY.bytes_per_hour == 2_610_000_000  # the standard's 2.6 GB


def test_every_built_in_pattern_reads_its_own_example_with_all_fields() -> None:
    for profile in PROFILES.values():
        for pattern in profile.names:
            facts = describe_name(profile, of(pattern.example))
            assert facts.matched
            assert facts.role is Role.FOOTAGE
            assert (facts.start is not None) is (pattern.start is not None)


def test_built_in_files_are_all_loaded() -> None:
    assert {path.stem for path in BUILT_IN.glob("*.toml")} == set(PROFILES)


@settings(deadline=None, max_examples=50)
@given(st.binary(max_size=300))
def test_field_text_is_short_and_printable(raw: bytes) -> None:
    text = field_text(raw)
    assert len(text) <= 64
    assert text.isprintable()


def test_the_examples_of_the_page_are_profiles() -> None:
    page = (BUILT_IN / "README.md").read_text("utf-8")
    examples = [block.split("```")[0] for block in page.split("```toml\n")[1:]]
    assert len(examples) == 2
    for example in examples:
        assert parsed(example).driver is not None


def test_the_page_knows_every_key_of_the_built_in_profiles() -> None:
    page = (BUILT_IN / "README.md").read_text("utf-8")
    for path in BUILT_IN.glob("*.toml"):
        body = tomllib.loads(path.read_text("utf-8"))
        keys = set(body) | {key for table in body.values() if isinstance(table, dict) for key in table}
        assert not {key for key in keys if key not in page}
