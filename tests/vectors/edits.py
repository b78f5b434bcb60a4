"""The edits of dockings/good that a verifier must find, as data for any language."""
# ruff: noqa: E501  - a table reads best in rows

from __future__ import annotations

from custody.digest import CHUNK_BYTES
from tests.vectors.dockings import OTHER_KEY

Case = dict[str, object]


def edits(key: str) -> list[Case]:
    """Edits of dockings/good: op, file and arguments; `chunks` where the finding must name them."""
    one, two, leaves = "DCIM/VID00001.MP4", "DCIM/VID00002.MP4", ".custody/leaves/DCIM/VID00001.MP4.leaves"
    rows: list[tuple[str, dict[str, object], list[str], list[list[int]] | None]] = [
        ("first-byte", {"op": "flip", "file": one, "at": 0}, ["altered"], [[0, 0]]),
        ("last-byte-of-a-chunk", {"op": "flip", "file": one, "at": CHUNK_BYTES - 1}, ["altered"], [[0, 0]]),
        ("first-byte-of-the-next-chunk", {"op": "flip", "file": one, "at": CHUNK_BYTES}, ["altered"], [[1, 1]]),
        ("last-byte", {"op": "flip", "file": one, "at": 2 * CHUNK_BYTES}, ["altered"], [[2, 2]]),
        ("short-file", {"op": "flip", "file": two, "at": 499}, ["altered"], [[0, 0]]),
        ("truncated-by-one", {"op": "truncate", "file": one, "size": 2 * CHUNK_BYTES}, ["truncated"], [[2, 2]]),
        ("truncated-in-a-chunk", {"op": "truncate", "file": one, "size": CHUNK_BYTES + 9}, ["truncated"], [[1, 2]]),
        ("truncated-to-nothing", {"op": "truncate", "file": one, "size": 0}, ["truncated"], [[0, 2]]),
        ("extended", {"op": "append", "file": one, "text": "x"}, ["extended"], []),
        ("empty-file-extended", {"op": "append", "file": "empty.log", "text": "x"}, ["extended"], []),
        ("file-removed", {"op": "remove", "file": two}, ["missing"], None),
        ("empty-file-removed", {"op": "remove", "file": "empty.log"}, ["missing"], None),
        ("file-added", {"op": "add", "file": "DCIM/VID00003.MP4", "text": "x"}, ["added"], None),
        ("file-added-in-custody", {"op": "add", "file": ".custody/notes.txt", "text": "x"}, ["added"], None),
        ("empty-folder-added", {"op": "mkdir", "file": "DCIM/101MEDIA"}, ["added"], None),
        ("link-added", {"op": "symlink", "file": "link", "to": "empty.log"}, ["added"], None),
        ("file-replaced-by-link", {"op": "replace-by-link", "file": two}, ["not_regular"], None),
        ("files-swapped", {"op": "swap", "file": one, "with": two}, ["extended", "truncated"], None),
        ("leaves-flipped", {"op": "flip", "file": leaves, "at": 33}, ["leaves_altered"], None),
        ("leaves-short", {"op": "truncate", "file": leaves, "size": 64}, ["leaves_altered"], None),
        ("leaves-long", {"op": "append", "file": leaves, "text": "x" * 32}, ["leaves_altered"], None),
        ("leaves-removed", {"op": "remove", "file": leaves}, ["leaves_missing"], None),
        ("sums-flipped", {"op": "flip", "file": "SHA256SUMS", "at": 3}, ["sums_altered"], None),
        ("sums-line-added", {"op": "append", "file": "SHA256SUMS", "text": "0" * 64 + "  x\n"}, ["sums_altered"], None),
        ("sums-short", {"op": "truncate", "file": "SHA256SUMS", "size": 10}, ["sums_altered"], None),
        ("sums-removed", {"op": "remove", "file": "SHA256SUMS"}, ["sums_missing"], None),
        ("manifest-flipped-in-header", {"op": "flip", "file": ".custody/manifest.jsonl", "at": 70}, ["manifest_altered"], None),
        ("manifest-short", {"op": "truncate", "file": ".custody/manifest.jsonl", "size": 90}, ["manifest_altered", "unsealed"], None),
        ("manifest-removed", {"op": "remove", "file": ".custody/manifest.jsonl"}, ["manifest_missing", "unsealed"], None),
        ("closing-flipped", {"op": "flip", "file": ".custody/completed.dsse.json", "at": 40}, ["closing_altered"], None),
        ("closing-removed", {"op": "remove", "file": ".custody/completed.dsse.json"}, ["closing_missing"], None),
        ("key-line-flipped", {"op": "flip", "file": ".custody/station.vkey", "at": 12}, ["key_file_altered"], None),
        ("key-line-newline-changed", {"op": "flip", "file": ".custody/station.vkey", "at": -1}, ["key_file_altered"], None),
        ("key-line-removed", {"op": "remove", "file": ".custody/station.vkey"}, ["key_file_missing"], None),
        ("key-line-replaced", {"op": "write", "file": ".custody/station.vkey", "text": f"{OTHER_KEY.verify_key.line}\n"}, ["key_file_other"], None),
    ]  # fmt: skip
    cases: list[Case] = []
    for name, edit, kinds, chunks in rows:
        case: Case = {"name": name, "docking": "dockings/good", "edit": edit, "key": key, "exit": 1, "kinds": kinds}
        cases.append(case if chunks is None else case | {"chunks": chunks})
    return cases
