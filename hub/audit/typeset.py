"""PDF by Typst, in a process of its own: what cameras name things is set as text, and a hostile text can at most end
that process.

The text is data (`sys.inputs`), never markup. Chinese needs a font of the machine (Debian: fonts-noto-cjk); without
one nothing is made, for a page of empty boxes would look like a document.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import threading
from pathlib import Path

from hub.language import mark
from hub.problems import Problem

TEMPLATES = Path(__file__).parent.parent / "templates" / "pdf"
FONTS = ("Noto Sans CJK SC", "Noto Sans SC", "Source Han Sans SC", "WenQuanYi Micro Hei", "WenQuanYi Zen Hei")
MAX_ENTRIES = 2_000  # of the log in one document
TIME_LIMIT_SECONDS = 120
_MEMORY_LIMIT_BYTES = 4 << 30  # of addresses; the program alone maps half a gigabyte
_NO_FONT = 7  # the child's exit code
_one_at_a_time = threading.Lock()  # each takes a core and some hundred megabytes


class FontMissing(Problem):
    """No font of this computer has Chinese letters."""

    code = "font_missing"
    http_status = 503
    title = mark("This computer has no font for Chinese")
    advice = mark("A PDF cannot be made here. Install the package fonts-noto-cjk, or take CSV: it needs no font.")


class TypesettingFailed(Problem):
    """The process that makes the PDF did not."""

    code = "typesetting_failed"
    http_status = 500
    title = mark("The PDF could not be made")
    advice = mark("No stored evidence is affected. Take CSV or the page itself, and tell the administrator.")


class TooMuchForPdf(Problem):
    """More entries than anybody reads on paper."""

    code = "too_much_for_pdf"
    http_status = 422
    title = mark("Too many entries for a PDF")
    advice = mark("A PDF holds at most 2,000 entries. Limit the list by days, or take CSV.")


def typeset(template: str, data: dict[str, object]) -> bytes:
    """The PDF of ``templates/pdf/<template>.typ`` over `data`. Raises FontMissing, TypesettingFailed."""
    words = [sys.executable, "-I", "-m", "hub.audit.typeset", template]
    asked = json.dumps(data, ensure_ascii=False).encode("utf-8", "backslashreplace")
    with _one_at_a_time:
        try:
            done = subprocess.run(words, input=asked, capture_output=True, timeout=TIME_LIMIT_SECONDS, check=False)
        except subprocess.TimeoutExpired:
            raise TypesettingFailed("it took too long") from None
    if done.returncode == _NO_FONT:
        raise FontMissing(FontMissing.code)
    if done.returncode != 0 or not done.stdout.startswith(b"%PDF-"):
        raise TypesettingFailed(done.stderr.decode(errors="replace")[-500:])
    return done.stdout


def _child(template: str) -> int:
    """Data on stdin, PDF on stdout."""
    import typst  # noqa: PLC0415  84 MB that the hub itself never loads

    resource.setrlimit(resource.RLIMIT_AS, (_MEMORY_LIMIT_BYTES, _MEMORY_LIMIT_BYTES))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    fonts = typst.Fonts()
    font = next((name for name in FONTS if name in fonts.families()), None)
    if font is None:
        return _NO_FONT
    source = (TEMPLATES / f"{template}.typ").read_bytes()
    inputs = {"data": sys.stdin.buffer.read().decode(), "font": font}
    sys.stdout.buffer.write(typst.compile(source, font_paths=fonts, format="pdf", sys_inputs=inputs))
    return 0


if __name__ == "__main__":
    sys.exit(_child(sys.argv[1]))
