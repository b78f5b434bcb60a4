"""What `dock-hub export` asks of a request: the order that was approved, and that it still stands."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select

from hub.bundles.selection import export_endings, exports_in_log
from hub.bundles.work import Order
from hub.errors import Conflict, NotFound
from hub.requests.digest import recordings_sha256
from hub.requests.queries import now_by_log, recordings_of
from hub.tables import use_request
from hub.times import from_text


@dataclass(frozen=True, slots=True)
class Approved:
    """An approved request, as the export names it."""

    request_id: str
    requested_by: str
    approved_by: str


class ApprovalRevoked(Conflict):
    """The approval of an export was revoked."""

    code = "approval_revoked"


def approved_order(connection: Connection, request_id: str, operator: str) -> Order:
    """The order of a request, to be carried out by `operator`. Raises NotFound, Conflict when its list was lost."""
    row = connection.execute(select(use_request).where(use_request.c.id == request_id)).one_or_none()
    if row is None or row.use == "view":
        raise NotFound(f"没有编号为 {request_id} 的导出申请。 / there is no export request {request_id}.")
    recordings = recordings_of(connection, request_id)
    if not recordings:
        raise Conflict(
            "该申请由旧版本提出，其录像清单已随恢复丢失，请重新申请。 / "
            "this request is of an earlier version and a restore lost its list; ask for the export again."
        )
    return Order(recordings, row.selection, row.recipient, row.reason, operator, request_id)


def check_approved(connection: Connection, order: Order, bundle_id: str, now: datetime) -> Approved:
    """Raise Conflict unless another person approved exactly this order, not longer ago than it is good for, and no
    bundle was made of it. Held within the transaction that states the export, nothing can come between."""
    row = connection.execute(select(use_request).where(use_request.c.id == order.request_id)).one_or_none()
    if row is None or row.decided_at is None:
        raise Conflict(
            "该导出尚未由另一人批准，未导出任何内容。 / "
            "this export was not approved by another person yet; nothing was exported."
        )
    if not row.approved:
        raise Conflict("该导出申请已被驳回或撤回。 / this export was refused or withdrawn; nothing was exported.")
    check_not_revoked(connection, order.request_id)
    asked = (row.recordings_sha256, row.selection, row.recipient, row.reason)
    if row.use == "view" or asked != (
        recordings_sha256(order.recordings), order.selection, order.recipient, order.reason,
    ):  # fmt: skip
        raise Conflict("导出内容与批准的不一致。 / this is not what was approved; nothing was exported.")
    expires_at = from_text(row.expires_at)
    if expires_at is None or now_by_log(connection, now) >= expires_at:
        raise Conflict("批准已过期，请重新申请。 / the approval has expired; ask for the export again.")
    whole = {ending.bundle_id for ending in export_endings(connection) if ending.complete}
    made = [export.bundle_id for _, export in exports_in_log(connection) if export.request_id == order.request_id]
    if any(one in whole and one != bundle_id for one in made):
        raise Conflict("该批准已使用过，请重新申请。 / this approval was used already; ask for the export again.")
    return Approved(row.id, row.requested_by, row.decided_by)


def check_not_revoked(connection: Connection, request_id: str) -> None:
    """Raise ApprovalRevoked where this request's approval was revoked, also while its bundle was being made."""
    c = use_request.c
    query = select(c.id).where(c.id == request_id, c.revoked_at.is_not(None))
    if connection.execute(query).first() is not None:
        raise ApprovalRevoked(
            "该批准已被撤销，导出已停止；已复制的内容请删除。 / "
            "this approval was revoked and the export has stopped; delete what was copied."
        )
