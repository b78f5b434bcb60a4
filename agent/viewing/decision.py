"""Whether a request for footage is answered, and if not, why. Pure, but for the memory of what was asked before.

The codes are those of `custody.viewing.STATUS`; `open_request` there has checked what needs no state of the station.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from agent.grants import GrantRow, Reached, Uptime, why_not_good
from custody.event import Clock
from custody.viewing import ChunkRequest, chunk_count

CHALLENGE_SECONDS = 600.0
MAX_NONCES = 20_000  # of one challenge; then the next one begins early


@dataclass(frozen=True, slots=True)
class FileFacts:
    """A file of the vault as it was saved; `target` and `leaves_target` are relative to the vault."""

    target: bytes
    leaves_target: bytes | None  # None: one chunk at most
    size_bytes: int


@dataclass(frozen=True, slots=True)
class Moment:
    """All that the station knows of the time."""

    now: datetime
    clock: Clock
    uptime: Uptime
    mark: Reached | None


def why_refused(request: ChunkRequest, grant: GrantRow | None, file: FileFacts | None, moment: Moment) -> str | None:
    """Why a request that is fresh gets nothing; None when it is to be answered.

    1. The grant is known. 2. It is this holder's. 3. It is of this file of this docking. 4. It is not revoked and not
    over. 5. The file is in the vault. 6. The chunks are in the file.
    """
    if grant is None:
        return "grant_unknown"
    if request.holder != grant.holder:
        return "wrong_holder"
    if (request.docking, request.file_sha256) != (grant.docking, grant.file_sha256):
        return "wrong_file"
    if (why := why_not_good(grant, moment.mark, moment.now, moment.clock, moment.uptime)) is not None:
        return why
    if file is None:
        return "not_saved"
    if request.first_chunk + request.chunks > chunk_count(file.size_bytes):
        return "bad_range"
    return None


class Freshness:
    """Challenges and what was asked under them: a request counts once, and only while this process has its challenge.

    Time comes from a monotonic clock, and a process that starts anew begins with another challenge: so neither a clock
    that is set back nor a restart lets a request be repeated.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        """`monotonic`: a clock in seconds."""
        self._monotonic = monotonic
        self._before: tuple[str, set[str]] = ("", set())
        self._present: tuple[str, set[str]] = (secrets.token_hex(16), set())
        self._since = monotonic()

    @property
    def challenge(self) -> str:
        """What the next request must name."""
        self._renew()
        return self._present[0]

    def use(self, request: ChunkRequest) -> str | None:
        """Count a request whose signature holds; ``stale`` or ``replayed`` when it does not count."""
        self._renew()
        for challenge, seen in (self._present, self._before):
            if challenge and request.challenge == challenge:
                if request.nonce in seen:
                    return "replayed"
                seen.add(request.nonce)
                return None
        return "stale"

    def _renew(self) -> None:
        now = self._monotonic()
        if now - self._since < CHALLENGE_SECONDS and len(self._present[1]) < MAX_NONCES:
            return
        late = now - self._since >= 2 * CHALLENGE_SECONDS
        self._before = ("", set()) if late else self._present
        self._present, self._since = (secrets.token_hex(16), set()), now
