"""Vectors of witnesses: what one remembers, what it is asked, what it answers. See ``custody/spec/witness.md``."""

from __future__ import annotations

from datetime import UTC, datetime

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.cosignature import CosigningKey
from custody.digest import EMPTY_ROOT, leaf_hash, tree_root
from custody.merkle import consistency_proof
from custody.witness import AddCheckpoint, Code

LOG_KEY = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
STRANGER = SigningKey.from_seed("hub.example/audit", bytes(range(32, 64)))
WITNESS_KEY = CosigningKey(SigningKey.from_seed("office.example/leader", bytes(range(160, 192))))
AT = datetime(2026, 3, 1, 8, 0, tzinfo=UTC)
TRUE = [leaf_hash(b"%d" % n) for n in range(16)]
OTHER = TRUE[:4] + [leaf_hash(b"other %d" % n) for n in range(4, 16)]
Case = dict[str, object]


def witnesses() -> list[Case]:
    """One case a decision; `answer` is the code, ``cosign``, or the size of a conflict."""
    seven, twelve = _note(7), _note(12)
    return [
        _case("first", {}, _ask(0, 7), "cosign"),
        _case("empty-log-first", {}, _ask(0, 0), "cosign"),
        _case("extends", {"cosigned": seven}, _ask(7, 12), "cosign"),
        _case("same-again", {"cosigned": seven}, _ask(7, 7), "cosign"),
        _case("old-size-zero", {"cosigned": seven}, _ask(0, 12), 7),
        _case("old-size-of-another-time", {"cosigned": seven}, _ask(5, 12), 7),
        _case("smaller-than-cosigned", {"cosigned": seven}, _ask(3, 5), 7),
        _case("old-size-above-the-checkpoint", {"cosigned": seven}, _ask(7, 5), Code.BAD_OLD_SIZE),
        _case("signed-by-a-stranger", {"cosigned": seven}, _ask(7, 12, key=STRANGER), Code.BAD_SIGNATURE),
        _case("origin-other", {"cosigned": seven}, _other_log(), Code.UNKNOWN_LOG),
        _case("proof-missing", {"cosigned": seven}, AddCheckpoint(7, (), twelve).raw, Code.BAD_PROOF),
        _case("proof-for-the-first", {}, AddCheckpoint(0, (bytes(32),), twelve).raw, Code.BAD_PROOF),
        _case("fork-of-one-size", {"cosigned": seven}, _ask(7, 7, OTHER), Code.FORK),
        _case("fork-of-one-size-by-another-way", {"cosigned": seven}, _ask(0, 7, OTHER), Code.FORK),
        _case("fork-larger", {"cosigned": seven}, _ask(7, 12, OTHER), Code.BAD_PROOF),
        _case("seen-comes-first", {"cosigned": seven, "pending": twelve}, _ask(7, 14), Code.PROVE_FIRST),
        _case("seen-is-proven", {"cosigned": seven, "pending": twelve}, _ask(7, 12), "cosign"),
        _case("seen-another-face", {"cosigned": _note(3), "pending": twelve}, _ask(3, 12, OTHER), Code.FORK),
        _case("stopped-by-a-fork", {"cosigned": seven, "stopped": "fork"}, _ask(7, 12), Code.STOPPED),
        _case(
            "suspicion-ends-by-a-proof",
            {"cosigned": seven, "pending": twelve, "stopped": "bad_proof"},
            _ask(7, 12),
            "cosign",
        ),
        _case("old-size-with-a-leading-zero", {}, _ask(0, 7).replace(b"old 0", b"old 00"), Code.BAD_FORMAT),
        _case("hash-of-31-bytes", {}, b"old 7\n" + b"A" * 42 + b"==\n\n" + twelve.encode(), Code.BAD_FORMAT),
    ]


def _case(name: str, memory: dict[str, str], request: bytes, answer: str | int) -> Case:
    case: Case = {
        "name": name,
        "log_key": LOG_KEY.verify_key.line,
        "memory": memory,
        "request": request.decode(),
        "answer": answer,
    }
    if answer == "cosign":
        note = request.decode().partition("\n\n")[2]
        case |= {"witness_key": WITNESS_KEY.public.line, "time": int(AT.timestamp())}
        case["cosignature"] = WITNESS_KEY.cosign(note, AT)
    return case


def _note(size: int, leaves: list[bytes] = TRUE, key: SigningKey = LOG_KEY) -> str:
    return sign_checkpoint(Checkpoint(key.name, size, tree_root(leaves[:size]) if size else EMPTY_ROOT), key)


def _ask(old: int, new: int, leaves: list[bytes] = TRUE, key: SigningKey = LOG_KEY) -> bytes:
    def subtree(level: int, index: int) -> bytes:
        return tree_root(leaves[index << level : (index + 1) << level])

    proof = consistency_proof(old, new, subtree) if 0 < old < new else []
    return AddCheckpoint(old, tuple(proof), _note(new, leaves, key)).raw


def _other_log() -> bytes:
    key = SigningKey.from_seed("hub.example/other", bytes(range(32)))
    return AddCheckpoint(7, (), _note(12, key=key)).raw
