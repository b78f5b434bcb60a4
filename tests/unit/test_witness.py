"""What a witness decides: C2SP's own texts, a table of decisions, and trees at random, honest and forked."""

from __future__ import annotations

import base64
import hashlib
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.cosignature import CosigningKey, cosigned_at, is_cosigned, parse_witness_line, take_cosignature
from custody.digest import EMPTY_ROOT, leaf_hash, tree_root
from custody.errors import FormatError, SignatureInvalid
from custody.merkle import consistency_proof, range_root
from custody.witness import (
    Accepted,
    AddCheckpoint,
    Answer,
    Behind,
    Code,
    Conflict,
    Cosign,
    Memory,
    Refusal,
    decide,
    hold,
    parse_answer,
    parse_refusal,
    parse_request,
    refusal_text,
    rolled_back,
    size_of,
)

LOG = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
OTHER = SigningKey.from_seed("hub.example/audit", bytes(range(1, 33)))
WITNESS = CosigningKey(SigningKey.from_seed("dock-1/witness", bytes(range(32, 64))))
AT = datetime(2023, 3, 20, 12, 25, 47, tzinfo=UTC)
# C2SP tlog-witness, the example of a request body
C2SP_REQUEST = """\
old 20852014
PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=
jrJZDmY8Y7SyJE0MWLpLozkIVMSMZcD5kvuKxPC3swk=
5+pKlUdi2LeF/BcMHBn+Ku6yhPGNCswZZD1X/6QgPd8=
/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0=

example.com/behind-the-sofa
20852163
CsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=

— example.com/behind-the-sofa \
Az3grlgtzPICa5OS8npVmf1Myq/5IZniMp+ZJurmRDeOoRDe4URYN7u5/Zhcyv2q1gGzGku9nTo+zyWE+xeMcTOAYQ8=
"""


class Tree:
    """A log's leaves; everything is computed the simplest way."""

    def __init__(self, leaves: list[bytes]) -> None:
        self.leaves = leaves

    def root(self, size: int) -> bytes:
        return tree_root(self.leaves[:size]) if size else EMPTY_ROOT

    def note(self, size: int, key: SigningKey = LOG) -> str:
        return sign_checkpoint(Checkpoint(key.name, size, self.root(size)), key)

    def proof(self, old: int, new: int) -> tuple[bytes, ...]:
        def subtree(level: int, index: int) -> bytes:
            return tree_root(self.leaves[index << level : (index + 1) << level])

        return tuple(consistency_proof(old, new, subtree)) if 0 < old < new else ()

    def request(self, old: int, new: int) -> AddCheckpoint:
        return AddCheckpoint(old, self.proof(old, new), self.note(new))


def tree(size: int, mark: str = "", since: int = 0) -> Tree:
    return Tree([leaf_hash(f"{n}{mark if n >= since else ''}".encode()) for n in range(size)])


TREE, FORK = tree(40), tree(40, "other", 10)


def seen(size: int, **more: object) -> Memory:
    return replace(Memory(cosigned=TREE.note(size) if size else None), **more)  # type: ignore[arg-type]


def test_the_request_of_c2sp_reads_and_is_written_as_it_was() -> None:
    request = parse_request(C2SP_REQUEST.encode())
    assert (request.old_size, len(request.proof), request.origin) == (20852014, 4, "example.com/behind-the-sofa")
    assert base64.b64encode(request.proof[3]) == b"/6WVhPs2CwSsb5rYBH5cjHV/wSmA79abXAwhXw3Kj/0="
    assert size_of(request.note) == 20852163
    assert request.raw == C2SP_REQUEST.encode()


def test_the_cosigned_message_is_that_of_c2sp() -> None:
    """tlog-cosignature: header line, time line, the whole note body; checked with the library alone."""
    body = "example.com/behind-the-sofa\n20852163\nCsUYapGGPo4dkMgIAUqom/Xajj7h2fB2MPA3j2jxq2I=\n"
    line = WITNESS.cosign(f"{body}\n— example.com/behind-the-sofa x\n", AT)
    name, encoded = line.removeprefix("— ").removesuffix("\n").split(" ")
    raw = base64.b64decode(encoded)
    public = Ed25519PrivateKey.from_private_bytes(bytes(range(32, 64))).public_key()
    key_id = hashlib.sha256(b"dock-1/witness\n\x04" + public.public_bytes_raw()).digest()[:4]
    assert (name, len(raw), raw[:4], int.from_bytes(raw[4:12])) == ("dock-1/witness", 76, key_id, 1679315147)
    public.verify(raw[12:], b"cosignature/v1\ntime 1679315147\n" + body.encode())
    with pytest.raises(InvalidSignature):
        public.verify(raw[12:], b"cosignature/v1\ntime 1679315148\n" + body.encode())


def test_a_cosignature_is_taken_out_of_many_and_a_false_one_is_not() -> None:
    note, stranger = TREE.note(9), CosigningKey(SigningKey.from_seed("other/w", bytes(32)))
    mine, theirs = WITNESS.cosign(note, AT), stranger.cosign(note, AT)
    assert take_cosignature(note, theirs + mine, WITNESS.public) == (mine, AT)
    assert cosigned_at(note + theirs + mine, WITNESS.public) == AT
    assert is_cosigned(note + mine, WITNESS.public)
    assert not is_cosigned(note + theirs, WITNESS.public)
    for lines in ("", theirs, WITNESS.cosign(TREE.note(10), AT)):
        with pytest.raises(SignatureInvalid):
            take_cosignature(note, lines, WITNESS.public)
    assert parse_witness_line(WITNESS.public.line).line == WITNESS.public.line


@pytest.mark.parametrize(
    "body",
    [
        "",
        "old 1\n",
        "old 01\n\nx\n",
        "old -1\n\nx\n",
        "old 1\nnot base64\n\nx\n",
        "old 1\nAAAA\n\nx\n",
        "size 1\n\nx\n",
        " old 1\n\nx\n",
        "old 99999999999999999999\n\nx\n",
        "old 1\n" + "PlRNCrwHpqhGrupue0L7gxbjbMiKA9temvuZZDDpkaw=\n" * 64 + "\nx\n",
        "old 1\n\n" + "x" * 70_000,
    ],
)
def test_other_bodies_are_refused(body: str) -> None:
    with pytest.raises(FormatError):
        parse_request(body.encode())
    with pytest.raises(FormatError):
        parse_request(body.encode() + b"\xff")


def code_of(outcome: object) -> object:
    match outcome:
        case Cosign():
            return "cosign"
        case Conflict(size=size):
            return size
        case Refusal(code=code):
            return code
    return outcome


@pytest.mark.parametrize(
    ("memory", "request_", "expected"),
    [
        (Memory(), TREE.request(0, 12), "cosign"),
        (Memory(), TREE.request(0, 0), "cosign"),
        (Memory(), TREE.request(5, 12), 0),
        (Memory(), replace(TREE.request(0, 12), proof=(bytes(32),)), Code.BAD_PROOF),
        (seen(7), TREE.request(7, 12), "cosign"),
        (seen(7), TREE.request(7, 7), "cosign"),
        (seen(7), TREE.request(0, 12), 7),
        (seen(7), TREE.request(6, 12), 7),
        (seen(7), TREE.request(0, 5), 7),  # less than known: a conflict by C2SP, never a cosignature
        (seen(7), replace(TREE.request(0, 5), old_size=7), Code.BAD_OLD_SIZE),
        (seen(7), replace(TREE.request(7, 12), note=TREE.note(12, OTHER)), Code.BAD_SIGNATURE),
        (seen(7), replace(TREE.request(7, 12), proof=()), Code.BAD_PROOF),
        (seen(7), replace(TREE.request(7, 7), proof=(bytes(32),)), Code.BAD_PROOF),
        (seen(20), FORK.request(20, 30), Code.BAD_PROOF),
        (seen(20), FORK.request(20, 20), Code.FORK),
        (seen(20), FORK.request(0, 20), Code.FORK),
        (seen(9), FORK.request(9, 30), "cosign"),  # nobody who saw no more than both share can tell
        (seen(9, pending=TREE.note(20)), FORK.request(9, 30), Code.PROVE_FIRST),
        (seen(9, pending=TREE.note(20)), FORK.request(9, 20), Code.FORK),
        (seen(9, pending=TREE.note(20)), TREE.request(9, 30), Code.PROVE_FIRST),
        (seen(9, pending=TREE.note(20)), TREE.request(9, 20), "cosign"),
        (seen(9, pending=TREE.note(20)), TREE.request(9, 15), Code.PROVE_FIRST),
        (seen(9, newest=TREE.note(20)), FORK.request(9, 20), Code.FORK),
        (seen(9, stopped=Code.FORK), TREE.request(9, 20), Code.STOPPED),
        (seen(9, pending=TREE.note(20), stopped=Code.BAD_PROOF), TREE.request(9, 15), Code.PROVE_FIRST),
        (seen(9, pending=TREE.note(20), stopped=Code.BAD_PROOF), TREE.request(9, 20), "cosign"),
        (seen(9, stopped=Code.ROLLBACK), TREE.request(9, 20), "cosign"),
    ],
)
def test_decisions(memory: Memory, request_: AddCheckpoint, expected: object) -> None:
    assert code_of(decide(memory, LOG.verify_key, request_)) == expected


def test_a_log_that_is_not_witnessed_is_unknown() -> None:
    assert code_of(decide(Memory(), None, TREE.request(0, 3))) == Code.UNKNOWN_LOG


def test_a_fork_stops_for_good_and_both_notes_are_evidence() -> None:
    outcome = decide(seen(20), LOG.verify_key, FORK.request(20, 20))
    assert isinstance(outcome, Refusal)
    assert outcome.contradiction is not None
    assert (outcome.contradiction.kept, outcome.contradiction.refused) == (TREE.note(20), FORK.note(20))
    for request in (TREE.request(20, 30), TREE.request(20, 20)):
        assert code_of(decide(outcome.memory, LOG.verify_key, request)) == Code.STOPPED
    assert isinstance(hold(outcome.memory, LOG.verify_key, TREE.note(30)), Refusal)


def test_a_strangers_wrong_proof_costs_an_honest_log_one_more_request() -> None:
    """Anybody can send the genuine newest checkpoint with rubbish behind it: that must not stop a witness for ever."""
    broken = decide(seen(7), LOG.verify_key, replace(TREE.request(7, 20), proof=(bytes(32),) * 5))
    assert isinstance(broken, Refusal)
    assert (broken.memory.stopped, broken.memory.pending) == (Code.BAD_PROOF, TREE.note(20))
    assert code_of(decide(broken.memory, LOG.verify_key, TREE.request(7, 30))) == Code.PROVE_FIRST
    proven = decide(broken.memory, LOG.verify_key, TREE.request(7, 20))
    assert isinstance(proven, Cosign)
    assert (proven.memory.stopped, proven.memory.pending) == (None, None)
    assert code_of(decide(proven.memory, LOG.verify_key, TREE.request(20, 30))) == "cosign"


def test_checkpoints_without_proof_are_held_against_what_is_known() -> None:
    first = hold(seen(9), LOG.verify_key, TREE.note(20))
    assert isinstance(first, Accepted)
    assert first.memory == seen(9, pending=TREE.note(20), newest=TREE.note(20))
    second = hold(first.memory, LOG.verify_key, TREE.note(30))
    assert isinstance(second, Accepted)
    assert second.memory == seen(9, pending=TREE.note(20), newest=TREE.note(30))
    assert hold(second.memory, LOG.verify_key, TREE.note(25)) == Behind(30)
    assert code_of(hold(second.memory, LOG.verify_key, FORK.note(30))) == Code.FORK
    assert code_of(hold(second.memory, LOG.verify_key, FORK.note(20))) == Code.FORK
    with pytest.raises(SignatureInvalid):
        hold(second.memory, LOG.verify_key, TREE.note(31, OTHER))
    assert isinstance(hold(seen(9), LOG.verify_key, TREE.note(9)), Accepted)


def test_a_log_that_stays_behind_stops_the_witness_until_it_proves_itself() -> None:
    refusal = rolled_back(seen(9, newest=TREE.note(20)), TREE.note(15))
    assert refusal.contradiction is not None
    assert (refusal.contradiction.kept, refusal.memory.stopped) == (TREE.note(20), Code.ROLLBACK)
    assert code_of(hold(refusal.memory, LOG.verify_key, TREE.note(30))) == Code.STOPPED
    assert code_of(decide(refusal.memory, LOG.verify_key, TREE.request(9, 30))) == "cosign"


sizes = st.integers(0, 40)


@given(st.lists(sizes, min_size=1, max_size=8), st.data())
def test_an_honest_log_is_never_refused(order: list[int], data: st.DataObject) -> None:
    """Whatever it shows in rising order, with a proof or without, is accepted in the end."""
    memory = Memory()
    for size in sorted(order):
        if data.draw(st.booleans()):
            outcome = hold(memory, LOG.verify_key, TREE.note(size))
            assert isinstance(outcome, Accepted)
            memory = outcome.memory
        if data.draw(st.booleans()):
            continue
        while True:
            target = size_of(memory.pending) if memory.pending else size
            decision = decide(memory, LOG.verify_key, TREE.request(memory.size, target))
            assert isinstance(decision, Cosign)
            memory = decision.memory
            if target == size:
                break
    assert memory.stopped is None


@given(st.integers(0, 39), st.integers(1, 40), st.integers(1, 40), st.data())
def test_a_fork_is_never_cosigned(shared: int, known: int, shown: int, data: st.DataObject) -> None:
    """A witness that knows more than both histories share, by cosigning or by seeing, cosigns nothing of the other."""
    other = tree(40, "fork", shared)
    known, shown = max(known, shared + 1), max(shown, shared + 1)
    by_sight = data.draw(st.booleans()) and shared > 0
    cosigned = data.draw(st.integers(1, shared)) if by_sight else known
    memory = Memory(TREE.note(cosigned), TREE.note(known), TREE.note(known)) if by_sight else Memory(TREE.note(known))
    proof = data.draw(st.sampled_from(["own", "true", "random", "empty"]))
    request = other.request(cosigned, shown) if shown >= cosigned else other.request(0, shown)
    hashes = {
        "own": request.proof,
        "true": TREE.proof(cosigned, shown),
        "random": tuple(data.draw(st.lists(st.binary(min_size=32, max_size=32), max_size=8))),
        "empty": (),
    }[proof]
    decision = decide(memory, LOG.verify_key, replace(request, proof=hashes))
    assert not isinstance(decision, Cosign)


@given(st.integers(0, 1 << 40), st.lists(st.binary(min_size=32, max_size=32), max_size=63))
def test_requests_round_trip(old: int, proof: list[bytes]) -> None:
    request = AddCheckpoint(old, tuple(proof), TREE.note(12))
    assert parse_request(request.raw) == request


@given(st.binary(max_size=300))
def test_no_bytes_break_the_readers(raw: bytes) -> None:
    for read in (parse_request, parse_answer):
        try:
            read(raw)
        except FormatError:
            continue


def test_answers_and_refusals_round_trip() -> None:
    answer = Answer(
        type="refused.v1", witness=WITNESS.public.line, size=9, cosignature="", code="prove_first",
        newest=TREE.note(20), pending=TREE.note(12),
    )  # fmt: skip
    assert parse_answer(answer.raw) == answer
    for code in Code:
        for note in ("", TREE.note(3)):
            assert parse_refusal(refusal_text(code, note)) == (code, note)
    with pytest.raises(FormatError):
        parse_refusal("<html>")


def test_the_trees_here_are_those_of_the_library() -> None:
    assert TREE.root(40) == range_root(0, 40, lambda level, i: tree_root(TREE.leaves[i << level : (i + 1) << level]))
    assert isinstance(WITNESS.public.key.public, Ed25519PublicKey)
