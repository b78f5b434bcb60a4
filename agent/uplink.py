"""The line to the hub: sends the outbox in order over MQTT 5, clears rows by verified receipts only, takes commands.

Durable first, then announce: every envelope lies in the outbox before it is sent. The link may be away for weeks.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import logging
import ssl
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import paho.mqtt.client as mqtt
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from agent import keeping, outbox
from agent.commands import Handler, Trust, take_command, trust_now
from agent.duty import overwrite_forgotten
from agent.errors import VaultError
from agent.settings import HubLink, invalid
from agent.station import clock_quality
from agent.store import Store
from agent.store_thread import StoreThread
from agent.waiting import happened
from agent.witness import (
    PATIENCE_SECONDS,
    PROOF_PATIENCE_SECONDS,
    Witness,
    answer_request,
    first_to_send,
    hello,
    keep_checkpoint,
    keep_receipt,
    load_memory,
    state_rollback,
    state_unproven,
)
from custody.commandbody import OpeningsForgotten
from custody.errors import CustodyError
from custody.keeping import RefillRequest, claimed_type, open_keep, open_refill_request
from custody.receipt import ResendRequest, open_receipt
from custody.topics import LOG_CHECKPOINT, station_topic
from custody.witness import Accepted, Behind, Code, Refusal

log = logging.getLogger("agent.uplink")

BATCH = 64
TICK_SECONDS = 1.0
RECONNECT_MIN_SECONDS, RECONNECT_MAX_SECONDS = 1, 60
SESSION_SECONDS = 24 * 3600


class Uplink:
    """Runs as one task; `poke` wakes it when envelopes were queued, `publish_bay` keeps a bay's topic fresh."""

    def __init__(
        self,
        link: HubLink,
        witness: Witness,
        store: StoreThread,
        state: Callable[[], dict[str, Any]],
        handlers: Mapping[str, Handler] | None = None,
    ) -> None:
        """`state` gives the station's retained state without outbox figures; `handlers` carry out kinds of commands
        that `agent.commands` does not. Raises SettingsInvalid."""
        self._link, self._witness, self._station = link, witness, witness.station
        self._store, self._describe = store, state
        self._behind_since: float | None = None  # the log shows less than before; on a monotonic clock
        self._demanding_since: float | None = None  # the log was told to prove a checkpoint and has not
        self._refused: Code | None = None
        # without a command key no command is opened; the log's then stands in its place and is never asked
        self._pinned = Trust(link.command_key or link.log_key, link.log_key, handlers or {}, link.receipt_key)
        self._trust = self._pinned
        self._state = outbox.SendState()
        self._wake = asyncio.Event()
        self._inbox: asyncio.Queue[Callable[[], Any]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()
        self._client = self._make_client()
        self._retained: dict[str, bytes] = {}
        self._kept = 0  # up to which size of the log keepings are held without a gap

    @property
    def online(self) -> bool:
        """Whether the broker is connected now."""
        return self._state.connected

    @property
    def log_refused(self) -> Code | None:
        """Why the hub's log is not believed now; None: nothing speaks against it."""
        return self._refused

    def poke(self) -> None:
        """There may be something to send."""
        self._wake.set()

    def publish_bay(self, bay: str, state: dict[str, Any]) -> None:
        """Show a bay's state, now and after every reconnection."""
        self._retain(station_topic(self._station.id, "bay", bay), state)

    async def run(self) -> None:
        """Work until cancelled; then say offline and leave."""
        await self._learn_keys()
        host, port, _ = self._link.address()
        self._client.connect_async(host, port, keepalive=30, clean_start=False, properties=_session())
        self._client.loop_start()
        try:
            while True:
                await self._step()
                await happened(self._wake, TICK_SECONDS)
                self._wake.clear()
        finally:
            await asyncio.to_thread(self._leave)

    async def _step(self) -> None:
        while not self._inbox.empty():
            await self._inbox.get_nowait()()
        if outbox.timed_out(self._state, time.monotonic()):
            log.warning("receipts_stay_away resend_from=%d", self._state.confirmed)
            self._state = outbox.rewound(self._state)
        while allowance := outbox.allowance(self._state):
            rows = await self._store.call(Store.outbox_from, self._state.next_seq, min(allowance, BATCH))
            if not rows:
                break
            topic = station_topic(self._station.id, "events")
            for row in rows:
                if self._client.publish(topic, row.message, qos=1).rc != MQTTErrorCode.MQTT_ERR_SUCCESS:
                    return  # the link went down; on_disconnect follows
            self._state = outbox.sent(self._state, rows[-1].seq, time.monotonic())
        await self._refresh_state()

    async def _refresh_state(self) -> None:
        """The station's retained state: when something in it changed, or half a minute went by."""
        depth, oldest = await self._store.call(Store.outbox_depth)
        now = datetime.now(UTC)
        age = 0 if oldest is None else max(0, round((now - oldest).total_seconds()))
        self._refused = (await self._store.call(load_memory, self._witness.log_key.name)).stopped
        state = self._describe() | {"outbox_unreceipted": depth, "outbox_oldest_seconds": age, "online": True}
        state["kept"] = self._kept
        if self._refused is not None:
            state["log_refused"] = self._refused.value
        state["at"] = f"{now.replace(second=now.second // 30 * 30):%Y-%m-%dT%H:%M:%SZ}"
        self._retain(station_topic(self._station.id, "state"), state)

    def _retain(self, topic: str, state: dict[str, Any]) -> None:
        payload = json.dumps(state, ensure_ascii=False, separators=(",", ":")).encode()
        if self._retained.get(topic) != payload:
            self._retained[topic] = payload
            if self._state.connected:
                self._client.publish(topic, payload, qos=1, retain=True)

    # --- answers of the hub, in the event loop ---

    async def _on_up(self) -> None:
        first = await self._store.call(first_to_send)
        self._state = outbox.connected(self._state, first)
        self._kept = await self._store.call(keeping.kept_through, self._link.log_key.name, 0)
        await self._give_back(RefillRequest(self._station.id, 0, 0, 0))  # a hub put back from an old backup hears it
        log.info("uplink_connected first_unreceipted=%d", first)
        for topic, payload in self._retained.items():
            self._client.publish(topic, payload, qos=1, retain=True)
        await self._say_hello()

    async def _on_down(self) -> None:
        if self._state.connected:
            log.warning("uplink_disconnected")
        self._state = outbox.disconnected(self._state)

    async def _on_answer(self, raw: bytes) -> None:
        receipt_key = self._trust.receipt_key or self._link.receipt_key
        try:
            answer, checkpoint = open_receipt(raw, self._station.id, receipt_key, self._trust.log_key)
        except CustodyError as error:
            log.warning("receipt_refused code=%s why=%s", error.code, error)
            return
        now = time.monotonic()
        if isinstance(answer, ResendRequest) and await self._store.call(_was_logged, answer.from_seq, self._link):
            # A hub that lost its log would take them in at other places and so tell its history in two ways.
            log.critical("hub_asks_for_what_it_receipted from_seq=%d", answer.from_seq)
            await self._give_back(RefillRequest(self._station.id, 0, 0, 0))
            return
        if isinstance(answer, ResendRequest):
            log.warning("hub_asks_again from_seq=%d", answer.from_seq)
            self._state = outbox.resend_from(self._state, answer.from_seq, now)
            return
        assert checkpoint is not None  # noqa: S101 - open_receipt gives one with every receipt
        first, outcome = await self._store.call(keep_receipt, self._witness, answer, datetime.now(UTC))
        await self._judge(outcome, answer.checkpoint_note)
        if isinstance(outcome, Accepted):  # else the rows wait, and go out again for a receipt of a better log
            self._state = outbox.receipted(self._state, first, max((e.seq for e in answer.entries), default=0), now)

    async def _on_checkpoint(self, raw: bytes, *, retained: bool) -> None:
        try:
            note = raw.decode()
            outcome = await self._store.call(keep_checkpoint, self._witness, note, datetime.now(UTC))
        except (UnicodeDecodeError, CustodyError) as error:
            log.warning("checkpoint_refused why=%s", error)
            return
        self._state = outbox.heard(self._state, time.monotonic())
        if not (retained and isinstance(outcome, Behind)):  # what a broker kept may be older than a receipt
            await self._judge(outcome, note)

    async def _on_witness_request(self, raw: bytes) -> None:
        answer = await self._store.call(answer_request, self._witness, raw, datetime.now(UTC))
        if answer.type == "cosigned.v1":
            self._behind_since = self._demanding_since = None
        elif answer.code == Code.PROVE_FIRST:
            now = time.monotonic()
            self._demanding_since = self._demanding_since or now
            if now - self._demanding_since > PROOF_PATIENCE_SECONDS:
                await self._store.call(state_unproven, self._witness, raw, datetime.now(UTC))
        log.info("witness_answered type=%s code=%s size=%d", answer.type, answer.code, answer.size)
        self._client.publish(station_topic(self._station.id, "cosignatures"), answer.raw, qos=1)

    async def _judge(self, outcome: Accepted | Behind | Refusal, note: str) -> None:
        """React to a checkpoint that came without a proof."""
        now = time.monotonic()
        match outcome:
            case Accepted():
                self._behind_since = None
            case Behind():
                log.warning("log_behind known_size=%d", outcome.size)
                if self._behind_since is None:
                    self._behind_since = now
                    await self._say_hello()
                elif now - self._behind_since > PATIENCE_SECONDS:
                    await self._store.call(state_rollback, self._witness, note, datetime.now(UTC))
                    await self._say_hello()
            case Refusal():
                log.warning("receipt_refused code=%s", outcome.code)
                if outcome.contradiction is not None:
                    await self._say_hello()

    async def _say_hello(self) -> None:
        answer = await self._store.call(hello, self._witness)
        self._client.publish(station_topic(self._station.id, "cosignatures"), answer.raw, qos=1)

    async def _on_command(self, raw: bytes) -> None:
        """Carry a command out; its answer lies in the outbox and goes with this step's sending."""
        if self._link.command_key is None:
            log.warning("command_refused code=no_command_key")
            return
        now, clock = datetime.now(UTC), clock_quality()
        try:
            answer = await self._store.call(take_command, self._station, self._pinned, raw, now, clock)
            await self._learn_keys()
        except VaultError as error:  # nothing was done and nothing answered: the hub sends it again
            log.warning("command_postponed code=%s", error.code)
            return
        if answer is not None and answer.kind == OpeningsForgotten.KIND:
            await self._store.call(overwrite_forgotten)
        if answer is not None:
            log.info(
                "command_answered number=%d kind=%s result=%s reason=%s",
                answer.number, answer.kind, answer.result, answer.reason,
            )  # fmt: skip

    async def _learn_keys(self) -> None:
        """The hub's keys as the rotations so far leave them; the witness holds to the log's newest one."""
        self._trust = await self._store.call(trust_now, self._pinned)
        self._witness = replace(self._witness, log_key=self._trust.log_key)

    async def _on_keep(self, raw: bytes) -> None:
        """A keeping to store, or a request to give everything back."""
        try:
            if claimed_type(raw) == "refill.v1":
                await self._give_back(open_refill_request(raw, self._station.id, self._link.receipt_key))
                return
            kept = open_keep(raw, self._link.receipt_key)
        except CustodyError as error:
            log.warning("keeping_refused code=%s why=%s", error.code, error)
            return
        if kept.log == self._link.log_key.name:
            await self._store.call(keeping.keep, kept, raw)
            self._kept = await self._store.call(keeping.kept_through, kept.log, self._kept)

    async def _give_back(self, request: RefillRequest) -> None:
        page = await self._store.call(keeping.answer, self._station, self._link.log_key, request)
        self._client.publish(station_topic(self._station.id, "refill"), page, qos=1)

    # --- paho's thread: hand everything over to the event loop ---

    def _make_client(self) -> mqtt.Client:
        client = mqtt.Client(CallbackAPIVersion.VERSION2, client_id=self._station.id, protocol=mqtt.MQTTv5)
        client.max_queued_messages_set(4 * outbox.WINDOW)
        client.max_inflight_messages_set(outbox.WINDOW)
        client.reconnect_delay_set(RECONNECT_MIN_SECONDS, RECONNECT_MAX_SECONDS)
        offline = json.dumps({"station": self._station.id, "online": False}).encode()
        client.will_set(station_topic(self._station.id, "state"), offline, qos=1, retain=True)
        if self._link.address()[2]:
            client.tls_set_context(_tls(self._link))
        client.on_connect = self._connected
        client.on_disconnect = self._disconnected
        client.on_message = self._received
        client.on_publish = self._published
        return client

    def _hand_over(self, action: Callable[[], Any]) -> None:
        def deliver() -> None:
            self._inbox.put_nowait(action)
            self._wake.set()

        with contextlib.suppress(RuntimeError):  # the event loop has closed: we are going down
            self._loop.call_soon_threadsafe(deliver)

    def _connected(
        self, client: mqtt.Client, _data: object, _flags: object, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:
            log.error("uplink_refused reason=%s", reason)
            return
        own = [station_topic(self._station.id, channel) for channel in ("receipts", "commands", "witness", "keep")]
        client.subscribe([(topic, 1) for topic in (*own, LOG_CHECKPOINT)])
        self._hand_over(self._on_up)

    def _disconnected(self, *_: object) -> None:
        self._hand_over(self._on_down)

    def _received(self, _client: mqtt.Client, _data: object, message: mqtt.MQTTMessage) -> None:
        raw, retained = bytes(message.payload), message.retain
        if message.topic == LOG_CHECKPOINT:
            self._hand_over(lambda: self._on_checkpoint(raw, retained=retained))
        elif message.topic.endswith("/witness"):
            self._hand_over(lambda: self._on_witness_request(raw))
        elif message.topic.endswith("/commands"):
            self._hand_over(lambda: self._on_command(raw))
        elif message.topic.endswith("/keep"):
            self._hand_over(lambda: self._on_keep(raw))
        else:
            self._hand_over(lambda: self._on_answer(raw))

    def _published(
        self, _client: mqtt.Client, _data: object, mid: int, reason: ReasonCode, _properties: object
    ) -> None:
        if reason.is_failure:  # refused by ACL, quota or size: the receipt will not come; the timeout sends again
            log.error("publish_refused mid=%d reason=%s", mid, reason)

    def _leave(self) -> None:
        if self._state.connected:
            topic = station_topic(self._station.id, "state")
            body = json.dumps({"station": self._station.id, "online": False}).encode()
            info = self._client.publish(topic, body, qos=1, retain=True)
            with contextlib.suppress(RuntimeError, ValueError):
                info.wait_for_publish(2)
        self._client.disconnect()
        self._client.loop_stop()


def _tls(link: HubLink) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=link.ca)
        if link.certificate is not None:
            context.load_cert_chain(link.certificate, link.private_key)
    except OSError as error:  # ssl.SSLError is one
        raise invalid(
            f"the TLS files of the hub's link cannot be used ({error}); enrol this station again",
            f"连接中心所用的 TLS 文件无法使用（{error}）；请重新登记本采集站",
        ) from error
    return context


def _was_logged(store: Store, seq: int, link: HubLink) -> bool:
    """Whether a receipt of the hub's present log says that this envelope is in it."""
    return seq < first_to_send(store) and keeping.newest_checkpoint(store, link.log_key) is not None


def _session() -> Properties:
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]  # paho leaves it untyped
    properties.SessionExpiryInterval = SESSION_SECONDS
    return properties
