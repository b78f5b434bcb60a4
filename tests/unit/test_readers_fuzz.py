"""Fuzz of whatever reads foreign bytes of a log: only a `CustodyError` comes out, and nothing altered is believed.

``CUSTODOCK_FUZZ_CASES=20000`` runs as many of each reader.
"""

from __future__ import annotations

import base64
import hashlib
import os
import random
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

import pytest

from custody.bag import manifest_bytes, read_manifest
from custody.checkpoint import Checkpoint, SigningKey, open_checkpoint, open_note, parse_checkpoint, parse_key_line
from custody.cosignature import cosigned_at, parse_witness_line
from custody.digest import leaf_hash, tree_root
from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.events import decode_chain, decode_event
from custody.manifest import parse_line
from custody.merkle import consistency_proof, inclusion_proof, verify_consistency, verify_inclusion
from custody.receipt import open_receipt
from custody.signers import read_key_file
from custody.sums import checksum_line, checksum_path
from custody.tiles import decode_bundle, encode_bundle, parse_tile_path, read_size, root_of, split_hashes, tile_in
from custody.tlogproof import LogProof, parse_proof
from tests.fuzzing import bent_bytes, bent_envelope, bent_json, bent_lines
from tests.vectors.bundles import LOG_KEY, Bundle, Files, make_bundle
from tests.vectors.dockings import STATION_KEY, pattern

CASES = int(os.environ.get("CUSTODOCK_FUZZ_CASES", "100"))
GOOD: Files = make_bundle(Bundle({"a/one.mp4": pattern(1, 300), "two.mp4": pattern(2, 200)}))
NOTE = GOOD["checkpoint"].decode()
ENVELOPE = GOOD["envelopes/4.dsse.json"]
PROOF = GOOD["proofs/4.tlog-proof"]
ENTRIES = [pattern(i, i % 7 * 40) for i in range(700)]
LEAVES = [leaf_hash(entry) for entry in ENTRIES]
WITNESS = SigningKey.from_seed("witness.example/w1", bytes(range(160, 192)))
_RAW = b"\x04" + WITNESS.verify_key.public.public_bytes_raw()
_ID = hashlib.sha256(WITNESS.name.encode() + b"\n" + _RAW).digest()[:4]
WITNESS_LINE = f"{WITNESS.name}+{_ID.hex()}+{base64.b64encode(_RAW).decode()}"
_SIGNATURE = WITNESS.sign(f"cosignature/v1\ntime 1700000000\n{NOTE.partition(chr(10) * 2)[0]}\n".encode())
COSIGNED = f"{NOTE}\u2014 {WITNESS.name} {base64.b64encode(_ID + (1_700_000_000).to_bytes(8) + _SIGNATURE).decode()}\n"
MANIFEST = next(content for name, content in GOOD.items() if name.endswith("manifest.jsonl"))


def text(raw: bytes) -> str:
    return raw.decode(errors="surrogateescape")


def subtree(level: int, index: int) -> bytes:
    return tree_root(LEAVES[index << level : (index + 1) << level])


# --- one bent case each; what is read without an error is held against the original --------------------------------


def key_line(rng: random.Random) -> None:
    line = text(bent_lines(rng, f"{LOG_KEY.verify_key.line}\n".encode()))
    key = parse_key_line(line)
    assert key.line.partition("+")[2].partition("+")[0] == key.key_id.hex()
    read_key_file(line.encode())


def witness_line(rng: random.Random) -> None:
    witness = parse_witness_line(text(bent_lines(rng, WITNESS_LINE.encode())))
    assert witness.label == f"{WITNESS.name}+{_ID.hex()}"


def note(rng: random.Random) -> None:
    bent = text(bent_lines(rng, NOTE.encode()))
    assert open_note(bent, LOG_KEY.verify_key) == NOTE.partition("\n\n")[0] + "\n"
    assert open_checkpoint(bent, LOG_KEY.verify_key) == open_checkpoint(NOTE, LOG_KEY.verify_key)


def checkpoint(rng: random.Random) -> None:
    parse_checkpoint(text(bent_lines(rng, Checkpoint("o", 5, bytes(32)).body.encode())))


def cosignature(rng: random.Random) -> None:
    at = cosigned_at(text(bent_lines(rng, COSIGNED.encode())), parse_witness_line(WITNESS_LINE))
    assert at is None or at == datetime.fromisoformat("2023-11-14T22:13:20+00:00")


def proof(rng: random.Random) -> None:
    raw = bent_lines(rng, PROOF) if rng.random() < 0.7 else bent_bytes(rng, PROOF)
    read = parse_proof(raw)
    assert read.text.encode() == raw  # one form only
    log = open_checkpoint(read.note, LOG_KEY.verify_key)
    verify_inclusion(leaf_hash(ENVELOPE), read.index, log.size, read.hashes, log.root)
    assert (read.index, read.hashes) == (parse_proof(PROOF).index, parse_proof(PROOF).hashes)


def inclusion(rng: random.Random) -> None:
    size = rng.randrange(1, len(LEAVES))
    index = rng.randrange(size)
    root, path = tree_root(LEAVES[:size]), inclusion_proof(index, size, subtree)
    verify_inclusion(LEAVES[index], index, size, path, root)
    asked = (rng.choice([index, rng.randrange(-1, 800)]), rng.choice([size, rng.randrange(0, 800), 1 << 70]))
    bent = bent_hashes(rng, path)
    try:
        verify_inclusion(LEAVES[index], *asked, bent, root)
    except CustodyError:
        return
    assert asked[0] == index  # the size is told by the checkpoint alone; a path may fit trees of several sizes
    assert bent == path


def consistency(rng: random.Random) -> None:
    new = rng.randrange(2, len(LEAVES))
    old = rng.randrange(1, new)
    roots = tree_root(LEAVES[:old]), tree_root(LEAVES[:new])
    path = consistency_proof(old, new, subtree)
    verify_consistency(old, roots[0], new, roots[1], path)
    other = tree_root([*LEAVES[: old - 1], leaf_hash(b"another history")])
    with pytest.raises(CustodyError):
        verify_consistency(old, other, new, roots[1], bent_hashes(rng, path))
    bent = bent_hashes(rng, path)
    verify_consistency(old, roots[0], new, roots[1], bent)
    assert bent == path


def bent_hashes(rng: random.Random, path: list[bytes]) -> list[bytes]:
    bent = list(path)
    act = rng.randrange(6)
    if act == 0 and bent:
        bent.pop(rng.randrange(len(bent)))
    elif act == 1:
        bent.insert(rng.randrange(len(bent) + 1), rng.choice([bytes(32), b"", *path]))
    elif act == 2 and bent:
        at = rng.randrange(len(bent))
        bent[at] = bent_bytes(rng, bent[at])
    elif act == 3:
        rng.shuffle(bent)
    elif act == 4:
        bent *= 2
    return bent


def entry_bundle(rng: random.Random) -> None:
    width = rng.randrange(1, 9)
    raw = encode_bundle(ENTRIES[:width])
    bent = bent_bytes(rng, raw)
    assert encode_bundle(decode_bundle(bent, width)) == bent


def tiles(rng: random.Random) -> None:
    """A hub that serves bent tiles gives another root, or none."""
    size = rng.randrange(1, len(LEAVES))
    spoiled = rng.randrange(4)

    def fetch(tile: object) -> bytes:
        nonlocal spoiled
        found = next(t for level in range(3) for i in range(3) if (t := tile_in(level, i, size)) == tile)
        unit = 256**found.level
        first = found.index * 256
        raw = b"".join(tree_root(LEAVES[i * unit : (i + 1) * unit]) for i in range(first, first + found.width))
        spoiled -= 1
        return bent_bytes(rng, raw) if spoiled == -1 else raw

    try:
        root = root_of(size, read_size(fetch, size))
    finally:
        whole = spoiled > -1
    assert (root == tree_root(LEAVES[:size])) == whole or not whole


def tile_path(rng: random.Random) -> None:
    good = rng.choice(["tile/0/x001/x234/067.p/12", "tile/entries/005", "tile/63/000", "tile/1/x099/999.p/255"])
    bent = text(bent_bytes(rng, good.encode()))
    assert parse_tile_path(bent).path == bent


def tile_hashes(rng: random.Random) -> None:
    raw = bent_bytes(rng, b"".join(LEAVES[:5]))
    assert b"".join(split_hashes(raw)) == raw


def envelope(rng: random.Random) -> None:
    raw = bent_bytes(rng, ENVELOPE) if rng.random() < 0.5 else bent_json(rng, ENVELOPE)
    read = parse_envelope(raw)
    read.verify(STATION_KEY.verify_key)
    assert raw == ENVELOPE  # an authentic one has one form


def event(rng: random.Random) -> None:
    raw = GOOD[rng.choice([name for name in GOOD if name.startswith("envelopes/")])]
    read = parse_envelope(raw)
    payload = bent_json(rng, read.payload)
    for reader in (decode_event, decode_chain):
        with suppress(CustodyError):
            reader(read.payload_type, payload)


def receipt(rng: random.Random) -> None:
    raw = bent_envelope(rng, ENVELOPE, lambda kind, payload: bent_bytes(rng, payload))
    open_receipt(raw, "dock-test", STATION_KEY.verify_key, LOG_KEY.verify_key)


def manifest_line(rng: random.Random) -> None:
    line = rng.choice(MANIFEST.splitlines(keepends=True))
    parse_line(bent_json(rng, line) + b"\n" if rng.random() < 0.7 else bent_bytes(rng, line))


def bag_list(rng: random.Random) -> None:
    good = b"".join(manifest_bytes({b"a%b": "0" * 64, b"c\nd/e": "f" * 64, "说明".encode(): "1" * 64}))
    bent = bent_lines(rng, good)
    read = dict(read_manifest(bent.splitlines(keepends=True) if rng.random() < 0.5 else [bent]))
    assert b"".join(manifest_bytes(read)) == bent
    assert not any(part in (b"", b".", b"..") for path in read for part in path.split(b"/"))


def sums_line(rng: random.Random) -> None:
    for name in (b"a\\b\nc\r", b"plain", bent_bytes(rng, b"any name")):
        if name:
            assert checksum_path(checksum_line("0" * 64, name)) == name
    checksum_path(bent_bytes(rng, checksum_line("0" * 64, b"a\\b\nc")))


READERS: list[Callable[[random.Random], None]] = [
    key_line, witness_line, note, checkpoint, cosignature, proof, inclusion, consistency, entry_bundle, tiles,
    tile_path, tile_hashes, envelope, event, receipt, manifest_line, bag_list, sums_line,
]  # fmt: skip


@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_a_reader_says_what_is_wrong_and_believes_nothing_altered(reader: Callable[[random.Random], None]) -> None:
    refused = 0
    for case in range(CASES):
        try:
            reader(random.Random(f"{reader.__name__} {case}"))
        except CustodyError:
            refused += 1
        except BaseException as error:
            raise AssertionError(f"case {case}") from error
    if reader not in (event, inclusion, sums_line):
        assert refused, "none of them was bent"


def test_the_proof_of_one_entry_is_that_of_no_other() -> None:
    """All indexes of all small trees: where a path leads to the root, its index is the only one."""
    for size in range(1, 40):
        root = tree_root(LEAVES[:size])
        for index in range(size):
            path = inclusion_proof(index, size, subtree)
            for other in range(size):
                try:
                    verify_inclusion(LEAVES[index], other, size, path, root)
                except CustodyError:
                    continue
                assert other == index
    assert LogProof(0, (), NOTE).text.startswith("c2sp.org/tlog-proof@v1\n")
