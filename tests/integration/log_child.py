"""A hub worker that only takes in: ``python -m tests.integration.log_child URL STATION SEQ``, until it is killed.

Sends the station's chain from SEQ on, in batches of one to forty, and after each commit prints the size and root of the
checkpoint that its receipts carry.
"""

from __future__ import annotations

import random
import sys
import time

from custody.checkpoint import open_checkpoint
from custody.topics import station_topic
from hub.db import open_database
from hub.intake import Intake
from hub.opening import Message
from tests.bench.stations import SigningStation
from tests.integration.hubs import test_keys


def main(url: str, name: str, first: int) -> None:
    keys, station, chance = test_keys(), SigningStation(name), random.Random(first)
    intake = Intake(open_database(url), keys, 480)
    for _ in range(first - 1):
        station.segment()
    while True:
        raws = [station.segment() for _ in range(chance.randrange(1, 40))]
        messages = [Message(station_topic(name, "events"), raw, name) for raw in raws]
        taken = intake.commit(intake.open(messages))
        signed = open_checkpoint(taken.note, keys.log.verify_key)
        print(signed.size, signed.root.hex(), flush=True)
        time.sleep(0.02)  # the test checks the whole log after each kill: it must not grow as fast as it can


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], int(sys.argv[3]))
