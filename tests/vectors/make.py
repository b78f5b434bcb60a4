"""Makes the committed test vectors: ``python -m tests.vectors.make [--check]``. Fixed public test keys, fixed times.

Every bad vector has one fault, is named for it, and states the error code or the finding kinds that it must lead to.
`cases.json` lists them all for readers in any language; see README.md here.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import sys
import tempfile
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from custody import manifest
from custody.checkpoint import Checkpoint, SigningKey, VerifyKey, sign_checkpoint, sign_note
from custody.commitments import Opening, commit, render_opening, state
from custody.digest import CHUNK_BYTES, CompactRange, leaf_hash, tree_root
from custody.envelope import EVENT_TYPE, pae, seal
from custody.events import encode_event, seal_event
from custody.hubevents import RecordingLabelled
from custody.merkle import consistency_proof, inclusion_proof, range_root
from custody.receipt import Receipt, ReceiptEntry, ResendRequest, seal_receipt
from custody.stationevents import CameraOverdueV2, CameraUnlocked, Counts, Gap, StationStarted
from custody.tiles import encode_bundle, tiles_of
from tests.vectors.bundlecases import bundles
from tests.vectors.commandcases import commands
from tests.vectors.disposed import disposed
from tests.vectors.dockings import AT, OTHER_KEY, STATION_KEY, Docking, Station, bent, build, pattern
from tests.vectors.edits import edits
from tests.vectors.viewingcases import viewings
from tests.vectors.witnesses import witnesses

HERE = Path(__file__).parent
LOG_KEY = SigningKey.from_seed("hub.example/audit", bytes(range(32)))
RECEIPT_KEY = SigningKey.from_seed("hub.example/receipts", bytes(range(64, 96)))
CT_LEAVES = [b"", b"\0", b"\x10", b" !", b"01", b"@ABC", b"PQRSTUVW", b"`abcdefghijklmno"]  # those of RFC 6962's tests
Files = dict[str, bytes]
Case = dict[str, object]


def make(top: Path) -> None:
    """Write all vectors below `top`."""
    files: Files = {}
    cases = {
        "keys": _keys(files),
        "notes": _notes(files),
        "envelopes": _envelopes(files),
        "receipts": _receipts(files),
        "commitments": _commitments(),
        "openings": _openings(files),
        "commands": commands(files),
        "viewings": viewings(files),
        "proofs": _proofs(),
        "tile_paths": _tile_paths(),
        "tile_trees": _tile_trees(),
        "entry_bundles": _entry_bundles(),
        "manifests": _manifests(files),
        "dockings": _dockings(top) + edits(STATION_KEY.verify_key.line),
        "bundles": bundles(top),
        "witness": witnesses(),
    }
    files["cases.json"] = json.dumps(cases, indent=1, ensure_ascii=False).encode() + b"\n"
    files["tree.json"] = json.dumps(_tree(), indent=1).encode() + b"\n"
    for name, content in files.items():
        (top / name).parent.mkdir(parents=True, exist_ok=True)
        (top / name).write_bytes(content)


def _flip(raw: bytes, at: int) -> bytes:
    return raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1 :]


# --- Commitments and openings ----------------------------------------------------------------------------------------

SALT = bytes(range(32))


def _commitments() -> list[Case]:
    """Known answers of `commit`; tests compute them again with OpenSSL, which is none of ours."""
    told = {
        "officer": ("camera.overdue.v2", "officer", "310042", SALT),
        "salt-other": ("camera.overdue.v2", "officer", "310042", SALT[::-1]),
        "type-other": ("camera.returned.v2", "officer", "310042", SALT),
        "field-other": ("camera.overdue.v2", "holder", "310042", SALT),
        "value-chinese": ("camera.overdue.v2", "officer", "沪A-310042", SALT),
        "value-empty": ("camera.overdue.v2", "officer", "", SALT),
        "value-with-nul": ("camera.overdue.v2", "officer", "3100\x0042", SALT),
    }
    return [
        {
            "name": name,
            "type": t,
            "field": f,
            "value": v,
            "salt": s.hex(),
            "commitment": commit(t, f, v, s),
            "code": None,
        }
        for name, (t, f, v, s) in told.items()
    ]


def _overdue() -> tuple[bytes, bytes]:
    """An envelope of a fixed event that commits, and its opening."""
    started = _started()
    facts = {name: getattr(started, name) for name in ("id", "source", "seq", "previous", "at", "clock")}
    facts |= {"camera_id": "cam-7", "officer": "310042", "due_at": AT}
    made = state(CameraOverdueV2, lambda count: SALT[:count], facts)
    raw = seal_event(made.event, STATION_KEY)
    return raw, render_opening(Opening(hashlib.sha256(raw).hexdigest(), made.opened))


def _openings(files: Files) -> list[Case]:
    """Openings of one envelope, one fault each. `opening_wrong`: of the right form, and it shows nothing."""
    raw, good = _overdue()
    text = good.decode()
    digest, salt = hashlib.sha256(raw).hexdigest(), SALT.hex()
    row = f'["officer","{salt}","310042"]'
    made: dict[str, tuple[bytes, str | None]] = {
        "good": (good, None),
        "value-other": (text.replace("310042", "310043").encode(), "opening_wrong"),
        "salt-other": (text.replace(salt, SALT[::-1].hex()).encode(), "opening_wrong"),
        "field-not-committed": (text.replace("officer", "camera_id").encode(), "opening_wrong"),
        "envelope-other": (text.replace(digest, "0" * 64).encode(), "opening_wrong"),
        "salt-short": (text.replace(salt, salt[:62]).encode(), "bad_format"),
        "salt-upper-case": (text.replace(salt, salt.upper()).encode(), "bad_format"),
        "value-number": (text.replace('"310042"', "310042").encode(), "bad_format"),
        "field-twice": (text.replace(row, f"{row},{row}").encode(), "bad_format"),
        "fields-falling": (text.replace(row, f'{row},["holder","{salt}","1"]').encode(), "bad_format"),
        "fields-none": (text.replace(row, "").encode(), "bad_format"),
        "space-inside": (text.replace(",", ", ", 1).encode(), "bad_format"),
        "escape-needless": (text.replace("310042", "\\u003310042").encode(), "bad_format"),
        "line-end": (good + b"\n", "bad_format"),
        "field-more": (text.replace('{"envelope"', '{"a":1,"envelope"').encode(), "bad_format"),
        "envelope-twice": (text.replace('{"envelope"', f'{{"envelope":"{digest}","envelope"').encode(), "bad_format"),
        "too-long": (text.replace("310042", "3" * 4096).encode(), "bad_format"),
        "not-json": (good[:-1], "bad_format"),
    }
    files["openings/envelope.dsse.json"] = raw
    return _store(files, "openings", ".opening.json", made, envelope="openings/envelope.dsse.json")


# --- Keys, notes, envelopes, receipts --------------------------------------------------------------------------------


def _keys(files: Files) -> list[Case]:
    line = STATION_KEY.verify_key.line
    name, hash_hex, body = line.split("+", 2)
    other = OTHER_KEY.verify_key.line.split("+", 2)
    raw = base64.b64decode(body)
    lines = {
        "good": (line, None),
        "hash-of-other-key": (f"{name}+{other[1]}+{body}", "bad_key"),
        "name-changed": (f"dock-tess+{hash_hex}+{body}", "bad_key"),
        "not-base64": (f"{name}+{hash_hex}+{body[:-1]}!", "bad_key"),
        "key-short": (f"{name}+{hash_hex}+{base64.b64encode(raw[:-1]).decode()}", "bad_key"),
        "algorithm-unknown": (f"{name}+{hash_hex}+{base64.b64encode(bytes([9]) + raw[1:]).decode()}", "bad_key"),
        "name-empty": (f"+{hash_hex}+{body}", "bad_key"),
        "name-with-space": (f"dock test+{hash_hex}+{body}", "bad_key"),
        "point-of-small-order": (_line_of(name, bytes(32)), "bad_key"),
        "point-not-reduced": (_line_of(name, (2**255 - 16).to_bytes(32, "little")), "bad_key"),  # y = 3
    }
    return _store(files, "keys", ".vkey", {n: (f"{text}\n".encode(), code) for n, (text, code) in lines.items()})


def _line_of(name: str, public: bytes) -> str:
    """A key line of any 32 bytes."""
    return VerifyKey(name, Ed25519PublicKey.from_public_bytes(public)).line


def _store(
    files: Files, folder: str, suffix: str, made: dict[str, tuple[bytes, str | None]], **more: object
) -> list[Case]:
    cases: list[Case] = []
    for name, (content, code) in made.items():
        files[f"{folder}/{name}{suffix}"] = content
        cases.append({"file": f"{folder}/{name}{suffix}", "code": code, **more})
    return cases


def _notes(files: Files) -> list[Case]:
    root = tree_root(map(leaf_hash, CT_LEAVES))
    good = sign_checkpoint(Checkpoint(LOG_KEY.name, 8, root), LOG_KEY)
    stranger = sign_note("x\n", OTHER_KEY).split("\n\n")[1]
    checkpoints = {
        "checkpoint": (good, None),
        "checkpoint-second-signature": (good + stranger, None),
        "body-changed": (good.replace("\n8\n", "\n9\n"), "bad_signature"),
        "signature-changed": (_last_sig(good), "bad_signature"),
        "signer-other": (sign_note(good.split("\n\n")[0] + "\n", OTHER_KEY), "bad_signature"),
        "signature-missing": (good.split("\n\n")[0] + "\n\n", "bad_format"),
        "blank-line-missing": (good.replace("\n\n", "\n"), "bad_format"),
        "newline-missing-at-end": (good[:-1], "bad_format"),
        "dash-hyphen": (good.replace("\u2014", "-"), "bad_format"),
        "carriage-return": (good.replace("\n8", "\r\n8"), "bad_format"),
        "size-leading-zero": (_checkpoint("08", root), "bad_format"),
        "size-negative": (_checkpoint("-8", root), "bad_format"),
        "root-short": (_checkpoint("8", root[:31]), "bad_format"),
        "origin-other": (_checkpoint("8", root, "hub.example/other"), "bad_format"),
    }
    key = LOG_KEY.verify_key.line
    return _store(
        files, "notes", ".txt", {n: (text.encode(), code) for n, (text, code) in checkpoints.items()}, key=key
    )


def _last_sig(note: str) -> str:
    head, _, encoded = note.rstrip("\n").rpartition(" ")
    return f"{head} {base64.b64encode(_flip(base64.b64decode(encoded), 40)).decode()}\n"


def _checkpoint(size: str, root: bytes, origin: str = LOG_KEY.name) -> str:
    return sign_note(f"{origin}\n{size}\n{base64.b64encode(root).decode()}\n", LOG_KEY)


def _started(**changes: object) -> StationStarted:
    event = StationStarted(
        id="0195f000-0000-7000-8000-000000000001",
        source=STATION_KEY.name,
        seq=1,
        previous=Station().head.hash_hex,
        at=AT,
        clock="synchronised",
        software="custodock 0.1.0",
    )
    return replace(event, **changes)  # type: ignore[arg-type]


def _unlocked() -> CameraUnlocked:
    started = _started()
    return CameraUnlocked(
        id="0195f000-0000-7000-8000-000000000002", source=started.source, seq=2, previous=started.previous, at=AT,
        clock="synchronised", bay="3", usb_id="1b3f:8301", usb_serial="", serial="1234567", profile="zfy-dsj",
        clock_was=AT.replace(year=2000), clock_error_seconds=int((AT - AT.replace(year=2000)).total_seconds()),
        clock_set=True, clock_left_seconds=0, faults=0,
    )  # fmt: skip


def _labelled() -> RecordingLabelled:
    """A statement of the hub that commits to two texts and says nothing of the third."""
    started = _started()
    facts = {name: getattr(started, name) for name in ("id", "source", "seq", "previous", "at", "clock")}
    facts |= {"labelling_id": started.id, "recordings": (3, 4), "account": "li", "kind": "evidence_taking"}
    facts |= {"parties_present": True, "place": "人民路 12 号", "matter": None, "case_number": "2026-12"}
    return state(RecordingLabelled, lambda count: SALT[:count], facts).event


def _envelopes(files: Files) -> list[Case]:
    good = seal_event(_started(), STATION_KEY)
    event_bytes = encode_event(_started())[1]
    payload = json.loads(event_bytes)
    outer = json.loads(good)

    def payload_with(**changes: object) -> bytes:
        body = {k: v for k, v in (payload | changes).items() if v is not ...}
        return seal(EVENT_TYPE, json.dumps(body, separators=(",", ":")).encode(), STATION_KEY)

    sig = base64.b64decode(outer["signatures"][0]["sig"])
    made: dict[str, tuple[bytes, str | None]] = {
        "good": (good, None),
        "good-unlocked": (seal_event(_unlocked(), STATION_KEY), None),
        "good-labelled": (seal_event(_labelled(), STATION_KEY), None),
        "unknown-field": (payload_with(later="new"), None),
        "payload-changed": (good.replace(*_changed_payload(outer["payload"])), "bad_signature"),
        "signature-changed": (_with_sig(outer, _flip(sig, 5)), "bad_signature"),
        "signer-other": (seal_event(_started(), OTHER_KEY), "bad_signature"),
        "payload-type-changed": (good.replace(b"custodock.event", b"custodock.other"), "bad_format"),
        "signature-without-pae": (_with_sig(outer, STATION_KEY.sign(event_bytes)), "bad_signature"),
        "second-signature": (_rendered(outer, signatures=outer["signatures"] * 2), "bad_format"),
        "signature-missing": (_rendered(outer, signatures=[]), "bad_format"),
        "spaces-added": (json.dumps(outer).encode(), "bad_format"),
        "field-added": (good[:-1] + b',"more":1}', "bad_format"),
        "base64-stray-bits": (_stray_bits(good, outer), "bad_format"),
        "newline-at-end": (good + b"\n", "bad_format"),
        "utf-16": (good.decode().encode("utf-16"), "bad_format"),
        "not-json": (b"not json", "bad_format"),
        "empty": (b"", "bad_format"),
        "too-long": (_too_long(), "bad_format"),
        "event-type-unknown": (payload_with(type="station.dreamt.v1"), "unknown_type"),
        "event-field-missing": (payload_with(software=...), "bad_format"),
        "event-field-of-wrong-type": (payload_with(seq="1"), "bad_format"),
        "event-seq-negative": (payload_with(seq=-1), "bad_format"),
        "event-seq-fraction": (payload_with(seq=1.0), "bad_format"),
        "event-time-without-zone": (payload_with(at="2026-03-01T08:00:00"), "bad_format"),
        "event-time-impossible": (payload_with(at="2026-02-30T08:00:00Z"), "bad_format"),
        "event-hash-upper-case": (payload_with(previous="A" * 64), "bad_format"),
        "event-field-twice": (_twice(payload), "bad_format"),
        "event-lone-surrogate": (payload_with(software="\ud800"), "bad_format"),
        "event-not-an-object": (seal(EVENT_TYPE, b"[]", STATION_KEY), "bad_format"),
    }  # fmt: skip
    return _store(files, "envelopes", ".json", made, key=STATION_KEY.verify_key.line)


def _changed_payload(encoded: str) -> tuple[bytes, bytes]:
    raw = base64.b64decode(encoded)
    return encoded.encode(), base64.b64encode(raw.replace(b"0.1.0", b"0.1.1"))


def _rendered(outer: dict[str, object], **changes: object) -> bytes:
    return json.dumps(outer | changes, separators=(",", ":")).encode()


def _with_sig(outer: dict[str, object], sig: bytes) -> bytes:
    keyid = STATION_KEY.verify_key.label
    return _rendered(outer, signatures=[{"keyid": keyid, "sig": base64.b64encode(sig).decode()}])


def _stray_bits(good: bytes, outer: dict[str, list[dict[str, str]]]) -> bytes:
    sig = outer["signatures"][0]["sig"].encode()  # 86 characters and "==": four bits of the last one are spare
    alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"
    stray = alphabet[alphabet.index(sig[85]) | 1]
    return good.replace(sig, sig[:85] + bytes([stray]) + b"==")


def _too_long() -> bytes:
    payload = b'{"type":"x","pad":"' + b"x" * 50_000 + b'"}'
    signature = base64.b64encode(STATION_KEY.sign(pae(EVENT_TYPE, payload))).decode()
    label = STATION_KEY.verify_key.label
    body = {"payload": base64.b64encode(payload).decode(), "payloadType": EVENT_TYPE}
    return _rendered(body, signatures=[{"keyid": label, "sig": signature}])


def _twice(payload: dict[str, object]) -> bytes:
    raw = json.dumps(payload, separators=(",", ":")).encode()
    return seal(EVENT_TYPE, raw[:-1] + b',"seq":2}', STATION_KEY)


def _receipts(files: Files) -> list[Case]:
    root = tree_root(map(leaf_hash, CT_LEAVES))
    note = sign_checkpoint(Checkpoint(LOG_KEY.name, 8, root), LOG_KEY)
    entries = (ReceiptEntry(1, "0" * 64, 3), ReceiptEntry(2, "1" * 64, 7))
    good = Receipt(STATION_KEY.name, entries, note)
    forged = replace(good, checkpoint_note=sign_note(note.split("\n\n")[0] + "\n", OTHER_KEY))
    third = ReceiptEntry(3, "2" * 64, 8)
    made: dict[str, tuple[bytes, str | None]] = {
        "good": (seal_receipt(good, RECEIPT_KEY), None),
        "resend": (seal_receipt(ResendRequest(STATION_KEY.name, 4), RECEIPT_KEY), None),
        "station-other": (seal_receipt(replace(good, station="dock-other"), RECEIPT_KEY), "bad_format"),
        "signer-other": (seal_receipt(good, LOG_KEY), "bad_signature"),
        "checkpoint-signer-other": (seal_receipt(forged, RECEIPT_KEY), "bad_signature"),
        "index-beyond-checkpoint": (seal_receipt(replace(good, entries=(*entries, third)), RECEIPT_KEY), "bad_format"),
        "seqs-falling": (seal_receipt(replace(good, entries=entries[::-1]), RECEIPT_KEY), "bad_format"),
        "seq-twice": (seal_receipt(replace(good, entries=entries[:1] * 2), RECEIPT_KEY), "bad_format"),
        "hash-short": (
            seal_receipt(replace(good, entries=(replace(entries[0], envelope_sha256="00"),)), RECEIPT_KEY), "bad_format"
        ),
        "an-event-instead": (seal_event(_started(), RECEIPT_KEY), "bad_format"),
    }  # fmt: skip
    more = {"station": STATION_KEY.name, "key": RECEIPT_KEY.verify_key.line, "log_key": LOG_KEY.verify_key.line}
    return _store(files, "receipts", ".json", made, **more)


# --- Trees and proofs ------------------------------------------------------------------------------------------------


def _subtree(level: int, index: int) -> bytes:
    return tree_root(map(leaf_hash, CT_LEAVES[index << level : (index + 1) << level]))


def _tree() -> dict[str, object]:
    tree = CompactRange()
    roots = [tree.root().hex()]
    for leaf in CT_LEAVES:
        tree.append(leaf_hash(leaf))
        roots.append(tree.root().hex())
    return {
        "leaves": [leaf.hex() for leaf in CT_LEAVES],
        "roots_by_size": roots,
        "inclusion": [
            {"index": i, "size": n, "proof": [h.hex() for h in inclusion_proof(i, n, _subtree)]}
            for n in range(1, 9)
            for i in range(n)
        ],
        "consistency": [
            {"old": m, "new": n, "proof": [h.hex() for h in consistency_proof(m, n, _subtree)]}
            for n in range(1, 9)
            for m in range(1, n + 1)
        ],
    }


def _proofs() -> list[Case]:
    included = [h.hex() for h in inclusion_proof(5, 8, _subtree)]
    joined = [h.hex() for h in consistency_proof(6, 8, _subtree)]
    base: Case = {
        "leaf": leaf_hash(CT_LEAVES[5]).hex(),
        "index": 5,
        "size": 8,
        "root": range_root(0, 8, _subtree).hex(),
    }
    two: Case = {"old": 6, "old_root": range_root(0, 6, _subtree).hex(), "new": 8, "new_root": base["root"]}
    bad = "bad_proof"
    return [
        {"name": "inclusion-good", **base, "proof": included, "code": None},
        {"name": "inclusion-index-other", **base, "index": 4, "proof": included, "code": bad},
        {"name": "inclusion-too-short", **base, "proof": included[:-1], "code": bad},
        {"name": "inclusion-too-long", **base, "proof": [*included, included[0]], "code": bad},
        {"name": "inclusion-order-changed", **base, "proof": included[::-1], "code": bad},
        {"name": "inclusion-beyond-the-tree", **base, "index": 8, "proof": included, "code": bad},
        {"name": "inclusion-hash-of-31-bytes", **base, "proof": [included[0][:-2], *included[1:]], "code": bad},
        {"name": "consistency-good", **two, "proof": joined, "code": None},
        {"name": "consistency-from-zero", **two, "old": 0, "proof": [], "code": bad},
        {"name": "consistency-too-short", **two, "proof": joined[:-1], "code": bad},
        {"name": "consistency-too-long", **two, "proof": [*joined, joined[0]], "code": bad},
        {"name": "consistency-empty", **two, "proof": [], "code": bad},
        {"name": "consistency-old-root-other", **two, "old_root": base["root"], "proof": joined, "code": bad},
        {"name": "consistency-shrunk", **two, "old": 8, "new": 6, "proof": joined, "code": bad},
        {"name": "consistency-equal-size-other-root", **two, "old": 8, "proof": [], "code": bad},
    ]


# --- Manifests -------------------------------------------------------------------------------------------------------


def _manifests(files: Files) -> list[Case]:
    with tempfile.TemporaryDirectory() as scratch:
        met = (manifest.Met(finding="deleted_entry", path="_ID00009.MP4", path_raw=(), detail="entry 9"),)
        gaps = tuple(Gap(offset_bytes=3 * i, length_bytes=1) for i in range(102))
        docking = Docking({"a.mp4": pattern(1, 400)}, failed=("b.mp4",), met=met, gaps={"a.mp4": gaps})
        lines = (build(Path(scratch), docking) / ".custody/manifest.jsonl").read_bytes().splitlines(keepends=True)
    header, copied, failed, finding, more, counts = lines
    bad = "bad_format"
    made: dict[str, tuple[bytes, str | None]] = {
        "good": (b"".join(lines), None),
        "empty": (b"", bad),
        "header-missing": (b"".join(lines[1:]), bad),
        "header-twice": (header + b"".join(lines), bad),
        "version-unknown": (b"".join(lines).replace(b"manifest/1", b"manifest/9"), bad),
        "counts-missing": (b"".join(lines[:-1]), bad),
        "counts-not-last": (header + counts + copied, bad),
        "order-changed": (header + finding + copied + failed + more + counts, bad),
        "newline-missing-at-end": (b"".join(lines)[:-1], bad),
        "line-cut": (header + copied[: len(copied) // 2], bad),
        "line-not-json": (header + b"{\n" + counts, bad),
        "state-unknown": (b"".join(lines).replace(b'"state":"failed"', b'"state":"eaten"'), bad),
        "finding-unknown": (b"".join(lines).replace(b'"deleted_entry"', b'"ghost"'), bad),
        "gap-without-length": (b"".join(lines).replace(b"[300,1]", b"[300]"), bad),
        "line-too-long": (header + b'{"finding":"' + b"x" * manifest.MAX_LINE_BYTES + b'"}\n' + counts, bad),
    }
    del made["line-too-long"]  # a megabyte is not worth committing: test_custody_manifest.py makes it
    return _store(files, "manifests", ".jsonl", made)


# --- Dockings --------------------------------------------------------------------------------------------------------

FOOTAGE = {"DCIM/VID00001.MP4": pattern(1, 2 * CHUNK_BYTES + 1), "DCIM/VID00002.MP4": pattern(2, 500), "empty.log": b""}
SMALL = {"DCIM/VID00001.MP4": pattern(1, 300), "DCIM/VID00002.MP4": pattern(2, 500)}


def _swapped(lines: list[bytes]) -> list[bytes]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def _miscounted(lines: list[bytes]) -> list[bytes]:
    counts = Counts(
        listed=2, copied=2, already_saved=0, failed=0, skipped=1, deleted_seen=0, unreadable=0, bytes_copied=800
    )
    return [*lines[:-1], manifest.counts_line(counts)]


FOREIGN_SEAL = ["added", "seal_wrong", "sums_altered"]
UNKNOWN_SIGNER = ["added", "key_file_other", "seal_wrong", "signer_unknown", "sums_altered"]
SIGNED_FAULTS: dict[str, tuple[Docking, list[str]]] = {
    "seal-of-another-docking": (Docking(SMALL, bend_seal=bent(docking_id="elsewhere")), FOREIGN_SEAL),
    "seal-of-another-camera": (Docking(SMALL, bend_seal=bent(camera_id="cam-8")), FOREIGN_SEAL),
    "seal-of-another-entry": (Docking(SMALL, bend_seal=bent(entry=2)), FOREIGN_SEAL),
    "seal-with-path-outside": (
        Docking(SMALL, bend_seal=bent(vault_path="cam-7/2026/03/01/0195f000-d0c1/../x")),
        FOREIGN_SEAL,
    ),
    "seal-with-wrong-chunk-count": (Docking(SMALL, bend_seal=bent(chunk_count=2)), FOREIGN_SEAL),
    "seal-with-wrong-sha256": (Docking(SMALL, bend_seal=bent(sha256="0" * 64)), ["altered"]),
    "file-sealed-twice": (
        Docking(SMALL, bend_seal=lambda e: replace(e, vault_path=e.vault_path.replace("00002", "00001"))),
        FOREIGN_SEAL,
    ),
    "seals-by-another-key": (Docking(SMALL, sealed_by=OTHER_KEY), UNKNOWN_SIGNER),
    "seal-left-out": (
        Docking(SMALL, bend_lines=lambda x: [x[0], *x[2:]]), ["added", "counts_wrong", "entries_wrong", "sums_altered"]
    ),
    "entries-swapped": (Docking(SMALL, bend_lines=_swapped), ["entries_wrong"]),
    "counts-wrong": (Docking(SMALL, bend_lines=_miscounted), ["counts_wrong"]),
    "closing-of-another-docking": (
        Docking(SMALL, bend_closed=lambda e: replace(e, docking_id="elsewhere")), ["manifest_wrong"]
    ),
    "gaps-left-out": (
        Docking(
            SMALL,
            gaps={"DCIM/VID00001.MP4": tuple(Gap(offset_bytes=2 * i, length_bytes=1) for i in range(101))},
            bend_lines=lambda x: [line for line in x if not line.startswith(b'{"gaps_of"')],
        ),
        ["counts_wrong"],
    ),
}  # fmt: skip


# --- Tiles -----------------------------------------------------------------------------------------------------------


def _tile_paths() -> list[Case]:
    good: list[tuple[str, int, int, int]] = [
        ("tile/0/000", 0, 0, 256),
        ("tile/0/x001/x234/067", 0, 1_234_067, 256),  # the example of the specification
        ("tile/0/273.p/112", 0, 273, 112),
        ("tile/63/999.p/255", 63, 999, 255),
        ("tile/1/x001/000.p/1", 1, 1000, 1),
        ("tile/entries/x001/x234/067.p/8", -1, 1_234_067, 8),
    ]
    bad = {
        "level-leading-zero": "tile/00/000",
        "level-beyond-63": "tile/64/000",
        "level-negative": "tile/-1/000",
        "level-of-other-digits": "tile/\u0661/000",
        "level-missing": "tile/000",
        "index-short": "tile/0/1",
        "index-without-x": "tile/0/001/000",
        "index-x-in-last-group": "tile/0/x001/x000",
        "index-group-added-in-front": "tile/0/x000/005",
        "index-of-four-digits": "tile/0/x0001/000",
        "index-beyond-every-tree": "tile/0/x999/x999/x999/x999/x999/x999/999",
        "width-zero": "tile/0/000.p/0",
        "width-full": "tile/0/000.p/256",
        "width-leading-zero": "tile/0/000.p/012",
        "width-missing": "tile/0/000.p/",
        "slash-at-end": "tile/0/000/",
        "newline-at-end": "tile/0/000\n",
        "dots": "tile/0/../0/000",
        "upper-case": "tile/Entries/000",
        "nothing": "",
    }
    cases: list[Case] = [
        {"name": path, "path": path, "level": level, "index": index, "width": width, "code": None}
        for path, level, index, width in good
    ]
    return cases + [{"name": name, "path": path, "code": "bad_format"} for name, path in bad.items()]


def _tile_trees() -> list[Case]:
    """The tiles of trees: how many full ones on each level, and the partial ones by path."""
    cases: list[Case] = []
    for size in (0, 1, 255, 256, 257, 65_535, 65_536, 70_000, 16_777_217):
        full: dict[int, int] = {}
        partial = []
        for tile in tiles_of(size):
            if tile.width == 256:
                full[tile.level] = full.get(tile.level, 0) + 1
            else:
                partial.append(tile.path)
        cases.append({"name": str(size), "size": size, "full": list(full.values()), "partial": partial})
    return cases


def _entry_bundles() -> list[Case]:
    good = encode_bundle(CT_LEAVES)
    bent = {
        "good": (good, None),
        "cut-in-an-entry": (good[:-1], "bad_format"),
        "cut-in-a-length": (good[:-17], "bad_format"),
        "entry-missing": (good[:-18], "bad_format"),
        "entry-added": (good + b"\0\0", "bad_format"),
        "length-little-endian": (b"\0\0\1\0\0", "bad_format"),
    }
    return [{"name": name, "bundle": raw.hex(), "width": 8, "code": code} for name, (raw, code) in bent.items()]


def _dockings(top: Path) -> list[Case]:
    folder = build(top / "scratch", Docking(FOOTAGE))
    shutil.move(folder, top / "dockings/good")
    key = STATION_KEY.verify_key.line
    cases: list[Case] = [{"name": "good", "docking": "dockings/good", "key": key, "exit": 0, "kinds": []}]
    for name, (docking, kinds) in SIGNED_FAULTS.items():
        shutil.rmtree(top / "scratch")
        shutil.move(build(top / "scratch", docking), top / f"dockings/{name}")
        cases.append({"name": name, "docking": f"dockings/{name}", "key": key, "exit": 1, "kinds": kinds})
    shutil.rmtree(top / "scratch")
    cases += disposed(top, LOG_KEY)
    shutil.rmtree(top / "scratch")
    return cases


def snapshot(top: Path) -> dict[str, bytes]:
    """Every made file below `top`."""
    made = (
        "keys",
        "notes",
        "envelopes",
        "openings",
        "receipts",
        "commands",
        "viewings",
        "manifests",
        "dockings",
        "bundles",
    )
    files = [f for folder in made for f in (top / folder).rglob("*") if f.is_file()]
    return {f.relative_to(top).as_posix(): f.read_bytes() for f in [*files, top / "cases.json", top / "tree.json"]}


def main(argv: list[str], render: Callable[[Path], None] = make) -> int:
    """Write the vectors here, or with --check say whether the committed ones are those this script makes."""
    with tempfile.TemporaryDirectory() as scratch:
        render(Path(scratch))
        made = snapshot(Path(scratch))
    if argv == ["--check"]:
        return int(made != snapshot(HERE))
    for folder in (
        "keys",
        "notes",
        "envelopes",
        "openings",
        "receipts",
        "commands",
        "viewings",
        "manifests",
        "dockings",
        "bundles",
    ):
        shutil.rmtree(HERE / folder, ignore_errors=True)
    for name, content in made.items():
        (HERE / name).parent.mkdir(parents=True, exist_ok=True)
        (HERE / name).write_bytes(content)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
