"""The pure parts of the pages: who may what, passwords, sessions, wording, addresses."""

from __future__ import annotations

import gettext
import unicodedata
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hub import wording
from hub.accounts import policy
from hub.accounts.pages import local_path, sign_in_href
from hub.language import Language, load_translations
from hub.problems import BadQuery
from hub.recordings.chain import printable_bytes
from hub.recordings.filters import RecordingFilter, parse_filter
from hub.wording import Wording

ZH = Wording(Language.ZH, load_translations()[Language.ZH])
EN = Wording(Language.EN, gettext.NullTranslations())
NOW = datetime(2026, 3, 5, 6, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("old", "new", "repeated", "fault"),
    [
        ("first-one-is-long", "correct horse battery", "correct horse battery", None),
        ("first-one-is-long", "correct horse battery", "correct house battery", policy.NOT_REPEATED),
        ("first-one-is-long", "first-one-is-long", "first-one-is-long", policy.NOT_NEW),
        ("old", "short 123", "short 123", policy.TOO_SHORT),
        ("old", "x" * 201, "x" * 201, policy.TOO_LONG),
        ("old", "121212121212121212", "121212121212121212", policy.TOO_EASY),
        ("old", "wangwangwang2026wang", "wangwangwang2026wang", policy.TOO_EASY),
        ("old", "Password1234567890!!", "Password1234567890!!", policy.TOO_EASY),
        ("old", "custodock 存证坞 admin", "custodock 存证坞 admin", policy.TOO_EASY),
        ("old", "ｐａｓｓｗｏｒｄ123456admin", "ｐａｓｓｗｏｒｄ123456admin", policy.TOO_EASY),
        ("old", "7uKq!7uKq!7uKq!7uKq", "7uKq!7uKq!7uKq!7uKq", policy.TOO_EASY),
        ("old", "三个和尚没有水喝，老话说得真对", "三个和尚没有水喝，老话说得真对", None),
        ("old", "8f3k-w9qz-mm2d-p7tx", "8f3k-w9qz-mm2d-p7tx", None),
    ],
)
def test_passwords(old: str, new: str, repeated: str, fault: str | None) -> None:
    assert policy.password_fault("wang", old, new, repeated) == fault


@pytest.mark.parametrize(
    ("address", "group"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::9", "2001:db8:1:2::/64"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("unknown", "unknown"),
    ],
)
def test_one_subscriber_is_one_address(address: str, group: str) -> None:
    assert policy.address_group(address) == group


@pytest.mark.parametrize("name", ["wang", "王伟", "a.b-c@d_1", "x" * 64])
def test_good_account_names(name: str) -> None:
    assert policy.is_account_name(name)


@pytest.mark.parametrize("name", ["", " ", "a b", "x" * 65, "a\n", "\u202ea", "a/b", "<b>", "a\x00"])
def test_bad_account_names(name: str) -> None:
    assert not policy.is_account_name(name)


def test_blocks_grow_and_end() -> None:
    blocks = [policy.block_after(n, 5).total_seconds() for n in range(40)]
    assert blocks[:5] == [0] * 5
    assert blocks[5:8] == [15, 30, 60]
    assert blocks == sorted(blocks)
    assert max(blocks) == policy.LONGEST_BLOCK.total_seconds()


@pytest.mark.parametrize(
    ("created", "seen", "over"),
    [
        (timedelta(0), timedelta(0), False),
        (timedelta(hours=11), timedelta(minutes=29), False),
        (timedelta(hours=1), timedelta(minutes=30), True),
        (timedelta(hours=12), timedelta(minutes=1), True),
        (timedelta(hours=1), timedelta(hours=2), True),
        (timedelta(hours=1), timedelta(hours=-1), True),
    ],
)
def test_sessions_end(created: timedelta, seen: timedelta, *, over: bool) -> None:
    assert policy.session_over(NOW - created, NOW - seen, NOW) == over


@pytest.mark.parametrize(
    ("count", "text"),
    [
        (None, "—"),
        (0, "0 B"),
        (1023, "1023 B"),
        (1024, "1 KB"),
        (1536, "1.5 KB"),
        (417 << 20, "417 MB"),
        ((1 << 30) * 5 // 4, "1.25 GB"),
        ((1 << 40) - 1, "1 TB"),
        (21 << 30, "21 GB"),
    ],
)
def test_sizes(count: int | None, text: str) -> None:
    assert wording.size(count) == text


@pytest.mark.parametrize(
    ("seconds", "zh", "en"),
    [
        (None, "—", "—"),
        (0, "0秒", "0 s"),
        (59.4, "59秒", "59 s"),
        (183, "3分3秒", "3 min 3 s"),
        (600, "10分", "10 min"),
        (3900, "1小时5分", "1 h 5 min"),
        (90_000, "1天1小时", "1 d 1 h"),
        (86_401, "1天", "1 d"),
    ],
)
def test_durations(seconds: float | None, zh: str, en: str) -> None:
    assert (ZH.duration(seconds), EN.duration(seconds)) == (zh, en)


def test_times() -> None:
    assert ZH.moment(NOW) == "2026年3月5日 14:00:00"
    assert EN.moment(NOW) == "2026-03-05 14:00:00"
    assert ZH.day(date(1999, 12, 31)) == "1999年12月31日"
    assert ZH.local_moment("2026-03-05T07:08:09") == "2026年3月5日 07:08:09"
    assert ZH.local_moment("\x1b[31m") == "⟨U+001B⟩[31m"
    assert (ZH.moment(None), ZH.local_moment(None), ZH.day(None)) == ("—", "—", "—")


@pytest.mark.parametrize(
    ("seconds", "zh"), [(-5, "刚刚"), (9, "刚刚"), (59, "59 秒前"), (3599, "59 分钟前"), (7200, "2 小时前")]
)
def test_ago(seconds: int, zh: str) -> None:
    assert ZH.ago(NOW - timedelta(seconds=seconds), NOW) == zh


@given(st.text())
def test_nothing_hidden_stays_hidden(text: str) -> None:
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    shown = wording.visible(text)
    assert not any(unicodedata.category(ch) in hidden for ch in shown)
    if not any(unicodedata.category(ch) in hidden for ch in text):
        assert shown == text


def test_unknown_codes_are_shown_as_text() -> None:
    assert ZH.reason("new_reason_of_tomorrow") == "new_reason_of_tomorrow"
    assert ZH.reason("\u202ereason") == "⟨U+202E⟩reason"
    assert ZH.entry_type("x.y.v9") == "x.y.v9"
    assert ZH.bay_state("dancing") == "状态未知"
    assert ZH.reason(None) == "—"


@given(st.binary(max_size=40))
def test_raw_names_can_be_told_apart_and_are_printable(raw: bytes) -> None:
    shown = printable_bytes(raw)
    assert shown.isprintable()
    assert eval("b'" + _ascii_escapes(shown) + "'") == raw  # noqa: S307  (our own escapes, of hypothesis's bytes)


def _ascii_escapes(shown: str) -> str:
    return "".join(
        "\\'" if ch == "'" else ch if ch.isascii() else "".join(f"\\x{b:02x}" for b in ch.encode()) for ch in shown
    )


@pytest.mark.parametrize(
    ("target", "kept"),
    [
        ("/recordings?q=执法", True),
        ("/", True),
        ("//evil.example/", False),
        ("/\\evil.example", False),
        ("https://evil.example/", False),
        ("javascript:alert(1)", False),
        ("/a\r\nset-cookie: x", False),
        ("", False),
    ],
)
def test_sign_in_leads_only_to_this_site(target: str, *, kept: bool) -> None:
    assert local_path(target) == (target if kept else "/")


def test_sign_in_address_keeps_the_way_back() -> None:
    assert sign_in_href("/") == "/sign-in"
    assert sign_in_href("/log?type=a&source=b") == "/sign-in?goes_to=%2Flog%3Ftype%3Da%26source%3Db"


def test_filters_are_checked() -> None:
    assert parse_filter("", "", "", "", "", "", "  ") == RecordingFilter()
    full = parse_filter("c", "s", "d", "2026-01-01", "2026-01-31", "gaps", " 执法 ")
    assert (full.day_from, full.text, full.by_day) == (date(2026, 1, 1), "执法", False)
    for bad in (
        {"day_from": "2026-13-01"},
        {"day_from": "2026-02-01", "day_to": "2026-01-01"},
        {"label": "no_such"},
        {"text": "x" * 101},
        {"camera": "a\x00"},
        {"station": "s" * 600},
    ):
        with pytest.raises(BadQuery):
            parse_filter(
                **{"camera": "", "station": "", "docking": "", "day_from": "", "day_to": "", "label": "", "text": ""}
                | bad
            )
