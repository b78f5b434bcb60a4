"""Stations as witnesses, over MQTT: ``witness`` to a station, ``cosignatures`` back. Part of the hub's line."""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from typing import Any

from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties
from sqlalchemy.exc import SQLAlchemyError

from custody.errors import FormatError
from custody.topics import parse_station_topic, station_topic
from custody.witness import parse_answer
from hub.mqttclient import Delivery
from hub.witnesses.asking import ASK_SECONDS, Asking, Request

logger = logging.getLogger("hub.witnesses")


class StationWitnesses:
    """Belongs to the line's thread."""

    def __init__(self, asking: Asking, publish: Callable[..., Any]) -> None:
        """`publish` is the MQTT client's."""
        self._asking, self._publish = asking, publish

    def ask(self, now_seconds: float, ours: frozenset[str] | None) -> None:
        """Ask what is due; `ours`: the stations of this hub process, None for all. Raises SQLAlchemy's errors."""
        for request in self._asking.due(now_seconds, ours):
            self._send(request)

    def hear(self, answered: Sequence[Delivery]) -> None:
        """Keep what witnesses answered. An answer that our database refuses is lost: the next round asks again."""
        for delivery in answered:
            try:
                station = parse_station_topic(delivery.topic.decode())[0]
                answer, one = parse_answer(delivery.payload), self._asking.witness_of(station)
                if one is None:
                    self._asking.hear_stranger(station, answer)
                else:
                    self._send(self._asking.take(one, answer))
            except (UnicodeDecodeError, FormatError) as error:
                logger.warning("witness_answer_refused why=%s", error)
            except SQLAlchemyError:
                logger.exception("witness_answer_lost")

    def _send(self, request: Request | None) -> None:
        """Send a request that no broker keeps for longer than it is of use."""
        if request is not None and request.witness.station is not None:
            properties = Properties(PacketTypes.PUBLISH)  # type: ignore[no-untyped-call]  # paho leaves it untyped
            properties.MessageExpiryInterval = int(ASK_SECONDS)
            topic = station_topic(request.witness.station, "witness")
            self._publish(topic, request.raw, qos=1, properties=properties)
