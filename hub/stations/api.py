"""``POST /api/v1/envelopes``: the same envelopes as over MQTT, for places where MQTT is closed.

Nobody signs in here: each envelope is authentic by its own signature or it is refused.
"""

from __future__ import annotations

import base64
import binascii
import json
from typing import Any

from fastapi import APIRouter, Request
from starlette.concurrency import run_in_threadpool
from starlette.responses import JSONResponse

from custody.commitments import MAX_OPENING_BYTES
from custody.envelope import MAX_ENVELOPE_BYTES
from hub.errors import Invalid
from hub.intake import MAX_BATCH, Intake
from hub.opening import HTTP_TOPIC, Message, received

MAX_BODY_BYTES = 8 * 1024 * 1024
_MAX_BYTES = MAX_ENVELOPE_BYTES + 1 + MAX_OPENING_BYTES
_MAX_BASE64 = -(-_MAX_BYTES // 3) * 4

_TEXTS = {"type": "array", "items": {"type": "string", "format": "byte"}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/json": {"schema": {"type": "object", "properties": {"answers": _TEXTS}}}}}
}
_BODY = {"required": True, "content": {"application/json": {"schema": _TEXTS | {"minItems": 1, "maxItems": MAX_BATCH}}}}
router = APIRouter(prefix="/api/v1", tags=["stations"])


@router.post("/envelopes", max_body_size=MAX_BODY_BYTES, responses=_ANSWERS, openapi_extra={"requestBody": _BODY})
async def post_envelopes(request: Request) -> JSONResponse:
    """Take in up to 500 envelopes: a JSON list, or one JSON string per line (NDJSON), each base64, with its
    opening behind it where it has one (commitments.md).

    Answers ``{"answers": [base64, …]}``: signed receipts and resend requests, exactly as on the receipts topic; an
    envelope that no answer names was not taken in. Needs ``app.state.intake``.
    """
    messages = _messages(await request.body())
    intake: Intake = request.app.state.intake
    answers = await run_in_threadpool(intake.take, messages)
    return JSONResponse({"answers": [base64.b64encode(answer.raw).decode() for answer in answers]})


def _messages(body: bytes) -> list[Message]:
    try:
        if body.lstrip()[:1] == b"[":
            items: Any = json.loads(body)
        else:
            items = [json.loads(line) for line in body.splitlines() if line.strip()]
    except (ValueError, RecursionError):
        raise Invalid("a JSON list, or one JSON string per line, is expected") from None
    if not items or len(items) > MAX_BATCH:
        raise Invalid(f"1 to {MAX_BATCH} envelopes are expected, not {len(items)}")
    return [received(HTTP_TOPIC, _envelope(item), None) for item in items]


def _envelope(item: Any) -> bytes:
    if not isinstance(item, str) or len(item) > _MAX_BASE64:
        raise Invalid(f"each envelope is base64 text of at most {_MAX_BYTES} bytes")
    try:
        return base64.b64decode(item, validate=True)
    except (binascii.Error, ValueError):
        raise Invalid("each envelope is base64 text") from None
