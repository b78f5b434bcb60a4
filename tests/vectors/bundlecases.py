"""The bundles that a verifier must judge rightly: faults that somebody signed or re-listed, and edits as data."""
# ruff: noqa: E501  - a table reads best in rows

from __future__ import annotations

import hashlib
from pathlib import Path

from custody.digest import CHUNK_BYTES
from custody.events import ChainHead
from tests.vectors.bundles import LOG_KEY, Bundle, Files, bent_export, bent_finish, build_bundle, relist
from tests.vectors.dockings import OTHER_KEY, STATION_KEY, Station, pattern

Case = dict[str, object]
SMALL = {"DCIM/VID00001.MP4": pattern(1, 300), "DCIM/VID00002.MP4": pattern(2, 200)}
PLACE = "dock-test/cam-7/2026/03/01/0195f000-d0c1"


def _removed(*names: str) -> Bundle:
    def bend(files: Files) -> None:
        for name in names:
            del files[name]

    return Bundle(SMALL, bend_files=bend)


def _rewritten(files: Files) -> None:
    """As a forger would who has no key: exchange footage and make all lists anew."""
    name = f"data/{PLACE}/DCIM/VID00001.MP4"
    line = hashlib.sha256(files[name]).hexdigest()
    files[name] = b"forged" + files[name][6:]
    changed = hashlib.sha256(files[name]).hexdigest()
    for listing in ("manifest-sha256.txt", "SHA256SUMS"):
        files[listing] = files[listing].replace(line.encode(), changed.encode())
    relist(files)


def _page_rewritten(files: Files) -> None:
    files["说明.html"] = b"<!doctype html><p>other</p>\n"
    relist(files)


def _recording_dropped(files: Files) -> None:
    """As a forger would who wants a recording gone: everything of it, and all lists anew."""
    for name in [
        n
        for n in files
        if "VID00001" in n or n in ("envelopes/3.dsse.json", "proofs/3.tlog-proof") or n.startswith("manifests/")
    ]:
        del files[name]
    for listing in ("manifest-sha256.txt", "SHA256SUMS"):
        files[listing] = b"".join(x for x in files[listing].splitlines(keepends=True) if b"VID00001" not in x)
    relist(files)


def _entry_exchanged(entries: list[bytes]) -> None:
    entries[3], entries[4] = entries[4], entries[3]


FAULTS: dict[str, tuple[Bundle, list[str]]] = {
    "footage-exchanged-and-listed-anew": (Bundle(SMALL, bend_closing=_rewritten), ["altered", "bag_altered"]),
    "page-exchanged-and-listed-anew": (Bundle(SMALL, bend_closing=_page_rewritten), ["bag_altered"]),
    "recording-dropped-and-listed-anew": (Bundle(SMALL, bend_closing=_recording_dropped), ["bag_altered", "envelope_missing"]),
    "log-by-another-key": (Bundle(SMALL, log_key=OTHER_KEY), ["signer_unknown"]),
    "station-enrolled-with-another-key": (Bundle(SMALL, enrolled=OTHER_KEY), ["envelope_altered", "envelope_missing", "signer_unknown", "unsealed"]),
    "seals-by-another-key": (Bundle(SMALL, sealed_by=OTHER_KEY), ["envelope_altered", "envelope_missing", "signer_unknown", "unsealed"]),
    "station-key-revoked-from-its-second-seal-on": (Bundle(SMALL, revoked_from=3), ["key_revoked"]),
    "enrolment-left-out": (_removed("envelopes/0.dsse.json", "proofs/0.tlog-proof"), ["signer_unknown"]),
    "seal-left-out": (_removed("envelopes/3.dsse.json", "proofs/3.tlog-proof"), ["envelope_missing", "unsealed"]),
    "proof-left-out": (_removed("proofs/3.tlog-proof"), ["proof_altered"]),
    "leaves-of-no-file": (Bundle(SMALL, bend_files=lambda f: f.update({"leaves/x.leaves": b"x" * 32})), ["bag_file_unknown"]),
    "file-of-no-place": (Bundle(SMALL, bend_files=lambda f: f.update({"notes.txt": b"x"})), ["bag_file_unknown"]),
    "log-in-another-order": (Bundle(SMALL, bend_entries=_entry_exchanged), ["envelope_wrong"]),
    "export-of-another-recording": (Bundle(SMALL, bend_export=bent_export(recordings=(3, 5))), ["envelope_missing", "envelope_wrong"]),
    "export-of-fewer-recordings": (Bundle(SMALL, bend_export=bent_export(recordings=(3,), recordings_in_all=1)), ["envelope_wrong"]),
    "export-with-a-part-missing": (Bundle(SMALL, bend_export=bent_export(parts=2)), ["export_wrong"]),
    "finish-of-another-bundle": (Bundle(SMALL, bend_finish=bent_finish(bundle_id="elsewhere")), ["export_wrong"]),
    "finish-that-says-incomplete": (Bundle(SMALL, bend_finish=bent_finish(complete=False, reason="target_failed")), ["finish_wrong"]),
    "finish-by-a-station": (Bundle(SMALL, finished_by=Station(STATION_KEY, ChainHead(9))), ["finish_wrong", "signer_unknown"]),
    "finish-of-other-lists": (Bundle(SMALL, bend_finish=bent_finish(tag_manifest_sha256="0" * 64)), ["bag_altered"]),
    "finish-left-out": (Bundle(SMALL, bend_closing=lambda f: f.pop("closing/finished.dsse.json") and None), ["finish_wrong"]),
    "bag-of-version-0.97": (Bundle(SMALL, bend_files=lambda f: f.update({"bagit.txt": f["bagit.txt"].replace(b"1.0", b"0.97")})), ["bag_altered"]),
    "lists-out-of-order": (Bundle(SMALL, bend_files=lambda f: f.update({"manifest-sha256.txt": b"".join(f["manifest-sha256.txt"].splitlines(keepends=True)[::-1])})), ["bag_altered", "sums_altered"]),
}  # fmt: skip


def edits() -> list[Case]:
    """Edits of bundles/good, and what each must lead to; `first` is the file that must be named first."""
    one, two = f"data/{PLACE}/DCIM/VID00001.MP4", f"data/{PLACE}/DCIM/VID00002.MP4"
    leaves, sums, tags = f"leaves/{PLACE}/DCIM/VID00001.MP4.leaves", "SHA256SUMS", "tagmanifest-sha256.txt"
    rows: list[tuple[str, dict[str, object], list[str], list[list[int]] | None]] = [
        ("first-byte", {"op": "flip", "file": one, "at": 0}, ["altered"], [[0, 0]]),
        ("first-byte-of-the-next-chunk", {"op": "flip", "file": one, "at": CHUNK_BYTES}, ["altered"], [[1, 1]]),
        ("footage-short", {"op": "truncate", "file": one, "size": CHUNK_BYTES}, ["truncated"], [[1, 1]]),
        ("footage-long", {"op": "append", "file": two, "text": "x"}, ["extended"], []),
        ("footage-removed", {"op": "remove", "file": two}, ["missing"], None),
        ("footage-replaced-by-link", {"op": "replace-by-link", "file": two}, ["not_regular"], None),
        ("footage-added", {"op": "add", "file": f"data/{PLACE}/DCIM/VID00003.MP4", "text": "x"}, ["bag_file_unknown"], None),
        ("footage-swapped", {"op": "swap", "file": one, "with": two}, ["extended", "truncated"], None),
        ("empty-folder-added", {"op": "mkdir", "file": "more"}, ["bag_file_unknown"], None),
        ("leaves-flipped", {"op": "flip", "file": leaves, "at": 3}, ["bag_file_altered", "leaves_altered"], None),
        ("envelope-flipped", {"op": "flip", "file": "envelopes/3.dsse.json", "at": 40}, ["bag_file_altered", "envelope_altered", "envelope_missing", "proof_altered", "unsealed"], None),
        ("envelopes-swapped", {"op": "swap", "file": "envelopes/3.dsse.json", "with": "envelopes/4.dsse.json"}, ["bag_file_altered", "envelope_wrong", "proof_altered"], None),
        ("proof-flipped", {"op": "flip", "file": "proofs/3.tlog-proof", "at": 40}, ["bag_file_altered", "proof_altered"], None),
        ("checkpoint-flipped", {"op": "flip", "file": "checkpoint", "at": 16}, ["bag_file_altered", "checkpoint_altered", "signer_unknown"], None),
        ("finish-flipped", {"op": "flip", "file": "closing/finished.dsse.json", "at": 40}, ["finish_wrong"], None),
        ("finish-proof-flipped", {"op": "flip", "file": "closing/finished.tlog-proof", "at": 30}, ["proof_altered"], None),
        ("tag-list-flipped", {"op": "flip", "file": tags, "at": 3}, ["bag_altered", "bag_file_altered"], None),
        ("tag-list-long", {"op": "append", "file": tags, "text": "x\n"}, ["bag_altered"], None),
        ("tag-list-removed", {"op": "remove", "file": tags}, ["bag_altered"], None),
        ("sums-short", {"op": "truncate", "file": sums, "size": 9}, ["bag_file_altered", "sums_altered"], None),
        ("register-long", {"op": "append", "file": "register.csv", "text": "x"}, ["bag_file_altered"], None),
        ("page-removed", {"op": "remove", "file": "说明.html"}, ["bag_file_missing"], None),
        ("verifier-flipped", {"op": "flip", "file": "custody.pyz", "at": 0}, ["bag_file_altered"], None),
        ("manifest-flipped", {"op": "flip", "file": f"manifests/{PLACE}/manifest.jsonl", "at": 50}, ["bag_file_altered", "manifest_altered"], None),
        ("key-line-replaced", {"op": "write", "file": "untrusted-keys/log.vkey", "text": f"{OTHER_KEY.verify_key.line}\n"}, ["bag_file_altered"], None),
    ]  # fmt: skip
    cases: list[Case] = []
    for name, edit, kinds, chunks in rows:
        case: Case = {"name": name, "bundle": "bundles/good", "edit": edit, **_judged(kinds)}
        cases.append(case if chunks is None else case | {"chunks": chunks})
    return cases


def _judged(kinds: list[str]) -> Case:
    return {"key": LOG_KEY.verify_key.line, "exit": 1 if kinds else 0, "kinds": kinds}


def bundles(top: Path) -> list[Case]:
    """Write the bundles below `top`; their cases and those of the edits."""
    build_bundle(top / "bundles/good", Bundle())
    cases: list[Case] = [{"name": "good", "bundle": "bundles/good", **_judged([])}]
    for name, (spec, kinds) in FAULTS.items():
        build_bundle(top / "bundles" / name, spec)
        cases.append({"name": name, "bundle": f"bundles/{name}", **_judged(kinds)})
    return cases + edits()
