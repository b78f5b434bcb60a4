"""The OpenAPI document of ``/api/v1``: FastAPI's, with how each call fails. Pure.

Every failure is RFC 9457 (`hub/problems.py`), whatever the call, so it is stated here once and not beside each route.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

from hub.problems import BadQuery, Busy, NotAllowed, NotFound, NotOpenAnyMore, NotSignedIn, Problem, TooManyAttempts

_EVERY: tuple[type[Problem], ...] = (NotSignedIn, NotAllowed, BadQuery, Busy)
_OF_ONE_THING: tuple[type[Problem], ...] = (NotFound,)
_OF_CHANGES: tuple[type[Problem], ...] = (NotFound, NotOpenAnyMore, TooManyAttempts)
_TOO_LONG = "413"  # the server's own, before any of our code: plain text
_SCHEMA = {
    "type": "object",
    "description": "RFC 9457. `code` is stable; `title` and `detail` are in the reader's language.",
    "required": ["type", "title", "status", "detail", "code"],
    "properties": {
        "type": {"type": "string", "pattern": "^urn:custodock:problem:"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string"},
        "code": {"type": "string"},
    },
}


def with_problems(document: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of `document` in which every operation names the problems that it can answer."""
    made: dict[str, Any] = copy.deepcopy(dict(document))
    schemas = made.setdefault("components", {}).setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):  # FastAPI's own form of 422, which we never send
        schemas.pop(unused, None)
    schemas["Problem"] = _SCHEMA
    for path, operations in made["paths"].items():
        for method, operation in operations.items():
            kinds = {*_EVERY, *(_OF_ONE_THING if "{" in path else ()), *(_OF_CHANGES if method == "post" else ())}
            for kind in sorted(kinds, key=lambda kind: kind.http_status):
                operation["responses"][str(kind.http_status)] = {
                    "description": kind.title,
                    "content": {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}},
                }
            if method == "post":
                operation["responses"][_TOO_LONG] = {
                    "description": "The body is too long",
                    "content": {"text/plain": {}},
                }
    return made
