"""Fuzz of `custody verify BUNDLE`: whatever is done to a bundle, it ends with a documented code and says so in words.

An outsider has no key of the hub or station: nothing of his passes. An insider holds every key and signs whatever he
likes: he may make a bundle that passes, but none that ends the verifier, hangs it or fills it.

``CUSTODOCK_FUZZ_CASES=20000`` runs as many of each.
"""

from __future__ import annotations

import json
import os
import random
import resource
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from types import FrameType

import pytest

from custody.checkpoint import SigningKey
from custody.cli import main
from custody.envelope import _render, pae
from tests.fuzzing import bent_bytes, bent_envelope, bent_json, bent_lines
from tests.vectors.bundles import HUB_KEY, LOG_KEY, Bundle, Files, Hub, finish, log_note, log_proof, make_bundle, relist
from tests.vectors.dockings import STATION_KEY, pattern

CASES = int(os.environ.get("CUSTODOCK_FUZZ_CASES", "150"))
HANGS_AFTER_SECONDS = 120  # a case takes milliseconds
MORE_MEMORY_BYTES = 400 << 20
FILES = {"a/one.mp4": pattern(1, 300), "two.mp4": pattern(2, 200), "empty.log": b""}
THIEF = SigningKey.from_seed(STATION_KEY.name, bytes(range(9, 41)))  # of the station's name, but another key
LOG, HUB = (key.verify_key.line for key in (LOG_KEY, HUB_KEY))
CODES = {0, 1, 3, 4}


def _signed(key: SigningKey) -> Callable[[str, bytes], bytes]:
    def sign(kind: str, payload: bytes) -> bytes:
        return _render(kind, payload, key.verify_key.label, key.sign(pae(kind, payload)))

    return sign


# --- cases -----------------------------------------------------------------------------------------------------------


def outsider(rng: random.Random, good: Files) -> Files:
    """One to three changes by somebody who can write the files and sign with keys of his own."""
    files = dict(good)
    for _ in range(rng.choice((1, 1, 2, 3))):
        name = rng.choice(sorted(files))
        content = files[name]
        act = rng.randrange(8)
        if act == 0 and len(files) > 3:
            del files[name]
        elif act == 1:
            files[rng.choice(_names(rng, name))] = content
        elif act == 2:
            other = rng.choice(sorted(files))
            files[name], files[other] = files[other], content
        elif name.endswith(".dsse.json") and act < 6:
            key = rng.choice((THIEF, SigningKey.from_seed(HUB_KEY.name, bytes(32))))
            files[name] = bent_envelope(rng, content, _signed(key)) if b"payload" in content else b"{}"
        elif name.endswith("manifest.jsonl") and act < 6:
            lines = content.splitlines(keepends=True)
            at = rng.randrange(len(lines))
            lines[at] = bent_json(rng, lines[at]) + b"\n" if lines[at].startswith(b"{") else lines[at] * 2
            files[name] = b"".join(lines)
        elif not name.startswith("data/") and act < 7:
            files[name] = bent_lines(rng, content)
        else:
            files[name] = bent_bytes(rng, content)
    if rng.random() < 0.4:
        relist({**files}) if rng.random() < 0.1 else relist(files)
    return files


def _names(rng: random.Random, name: str) -> list[str]:
    folder = name.rpartition("/")[0]
    return [
        f"{folder}/{x}".lstrip("/")
        for x in (
            "x",
            "X" * 200,
            "\x1b[31m",
            "\u202e",
            "%0A",
            "\\",
            "07.dsse.json",
            name.upper()[-60:].replace("/", "_"),
        )
    ]


def insider(rng: random.Random, good: Files) -> Files:
    """A log whose keeper and station sign anything, with all proofs and lists as they should be."""
    files = {n: c for n, c in good.items() if not n.startswith(("proofs/", "closing/"))}
    indexes = sorted(int(n[10:-10]) for n in files if n.startswith("envelopes/"))
    entries = [b"an entry of no concern"] * (indexes[-1] + 1)
    for index in indexes:
        entries[index] = files[f"envelopes/{index}.dsse.json"]
    hub = Hub()
    for _ in range(rng.choice((1, 1, 2))):
        index = rng.choice(indexes)
        key = HUB_KEY if HUB_KEY.name.encode() in entries[index] else STATION_KEY
        if rng.random() < 0.1:
            key = HUB_KEY if key is STATION_KEY else STATION_KEY
        entries[index] = _bent_until_json(rng, entries[index], key)
    note = log_note(LOG_KEY, entries)
    files["checkpoint"] = note.encode()
    for index in indexes:
        files[f"envelopes/{index}.dsse.json"] = entries[index]
        files[f"proofs/{index}.tlog-proof"] = log_proof(entries, index, note)
    relist(files)
    finish(hub, Bundle(), entries, files)
    if rng.random() < 0.3:
        raw = _bent_until_json(rng, files["closing/finished.dsse.json"], HUB_KEY)
        files["closing/finished.dsse.json"] = raw
        later = [*entries, raw]
        files["closing/finished.tlog-proof"] = log_proof(later, len(entries), log_note(LOG_KEY, later))
    return files


def _bent_until_json(rng: random.Random, raw: bytes, key: SigningKey) -> bytes:
    while True:
        made = bent_envelope(rng, raw, _signed(key))
        try:
            body = json.loads(made)
            if isinstance(body, dict) and isinstance(body.get("payload"), str):
                return made
        except (ValueError, RecursionError):
            pass


# --- running ---------------------------------------------------------------------------------------------------------


@contextmanager
def ends_in_time() -> Iterator[None]:
    def stop(_number: int, _frame: FrameType | None) -> None:
        raise TimeoutError(f"still running after {HANGS_AFTER_SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(HANGS_AFTER_SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


class Shelf:
    """A folder that holds one case after another; only what differs is written."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._there: Files = {}

    def put(self, files: Files) -> None:
        for name in self._there.keys() - files.keys():
            (self.root / name).unlink()
        for name, content in files.items():
            if self._there.get(name) != content:
                path = self.root / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
        for folder in sorted((p for p in self.root.rglob("*") if p.is_dir()), reverse=True):
            if not any(folder.iterdir()):
                folder.rmdir()
        self._there = dict(files)


def _holdable(files: Files) -> bool:
    """Whether a file system can hold these names together."""
    folders = {name[:at] for name in files for at, char in enumerate(name) if char == "/"}
    return not folders & set(files) and all(0 < len(part.encode()) < 250 for n in files for part in n.split("/"))


@pytest.fixture
def shelf(tmp_path: Path) -> Shelf:
    return Shelf(tmp_path)


@pytest.mark.parametrize("who", [outsider, insider])
def test_no_bent_bundle_passes_ends_hangs_or_fills_the_verifier(
    shelf: Shelf, capsys: pytest.CaptureFixture[str], who: Callable[[random.Random, Files], Files]
) -> None:
    good = make_bundle(replace(Bundle(FILES)))
    memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10
    for case in range(CASES):
        rng = random.Random(f"{who.__name__} {case}")
        files = who(rng, good)
        if not _holdable(files):
            continue
        shelf.put(files)
        keys = rng.choice(([], ["--key", LOG], ["--key", LOG, "--key", HUB]))
        words = rng.choice((["--json"], ["--lang", "zh"], ["--lang", "en"]))
        try:
            with ends_in_time():
                code = main(["verify", str(shelf.root), *keys, *words])
        except BaseException as error:
            raise AssertionError(f"case {case} of {who.__name__} ended the verifier") from error
        said = capsys.readouterr()
        assert code in CODES, f"case {case}"
        assert said.err == "", f"case {case}: {said.err}"
        assert "\x1b" not in said.out, f"case {case}"
        if words == ["--json"]:
            assert json.loads(said.out)["exit"] == code, f"case {case}"
        if who is outsider and files != good:
            assert code == 1, f"case {case}: altered, and exit {code}"
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss << 10) - memory_before
    assert grown < MORE_MEMORY_BYTES, f"{grown >> 20} MiB more"
