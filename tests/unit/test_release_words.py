"""Every rule of a release has words in both languages and stands in the specification; release is off by default."""

from __future__ import annotations

import re
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from agent.baystate import BayState
from agent.clearing.session import ABOUT_ONE_FILE
from agent.errors import SettingsInvalid
from agent.kiosk.words import bay_view
from agent.progress import Progress
from agent.releasebook import is_held
from agent.releasewords import RULES
from agent.releasing import WAITS
from agent.settings import load_settings
from agent.store import HoldRow

ROOT = Path(__file__).resolve().parents[2]
SOURCES = [ROOT / "custody/release.py", *(ROOT / "agent").glob("releas*.py"), ROOT / "agent/clearclient.py",
           *(ROOT / "agent/clearing").glob("*.py")]  # fmt: skip
RAISED = {
    rule
    for source in SOURCES
    for rule in re.findall(r'(?:ReleaseRefused|Refused)\(\s*"([a-z_]+)"', source.read_text("utf-8"))
}
NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)


def test_every_rule_that_is_raised_has_words_and_stands_in_the_specification() -> None:
    spec = (ROOT / "custody/spec/release.md").read_text("utf-8")
    assert len(RAISED) > 30
    assert RULES.keys() >= RAISED | WAITS | ABOUT_ONE_FILE
    told = {rule for rule in RULES if f"`{rule}`" in spec}
    assert RULES.keys() - told == {"released", "bad_request"}
    for en, zh in RULES.values():
        assert en
        assert re.search("[\u4e00-\u9fff]", zh)


def test_what_waits_never_is_a_finding_about_the_evidence() -> None:
    assert not WAITS & {"held", "not_approved", "not_in_log", "vault_copy_differs", "content_differs", "expired"}
    assert not WAITS & ABOUT_ONE_FILE


def test_the_screen_says_how_far_it_is_and_not_to_remove() -> None:
    view = bay_view(BayState("1", "clearing", NOW, "CAM1", Progress("clearing", files_done=3, files_total=12)))
    assert view["progress"] == {"percent": 25, "line": ["3/12 个文件", "3/12 files"]}
    assert view["todo"] == ["请勿取下", "Do not remove"]
    assert view["removable"] is view["can_check_out"] is False
    done = bay_view(BayState("1", "safe", NOW, "CAM1", reason="released"))
    assert done["remark"] == ["已按授权清除记录仪中的录像", "Authorised footage was cleared from the camera"]


def test_release_is_off_unless_it_is_said_to_be_on(tmp_path: Path) -> None:
    settings = tmp_path / "agent.toml"
    settings.write_text('vault = "vault"\n')
    assert load_settings(tmp_path).release is False
    settings.write_text('vault = "vault"\nrelease = true\nrelease_keep_days = 3\n')
    assert (load_settings(tmp_path).release, load_settings(tmp_path).release_keep_days) == (True, 3)
    for wrong in ("1", '"true"', '"yes"'):
        settings.write_text(f'vault = "vault"\nrelease = {wrong}\n')
        with pytest.raises(SettingsInvalid):
            load_settings(tmp_path)


def test_a_hold_fits_where_every_one_of_its_fields_does() -> None:
    empty = HoldRow("h", None, None, None, "case")
    cases = [
        (replace(empty, camera="CAM1"), True, True),
        (replace(empty, camera="CAM2"), False, False),
        (replace(empty, docking="D1"), True, True),
        (replace(empty, docking="D2"), False, False),
        (replace(empty, camera="CAM1", docking="D2"), False, False),
        (replace(empty, camera="CAM1", docking="D1"), True, True),
        (replace(empty, file_sha256="aa"), False, True),
        (replace(empty, camera="CAM1", file_sha256="aa"), False, True),
        (replace(empty, camera="CAM2", file_sha256="aa"), False, False),
        (replace(empty, file_sha256="bb"), False, False),
    ]
    for hold, whole, one_file in cases:
        assert is_held([hold], "CAM1", "D1", None) is whole, hold
        assert is_held([hold], "CAM1", "D1", "aa") is one_file, hold
