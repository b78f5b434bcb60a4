"""Cameras on duty: checked out with the verdict (Art. 7), brought back, or overdue (Art. 6). In the store's thread.

Every step is one commit of its row and its signed event.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Literal

from agent.errors import AgentError, Exit, Reaction
from agent.officers import Officer
from agent.station import EventMaker, Station, sign_events
from agent.store import Store
from custody.commitments import Stated, parse_opening, state
from custody.envelope import parse_envelope
from custody.event import Event
from custody.events import decode_event
from custody.stationevents import CameraCheckedOutV2, CameraLeftV2, CameraOverdueV2, CameraReturnedV2

# Art. 8, word for word.
NOTICE = "为保护您的合法权益，监督我们的执法行为，本次执法实行全过程录音录像记录。"
DUTY = timedelta(hours=12)  # a camera is back by then, unless the policy says otherwise

NAMED_FOR = timedelta(days=90)  # as long as keepings: a hub put back from a backup gets openings of so far back

VerdictWord = Literal["ready", "attention", "not_ready"]


class NotAtHand(AgentError):
    """The camera is not in a bay, or is not done being copied: nobody can take it."""

    code = "camera_not_at_hand"
    reaction = Reaction.RETRY
    exit_code = Exit.USAGE

    def __init__(self) -> None:
        super().__init__(
            "This camera cannot be checked out now: it was taken out, or its footage is not yet safe. "
            "Wait until the bay says that it may be taken.",
            "现在不能领用该记录仪：它已被取下，或录像尚未安全入库。请等待仓位显示可以取下。",
        )


class AlreadyOut(AgentError):
    """Somebody has checked this camera out already."""

    code = "camera_already_out"
    reaction = Reaction.RETRY
    exit_code = Exit.USAGE

    def __init__(self, officer: str) -> None:
        super().__init__(
            f"This camera is already checked out by {officer}. Take that back first.",
            f"该记录仪已由工号 {officer} 领用。请先撤销该领用。",
        )


@dataclass(frozen=True, slots=True)
class Checkout:
    """One camera that an officer has, or is about to take."""

    camera: str
    officer: str
    at: datetime
    due_at: datetime
    left_at: datetime | None


def check_out(
    store: Store,
    station: Station,
    officer: Officer,
    camera: str,
    bay: str,
    verdict: VerdictWord,
    reasons: Sequence[str],
    now: datetime,
    duty: timedelta = DUTY,
) -> Checkout:
    """An officer takes a docked camera; the notice of Art. 8 was on the screen. Raises AlreadyOut."""
    due_at = now + duty

    def event(common: dict[str, Any]) -> Stated:
        return _state(
            CameraCheckedOutV2, common, camera_id=camera, bay=bay, officer=officer.number, verdict=verdict,
            reasons=tuple(reasons), notice=NOTICE, due_at=due_at,
        )  # fmt: skip

    with store.begin():
        if earlier := open_checkout(store, camera):
            raise AlreadyOut(earlier.officer)
        store.execute(
            "INSERT INTO checkout (camera, officer, verdict, at, due_at, bay) VALUES (?,?,?,?,?,?)",
            (camera, officer.number, verdict, _text(now), _text(due_at), bay),
        )
        sign_events(store, station, [event])
    return Checkout(camera, officer.number, now, due_at, None)


def camera_left(
    store: Store,
    station: Station,
    camera: str,
    bay: str,
    offload: Literal["safe", "copying", "incomplete"],
    verdict: Literal["ready", "attention", "not_ready", "unchecked"],
    now: datetime,
) -> str | None:
    """State that a camera was taken out; the officer who had checked it out, or None."""
    with store.begin():
        checkout = open_checkout(store, camera)
        officer = checkout.officer if checkout else None
        store.execute("UPDATE checkout SET left_at = ? WHERE camera = ? AND returned_at IS NULL", (_text(now), camera))
        _note_left(store, camera, now)
        sign_events(store, station, [_left_maker(camera, officer, verdict, bay, offload)])
    return officer


def left_unseen(store: Store, station: Station, at_hand: Collection[str], now: datetime) -> list[str]:
    """State the departure of every checked-out camera that no bay holds any more; which they are. Commits.

    They were taken while the agent did not run (update, power cut). A check-out is made only at a bay that is safe, so
    that and the verdict it was made with are what the event says.
    """
    with store.begin():
        rows = store.execute(
            "SELECT camera, officer, verdict, bay FROM checkout WHERE returned_at IS NULL AND left_at IS NULL"
        ).fetchall()
        gone = [row for row in rows if row[0] not in at_hand]
        for camera, *_ in gone:
            store.execute(
                "UPDATE checkout SET left_at = ? WHERE camera = ? AND returned_at IS NULL", (_text(now), camera)
            )
            _note_left(store, camera, now)
        sign_events(store, station, [_left_maker(*row) for row in gone])
    return [camera for camera, *_ in gone]


def _note_left(store: Store, camera: str, now: datetime) -> None:
    """Nothing that this camera's dockings saved so far is cleared from it any more (agent/release.py)."""
    store.execute("UPDATE docking SET left_at = ? WHERE camera = ? AND left_at IS NULL", (_text(now), camera))


def _left_maker(camera: str, officer: str | None, verdict: str, bay: str, offload: str = "safe") -> EventMaker:
    facts = {"camera_id": camera, "bay": bay, "offload": offload, "verdict": verdict, "officer": officer}
    return lambda common: _state(CameraLeftV2, common, **facts)


def _state(kind: type[Event], common: dict[str, Any], **facts: Any) -> Stated:
    """An event that names its officer by a commitment alone."""
    return state(kind, secrets.token_bytes, common | facts)


def camera_returned(store: Store, station: Station, camera: str, bay: str, now: datetime) -> str | None:
    """The camera is in a bay again: the duty it was checked out for is over; whose it was, or None. Commits.

    Not for a camera whose identity is disputed: another one with its name must not end its duty (`loans`).
    """
    with store.begin():
        checkout = open_checkout(store, camera)
        if checkout is None or checkout.left_at is None:
            return None
        _close(store, station, checkout, bay, now)
    return checkout.officer


def take_back(store: Store, station: Station, camera: str, bay: str, now: datetime, *, disputed: bool = False) -> bool:
    """Undo a check-out whose camera still lies in the bay; whether there was one. Commits.

    `disputed`: the camera is back, its identity is not settled, and the officer says that the duty is over.
    """
    with store.begin():
        checkout = open_checkout(store, camera)
        if checkout is None or (checkout.left_at is not None and not disputed):
            return False
        _close(store, station, checkout, bay, now)
    return True


def _close(store: Store, station: Station, checkout: Checkout, bay: str, now: datetime) -> None:
    facts = {"camera_id": checkout.camera, "bay": bay, "officer": checkout.officer}
    was_out = checkout.left_at is not None

    store.execute(
        "UPDATE checkout SET returned_at = ? WHERE camera = ? AND returned_at IS NULL", (_text(now), checkout.camera)
    )
    sign_events(store, station, [lambda common: _state(CameraReturnedV2, common, **facts, was_out=was_out)])


def open_checkout(store: Store, camera: str) -> Checkout | None:
    """Who has this camera."""
    for row in store.execute(f"{_SELECT} WHERE camera = ? AND returned_at IS NULL", (camera,)):
        return _checkout(row)
    return None


def loans(store: Store, camera: str, bay: str) -> int:
    """How many check-outs of this camera, which lies in `bay`, are open and were not made there for taking it now.

    One made at another bay: the camera was moved while the agent did not run. One whose camera left: something of its
    name came back, and it is disputed whether it is that camera.
    """
    sql = "SELECT count(*) FROM checkout WHERE camera = ? AND returned_at IS NULL AND (left_at NOT NULL OR bay <> ?)"
    ((count,),) = store.execute(sql, (camera, bay)).fetchall()
    return int(count)


def open_checkouts(store: Store) -> list[Checkout]:
    """Every camera that is out or about to be taken, the one due first."""
    return [_checkout(row) for row in store.execute(f"{_SELECT} WHERE returned_at IS NULL ORDER BY due_at")]


def state_overdue(store: Store, station: Station, now: datetime) -> list[Checkout]:
    """State every camera that should be back and is not, once each; a clock that jumped ahead states it too early."""
    with store.begin():
        rows = store.execute(
            f"{_SELECT} WHERE returned_at IS NULL AND left_at IS NOT NULL AND overdue_seq IS NULL AND due_at < ?",
            (_text(now),),
        ).fetchall()
        late = [_checkout(row) for row in rows]
        seqs = sign_events(store, station, [_overdue_maker(one) for one in late])
        for one, seq in zip(late, seqs, strict=True):
            store.execute(
                "UPDATE checkout SET overdue_seq = ? WHERE camera = ? AND returned_at IS NULL", (seq, one.camera)
            )
    return late


def _overdue_maker(one: Checkout) -> EventMaker:
    facts = {"camera_id": one.camera, "officer": one.officer, "due_at": one.due_at}
    return lambda common: _state(CameraOverdueV2, common, **facts)


def forget_officers(store: Store, now: datetime) -> int:
    """Delete what names an officer and is over and told for `NAMED_FOR`; how many openings went. Commits.

    Openings of receipted envelopes, which the hub holds by then, and duties that have ended. The envelopes stay.
    """
    over = _text(now - NAMED_FOR)
    old = "SELECT seq FROM outbox JOIN opening USING (seq) WHERE receipted_at < ?"
    ended = "SELECT n FROM checkout WHERE returned_at < ?"
    if store.execute(f"{old} UNION ALL {ended} LIMIT 1", (over, over)).fetchone() is None:
        return 0
    store.execute("PRAGMA secure_delete=ON")  # what is deleted here is overwritten; keepings need not be
    with store.begin():
        gone = store.execute(f"DELETE FROM opening WHERE seq IN ({old})", (over,)).rowcount  # noqa: S608 - constants only
        store.execute(f"DELETE FROM checkout WHERE n IN ({ended})", (over,))  # noqa: S608 - constants only
    store.execute("PRAGMA secure_delete=OFF")
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")  # their old pages go with the WAL
    return gone


def forget_openings(store: Store, seqs: Sequence[int]) -> int:
    """Delete what opens these of our events, in the caller's transaction; how many openings went.

    Only of receipted ones: before that the hub may not have what it was told to remove. A duty that has ended goes with
    the opening that names its officer; one that runs is forgotten when it is over (`forget_officers`).
    """
    store.execute("PRAGMA secure_delete=ON")
    gone = 0
    held = "SELECT envelope, opening FROM outbox JOIN opening USING (seq) WHERE seq = ? AND receipted_at IS NOT NULL"
    for seq in seqs:
        for raw, shown in store.execute(held, (seq,)).fetchall():
            envelope = parse_envelope(bytes(raw))
            camera = getattr(decode_event(envelope.payload_type, envelope.payload), "camera_id", None)
            for one in parse_opening(bytes(shown)).fields:
                ended = "DELETE FROM checkout WHERE returned_at IS NOT NULL AND camera = ? AND officer = ?"
                store.execute(ended, (camera, one.value))
            gone += store.execute("DELETE FROM opening WHERE seq = ?", (seq,)).rowcount
    store.execute("PRAGMA secure_delete=OFF")
    return gone


def overwrite_forgotten(store: Store) -> None:
    """After the commit: the old pages of what was deleted go with the WAL."""
    store.execute("PRAGMA wal_checkpoint(TRUNCATE)")


_SELECT = "SELECT camera, officer, at, due_at, left_at FROM checkout"


def _checkout(row: tuple[str, str, str, str, str | None]) -> Checkout:
    camera, officer, at, due_at, left_at = row
    left = None if left_at is None else datetime.fromisoformat(left_at)
    return Checkout(camera, officer, datetime.fromisoformat(at), datetime.fromisoformat(due_at), left)


def _text(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="microseconds")
