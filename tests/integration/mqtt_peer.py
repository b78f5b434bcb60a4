"""A paho MQTT 5 client for tests against real brokers."""

import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from paho.mqtt import client as mqtt
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from paho.mqtt.subscribeoptions import SubscribeOptions

HOST = "127.0.0.1"
WAIT_SECONDS = 60.0


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"waited {WAIT_SECONDS} s for {what}"
        time.sleep(0.01)


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex((HOST, port)) == 0


class Client:
    """A paho MQTT 5 client that keeps what arrives and acknowledges only when told to."""

    def __init__(
        self,
        port: int,
        name: str,
        *,
        session_seconds: int = 0,
        will: tuple[str, bytes] | None = None,
        ack: bool = True,
        tls: tuple[Path, Path, Path] | None = None,
    ) -> None:
        """Connect as `name`; `tls` is authority, certificate and key. Fails the test when no CONNACK comes."""
        self.messages: list[mqtt.MQTTMessage] = []
        self.refusals: list[int] = []
        self.published = 0
        self.granted: list[int] = []
        self.ended_with: str | None = None  # why the broker hung up; paho goes on calling itself connected for a while
        self._subscribed = threading.Event()
        self._ack = ack
        self.paho = mqtt.Client(
            CallbackAPIVersion.VERSION2,
            client_id=name,
            protocol=mqtt.MQTTv5,
            manual_ack=True,
            reconnect_on_failure=False,
        )
        self.paho.on_message = self._on_message
        self.paho.on_subscribe = self._on_subscribe
        self.paho.on_publish = self._on_publish
        self.paho.on_disconnect = self._on_disconnect
        if will:
            self.paho.will_set(will[0], will[1], qos=1, retain=True)
        if tls:
            authority, certificate, key = map(str, tls)
            self.paho.tls_set(authority, certificate, key)
        properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        properties.SessionExpiryInterval = session_seconds
        self.paho.connect(HOST, port, clean_start=session_seconds == 0, properties=properties)
        self.paho.loop_start()
        wait_until(self.paho.is_connected, "CONNACK")

    def _on_message(self, _client: mqtt.Client, _data: Any, message: mqtt.MQTTMessage) -> None:
        self.messages.append(message)
        if self._ack:
            self.paho.ack(message.mid, message.qos)

    def _on_subscribe(self, _client: mqtt.Client, _data: Any, _mid: int, reasons: Any, _properties: Any) -> None:
        self.granted = [reason.value for reason in reasons]
        self._subscribed.set()

    def _on_disconnect(self, _client: mqtt.Client, _data: Any, _flags: Any, reason: Any, _properties: Any) -> None:
        self.ended_with = str(reason)

    def _on_publish(self, _client: mqtt.Client, _data: Any, _mid: int, reason: Any, _properties: Any) -> None:
        self.published += 1
        if reason.is_failure:
            self.refusals.append(reason.value)

    def subscribe(self, topic: str) -> None:
        self._subscribed.clear()
        self.paho.subscribe(topic, options=SubscribeOptions(qos=1, retainAsPublished=True))
        assert self._subscribed.wait(WAIT_SECONDS), "no SUBACK"

    def publish(self, topic: str, payload: bytes, *, retain: bool = False) -> None:
        """Publish with QoS 1 and wait for the broker's acknowledgement."""
        info = self.paho.publish(topic, payload, qos=1, retain=retain)
        info.wait_for_publish(WAIT_SECONDS)
        assert info.is_published(), "no PUBACK"

    def vanish(self) -> None:
        """Lose the connection without DISCONNECT, as a pulled cable does."""
        self.paho.loop_stop()
        sock = self.paho.socket()
        assert isinstance(sock, socket.socket)  # an ssl.SSLSocket is one too
        sock.shutdown(socket.SHUT_RDWR)

    def close(self) -> None:
        self.paho.disconnect()
        self.paho.loop_stop()

    @property
    def payloads(self) -> list[bytes]:
        """What has arrived, in order."""
        return [bytes(message.payload) for message in self.messages]
