"""The hub's line while its log is read-only: asks every station for what it keeps, a page at a time, and completes.

Another session than the one that takes envelopes in: what waits there is not touched, and not in our way. Every request
is repeated until it is answered, one page at a time, so that nobody is flooded; whoever is away is asked again when it
is back. What was answered is durable, so a kill at any moment only costs the page under way.
"""

from __future__ import annotations

import logging
import threading
import time
from pathlib import Path

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from sqlalchemy.exc import SQLAlchemyError

from custody.errors import CustodyError, FormatError
from custody.keeping import RefillRequest, seal_refill_request
from custody.topics import parse_station_topic, station_topic, subscription
from hub.db import Database
from hub.errors import HubError
from hub.keys import HubKeys
from hub.mqttclient import tls_context
from hub.readonly import why_read_only
from hub.restore.absorb import Absorber
from hub.restore.completing import complete
from hub.restore.scratch import Scratch, drop_scratch
from hub.restore.status import read_status
from hub.settings import Settings, broker_address
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.restore")

PATIENCE_SECONDS = 10.0  # then the same page is asked for again
COMPLETE_EVERY_SECONDS = 2.0
LONGEST_WAIT_SECONDS = 30.0
_EXPIRY_SECONDS = 60  # of a request: a station that is away for weeks must not find thousands


class RestoreLine:
    """`run` belongs to one thread; `stop` may come from any."""

    def __init__(self, settings: Settings, db: Database, keys: HubKeys) -> None:
        """Nothing is connected before `run`. Raises OSError for TLS files that cannot be read."""
        self._settings, self._db, self._keys = settings, db, keys
        self._stopping = threading.Event()
        self._inbox: list[tuple[str, bytes]] = []
        self._met: set[str] = set()  # stations that spoke, enrolled or not
        self._asked_at: dict[str, float] = {}
        self._number = int(time.time())
        self._connected = False
        self._client = self._make_client()
        self._last_error = ""

    def stop(self) -> None:
        """Let `run` return."""
        self._stopping.set()

    def run(self) -> None:
        """Work until the log is open again or until stopped; reconnect for ever."""
        wait = 0.5
        while not self._stopping.is_set() and self._read_only():
            try:
                self._connect()
                wait = 0.5
                self._serve()
            except OSError as error:
                logger.warning("broker_away error=%r next_try_seconds=%.1f", str(error), wait)
            self._connected = False
            if self._read_only():
                self._stopping.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    # --- one connection ---

    def _connect(self) -> None:
        host, port, _ = broker_address(self._settings.mqtt)
        self._client.connect(host, port, 30, clean_start=True)

    def _serve(self) -> None:
        scratch = Scratch(self._settings.directory)
        try:
            with self._db.read() as connection:
                absorber = Absorber(connection, self._keys, scratch)
            next_try = time.monotonic()
            while not self._stopping.is_set():
                if self._client.loop(0.2) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    logger.warning("broker_connection_lost")
                    return
                answered = self._take(absorber)
                if self._connected:
                    self._ask(absorber, scratch)
                if answered or time.monotonic() >= next_try:
                    next_try = time.monotonic() + COMPLETE_EVERY_SECONDS
                    if not self._read_only() or self._try_to_complete(scratch):
                        break
        finally:
            scratch.close()
            self._client.disconnect()
        if not self._read_only():
            drop_scratch(self._settings.directory)

    def _take(self, absorber: Absorber) -> bool:
        """Take in what came; whether a station has answered to its end."""
        inbox, self._inbox = self._inbox, []
        ended = False
        for name, raw in inbox:
            try:
                page = absorber.page(name, raw)
            except CustodyError as error:
                logger.warning("refill_page_refused station=%s code=%s why=%s", name, error.code, error)
                continue
            if page.number:
                self._asked_at.pop(name, None)
                ended = ended or page.next_seq is None
        return ended

    def _ask(self, absorber: Absorber, scratch: Scratch) -> None:
        """The next page of every station that is not through, unless it was asked a moment ago."""
        asked, now = scratch.asked(), time.monotonic()
        for name in sorted(absorber.stations | self._met):
            told = asked.get(name)
            if (told is not None and told.done) or now < self._asked_at.get(name, 0.0):
                continue
            self._asked_at[name] = now + PATIENCE_SECONDS
            seq = absorber.heads.get(name, 0) + 1 if told is None else told.next_seq
            size = absorber.base if told is None else told.next_size
            self._number += 1
            with scratch.begin():
                scratch.note_asked(name, seq, size, to_text(now_utc()))
            self._publish(name, RefillRequest(name, self._number, seq, size))

    def _publish(self, name: str, request: RefillRequest) -> None:
        properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.MessageExpiryInterval = _EXPIRY_SECONDS
        raw = seal_refill_request(request, self._keys.receipts)
        self._client.publish(station_topic(name, "keep"), raw, qos=1, properties=properties)

    def _try_to_complete(self, scratch: Scratch) -> bool:
        """Put everything into the log if it is all here; whether the log is open now."""
        try:
            status, plan = read_status(self._db, self._keys, self._settings.directory)
            if plan is None or not status.complete:
                return False
            complete(self._db, self._keys, scratch, plan, self._settings.utc_offset_minutes)
        except (HubError, SQLAlchemyError) as error:
            if str(error) != self._last_error:
                logger.error("restore_not_completed nothing_changed why=%s", error)  # noqa: TRY400 - it says it all
                self._last_error = str(error)
                with scratch.begin():
                    scratch.set_fact("error", str(error))
            return False
        return True

    def _read_only(self) -> bool:
        try:
            with self._db.read() as connection:
                return why_read_only(connection) is not None
        except SQLAlchemyError:
            logger.exception("database_away")
            return True

    # --- paho's callbacks, all within loop() ---

    def _make_client(self) -> mqtt.Client:
        name = f"{self._settings.client_id}-restore"
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=name, protocol=mqtt.MQTTv5)
        if broker_address(self._settings.mqtt)[2]:
            client.tls_set_context(tls_context(self._settings))
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            logger.error("broker_refused reason=%s", reason)
            return
        self._connected = True
        self._asked_at.clear()
        patterns = ("custodock/1/{station}/refill", "custodock/1/{station}/state")
        client.subscribe([(subscription(pattern), 1) for pattern in patterns])
        logger.info("restore_line_connected")

    def _on_message(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        try:
            name, channel, _ = parse_station_topic(message.topic)
        except (FormatError, UnicodeDecodeError):
            return
        self._met.add(name)
        if channel == "refill":
            self._inbox.append((name, bytes(message.payload)))


def finish_left_over(db: Database, directory: Path) -> None:
    """A kill after the commit left the scratch area behind: everything of it is in the log."""
    with db.read() as connection:
        if why_read_only(connection) is None:
            drop_scratch(directory)
