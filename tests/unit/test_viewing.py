"""The pure parts of viewing: what a station decides, what the hub proves, counts and sends."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from agent.grants import GrantRow, Reached, Uptime
from agent.viewing.decision import CHALLENGE_SECONDS, MAX_NONCES, FileFacts, Freshness, Moment, why_refused
from agent.viewing.footage import FileTree
from custody.digest import CHUNK_BYTES, leaf_hash, tree_root
from custody.errors import ProofInvalid
from custody.viewing import ViewingRefused, chunk_count, chunk_length, open_request, prove_chunk, seal_request
from hub.viewing.policy import RangeUnsatisfiable, Span, add_chunks, count_chunks, parse_range, seconds_of
from tests.vectors.commandcases import COMMAND_KEY
from tests.vectors.viewingcases import LOG_KEY, STATION, request

AT = datetime(2026, 3, 5, 8, 0, tzinfo=UTC)
REQUEST = request()
GRANT = GrantRow(
    REQUEST.grant_id, REQUEST.docking, REQUEST.file_sha256, REQUEST.holder, "2026-17", 600, AT + timedelta(hours=1),
    Reached(AT, Uptime("boot", 1000)), revoked=False,
)  # fmt: skip
FILE = FileFacts(b"a.mp4", b"a.leaves", 20 * CHUNK_BYTES)
NOW = Moment(AT, "synchronised", Uptime("boot", 1001), None)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({}, None),
        ({"grant": None}, "grant_unknown"),
        ({"grant": replace(GRANT, holder="li")}, "wrong_holder"),
        ({"grant": replace(GRANT, docking="other")}, "wrong_file"),
        ({"grant": replace(GRANT, file_sha256="cd" * 32)}, "wrong_file"),
        ({"grant": replace(GRANT, revoked=True)}, "revoked"),
        ({"moment": replace(NOW, uptime=Uptime("boot", 1600))}, "expired"),
        ({"moment": replace(NOW, now=AT - timedelta(days=9), uptime=Uptime("boot", 1600))}, "expired"),
        ({"moment": replace(NOW, mark=Reached(AT + timedelta(days=1), Uptime("x", 1)))}, "expired"),
        ({"moment": Moment(AT, "unknown", Uptime("other", 1), None)}, "clock_unsynchronised"),
        ({"file": None}, "not_saved"),
        ({"request": replace(REQUEST, first_chunk=4)}, None),
        ({"request": replace(REQUEST, first_chunk=5)}, "bad_range"),
        ({"request": replace(REQUEST, first_chunk=1 << 52)}, "bad_range"),
    ],
)
def test_why_a_station_gives_nothing(changes: dict[str, object], why: str | None) -> None:
    facts = {"request": REQUEST, "grant": GRANT, "file": FILE, "moment": NOW} | changes
    assert why_refused(**facts) == why  # type: ignore[arg-type]


class Watch:
    def __init__(self) -> None:
        self.seconds = 0.0

    def __call__(self) -> float:
        return self.seconds


def test_a_request_counts_once_and_only_for_a_while() -> None:
    watch = Watch()
    freshness = Freshness(watch)
    first = replace(REQUEST, challenge=freshness.challenge)
    assert freshness.use(REQUEST) == "stale"
    assert freshness.use(replace(REQUEST, challenge="")) == "stale"  # that of before the first is none
    assert [freshness.use(first), freshness.use(first)] == [None, "replayed"]
    watch.seconds += CHALLENGE_SECONDS
    assert freshness.challenge != first.challenge
    assert freshness.use(first) == "replayed"
    late = replace(first, nonce="1" * 32)
    assert freshness.use(late) is None  # it was on its way
    watch.seconds += CHALLENGE_SECONDS
    assert freshness.use(replace(first, nonce="2" * 32)) == "stale"
    forgotten = freshness.challenge
    watch.seconds += 2 * CHALLENGE_SECONDS
    assert freshness.use(replace(first, challenge=forgotten)) == "stale"
    assert Freshness(watch).use(late) == "stale"  # a process that starts anew


def test_the_memory_of_nonces_is_bounded() -> None:
    freshness = Freshness(Watch())
    first = freshness.challenge
    for n in range(MAX_NONCES):
        assert freshness.use(replace(REQUEST, challenge=first, nonce=f"{n:032x}")) is None
    assert freshness.challenge != first


def test_of_2_000_altered_requests_none_is_opened() -> None:
    raw, chance = seal_request(REQUEST, COMMAND_KEY), random.Random(3)
    keys = COMMAND_KEY.verify_key, LOG_KEY.verify_key
    for _ in range(2000):
        at = chance.randrange(len(raw))
        with pytest.raises(ViewingRefused):
            open_request(raw[:at] + bytes([raw[at] ^ 1 << chance.randrange(8)]) + raw[at + 1 :], STATION, *keys)
    assert open_request(raw, STATION, *keys) == REQUEST  # the control


@pytest.mark.parametrize("count", [1, 2, 3, 7, 8, 13])
def test_every_proof_of_a_file_leads_to_its_root_and_no_other_chunk_does(count: int) -> None:
    chunks = [bytes([n]) * (CHUNK_BYTES if n < count - 1 else 10 + n) for n in range(count)]
    size_bytes, leaves = sum(map(len, chunks)), [leaf_hash(one) for one in chunks]
    root, tree = tree_root(leaves), FileTree(b"".join(leaves))
    assert chunk_count(size_bytes) == count
    for n, chunk in enumerate(chunks):
        assert chunk_length(n, size_bytes) == len(chunk)
        prove_chunk(chunk, n, size_bytes, tree.proof(n), root)
        for wrong in (chunk[:-1] + b"\xff", chunk + b"\0", chunk[:-1]):
            with pytest.raises(ProofInvalid):
                prove_chunk(wrong, n, size_bytes, tree.proof(n), root)
        with pytest.raises(ProofInvalid):
            prove_chunk(chunk, (n + 1) % count if count > 1 else 1, size_bytes, tree.proof(n), root)


@pytest.mark.parametrize(
    ("header", "span"),
    [
        (None, None), ("bytes=0-", Span(0, 99)), ("bytes=0-0", Span(0, 0)), ("bytes=10-19", Span(10, 19)),
        ("bytes=90-500", Span(90, 99)), ("bytes=-10", Span(90, 99)), ("bytes=-500", Span(0, 99)), ("bytes=-", None),
        ("bytes=5-4", None), ("bytes=0-1,5-6", None), ("items=0-1", None), ("bytes=a-b", None), ("", None),
    ],
)  # fmt: skip
def test_ranges(header: str | None, span: Span | None) -> None:
    assert parse_range(header, 100) == span


@pytest.mark.parametrize("header", ["bytes=100-", "bytes=100-200", "bytes=-0"])
def test_ranges_that_hold_nothing(header: str) -> None:
    with pytest.raises(RangeUnsatisfiable):
        parse_range(header, 100)


def test_seconds_follow_from_the_different_chunks_that_were_sent() -> None:
    size_bytes = 100 * CHUNK_BYTES
    assert seconds_of(0, size_bytes, 600_000) == 0
    assert seconds_of(10, size_bytes, 600_000) == 60
    assert seconds_of(1, size_bytes, 600_500) == 7  # rounded up: less than was seen is never stated
    assert seconds_of(101, size_bytes, 600_000) == 600
    assert seconds_of(1, 1000, 5_000) == 5
    assert seconds_of(10, size_bytes, None) is None
    bits = add_chunks(add_chunks(None, frozenset({0, 9, 99}), size_bytes), frozenset({9, 10}), size_bytes)
    assert (count_chunks(bits), count_chunks(None), len(bits)) == (4, 0, 13)
