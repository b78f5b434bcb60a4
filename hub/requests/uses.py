"""What was done with approved requests, as the log states it: when, by whom, and where in the log."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Literal

from sqlalchemy import Connection

from hub.bundles.selection import export_endings, exports_in_log


@dataclass(frozen=True, slots=True)
class Used:
    """One use. `made`: it used the request up, as the one whole bundle of a copy does."""

    what: Literal["begun", "made"]
    at: datetime
    by: str
    log_index: int

    @property
    def made(self) -> bool:
        """Whether nothing more can be done with the request."""
        return self.what == "made"


def uses_by_request(connection: Connection, requests: Iterable[str]) -> dict[str, tuple[Used, ...]]:
    """The uses of these requests, in the order of the log."""
    wanted, found = set(requests), defaultdict(list)
    if not wanted:
        return {}
    whole = {ending.bundle_id for ending in export_endings(connection) if ending.complete}
    for index, export in exports_in_log(connection):
        if export.request_id in wanted and export.part == 1:
            what: Literal["begun", "made"] = "made" if export.bundle_id in whole else "begun"
            found[export.request_id].append(Used(what, export.at, export.operator, index))
    return {key: tuple(uses) for key, uses in found.items()}
