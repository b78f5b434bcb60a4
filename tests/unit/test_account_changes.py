"""What may be asked for about accounts, who decides, and which codes are taken. Pure."""

from __future__ import annotations

from datetime import UTC, datetime

import pyotp
import pytest

from hub.access import Role
from hub.accounts import changes
from hub.accounts.changes import Asked, Change, Target, fault_of, names_the_second, why_not_decide
from hub.accounts.codes import matching_step

LI = Target("li", Role.OFFICER, disabled=False, has_second_factor=False)
CLOSED = Target("li", Role.OFFICER, disabled=True, has_second_factor=True)
BOSS = Target("boss", Role.ADMINISTRATOR, disabled=False, has_second_factor=True)
# RFC 6238 appendix B: the SHA-1 secret "12345678901234567890"; the last six of its eight digits
RFC_SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"
RFC_CODES = [
    (59, "287082"),
    (1111111109, "081804"),
    (1111111111, "050471"),
    (1234567890, "005924"),
    (2000000000, "279037"),
]


def asked(change: Change, account: str = "li", role: Role | None = None, reason: str = "joined on Monday") -> Asked:
    return Asked(account, change, role, reason)


@pytest.mark.parametrize(
    ("what", "target", "fault"),
    [
        (asked("create", role=Role.OFFICER), None, None),
        (asked("create", role=Role.OFFICER), LI, changes.NAME_TAKEN),
        (asked("create"), None, changes.NO_ROLE),
        (asked("create", account="a b", role=Role.OFFICER), None, changes.BAD_NAME),
        (asked("create", role=Role.OFFICER, reason=" \n"), None, changes.NO_REASON),
        (asked("create", role=Role.OFFICER, reason="x" * 301), None, changes.REASON_TOO_LONG),
        (asked("role", role=Role.AUDITOR), LI, None),
        (asked("role", role=Role.OFFICER), LI, changes.SAME_ROLE),
        (asked("role"), LI, changes.NO_ROLE),
        (asked("role", role=Role.AUDITOR), None, changes.NO_ACCOUNT),
        (asked("role", role=Role.AUDITOR), BOSS, changes.LAST_ADMINISTRATOR),
        (asked("disable"), BOSS, changes.LAST_ADMINISTRATOR),
        (asked("disable"), LI, None),
        (asked("disable"), CLOSED, changes.IS_DISABLED),
        (asked("enable"), CLOSED, None),
        (asked("enable"), LI, changes.IS_ENABLED),
        (asked("password_reset"), LI, None),
        (asked("password_reset"), CLOSED, changes.IS_DISABLED),
        (asked("second_factor_reset"), BOSS, None),
        (asked("second_factor_reset"), LI, changes.NO_SECOND_FACTOR),
    ],
)
def test_what_may_be_asked_for(what: Asked, target: Target | None, fault: str | None) -> None:
    assert fault_of(what, target, 1, open_already=False) == fault
    if fault is None:
        assert fault_of(what, target, 1, open_already=True) == changes.OPEN_ALREADY


def test_one_of_two_administrators_may_go() -> None:
    assert fault_of(asked("disable"), BOSS, 2, open_already=False) is None
    assert fault_of(asked("role", role=Role.AUDITOR), BOSS, 2, open_already=False) is None


def test_nobody_decides_on_their_own_wish_or_about_themselves() -> None:
    assert why_not_decide("wang", "zhao", "li") is None
    assert why_not_decide("zhao", "zhao", "li") == changes.OWN_REQUEST
    assert why_not_decide("li", "zhao", "li") == changes.ABOUT_YOURSELF


@pytest.mark.parametrize(
    ("what", "administrators", "done_before", "alone"),
    [
        (asked("create", role=Role.ADMINISTRATOR), 1, False, True),
        (asked("create", role=Role.ADMINISTRATOR), 1, True, False),  # the second was made and lost its role
        (asked("create", role=Role.ADMINISTRATOR), 2, False, False),
        (asked("create", role=Role.APPROVING_LEADER), 1, False, False),
        (asked("role", role=Role.ADMINISTRATOR), 1, False, False),
    ],
)
def test_only_the_second_administrator_is_named_alone(
    what: Asked, administrators: int, done_before: bool, alone: bool
) -> None:
    assert names_the_second(what, administrators, done_before=done_before) == alone


@pytest.mark.parametrize(("seconds", "code"), RFC_CODES)
def test_codes_are_those_of_rfc_6238(seconds: int, code: str) -> None:
    now = datetime.fromtimestamp(seconds, UTC)
    assert matching_step(RFC_SECRET, f" {code[:3]} {code[3:]}", now, 0) == seconds // 30


def test_a_code_is_good_for_a_neighbouring_step_and_once() -> None:
    step = 50_000_000
    code = pyotp.HOTP(RFC_SECRET).at(step)
    at = {late: datetime.fromtimestamp((step + late) * 30 + 5, UTC) for late in (-2, -1, 0, 1, 2)}
    assert [matching_step(RFC_SECRET, code, at[late], 0) for late in at] == [None, step, step, step, None]
    assert matching_step(RFC_SECRET, code, at[0], step) is None
    assert matching_step(RFC_SECRET, code, at[0], step - 1) == step
    for wrong in ("", "abcdef", code + "0", code[:-1], "\u0661" * 6, str((int(code) + 1) % 1_000_000).zfill(6)):
        assert matching_step(RFC_SECRET, wrong, at[0], step - 2) is None
