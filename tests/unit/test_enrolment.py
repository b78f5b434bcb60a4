"""The code that two people compare: the same at both ends, another for any other key."""

from __future__ import annotations

import re

import pytest

from custody.enrolment import comparison_code, same_code

LINES = ["dock-1+c506c070+AQOh", "hub/log+00000001+AQ1", "hub/receipts+00000002+AQ2", "hub/commands+00000003+AQ3"]
CODE = comparison_code(*LINES)


def test_it_is_24_digits_in_groups_of_four_and_never_changes() -> None:
    assert re.fullmatch(r"\d{4}( \d{4}){5}", CODE)
    assert CODE == "2078 0657 6747 8861 0932 8960"


@pytest.mark.parametrize("place", range(4))
def test_every_key_counts_and_so_does_its_role(place: int) -> None:
    other = [*LINES]
    other[place] += "x"
    assert comparison_code(*other) != CODE
    swapped = [*LINES]
    swapped[place], swapped[place - 1] = swapped[place - 1], swapped[place]
    assert comparison_code(*swapped) != CODE


def test_people_type_it_as_they_like_but_whole() -> None:
    assert same_code(CODE, CODE)
    assert same_code(f" {CODE.replace(' ', '')}\n", CODE)
    assert same_code(CODE.replace(" ", "-"), CODE)
    assert not same_code(CODE[:-1], CODE)
    assert not same_code("", CODE)
    assert not same_code(CODE[:-4] + f"{(int(CODE[-4:]) + 1) % 10000:04}", CODE)
