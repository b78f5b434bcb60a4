"""How the hub reads a witness's HTTP answers: ours, those of other programs, and rubbish."""

from __future__ import annotations

import pytest

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import EMPTY_ROOT
from custody.witness import SIZE_TYPE, Code, refusal_text
from hub.witnesses.asking import Request
from hub.witnesses.http import read_response
from hub.witnesses.queries import InForce

LOG = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
NOTE = sign_checkpoint(Checkpoint(LOG.name, 0, EMPTY_ROOT), LOG)
WITNESS = InForce("w.example", "line", None, "http://127.0.0.1:1", 5, None, online=True)
ASKED = Request(WITNESS, 5, 9, b"")


@pytest.mark.parametrize(
    ("status", "body", "kind", "expected"),
    [
        (200, "\u2014 w.example AAAA\n", "", ("cosigned.v1", 9, "", "")),
        (409, "7\n", SIZE_TYPE, ("conflict.v1", 7, "", "")),
        (409, "7\n", f"{SIZE_TYPE}; charset=utf-8", ("conflict.v1", 7, "", "")),
        (409, "5\n", SIZE_TYPE, ("refused.v1", 5, Code.FORK, "")),  # it agrees on the size and refuses: another root
        (422, refusal_text(Code.PROVE_FIRST, NOTE), "", ("refused.v1", 5, Code.PROVE_FIRST, NOTE)),
        (422, refusal_text(Code.STOPPED, ""), "", ("refused.v1", 5, Code.STOPPED, "")),
        (422, "<html>", "", ("refused.v1", 5, Code.BAD_PROOF, "")),
        (403, "", "", ("refused.v1", 5, Code.BAD_FORMAT, "")),
        (409, "no number", SIZE_TYPE, ("refused.v1", 5, Code.BAD_FORMAT, "")),
        (409, "7\n", "text/html", ("refused.v1", 5, Code.BAD_FORMAT, "")),
        (500, "\x00\xff", "", ("refused.v1", 5, Code.BAD_FORMAT, "")),
    ],
)
def test_answers(status: int, body: str, kind: str, expected: tuple[str, int, str, str]) -> None:
    answer = read_response(ASKED, status, body.encode(), kind)
    assert answer is not None
    assert (answer.type, answer.size, answer.code, answer.pending) == expected
