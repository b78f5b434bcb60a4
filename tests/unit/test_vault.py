"""Naming in the vault: known answers, and for any names a camera could hold: safe, distinct, reversible."""

import hashlib
import subprocess
from datetime import date
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from agent.vault import (
    decode_component,
    display_path,
    docking_path,
    encode_component,
    leaves_path,
    relative_path,
    segment_path,
)
from custody.sums import checksum_line

DAY = date(2026, 3, 1)
nasty = st.lists(
    st.sampled_from([b"a", b".", b"/", b"%", b"\n", b"\x00", b"\xff", b"\xd6\xd0", "中".encode(), "\u202e".encode()])
    | st.sampled_from([b".leaves", b"%v2", b"%2F", b"%h0123456789abcdef", b"\xed\xa0\x80", b".custody", b"SHA256SUMS"]),
    max_size=12,
).map(b"".join)
names = st.binary(max_size=40) | nasty | st.binary(min_size=150, max_size=400)
paths = st.lists(names, min_size=1, max_size=5).map(tuple)


@pytest.mark.parametrize(
    ("raw", "encoded"),
    [
        (b"VID00001.MP4", b"VID00001.MP4"),
        ("执法 记录.mp4".encode(), "执法 记录.mp4".encode()),
        ("警".encode("gbk"), b"%BE%AF"),
        ("执法".encode("gbk"), b"\xd6\xb4%B7%A8"),  # its first half happens to be UTF-8
        (b"a/b", b"a%2Fb"),
        (b"100%.mp4", b"100%25.mp4"),
        (b".", b"%2E"),
        (b"..", b"%2E%2E"),
        (b"...", b"..."),
        (b"", b"%e"),
        (b"\x00", b"%00"),
        (b"new\nline\x7f", b"new%0Aline%7F"),
        ("\x85".encode(), b"%C2%85"),
        ("\u202egpj.exe".encode(), b"%E2%80%AEgpj.exe"),
        (b"\xed\xa0\x80", b"%ED%A0%80"),
        (b"x.leaves", b"x%2Eleaves"),
    ],
)
def test_known_encodings(raw: bytes, encoded: bytes) -> None:
    assert encode_component(raw) == encoded
    assert decode_component(encoded) == raw


def test_a_long_name_is_cut_between_characters_and_keeps_its_extension() -> None:
    raw = ("执法" * 60).encode() + b".MP4"
    encoded = encode_component(raw)
    mark = b"%h" + hashlib.sha256(raw).hexdigest()[:16].encode()
    assert encoded.endswith(mark + b".MP4")
    assert encoded.removesuffix(mark + b".MP4").decode() == "执法" * 32 + "执"
    with pytest.raises(ValueError, match="seal"):
        decode_component(encoded)


def test_segment_and_leaves_paths() -> None:
    path = (b"DCIM", b"VID.MP4")
    assert segment_path(docking_path("7E00001", DAY, "d1"), path) == b"7E00001/2026/03/01/d1/DCIM/VID.MP4"
    assert segment_path(docking_path("7E00001", DAY, "d1"), path, 2) == b"7E00001/2026/03/01/d1/DCIM/VID%v2.MP4"
    assert (
        leaves_path(docking_path("7E00001", DAY, "d1"), path)
        == b"7E00001/2026/03/01/d1/.custody/leaves/DCIM/VID.MP4.leaves"
    )
    assert relative_path((b".hidden",), 3) == b".hidden%v3"


def test_our_own_names_cannot_come_from_a_camera() -> None:
    assert relative_path((b"SHA256SUMS",)) == b"%53HA256SUMS"
    assert relative_path((b".custody", b"manifest.jsonl")) == b"%2Ecustody/manifest.jsonl"
    assert relative_path((b"DCIM", b"SHA256SUMS")) == b"DCIM/SHA256SUMS"
    assert segment_path(docking_path(".staging", DAY, "d"), (b"a",)).startswith(b"%2Estaging/")
    assert segment_path(docking_path("../../etc", DAY, ".."), (b"a",)) == b"%2E.%2F..%2Fetc/2026/03/01/%2E%2E/a"


def test_a_path_that_is_too_deep_becomes_short_and_stays_distinct() -> None:
    deep = tuple(b"d%d" % i for i in range(1500))
    one, other = relative_path((*deep, b"x.mp4")), relative_path((*deep[:-1], b"e", b"x.mp4"))
    assert one != other
    assert len(one) < 300
    assert one.endswith(b"/x.mp4")


@given(names)
@example(b"%v2")
@example(b"%e")
def test_round_trip(raw: bytes) -> None:
    encoded = encode_component(raw)
    if b"%h" not in encoded:
        assert decode_component(encoded) == raw
    else:
        assert len(encoded) > 200


@given(paths, st.integers(1, 120))
def test_a_vault_path_is_always_safe(path: tuple[bytes, ...], version: int) -> None:
    for place in (
        segment_path(docking_path("cam", DAY, "d"), path, version),
        leaves_path(docking_path("cam", DAY, "d"), path, version),
    ):
        place.decode("utf-8")
        assert len(place) < 4000
        for part in place.split(b"/"):
            assert part not in (b"", b".", b"..")
            assert len(part) <= 255
            assert not any(byte < 0x20 or byte == 0x7F for byte in part)


@given(paths, paths, st.integers(1, 3), st.integers(1, 3))
@example((b"a",), (b"a.leaves", b"b"), 1, 1)
@example((b"a/b",), (b"a", b"b"), 1, 1)
@example((b"a%v2.b",), (b"a.b",), 1, 2)
@example((b".custody", b"leaves", b"a.leaves"), (b"a",), 1, 1)
def test_different_files_never_meet(a: tuple[bytes, ...], b: tuple[bytes, ...], v: int, w: int) -> None:
    if (a, v) == (b, w) or a == b[: len(a)] or b == a[: len(b)]:
        return
    mine = [segment_path(docking_path("c", DAY, "d"), a, v), leaves_path(docking_path("c", DAY, "d"), a, v)]
    yours = [segment_path(docking_path("c", DAY, "d"), b, w), leaves_path(docking_path("c", DAY, "d"), b, w)]
    for one in mine:
        for other in yours:
            assert one != other
            assert not (one + b"/").startswith(other + b"/")
            assert not (other + b"/").startswith(one + b"/")


def test_sha256sum_reads_our_lines(tmp_path: Path) -> None:
    lines = []
    for name in (b"plain.mp4", b"back\\slash", "中文 空格.mp4".encode(), b"new\nline", b" lead", b"*star"):
        content = b"content of " + name
        (tmp_path / name.decode()).write_bytes(content)
        lines.append(checksum_line(hashlib.sha256(content).hexdigest(), name))
    (tmp_path / "SHA256SUMS").write_bytes(b"".join(lines))
    check = subprocess.run(
        ["sha256sum", "--strict", "-c", "SHA256SUMS"], cwd=tmp_path, capture_output=True, check=False
    )
    assert check.returncode == 0, check
    assert check.stdout.count(b": OK") == len(lines)


@given(paths)
def test_what_people_see_is_inert(path: tuple[bytes, ...]) -> None:
    shown = display_path(path)
    assert shown.isprintable() or all(c.isprintable() or ord(c) > 0x9F for c in shown)
    assert shown.count("/") == len(path) - 1
    assert "\u202e" not in shown


def test_people_see_gbk_names() -> None:
    assert display_path((b"DCIM", "执法记录.MP4".encode("gbk"))) == "DCIM/执法记录.MP4"
    assert display_path((b"\xff\xfe",)) == "%FF%FE"
    assert display_path((b"a\nb",)) == "a%0Ab"
