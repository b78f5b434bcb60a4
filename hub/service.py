"""`dock-hub run`: check first, then serve pages and take in envelopes until told to stop."""

from __future__ import annotations

import gc
import logging
import os
import signal
import threading

import uvicorn

from hub.alerts.sending import Sender, read_senders, through_apprise
from hub.alerts.watching import Watch
from hub.db import Database, open_database
from hub.errors import Invalid, LogReadOnly
from hub.intake import Intake
from hub.keychanges.service import finish_changes
from hub.keys import HubKeys, load_keys
from hub.log import keep_key_set
from hub.logcheck import check_start
from hub.mark import look_outside
from hub.migrations import migrate
from hub.mqtt import HubLine
from hub.notify import SpeakingServer
from hub.readonly import why_read_only
from hub.restore.line import RestoreLine, finish_left_over
from hub.restore.status import read_status
from hub.settings import Settings
from hub.timestamps import Stamper, load_authority
from hub.viewing.sweep import Sweep
from hub.web import create_app
from hub.witnesses.asking import Asking
from hub.witnesses.http import TIMEOUT_SECONDS, HttpWitnesses

logger = logging.getLogger("hub.service")


def run(settings: Settings) -> None:
    """Serve until SIGTERM or SIGINT. Raises HubError when anything cannot be trusted, before anything is signed.

    A kill at any moment is safe: what was not committed was not acknowledged, and what was is found as a duplicate.
    """
    load_keys(settings.keys_directory, settings.hub_id)  # before the database is touched
    db = _open(settings)
    migrate(db)
    keys = finish_changes(db, settings.keys_directory, settings.hub_id)
    with db.begin() as tx:
        keep_key_set(tx, keys)
    with db.read() as connection:
        report = check_start(connection, keys, settings.utc_offset_minutes)
    logger.info("log_checked size=%d root=%s", report.size, report.root.hex())
    finish_left_over(db, settings.directory)
    look_outside(settings, db, keys)
    intake = Intake(db, keys, settings.utc_offset_minutes)
    authority = load_authority(settings.timestamp_url, settings.timestamp_ca)
    app = create_app(
        db,
        keys.lines,
        intake,
        lambda: read_status(db, keys, settings.directory)[0],
        timestamps_wanted=authority is not None,
    )
    stamper = Stamper(db, authority) if authority else None
    watch = Watch(db, keys, make_sender(settings, db))
    server = SpeakingServer(
        uvicorn.Config(
            app,
            settings.host,
            settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        ),
        os.environ,
        app.state.live.close,
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped; by default that would end us before the line is closed
        signal.signal(number, lambda *_: None)
    gc.collect()
    gc.freeze()  # what is loaded now stays: full collections need not walk it again while a batch waits
    gc.set_threshold(20_000, 20, 50)  # envelopes hold no cycles; the default would look for some 14 times a batch
    witnesses = HttpWitnesses(db, keys, settings.directory)
    asking = threading.Thread(target=witnesses.run, name="witnesses", daemon=True)  # a request may hang for a while
    asking.start()
    sweep = Sweep(db, keys, alone=not settings.replica)
    sweep.start()
    try:
        failure = _serve(settings, db, keys, intake, server, watch)
    finally:
        sweep.stop()
        witnesses.stop()
        asking.join(TIMEOUT_SECONDS)
        if stamper:
            stamper.close()
    intake.close()
    db.close()
    if failure:
        raise failure[0]
    logger.info("stopped")


def _serve(
    settings: Settings, db: Database, keys: HubKeys, intake: Intake, server: uvicorn.Server, watch: Watch
) -> list[BaseException]:
    """Run the web server, broker line and watch in threads beside it; what ended one early, if anything."""
    failure: list[BaseException] = []
    beside: list[tuple[str, BrokerLine | Watch]] = [("alerts", watch)]
    if settings.mqtt:
        beside.append(("mqtt", BrokerLine(settings, db, keys, intake)))
    else:
        logger.info("no_broker_set envelopes=http_only")

    def work(name: str, part: BrokerLine | Watch) -> None:
        try:
            part.run()
        except BaseException as error:  # noqa: BLE001  a hub without one of these must not look healthy: it ends
            logger.critical("%s_ended error=%r", name, error)
            failure.append(error)
            server.should_exit = True

    threads = [threading.Thread(target=work, args=one, name=one[0]) for one in beside]
    for thread in threads:
        thread.start()
    try:
        server.run()
    finally:
        for _, part in beside:
            part.stop()
        for thread in threads:
            thread.join()
    return failure


def make_sender(settings: Settings, db: Database) -> Sender | None:
    """What sends alerts outside, where the settings name a file of addresses. Raises SettingsInvalid."""
    if not settings.alert_senders:
        return None
    senders = read_senders(settings.directory / settings.alert_senders)
    return Sender(db, senders, through_apprise(senders.urls))


class BrokerLine:
    """The line that fits the log: it takes envelopes in, or, while the log is read-only, gets back what was lost."""

    def __init__(self, settings: Settings, db: Database, keys: HubKeys, intake: Intake) -> None:
        """Raises Invalid for TLS files that cannot be used."""
        self._settings, self._db, self._keys, self._intake = settings, db, keys, intake
        self._stopped = False
        self._line: HubLine | RestoreLine = self._make()

    def run(self) -> None:
        """Until stopped. Raises HubError when the log is untrusted."""
        while not self._stopped:
            try:
                self._line.run()
            except LogReadOnly as error:
                logger.critical("intake_closed reason=%s", error.reason)
            if not self._stopped:
                self._line = self._make()

    def stop(self) -> None:
        """Let `run` return; from any thread."""
        self._stopped = True
        self._line.stop()

    def _make(self) -> HubLine | RestoreLine:
        with self._db.read() as connection:
            read_only = why_read_only(connection)
        try:
            if read_only:
                return RestoreLine(self._settings, self._db, self._keys)
            asking = Asking(self._db, self._keys, by_http=False, directory=self._settings.directory)
            return HubLine(self._settings, self._db, self._intake, asking)
        except OSError as error:
            message = f"the TLS files for {self._settings.mqtt} cannot be used: {error}"
            raise Invalid(message) from None


def _open(settings: Settings) -> Database:
    try:
        return open_database(settings.database_url)
    except ValueError as error:
        raise Invalid(str(error)) from None
