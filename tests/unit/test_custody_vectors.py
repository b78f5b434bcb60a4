"""Runs every committed vector, and the known answers that others computed."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from custody.bundleexamine import examine_bundle
from custody.checkpoint import (
    Checkpoint,
    SigningKey,
    open_checkpoint,
    open_note,
    parse_checkpoint,
    parse_key_line,
    sign_checkpoint,
)
from custody.commands import ANSWERED, CommandHead, CommandRefused, open_command
from custody.commitments import check_opening, commit, parse_opening
from custody.cosignature import parse_witness_line, take_cosignature
from custody.digest import EMPTY_ROOT, leaf_hash, node_hash, tree_root
from custody.disk import Hasher
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, open_envelope, pae, parse_envelope
from custody.errors import CustodyError, FormatError
from custody.events import decode_event
from custody.examine import examine
from custody.fields import Sha256Hex
from custody.manifest import ManifestReader
from custody.merkle import verify_consistency, verify_inclusion
from custody.receipt import open_receipt
from custody.tiles import decode_bundle, encode_bundle, parse_tile_path, tiles_of
from custody.viewing import ViewingRefused, open_request
from custody.witness import Code, Conflict, Cosign, Memory, Refusal, decide, parse_request
from tests.vectors import make

VECTORS = Path(make.__file__).parent
CASES = json.loads((VECTORS / "cases.json").read_bytes())
TREE = json.loads((VECTORS / "tree.json").read_bytes())


def each(kind: str) -> pytest.MarkDecorator:
    cases = CASES[kind]
    return pytest.mark.parametrize("case", cases, ids=[c.get("name") or Path(c["file"]).stem for c in cases])


def check_code(case: dict[str, str], error: CustodyError | None) -> None:
    assert (error.code if error else None) == case["code"], error


@each("commitments")
def test_commitment(case: dict[str, str]) -> None:
    salt = bytes.fromhex(case["salt"])
    assert commit(case["type"], case["field"], case["value"], salt) == case["commitment"]
    # the page's words, by other code than ours: RFC 2104 spelled out
    message = b"\0".join([b"custodock/commitment/v1", *(case[name].encode() for name in ("type", "field", "value"))])
    inner, outer = (bytes(byte ^ pad for byte in salt.ljust(64, b"\0")) for pad in (0x36, 0x5C))
    by_hand = hashlib.sha256(outer + hashlib.sha256(inner + message).digest()).hexdigest()
    assert by_hand == case["commitment"]


@each("openings")
def test_opening(case: dict[str, str]) -> None:
    envelope, error = parse_envelope((VECTORS / case["envelope"]).read_bytes()), None
    try:
        opening = parse_opening((VECTORS / case["file"]).read_bytes())
        check_opening(opening, envelope)
        assert [(one.field, one.value) for one in opening.fields] == [("officer", "310042")]
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("tile_paths")
def test_tile_path(case: dict[str, Any]) -> None:
    error = None
    try:
        tile = parse_tile_path(case["path"])
    except CustodyError as caught:
        error = caught
    else:
        assert (tile.level, tile.index, tile.width) == (case["level"], case["index"], case["width"])
        assert tile.path == case["path"]
    check_code(case, error)


@each("tile_trees")
def test_tiles_of_a_tree(case: dict[str, Any]) -> None:
    tiles = list(tiles_of(case["size"]))
    assert [tile.path for tile in tiles if tile.width < 256] == case["partial"]
    levels = range(len(case["full"]))
    assert [sum(t.level == level and t.width == 256 for t in tiles) for level in levels] == case["full"]


def test_tiles_of_the_specifications_example() -> None:
    """Told in prose by C2SP tlog-tiles, so no vector of ours: 70,000 entries, and 256."""
    by_level = [[t for t in tiles_of(70_000) if t.level == level] for level in range(4)]
    assert [len(tiles) for tiles in by_level] == [274, 2, 1, 0]
    assert [tiles[-1].path for tiles in by_level[:3]] == ["tile/0/273.p/112", "tile/1/001.p/17", "tile/2/000.p/1"]
    assert [t.path for t in tiles_of(256)] == ["tile/0/000", "tile/1/000.p/1"]


@each("entry_bundles")
def test_entry_bundle(case: dict[str, Any]) -> None:
    error, raw = None, bytes.fromhex(case["bundle"])
    try:
        entries = decode_bundle(raw, case["width"])
    except CustodyError as caught:
        error = caught
    else:
        assert entries == [bytes.fromhex(leaf) for leaf in TREE["leaves"]]
        assert encode_bundle(entries) == raw
    check_code(case, error)


@each("keys")
def test_key_line(case: dict[str, str]) -> None:
    error = None
    try:
        parse_key_line((VECTORS / case["file"]).read_text())
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("notes")
def test_note(case: dict[str, str]) -> None:
    error = None
    try:
        open_checkpoint((VECTORS / case["file"]).read_bytes().decode(), parse_key_line(case["key"]))
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("envelopes")
def test_envelope(case: dict[str, str]) -> None:
    error = None
    try:
        payload = open_envelope((VECTORS / case["file"]).read_bytes(), parse_key_line(case["key"]), EVENT_TYPE)
        decode_event(EVENT_TYPE, payload)
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("receipts")
def test_receipt(case: dict[str, str]) -> None:
    error, raw = None, (VECTORS / case["file"]).read_bytes()
    try:
        open_receipt(raw, case["station"], parse_key_line(case["key"]), parse_key_line(case["log_key"]))
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("commands")
def test_command(case: dict[str, Any]) -> None:
    raw, head = (VECTORS / case["file"]).read_bytes(), CommandHead(case["head_number"], case["head_sha256"])
    now, key = datetime.fromisoformat(case["now"]), parse_key_line(case["key"])
    after, refused = None, None
    try:
        after = open_command(raw, case["station"], key, head, now, case["clock"]).head
    except CommandRefused as caught:
        after, refused = caught.head, caught
    check_code(case, refused)
    assert (after is not None) == case["answered"] == (refused is None or refused.code in ANSWERED)
    assert after in (None, CommandHead(head.number + 1, Sha256Hex(hashlib.sha256(raw).hexdigest())))


@each("viewings")
def test_request_for_footage(case: dict[str, Any]) -> None:
    raw, refused = (VECTORS / case["file"]).read_bytes(), None
    try:
        request = open_request(raw, case["station"], parse_key_line(case["key"]), parse_key_line(case["log_key"]))
        assert (request.first_chunk, request.chunks, request.holder) == (3, 16, "wang")
    except ViewingRefused as caught:
        refused = caught
    check_code(case, refused)


@each("proofs")
def test_proof(case: dict[str, object]) -> None:
    error = None
    proof = [bytes.fromhex(h) for h in case["proof"]]
    facts = {k: bytes.fromhex(v) if k in ("leaf", "root", "old_root", "new_root") else v for k, v in case.items()}
    try:
        if "leaf" in case:
            verify_inclusion(facts["leaf"], facts["index"], facts["size"], proof, facts["root"])
        else:
            verify_consistency(facts["old"], facts["old_root"], facts["new"], facts["new_root"], proof)
    except CustodyError as caught:
        error = caught
    check_code(case, error)


@each("witness")
def test_witness(case: dict[str, Any]) -> None:
    held = case["memory"]
    memory = Memory(
        held.get("cosigned"), held.get("pending"), None, Code(held["stopped"]) if "stopped" in held else None
    )
    log_key = parse_key_line(case["log_key"])
    try:
        request = parse_request(case["request"].encode())
    except FormatError:
        assert case["answer"] == Code.BAD_FORMAT
        return
    match decide(memory, log_key if request.origin == log_key.name else None, request):
        case Cosign(note=note):
            assert case["answer"] == "cosign"
            at = datetime.fromtimestamp(case["time"], UTC)
            assert take_cosignature(note, case["cosignature"], parse_witness_line(case["witness_key"])) == (
                case["cosignature"],
                at,
            )
        case Conflict(size=size):
            assert case["answer"] == size
        case Refusal(code=code):
            assert case["answer"] == code


@each("manifests")
def test_manifest(case: dict[str, str]) -> None:
    error = None
    with (VECTORS / case["file"]).open("rb") as stream:
        reader = ManifestReader(stream)
        try:
            list(reader)
        except CustodyError as caught:
            error = caught
    check_code(case, error)
    assert error is None or f"manifest line {reader.line_number}:" in str(error)


@pytest.fixture(scope="module")
def hasher() -> Iterator[Hasher]:
    with Hasher() as one:
        yield one


@each("dockings")
def test_docking(case: dict[str, object], hasher: Hasher, tmp_path: Path) -> None:
    folder = VECTORS / case["docking"]
    if edit := case.get("edit"):
        folder = shutil.copytree(folder, tmp_path / "docking")
        apply_edit(folder, edit)
    keys = [parse_key_line(case[name]) for name in ("key", "log_key") if name in case]
    report = examine(os.fsencode(folder), keys, lambda _: None, hasher)
    findings = [f for f in report.findings if not f.is_information]
    assert report.exit == case["exit"]
    assert sorted({f.kind.value for f in findings}) == case["kinds"]
    if "chunks" in case:
        assert [[c.first, c.last] for c in findings[0].chunks] == case["chunks"]


@each("bundles")
def test_bundle(case: dict[str, object], hasher: Hasher, tmp_path: Path) -> None:
    folder = VECTORS / case["bundle"]
    if edit := case.get("edit"):
        folder = shutil.copytree(folder, tmp_path / "bundle")
        apply_edit(folder, edit)
    report = examine_bundle(os.fsencode(folder), [parse_key_line(case["key"])], [], lambda _: None, hasher)
    findings = [f for f in report.findings if not f.is_information]
    assert sorted({f.kind.value for f in findings}) == case["kinds"], findings
    assert report.exit == case["exit"]
    if "chunks" in case:
        assert [[c.first, c.last] for c in findings[0].chunks] == case["chunks"]


def apply_edit(folder: Path, edit: dict[str, object]) -> None:
    file = folder / edit["file"]
    match edit["op"]:
        case "flip":
            raw = bytearray(file.read_bytes())
            raw[edit["at"]] ^= 1
            file.write_bytes(raw)
        case "truncate":
            os.truncate(file, edit["size"])
        case "append":
            file.write_bytes(file.read_bytes() + edit["text"].encode())
        case "write" | "add":
            file.write_text(edit["text"])
        case "remove":
            file.unlink()
        case "mkdir":
            file.mkdir()
        case "symlink":
            file.symlink_to(edit["to"])
        case "replace-by-link":
            file.rename(folder.parent / "aside")
            file.symlink_to(folder.parent / "aside")
        case "swap":
            other = folder / edit["with"]
            one, two = file.read_bytes(), other.read_bytes()
            file.write_bytes(two)
            other.write_bytes(one)
        case unknown:
            raise ValueError(unknown)


# --- Known answers, computed by others: RFC 6962 test data, C2SP, DSSE, in-toto ---------------------------------------


def test_rfc6962_hashes() -> None:
    assert hashlib.sha256(b"").digest() == EMPTY_ROOT
    assert leaf_hash(b"").hex() == "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d"
    assert node_hash(b"N123", b"N456").hex() == "aa217fe888e47007fa15edab33c2b492a722cb106c64667fc2b044444de66bbb"
    leaves = [leaf_hash(bytes.fromhex(leaf)) for leaf in TREE["leaves"]]
    assert tree_root(leaves[:7]).hex() == "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c"
    assert tree_root(leaves).hex() == "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328"
    assert TREE["roots_by_size"][8] == tree_root(leaves).hex()


def test_rfc6962_proofs() -> None:
    [included] = [p["proof"] for p in TREE["inclusion"] if (p["index"], p["size"]) == (5, 8)]
    [joined] = [p["proof"] for p in TREE["consistency"] if (p["old"], p["new"]) == (6, 8)]
    assert [h[:16] for h in included] == ["bc1a0643b12e4d2d", "ca854ea128ed050b", "d37ee418976dd957"]
    assert [h[:16] for h in joined] == ["0ebc5d3437fbe2db", "ca854ea128ed050b", "d37ee418976dd957"]


HUB_LINE = "hub.example/audit+c506c070+AQOhB7/zzhC+HXDdGOdLwJln5NYwm6UNXx3chmQSVTG4"
CHECKPOINT = """\
hub.example/audit
8
XcnaeacGWamtVZy3Ad7ZoqudgjqtL0lgz+Nw7/RgQyg=

\u2014 hub.example/audit xQbAcN7X+oCEp2xHVZiC5TzX97spgSzYs5Z9BGdKP0Ul2c5gbj/RTmcjmflqA25h1xWZPauVQCIxks1Ad5hWkWjSbwY=
"""
WITNESS = (
    "\u2014 witness.example/w1 IDJKvgAAAABlU/EAqkaG7BzVPxdn1Y3Tl+aAZOxre8tkJFVq8gHwlPf124xpfN2UUUWZXD/f+Cf5VbW7ey+tg6vb"
    "GaK1FjcU89y6CA==\n"
)


def test_c2sp_checkpoint() -> None:
    key = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
    root = bytes.fromhex(TREE["roots_by_size"][8])
    assert key.verify_key.line == HUB_LINE
    assert sign_checkpoint(Checkpoint("hub.example/audit", 8, root), key) == CHECKPOINT
    assert open_checkpoint(CHECKPOINT + WITNESS, parse_key_line(HUB_LINE)) == Checkpoint("hub.example/audit", 8, root)
    assert parse_checkpoint(CHECKPOINT.partition("\n\n")[0] + "\n").root == root


def test_c2sp_signed_note_example_key() -> None:
    line = "PeterNeumann+c74f20a3+ARpc2QcUPDhMQegwxbzhKqiBfsVkmqq/LDE4izWy10TW"  # golang.org/x/mod/sumdb/note
    signature = "x08go/ZJkuBS9UG/SffcvIAQxVBtiFupLLr8pAcElZInNIuGUgYN1FFYC2pZSNXgKvqfqdngotpRZb6KE6RyyBwJnAM="
    note = (
        "If you think cryptography is the answer to your problem,\n"
        "then you don't know what your problem is.\n\n"
        f"\u2014 PeterNeumann {signature}\n"
    )
    assert open_note(note, parse_key_line(line)).startswith("If you think")


def test_dsse_pae() -> None:
    assert (
        pae("http://example.com/HelloWorld", b"hello world")
        == b"DSSEv1 29 http://example.com/HelloWorld 11 hello world"
    )


def test_in_toto_statement() -> None:
    body = (
        b'{"_type":"https://in-toto.io/Statement/v1","predicate":{"size":3},'
        b'"predicateType":"https://hub.example/ingest/v1","subject":[{"digest":{"sha256":'
        b'"ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"},"name":"DCIM/0001.MP4"}]}'
    )
    message = pae(STATEMENT_TYPE, body)
    assert hashlib.sha256(message).hexdigest() == "aa8daac478bdfc885d415077490beb480ac0b68cf65ea780e5495148170088b7"
    signature = "Lb+CUaltJo1q3YxsfQVqARZJZBGsViDBLpsjECOQ6UsvIXn1BG8aGgvvzh8DIpM09EzTUj9L+Go2xMsHERI7DA=="
    key = SigningKey.from_seed("any", bytes(range(32)))
    assert base64.b64encode(key.sign(message)).decode() == signature
