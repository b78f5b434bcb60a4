"""Wording: every kind has both languages, and no name from a disk can act on a terminal."""

from __future__ import annotations

import json
import re
import string

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.examine import Report
from custody.finding import INFORMATION, ChunkRange, Exit, Finding, Kind, verdict
from custody.report import TEXT, Lang, as_json, inert, render, render_finding

HOSTILE = b"\x1b]0;owned\x07\x1b[2J\r\n\xff\xc2\x9b31m" + "\u202egpj.exe\u2028\u200b".encode()


@pytest.mark.parametrize("kind", list(Kind))
@pytest.mark.parametrize("lang", ["zh", "en"])
def test_every_kind_is_worded_and_hostile_names_are_inert(kind: Kind, lang: Lang) -> None:
    finding = Finding(kind, HOSTILE, HOSTILE, expected="file", actual=7, detail="\x1b\u202e")
    lines = list(render_finding(finding, lang))
    assert len(lines) >= 2
    assert not re.search("[\x00-\x1f\x7f-\x9f\u202a-\u202e\u2028]", "".join(lines))
    json.dumps(as_json(Report(HOSTILE, Exit.ALTERED, (finding,), (), False)))
    english, chinese = ({f for _, f, _, _ in string.Formatter().parse(text) if f} for text in TEXT[kind])
    assert english == chinese


@given(st.binary(max_size=30), st.binary(max_size=30))
def test_inert_names_print_and_stay_apart(name: bytes, other: bytes) -> None:
    shown = inert(name)
    assert shown.isprintable()
    assert shown.encode().decode() == shown
    assert (shown == inert(other)) == (name == other)


def test_a_chunk_range_names_bytes_and_estimated_seconds() -> None:
    chunk = ChunkRange(3, 4, 3 << 20, 2 << 20, (12.0, 20.0))
    finding = Finding(Kind.ALTERED, b"/v", b"a.mp4", chunks=(chunk,), chunk_count=9, more_chunks=True)
    english, chinese = "\n".join(render_finding(finding, "en")), "\n".join(render_finding(finding, "zh"))
    assert "chunks 3–4 (from 0, of 9), bytes 3145728–5242879, about 12.0–20.0 s (estimate)" in english
    assert "分块 3–4（自 0 起，共 9 块），字节 3145728–5242879，约第 12.0–20.0 秒（估计）" in chinese


@pytest.mark.parametrize(
    ("kinds", "dockings", "expected"),
    [
        ([], 1, Exit.VERIFIED),
        ([], 0, Exit.NOTHING),
        ([Kind.STAGING], 0, Exit.NOTHING),
        (sorted(INFORMATION), 1, Exit.VERIFIED),
        ([Kind.UNREADABLE], 1, Exit.UNREADABLE),
        ([Kind.UNREADABLE, Kind.MISSING], 1, Exit.ALTERED),
        ([Kind.NOT_CLOSED], 1, Exit.ALTERED),
    ],
)
def test_the_verdict_follows_the_worst_finding(kinds: list[Kind], dockings: int, expected: Exit) -> None:
    assert verdict([Finding(kind, b"/v") for kind in kinds], dockings) is expected


def test_the_authorship_is_said_in_both_languages() -> None:
    report = Report(b"/v", Exit.VERIFIED, (), (), False)
    assert "AUTHORSHIP IS NOT PROVED" in "\n".join(render(report, "en"))
    assert "未证明签名者身份" in "\n".join(render(report, "zh"))
