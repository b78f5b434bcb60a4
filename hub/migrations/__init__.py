"""Forward-only migrations. A shipped one is never edited; empty→head equals `hub.tables` (tests/integration)."""

from __future__ import annotations

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from sqlalchemy import Connection

from hub.db import Database
from hub.errors import SchemaMismatch


def migrate(db: Database) -> None:
    """Bring the database to this version's schema, in one transaction. Raises SchemaMismatch for a newer database."""
    with db.begin() as tx:
        try:
            command.upgrade(_config(tx), "head")
        except CommandError as error:
            raise SchemaMismatch(f"the database was made by another version of this program: {error}") from None


def check_schema(connection: Connection) -> None:
    """Raise SchemaMismatch unless the database is exactly at this version's schema."""
    head = ScriptDirectory.from_config(_config(connection)).get_current_head()
    found = MigrationContext.configure(connection).get_current_revision()
    if found != head:
        raise SchemaMismatch(f"the database is at schema {found}, this program needs {head}: `dock-hub run` migrates")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent))
    config.attributes["connection"] = connection
    return config
