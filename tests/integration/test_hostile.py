"""Names from outside do nothing to spreadsheets and terminals."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from hub.access import Role
from hub.app import main
from hub.settings import Settings, write_settings
from tests.integration.hostile_scene import MARK, Hostile
from tests.integration.web_peer import form_token


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Hostile]:
    directory = tmp_path_factory.mktemp("hostile")
    made = Hostile(directory)
    made.fill()
    write_settings(Settings(directory=directory, hub_id="test"))
    yield made
    made.hub.close()


def exported(scene: Hostile, form: str) -> bytes:
    browser = scene.browser(Role.AUDITOR)
    data = {"form_token": form_token(browser.get("/log").text), "format": form}
    return browser.post("/log/export", data=data).content


def test_no_cell_of_a_table_is_a_formula_or_moves_the_text(scene: Hostile) -> None:
    rows = list(csv.reader(io.StringIO(exported(scene, "csv").decode("utf-8-sig"), newline="")))
    cells = [cell for row in rows for cell in row]
    assert sum(MARK in cell for cell in cells) > 8
    assert any(cell.startswith("'=1+1") for cell in cells) or all("=1+1" not in cell[:5] for cell in cells)
    for cell in cells:
        assert not cell.lstrip().startswith(("=", "+", "-", "@")), cell
        assert cell.isprintable(), cell


def test_lines_of_json_are_one_line_each_and_print(scene: Hostile) -> None:
    lines = exported(scene, "jsonl").decode().split("\n")[:-1]
    assert MARK in "".join(lines)
    for line in lines:
        json.loads(line)
        assert line.isprintable(), line


def test_a_pdf_is_made_of_it(scene: Hostile) -> None:
    assert exported(scene, "pdf").startswith(b"%PDF")
    answer = scene.browser(Role.AUDITOR).get(f"/recordings/{scene.recording}/custody.pdf")
    assert answer.content.startswith(b"%PDF")


def test_headers_hold_nothing_of_it(scene: Hostile) -> None:
    browser = scene.browser(Role.AUDITOR)
    for path in (f"/recordings/{scene.recording}/sha256sums", f"/log/entries/{scene.recording}/envelope"):
        answer = browser.get(path)
        assert answer.status_code == 200
        assert MARK not in str(answer.headers)
        assert "a=b" not in answer.headers.get("set-cookie", "")


@pytest.mark.parametrize(
    "words",
    [["log", "show", "--limit", "100"], ["log", "show", "--json"], ["station", "list"], ["station", "list", "--json"],
     ["station", "show", "dock-a"], ["witness", "list"], ["opening", "list"], ["key", "list"], ["log", "check"]],
)  # fmt: skip
def test_the_commands_print_nothing_that_a_terminal_obeys(
    scene: Hostile, capsys: pytest.CaptureFixture[str], words: list[str]
) -> None:
    capsys.readouterr()
    try:
        main([*words, "--dir", str(Path(str(scene.hub.db.writer.url.database)).parent)])
    except SystemExit as ended:
        assert ended.code in (0, None)  # noqa: PT017
    shown = capsys.readouterr().out
    assert all(line.replace("\t", "").isprintable() for line in shown.split("\n")), shown
