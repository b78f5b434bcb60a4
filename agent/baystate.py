"""One bay as a person would say it: what its screen, its light and the retained MQTT message are made of."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal

from agent.charge import Reading
from agent.progress import Progress
from agent.readiness import Verdict

# empty: nothing there. recognising: a device is there, what it is comes next. listing, copying: an offload is under
# way. safe: everything on the card is sealed in the vault. attention: what could be saved is, something could not;
# people decide. failed: not everything is saved and it can go on. refused: no camera. storm: plugged too often.
# clearing: authorised files are being cleared from the camera. no_card: a camera or card reader without a medium.
StateWord = Literal[
    "empty",
    "recognising",
    "listing",
    "copying",
    "safe",
    "attention",
    "failed",
    "refused",
    "storm",
    "no_card",
    "clearing",
]
NO_PROGRESS = Progress("empty")


@dataclass(frozen=True, slots=True)
class BayState:
    """Everything known of one bay now. `reason` is a code for attention, failed, refused."""

    bay: str
    state: str  # a StateWord
    at: datetime
    camera: str | None = None
    progress: Progress = NO_PROGRESS
    reason: str | None = None
    waiting_seconds: float = 0.0  # for how long the card has kept a read waiting
    charge: Reading | None = None
    verdict: Verdict | None = None
    disputed: bool = False
    officer: str | None = None  # who has checked the camera out

    @property
    def removable(self) -> bool:
        """Whether the camera may be taken: nothing of it is under way, and everything readable on it is sealed."""
        return self.state in ("safe", "attention")

    def public(self) -> dict[str, Any]:
        """As JSON for the hub and supervisors; no officer. Field names are stable."""
        progress, charge, verdict = self.progress, self.charge, self.verdict
        return {
            "bay": self.bay,
            "camera": self.camera,
            "state": self.state,
            "files_done": progress.files_done,
            "files_total": progress.files_total,
            "bytes_done": progress.bytes_done,
            "bytes_total": progress.bytes_total,
            "seconds_left": progress.seconds_left,
            "reason": self.reason,
            "charge_percent": charge.percent if charge else None,
            "charge_state": str(charge.state) if charge else None,
            "verdict": verdict.level.word if verdict else None,
            "verdict_reasons": [str(r.code) for r in verdict.reasons] if verdict else [],
            "disputed": self.disputed,
            "at": f"{self.at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}",
        }
