"""Fixtures of the hub's tests: the same hub on both database engines."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from anyio.from_thread import start_blocking_portal
from starlette.testclient import TestClient

from tests.integration.hubs import TestHub, make_hub, sqlite_hub
from tests.integration.postgres import new_database, running_server, server_programs

ENGINES = [
    "sqlite",
    pytest.param(
        "postgresql",
        marks=[
            pytest.mark.needs_postgres,
            pytest.mark.skipif(server_programs() is None, reason="no PostgreSQL server programs are installed"),
        ],
    ),
]


@pytest.fixture(scope="session", autouse=True)
def one_event_loop() -> Iterator[None]:
    """All test clients share a loop, as requests to a hub do; one for each request is a third of what it costs."""
    with start_blocking_portal() as portal:
        TestClient.portal = portal
        yield
        TestClient.portal = None


@pytest.fixture(scope="session")
def postgres() -> Iterator[str]:
    """URL of a running private server."""
    # not tmp_path: a socket's path must stay under 108 bytes
    with tempfile.TemporaryDirectory(prefix="pg") as directory, running_server(Path(directory)) as url:
        yield url


@pytest.fixture(params=ENGINES)
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An empty database, on each engine."""
    if request.param == "postgresql":
        return new_database(request.getfixturevalue("postgres"))
    return f"sqlite:///{tmp_path / 'hub.db'}"


@pytest.fixture
def hub(database_url: str) -> Iterator[TestHub]:
    """A new hub, on each engine."""
    made = make_hub(database_url)
    yield made
    made.intake.close()
    made.db.close()


@pytest.fixture
def small_hub(tmp_path: Path) -> Iterator[TestHub]:
    """A new hub on SQLite, for what does not depend on the engine."""
    made = sqlite_hub(tmp_path)
    yield made
    made.intake.close()
    made.db.close()
