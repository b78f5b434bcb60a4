"""The hub of a `ViewingScene` as a process that a browser can talk to and a test can kill."""

from __future__ import annotations

import http.client
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import update

from hub.accounts.service import give_first_password, sign_in
from hub.settings import Settings, write_settings
from hub.tables import account
from hub.times import now_utc
from tests.integration.viewing_scene import ViewingScene
from tests.ports import free_port


class HubProcess:
    """`dock-hub run` over the scene's directory; `kill` is kill -9."""

    def __init__(self, scene: ViewingScene) -> None:
        self.directory, self.port = scene.root / "hub", free_port()
        self.address = f"http://127.0.0.1:{self.port}"
        if not (self.directory / "hub.toml").exists():
            write_settings(Settings(directory=self.directory, hub_id="test", port=self.port))
        self._log = scene.root / "hub.log"
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Until it answers."""
        words = [sys.executable, "-m", "hub.app", "run", "--dir", str(self.directory), "--port", str(self.port)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(words, stdout=log, stderr=log)
        end = time.monotonic() + 60
        while not self.answers():
            assert self.process.poll() is None, self._log.read_text()[-3000:]
            assert time.monotonic() < end, self._log.read_text()[-3000:]
            time.sleep(0.02)

    def answers(self) -> bool:
        """Whether it is ready."""
        line = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
        try:
            line.request("GET", "/readyz")
            return line.getresponse().status == 200
        except OSError:
            return False
        finally:
            line.close()

    def kill(self) -> None:
        """At once, whatever it does."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """As the system does."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
            self.process.wait(60)


@contextmanager
def running(scene: ViewingScene) -> Iterator[HubProcess]:
    """The hub while it serves."""
    hub = HubProcess(scene)
    hub.start()
    try:
        yield hub
    finally:
        hub.stop()


def session_of(scene: ViewingScene, name: str) -> str:
    """The cookie of a session of this account, whose person has chosen a password."""
    password = give_first_password(scene.hub.db, name)
    with scene.hub.db.begin() as tx:
        tx.execute(update(account).where(account.c.name == name).values(must_change_password=False))
    return sign_in(scene.hub.db, scene.hub.keys, name, password, "here", now_utc())
