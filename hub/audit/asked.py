"""The filter of a list of log entries as it comes with a request."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Form, Query

from hub.audit.selection import EntryFilter, parse_filter


def _asked(
    event_type: Annotated[str, Query(alias="type")] = "",
    source: str = "",
    camera: str = "",
    recording: str = "",
    account: str = "",
    day_from: Annotated[str, Query(alias="from")] = "",
    day_to: Annotated[str, Query(alias="to")] = "",
) -> EntryFilter:
    """From an address. Raises BadQuery."""
    return parse_filter(event_type, source, camera, recording, account, day_from, day_to)


def _ordered(
    event_type: Annotated[str, Form(alias="type")] = "",
    source: Annotated[str, Form()] = "",
    camera: Annotated[str, Form()] = "",
    recording: Annotated[str, Form()] = "",
    account: Annotated[str, Form()] = "",
    day_from: Annotated[str, Form(alias="from")] = "",
    day_to: Annotated[str, Form(alias="to")] = "",
) -> EntryFilter:
    """From a form. Raises BadQuery."""
    return parse_filter(event_type, source, camera, recording, account, day_from, day_to)


AskedEntries = Annotated[EntryFilter, Depends(_asked)]
OrderedEntries = Annotated[EntryFilter, Depends(_ordered)]
