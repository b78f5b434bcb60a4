"""The small forms of a bundle: proofs, lists, cosignatures."""

from __future__ import annotations

import base64
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.bag import MAX_BAG_LINE_BYTES, manifest_bytes, read_manifest
from custody.checkpoint import SigningKey
from custody.cosignature import cosigned_at, parse_witness_line
from custody.errors import CustodyError, FormatError, KeyInvalid, SignatureInvalid
from custody.tlogproof import LogProof, parse_proof

# C2SP tlog-checkpoint and tlog-cosignature, made by another implementation: see custody/spec/bundle.md
NOTE = """\
hub.example/audit
8
XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=

\u2014 hub.example/audit xQbAcN7X+oCEp2xHVZiC5TzX97spgSzYs5Z9BGdKP0Ul2c5gbj/RTmcjmflqA25h1xWZPauVQCIxks1Ad5hWkWjSbwY=
\u2014 witness.example/w1 IDJKvgAAAABlU/EAqkaG7BzVPxdn1Y3Tl+aAZOxre8tkJFVq8gHwlPf124xpfN2UUUWZXD/f+Cf5VbW7ey+tg6vbGaK1FjcU89y6CA==
"""  # noqa: E501
WITNESS = "witness.example/w1+20324abe+BCmsuuFBvMrwsi4alNNNC8c2HlJtC/4SyJeUvJMilm3X"


def test_a_witness_of_another_implementation_is_read() -> None:
    at = cosigned_at(NOTE, parse_witness_line(WITNESS))
    assert at is not None
    assert at.timestamp() == 1_700_000_000


def test_a_witness_that_has_not_signed_is_told_from_a_forged_signature() -> None:
    witness = parse_witness_line(WITNESS)
    assert cosigned_at(NOTE.rpartition("\u2014 witness")[0], witness) is None
    line = NOTE.rsplit(" ", 1)[1]
    raw = base64.b64decode(line)
    for at in range(4, len(raw)):  # time and signature; the first four bytes only select
        changed = raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]
        with pytest.raises((SignatureInvalid, FormatError)):
            cosigned_at(NOTE.replace(line.strip(), base64.b64encode(changed).decode()), witness)
    with pytest.raises(SignatureInvalid):
        cosigned_at(NOTE.replace("\n8\n", "\n9\n"), witness)


@pytest.mark.parametrize(
    "line",
    [
        WITNESS.replace("w1", "w2"),
        WITNESS.replace("BCms", "ACms"),
        WITNESS[:-1],
        SigningKey.from_seed("a", bytes(32)).verify_key.line,
        "",
    ],
)
def test_a_damaged_witness_line_is_refused(line: str) -> None:
    with pytest.raises(KeyInvalid):
        parse_witness_line(line)


@given(st.integers(0, 10**18), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_a_proof_reads_back_as_it_was_written(index: int, hashes: list[bytes]) -> None:
    proof = LogProof(index, tuple(hashes), NOTE)
    assert parse_proof(proof.text.encode()) == proof


@given(st.integers(0, 1000), st.binary(max_size=3), st.integers(0, 2))
def test_an_edited_proof_never_reads_as_the_same(at: int, inserted: bytes, cut: int) -> None:
    good = LogProof(77, (b"x" * 32, b"y" * 32), NOTE).text.encode()
    at %= len(good)
    edited = good[:at] + inserted + good[at + cut :]
    if edited == good:
        return
    with suppress(CustodyError):
        assert parse_proof(edited).text.encode() == edited


@pytest.mark.parametrize(
    "text",
    [
        "c2sp.org/tlog-proof@v1\nextra eA==\nindex 7\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 07\n\n" + NOTE,
        "c2sp.org/tlog-proof@v2\nindex 7\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 7\neHg=\n\n" + NOTE,
        "c2sp.org/tlog-proof@v1\nindex 7",
        "c2sp.org/tlog-proof@v1",
        "",
    ],
)
def test_a_proof_has_one_form(text: str) -> None:
    with pytest.raises(FormatError):
        parse_proof(text.encode())


NAMES = st.lists(
    st.binary(min_size=1, max_size=9).filter(lambda b: b not in (b".", b"..") and b"/" not in b), min_size=1
)


@given(st.dictionaries(NAMES.map(b"/".join), st.just("0" * 64)))
def test_lists_read_back_whatever_the_names(digests: dict[bytes, str]) -> None:
    lines = list(manifest_bytes(digests))
    assert dict(read_manifest(lines)) == digests
    assert all(line.count(b"\n") == 1 and len(line) < MAX_BAG_LINE_BYTES for line in lines)


@pytest.mark.parametrize(
    "lines",
    [
        [b"0" * 64 + b"  b\n", b"0" * 64 + b"  a\n"],
        [b"0" * 64 + b"  a\n", b"0" * 64 + b"  a\n"],
        [b"0" * 64 + b" a\n"],
        [b"A" * 64 + b"  a\n"],
        [b"0" * 64 + b"  a"],
        [b"0" * 64 + b"  a%2\n"],
        [b"0" * 64 + b"  a%2f\n"],
        [b"0" * 64 + b"  ../a\n"],
        [b"0" * 64 + b"  /a\n"],
    ],
)
def test_a_list_has_one_form(lines: list[bytes]) -> None:
    with pytest.raises(FormatError):
        list(read_manifest(lines))
