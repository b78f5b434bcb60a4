"""Documents that say what code says are fresh, complete and true."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from custody.finding import Exit, Kind
from custody.manifest import COUNTED_AS
from custody.topics import TOPICS
from tests import generate

SPEC = generate.SPEC


def test_every_topic_has_its_row() -> None:
    page = (SPEC / "topics.md").read_text()
    for topic in TOPICS:
        retained = "yes" if topic.retained else "no"
        row = f"| `{topic.pattern}` | {topic.writer} | {', '.join(topic.readers)} | {topic.qos} | {retained} | {topic.payload} |"  # fmt: skip # noqa: E501
        assert row in page
    assert page.count("| `custodock/1/") == len(TOPICS)


def test_every_finding_kind_and_exit_code_is_explained() -> None:
    page = (SPEC / "verify.md").read_text()
    named = set(re.findall(r"`(\w+)`", page))
    assert {kind.value for kind in Kind} <= named
    rows = re.findall(r"^\| (\d) \|", page, re.MULTILINE)
    assert [int(code) for code in rows] == [int(code) for code in Exit]


def test_every_manifest_finding_is_explained() -> None:
    page = (SPEC / "manifest.md").read_text()
    for kind, counted in COUNTED_AS.items():
        assert re.search(rf"`{kind}`.*\| `{counted}` \|", page)


@pytest.mark.parametrize("page", sorted(SPEC.glob("*.md")), ids=lambda p: p.name)
def test_links_between_pages_and_paths_to_vectors_lead_somewhere(page: Path) -> None:
    text = page.read_text()
    for target in re.findall(r"\]\(([^)#]+)\)", text):
        assert (SPEC / target).is_file(), target
    for target in re.findall(r"`(tests/vectors[^`]*)`", text):
        assert (SPEC.parents[1] / target).exists(), target
