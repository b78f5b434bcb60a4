"""Alembic's entry: runs migrations on the connection that `hub.migrations.migrate` brings."""

from __future__ import annotations

from alembic import context

from hub.tables import metadata

context.configure(connection=context.config.attributes["connection"], target_metadata=metadata)
with context.begin_transaction():
    context.run_migrations()
