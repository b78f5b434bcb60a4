"""People: written by hub/accounts only."""

from __future__ import annotations

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, Table, Text, text

from hub.tables.schema import metadata

account = Table(
    "account",
    metadata,
    Column("name", Text, primary_key=True),
    Column("role", Text, nullable=False),  # one of access.Role
    Column("password_hash", Text, nullable=False),  # argon2id, PHC string
    Column("must_change_password", Boolean, nullable=False),  # true until the person has chosen their own
    Column("created_at", Text, nullable=False),
    Column("disabled_at", Text),
    Column("section", Text, nullable=False, server_default=""),  # see station.section
    Column("officer", Text, nullable=False, server_default=""),  # number at the stations; "": carries no camera
    Index(
        "uq_account_officer",  # two people under one number would see each other's recordings
        "officer",
        unique=True,
        sqlite_where=text("officer <> ''"),
        postgresql_where=text("officer <> ''"),
    ),
)

account_request = Table(
    "account_request",
    metadata,
    # a change of who may do what: asked by one person, decided by another
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("account", Text, nullable=False),  # whom it is about
    Column("change", Text, nullable=False),  # see account.change_requested.v1
    Column("role", Text),
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),  # null although decided: the first administrator named the second
    Column("decided_at", Text),
    Column("approved", Boolean),
    CheckConstraint("approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> requested_by", name="two_people"),
    CheckConstraint("approved IS NOT TRUE OR decided_by IS NULL OR decided_by <> account", name="not_about_oneself"),
    Index(
        "ix_account_request_open",
        "account",
        unique=True,
        sqlite_where=text("decided_at IS NULL"),
        postgresql_where=text("decided_at IS NULL"),
    ),
)

section_request = Table(
    "section_request",
    metadata,
    # which section a person or a station shall belong to: asked by one person, decided by another
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("account", Text),  # whom it is about, or
    Column("station", Text),
    Column("section", Text, nullable=False),
    Column("officer", Text, nullable=False),  # the person's number at the stations; "": none
    Column("reason", Text, nullable=False),
    Column("requested_by", Text, nullable=False),
    Column("requested_at", Text, nullable=False),
    Column("decided_by", Text),
    Column("decided_at", Text),
    Column("approved", Boolean),
    CheckConstraint("(account IS NULL) <> (station IS NULL)", name="one_thing"),
    CheckConstraint("station IS NULL OR officer = ''", name="people_have_numbers"),
    CheckConstraint("approved IS NULL OR decided_by IS NOT NULL", name="decided_by_somebody"),
    CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="two_people"),
    CheckConstraint("approved IS NOT TRUE OR account IS NULL OR decided_by <> account", name="not_about_oneself"),
    Index(
        "ix_section_request_open_account",
        "account",
        unique=True,
        sqlite_where=text("decided_at IS NULL AND account IS NOT NULL"),
        postgresql_where=text("decided_at IS NULL AND account IS NOT NULL"),
    ),
    Index(
        "ix_section_request_open_station",
        "station",
        unique=True,
        sqlite_where=text("decided_at IS NULL AND station IS NOT NULL"),
        postgresql_where=text("decided_at IS NULL AND station IS NOT NULL"),
    ),
)

second_factor = Table(
    "second_factor",
    metadata,
    Column("account", Text, primary_key=True),
    Column("secret", Text, nullable=False),  # base32, RFC 6238 with SHA-1, 6 digits, 30 s: what authenticators know
    Column("confirmed_at", Text),  # null: shown to the person, who has not yet entered a code
    Column("last_step", BigInteger, nullable=False),  # of the last code taken: none is taken twice
)

session = Table(
    "session",
    metadata,
    Column("token_sha256", Text, primary_key=True),  # the token itself exists only in the browser's cookie
    Column("id", Text, nullable=False, unique=True),  # UUIDv7: by which its person ends it from elsewhere
    Column("account", Text, nullable=False),
    Column("created_at", Text, nullable=False),
    Column("last_seen_at", Text, nullable=False),
    Column("code_due", Boolean, nullable=False),  # password given, the authenticator's code not yet
    Column("address", Text, nullable=False),  # where it began, for its person to know it again
    Column("browser", Text, nullable=False),  # User-Agent, as it came
    Index("ix_session_account", "account"),
)

account_identity = Table(
    "account_identity",
    metadata,
    # whom the bureau's provider may vouch for, see hub/accounts/identities.py
    Column("account", Text, primary_key=True),
    Column("issuer", Text, nullable=False),
    Column("subject_sha256", Text, nullable=False, unique=True),  # identity_digest: the subject itself is not kept
    Column("linked_at", Text, nullable=False),
)

api_token = Table(
    "api_token",
    metadata,
    # with which people's programs read the API, see hub/accounts/tokens.py
    Column("id", Text, primary_key=True),  # UUIDv7
    Column("account", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("token_sha256", Text, nullable=False, unique=True),  # the token itself is shown once and kept nowhere
    Column("created_at", Text, nullable=False),
    Column("expires_at", Text, nullable=False),
    Column("revoked_at", Text),
)

sign_in_failure = Table(
    "sign_in_failure",
    metadata,
    # one row per account name tried and one per client address, existing or not: nothing tells which names exist
    Column("subject", Text, primary_key=True),  # "name:..." or "address:..."
    Column("count", Integer, nullable=False),  # failures in a row
    Column("blocked_until", Text, nullable=False),
)
