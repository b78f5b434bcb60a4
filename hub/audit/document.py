"""What a PDF of the log, or of one recording's chain of custody, says. The words; `typeset` makes the pages."""

from __future__ import annotations

from sqlalchemy import select

from hub.audit.export import Stated
from hub.audit.queries import newest_checkpoint, read_event
from hub.audit.saying import CONCEALED, LOG_WHOLE, say_event
from hub.audit.selection import EntryFilter
from hub.audit.typeset import typeset
from hub.db import Database
from hub.language import Language, mark
from hub.recordings.chain import Recording
from hub.recordings.story import Step, Story
from hub.sections import concealed
from hub.tables import log_entry
from hub.times import now_utc
from hub.wording import Wording, digest_groups, size, visible, whole

TITLE = mark("Audit log: entries")
INTRO = mark("%(count)s entries; limited to: %(what)s. Exported as log entry %(index)s.")
HOW = mark("The checkpoint below is signed by the log. Each entry is proved under it by its inclusion proof.")
FOOTER = mark("Custodock · made %(at)s, Beijing time")
COLUMNS = (mark("Index"), mark("Received"), mark("Kind"), mark("Source"), mark("What it says"))
HUB_ITSELF = mark("The hub itself")


def log_document(db: Database, stated: Stated, asked: EntryFilter, words: Wording, reader: str) -> bytes:
    """A PDF of the entries of an export, as the account `reader` may know them.

    Raises FontMissing, TypesettingFailed.
    """
    columns = ("idx", "source", "event_type", "received_at", "envelope")
    query = select(*(log_entry.c[name] for name in columns)).where(log_entry.c.idx.in_(list(stated.indexes)))
    with db.read() as connection:
        found = connection.execute(query.order_by(log_entry.c.idx)).all()
        newest = newest_checkpoint(connection)
        hidden = concealed(connection, reader, stated.indexes)
    rows = [
        [
            str(row.idx),
            words.at_second(row.received_at),
            words.entry_type(row.event_type),
            words.say(HUB_ITSELF) if row.source == "hub" else row.source,
            words.say(CONCEALED) if row.idx in hidden else visible(say_event(words, read_event(bytes(row.envelope)))),
        ]
        for row in found
    ]
    what = visible(asked.text) or words.say(LOG_WHOLE)
    intro = words.say(INTRO, count=whole(len(rows)), what=what, index=whole(stated.log_index))
    return typeset(
        "log",
        _frame(words, words.say(TITLE))
        | {
            "intro": [intro, words.say(HOW)],
            "checkpoint": newest.note_lines,
            "columns": [words.say(column) for column in COLUMNS],
            "rows": rows,
        },
    )


def _frame(words: Wording, title: str) -> dict[str, object]:
    lang = "zh" if words.language is Language.ZH else "en"
    return {"title": title, "lang": lang, "footer": words.say(FOOTER, at=words.moment(now_utc()))}


CUSTODY_TITLE = mark("Chain of custody of a recording")
UNKNOWN_TITLE = mark("What the log does not say")
CHECK_TITLE = mark("How to check this without us")
CHECK = mark(
    "Ask for the footage as a bundle and run “custody verify” on it, or compare the file's SHA-256 with the one below. "
    "Log entry %(index)s holds the signed seal; its inclusion proof leads to this checkpoint, or to any later one:"
)
CLAIM = mark(
    "This page is a reading of the log, not evidence by itself. Where it and the log differ, the log is right."
)
CHAIN = mark("Chain of custody")
FACTS = (mark("Camera"), mark("Station and bay"), mark("Path on the camera"), mark("Recorded"), mark("Size"))
BY_CAMERA = mark("%(at)s by the camera's clock")
ENTRY = mark("Log entry %(n)s")
CLOCK_IS = mark("clock: %(state)s")


def custody_document(recording: Recording, story: Story, words: Wording) -> bytes:
    """A PDF of one recording's chain of custody. Raises FontMissing, TypesettingFailed."""
    row, seal = recording.row, recording.sealed
    values = (
        row.camera,
        f"{row.station} · {row.bay}",
        seal.path,
        words.say(BY_CAMERA, at=words.local_moment(row.recorded_at)),
        f"{size(seal.size_bytes)} ({whole(seal.size_bytes)} B)",
    )
    return typeset(
        "custody",
        _frame(words, words.say(CUSTODY_TITLE))
        | {
            "file": visible(row.file_name),
            "facts": [[words.say(name), visible(value)] for name, value in zip(FACTS, values, strict=True)],
            "steps_title": words.say(CHAIN),
            "steps": [_step(words, step) for step in story.steps],
            "unknown_title": words.say(UNKNOWN_TITLE),
            "unknown": [visible(line) for line in story.unknown],
            "check_title": words.say(CHECK_TITLE),
            "check": [words.say(CHECK, index=whole(row.log_index)), words.say(CLAIM)],
            "checkpoint": recording.proof.checkpoint.note_lines,
            "digests": [
                ["SHA-256", " ".join(digest_groups(seal.sha256))],
                [words.say(mark("Root of the chunk tree")), " ".join(digest_groups(seal.tree_root))],
                [words.say(mark("Envelope SHA-256")), " ".join(digest_groups(recording.proof.entry.envelope_sha256))],
            ],
        },
    )


def _step(words: Wording, step: Step) -> dict[str, object]:
    when = [words.moment(step.at)]
    if step.clock:
        when.append(words.say(CLOCK_IS, state=step.clock))
    when.append(words.say(HUB_ITSELF) if step.source == "hub" else visible(step.source))
    if step.index is not None:
        when.append(words.say(ENTRY, n=whole(step.index)))
    more = [visible(line) for line in step.more]
    return {"said": visible(step.said), "when": " · ".join(when), "more": more, "mood": step.mood}
