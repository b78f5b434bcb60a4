"""When to send which envelope, pure: the uplink asks, the hub's receipts answer.

An envelope counts as delivered only by a receipt that verified. A broker's acknowledgement moves nothing here; the
sender goes on ahead of the receipts by at most `WINDOW` and starts again from the first unreceipted envelope after a
reconnection, when the hub asks for it, or when receipts stay away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

WINDOW = 512
RECEIPT_WAIT_SECONDS = 20.0
HUB_SILENT_SECONDS = 60.0  # without a checkpoint for so long, the next one is that of a hub that has opened again
RECEIPT_WAIT_MAX_SECONDS = 320.0  # a hub that is away for weeks must not find the broker full of repetitions


@dataclass(frozen=True, slots=True)
class SendState:
    """Where sending stands. `next_seq` is sent next; everything below `confirmed` has its receipt.

    Invariant: ``confirmed <= next_seq``. `waiting_since` is when the oldest unanswered sending began, on a monotonic
    clock in seconds; None while nothing waits or the link is down. `patience_seconds` doubles with each time out.
    """

    confirmed: int = 1
    next_seq: int = 1
    connected: bool = False
    waiting_since: float | None = None
    patience_seconds: float = RECEIPT_WAIT_SECONDS
    heard_at: float | None = None  # when the hub last published a checkpoint; on the same clock


def connected(state: SendState, first_unreceipted: int) -> SendState:
    """The link is up: begin with the first envelope that has no receipt."""
    return SendState(first_unreceipted, first_unreceipted, connected=True)


def disconnected(state: SendState) -> SendState:
    """The link is down: send nothing."""
    return replace(state, connected=False, waiting_since=None)


def allowance(state: SendState) -> int:
    """How many envelopes from `next_seq` on may be sent now."""
    if not state.connected:
        return 0
    return max(0, state.confirmed + WINDOW - state.next_seq)


def sent(state: SendState, last_seq: int, now: float) -> SendState:
    """Envelopes up to `last_seq` were handed to the link."""
    since = now if state.waiting_since is None else state.waiting_since
    return replace(state, next_seq=max(state.next_seq, last_seq + 1), waiting_since=since)


def receipted(state: SendState, first_unreceipted: int, through: int, now: float) -> SendState:
    """Receipts up to seq `through` were committed; `first_unreceipted` is what still waits (or the next new seq).

    While the hub is given again what it had receipted and lost, it is `through` that says how far it is.
    """
    confirmed = min(first_unreceipted, max(state.confirmed, through + 1))
    waiting = now if confirmed < state.next_seq else None
    return replace(
        state,
        confirmed=confirmed,
        next_seq=max(state.next_seq, confirmed),
        waiting_since=waiting if state.connected else None,
        patience_seconds=RECEIPT_WAIT_SECONDS,
    )


def resend_from(state: SendState, seq: int, now: float) -> SendState:
    """The hub lacks everything from `seq` on: go back there, further than our receipts if it must be."""
    if seq > state.next_seq:
        return state
    return replace(state, confirmed=min(seq, state.confirmed), next_seq=seq, waiting_since=now)


def heard(state: SendState, now: float) -> SendState:
    """The hub published a checkpoint just now: after a silence it has opened again, and patience begins anew.

    While it publishes and yet gives no receipts it has more than it can do: patience stays as long as it has become.
    """
    again = state.heard_at is None or now - state.heard_at > HUB_SILENT_SECONDS
    patience = RECEIPT_WAIT_SECONDS if again else state.patience_seconds
    return replace(state, heard_at=now, patience_seconds=patience)


def timed_out(state: SendState, now: float) -> bool:
    """Whether receipts stayed away so long that sending starts again."""
    return state.connected and state.waiting_since is not None and now - state.waiting_since > state.patience_seconds


def rewound(state: SendState) -> SendState:
    """Start again from the first unreceipted envelope, and wait longer for its receipt."""
    patience = min(2 * state.patience_seconds, RECEIPT_WAIT_MAX_SECONDS)
    return replace(state, next_seq=state.confirmed, waiting_since=None, patience_seconds=patience)
