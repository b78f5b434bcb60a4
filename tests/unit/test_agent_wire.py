"""What the agent takes from a worker: its own words only, whatever the worker became."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from agent import wire
from agent.copies import Failed
from agent.errors import SourceError, SourceUnreadable, VaultFull


def test_an_error_comes_back_as_its_class() -> None:
    assert isinstance(wire.error_from_json(wire.error_to_json(VaultFull())), VaultFull)


@pytest.mark.parametrize("frame", [{"t": "error"}, {"t": "error", "code": "store_untrusted", "en": "x", "zh": "x"}])
def test_a_worker_cannot_say_that_the_station_is_broken(frame: wire.Frame) -> None:
    error = wire.error_from_json(frame)
    assert isinstance(error, SourceError)
    assert error.code == SourceUnreadable.code


def test_a_failure_is_told_in_a_manifest_line_whatever_its_length() -> None:
    failed = wire.result_from_json(["failed", 1, "c" * 10**6, "d" * 10**6])
    assert isinstance(failed, Failed)
    assert len(failed.code) + len(failed.detail) <= 2 * wire.TEXT_MAX


@given(st.lists(st.binary(max_size=8) | st.text(max_size=12).map(str.encode), max_size=5).map(tuple))
def test_a_path_has_one_text_and_comes_back(path: tuple[bytes, ...]) -> None:
    text = wire.path_to_text(path)
    assert text == json.dumps([component.decode("latin-1") for component in path], separators=(",", ":"))
    assert wire.path_from_text(text) == path
