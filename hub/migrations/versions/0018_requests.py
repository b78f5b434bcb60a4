"""Requests to use footage: one table for viewing and copies. Those for exports move into it."""

import json

import sqlalchemy as sa
from alembic import op

revision = "0018"
down_revision = "0017"

_TEXTS = ("decided_by", "decided_at", "refusal", "expires_at", "grants", "revoked_by", "revoked_at", "revocation",
          "copy_end", "copy_end_note", "copy_end_by", "copy_end_at", "holder")  # fmt: skip
_NEEDED = ("use", "recordings_sha256", "selection", "recipient", "case_number", "reason", "requested_by",
           "requested_at")  # fmt: skip
_NUMBERS = ("recordings_in_all", "bytes_in_all", "valid_seconds")
_GOOD_FOR = 7 * 86400  # of every export that was approved so far


def upgrade() -> None:
    """What was asked for stays as it was; an approval that stands goes on."""
    op.create_table(
        "use_request",
        sa.Column("id", sa.Text(), nullable=False),
        *(sa.Column(name, sa.Text(), nullable=False) for name in _NEEDED),
        *(sa.Column(name, sa.BigInteger(), nullable=False) for name in _NUMBERS),
        *(sa.Column(name, sa.Text()) for name in _TEXTS),
        sa.Column("approved", sa.Boolean()),
        sa.Column("copy_number", sa.BigInteger()),
        sa.PrimaryKeyConstraint("id", name="pk_use_request"),
        sa.UniqueConstraint("copy_number", name="uq_use_request_copy_number"),
        sa.CheckConstraint("approved IS NOT TRUE OR decided_by <> requested_by", name="ck_use_request_two_people"),
        sa.CheckConstraint(
            "approved IS NOT TRUE OR holder IS NULL OR decided_by <> holder", name="ck_use_request_not_about_oneself"
        ),
        sa.CheckConstraint("revoked_by IS NULL OR approved IS TRUE", name="ck_use_request_approved_before_revoked"),
    )
    op.create_index("ix_use_request_requested_at", "use_request", ["requested_at"])
    op.create_table(
        "use_recording",
        sa.Column("request_id", sa.Text(), nullable=False),
        sa.Column("recording", sa.BigInteger(), nullable=False, autoincrement=False),
        sa.PrimaryKeyConstraint("request_id", "recording", name="pk_use_recording"),
    )
    op.create_index("ix_use_recording_recording", "use_recording", ["recording"])
    _move()
    op.drop_table("export_request")


def _move() -> None:
    bind = op.get_bind()
    old = sa.Table("export_request", sa.MetaData(), autoload_with=bind)
    new = sa.Table("use_request", sa.MetaData(), autoload_with=bind)
    listed = sa.Table("use_recording", sa.MetaData(), autoload_with=bind)
    kept = [column.name for column in old.c if column.name != "recordings"]
    for row in bind.execute(sa.select(old)).all():
        values = {name: row._mapping[name] for name in kept}
        decided = {"refusal": "", "grants": "[]"} if row.decided_at else {}
        more = {"use": "copy", "case_number": "", "valid_seconds": _GOOD_FOR}
        bind.execute(sa.insert(new).values(**values, **more, **decided))
        recordings = [{"request_id": row.id, "recording": index} for index in json.loads(row.recordings or "[]")]
        if recordings:
            bind.execute(sa.insert(listed), recordings)
