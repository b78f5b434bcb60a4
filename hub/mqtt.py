"""MQTT in and out: one thread owns the connection, the batch and the commit.

Messages are acknowledged to the broker only after their transaction is committed, so whatever was not committed comes
again; then receipts and the checkpoint go out. There is no queue of our own to overflow: the broker sends no more than
`RECEIVE_MAXIMUM` unacknowledged messages. While our database fails, nothing is acknowledged and nothing is dropped:
the batch waits, the connection is kept alive, and it is tried again for ever.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from functools import partial
from typing import TypeVar

import paho.mqtt.client as mqtt
from paho.mqtt.enums import MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode
from sqlalchemy import select
from sqlalchemy.exc import SQLAlchemyError

from custody.errors import FormatError
from custody.topics import LOG_CHECKPOINT, TOPICS, parse_station_topic, station_topic, subscription
from hub import log
from hub.alerts.retained import PREFIX as ALERT_PREFIX
from hub.alerts.retained import AlertTopics
from hub.answers import Answers
from hub.commands import sending
from hub.commands.queries import load_envelopes, waiting_numbers
from hub.commands.service import forget_answered, issue_approved, note_sent
from hub.db import Database
from hub.errors import LogReadOnly
from hub.intake import MAX_BATCH, Intake
from hub.keeper import Keeper
from hub.mark import Mark
from hub.mqttclient import Client, Delivery, tls_context
from hub.opener import Opening
from hub.opening import Message, Opened, received
from hub.readonly import why_read_only
from hub.replicas import Replicas
from hub.restore.others import Others
from hub.settings import Settings, broker_address
from hub.tables import station
from hub.times import now_utc
from hub.witnesses.asking import Asking
from hub.witnesses.line import StationWitnesses

logger = logging.getLogger("hub.mqtt")

RECEIVE_MAXIMUM = 1000
SESSION_SECONDS = 7 * 24 * 3600
KEEPALIVE_SECONDS = 30
LONGEST_WAIT_SECONDS = 30.0
_GATHER_SECONDS = 0.002  # the line is quiet when nothing came for so long
_IDLE_SECONDS = 0.2
_ANSWERS_SECONDS = 0.1  # receipts of a busy station are gathered for so long
_TICK_SECONDS = 1.0
_TICKS_LATE = 4
_CHUNK = 25  # messages handed to the opener at once
_SMALLEST_COMMIT = 50  # half the delivery window of the embedded broker: one half is opened while the other commits
T_ = TypeVar("T_")


class HubLine:
    """The hub's end of the broker connection. `run` belongs to one thread; `stop` may come from any."""

    def __init__(self, settings: Settings, db: Database, intake: Intake, asking: Asking) -> None:
        """`asking`: the stations that witness the log. Nothing is connected before `run`.

        Raises OSError for TLS files that cannot be read.
        """
        self._answered: list[Delivery] = []  # by witnesses
        self.connected = False
        self.subscribed = False  # the broker has confirmed every subscription of this connection
        self._settings, self._db, self._intake = settings, db, intake
        self._stopping = threading.Event()
        self._batch: list[Delivery] = []  # received, not yet being opened
        self._opening: deque[tuple[list[Delivery], Opening]] = deque()
        self._answers = Answers(intake.receipt_key)
        self._published_note = ""
        self._notes: deque[str] = deque(maxlen=_TICKS_LATE)  # of a replica: the newest checkpoints, one a tick
        self._replicas = Replicas(settings.client_id) if settings.replica else None
        self._stations: frozenset[str] | None = None  # of a replica: those it has subscribed to on this connection
        self._asked: dict[int | None, list[str]] = {}  # filters of subscriptions that the broker has not answered
        self._sender = sending.Sender()
        self._keeper = Keeper(intake.keys)
        self._mark = Mark(settings.keys_directory)
        self._others = Others(settings.directory, db, intake.keys)
        self._client = self._make_client()
        self._witnesses = StationWitnesses(asking, self._client.publish)
        self._alerts = AlertTopics(self._client)

    def stop(self) -> None:
        """Disconnect, and let `run` return; what is not committed yet was not acknowledged and comes again."""
        self._stopping.set()

    def run(self) -> None:
        """Work until stopped: connect, take batches, reconnect for ever. Raises HubError when the log is untrusted.

        Raises LogReadOnly once somebody holds a newer checkpoint; what was not committed comes again another day.
        """
        self._intake.start_opener()
        try:
            self._work()
        finally:
            self._client.disconnect()

    def _work(self) -> None:
        wait = 0.5
        while not self._stopping.is_set():
            try:
                self._connect()
                wait = 0.5
                self._serve()
            except OSError as error:
                logger.warning("broker_away error=%r next_try_seconds=%.1f", str(error), wait)
            self._forget_connection()
            self._stopping.wait(wait)
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)
        self._leave_replicas()

    # --- one connection ---

    def _connect(self) -> None:
        host, port, _ = broker_address(self._settings.mqtt)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
        properties.SessionExpiryInterval = SESSION_SECONDS
        properties.ReceiveMaximum = RECEIVE_MAXIMUM
        self._client.connect(host, port, KEEPALIVE_SECONDS, clean_start=False, properties=properties)

    def _serve(self) -> None:
        """Until the connection ends or we are stopped."""
        next_tick = next_answers = time.monotonic()
        while not self._stopping.is_set():
            held = len(self._batch)
            busy = held or self._opening
            if self._client.loop(_GATHER_SECONDS if busy else _IDLE_SECONDS) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                logger.warning("broker_connection_lost")
                return
            self._others.look()
            if self._others.to_be_heard():
                continue
            dry = len(self._batch) == held
            if not (self._begin_opening(all_held=dry) and self._commit_opened(dry=dry)):
                return
            answered, self._answered = self._answered, []
            self._witnesses.hear(answered)
            self._client.ack_all([delivery.packet_id for delivery in answered if delivery.packet_id])
            now = time.monotonic()
            if now >= next_answers or not (self._batch or self._opening):
                next_answers = now + _ANSWERS_SECONDS
                self._send_answers()
            if now >= next_tick:
                next_tick = now + _TICK_SECONDS
                self._tick()
        self._send_answers()

    def _begin_opening(self, *, all_held: bool) -> bool:
        """Hand messages to those who open them. False when the connection was lost meanwhile."""
        while len(self._batch) >= _CHUNK or (all_held and self._batch):
            chunk = self._batch[:_CHUNK]
            opening = self._insist(partial(self._intake.begin_opening, [_message(m) for m in chunk]))
            if opening is None:
                return False
            del self._batch[:_CHUNK]
            self._opening.append((chunk, opening))
        return True

    def _commit_opened(self, *, dry: bool) -> bool:
        """Commit the oldest messages, once the line is quiet or enough are in hand. False: the connection was lost.

        While these are committed, the opener opens what came after them. A crash before the commit: the broker sends
        all of it again. A crash between commit and acknowledgement: all of it comes again as duplicates, which get
        their receipts again.
        """
        in_hand = sum(len(chunk) for chunk, _ in self._opening)
        if not in_hand or (not dry and in_hand < MAX_BATCH):
            return True
        taken: list[Delivery] = []
        opened: list[Opened] = []
        while self._opening and len(taken) < MAX_BATCH:
            chunk, opening = self._opening[0]
            if len(taken) >= _SMALLEST_COMMIT and not opening.done():
                break
            taken += chunk
            opened += opening.result()
            self._opening.popleft()
        done = self._insist(partial(self._intake.commit, opened))
        if done is None:
            return False
        self._client.ack_all([message.packet_id for message in taken if message.packet_id])
        self._answers.add(done)
        return True

    def _insist(self, work: Callable[[], T_]) -> T_ | None:
        """Do `work` until our database lets us; None when the connection was lost meanwhile, so it all comes again."""
        wait = 0.2
        while True:
            try:
                return work()
            except (SQLAlchemyError, OSError):
                logger.exception("intake_failed nothing_acknowledged retry_seconds=%.1f", wait)
            if not self._idle(wait):
                return None
            wait = min(wait * 2, LONGEST_WAIT_SECONDS)

    def _idle(self, seconds: float) -> bool:
        """Keep the connection alive for a while; False when it was lost or we are stopped."""
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            if self._stopping.is_set() or self._client.loop(0.1) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                return False
        return True

    def _send_answers(self) -> None:
        answers = self._answers.seal(now_utc())
        if answers:
            self._hand_over(everybody=False)
        for answer in answers:
            self._client.publish(station_topic(answer.station, "receipts"), answer.raw, qos=1)

    def _hand_over(self, *, everybody: bool) -> None:
        """Give stations what they keep for us, before anybody gets a checkpoint over it."""
        try:
            with self._db.read() as connection:
                due = self._keeper.due(connection, everybody=everybody)
        except SQLAlchemyError:
            logger.exception("keeping_failed")
            return
        for name, raw in due:
            self._client.publish(station_topic(name, "keep"), raw, qos=1)

    def _tick(self) -> None:
        now = time.monotonic()
        try:
            with self._db.read() as connection:
                note, closed = log.newest_note(connection), why_read_only(connection)
            if closed is not None:
                raise LogReadOnly(closed)
            self._intake.tick()
            self._divide_stations(now)
            self._send_commands()
        except SQLAlchemyError:
            logger.exception("tick_failed")
            return
        self._send_answers()  # first: a receipt after it would come with an older checkpoint than its station has seen
        self._keep_mark(note)
        self._hand_over(everybody=True)
        if self._replicas is not None:  # another's receipts may be on their way, with older checkpoints
            self._notes.append(note)
            note = self._notes[0] if self._replicas.leads(now) else self._published_note
        if note != self._published_note:
            self._client.publish(LOG_CHECKPOINT, note.encode(), qos=1, retain=True)
            self._published_note = note
        self._publish_alerts(now)
        try:
            self._witnesses.ask(now, self._stations)
        except SQLAlchemyError:
            logger.exception("asking_failed")

    def _publish_alerts(self, now: float) -> None:
        """Of several processes one does; while two take themselves for it, both publish the same."""
        if not self.connected:
            return
        try:
            with self._db.read() as connection:
                self._alerts.tick(connection, leads=self._replicas is None or self._replicas.leads(now))
        except SQLAlchemyError:
            logger.exception("alerts_not_published")

    def _keep_mark(self, note: str) -> None:
        try:
            self._mark.keep(note)
        except OSError:
            logger.exception("mark_not_kept")

    # --- several hub processes ---

    def _divide_stations(self, now: float) -> None:
        """Say that we are alive; subscribe to the stations that are ours by now, and to no others."""
        if self._replicas is None or not self.connected:
            return
        with self._db.begin() as tx:
            self._replicas.beat(tx, now)
            enrolled = frozenset(tx.execute(select(station.c.id)).scalars())
        ours = self._replicas.share(enrolled, now)
        if ours == self._stations:
            return
        # the broker keeps our session, with what an earlier life of ours subscribed to
        had = enrolled if self._stations is None else self._stations
        new = ours if self._stations is None else ours - self._stations
        if had - ours:
            self._client.unsubscribe(filters(sorted(had - ours)))
        if new:
            self._subscribe(filters(sorted(new)))
            self._ask_others(new)
        logger.info("stations_divided ours=%d enrolled=%d", len(ours), len(enrolled))
        self._stations = ours

    def _ask_others(self, names: frozenset[str] | None) -> None:
        """Ask these stations, or all, for the newest checkpoint that they hold."""
        for name, raw in self._others.ask(names):
            self._client.publish(station_topic(name, "keep"), raw, qos=1)

    def _leave_replicas(self) -> None:
        if self._replicas is not None:
            try:
                with self._db.begin() as tx:
                    self._replicas.leave(tx)
            except SQLAlchemyError:
                logger.exception("replica_not_signed_off others_notice_within_seconds=5")

    def _subscribe(self, topics: list[str]) -> None:
        _, message_id = self._client.subscribe([(topic, 1) for topic in topics])
        self._asked[message_id] = topics
        self.subscribed = False

    def _send_commands(self) -> None:
        """Issue what was approved before a crash, and send what is due. Sent first, remembered then: a crash in between
        only leaves the page behind. Raises SQLAlchemy's errors."""
        issue_approved(self._db, self._intake.keys)
        forget_answered(self._db)
        due = self._sender.due(waiting_numbers(self._db, sending.WINDOW), time.monotonic())
        if not due:
            return
        for name, _, raw in load_envelopes(self._db, due):
            self._client.publish(station_topic(name, "commands"), raw, qos=1)
        note_sent(self._db, due)

    def _forget_connection(self) -> None:
        # message ids belong to the connection: an old one must never acknowledge a new message
        self.connected = self.subscribed = False
        self._batch.clear()
        self._opening.clear()
        self._answered.clear()
        self._published_note = ""
        self._stations = None
        self._asked.clear()
        self._sender = sending.Sender()
        self._alerts.forget_connection()

    # --- paho's callbacks, all within loop() ---

    def _make_client(self) -> Client:
        settings = self._settings
        client = Client(settings.client_id, self._on_delivery)
        client.max_inflight_messages_set(200)
        client.max_queued_messages_set(20_000)  # receipts that the broker does not take: stations ask again
        if broker_address(settings.mqtt)[2]:
            client.tls_set_context(tls_context(settings))
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        return client

    def _on_connect(
        self, client: mqtt.Client, _data: object, flags: mqtt.ConnectFlags, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            logger.error("broker_refused reason=%s", reason)
            return
        logger.info("broker_connected session_present=%s", flags.session_present)
        self.connected = True
        if self._replicas is None:
            self._subscribe(filters())
            self._ask_others(None)
        else:
            client.unsubscribe(
                filters()
            )  # of a time when this session was no replica's; the stations come with the tick

    def _on_subscribe(
        self, _client: mqtt.Client, _data: object, mid: int, reasons: list[ReasonCode], _properties: object
    ) -> None:
        asked = self._asked.pop(mid, [])
        for topic, reason in zip(asked, reasons, strict=False):
            if reason.is_failure:
                logger.error("subscription_refused topic=%s reason=%s", topic, reason)
        if asked and not self._asked and not any(reason.is_failure for reason in reasons):
            logger.info("broker_subscribed")
            self.subscribed = True

    def _on_delivery(self, message: Delivery) -> None:
        if message.topic.endswith(b"/cosignatures"):
            if len(self._answered) < RECEIVE_MAXIMUM:
                self._answered.append(message)
            return
        if message.topic.startswith(ALERT_PREFIX.encode()):
            self._alerts.hear(message)
            self._client.ack_all([message.packet_id] if message.packet_id else [])
        elif message.topic.endswith(b"/refill"):
            self._others.hear(message)
            self._client.ack_all([message.packet_id] if message.packet_id else [])
        elif message.packet_id or len(self._batch) < RECEIVE_MAXIMUM:
            self._batch.append(message)
        else:  # nobody of ours sends QoS 0: while we wait for our database it must not fill the memory
            logger.warning("unacknowledgeable_message_dropped payload_bytes=%d", len(message.payload))


def filters(stations: Iterable[str] = ("+",)) -> list[str]:
    """What the hub subscribes to: everything that these stations write, by default all."""
    patterns = [t.pattern for t in TOPICS if t.writer == "station" and "hub" in t.readers]
    return [subscription(pattern.replace("{station}", name)) for name in stations for pattern in patterns]


def _message(delivery: Delivery) -> Message:
    try:
        topic = delivery.topic.decode()
        return received(topic, delivery.payload, parse_station_topic(topic)[0])
    except (UnicodeDecodeError, FormatError):
        return Message(delivery.topic.decode(errors="replace"), delivery.payload, None)
