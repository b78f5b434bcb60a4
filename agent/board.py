"""The station's board: what every bay shows now. One writer side (bays), many readers (screen, lights, uplink)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable

from agent.baystate import BayState
from agent.waiting import happened

WITHOUT_CAMERA = ("empty", "refused")


class Board:
    """Belongs to the event loop. `changed` callbacks run at every change; `follow` is for those that wait."""

    def __init__(self, bays: tuple[str, ...]) -> None:
        """`bays` in the order people see them; others that show up come after."""
        self._states: dict[str, BayState | None] = dict.fromkeys(bays)
        self._version = 0
        self._news = asyncio.Event()
        self._closed = False
        self.changed: list[Callable[[BayState], None]] = []

    @property
    def version(self) -> int:
        """Grows with every change."""
        return self._version

    def states(self) -> list[BayState]:
        """What the bays show, those that have shown something."""
        return [state for state in self._states.values() if state is not None]

    def state(self, bay: str) -> BayState | None:
        """What one bay shows."""
        return self._states.get(bay)

    def cameras(self) -> frozenset[str] | None:
        """The cameras in all bays; None while a bay holds something that may be one and is not recognised."""
        states = self.states()
        if len(states) < len(self._states) or any(s.camera is None and s.state not in WITHOUT_CAMERA for s in states):
            return None
        return frozenset(state.camera for state in states if state.camera is not None)

    def show(self, state: BayState) -> None:
        """A bay shows something else."""
        if self._states.get(state.bay) == state:
            return
        self._states[state.bay] = state
        for tell in self.changed:
            tell(state)
        self.stir()

    def stir(self) -> None:
        """Something that readers show beside the bays has changed."""
        self._version += 1
        news, self._news = self._news, asyncio.Event()
        news.set()

    def close(self) -> None:
        """Nobody follows any more: the screens' connections end by themselves."""
        self._closed = True
        self.stir()

    async def follow(self, beat_seconds: float) -> AsyncIterator[int]:
        """The version now, after every change, and every `beat_seconds` without one; changes in between are joined.

        Ends when the board is closed.
        """
        while not self._closed:
            news = self._news
            yield self._version
            await happened(news, beat_seconds)
