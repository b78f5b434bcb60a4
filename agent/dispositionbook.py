"""Dispositions in the station's book: orders as they come, what the rules need to know, and how each ended.

Runs in the store's thread. Each step is one commit of its rows and its signed event.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from agent.commands import EffectRefused
from agent.disposition import Dispose, DockingFacts, SavedFile, is_held
from agent.keyrotation import rotations
from agent.station import Station, sign_events
from agent.store import Store
from custody.commandbody import Disposition
from custody.commands import Command
from custody.disposition import DispositionRefused, record_lines
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.event import Event, Sha256Hex
from custody.events import decode_event
from custody.stationevents import DispositionFinished, DispositionIntended

DISPOSED = "disposed"


@dataclass(frozen=True, slots=True)
class Order:
    """One authorisation that is not over. `intended`: its intent is stated, so it must end with a statement too."""

    command_sha256: str
    command_id: str
    disposition_id: str
    docking: str
    command: bytes
    intended: bool
    rule: str | None


def keep_order(store: Store, command: Command, now: datetime) -> None:
    """Handler of ``disposition.v1`` (agent/commands.py), in the caller's transaction: decided and done after it.

    Raises EffectRefused for a docking that this station does not know.
    """
    body = command.body
    assert isinstance(body, Disposition)  # noqa: S101 - by its kind
    if store.execute("SELECT 1 FROM docking WHERE id = ?", (body.docking,)).fetchone() is None:
        raise EffectRefused("docking_unknown")
    store.execute(
        "INSERT INTO disposition_order (command_sha256, number, command_id, disposition_id, docking, received_at) "
        "VALUES (?,?,?,?,?,?)",
        (command.sha256, command.header.number, command.header.id, body.disposition_id, body.docking,
         now.astimezone(UTC).isoformat()),
    )  # fmt: skip


def open_orders(store: Store) -> list[Order]:
    """Orders that are not over, those begun first."""
    rows = store.execute(
        "SELECT d.command_sha256, d.command_id, d.disposition_id, d.docking, c.envelope, d.state = 'intended', d.rule "
        "FROM disposition_order d JOIN command c ON c.number = d.number "
        "WHERE d.state <> 'over' ORDER BY d.state, d.number"
    )
    return [Order(s, i, n, d, bytes(raw), bool(began), rule) for s, i, n, d, raw, began, rule in rows]


def note_waiting(store: Store, order: Order, rule: str) -> None:
    """Keep why an order waits. Commits."""
    with store.begin():
        store.execute("UPDATE disposition_order SET rule = ? WHERE command_sha256 = ?", (rule, order.command_sha256))


def docking_facts(store: Store, docking: str) -> DockingFacts | None:
    """What the book says of a docking; None for an unknown one."""
    row = store.execute(
        "SELECT d.camera, d.closed_seq IS NOT NULL, o.receipted_at IS NOT NULL FROM docking d "
        "LEFT JOIN outbox o ON o.seq = d.closed_seq WHERE d.id = ?",
        (docking,),
    ).fetchone()
    if row is None:
        return None
    camera, closed, receipted = row
    disputed = "SELECT 1 FROM known_camera WHERE camera = ? AND disputed"
    # a docking that found the same file saved counts on its copy as much as the one that saved it
    clearing = (
        "SELECT 1 FROM release_order r WHERE r.state = 'intended' AND (r.docking = ?1 OR EXISTS "
        "(SELECT 1 FROM entry e WHERE e.docking = r.docking AND e.known_in = ?1))"
    )
    return DockingFacts(
        camera, bool(closed), bool(receipted), bool(store.execute(disputed, (camera,)).fetchone()),
        _offload_open(store, camera), bool(store.execute(clearing, (docking,)).fetchone()),
    )  # fmt: skip


def _offload_open(store: Store, camera: str) -> bool:
    return bool(store.execute("SELECT 1 FROM docking WHERE camera = ? AND closed_seq IS NULL", (camera,)).fetchone())


_FILES = (
    "SELECT e.n, e.camera, e.target, e.path_key, e.sha256, e.seal_seq, e.saved_bytes, o.receipted_at IS NOT NULL "
    "FROM entry e JOIN outbox o ON o.seq = e.seal_seq WHERE e.docking = ? AND e.state IN ({}) ORDER BY e.n"
)


def saved_files(store: Store, docking: str, wanted: frozenset[str], *, leaving: bool = False) -> list[SavedFile]:
    """The docking's files with these digests that are in the vault, or, `leaving`, that an intent names.

    The vault's disk is not read here (`vault` is None).
    """
    found = []
    states = "'disposed'" if leaving else "'sealed','changed'"
    for n, camera, target, path_key, sha256, seq, size, receipted in store.execute(_FILES.format(states), (docking,)):
        digest = bytes(sha256).hex()
        if digest not in wanted:
            continue
        later = store.execute(
            "SELECT DISTINCT camera, docking FROM entry WHERE known_in = ? AND camera = ? AND path_key = ? "
            "AND state = 'known' AND sha256 = ?",
            (docking, camera, path_key, sha256),
        )
        named_by = ((camera, docking), *((one, other) for one, other in later))
        found.append(
            SavedFile(n, bytes(target), size, digest, bool(receipted), recorded_by(store, seq), named_by, vault=None)
        )
    return found


def recorded_by(store: Store, seal_seq: int) -> datetime | None:
    """A time before which the recording of this seal had ended, by a clock that was synchronised when it said so.

    What was sealed had been recorded, whatever the camera's clock said; and what this station stated after the seal, it
    stated after it. So the first event from the seal on that a synchronised clock dated bounds it from above.
    """
    for (raw,) in store.execute("SELECT envelope FROM outbox WHERE seq >= ? ORDER BY seq", (seal_seq,)):
        try:
            envelope = parse_envelope(bytes(raw))
            event = decode_event(envelope.payload_type, envelope.payload)
        except CustodyError:
            return None  # our own book does not read: nothing is known
        if event.clock == "synchronised":
            return event.at
    return None


def docking_folder(store: Store, docking: str) -> bytes:
    """Where a docking lies in the vault. Raises KeyError when there is none."""
    return store.docking(docking).folder


def state_intent(store: Store, station: Station, order: Order, dispose: Dispose) -> None:
    """Before the first file: which ones leave, by whose authority. Commits.

    From this commit on they count as saved no longer: a camera that still has them is offloaded anew. What may have
    changed since the facts were read is asked again inside the transaction. Raises DispositionRefused.
    """
    approved = dispose.order.approved
    entries = tuple(one.entry for one in dispose.files)

    def event(common: dict[str, Any]) -> Event:
        return DispositionIntended(
            **common, command_id=order.command_id, command_sha256=Sha256Hex(order.command_sha256),
            disposition_id=order.disposition_id, camera_id=dispose.camera, docking_id=order.docking,
            basis=dispose.order.body.basis, requested_by=approved.requested_by, approved_by=approved.approved_by,
            entries=entries, bytes_in_all=sum(one.size_bytes for one in dispose.files),
        )  # fmt: skip

    with store.begin():
        again = docking_facts(store, order.docking)
        if again is None or again.offload_under_way:
            raise DispositionRefused("offload_under_way")
        if again.clearing:
            raise DispositionRefused("clearing_under_way")
        holds = store.holds()
        if any(is_held(one, holds) for one in dispose.files):
            raise DispositionRefused("file_held")
        [seq] = sign_events(store, station, [event])
        store.execute(
            "UPDATE disposition_order SET state = 'intended', rule = NULL, intent_seq = ? WHERE command_sha256 = ?",
            (seq, order.command_sha256),
        )
        for entry in entries:
            store.execute(
                "INSERT INTO disposition_file (command_sha256, entry, was) "
                "SELECT ?, n, state FROM entry WHERE docking = ? AND n = ?",
                (order.command_sha256, order.docking, entry),
            )
            store.execute("UPDATE entry SET state = 'disposed' WHERE docking = ? AND n = ?", (order.docking, entry))


def record_of(store: Store, order: Order) -> bytes:
    """What goes beside the manifest once the intent is stated. Raises StoreUntrusted."""
    sql = (
        "SELECT d.intent_seq, k.closed_seq FROM disposition_order d JOIN docking k ON k.id = d.docking "
        "WHERE d.command_sha256 = ?"
    )
    intent_seq, closed_seq = store.execute(sql, (order.command_sha256,)).fetchone()
    between = [envelope for seq, _, envelope in rotations(store) if closed_seq < seq < intent_seq]
    return record_lines(store.envelope(intent_seq), order.command, between)


def leaving_files(store: Store, order: Order) -> list[SavedFile]:
    """Files of an intent whose fate is not known yet, rising."""
    sql = "SELECT entry FROM disposition_file WHERE command_sha256 = ? AND rule IS NULL"
    open_ = {entry for (entry,) in store.execute(sql, (order.command_sha256,))}
    digests = store.execute("SELECT n, sha256 FROM entry WHERE docking = ? AND state = 'disposed'", (order.docking,))
    wanted = frozenset(bytes(sha256).hex() for n, sha256 in digests if n in open_)
    return [one for one in saved_files(store, order.docking, wanted, leaving=True) if one.entry in open_]


def held_now(store: Store, file: SavedFile) -> bool:
    """Whether a hold came for it meanwhile."""
    return is_held(file, store.holds())


def keep_outcome(store: Store, order: Order, file: SavedFile, rule: str) -> None:
    """What became of one file; what stays counts as saved again. Commits."""
    with store.begin():
        store.execute(
            "UPDATE disposition_file SET rule = ? WHERE command_sha256 = ? AND entry = ?",
            (rule, order.command_sha256, file.entry),
        )
        if rule != DISPOSED:
            store.execute(
                "UPDATE entry SET state = (SELECT was FROM disposition_file WHERE command_sha256 = ?1 AND entry = ?2) "
                "WHERE docking = ?3 AND n = ?2",
                (order.command_sha256, file.entry, order.docking),
            )


def state_finished(store: Store, station: Station, order: Order, rule: str) -> DispositionFinished:
    """What became of an authorisation. Commits; the order is over. `rule`: "complete", or what ended it."""
    sql = "SELECT entry, rule FROM disposition_file WHERE command_sha256 = ? ORDER BY entry"
    fates = store.execute(sql, (order.command_sha256,)).fetchall()
    disposed = tuple(entry for entry, fate in fates if fate == DISPOSED)
    kept = tuple(entry for entry, fate in fates if fate != DISPOSED)
    outcome: Literal["disposed", "partly", "refused"] = "refused" if not disposed else "partly" if kept else "disposed"
    if rule == "complete" and kept:
        rule = next(fate for _, fate in fates if fate != DISPOSED)
    facts = docking_facts(store, order.docking)
    made: list[DispositionFinished] = []

    def event(common: dict[str, Any]) -> Event:
        made.append(
            DispositionFinished(
                **common, command_id=order.command_id, command_sha256=Sha256Hex(order.command_sha256),
                disposition_id=order.disposition_id, camera_id=facts.camera if facts else "",
                docking_id=order.docking, outcome=outcome, rule=rule, disposed=disposed, kept=kept,
            )
        )  # fmt: skip
        return made[0]

    with store.begin():
        sign_events(store, station, [event])
        store.execute(
            "UPDATE disposition_order SET state = 'over', rule = ? WHERE command_sha256 = ?",
            (rule, order.command_sha256),
        )
    return made[0]
