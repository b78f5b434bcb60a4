"""`dock-agent profile` as a person runs it: what it says, and its exit codes."""

import json
from pathlib import Path

import pytest

from agent.app import main
from tests.integration.cards import blank, fat_card, plant

CLIP = b"x" * 2000
ZFY = {
    "DCIM/1234567_012345_20260301080000_0001.MP4": CLIP,
    "DCIM/1234567_012345_20260301080000_0001.md5": b"0",
    "DCIM/1234567_012345_20260301081500_0002_IMP.MP4": CLIP,
    "DCIM/holiday.mp4": CLIP,
    "stray.md5": b"0",
    "SYS/BAT.TXT": b"BAT=63",
}
OWN = """
name = "own"
evidence = "tried"
time_zone = "Asia/Shanghai"
bitrate_kbit = 5800
[title]
zh = "自有"
en = "own"
[recognise]
label = "CAMERA"
all_paths = ["DCIM"]
[files]
footage = ["*.MP4"]
[[name_pattern]]
pattern = '(?P<serial>\\d+)_.*'
example = "7_x.mp4"
[charge]
sources = ["status_file"]
status_file = { path = "SYS/BAT.TXT", pattern = 'BAT=(?P<percent>\\d+)' }
"""


def profile(capsys: pytest.CaptureFixture[str], *argv: object) -> tuple[int, str, str]:
    code = main(["profile", *map(str, argv)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_a_card_is_explained_to_people(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = profile(capsys, "test", fat_card(tmp_path / "card.img", ZFY))
    assert code == 0
    for text in (
        "识别为 / recognised as: zfy-dsj", "2 of 3 footage names fit", "identity: 1234567", "volume_id: 1234-ABCD",
        "FAT32 'CAMERA'", "h @ 5800 kbit/s（不足 2 h / less than 2 h）", "serial=1234567 officer=012345",
        "sequence=2 key_file", "names not read: 1", "DCIM/holiday.mp4", "without a clip: SYS/BAT.TXT, stray.md5",
        "no folder CARDV/",
    ):  # fmt: skip
        assert text in out


def test_a_card_is_explained_to_programs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    card = fat_card(tmp_path / "card.img", ZFY)
    (tmp_path / "own.toml").write_text(OWN)
    code, out, _ = profile(capsys, "test", card, "--profile", tmp_path / "own.toml", "--json")
    said = json.loads(out)
    assert code == 0
    assert (said["profile"], said["charge_percent"], said["identity"]["id"]) == ("own", 63, "1234567")
    assert said["volumes"][0]["exact"] is True
    assert said["unmatched"] == ["DCIM/holiday.mp4"]
    assert [match["profile"] for match in said["ranking"][:2]] == ["own", "zfy-dsj"]
    code, again, _ = profile(capsys, "--json", "test", card)
    assert json.loads(again)["profile"] == "zfy-dsj"


def test_another_profile_comes_first(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "own.toml").write_text(OWN.replace('"DCIM"', '"MEDIA"').replace("\\d+)_", "\\d)_"))
    code, out, _ = profile(capsys, "test", plant(tmp_path / "card", ZFY), "--profile", tmp_path / "own.toml")
    assert code == 1
    assert "read with it as asked: own" in out


def test_a_stranger_is_generic(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, _ = profile(capsys, "test", plant(tmp_path / "card", {"a\x1b[31m.mp4": CLIP}))
    assert code == 1
    assert "generic" in out
    assert "nothing tells it apart" in out
    assert "\x1b" not in out


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "bad.toml").write_text("name = 1")
    card = plant(tmp_path / "card", ZFY)
    code, _, err = profile(capsys, "test", card, "--profile", tmp_path / "bad.toml")
    assert code == 2
    assert "bad.toml: name" in err
    assert profile(capsys, "test", blank(tmp_path / "blank.img", 1))[0] == 3
    assert profile(capsys, "test", tmp_path / "none")[0] == 3
    (tmp_path / "empty").mkdir()
    code, out, _ = profile(capsys, "test", tmp_path / "empty", "--json")
    assert (code, json.loads(out)["error"]) == (4, "source_empty")
    with pytest.raises(SystemExit) as caught:
        main(["profile"])
    assert caught.value.code == 2


def test_the_exit_codes_are_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["profile", "test", "--help"])
    out = capsys.readouterr().out
    assert all(f"\n  {code}  " in out for code in range(5))


def test_lists_and_shows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "profiles").mkdir()
    (tmp_path / "profiles/own.toml").write_text(OWN)
    code, out, _ = profile(capsys, "list", "--dir", tmp_path)
    assert code == 0
    assert "zfy-dsj" in out
    assert "own              自有 / own（本地 / site，实机验证 / tried）" in out
    assert {entry["name"] for entry in json.loads(profile(capsys, "list", "--json")[1])} >= {"dcam", "generic"}
    assert profile(capsys, "show", "own", "--dir", tmp_path)[1] == OWN
    assert json.loads(profile(capsys, "show", "dcam", "--json")[1])["toml"].startswith("# DCAM")
    code, _, err = profile(capsys, "show", "nope")
    assert code == 2
    assert "没有名为" in err
