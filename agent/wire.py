"""JSON lines between the agent and the worker process of one camera.

The worker parses hostile media, so nothing that it says may run code here: JSON only, never pickle. Bytes of names
travel as latin-1 text (each character one byte), digests as hex.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from agent.copies import Copied, CopyItem, Failed, Gap, Known, Result
from agent.errors import AgentError, SourceError, SourceUnreadable, VaultError
from agent.source import Entry, Finding, FindingKind, SourceFacts, SourceKind, TimeBasis

LOADED = b"+"  # an inspector has loaded and waits for its request
FRAME_BYTES_MAX = 64 << 20
BATCH = 500
TEXT_MAX = 1000

Frame = dict[str, Any]
_encode = json.JSONEncoder(separators=(",", ":")).encode
_PLAIN = re.compile(rb"[ -\[\]-~]+")  # printable ASCII without the backslash


def encode_frame(frame: Frame) -> bytes:
    """One line of ASCII JSON."""
    return _encode(frame).encode() + b"\n"


def decode_frame(line: bytes) -> Frame:
    """Raises SourceUnreadable for a line that is no frame: the worker is out of order, and so is its camera."""
    try:
        frame = json.loads(line)
    except (ValueError, RecursionError):
        frame = None
    if not isinstance(frame, dict) or not isinstance(frame.get("t"), str):
        raise nonsense()
    return frame


def seconds_from_json(frame: Frame) -> float:
    """How long the card has kept a read waiting. Raises SourceUnreadable for an "alive" that tells no number."""
    seconds = frame.get("waiting_seconds")
    if isinstance(seconds, bool) or not isinstance(seconds, int | float):
        raise nonsense()
    return float(seconds)


def nonsense() -> SourceUnreadable:
    """The worker said what it never may."""
    return SourceUnreadable(
        "The process that reads this camera answered nonsense and was stopped. Files already reported are safe. "
        "Dock the camera again; if it happens again, keep the card and call support.",
        "读取该记录仪的进程应答异常，已被停止。已报告的文件均安全。请重新接入；若再次发生，请保留存储卡并联系技术支持。",
    )


def path_to_text(path: Sequence[bytes]) -> str:
    """A path's components as one canonical line of JSON: the form that the store keeps and keys."""
    joined = b'","'.join(path)
    if _PLAIN.fullmatch(joined) and joined.count(b'"') == 2 * (len(path) - 1):  # nearly every path: the same text
        return f'["{joined.decode()}"]'
    return json.dumps([c.decode("latin-1") for c in path], separators=(",", ":"))


def path_from_text(text: str) -> tuple[bytes, ...]:
    """The components behind `path_to_text`."""
    if len(text) > 3 and text[:2] == '["' and text[-2:] == '"]' and "\\" not in text:
        return tuple(text[2:-2].encode("latin-1").split(b'","'))
    return tuple(c.encode("latin-1") for c in json.loads(text))


def facts_to_json(facts: SourceFacts) -> dict[str, object]:
    """SourceFacts as plain values."""
    return {
        "kind": facts.kind.value,
        "file_systems": list(facts.file_systems),
        "labels": [_clean(x) for x in facts.labels],
        "volume_ids": [_clean(x) for x in facts.volume_ids],
        "size_bytes": facts.size_bytes,
        "time_basis": facts.time_basis.value,
    }


def facts_from_json(body: Frame) -> SourceFacts:
    """SourceFacts from `facts_to_json`."""
    return SourceFacts(
        SourceKind(body["kind"]),
        tuple(body["file_systems"]),
        tuple(body["labels"]),
        tuple(body["volume_ids"]),
        body["size_bytes"],
        TimeBasis(body["time_basis"]),
    )


def entry_to_json(entry: Entry) -> list[Any]:
    """Entry as plain values."""
    return [path_to_text(entry.path), entry.size_bytes, entry.modified_ns, entry.handle]


def entry_from_json(body: list[Any]) -> Entry:
    """Entry from `entry_to_json`."""
    path, size_bytes, modified_ns, handle = body
    return Entry(path_from_text(path), size_bytes, modified_ns, handle)


def finding_to_json(finding: Finding) -> list[Any]:
    """Finding as plain values."""
    return [
        finding.kind.value,
        path_to_text(finding.path),
        _clean(finding.detail),
        finding.offset_bytes,
        finding.length_bytes,
    ]


def finding_from_json(body: list[Any]) -> Finding:
    """Finding from `finding_to_json`."""
    kind, path, detail, offset, length = body
    return Finding(FindingKind(kind), path_from_text(path), detail, offset, length)


def item_to_json(item: CopyItem) -> list[Any]:
    """CopyItem as plain values."""
    leaves, leaf = item.leaves_target, item.known_leaf
    return [
        item.n,
        entry_to_json(item.entry),
        item.key,
        item.target.decode("latin-1"),
        None if leaves is None else leaves.decode("latin-1"),
        None if leaf is None else leaf.hex(),
    ]


def item_from_json(body: list[Any]) -> CopyItem:
    """CopyItem from `item_to_json`."""
    n, entry, key, target, leaves, leaf = body
    return CopyItem(
        n,
        entry_from_json(entry),
        key,
        target.encode("latin-1"),
        None if leaves is None else leaves.encode("latin-1"),
        None if leaf is None else bytes.fromhex(leaf),
    )


def result_to_json(result: Result) -> list[Any]:
    """What became of one item, as plain values."""
    match result:
        case Known(n=n):
            return ["known", n]
        case Failed():
            return ["failed", result.n, result.code, _clean(result.detail)]
        case Copied():
            return [
                "copied",
                result.n,
                result.size_bytes,
                result.sha256.hex(),
                result.tree_root.hex(),
                result.first_leaf.hex(),
                result.chunk_count,
                [[g.offset_bytes, g.length_bytes] for g in result.gaps],
                result.changed,
                result.copied_bytes,
                result.resumed_at_bytes,
            ]


def result_from_json(body: list[Any]) -> Result:
    """Result from `result_to_json`."""
    kind, n, *rest = body
    if kind == "known":
        return Known(n)
    if kind == "failed":
        code, detail = rest
        return Failed(n, code[:TEXT_MAX], detail[:TEXT_MAX])
    size, sha256, root, leaf, chunks, gaps, changed, copied, resumed = rest
    return Copied(
        n,
        size,
        bytes.fromhex(sha256),
        bytes.fromhex(root),
        bytes.fromhex(leaf),
        chunks,
        tuple(Gap(o, length) for o, length in gaps),
        changed,
        copied,
        resumed,
    )


def error_to_json(error: AgentError) -> Frame:
    """An error frame."""
    return {"t": "error", "code": error.code, "en": error.en, "zh": error.zh}


def error_from_json(frame: Frame) -> AgentError:
    """The worker's error as the same class here, with the worker's words."""
    classes: list[type[AgentError]] = [SourceError, VaultError]  # all that a worker may say; it has no key and no store
    while classes:
        cls = classes.pop()
        if "code" in cls.__dict__ and cls.code == frame.get("code"):
            error = cls.__new__(cls)
            AgentError.__init__(error, str(frame.get("en")), str(frame.get("zh")))
            return error
        classes.extend(cls.__subclasses__())
    return SourceUnreadable(str(frame.get("en")), str(frame.get("zh")))


def _clean(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()
