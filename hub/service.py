"""`dock-hub run`: check first, then serve pages and take in envelopes until told to stop."""

from __future__ import annotations

import gc
import logging
import signal
import threading

import uvicorn

from hub.db import Database, open_database
from hub.errors import Invalid
from hub.intake import Intake
from hub.keychanges.service import finish_changes
from hub.keys import HubKeys, load_keys
from hub.logcheck import check_start
from hub.migrations import migrate
from hub.mqtt import HubLine
from hub.settings import Settings
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
    with db.read() as connection:
        report = check_start(connection, keys, settings.utc_offset_minutes)
    logger.info("log_checked size=%d root=%s", report.size, report.root.hex())
    intake = Intake(db, keys, settings.utc_offset_minutes)
    app = create_app(db, keys.lines, intake)
    server = uvicorn.Server(
        uvicorn.Config(
            app,
            settings.host,
            settings.port,
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=5,
        )
    )
    for number in (signal.SIGTERM, signal.SIGINT):
        # uvicorn raises the signal again once it has stopped; by default that would end us before the line is closed
        signal.signal(number, lambda *_: None)
    gc.collect()
    gc.freeze()  # what is loaded now stays: full collections need not walk it again while a batch waits
    gc.set_threshold(20_000, 20, 50)  # envelopes hold no cycles; the default would look for some 14 times a batch
    witnesses = HttpWitnesses(db, keys)
    asking = threading.Thread(target=witnesses.run, name="witnesses", daemon=True)  # a request may hang for a while
    asking.start()
    try:
        failure = _serve(settings, db, keys, intake, server)
    finally:
        witnesses.stop()
        asking.join(TIMEOUT_SECONDS)
    intake.close()
    db.close()
    if failure:
        raise failure[0]
    logger.info("stopped")


def _serve(
    settings: Settings, db: Database, keys: HubKeys, intake: Intake, server: uvicorn.Server
) -> list[BaseException]:
    """Run the web server, with the broker line in a thread beside it; what ended the line early, if anything did."""
    failure: list[BaseException] = []
    if not settings.mqtt:
        logger.info("no_broker_set envelopes=http_only")
        server.run()
        return failure
    try:
        line = HubLine(settings, db, intake, Asking(db, keys, by_http=False))
    except OSError as error:
        raise Invalid(f"the TLS files for {settings.mqtt} cannot be used: {error}") from None

    def work() -> None:
        try:
            line.run()
        except BaseException as error:  # noqa: BLE001  a hub without intake must not look healthy: it ends
            logger.critical("intake_ended error=%r", error)
            failure.append(error)
            server.should_exit = True

    thread = threading.Thread(target=work, name="mqtt")
    thread.start()
    try:
        server.run()
    finally:
        line.stop()
        thread.join()
    return failure


def _open(settings: Settings) -> Database:
    try:
        return open_database(settings.database_url)
    except ValueError as error:
        raise Invalid(str(error)) from None
