"""Names out of cameras and from people do nothing to a terminal, and JSON stays the same JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from custody.inert import inert, inert_json, inert_lines

ODD = st.text(st.characters(), max_size=40)
ACTS = "\x1b]0;owned\x07\x9b31m\u202egpj.exe\u2066\u200b\r\n\x00\ud800"


@given(ODD)
def test_whatever_is_printed_prints(text: str) -> None:
    assert inert(text).isprintable()
    assert inert_lines([text]).replace("\t", "").isprintable()
    shown = inert_json({text: [text]})
    assert shown.isprintable()
    assert json.loads(shown) == {text: [text]}


def test_letters_stay_letters() -> None:
    assert inert_json({"路径": "执法记录/é.MP4"}) == '{"路径": "执法记录/é.MP4"}'
    assert inert_lines(["一\t二", "三"]) == "一\t二\n三"
    assert json.loads(inert_json([ACTS], indent=2)) == [ACTS]
    assert "\\u202e" in inert_json(ACTS)
    assert "\\u202e" in inert(ACTS)
