"""Bundles with a time-stamp of their checkpoint, by a real authority, judged by `custody verify` as anybody runs it."""
# ruff: noqa: F811  a fixture of another file is asked for by its name

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from hub.bundles.service import export_bundle
from hub.times import now_utc
from hub.timestamps import Authority, token_for
from tests.integration.test_export import Scene, scene  # noqa: F401
from tests.integration.tsa import Pki, Served, pem, served


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("tsa"))


@pytest.fixture
def authority(pki: Pki) -> Iterator[tuple[Served, Authority]]:
    with served(pki) as (made, url):
        yield made, Authority(url, [pki.root])


def bundle_of(scene: Scene, authority: Authority | None, name: str = "bundle") -> Path:
    target = scene.tmp / name
    hub = scene.hub
    export_bundle(
        hub.db,
        hub.keys,
        scene.approved(),
        [scene.vault],
        target,
        stamp=lambda note: token_for(hub.db, authority, note, now_utc()),
    )
    return target


def verified(bundle: Path, scene: Scene, *more: str) -> tuple[int, dict[str, Any]]:
    words = [
        sys.executable,
        "-m",
        "custody.cli",
        "verify",
        bundle,
        "--key",
        scene.hub.keys.log.verify_key.line,
        "--json",
    ]
    done = subprocess.run([*map(str, words), *more], capture_output=True, text=True, check=False)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, json.loads(done.stdout)


def claim(answer: dict[str, Any]) -> tuple[bool, str] | None:
    found = [(c["proved"], c.get("why", "")) for c in answer["claims"] if c["claim"] == "timed"]
    return found[0] if found else None


def test_a_bundle_carries_its_time_stamp(
    scene: Scene, authority: tuple[Served, Authority], pki: Pki, tmp_path: Path
) -> None:
    bundle, ca, other = bundle_of(scene, authority[1]), tmp_path / "ca.pem", tmp_path / "other.pem"
    ca.write_bytes(pem(pki.root))
    other.write_bytes(pem(pki.stranger))
    code, answer = verified(bundle, scene)
    assert (code, claim(answer)) == (0, (False, "no_authority"))
    code, answer = verified(bundle, scene, "--tsa", str(ca))
    assert (code, claim(answer)) == (0, (True, ""))
    code, answer = verified(bundle, scene, "--tsa", str(other))
    assert code == 1
    assert [f["kind"] for f in answer["findings"]] == ["timestamp_altered"]
    text = subprocess.run(
        [sys.executable, "-m", "custody.cli", "verify", bundle, "--key", scene.hub.keys.log.verify_key.line,
         "--tsa", ca,
         "--lang", "zh"],
        capture_output=True, text=True, check=False,
    ).stdout  # fmt: skip
    assert "CN=rsa" in text


def test_a_time_stamp_of_another_checkpoint_is_found_without_a_certificate(
    scene: Scene, authority: tuple[Served, Authority]
) -> None:
    first, second = bundle_of(scene, authority[1]), bundle_of(scene, authority[1], "second")
    (first / "checkpoint.tst").write_bytes((second / "checkpoint.tst").read_bytes())
    code, answer = verified(first, scene)
    assert code == 1
    assert {f["kind"] for f in answer["findings"]} == {"timestamp_altered", "bag_file_altered"}


def test_an_authority_that_is_away_costs_the_time_stamp_and_not_the_bundle(
    scene: Scene, authority: tuple[Served, Authority], pki: Pki, tmp_path: Path
) -> None:
    authority[0].mode = "away"
    bundle = bundle_of(scene, authority[1])
    assert not (bundle / "checkpoint.tst").exists()
    code, answer = verified(bundle, scene)
    assert (code, claim(answer)) == (0, None)
    (tmp_path / "ca.pem").write_bytes(pem(pki.root))
    code, answer = verified(bundle, scene, "--tsa", str(tmp_path / "ca.pem"))
    assert (code, claim(answer)) == (0, (False, "no_timestamp"))
