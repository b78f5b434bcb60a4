"""What a list of recordings can be limited to, out of the texts of a form, an address or a command line. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import date

from hub import search
from hub.problems import BadQuery
from hub.recordings.standing import MARKS
from hub.vocabulary import KINDS, LABELS

ANY_MARK = "restricted"  # as a filter's mark: any but normal
HELD, DISPUTED = "held", "disputed"  # a hold is on it; its camera's identity was disputed
OLDEST = "oldest"


@dataclass(frozen=True, slots=True)
class RecordingFilter:
    """What a list is limited to; None and "" do not limit. Checked by `parse_filter`."""

    camera: str | None = None
    station: str | None = None
    docking: str | None = None
    day_from: date | None = None
    day_to: date | None = None
    label: str | None = None  # a key of vocabulary.LABELS, or search.ANY_LABEL
    text: str | None = None
    officer: str | None = None  # number of who carried the camera
    kind: str | None = None  # of the work, a key of vocabulary.KINDS
    about: str | None = None  # words of place, matter or case number
    mark: str | None = None  # of secrecy, a key of vocabulary.MARKS but normal, or ANY_MARK
    state: str | None = None  # HELD or DISPUTED
    oldest: bool = False  # the oldest first
    within: search.Within | None = None  # never asked for: what the reader may see

    @property
    def parameters(self) -> list[tuple[str, str]]:
        """As an address has it, without what is empty."""
        named = (
            ("q", self.text), ("camera", self.camera), ("station", self.station), ("docking", self.docking),
            ("officer", self.officer), ("from", self.day_from and self.day_from.isoformat()),
            ("to", self.day_to and self.day_to.isoformat()), ("kind", self.kind), ("about", self.about),
            ("label", self.label), ("mark", self.mark), ("state", self.state),
            ("sort", OLDEST if self.oldest else None),
        )  # fmt: skip
        return [(name, value) for name, value in named if value]

    @property
    def describes(self) -> bool:
        """Whether anything is asked that would tell of a restricted recording more than that it exists."""
        asked = (self.text, self.docking, self.camera, self.label, self.officer, self.kind, self.about, self.state)
        return any(asked) or self.day_from is not None or self.day_to is not None

    @property
    def searches(self) -> bool:
        """Whether the full-text index answers: it holds every filter and crosses long lists without walking one."""
        plain = replace(self, day_from=None, day_to=None, oldest=False, within=None)
        return plain != RecordingFilter() or self.within is not None or (self.oldest and self.describes)

    @property
    def by_day(self) -> bool:
        """Whether rows come in the order of days. The full-text index keeps the order as saved."""
        return not self.searches and (self.day_from is not None or self.day_to is not None)


def parse_filter(
    camera: str, station: str, docking: str, day_from: str, day_to: str, label: str, text: str, *, officer: str = "",
    kind: str = "", about: str = "", mark: str = "", state: str = "", sort: str = "",
) -> RecordingFilter:  # fmt: skip
    """A filter out of what a form or a call says, "" for no limit. Raises BadQuery."""
    if label and label not in LABELS and label != search.ANY_LABEL:
        raise BadQuery
    if kind not in ("", *KINDS) or mark not in ("", ANY_MARK, *MARKS[1:]) or state not in ("", HELD, DISPUTED):
        raise BadQuery
    if sort not in ("", OLDEST):
        raise BadQuery
    if max(len(text), len(about)) > search.MAX_TEXT_CHARACTERS:
        raise BadQuery
    if any(len(name) > 512 for name in (camera, station, docking, officer)):
        raise BadQuery
    if "\x00" in camera + station + docking + text + officer + about:  # PostgreSQL holds no NUL, so nothing could match
        raise BadQuery
    limits = RecordingFilter(
        camera=camera or None,
        station=station or None,
        docking=docking or None,
        day_from=_parse_day(day_from),
        day_to=_parse_day(day_to),
        label=label or None,
        text=text.strip() or None,
        officer=officer.strip() or None,
        kind=kind or None,
        about=about.strip() or None,
        mark=mark or None,
        state=state or None,
        oldest=sort == OLDEST,
    )
    if limits.day_from and limits.day_to and limits.day_from > limits.day_to:
        raise BadQuery
    return limits


def _parse_day(text: str) -> date | None:
    try:
        return date.fromisoformat(text) if text else None
    except ValueError:
        raise BadQuery from None
