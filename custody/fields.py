"""JSON of frozen dataclasses, both ways and strictly: what events and manifests are made of.

A field's type is its format. Reading refuses missing fields and wrong types and ignores unknown fields; everything
that goes wrong is a `FormatError` that names the field.
"""

from __future__ import annotations

import json
import re
import types
from collections.abc import Callable, Hashable
from dataclasses import MISSING, fields
from datetime import UTC, datetime
from functools import cache
from typing import Any, Literal, NewType, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from custody.errors import FormatError

Sha256Hex = NewType("Sha256Hex", str)
MAX_TEXT = 32_768
T_ = TypeVar("T_")
Reader = Callable[[Any, str], Any]
Writer = Callable[[Any, str], Any]
_encode = json.JSONEncoder(ensure_ascii=False, separators=(",", ":")).encode
_SHA256 = re.compile(r"[0-9a-f]{64}")
_TIME = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,6})?(Z|[+-][0-9]{2}:[0-9]{2})")


def load_object(raw: bytes) -> dict[str, Any]:
    """One JSON object in UTF-8 whose objects name no field twice. Raises FormatError."""
    try:
        body = _DECODER.decode(raw.decode())
    except (ValueError, RecursionError):
        raise FormatError("not JSON in UTF-8") from None
    if not isinstance(body, dict):
        raise FormatError("not a JSON object")
    return body


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    body = dict(pairs)
    if len(body) != len(pairs):  # two readers could take different ones
        raise FormatError("a JSON object names a field twice")
    return body


_DECODER = json.JSONDecoder(object_pairs_hook=_unique)  # made once: json.loads would make one per call


def dump_json(value: object) -> bytes:
    """`value` as JSON on one line. Raises FormatError for text that is not Unicode."""
    try:
        return _encode(value).encode()
    except UnicodeEncodeError:
        raise FormatError("text with lone surrogates") from None


def write_fields(value: object) -> dict[str, Any]:
    """A dataclass as the JSON object that `read_fields` takes back. Raises FormatError for a value it would refuse."""
    return {name: writer(getattr(value, name), name) for name, writer in _writers(cast(Hashable, type(value)))}


def read_fields(cls: type[T_], body: Any, where: str) -> T_:
    """A `cls` from a JSON object. Raises FormatError."""
    if not isinstance(body, dict):
        raise FormatError(f"{where}: not an object")
    values = {}
    for name, reader, plain_text, required in _readers(cast(Hashable, cls)):
        if name in body:
            value = body[name]
            if not (plain_text and type(value) is str and len(value) <= MAX_TEXT and value.isascii()):
                value = reader(value, name)  # ASCII text is met most: without this short way it takes twice as long
            values[name] = value
        elif required:
            raise FormatError(f"{where}: {name} is missing")
    return cls(**values)


@cache
def _readers(cls: Any) -> tuple[tuple[str, Reader, bool, bool], ...]:
    """Name, reader, whether any text of a reasonable length is right, whether it must be there."""
    hints = get_type_hints(cls)
    return tuple(
        (f.name, _reader(hints[f.name]), hints[f.name] in (str, str | None), f.default is MISSING) for f in fields(cls)
    )


@cache
def _writers(cls: Any) -> tuple[tuple[str, Writer], ...]:
    hints = get_type_hints(cls)
    return tuple((f.name, _writer(hints[f.name])) for f in fields(cls))  # without class variables


def _reader(hint: Any) -> Reader:
    """The function that checks one JSON value against a field's type."""
    if hint is datetime:
        return _check_datetime
    return _checker(hint, _reader, tuple, lambda value, where: read_fields(cast(type, hint), value, where))


def _writer(hint: Any) -> Writer:
    """The function that checks one value against its field's type and gives it as JSON holds it."""
    if hint is datetime:
        return _write_datetime

    def write_object(value: Any, where: str) -> Any:
        if type(value) is not hint:
            raise FormatError(f"{where}: {hint.__name__} expected")
        return write_fields(value)

    return _checker(hint, _writer, list, write_object)


def _checker(hint: Any, inside: Callable[[Any], Reader], sequence: type, of_object: Reader) -> Reader:
    """What reading and writing share: the simple types, and types made of others."""
    simple: dict[Any, Reader] = {str: _check_str, int: _check_int, bool: _check_bool, Sha256Hex: _check_sha256}
    if hint in simple:
        return simple[hint]
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        inner = inside(next(a for a in args if a is not type(None)))
        return lambda value, where: None if value is None else inner(value, where)
    if origin is Literal:
        return lambda value, where: _check_literal(value, where, args)
    if origin is tuple:
        item = inside(args[0])
        return lambda value, where: sequence(item(v, where) for v in _check_list(value, where))
    return of_object


def _check_str(value: Any, where: str) -> str:
    if not isinstance(value, str) or len(value) > MAX_TEXT:
        raise FormatError(f"{where}: text expected")
    if not value.isascii():
        try:
            value.encode()
        except UnicodeEncodeError:
            raise FormatError(f"{where}: text with lone surrogates") from None
    return value


def _check_int(value: Any, where: str) -> int:
    if type(value) is not int or not 0 <= value < 1 << 53:
        raise FormatError(f"{where}: a whole number from 0 below 2^53 expected")
    return value


def _check_bool(value: Any, where: str) -> bool:
    if not isinstance(value, bool):
        raise FormatError(f"{where}: true or false expected")
    return value


def _check_datetime(value: Any, where: str) -> datetime:
    if not isinstance(value, str) or not _TIME.fullmatch(value):
        raise FormatError(f"{where}: a time with date and zone expected")
    try:
        return datetime.fromisoformat(value).astimezone(UTC)
    except (ValueError, OverflowError):  # 30 February; 0001-01-01 east of Greenwich
        raise FormatError(f"{where}: no such time") from None


def _write_datetime(value: Any, where: str) -> str:
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise FormatError(f"{where}: an aware time expected")
    return value.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _check_sha256(value: Any, where: str) -> str:
    if not isinstance(value, str) or not _SHA256.fullmatch(value):
        raise FormatError(f"{where}: not a SHA-256 in lower-case hex")
    return value


def _check_literal(value: Any, where: str, allowed: tuple[Any, ...]) -> Any:
    if not isinstance(value, str) or value not in allowed:
        raise FormatError(f"{where}: one of {', '.join(allowed)} expected")
    return value


def _check_list(value: Any, where: str) -> list[Any] | tuple[Any, ...]:
    if not isinstance(value, list | tuple):
        raise FormatError(f"{where}: a list expected")
    return value
