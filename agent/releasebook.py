"""Releases in the station's book: orders as they come, what the rules need to know, and how each ended.

Runs in the store's thread. Each step is one commit of its row and its signed event.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from agent.commands import EffectRefused
from agent.duty import open_checkout
from agent.release import Clear, DockingFacts
from agent.station import Station, sign_events
from agent.store import HoldRow, Store
from custody.commands import Command
from custody.event import Event, Sha256Hex
from custody.release import Listed, list_digest
from custody.releasebody import Release
from custody.stationevents import ReleaseFinished, ReleaseIntended

CLEARED = "cleared"
Outcome = Literal["cleared", "partly", "refused", "stopped"]


@dataclass(frozen=True, slots=True)
class ReleaseOrder:
    """One authorisation that is not over. `intended`: its intent is stated, so it must end with a statement too."""

    command_sha256: str
    command_id: str
    camera: str
    docking: str
    command: bytes
    intended: bool
    rule: str | None


@dataclass(frozen=True, slots=True)
class Saved:
    """Where the copy of one entry lies in the vault, and whether its seal has the hub's receipt."""

    target: bytes
    sha256: bytes
    receipted: bool


def is_held(holds: Iterable[HoldRow], camera: str, docking: str, sha256: str | None) -> bool:
    """Whether a file is on hold; with `sha256` None, whether the whole docking is."""
    return any(
        hold.camera in (None, camera)
        and hold.docking in (None, docking)
        and (hold.file_sha256 is None or hold.file_sha256 == sha256)
        for hold in holds
    )


def keep_order(store: Store, command: Command, now: datetime) -> None:
    """Handler of ``release.v1`` (agent/commands.py), in the caller's transaction: decided when the camera lies there.

    Raises EffectRefused for a docking that this station does not know.
    """
    release = command.body
    assert isinstance(release, Release)  # noqa: S101 - by its kind
    row = store.execute("SELECT camera FROM docking WHERE id = ?", (release.docking_id,)).fetchone()
    if row is None or row[0] != release.camera_id:
        raise EffectRefused("docking_unknown")
    store.execute(
        "INSERT INTO release_order (command_sha256, number, command_id, camera, docking, received_at) "
        "VALUES (?,?,?,?,?,?)",
        (command.sha256, command.header.number, command.header.id, release.camera_id, release.docking_id,
         now.astimezone(UTC).isoformat()),
    )  # fmt: skip


def open_orders(store: Store, camera: str | None = None) -> list[ReleaseOrder]:
    """Orders that are not over, those begun first; of one camera, or of all."""
    rows = store.execute(
        "SELECT r.command_sha256, r.command_id, r.camera, r.docking, c.envelope, r.state = 'intended', r.rule "
        "FROM release_order r JOIN command c ON c.number = r.number "
        "WHERE r.state <> 'over' AND (? IS NULL OR r.camera = ?) ORDER BY r.state, r.number",
        (camera, camera),
    )
    return [ReleaseOrder(s, i, c, d, bytes(raw), bool(began), rule) for s, i, c, d, raw, began, rule in rows]


def note_waiting(store: Store, order: ReleaseOrder, rule: str) -> None:
    """Keep why an order waits. Commits."""
    with store.begin():
        store.execute("UPDATE release_order SET rule = ? WHERE command_sha256 = ?", (rule, order.command_sha256))


def docking_facts(store: Store, docking_id: str) -> tuple[DockingFacts, datetime | None, bytes] | None:
    """What the book says of a docking, when it was closed, and its folder in the vault; None for an unknown one."""
    row = store.execute(
        "SELECT d.camera, d.bay, d.source, d.folder, d.left_at, o.envelope, o.receipted_at, o.created_at "
        "FROM docking d LEFT JOIN outbox o ON o.seq = d.closed_seq WHERE d.id = ?",
        (docking_id,),
    ).fetchone()
    if row is None:
        return None
    camera, bay, source, folder, left_at, envelope, receipted_at, created_at = row
    volume_ids = tuple(str(one) for one in json.loads(source).get("volume_ids", ()))
    facts = DockingFacts(
        camera, bay, volume_ids, None if envelope is None else bytes(envelope), receipted_at is not None,
        left_at is not None,
    )  # fmt: skip
    return facts, None if created_at is None else datetime.fromisoformat(created_at), bytes(folder)


def docking_folder(store: Store, docking_id: str) -> bytes:
    """Where a docking lies in the vault. Raises KeyError when there is none."""
    return store.docking(docking_id).folder


def is_checked_out(store: Store, camera: str) -> bool:
    """Whether an officer has the camera, or is about to take it."""
    return open_checkout(store, camera) is not None


_SAVED = (
    "SELECT e.n, s.target, s.sha256, o.receipted_at IS NOT NULL FROM entry e "
    "JOIN entry s ON s.state = 'sealed' AND s.gap_count = 0 AND s.sha256 = e.sha256 "
    "AND ((e.state = 'sealed' AND s.docking = e.docking AND s.n = e.n) "
    "OR (e.state = 'known' AND s.docking = e.known_in AND s.path_key = e.path_key)) "
    "JOIN outbox o ON o.seq = s.seal_seq WHERE e.docking = ?"
)


def saved_copies(store: Store, docking_id: str, entries: Sequence[int]) -> dict[int, Saved]:
    """The vault copy of each entry: of this docking, or of the earlier one that saved the same bytes."""
    found: dict[int, Saved] = {}
    for start in range(0, len(entries), 400):
        some = entries[start : start + 400]
        rows = store.execute(f"{_SAVED} AND e.n IN ({','.join('?' * len(some))})", (docking_id, *some))
        for n, target, sha256, receipted in rows:
            found[n] = Saved(bytes(target), bytes(sha256), bool(receipted))
    return found


def state_intent(store: Store, station: Station, order: ReleaseOrder, bay: str, clear: Clear) -> None:
    """Before the first file: what will be cleared, by whose authority. Commits; at a restart it is there already."""
    if order.intended:
        return
    authorisation = clear.authorisation

    def event(common: dict[str, Any]) -> Event:
        return ReleaseIntended(
            **common, command_id=order.command_id, command_sha256=Sha256Hex(order.command_sha256),
            camera_id=order.camera, bay=bay, docking_id=order.docking,
            requested_by=authorisation.approved.requested_by, approved_by=authorisation.approved.approved_by,
            files=len(clear.files), bytes_in_all=sum(one.size_bytes for one in clear.files),
            list_sha256=list_digest(clear.files),
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])
        store.execute(
            "UPDATE release_order SET state = 'intended', rule = NULL WHERE command_sha256 = ?", (order.command_sha256,)
        )


def keep_outcome(store: Store, order: ReleaseOrder, listed: Listed, rule: str) -> None:
    """What became of one file. Commits."""
    with store.begin():
        store.execute(
            "INSERT INTO release_file VALUES (?,?,?) ON CONFLICT DO UPDATE SET rule = excluded.rule",
            (order.command_sha256, listed.entry, rule),
        )


def outcomes(store: Store, order: ReleaseOrder) -> dict[int, str]:
    """Entry number → what became of it so far."""
    sql = "SELECT entry, rule FROM release_file WHERE command_sha256 = ?"
    return dict(store.execute(sql, (order.command_sha256,)).fetchall())


@dataclass(frozen=True, slots=True)
class Certificate:
    """The list of every file and its outcome, as it lies in the vault."""

    sha256: Sha256Hex
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Ending:
    """How a release ended. `unknown`: files of which nobody can say whether they are gone."""

    outcome: Outcome
    rule: str
    cleared: int = 0
    kept: int = 0
    unknown: int = 0
    certificate: Certificate | None = None


def state_finished(store: Store, station: Station, order: ReleaseOrder, bay: str, ending: Ending) -> None:
    """What became of an authorisation. Commits; the order is over."""
    certificate = ending.certificate

    def event(common: dict[str, Any]) -> Event:
        return ReleaseFinished(
            **common, command_id=order.command_id, command_sha256=Sha256Hex(order.command_sha256),
            camera_id=order.camera, bay=bay, docking_id=order.docking, outcome=ending.outcome, rule=ending.rule,
            cleared=ending.cleared, kept=ending.kept, unknown=ending.unknown,
            certificate_sha256=certificate.sha256 if certificate else None,
            certificate_bytes=certificate.size_bytes if certificate else None,
        )  # fmt: skip

    with store.begin():
        sign_events(store, station, [event])
        store.execute(
            "UPDATE release_order SET state = 'over', rule = ? WHERE command_sha256 = ?",
            (ending.rule, order.command_sha256),
        )
