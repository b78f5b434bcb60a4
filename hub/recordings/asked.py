"""The filter that a form or a call asks for: one definition of the parameters for pages and API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Form, Query

from hub.recordings.filters import RecordingFilter, parse_filter


def _asked_filter(
    camera: Annotated[str, Query(description="camera id")] = "",
    station: Annotated[str, Query(description="station id")] = "",
    docking: Annotated[str, Query(description="docking id")] = "",
    day_from: Annotated[str, Query(alias="from", description="first day of recording, YYYY-MM-DD")] = "",
    day_to: Annotated[str, Query(alias="to", description="last day of recording, YYYY-MM-DD")] = "",
    label: Annotated[str, Query(description="what is not well, or any")] = "",
    text: Annotated[str, Query(alias="q", description="words in file names and folders")] = "",
    officer: Annotated[str, Query(description="number of the officer who carried the camera")] = "",
    kind: Annotated[str, Query(description="kind of work by Art. 4")] = "",
    about: Annotated[str, Query(description="words of place, matter or case number")] = "",
    mark: Annotated[str, Query(description="mark of secrecy, or restricted")] = "",
    state: Annotated[str, Query(description="held or disputed")] = "",
    sort: Annotated[str, Query(description="oldest: the first saved first")] = "",
) -> RecordingFilter:
    more = {"officer": officer, "kind": kind, "about": about, "mark": mark, "state": state, "sort": sort}
    return parse_filter(camera, station, docking, day_from, day_to, label, text, **more)


def _ordered_filter(
    camera: Annotated[str, Form()] = "",
    station: Annotated[str, Form()] = "",
    docking: Annotated[str, Form()] = "",
    day_from: Annotated[str, Form(alias="from")] = "",
    day_to: Annotated[str, Form(alias="to")] = "",
    label: Annotated[str, Form()] = "",
    text: Annotated[str, Form(alias="q")] = "",
    officer: Annotated[str, Form()] = "",
    kind: Annotated[str, Form()] = "",
    about: Annotated[str, Form()] = "",
    mark: Annotated[str, Form()] = "",
    state: Annotated[str, Form()] = "",
    sort: Annotated[str, Form()] = "",
) -> RecordingFilter:
    more = {"officer": officer, "kind": kind, "about": about, "mark": mark, "state": state, "sort": sort}
    return parse_filter(camera, station, docking, day_from, day_to, label, text, **more)


AskedFilter = Annotated[RecordingFilter, Depends(_asked_filter)]
OrderedFilter = Annotated[RecordingFilter, Depends(_ordered_filter)]
