"""That another person approved what a bundle holds: its request and its approval out of the log. Pure.

Bundles of hubs before use.requested.v1 hold neither; then their statement of the export alone names both people.
"""

from __future__ import annotations

from collections.abc import Sequence

from custody.hubevents import BundleExported, UseDecided, UseRequested


class BundleApproval:
    """The hub's statements about the request that one bundle carries out, in the order of the log."""

    def __init__(self) -> None:
        """None yet."""
        self._requested: list[UseRequested] = []
        self._decided: list[UseDecided] = []

    def take(self, event: UseRequested | UseDecided) -> None:
        """One of them, proved to be in the log."""
        if isinstance(event, UseRequested):
            self._requested.append(event)
        else:
            self._decided.append(event)

    @property
    def copy_number(self) -> int | None:
        """The number of this copy; None without an approval. Believe it once there is no fault."""
        return self._decided[0].copy_number if self._decided else None

    def fault(self, exports: Sequence[BundleExported]) -> str | None:
        """Why request and approval are not those of this export, all parts of which are given; None when they are."""
        asked, decided, export = self._requested, self._decided, exports[0]
        if not asked and not decided:
            return None
        if len(decided) != 1 or not asked or [e.part for e in asked] != list(range(1, asked[0].parts + 1)):
            return "its request or approval is not whole"
        if {*(e.request_id for e in asked), decided[0].request_id} != {export.request_id}:
            return "its approval is of another request"
        if not decided[0].approved or decided[0].decided_by in {e.requested_by for e in asked}:
            return "no second person approved it"
        stated = (export.requested_by, export.approved_by, export.recipient, export.reason)
        if any((e.requested_by, decided[0].decided_by, e.recipient, e.reason) != stated for e in asked):
            return "its approval is of something else"
        if [i for e in asked for i in e.recordings] != [i for e in exports for i in e.recordings]:
            return "its approval is of other recordings"
        return None
