"""A hub and stations that witness it, in one process and without a broker: real stores, real databases, real keys.

`Dock` is a station's store with its witness; `carry` takes requests and answers to and fro as the broker would.
"""

from __future__ import annotations

import random
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from agent import witness as station_witness
from agent.station import Station, load_or_create_station, sign_events
from agent.store import Store
from agent.witness import Witness, answer_request, hello, keep_receipt, load_or_create_witness_key, offer_key
from custody.receipt import Receipt
from custody.stationevents import StationStarted
from custody.witness import Accepted, Answer, Behind, Memory, Refusal
from hub.db import Database, open_database
from hub.intake import Intake
from hub.keys import HubKeys
from hub.stations.service import enrol_station
from hub.witnesses.asking import Asking
from hub.witnesses.service import accept_station
from tests.integration.hubs import TestHub

OPERATOR = "tester"


def now() -> datetime:
    return datetime.now(UTC)


class Dock:
    """One station's directory; `hub` may be another face of the same hub from call to call."""

    def __init__(self, directory: Path, keys: HubKeys, name: str) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.station: Station = load_or_create_station(directory, name)
        self.store = Store(directory / "station.db")
        key = load_or_create_witness_key(directory, self.station)
        self.witness = Witness(self.station, key, keys.log.verify_key)
        self.receipt_key = keys.receipts.verify_key
        self._sent = 0
        offer_key(self.store, self.station, key)

    def happen(self, number: int = 1) -> None:
        """`number` more events in the outbox."""
        with self.store.begin():
            sign_events(self.store, self.station, [lambda c: StationStarted(**c, software="test")] * number)

    def deliver(self, hub: TestHub, *, limit: int = 100) -> list[Accepted | Behind | Refusal]:
        """Send what has no receipt yet, keep what comes back; what became of each receipt."""
        first = station_witness.first_to_send(self.store)
        rows = self.store.outbox_from(first, limit)
        answers = hub.take(self.station.id, *(row.envelope for row in rows))
        return [self.receive(one) for one in answers if isinstance(one, Receipt)]

    def receive(self, receipt: Receipt) -> Accepted | Behind | Refusal:
        return keep_receipt(self.store, self.witness, receipt, now())[1]

    def deliver_all(self, hub: TestHub) -> list[Accepted | Behind | Refusal]:
        found = []
        while self.store.first_unreceipted() is not None:
            outcomes = self.deliver(hub)
            found += outcomes
            if not outcomes or not all(isinstance(one, Accepted) for one in outcomes):
                break
        return found

    def answer(self, raw: bytes) -> Answer:
        return answer_request(self.store, self.witness, raw, now())

    def memory(self) -> Memory:
        return station_witness.load_memory(self.store, self.witness.log_key.name)

    def events(self, kind: str) -> int:
        """How many events of this type stand in its outbox."""
        rows = self.store.outbox_from(1, 100_000)
        return sum(kind.encode() in row.envelope or kind in _payload(row.envelope) for row in rows)

    def close(self) -> None:
        self.store.close()


def _payload(envelope: bytes) -> str:
    from custody.envelope import parse_envelope  # noqa: PLC0415

    return parse_envelope(envelope).payload.decode()


def enrolled(hub: TestHub, docks: Sequence[Dock]) -> None:
    """Enrol stations, take in their offers, accept them as witnesses."""
    for dock in docks:
        enrol_station(hub.db, hub.keys, dock.station.key.verify_key.line)
        dock.deliver_all(hub)
        accept_station(hub.db, hub.keys, dock.station.id, OPERATOR)


def carry(hub: TestHub, docks: Sequence[Dock], *, greet: bool = False) -> list[Answer]:
    """One round: everything that the hub asks these stations and what follows from it, until nobody has more to say.

    `greet`: the stations have just connected, and say first what they know.
    """
    asking = Asking(hub.db, hub.keys, by_http=False, every_seconds=0)
    by_id, answers = {dock.station.id: dock for dock in docks}, []
    waiting = [request for request in asking.due(1.0) if request.witness.station in by_id]
    for dock in docks if greet else ():
        one = asking.witness_of(dock.station.id)
        assert one is not None
        if (following := asking.take(one, hello(dock.store, dock.witness))) is not None:
            waiting.append(following)
    while waiting:
        request = waiting.pop()
        answer = by_id[str(request.witness.station)].answer(request.raw)
        answers.append(answer)
        one = asking.witness_of(str(request.witness.station))
        assert one is not None
        if (following := asking.take(one, answer)) is not None:
            waiting.append(following)
    return answers


def opened_hub(url: str, keys: HubKeys) -> TestHub:
    db: Database = open_database(url)
    return TestHub(db, keys, Intake(db, keys, 480))


def some(chance: random.Random, most: int = 12) -> int:
    return chance.randint(1, most)
