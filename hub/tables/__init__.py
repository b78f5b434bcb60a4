"""Every table of the hub, once, for SQLite and PostgreSQL. The migrations are checked against this package.

Times are aware UTC as ISO 8601 text with microseconds and ``Z`` unless a column says otherwise; digests are lower-case
hex. `log_entry` is the truth; every table of `hub.tables.index` can be thrown away and rebuilt by ``dock-hub reindex``.
"""

from __future__ import annotations

from hub.tables.alerts import alert, alert_message, alert_repeat, backup_made
from hub.tables.commands import command, key_change
from hub.tables.index import (
    camera,
    camera_event,
    command_answer,
    disposition,
    docking,
    hub_subject,
    segment,
    segment_bigrams,
    unprojected,
)
from hub.tables.intake import refused, replica
from hub.tables.log import (
    checkpoint,
    checkpoint_timestamp,
    log_check,
    log_entry,
    log_reader,
    log_state,
    log_tile,
    timestamp_attempt,
)
from hub.tables.openings import opening, opening_removal
from hub.tables.people import (
    account,
    account_request,
    api_token,
    second_factor,
    section_request,
    session,
    sign_in_failure,
)
from hub.tables.requests import use_recording, use_request
from hub.tables.schema import metadata
from hub.tables.stations import (
    bay_state,
    station,
    station_key,
    station_request,
    station_revocation,
    station_silence,
    station_state,
)
from hub.tables.viewing import viewing
from hub.tables.witnesses import cosignature, witness, witness_policy, witness_removal, witness_state

__all__ = [
    "account",
    "account_request",
    "alert",
    "alert_message",
    "alert_repeat",
    "api_token",
    "backup_made",
    "bay_state",
    "camera",
    "camera_event",
    "checkpoint",
    "checkpoint_timestamp",
    "command",
    "command_answer",
    "cosignature",
    "disposition",
    "docking",
    "hub_subject",
    "key_change",
    "log_check",
    "log_entry",
    "log_reader",
    "log_state",
    "log_tile",
    "metadata",
    "opening",
    "opening_removal",
    "refused",
    "replica",
    "second_factor",
    "section_request",
    "segment",
    "segment_bigrams",
    "session",
    "sign_in_failure",
    "station",
    "station_key",
    "station_request",
    "station_revocation",
    "station_silence",
    "station_state",
    "timestamp_attempt",
    "unprojected",
    "use_recording",
    "use_request",
    "viewing",
    "witness",
    "witness_policy",
    "witness_removal",
    "witness_state",
]
