"""Which command to send to which station now. Pure.

A command is sent until the station's answer is in the log: at once when it is new or the station has come back, then
again with growing patience. Always from the first unanswered one on and in order: a station takes only the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

WINDOW = 16  # unanswered commands sent ahead to one station
FIRST_PATIENCE_SECONDS = 10.0
LONGEST_PATIENCE_SECONDS = 320.0  # an unanswering station must not find its queue full of repetitions


@dataclass(slots=True)
class _Sent:
    first: int  # first unanswered number when it was last sent
    through: int  # highest number sent
    again_at: float
    patience: float


@dataclass(slots=True)
class Sender:
    """One per connection to the broker; begin a new one with each."""

    _stations: dict[str, _Sent] = field(default_factory=dict)

    def due(self, waiting: Mapping[str, Sequence[int]], now: float) -> list[tuple[str, int]]:
        """What to send now, as (station, number), in order.

        `waiting`: the unanswered numbers, rising, of every station that is online; one that is not is forgotten, so
        that it gets everything at once when it is back. `now`: monotonic seconds.
        """
        self._stations = {name: sent for name, sent in self._stations.items() if name in waiting}
        found = []
        for name, numbers in waiting.items():
            found += [(name, number) for number in self._due(name, list(numbers[:WINDOW]), now)]
        return found

    def _due(self, name: str, numbers: list[int], now: float) -> list[int]:
        if not numbers:
            self._stations.pop(name, None)
            return []
        sent = self._stations.get(name)
        if sent is None or (numbers[0] == sent.first and now >= sent.again_at):
            patience = FIRST_PATIENCE_SECONDS if sent is None else min(2 * sent.patience, LONGEST_PATIENCE_SECONDS)
            self._stations[name] = _Sent(numbers[0], numbers[-1], now + patience, patience)
            return numbers
        if numbers[0] != sent.first:  # it answers: what it has in hand is not sent again before its time
            sent.first, sent.patience, sent.again_at = numbers[0], FIRST_PATIENCE_SECONDS, now + FIRST_PATIENCE_SECONDS
        new = [number for number in numbers if number > sent.through]
        sent.through = max(sent.through, numbers[-1])
        return new
