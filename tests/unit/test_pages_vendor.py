"""Foreign files are exactly the recorded ones; pages can load nothing else; colours are readable."""

from __future__ import annotations

import hashlib
import re
import tomllib
from pathlib import Path

import pytest

from hub.site import STATIC_DIR, TEMPLATE_DIR

VENDOR = STATIC_DIR / "vendor"
CSS = (STATIC_DIR / "custodock.css").read_text()


def test_vendored_files_are_the_recorded_ones() -> None:
    records = tomllib.loads((VENDOR / "VENDOR.toml").read_text())["file"]
    for record in records:
        content = (VENDOR / record["path"]).read_bytes()
        assert hashlib.sha256(content).hexdigest() == record["sha256"], record["path"]
        assert record["version"].encode() in content[:400] or record["package"] == "htmx.org"
        assert (VENDOR / record["licence_file"]).stat().st_size > 200
    recorded = {r["path"] for r in records} | {r["licence_file"] for r in records} | {"VENDOR.toml"}
    assert {str(p.relative_to(VENDOR)) for p in VENDOR.rglob("*") if p.is_file()} == recorded


@pytest.mark.parametrize("template", sorted(TEMPLATE_DIR.glob("*.html")), ids=lambda p: p.name)
def test_templates_obey_the_content_security_policy(template: Path) -> None:
    text = template.read_text()
    assert not re.search(r"<style|\sstyle=|\son\w+=|javascript:|https?://|//[a-z]", text)
    assert not re.search(r"<script(?![^>]*\bsrc=)", text)
    assert "| safe" not in text
    assert "Markup" not in text


def luminance(colour: str) -> float:
    digits = colour.lstrip("#")
    digits = "".join(d * 2 for d in digits) if len(digits) == 3 else digits
    channels = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
    linear = [c / 12.92 if c <= 0.03928 else ((c + 0.055) / 1.055) ** 2.4 for c in channels]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


@pytest.mark.parametrize(
    ("text", "ground"),
    [
        ("ink", "ground"),
        ("ink-soft", "ground"),
        ("ink-soft", "paper"),
        ("blue", "ground"),
        ("blue", "blue-soft"),
        ("good", "good-soft"),
        ("warn", "warn-soft"),
        ("bad", "bad-soft"),
        ("bad", "paper"),
    ],
)
def test_text_has_contrast_aa(text: str, ground: str) -> None:
    """WCAG 2.2, 1.4.3: at least 4.5 to 1."""
    colours = dict(re.findall(r"--([\w-]+): (#[0-9a-f]{3,6});", CSS))
    lighter, darker = sorted((luminance(colours[text]), luminance(colours[ground])), reverse=True)
    assert (lighter + 0.05) / (darker + 0.05) >= 4.5
