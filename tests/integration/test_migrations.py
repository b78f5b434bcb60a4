"""The hub's schema: empty → head equals `hub.tables`, on both engines. The station's: many may open a new one."""

from __future__ import annotations

import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.command import upgrade
from alembic.migration import MigrationContext
from sqlalchemy import MetaData, Table, select, text

from hub.db import open_database
from hub.errors import SchemaMismatch
from hub.migrations import _config, check_schema, migrate
from hub.tables import metadata, use_recording, use_request


def test_empty_to_head_equals_the_tables(database_url: str) -> None:
    db = open_database(database_url)
    with db.read() as connection, pytest.raises(SchemaMismatch):
        check_schema(connection)
    migrate(db)
    migrate(db)  # again changes nothing
    wanted = db.writer.dialect.name

    def included(thing: Any, name: str | None, kind: str, reflected: bool, _other: Any) -> bool:
        if kind == "table" and reflected and (name or "").startswith("segment_text"):
            return False  # FTS5 and its shadow tables
        table = thing if kind == "table" else getattr(thing, "table", None)
        return table is None or table.info.get("only", wanted) == wanted

    with db.begin() as tx:
        context = MigrationContext.configure(tx, opts={"include_object": included, "compare_type": True})
        assert compare_metadata(context, metadata) == []
    with db.read() as connection:
        check_schema(connection)
    db.close()


def test_requests_for_exports_become_requests_for_a_copy(database_url: str) -> None:
    db = open_database(database_url)
    with db.begin() as tx:
        upgrade(_config(tx), "0016")
        facts = {"recordings_sha256": "d", "recordings_in_all": 2, "bytes_in_all": 9, "selection": "", "recipient": "r",
                 "reason": "why", "requested_by": "li", "requested_at": "2026-01-01"}  # fmt: skip
        decided = {"decided_by": "leader", "decided_at": "2026-01-02", "approved": True, "expires_at": "2026-01-09"}
        old = Table("export_request", MetaData(), autoload_with=tx)
        tx.execute(old.insert().values(id="a", recordings="[3, 5]", **facts, **decided))
        tx.execute(old.insert().values(id="b", recordings=None, **facts))
    migrate(db)
    with db.read() as connection:
        stands, lost = connection.execute(select(use_request).order_by(use_request.c.id)).all()
        assert [*connection.execute(select(use_recording))] == [("a", 3), ("a", 5)]
    assert (stands.use, stands.approved, stands.expires_at, stands.grants) == ("copy", True, "2026-01-09", "[]")
    assert (lost.use, lost.decided_at, lost.refusal, lost.valid_seconds) == ("copy", None, None, 7 * 86400)
    db.close()


def test_a_database_of_a_newer_version_is_left_alone(database_url: str) -> None:
    db = open_database(database_url)
    migrate(db)
    with db.begin() as tx:
        tx.execute(text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(SchemaMismatch):
        migrate(db)
    db.close()


def test_agent_and_commands_open_a_new_database_at_once(tmp_path: Path) -> None:
    opens = "import sys; from agent.store import Path, Store; sys.stdin.read(); Store(Path(sys.argv[1])).close()"
    command = [sys.executable, "-c", opens, str(tmp_path / "station.db")]
    for _ in range(3):
        with ExitStack() as stack:
            programs = [stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE)) for _ in range(6)]
            for program in programs:
                assert program.stdin is not None
                program.stdin.close()  # now
            assert [program.wait() for program in programs] == [0] * 6
        for file in tmp_path.iterdir():
            file.unlink()
