"""What the hub's own events are about, how full checks of the log ended, time-stamps of checkpoints."""

import base64
import json

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"

_BIG_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
_PAGE = 500


def upgrade() -> None:
    """Every row stays; the hub's events so far are found by their subjects too."""
    op.create_table(
        "hub_subject",
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("log_index", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("event_type", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("kind", "name", "log_index", name="pk_hub_subject"),
    )
    op.create_index("ix_hub_subject_log_index", "hub_subject", ["log_index"])
    op.create_table(
        "log_check",
        sa.Column("id", _BIG_ID, autoincrement=True, nullable=False),
        sa.Column("started_at", sa.Text(), nullable=False),
        sa.Column("finished_at", sa.Text(), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.Column("item", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_log_check"),
    )
    op.create_table(
        "checkpoint_timestamp",
        sa.Column("size", _BIG_ID, autoincrement=False, nullable=False),
        sa.Column("token", sa.LargeBinary(), nullable=False),
        sa.Column("stamped_at", sa.Text(), nullable=False),
        sa.Column("authority", sa.Text(), nullable=False),
        sa.Column("obtained_at", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("size", name="pk_checkpoint_timestamp"),
    )
    op.create_table(
        "timestamp_attempt",
        sa.Column("id", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Text(), nullable=False),
        sa.Column("fault", sa.Text(), nullable=False),
        sa.CheckConstraint("id = 1", name="ck_timestamp_attempt_one_row"),
        sa.PrimaryKeyConstraint("id", name="pk_timestamp_attempt"),
    )
    _refuse_change()
    _find_subjects()


def _refuse_change() -> None:
    if op.get_bind().dialect.name == "sqlite":
        for change in ("update", "delete"):
            op.execute(
                f"CREATE TRIGGER checkpoint_timestamp_no_{change} BEFORE {change} ON checkpoint_timestamp "
                "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
            )
        return
    op.execute(
        "CREATE TRIGGER checkpoint_timestamp_no_change BEFORE UPDATE OR DELETE ON checkpoint_timestamp "
        "FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_timestamp_no_truncate BEFORE TRUNCATE ON checkpoint_timestamp "
        "FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()"
    )


def _find_subjects() -> None:
    """The events of versions before this one name accounts, recordings and exports in these fields."""
    bind, after = op.get_bind(), 0
    while rows := bind.execute(
        sa.text(
            "SELECT seq, idx, event_type, envelope FROM log_entry "
            "WHERE source = 'hub' AND seq > :after ORDER BY seq LIMIT :page"
        ),
        {"after": after, "page": _PAGE},
    ).all():
        found = [
            {"kind": kind, "name": name, "log_index": row.idx, "event_type": row.event_type}
            for row in rows
            for kind, name in _subjects(bytes(row.envelope))
        ]
        if found:
            bind.execute(
                sa.text(
                    "INSERT INTO hub_subject (kind, name, log_index, event_type) "
                    "VALUES (:kind, :name, :log_index, :event_type)"
                ),
                found,
            )
        after = rows[-1].seq


def _subjects(envelope: bytes) -> list[tuple[str, str]]:
    said = json.loads(base64.b64decode(json.loads(envelope)["payload"]))
    fields = ("account", "operator", "requested_by", "decided_by")
    names = [said[name].replace("\x00", "\ufffd") for name in fields if said.get(name) is not None]
    recordings = dict.fromkeys(str(index) for index in said.get("recordings", ()))
    found = [("account", name) for name in dict.fromkeys(names)] + [("recording", index) for index in recordings]
    return found + [("export", said[name]) for name in ("bundle_id",) if name in said]
