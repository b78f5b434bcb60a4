"""Tiles and checkpoints refuse change, checkpoints form a chain, programs may read entries by a token."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"

FULL_TILE_BYTES = 8192


def upgrade() -> None:
    """Every row stays; old checkpoints learn which one came before."""
    op.create_table(
        "log_reader",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("token_sha256", sa.Text(), nullable=False),
        sa.Column("created_at", sa.Text(), nullable=False),
        sa.Column("revoked_at", sa.Text()),
        sa.PrimaryKeyConstraint("name", name="pk_log_reader"),
        sa.UniqueConstraint("token_sha256", name="uq_log_reader_token_sha256"),
    )
    op.add_column("checkpoint", sa.Column("previous_size", sa.BigInteger()))
    op.execute(
        "UPDATE checkpoint SET previous_size = "
        "(SELECT max(before.size) FROM checkpoint AS before WHERE before.size < checkpoint.size)"
    )
    if op.get_bind().dialect.name == "sqlite":
        _finish_sqlite()
    else:
        _finish_postgresql()


def _finish_sqlite() -> None:
    refuse = "BEGIN SELECT RAISE(ABORT, 'the log is append-only'); END"
    op.execute(
        f"CREATE TRIGGER log_tile_no_update BEFORE UPDATE ON log_tile "
        f"WHEN OLD.level <> NEW.level OR OLD.idx <> NEW.idx OR length(OLD.hashes) >= {FULL_TILE_BYTES} "
        f"OR substr(NEW.hashes, 1, length(OLD.hashes)) <> OLD.hashes {refuse}"
    )
    op.execute(f"CREATE TRIGGER log_tile_no_delete BEFORE DELETE ON log_tile {refuse}")
    for change in ("update", "delete"):
        op.execute(f"CREATE TRIGGER checkpoint_no_{change} BEFORE {change} ON checkpoint {refuse}")
    # a view of the text index, word by word: what `dock-hub log check` compares
    op.execute("CREATE VIRTUAL TABLE segment_text_words USING fts5vocab('segment_text', 'instance')")


def _finish_postgresql() -> None:
    op.execute(
        "CREATE FUNCTION refuse_tile_change() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN "
        "IF OLD.level <> NEW.level OR OLD.idx <> NEW.idx "
        f"OR octet_length(OLD.hashes) >= {FULL_TILE_BYTES} "
        "OR substring(NEW.hashes FROM 1 FOR octet_length(OLD.hashes)) <> OLD.hashes "
        "THEN RAISE EXCEPTION 'the log is append-only'; END IF; RETURN NEW; END $$"
    )
    op.execute(
        "CREATE TRIGGER log_tile_no_update BEFORE UPDATE ON log_tile FOR EACH ROW EXECUTE FUNCTION refuse_tile_change()"
    )
    op.execute(
        "CREATE TRIGGER log_tile_no_delete BEFORE DELETE ON log_tile FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    )
    op.execute(
        "CREATE TRIGGER checkpoint_no_change BEFORE UPDATE OR DELETE ON checkpoint "
        "FOR EACH ROW EXECUTE FUNCTION refuse_log_change()"
    )
    for table in ("log_tile", "checkpoint"):
        op.execute(
            f"CREATE TRIGGER {table}_no_truncate BEFORE TRUNCATE ON {table} "
            "FOR EACH STATEMENT EXECUTE FUNCTION refuse_log_change()"
        )
