"""The inspector's answer is believed in its types only; its sample is bounded and spread."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from agent import wire
from agent.errors import AgentError, InspectionFailed, NotAFileSystem, VaultFull
from agent.inspection import Sampled, parse_answer
from agent.inspector import PER_FOLDER, PER_TOP, SAMPLE_MAX, Survey
from agent.profiles.globs import Glob
from agent.source import Entry

GOOD: dict[str, Any] = {
    "t": "inspection",
    "facts": {
        "kind": "image", "file_systems": ["FAT32"], "labels": ["CAM"], "volume_ids": ["1234-ABCD"], "size_bytes": 9,
        "time_basis": "camera_local",
    },
    "spaces": [[100, None, False]],
    "files": 1,
    "size_bytes": 2,
    "findings": 0,
    "newest_ns": -5,
    "whole": True,
    "sample": [[wire.path_to_text((b"DCIM", b"\xd6\xd0.MP4")), 2, None]],
    "contents": [[wire.path_to_text((b"ID.TXT",)), "U049MQ=="]],
}  # fmt: skip


def test_reads_an_answer() -> None:
    inspection = parse_answer(wire.encode_frame(GOOD))
    assert inspection.sample == (Sampled((b"DCIM", b"\xd6\xd0.MP4"), 2, None),)
    assert inspection.contents == {(b"ID.TXT",): b"SN=1"}
    assert inspection.free_bytes is None
    assert inspection.newest_ns == -5


def test_an_error_of_the_inspector_is_its_error() -> None:
    error = NotAFileSystem("no file system", "没有文件系统")
    with pytest.raises(NotAFileSystem, match="no file system"):
        parse_answer(wire.encode_frame(wire.error_to_json(error)))


def test_the_inspector_cannot_stop_the_station() -> None:
    with pytest.raises(InspectionFailed):
        parse_answer(wire.encode_frame(wire.error_to_json(VaultFull())))


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text("a1=", max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("tab", max_size=2), inner, max_size=3),
    max_leaves=5,
)


@settings(deadline=None)
@given(st.sampled_from([key for key in GOOD if key != "t"]), json_values)
def test_a_wrong_type_anywhere_is_nonsense_or_harmless(key: str, value: Any) -> None:
    line = json.dumps(GOOD | {key: value}).encode() + b"\n"
    try:
        inspection = parse_answer(line)
    except InspectionFailed:
        return
    assert all(isinstance(path, tuple) and isinstance(content, bytes) for path, content in inspection.contents.items())
    assert all(type(sampled.size_bytes) is int for sampled in inspection.sample)


@settings(deadline=None)
@given(st.binary(max_size=50))
def test_any_line_is_an_answer_or_one_error(line: bytes) -> None:
    with pytest.raises(AgentError):
        parse_answer(line)


def entry(*path: bytes, size: int = 1, modified: int | None = 0) -> Entry:
    return Entry(path, size, modified, "")


def test_the_sample_is_spread_over_folders_and_bounded() -> None:
    survey = Survey((Glob("*.TXT"),))
    for folder in range(30):
        for n in range(50):
            survey.add(entry(b"DCIM", b"%03d" % folder, b"%04d.MP4" % n, size=10, modified=n))
    survey.add(entry(b"ID.TXT", modified=None))
    survey.add(entry(b"LARGE.TXT", size=70_000))
    survey.add(entry(b"x" * 5000))
    paths = [sampled.path for sampled in survey.sampled()]
    assert paths[:2] == [(b"ID.TXT",), (b"LARGE.TXT",)]  # breadth first
    assert len(paths) == 2 + PER_TOP
    assert len({path[1] for path in paths[2:]}) == PER_TOP // PER_FOLDER
    assert (survey.files, survey.size_bytes, survey.newest_ns) == (1503, 15_000 + 70_002, 49)
    assert [small.path for small in survey.small] == [(b"ID.TXT",)]


def test_the_sample_has_an_end() -> None:
    survey = Survey(())
    for top in range(3000):
        survey.add(entry(b"%d" % top, b"a"))
    assert len(survey.sample) == SAMPLE_MAX
    assert survey.newest_ns == 0
