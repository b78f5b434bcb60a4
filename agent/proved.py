"""Checkpoints of the log that this station has itself proved to continue everything it saw before.

A release stands on one of them: whoever shows the hub's command key another log gets nothing cleared.
"""

from __future__ import annotations

from agent.store import Store
from custody.checkpoint import Checkpoint, parse_checkpoint
from custody.errors import FormatError

MAX_KEPT = 100_000  # one a minute for two months; a release is good for hours or days


def keep_proved(store: Store, checkpoint: Checkpoint) -> None:
    """The log has proved this checkpoint to us, in the caller's transaction."""
    store.execute("INSERT INTO proved_checkpoint (body) VALUES (?) ON CONFLICT DO NOTHING", (checkpoint.body,))
    store.execute("DELETE FROM proved_checkpoint WHERE n <= (SELECT max(n) FROM proved_checkpoint) - ?", (MAX_KEPT,))


def forget_proved(store: Store, origin: str) -> None:
    """People have decided that this log begins anew, in the caller's transaction."""
    start = f"{origin}\n"
    store.execute("DELETE FROM proved_checkpoint WHERE substr(body, 1, ?) = ?", (len(start), start))


def proved_root(store: Store, origin: str, size: int) -> bytes | None:
    """The root of the log's tree of this size, if it was proved."""
    start = f"{origin}\n{size}\n"
    for (body,) in store.execute(
        "SELECT body FROM proved_checkpoint WHERE body >= ? AND body < ?", (start, start + "\x7f")
    ):
        try:
            return parse_checkpoint(body).root
        except FormatError:
            return None
    return None
