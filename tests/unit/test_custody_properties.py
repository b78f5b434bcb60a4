"""Properties of the formats: proofs against a naive tree, encode∘decode and parse∘render identity, hostile bytes."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import fields
from datetime import UTC, datetime
from functools import cache
from hashlib import sha256
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
from hypothesis import given
from hypothesis import strategies as st

from custody.checkpoint import (
    Checkpoint,
    SigningKey,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_key_line,
    sign_checkpoint,
    sign_note,
)
from custody.digest import CHUNK_BYTES, CompactRange, RollingHash, digest_stream, leaf_hash, node_hash, tree_root
from custody.envelope import EVENT_TYPE, RECEIPT_TYPE, STATEMENT_TYPE, open_envelope, parse_envelope, seal
from custody.errors import CustodyError, FormatError, ProofInvalid
from custody.event import Event
from custody.events import EVENTS, decode_chain, decode_event, encode_event, seal_event
from custody.fields import Sha256Hex
from custody.manifest import Counts, Gap, ManifestReader, MoreGaps, counts_line, gap_lines, parse_line
from custody.merkle import (
    consistency_proof,
    inclusion_proof,
    root_from_inclusion,
    verify_consistency,
    verify_inclusion,
)
from custody.receipt import open_receipt
from custody.sums import checksum_line, checksum_path
from custody.topics import parse_station_topic

KEY = SigningKey.from_seed("dock-test", bytes(range(32)))
LEAVES = [leaf_hash(bytes([n])) for n in range(70)]


# --- Trees -----------------------------------------------------------------------------------------------------------


@cache
def naive_root(start: int, end: int) -> bytes:
    """RFC 6962 section 2.1, word for word."""
    n = end - start
    if n == 0:
        return sha256(b"").digest()
    if n == 1:
        return LEAVES[start]
    k = 1
    while k * 2 < n:
        k *= 2
    return node_hash(naive_root(start, start + k), naive_root(start + k, end))


def subtree(level: int, index: int) -> bytes:
    return naive_root(index << level, (index + 1) << level)


def test_the_rolling_root_is_the_naive_root_at_every_size() -> None:
    tree = CompactRange()
    for size in range(len(LEAVES) + 1):
        assert tree.root() == naive_root(0, size)
        resumed = CompactRange(tree.size, tree.roots)
        assert resumed.root() == tree.root()
        if size < len(LEAVES):
            tree.append(LEAVES[size])


def test_every_inclusion_proof_verifies_and_no_other_index_does() -> None:
    for size in range(1, 70):
        root = naive_root(0, size)
        for index in range(size):
            proof = inclusion_proof(index, size, subtree)
            verify_inclusion(LEAVES[index], index, size, proof, root)
            with pytest.raises(ProofInvalid):
                verify_inclusion(LEAVES[index], (index + 1) % size if size > 1 else 1, size, proof, root)


def test_every_consistency_proof_verifies() -> None:
    for new in range(1, 70):
        for old in range(1, new + 1):
            proof = consistency_proof(old, new, subtree)
            verify_consistency(old, naive_root(0, old), new, naive_root(0, new), proof)


@given(st.integers(2, 69), st.data())
def test_tampered_proofs_fail(new: int, data: st.DataObject) -> None:
    old = data.draw(st.integers(1, new - 1))
    joined = consistency_proof(old, new, subtree)
    index = data.draw(st.integers(0, new - 1))
    included = inclusion_proof(index, new, subtree)
    bad = data.draw(tampered(joined))
    with pytest.raises(ProofInvalid):
        verify_consistency(old, naive_root(0, old), new, naive_root(0, new), bad)
    bad = data.draw(tampered(included))
    with pytest.raises(ProofInvalid):
        verify_inclusion(LEAVES[index], index, new, bad, naive_root(0, new))


@st.composite
def tampered(draw: st.DrawFn, proof: list[bytes]) -> list[bytes]:
    at = draw(st.integers(0, len(proof) - 1)) if proof else 0
    match draw(st.sampled_from(["flip", "drop", "add", "cut"])):
        case "flip" if proof:
            bit = draw(st.integers(0, 255))
            changed = bytearray(proof[at])
            changed[bit // 8] ^= 1 << bit % 8
            return [*proof[:at], bytes(changed), *proof[at + 1 :]]
        case "drop" if proof:
            return proof[:at] + proof[at + 1 :]
        case "cut" if proof:
            return [*proof[:at], proof[at][:-1], *proof[at + 1 :]]
        case _:
            return [*proof[:at], draw(st.binary(min_size=32, max_size=32)), *proof[at:]]


@given(st.lists(st.binary(max_size=40), max_size=8), st.integers(0, 2**64), st.integers(0, 2**64))
def test_any_proof_gives_a_root_or_our_error(proof: list[bytes], index: int, size: int) -> None:
    try:
        assert len(root_from_inclusion(LEAVES[0], index, size, proof)) == 32
    except ProofInvalid:
        assert True
    with pytest.raises(ProofInvalid):
        verify_consistency(index, LEAVES[0], size, LEAVES[1], proof)


# --- Rolling hash ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [0, 1, CHUNK_BYTES - 1, CHUNK_BYTES, CHUNK_BYTES + 1, 3 * CHUNK_BYTES])
def test_a_stream_digests_as_its_definition_says(size: int) -> None:
    content = bytes(range(256)) * (size // 256) + b"x" * (size % 256)
    chunks = [content[i : i + CHUNK_BYTES] for i in range(0, size, CHUNK_BYTES)]
    found = digest_stream(io.BytesIO(content))
    assert found.sha256 == sha256(content).digest()
    assert found.tree_root == tree_root(leaf_hash(c) for c in chunks)
    assert (found.size_bytes, found.chunk_count) == (size, len(chunks))


def test_a_short_chunk_is_the_last_one() -> None:
    rolling = RollingHash()
    rolling.update(b"x")
    with pytest.raises(ValueError, match="shorter"):
        rolling.update(b"x")
    with pytest.raises(ValueError, match="shorter"):
        RollingHash().update(b"")
    with pytest.raises(ValueError, match="roots"):
        CompactRange(3, [b"x" * 32])


# --- Events and envelopes --------------------------------------------------------------------------------------------

text = st.text(st.characters(codec="utf-8"), max_size=20)
whole = st.integers(0, 2**53 - 1)


def strategy(hint: Any) -> st.SearchStrategy[Any]:
    """Values of a field's type."""
    simple: dict[Any, st.SearchStrategy[Any]] = {
        str: text,
        int: whole,
        bool: st.booleans(),
        Sha256Hex: st.binary(min_size=32, max_size=32).map(bytes.hex),
        datetime: st.datetimes(timezones=st.just(UTC)),
    }
    if hint in simple:
        return simple[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin is Literal:
        return st.sampled_from(args)
    if origin is tuple:
        return st.lists(strategy(args[0]), max_size=3).map(tuple)
    if origin is Union or type(None) in args:
        return st.none() | strategy(next(a for a in args if a is not type(None)))
    return of(hint)


def of(cls: Callable[..., Any]) -> st.SearchStrategy[Any]:
    hints = get_type_hints(cls)
    return st.builds(cls, **{f.name: strategy(hints[f.name]) for f in fields(cls)})  # type: ignore[arg-type]


events = st.one_of([of(EVENTS[kind]) for kind in sorted(EVENTS)])


@given(events)
def test_every_event_decodes_to_itself(event: Event) -> None:
    payload_type, payload = encode_event(event)
    assert decode_event(payload_type, payload) == event
    assert decode_chain(payload_type, payload) == (event.source, event.seq, event.previous)
    raw = seal_event(event, KEY)
    assert open_envelope(raw, KEY.verify_key, payload_type) == payload
    assert parse_envelope(raw).hash == sha256(raw).digest()
    assert set(json.loads(raw)) == {"payload", "payloadType", "signatures"}  # plain DSSE to every other reader
    assert b"TYPE" not in payload


@given(events, st.data())
def test_no_single_bit_of_an_envelope_can_change(event: Event, data: st.DataObject) -> None:
    raw = seal_event(event, KEY)
    bit = data.draw(st.integers(0, len(raw) * 8 - 1))
    changed = bytearray(raw)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(CustodyError):
        open_envelope(bytes(changed), KEY.verify_key, EVENT_TYPE, STATEMENT_TYPE)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@given(events, st.data())
def test_an_event_with_any_field_replaced_raises_only_our_errors(event: Event, data: st.DataObject) -> None:
    payload_type, payload = encode_event(event)
    body = json.loads(payload)
    target = body
    while isinstance(target, dict) and data.draw(st.booleans()):  # walk somewhere into it
        inner = [v for v in target.values() if isinstance(v, dict) and v]
        target = data.draw(st.sampled_from(inner)) if inner else None
    target = target if isinstance(target, dict) else body
    target[data.draw(st.sampled_from(sorted(target)))] = data.draw(json_values)
    raises_only_ours(decode_event, payload_type, json.dumps(body).encode())
    raises_only_ours(decode_chain, payload_type, json.dumps(body).encode())


@given(json_values.map(lambda v: json.dumps(v).encode()) | st.binary(max_size=60) | st.just(b"[" * 100_000))
def test_arbitrary_bytes_raise_only_our_errors(raw: bytes) -> None:
    for payload_type in (EVENT_TYPE, STATEMENT_TYPE, "x"):
        raises_only_ours(decode_event, payload_type, raw)
        raises_only_ours(decode_chain, payload_type, raw)
    raises_only_ours(parse_envelope, raw)
    raises_only_ours(parse_line, raw + b"\n")
    raises_only_ours(lambda: list(ManifestReader(io.BytesIO(raw))))
    if len(raw) < 1000:
        receipt = seal(RECEIPT_TYPE, raw, KEY)
        raises_only_ours(open_receipt, receipt, "dock-test", KEY.verify_key, KEY.verify_key)


@given(st.text(max_size=80) | st.text("\n\u2014 +=aA9/", max_size=80))
def test_arbitrary_text_raises_only_our_errors(value: str) -> None:
    raises_only_ours(parse_key_line, value)
    raises_only_ours(parse_checkpoint, value)
    raises_only_ours(open_note, value, KEY.verify_key)
    raises_only_ours(parse_station_topic, value)
    note = f"{value}\n\n\u2014 dock-test {'A' * 92}\n"
    raises_only_ours(open_checkpoint, note, KEY.verify_key)


def raises_only_ours(call: Callable[..., object], *arguments: object) -> None:
    try:
        call(*arguments)
    except CustodyError:
        assert True


@pytest.mark.parametrize("changes", [{"software": "\ud800"}, {"software": "x" * 40_000}, {"seq": -1}, {"seq": 2**53}])
def test_what_no_reader_would_take_is_never_signed(changes: dict[str, Any]) -> None:
    common = {"id": "x", "source": "s", "seq": 1, "previous": "0" * 64, "at": datetime.now(UTC), "clock": "unknown"}
    event = EVENTS["station.started.v1"](**(common | {"software": "x"} | changes))
    with pytest.raises(FormatError):
        seal_event(event, KEY)


# --- Notes -----------------------------------------------------------------------------------------------------------

names = st.text(st.characters(codec="utf-8", exclude_characters='+"\\', exclude_categories=["Cc", "Zs", "Zl", "Zp"]), min_size=1)  # fmt: skip # noqa: E501
bodies = st.text(st.characters(codec="utf-8", exclude_categories=["Cc"]) | st.just("\n"), max_size=60).map(lambda t: t + "\n")  # fmt: skip # noqa: E501


@given(names, st.binary(min_size=32, max_size=32), bodies)
def test_a_note_opens_to_its_text_and_a_key_line_to_its_key(name: str, seed: bytes, body: str) -> None:
    key = SigningKey.from_seed(name, seed)
    again = parse_key_line(key.verify_key.line)
    assert again.line == key.verify_key.line
    assert open_note(sign_note(body, key), again) == body


@given(st.integers(0, 10**18), st.binary(min_size=32, max_size=32))
def test_a_checkpoint_opens_to_itself(size: int, root: bytes) -> None:
    checkpoint = Checkpoint("dock-test", size, root)
    assert open_checkpoint(sign_checkpoint(checkpoint, KEY), KEY.verify_key) == checkpoint


# --- Manifest lines and SHA256SUMS -----------------------------------------------------------------------------------


@given(of(Counts), st.lists(of(Gap), max_size=3), st.sampled_from([1, 400, 1000]))
def test_counts_and_gaps_read_back(counts: Counts, some: list[Gap], times: int) -> None:
    gaps = some * times
    assert parse_line(counts_line(counts)) == counts
    read = [parse_line(line) for line in gap_lines(7, gaps)]
    assert [gap for line in read if isinstance(line, MoreGaps) for gap in line.gaps] == gaps


@given(st.binary(min_size=1, max_size=30).filter(lambda p: b"\0" not in p))
def test_a_checksum_line_gives_its_path_back(path: bytes) -> None:
    line = checksum_line("0" * 64, path)
    assert checksum_path(line) == path
    assert line.count(b"\n") == 1
