"""Open alerts as retained MQTT messages: what is to be published so that the broker holds exactly the open ones.

`Retained` is pure: it is told what the broker holds, because the hub reads the topics that it writes, and compares it
with what is open in the database. Nothing is remembered across connections, so it does not matter what a crash, a lost
broker, a restore or another hub process left there.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Mapping
from typing import TYPE_CHECKING

from sqlalchemy import Connection

from custody.errors import FormatError
from custody.topics import ROOT, alert_topic, subscription
from hub.alerts.queries import AlertRow, read_open
from hub.alerts.saying import speak
from hub.language import Language, load_translations
from hub.mqttclient import Delivery
from hub.times import to_text
from hub.wording import Wording

if TYPE_CHECKING:
    from hub.mqttclient import Client

logger = logging.getLogger("hub.alerts")

PREFIX = f"{ROOT}/alerts/"
FILTER = subscription(f"{PREFIX}{{unit}}/{{alert}}")
SETTLE_SECONDS = 1.0  # after a subscription: so long the broker may take to hand over what it retains
RETRY_SECONDS = 5.0  # what was published and not heard back is published again
ASK_AGAIN_SECONDS = 60.0  # the subscription is made anew, in case something was not heard


class Retained:
    """What the broker holds on the topics of alerts, as far as it was heard. Times are monotonic seconds."""

    def __init__(self) -> None:
        """Nothing is known before a subscription."""
        self._held: dict[str, bytes] = {}
        self._published: dict[str, tuple[bytes, float]] = {}  # not heard back yet
        self.complete_at: float | None = None  # when everything has been heard; None: nobody was asked

    def ask(self, now: float) -> None:
        """A subscription is being made: the broker tells all that it retains, once more."""
        self._held.clear()
        self._published.clear()
        self.complete_at = now + SETTLE_SECONDS

    def forget(self) -> None:
        """The connection is gone."""
        self.ask(0)
        self.complete_at = None

    def hear(self, topic: str, payload: bytes) -> None:
        """A message came: that is what the broker holds now. Empty: nothing."""
        self._published.pop(topic, None)
        if payload:
            self._held[topic] = payload
        else:
            self._held.pop(topic, None)

    def due(self, wanted: Mapping[str, bytes], now: float) -> list[tuple[str, bytes]]:
        """What to publish, retained: extra ones are cleared, missing and changed ones put there."""
        if self.complete_at is None or now < self.complete_at:
            return []  # what seems to be missing may be on its way
        found = [(topic, b"") for topic in self._held.keys() - wanted.keys()]
        found += [(topic, raw) for topic, raw in wanted.items() if self._held.get(topic) != raw]
        fresh = [one for one in found if not self._is_on_its_way(*one, now)]
        self._published |= {topic: (raw, now) for topic, raw in fresh}
        return sorted(fresh)

    def _is_on_its_way(self, topic: str, raw: bytes, now: float) -> bool:
        sent, at = self._published.get(topic, (None, 0.0))
        return sent == raw and now - at < RETRY_SECONDS


class AlertTopics:
    """The hub's end on one broker connection, where this process is the one that publishes alerts."""

    def __init__(self, client: Client) -> None:
        """`client` is the line's; nothing is subscribed before `tick`."""
        self._client, self._retained = client, Retained()
        self._words = {language: Wording(language, found) for language, found in load_translations().items()}
        self._asked_at: float | None = None

    def forget_connection(self) -> None:
        """What was heard and asked for belonged to a connection that is gone."""
        self._retained.forget()
        self._asked_at = None

    def hear(self, message: Delivery) -> None:
        """A message under one of the topics of alerts."""
        self._retained.hear(message.topic.decode(errors="replace"), message.payload)

    def tick(self, connection: Connection, *, leads: bool) -> None:
        """Call about once a second while connected: publish what differs. Raises SQLAlchemy's errors."""
        now = time.monotonic()
        if not leads:
            if self._asked_at is not None:
                self._client.unsubscribe(FILTER)
                self.forget_connection()
            return
        if self._asked_at is None or now - self._asked_at > ASK_AGAIN_SECONDS:
            if self._asked_at is not None:
                self._client.unsubscribe(FILTER)  # some brokers hand out nothing for a subscription that stands
            self._client.subscribe(FILTER, qos=0)
            self._asked_at = now
            self._retained.ask(now)
        for topic, raw in self._retained.due(wanted(connection, self._words), now):
            self._client.publish(topic, raw, qos=1, retain=True)


def wanted(connection: Connection, words: Mapping[Language, Wording]) -> dict[str, bytes]:
    """Topic and message of every open alert."""
    found = {}
    for row in read_open(connection):
        try:
            found[alert_topic(row.unit, row.id)] = message_of(row, words)
        except FormatError:  # a section's name of an older version: never a reason to be silent about the others
            logger.exception("alert_has_no_topic id=%s", row.id)
    return found


def message_of(row: AlertRow, words: Mapping[Language, Wording]) -> bytes:
    """The retained message. It names no person: who took note of an alert is on its page."""
    zh, en = (speak(words[language], row.about) for language in (Language.ZH, Language.EN))
    body = {
        "id": row.id,
        "kind": row.about.kind,
        "severity": row.severity.value,
        "article": row.kind.article,
        "state": row.state,
        "station": row.about.station,
        "opened_at": to_text(row.opened_at),
        "zh": {"title": zh.title, "what": zh.what, "safe": zh.safe, "do": zh.do},
        "en": {"title": en.title, "what": en.what, "safe": en.safe, "do": en.do},
    }
    return json.dumps(body, ensure_ascii=False).encode()
