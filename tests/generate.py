"""Generates what is said elsewhere about events and topics: ``python -m tests.generate [--check]``.

From the events of custody and custody/topics.py come custody/spec/events.md, custody/spec/schemas/*.json and
custody/spec/asyncapi.json; from hub/alerts/kinds.py the tables in deploy/docs/alerts.md and its Chinese twin. With
--check nothing is written; the exit code says whether the committed files are fresh.
"""

from __future__ import annotations

import inspect
import json
import re
import sys
import types
from dataclasses import MISSING, fields, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from custody import events
from custody.envelope import EVENT_TYPE, MAX_ENVELOPE_BYTES, STATEMENT_TYPE
from custody.event import Event
from custody.events import EVENTS, PREDICATE_PREFIX, STATEMENT
from custody.fields import MAX_TEXT, Sha256Hex
from custody.stationevents import SegmentSealed
from custody.topics import ROOT, TOPICS, Topic
from tests import alertdocs

SPEC = Path(events.__file__).parent / "spec"
DIALECT = "https://json-schema.org/draft/2020-12/schema"
_COMMENT = re.compile(r"^    (\w+): [^#\n]*#\s*(.+)$", re.MULTILINE)


def generated() -> dict[str, bytes]:
    """Every generated file by its path below custody/spec."""
    files = {"events.md": _events_page().encode(), "asyncapi.json": _json(_asyncapi())}
    for kind, cls in EVENTS.items():
        files[f"schemas/{kind}.json"] = _json(_event_schema(cls))
    files["schemas/envelope.json"] = _json(_envelope_schema())
    return files


def _json(value: object) -> bytes:
    return json.dumps(value, indent=1, ensure_ascii=False).encode() + b"\n"


# --- What a dataclass says of itself ---------------------------------------------------------------------------------


def _comments(cls: type) -> dict[str, str]:
    """The comment beside each field, of the class and the one it extends."""
    found: dict[str, str] = {}
    for owner in reversed([c for c in cls.__mro__ if is_dataclass(c)]):
        found |= dict(_COMMENT.findall(inspect.getsource(owner)))
    return found


def _rows(cls: type) -> list[tuple[str, Any, bool, str]]:
    """Name, type, whether required, and meaning of each field."""
    hints, comments = get_type_hints(cls), _comments(cls)
    return [(f.name, hints[f.name], f.default is MISSING, comments.get(f.name, "")) for f in fields(cls)]


def _optional(hint: Any) -> Any:
    """The type inside an optional; None for a type that is not."""
    if get_origin(hint) in (Union, types.UnionType):
        return next(a for a in get_args(hint) if a is not type(None))
    return None


def _schema(hint: Any) -> dict[str, object]:
    simple: dict[Any, dict[str, object]] = {
        str: {"type": "string", "maxLength": MAX_TEXT},
        int: {"type": "integer", "minimum": 0, "maximum": 2**53 - 1},
        bool: {"type": "boolean"},
        datetime: {"type": "string", "format": "date-time"},
        Sha256Hex: {"type": "string", "pattern": "^[0-9a-f]{64}$"},
    }
    if hint in simple:
        return simple[hint]
    if inner := _optional(hint):
        return {"anyOf": [_schema(inner), {"type": "null"}]}
    if get_origin(hint) is Literal:
        return {"type": "string", "enum": list(get_args(hint))}
    if get_origin(hint) is tuple:
        return {"type": "array", "items": _schema(get_args(hint)[0])}
    return _object_schema(hint)


def _object_schema(cls: type, left_out: frozenset[str] = frozenset()) -> dict[str, object]:
    rows = [row for row in _rows(cls) if row[0] not in left_out]
    return {
        "type": "object",
        "properties": {name: _schema(hint) | ({"description": why} if why else {}) for name, hint, _, why in rows},
        "required": [name for name, _, required, _ in rows if required],
    }


def _event_schema(cls: type[Event]) -> dict[str, object]:
    body = _object_schema(cls, frozenset({"vault_path", "sha256"} if cls is SegmentSealed else ()))
    body["properties"] = {"type": {"const": cls.TYPE}} | body["properties"]  # type: ignore[operator]
    body["required"] = ["type", *body["required"]]  # type: ignore[misc]
    head = {"$schema": DIALECT, "$id": f"{PREDICATE_PREFIX}{cls.TYPE}", "title": cls.TYPE, "description": cls.__doc__}
    if cls is not SegmentSealed:
        return head | body
    sha256 = {"type": "object", "properties": {"sha256": _schema(Sha256Hex)}, "required": ["sha256"]}
    subject = {"type": "object", "properties": {"name": _schema(str), "digest": sha256}, "required": ["name", "digest"]}
    statement = {
        "_type": {"const": STATEMENT},
        "subject": {"type": "array", "minItems": 1, "maxItems": 1, "items": subject},
        "predicateType": {"const": PREDICATE_PREFIX + cls.TYPE},
        "predicate": body,
    }
    return head | {"type": "object", "properties": statement, "required": list(statement)}


def _envelope_schema() -> dict[str, object]:
    signature = {
        "type": "object",
        "properties": {"keyid": {"type": "string"}, "sig": {"type": "string", "pattern": "^[A-Za-z0-9+/]{86}==$"}},
        "required": ["keyid", "sig"],
        "additionalProperties": False,
    }
    return {
        "$schema": DIALECT,
        "$id": "urn:custodock:envelope",
        "title": "DSSE envelope",
        "description": f"See envelope.md; at most {MAX_ENVELOPE_BYTES} bytes, in exactly one byte form.",
        "type": "object",
        "properties": {
            "payload": {"type": "string", "contentEncoding": "base64", "contentMediaType": "application/json"},
            "payloadType": {"type": "string"},
            "signatures": {"type": "array", "minItems": 1, "maxItems": 1, "items": signature},
        },
        "required": ["payload", "payloadType", "signatures"],
        "additionalProperties": False,
    }


# --- The reference page ----------------------------------------------------------------------------------------------


def _events_page() -> str:
    parts = [
        "<!-- Generated by tests/generate.py from stationevents.py and hubevents.py. Do not edit. -->\n# Events\n",
        "An event is the JSON payload of an [envelope](envelope.md), UTF-8, no object naming a field twice. Unknown "
        "fields are ignored and kept; a missing field or a wrong type makes the event invalid; a published version "
        "never changes. Whole numbers lie from 0 below 2^53; times are RFC 3339 with zone. JSON Schemas: `schemas/`; "
        "vectors: `tests/vectors/envelopes`.\n",
        "## Fields of every event\n",
        _table(_rows(Event)),
    ]
    common = {f.name for f in fields(Event)}
    for kind, cls in EVENTS.items():
        parts += [f"## {kind}\n", f"{inspect.cleandoc(cls.__doc__ or '')}\n", f"Payload type `{_payload_type(cls)}`.\n"]
        parts.append(_table([row for row in _rows(cls) if row[0] not in common]))
    for cls in _parts():
        parts += [f"## {cls.__name__}\n", f"{inspect.cleandoc(cls.__doc__ or '')}\n", _table(_rows(cls))]
    return "\n".join(parts)


def _payload_type(cls: type[Event]) -> str:
    return STATEMENT_TYPE if cls is SegmentSealed else EVENT_TYPE


def _parts() -> list[type]:
    """The dataclasses that fields of events hold, in the order in which they are met."""
    met: list[type] = []
    for cls in EVENTS.values():
        for _, hint, _, _ in _rows(cls):
            inner = _optional(hint) or hint
            inner = get_args(inner)[0] if get_origin(inner) is tuple else inner
            if is_dataclass(inner) and inner not in met:
                met.append(inner)  # type: ignore[arg-type]
    return met


def _table(rows: list[tuple[str, Any, bool, str]]) -> str:
    lines = ["| field | type | meaning |", "|---|---|---|"]
    for name, hint, required, why in rows:
        word = _word(hint) + ("" if required else ", may be left out")
        lines.append(f"| `{name}` | {word} | {why.replace('|', '&#124;')} |")
    return "\n".join(lines) + "\n"


def _word(hint: Any) -> str:
    words = {str: "text", int: "whole number", bool: "true or false", datetime: "time", Sha256Hex: "SHA-256, hex"}
    if hint in words:
        return words[hint]
    if inner := _optional(hint):
        return f"{_word(inner)}, or null"
    if get_origin(hint) is Literal:
        return " or ".join(f"`{value}`" for value in get_args(hint))
    if get_origin(hint) is tuple:
        return f"list of {_word(get_args(hint)[0])}"
    return f"[{hint.__name__}](#{hint.__name__.lower()})"


# --- AsyncAPI --------------------------------------------------------------------------------------------------------


def _asyncapi() -> dict[str, object]:
    names = {topic: _channel_name(topic) for topic in TOPICS}
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Custodock over MQTT 5",
            "version": "1",
            "description": "Topics of stations and hub. Operations are told from the writer's side.",
        },
        "defaultContentType": "application/json",
        "channels": {names[topic]: _channel(topic) for topic in TOPICS},
        "operations": {f"{topic.writer}_sends_{names[topic]}": _operation(topic, names[topic]) for topic in TOPICS},
        "components": {"schemas": {"envelope": _envelope_schema()}},
    }


def _channel_name(topic: Topic) -> str:
    return "_".join(level for level in topic.pattern.removeprefix(f"{ROOT}/").split("/") if not level.startswith("{"))


def _channel(topic: Topic) -> dict[str, object]:
    message: dict[str, object] = {"summary": topic.payload}
    if topic.pattern.endswith(("/events", "/receipts", "/commands")):
        message["payload"] = {"$ref": "#/components/schemas/envelope"}
    if topic.pattern.endswith("/events"):
        message["x-payload-schemas"] = [f"schemas/{kind}.json" for kind in EVENTS]
    return {
        "address": topic.pattern,
        "parameters": {name: {} for name in re.findall(r"\{(\w+)\}", topic.pattern)},
        "messages": {"message": message},
        "x-readers": list(topic.readers),
    }


def _operation(topic: Topic, name: str) -> dict[str, object]:
    return {
        "action": "send",
        "channel": {"$ref": f"#/channels/{name}"},
        "bindings": {"mqtt": {"qos": topic.qos, "retain": topic.retained, "bindingVersion": "0.2.0"}},
    }


def main(argv: list[str]) -> int:
    """Write the files, or with --check return 1 and name those that are stale."""
    made = generated()
    present = {f"schemas/{p.name}" for p in (SPEC / "schemas").glob("*.json")} | {"events.md", "asyncapi.json"}
    stale = sorted(n for n in present | set(made) if not (SPEC / n).is_file() or (SPEC / n).read_bytes() != made.get(n))
    pages = {path: text for path, text in alertdocs.pages().items() if path.read_text(encoding="utf-8") != text}
    if argv == ["--check"]:
        for path in pages:
            print(f"stale: {path.name} (run python -m tests.generate)", file=sys.stderr)
        for name in stale:
            print(f"stale: custody/spec/{name} (run python -m tests.generate)", file=sys.stderr)
        return int(bool(stale or pages))
    for path, text in pages.items():
        path.write_text(text, encoding="utf-8")
    for name in stale:
        if name in made:
            (SPEC / name).parent.mkdir(parents=True, exist_ok=True)
            (SPEC / name).write_bytes(made[name])
        else:
            (SPEC / name).unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
