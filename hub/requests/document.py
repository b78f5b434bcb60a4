"""What the printed register says: its words and cells. `hub.audit.typeset` makes the pages."""

from __future__ import annotations

from sqlalchemy import Connection

from hub.audit.queries import newest_checkpoint
from hub.language import Language, mark
from hub.problems import Problem
from hub.requests.queries import UseRow
from hub.requests.register import COLUMNS, RegisterFilter, register_cells
from hub.times import now_utc
from hub.wording import Wording, visible, whole

MAX_PRINTED = 500  # requests of one document
TITLE = mark("Register of the use of footage")
INTRO = mark(
    "%(count)s requests; limited to: %(what)s. Art. 17: nothing is viewed, copied or handed out without approval."
)
ALL = mark("nothing, the whole register")
HOW = mark("Each line follows from signed entries of the audit log. Its state when this was made:")
FOOTER = mark("Custodock · made %(at)s, Beijing time")
SIGNED = (mark("Checked by"), mark("Approving leader"), mark("Date"))
_LEFT_OUT = 1  # the request's id, last of a line: it stands in the log and in the CSV


class TooMuchToPrint(Problem):
    """More requests than anybody signs for."""

    code = "register_too_long"
    http_status = 422
    title = mark("Too many requests for a PDF")
    advice = mark("A printed register holds at most 500 requests. Limit it by days, or take CSV.")


def register_document(
    connection: Connection, rows: tuple[UseRow, ...], asked: RegisterFilter, words: Wording
) -> dict[str, object]:
    """The data of ``templates/pdf/register.typ``; oldest request first, as a book is kept. Raises TooMuchToPrint."""
    if len(rows) > MAX_PRINTED:
        raise TooMuchToPrint
    what = " · ".join(value for _, value in asked.parameters)
    cells = [[visible(text) for text in register_cells(connection, row, words)[:-_LEFT_OUT]] for row in reversed(rows)]
    return {
        "title": words.say(TITLE),
        "lang": "zh" if words.language is Language.ZH else "en",
        "footer": words.say(FOOTER, at=words.moment(now_utc())),
        "intro": [words.say(INTRO, count=whole(len(rows)), what=visible(what) or words.say(ALL)), words.say(HOW)],
        "checkpoint": newest_checkpoint(connection).note_lines,
        "columns": [words.say(name) for name in COLUMNS[:-_LEFT_OUT]],
        "rows": cells,
        "signed": [words.say(name) for name in SIGNED],
    }
