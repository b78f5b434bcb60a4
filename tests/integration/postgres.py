"""A private PostgreSQL server for one test session: a socket in a scratch directory, no TCP port, never as root."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg


def server_programs() -> Path | None:
    """Folder of the newest installed server's programs."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda p: int(p.parts[-3]))
    return found[-1].parent if found else None


@contextmanager
def running_server(directory: Path, *, fsync: bool = False) -> Iterator[str]:
    """A server in `directory`; yields the URL of its maintenance database. In tests nothing must last: no fsync."""
    programs = server_programs()
    assert programs is not None
    data, sockets = directory / "data", directory / "s"
    for folder in (data, sockets):
        folder.mkdir(mode=0o700)
    as_user: dict[str, int] = {}
    if os.geteuid() == 0:  # PostgreSQL refuses to run as root
        nobody = pwd.getpwnam("postgres" if _has_user("postgres") else "nobody")
        as_user = {"user": nobody.pw_uid, "group": nobody.pw_gid}
        for folder in (directory, data, sockets):
            shutil.chown(folder, nobody.pw_uid, nobody.pw_gid)
        for folder in (directory, *directory.parents):
            folder.chmod(folder.stat().st_mode | 0o011)

    def run(*words: str | Path) -> None:
        # its output goes to a file: a pipe would stay open in the server and never end
        with (directory / "programs.log").open("ab") as out:
            subprocess.run(words, check=True, stdout=out, stderr=out, cwd=directory, **as_user)

    run(programs / "initdb", "-D", data, "-U", "hub", "-A", "trust", "-E", "UTF8", "--locale=C")
    options = f"-c listen_addresses='' -c unix_socket_directories='{sockets}' -c fsync={'on' if fsync else 'off'}"
    run(programs / "pg_ctl", "-D", data, "-w", "-l", directory / "server.log", "-o", options, "start")
    try:
        yield f"postgresql+psycopg://hub@/postgres?host={sockets}"
    finally:
        run(programs / "pg_ctl", "-D", data, "-m", "immediate", "stop")


def new_database(server: str) -> str:
    """Create an empty database and return its URL."""
    name = f"t{uuid.uuid4().hex[:12]}"
    plain = server.replace("postgresql+psycopg", "postgresql")
    with psycopg.connect(plain, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server.replace("/postgres?", f"/{name}?")


def _has_user(name: str) -> bool:
    try:
        pwd.getpwnam(name)
    except KeyError:
        return False
    return True
