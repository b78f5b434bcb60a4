"""What the hub answers stations: receipts for what is committed, and requests for what is missing.

Entries are gathered for a moment before they are sealed: one receipt for 200 envelopes costs what one for two does.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from custody.checkpoint import SigningKey
from custody.receipt import MAX_RECEIPT_ENTRIES, Receipt, ReceiptEntry, ResendRequest, seal_receipt

logger = logging.getLogger("hub.answers")

RESEND_EVERY = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class Answer:
    """Signed bytes for one station's receipts topic."""

    station: str
    raw: bytes


@dataclass(slots=True)
class Taken:
    """What one commit owes to stations."""

    receipts: dict[str, dict[int, ReceiptEntry]] = field(default_factory=dict)  # by station and seq
    resend: dict[str, int] = field(default_factory=dict)  # station: the seq that is missing
    note: str = ""  # a checkpoint over everything above

    def joined(self, later: Taken) -> Taken:
        """Both, under the later checkpoint."""
        for name, entries in later.receipts.items():
            self.receipts.setdefault(name, {}).update(entries)
        self.resend |= later.resend
        self.note = later.note
        return self


class Answers:
    """Gathers what commits owe and seals it."""

    def __init__(self, key: SigningKey) -> None:
        """`key` is the receipt key."""
        self._key = key
        self._owed = Taken()
        self._asked_at: dict[str, datetime] = {}

    @property
    def note(self) -> str:
        """The newest checkpoint met; empty before the first."""
        return self._owed.note

    def add(self, taken: Taken) -> None:
        """Owe this too."""
        self._owed.joined(taken)

    def seal(self, now: datetime) -> list[Answer]:
        """Everything owed, signed; afterwards nothing is. The same station is asked again only every `RESEND_EVERY`."""
        owed, self._owed = self._owed, Taken(note=self._owed.note)
        answers = []
        for name, by_seq in owed.receipts.items():
            entries = [by_seq[seq] for seq in sorted(by_seq)]
            for i in range(0, len(entries), MAX_RECEIPT_ENTRIES):
                receipt = Receipt(name, tuple(entries[i : i + MAX_RECEIPT_ENTRIES]), owed.note)
                answers.append(Answer(name, seal_receipt(receipt, self._key)))
        for name, from_seq in owed.resend.items():
            if name not in self._asked_at or not timedelta(0) <= now - self._asked_at[name] < RESEND_EVERY:
                self._asked_at[name] = now
                logger.warning("gap station=%s from_seq=%d", name, from_seq)
                answers.append(Answer(name, seal_receipt(ResendRequest(name, from_seq), self._key)))
        return answers
