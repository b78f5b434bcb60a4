"""What counts as footage, and how little we believe the parser."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent.media import _media, begins_as_named, is_media
from custody.stationevents import Media


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        (b"cam/2026/03/01/d/DCIM/VID1.MP4", True),
        (b"a.lrv", True),
        ("执法.ts".encode(), True),
        (b"VID%v2.MP4", True),
        (b"VID%h0123456789abcdef.mov", True),
        (b"a.mp4.md5", False),
        (b"camera.log", False),
        (b"mp4", False),
        (b"folder.mp4/readme", False),
        (b"dir.x/mp4", False),
        (b"", False),
    ],
)
def test_is_media(path: bytes, expected: bool) -> None:
    assert is_media(path) is expected


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=80),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
fields = st.sampled_from(
    ["container", "duration_ms", "started_at", "video_codec", "width", "truncated", "playable", "x"]
)


@given(st.dictionaries(fields, json_values))
def test_whatever_the_parser_says_only_expected_types_pass(answer: dict[str, object]) -> None:
    media = _media(answer)
    for text in (media.container, media.started_at, media.video_codec, media.audio_codec):
        assert text is None or (0 < len(text) <= 64 and text.isprintable())
    for number in (media.duration_ms, media.width, media.height):
        assert number is None or (0 <= number < 2**53 and type(number) is int)
    assert media.truncated in (None, True, False)
    assert media.playable in (None, True, False)


@given(json_values)
def test_anything_but_an_object_is_refused(answer: object) -> None:
    if isinstance(answer, dict):
        assert isinstance(_media(answer), Media)
    else:
        with pytest.raises(ValueError, match="object"):
            _media(answer)


@pytest.mark.parametrize(
    ("name", "head", "expected"),
    [
        (b"a.MP4", b"\x00\x00\x00\x20ftypisom", True),
        (b"a.mov", b"\x00\x00\x00\x08wide\x00\x00\x00\x00", True),
        (b"a.mp4", bytes(12), False),
        (b"a.mp4", b"", False),
        (b"a.AVI", b"RIFF\x00\x00\x00\x00AVI ", True),
        (b"a.mkv", b"<html>", False),
        (b"a.ts", b"\x12\x34", True),  # a stream may begin in the middle of a packet
        (b"a.mp3", b"anything", True),
    ],
)
def test_noise_under_a_media_name_never_reaches_the_parser(name: bytes, head: bytes, expected: bool) -> None:
    assert begins_as_named(name, head) is expected
