"""What viewing can fail with."""

from __future__ import annotations

from hub.language import mark
from hub.problems import Problem


class NoGrant(Problem):
    """Nobody sees footage without a grant of their own (Art. 17)."""

    code = "no_grant"
    http_status = 403
    title = mark("You hold no grant for this footage")
    advice = mark(
        "Nobody views footage without another person's approval. Ask your section head or the custodian to request a "
        "grant to view for you; a grant that is over or revoked has to be asked for again."
    )


class ViewingEnded(Problem):
    """The viewing has ended: closed, idle, its grant over, or the hub was started anew."""

    code = "viewing_ended"
    http_status = 410
    title = mark("This viewing has ended")
    advice = mark("What was viewed is in the audit log. Open the recording again to start another viewing.")


class StationAway(Problem):
    """The station that keeps the footage cannot be reached, or is not who it should be."""

    code = "station_away"
    http_status = 503
    title = mark("The station that keeps this footage does not answer")
    advice = mark("The footage is safe at its station. Try again in a moment; if it stays, tell the administrator.")
    retry_after_seconds = 5


class StationRefused(Problem):
    """The station gives nothing by this grant."""

    code = "station_refused"
    http_status = 403
    title = mark("The station does not give this footage")
    advice = mark(
        "The footage is safe at its station. Its answer is below; a grant that is over has to be asked for again."
    )

    def __init__(self, answer: str) -> None:
        """`answer`: the station's code, see custody/spec/viewing.md."""
        super().__init__(answer)
        self.answer = answer


class FootageAltered(Problem):
    """What the station gave is not what it sealed."""

    code = "footage_altered"
    http_status = 502
    title = mark("The footage at the station is not what was sealed")
    advice = mark(
        "Nothing of the altered part was shown. What happened is in the audit log. Change nothing at the station; tell "
        "the administrator and the auditor."
    )

    def __init__(self, chunk: int | None, leaf: bytes | None) -> None:
        """`chunk`: its number; None: the whole file has another size. `leaf`: the leaf hash of what came."""
        super().__init__(self.code)
        self.chunk, self.leaf = chunk, leaf
