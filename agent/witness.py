"""The station as a witness of the hub's log: nobody rolls it back or forks it unnoticed, whoever runs the hub.

`custody.witness` decides; here is what is kept, and in which order. Each function is one transaction of the store, and
what it returns may leave the station only after it has returned: the checkpoint is durable before its cosignature.

A kill between commit and answer loses the answer alone: the hub asks again from the size it knows, is told the size
that we know, asks for the same checkpoint from there with an empty proof, and gets its cosignature.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Literal, cast

from agent.station import Station, load_or_create_key, sign_events
from agent.store import Store
from custody.checkpoint import VerifyKey
from custody.cosignature import CosigningKey
from custody.errors import FormatError
from custody.event import Sha256Hex
from custody.receipt import Receipt
from custody.stationevents import LogCleared, LogRefused, WitnessOffered
from custody.witness import (
    Accepted,
    Answer,
    Behind,
    Code,
    Conflict,
    Contradiction,
    Cosign,
    Memory,
    Refusal,
    decide,
    hold,
    parse_request,
    rolled_back,
    size_of,
    unproven,
)

log = logging.getLogger("agent.witness")

PATIENCE_SECONDS = 60.0  # a message that was overtaken by a newer one is not so late
PROOF_PATIENCE_SECONDS = 600.0  # the hub asks once a minute, and answers a demand for a proof at once
MAX_KEPT_UNSETTLED = 16  # a broken log may contradict itself every second; the first ones tell everything
_KEPT_CODES = ("fork", "bad_proof", "rollback")


@dataclass(frozen=True, slots=True)
class Witness:
    """This station's witness key, and the log it witnesses."""

    station: Station
    key: CosigningKey
    log_key: VerifyKey


def load_or_create_witness_key(directory: Path, station: Station) -> CosigningKey:
    """The station's witness key ``DIR/witness.key``, made on first use and durable then. Raises KeyUnreadable.

    It is not the station's key: an Ed25519 cosignature does not commit to a name, so a key has one use (C2SP
    tlog-cosignature), and whoever copies a station's key to another dock does not make it two witnesses.
    """
    return CosigningKey(load_or_create_key(directory / "witness.key", "witness", f"{station.id}/witness"))


def offer_key(store: Store, station: Station, key: CosigningKey) -> None:
    """State once, signed by the station, which key it witnesses with. People accept it at the hub."""
    line = key.public.line
    with store.begin():
        if store.execute("SELECT 1 FROM witness_offer WHERE key_line = ?", (line,)).fetchone() is None:
            [seq] = sign_events(store, station, [lambda common: WitnessOffered(**common, key_line=line)])
            store.execute("INSERT INTO witness_offer VALUES (?, ?)", (line, seq))


def load_memory(store: Store, origin: str) -> Memory:
    """What is known of the log of this origin."""
    query = "SELECT cosigned, pending, newest, stopped FROM witness WHERE log = ?"
    row = store.execute(query, (origin,)).fetchone()
    return Memory(row[0], row[1], row[2], Code(row[3]) if row[3] else None) if row else Memory()


def answer_request(store: Store, witness: Witness, raw: bytes, now: datetime) -> Answer:
    """What to answer to an add-checkpoint body; everything it depends on is durable when this returns."""
    origin = witness.log_key.name
    with store.begin():
        memory = load_memory(store, origin)
        try:
            request = parse_request(raw)
        except FormatError:
            return _answer(witness, memory, code=Code.BAD_FORMAT)
        outcome = decide(memory, witness.log_key if request.origin == origin else None, request)
        match outcome:
            case Cosign():
                _save(store, origin, outcome.memory)
                _settle(store, origin, "proof", now)
            case Refusal():
                _refuse(store, witness, memory, outcome, now)
    match outcome:  # after the commit
        case Cosign():
            line = witness.key.cosign(outcome.note, now)
            return _answer(witness, outcome.memory, cosignature=line)
        case Conflict():
            return _answer(witness, memory)
        case Refusal():
            return _answer(witness, outcome.memory, code=outcome.code)


def hello(store: Store, witness: Witness) -> Answer:
    """What this station knows of the log, unasked: a hub that was rolled back learns it from the first station."""
    return _answer(witness, load_memory(store, witness.log_key.name))


def keep_receipt(
    store: Store, witness: Witness, receipt: Receipt, now: datetime
) -> tuple[int, Accepted | Behind | Refusal]:
    """Clear what the receipt names, unless its checkpoint contradicts what is known; the first seq that still waits.

    A checkpoint larger than the last proven one is accepted for sending only: rows stay in the outbox for ever and go
    out again when the hub asks, so a false receipt loses nothing. Releasing a camera's copy asks for more: an inclusion
    proof under a checkpoint that witnesses cosigned. The checkpoint is kept as `pending`: the log must prove it.
    """
    entries = [(e.seq, bytes.fromhex(e.envelope_sha256), e.log_index) for e in receipt.entries]
    with store.begin():
        outcome = _hold(store, witness, receipt.checkpoint_note, now)
        if isinstance(outcome, Accepted):
            store.set_receipted(entries, now)
    return first_to_send(store), outcome


def keep_checkpoint(store: Store, witness: Witness, note: str, now: datetime) -> Accepted | Behind | Refusal:
    """Hold the newest checkpoint, as the hub publishes it, against what is known. Raises as `custody.witness.hold`."""
    with store.begin():
        return _hold(store, witness, note, now)


def state_rollback(store: Store, witness: Witness, note: str, now: datetime) -> Refusal:
    """Stop: the log has gone on showing less than before, `note` last, for longer than `PATIENCE_SECONDS`."""
    with store.begin():
        memory = load_memory(store, witness.log_key.name)
        refusal = rolled_back(memory, note)
        _refuse(store, witness, memory, refusal, now)
    return refusal


def state_unproven(store: Store, witness: Witness, raw: bytes, now: datetime) -> None:
    """Stop: for `PROOF_PATIENCE_SECONDS` the log has asked for others, `raw` last, and never proved the pending one."""
    with store.begin():
        memory = load_memory(store, witness.log_key.name)
        if memory.pending is not None:
            _refuse(store, witness, memory, unproven(memory, parse_request(raw).note), now)


def first_to_send(store: Store) -> int:
    """First unreceipted seq, or the next new one."""
    first = store.first_unreceipted()
    return store.head().seq + 1 if first is None else first


def clear(store: Store, station: Station, origin: str, reason: str, *, anew: bool, now: datetime) -> int:
    """People have decided; how many contradictions that settles.

    `anew`: forget what was known of the log, so that its next checkpoint is taken as the first one was; otherwise this
    station holds to the last checkpoint that was proven to it. Both are stated in the station's chain.
    """
    with store.begin():
        memory = load_memory(store, origin)
        kept = size_of(memory.largest)
        sign_events(
            store,
            station,
            [lambda common: LogCleared(**common, log=origin, reason=reason, begins_anew=anew, kept_size=kept)],
        )
        _save(store, origin, Memory() if anew else Memory(memory.cosigned))
        return _settle(store, origin, "people", now)


@dataclass(frozen=True, slots=True)
class Kept:
    """One contradiction as it is kept; times are ISO 8601 text."""

    n: int
    log: str
    code: str
    kept: str
    refused: str
    found_at: str
    settled_at: str | None
    settled_by: str | None


def contradictions(store: Store) -> list[Kept]:
    """All of them, oldest first."""
    query = "SELECT n, log, code, kept, refused, found_at, settled_at, settled_by FROM contradiction ORDER BY n"
    return [Kept(*row) for row in store.execute(query)]


# --- inside a transaction ---


def _hold(store: Store, witness: Witness, note: str, now: datetime) -> Accepted | Behind | Refusal:
    memory = load_memory(store, witness.log_key.name)
    outcome = hold(memory, witness.log_key, note)
    match outcome:
        case Accepted():
            if outcome.memory != memory:
                _save(store, witness.log_key.name, outcome.memory)
        case Refusal():
            _refuse(store, witness, memory, outcome, now)
    return outcome


def _refuse(store: Store, witness: Witness, before: Memory, refusal: Refusal, now: datetime) -> None:
    """Keep both notes and state them, each pair once."""
    found, origin = refusal.contradiction, witness.log_key.name
    if found is None:
        return
    _save(store, origin, refusal.memory)
    query = "SELECT count(*), coalesce(sum(kept = ? AND refused = ?), 0) FROM contradiction WHERE settled_at IS NULL"
    unsettled, same = store.execute(query, (found.kept, found.refused)).fetchone()
    stopped_already = before.stopped is not None and found.code is not Code.FORK
    if same or stopped_already or unsettled >= MAX_KEPT_UNSETTLED:
        return
    log.critical(
        "log_refused code=%s kept_size=%d refused_size=%d", found.code, size_of(found.kept), size_of(found.refused)
    )
    [seq] = sign_events(store, witness.station, [lambda common: _stated(common, origin, found)])
    store.execute(
        "INSERT INTO contradiction (log, code, kept, refused, found_at, event_seq) VALUES (?, ?, ?, ?, ?, ?)",
        (origin, found.code.value, found.kept, found.refused, now.astimezone(UTC).isoformat(), seq),
    )


def _stated(common: dict[str, object], origin: str, found: Contradiction) -> LogRefused:
    assert found.code in _KEPT_CODES  # noqa: S101 - no other code comes with a contradiction
    return LogRefused(
        **common,  # type: ignore[arg-type]  # the fields of every event, from sign_events
        log=origin,
        code=cast(Literal["fork", "bad_proof", "rollback"], found.code.value),
        kept_size=size_of(found.kept),
        kept_sha256=_digest(found.kept) if found.kept else None,
        refused_size=size_of(found.refused),
        refused_sha256=_digest(found.refused),
    )


def _settle(store: Store, origin: str, by: Literal["proof", "people"], now: datetime) -> int:
    settled = store.execute(
        "UPDATE contradiction SET settled_at = ?, settled_by = ? WHERE log = ? AND settled_at IS NULL",
        (now.astimezone(UTC).isoformat(), by, origin),
    )
    return settled.rowcount


def _save(store: Store, origin: str, memory: Memory) -> None:
    stopped = memory.stopped.value if memory.stopped else None
    store.execute(
        "INSERT INTO witness VALUES (?, ?, ?, ?, ?) ON CONFLICT (log) DO UPDATE SET cosigned = excluded.cosigned, "
        "pending = excluded.pending, newest = excluded.newest, stopped = excluded.stopped",
        (origin, memory.cosigned, memory.pending, memory.newest, stopped),
    )


def _answer(witness: Witness, memory: Memory, *, cosignature: str = "", code: Code | None = None) -> Answer:
    return Answer(
        type="cosigned.v1" if cosignature else "refused.v1" if code else "conflict.v1",
        witness=witness.key.public.line,
        size=memory.size,
        cosignature=cosignature,
        code=code.value if code else "",
        newest=memory.largest,
        pending=memory.pending or "",
    )


def _digest(note: str) -> Sha256Hex:
    return Sha256Hex(sha256(note.encode()).hexdigest())
