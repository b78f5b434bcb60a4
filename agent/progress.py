"""Progress of an offload as a person would ask for it: files, bytes, time left."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace

WINDOW_SECONDS = 15.0
WAITING_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Progress:
    """One moment of an offload. `state` is listing, copying, safe, attention or failed."""

    state: str
    files_done: int = 0
    files_total: int = 0
    bytes_done: int = 0
    bytes_total: int = 0
    seconds_left: int | None = None
    reason: str | None = None
    waiting_seconds: float = 0.0  # for how long the card has kept a read waiting


class ProgressMeter:
    """Adds up what is saved and under way, and reports each change to `listener`."""

    def __init__(self, listener: Callable[[Progress], None]) -> None:
        """Report to `listener`."""
        self._tell = listener
        self._last = Progress("empty")
        self._files_done = self._files_total = self._bytes_saved = self._bytes_total = 0
        self._partial: dict[int, int] = {}
        self._marks: deque[tuple[float, int]] = deque()

    def _listener(self, progress: Progress) -> None:
        self._last = progress
        self._tell(progress)

    def waiting(self, seconds: float) -> None:
        """For so long the card has not answered; told once it is worth a person's notice, and when it has passed."""
        if seconds >= WAITING_SECONDS or self._last.waiting_seconds:
            self._listener(replace(self._last, waiting_seconds=seconds if seconds >= WAITING_SECONDS else 0.0))

    def listing(self) -> None:
        """The card is being listed."""
        self._listener(Progress("listing"))

    def copying(self, files: int, size_bytes: int) -> None:
        """So much is to be copied."""
        self._files_total, self._bytes_total = files, size_bytes
        self.report()

    def partial(self, bytes_by_item: dict[int, int]) -> None:
        """How far items under way are."""
        self._partial.update(bytes_by_item)
        self.report()

    def saved(self, item: int, size_bytes: int) -> None:
        """One item is in the vault, sealed (or was there before); `report` follows a batch of these."""
        self._partial.pop(item, None)
        self._files_done += 1
        self._bytes_saved += size_bytes

    def ended(self, *, complete: bool, reason: str) -> None:
        """The offload is over."""
        state = "safe" if complete else "attention"
        self._listener(
            Progress(
                state, self._files_done, self._files_total, self._bytes_saved, self._bytes_total, None,
                None if complete else reason,
            )
        )  # fmt: skip

    def report(self) -> None:
        """Tell the listener how far everything is."""
        done = min(self._bytes_saved + sum(self._partial.values()), self._bytes_total)
        self._listener(
            Progress(
                "copying", self._files_done, self._files_total, done, self._bytes_total,
                self._seconds_left(time.monotonic(), done),
            )
        )  # fmt: skip

    def _seconds_left(self, now: float, done: int) -> int | None:
        self._marks.append((now, done))
        while now - self._marks[0][0] > WINDOW_SECONDS:
            self._marks.popleft()
        elapsed, moved = now - self._marks[0][0], done - self._marks[0][1]
        if elapsed < 1 or moved <= 0:
            return None
        return round((self._bytes_total - done) * elapsed / moved)
