"""Handing cameras out at the dock: who, which, and whether it may be taken."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import cast

from agent import duty
from agent.baystate import BayState
from agent.board import Board
from agent.duty import NOTICE, Checkout, NotAtHand, VerdictWord
from agent.errors import AgentError, Exit, Reaction
from agent.officers import Officer, check_pin
from agent.pipeline import Dock
from agent.policies import ordered_policy
from agent.readiness import Level


class NotReady(AgentError):
    """The camera is not ready for duty and nobody has confirmed taking it all the same."""

    code = "camera_not_ready"
    reaction = Reaction.RETRY
    exit_code = Exit.USAGE

    def __init__(self) -> None:
        super().__init__(
            "This camera is not ready for duty. It was not checked out. Take another one, or confirm: the supervisor "
            "will be told.",
            "该记录仪不符合领用条件，未领用。请换用其他记录仪；如确需领用请确认，系统将通知主管人员。",
        )


@dataclass(frozen=True, slots=True)
class HandedOut:
    """What the officer sees: the sentence of Art. 8 and when the camera is due back."""

    officer: Officer
    checkout: Checkout
    notice: str = NOTICE


class Desk:
    """Check-outs, from whatever screen they come. Belongs to the event loop."""

    def __init__(self, dock: Dock, board: Board, duty_time: timedelta = duty.DUTY) -> None:
        """Bays are known by `board`; a camera is due back after `duty_time`, or what the hub asks instead."""
        self._dock, self._board, self._duty_time = dock, board, duty_time

    async def check_out(self, bay: str, number: str, pin: str, *, confirmed: bool) -> HandedOut:
        """Give the camera in `bay` to an officer. Raises NotAtHand, PinRefused, PinBlocked, NotReady, AlreadyOut."""
        self._at_hand(bay)
        now = datetime.now(UTC)
        officer = await self._dock.store.call(check_pin, number, pin, now)
        state = self._at_hand(bay)  # looked at again: it may have been taken out meanwhile
        camera, verdict = state.camera, state.verdict
        assert camera is not None and verdict is not None  # noqa: S101, PT018 - `_at_hand` has looked
        if verdict.level is Level.NOT_READY and not confirmed:
            raise NotReady
        reasons = [str(reason.code) for reason in verdict.reasons]
        word = cast(VerdictWord, verdict.level.word)
        ordered = await self._dock.store.call(ordered_policy)
        checkout = await self._dock.store.call(
            duty.check_out,
            self._dock.station,
            officer,
            camera,
            bay,
            word,
            reasons,
            now,
            ordered.duty_time if ordered is not None else self._duty_time,
        )
        self._mark(bay, camera, officer.number)
        return HandedOut(officer, checkout)

    async def take_back(self, bay: str, number: str, pin: str) -> bool:
        """Undo the check-out of the camera that still lies in `bay`. Raises NotAtHand, PinRefused, PinBlocked."""
        state = self._board.state(bay)
        if state is None or state.camera is None or not state.removable:
            raise NotAtHand
        now = datetime.now(UTC)
        await self._dock.store.call(check_pin, number, pin, now)
        undone = await self._dock.store.call(duty.take_back, self._dock.station, state.camera, bay, now)
        self._mark(bay, state.camera, None)
        return undone

    def _at_hand(self, bay: str) -> BayState:
        state = self._board.state(bay)
        if state is None or state.state != "safe" or state.camera is None or state.verdict is None:
            raise NotAtHand
        return state

    def _mark(self, bay: str, camera: str, officer: str | None) -> None:
        state = self._board.state(bay)
        if state is not None and state.camera == camera:
            self._board.show(replace(state, officer=officer))
