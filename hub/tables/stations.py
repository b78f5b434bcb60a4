"""Stations: enrolled by people, advanced by intake."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Table, Text, text

from hub.tables.schema import metadata

station = Table(
    "station",
    metadata,
    Column("id", Text, primary_key=True),
    Column("key_line", Text, nullable=False),  # that its next event must carry; see station_key
    Column("enrolled_at", Text, nullable=False),
    Column("frozen_at", Text),
    Column("frozen_reason", Text),  # set: nothing more is accepted until people have looked
    Column("revoked_at", Text),  # set: its key counts no more, and nothing is taken in for ever
    Column("last_seq", BigInteger, nullable=False),  # head of its chain in the log
    Column("last_hash", Text, nullable=False),
    Column("last_event_at", Text),  # by the station's clock
    Column("last_received_at", Text),
    Column("software", Text),  # from its last station.started
    Column("witness_key", Text),  # key line from its last witness.offered; counts once people accepted it as a witness
    Column("section", Text, nullable=False, server_default=""),  # whose it is (hub/access.py); "": the bureau is one
)

station_key = Table(
    "station_key",
    metadata,
    # every key that a station ever had: each counts from its seq on until the next one's
    Column("station", Text, primary_key=True),
    Column("first_seq", BigInteger, primary_key=True),
    Column("key_line", Text, nullable=False),
)

station_revocation = Table(
    "station_revocation",
    metadata,
    # the newest of a station that is not approved is the open request
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("station", Text, nullable=False),
    Column("key_line", Text, nullable=False),
    Column("from_seq", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("approved_by", Text),
    Column("revoked_at", Text),
    Column("revoked_index", BigInteger),  # log index of key.revoked
    CheckConstraint("approved_by IS NULL OR approved_by <> requested_by", name="two_people"),
)

station_request = Table(
    "station_request",
    metadata,
    # a station's key that one person wants accepted, and another compares with the dock's
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("station", Text, nullable=False),
    Column("key_line", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("approved", Boolean),
    CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="two_people"),
    Index(
        "ix_station_request_open",
        "station",
        unique=True,
        sqlite_where=text("decided_at IS NULL"),
        postgresql_where=text("decided_at IS NULL"),
    ),
)

station_state = Table(
    "station_state",
    metadata,
    # unsigned, from a retained MQTT message: shown to people, never evidence
    Column("station", Text, primary_key=True),
    Column("json", Text, nullable=False),  # how it last described itself, exactly as received; a will describes nothing
    Column("online", Boolean, nullable=False),  # of the newest message; false also after the broker published the will
    Column("received_at", Text, nullable=False),
    Column("since", Text),  # when `online` became what it is; null: before this was kept
)

station_silence = Table(
    "station_silence",
    metadata,
    # times in which a station was not on line, as this hub heard it; for people, as unsigned as what they follow from
    Column("station", Text, primary_key=True),
    Column("began_at", Text, primary_key=True),
    Column("ended_at", Text, nullable=False),
)

bay_state = Table(
    "bay_state",
    metadata,
    Column("station", Text, primary_key=True),
    Column("bay", Text, primary_key=True),
    Column("json", Text, nullable=False),  # a JSON object exactly as received
    Column("received_at", Text, nullable=False),
)
