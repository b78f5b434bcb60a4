"""Events about requests as rows: what the hub writes when it acts, checks against its log, and writes again after a
restore. Pure. Earlier versions stated requests for exports by events of their own; here they are for a copy."""

from __future__ import annotations

import json
from typing import Any, assert_never

from custody.hubevents import CopyEnded, ExportDecided, ExportRequested, UseDecided, UseRequested, UseRevoked
from hub.times import to_text

Asked = ExportRequested | UseRequested
UseEvent = Asked | ExportDecided | UseDecided | UseRevoked | CopyEnded
GOOD_FOR_SECONDS = 7 * 86400  # an export that an earlier version approved
_SAME = ("recordings_sha256", "recordings_in_all", "bytes_in_all", "selection", "recipient", "reason", "requested_by")
_NEW = ("use", "holder", "case_number", "valid_seconds")


def row_of(event: UseEvent, received_at: str) -> dict[str, Any]:
    """The columns of `use_request` that follow from `event`; `received_at` as its log entry says."""
    match event:
        case ExportRequested() | UseRequested():
            row = {name: getattr(event, name) for name in _SAME}
            row |= {"id": event.request_id, "requested_at": received_at}
            if isinstance(event, UseRequested):
                return row | {name: getattr(event, name) for name in _NEW}
            return row | {"use": "copy", "holder": None, "case_number": "", "valid_seconds": GOOD_FOR_SECONDS}
        case ExportDecided() | UseDecided():
            decided = {
                "decided_by": event.decided_by, "decided_at": received_at, "approved": event.approved,
                "expires_at": None if event.expires_at is None else to_text(event.expires_at),
            }  # fmt: skip
            if isinstance(event, ExportDecided):
                return decided | {"refusal": "", "grants": "[]", "copy_number": None}
            more = {"refusal": event.reason, "grants": json.dumps(event.grants), "copy_number": event.copy_number}
            return decided | more
        case UseRevoked(revoked_by=by, reason=why):
            return {"revoked_by": by, "revoked_at": received_at, "revocation": why}
        case CopyEnded(how=how, note=note, noted_by=by):
            return {"copy_end": how, "copy_end_note": note, "copy_end_by": by, "copy_end_at": received_at}
        case _:
            assert_never(event)
