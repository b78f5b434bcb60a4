"""The filter that a form or a call asks for: one definition of the parameters for pages and API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from hub.recordings.queries import RecordingFilter, parse_filter


def _asked_filter(
    camera: Annotated[str, Query(description="camera id")] = "",
    station: Annotated[str, Query(description="station id")] = "",
    docking: Annotated[str, Query(description="docking id")] = "",
    day_from: Annotated[str, Query(alias="from", description="first day of recording, YYYY-MM-DD")] = "",
    day_to: Annotated[str, Query(alias="to", description="last day of recording, YYYY-MM-DD")] = "",
    label: Annotated[str, Query(description="what is not well, or any")] = "",
    text: Annotated[str, Query(alias="q", description="words in file names and folders")] = "",
) -> RecordingFilter:
    return parse_filter(camera, station, docking, day_from, day_to, label, text)


AskedFilter = Annotated[RecordingFilter, Depends(_asked_filter)]
