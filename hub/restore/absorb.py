"""What comes in during a restore, verified as intake verifies it and put into the scratch area.

From a station: its newest checkpoint (signed by our log key), keepings (sealed by our log key), and its own envelopes
(signed by it). From a mirror of the log: entry bundles, C2SP tlog-tiles, each entry signed by its source. What does not
verify is left out and named.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Iterator
from pathlib import Path

from sqlalchemy import Connection, select

from custody.checkpoint import VerifyKey
from custody.commitments import detach
from custody.envelope import parse_envelope
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.events import decode_chain, decode_event
from custody.hubevents import StationEnrolled
from custody.keeping import Refilled, open_keep, open_refilled
from custody.keyrotation import successor
from custody.tiles import ENTRIES, TILE_WIDTH, Tile, decode_bundle, parse_tile_path
from hub import log
from hub.chains import station_keys
from hub.errors import Invalid
from hub.keeping import read_keep
from hub.keys import HubKeys
from hub.restore.outside import read_outside
from hub.restore.placing import Told
from hub.restore.scratch import Given, Scratch
from hub.stationkeys import station_key
from hub.tables import station
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.restore")


class Absorber:
    """Takes in answers and mirrors; each call is one durable step."""

    def __init__(self, connection: Connection, keys: HubKeys, scratch: Scratch) -> None:
        """`connection` is read for what the backup knows, here and not later."""
        self._keys, self._scratch = keys, scratch
        self.base = log.read_head(connection).size
        rows = connection.execute(select(station.c.id, station.c.last_seq)).all()
        self.heads = {row.id: int(row.last_seq) for row in rows}
        self._signers: dict[str, tuple[VerifyKey, ...]] = dict(station_keys(connection))  # the one of now last
        self._own = keys.events.verify_key
        self._learn()

    @property
    def stations(self) -> set[str]:
        """Every station that the log is known to have enrolled."""
        return set(self._signers)

    def page(self, name: str, raw: bytes) -> Refilled:
        """Take in one page of a station's answer. Raises FormatError or SignatureInvalid; then nothing was taken in."""
        at, page = to_text(now_utc()), self._open(name, raw)
        key = self._signers.get(name)
        with self._scratch.begin():
            if page.checkpoint is not None:
                self._checkpoint(name, page.checkpoint)
            for kept in page.keeps:
                self._keeping(name, kept)
            if key is not None:
                for held in page.held:
                    if held.seq > self.heads.get(name, 0):  # rotations from before the backup come along
                        self._envelope(*detach(held.message), held.log_index, name, only=name)
            if page.number:
                self._answered(page, at, known=key is not None)
        return page

    def _open(self, name: str, raw: bytes) -> Refilled:
        """A page, signed by the station's key of now. Its rotations since the backup lie in it and prove themselves."""
        keys = self._signers.get(name)
        if keys is None:
            return open_refilled(raw, name, None)
        try:
            return open_refilled(raw, name, keys[-1])
        except SignatureInvalid:
            for held in open_refilled(raw, name, None).held:
                self._follow(name, detach(held.message)[0])
            return open_refilled(raw, name, self._signers[name][-1])

    def _follow(self, name: str, raw: bytes) -> None:
        """Learn the key that follows, where `raw` is a rotation that the newest known key of this station signed."""
        key = self._signers[name][-1]
        try:
            envelope = parse_envelope(raw)
            new = successor(decode_event(envelope.payload_type, envelope.verify(key)), key)
        except CustodyError:
            return
        if new is not None:
            self._signers[name] = (*self._signers[name], station_key(new.line))

    def checkpoint(self, who: str, note: str) -> None:
        """A checkpoint that somebody handed us. Raises Invalid unless our log key signed it."""
        with self._scratch.begin():
            if not self._checkpoint(who, note):
                raise Invalid(f"{who}: not a checkpoint that this log's key signed")

    def mirror(self, folder: Path) -> int:
        """Take in entry bundles below `folder`; how many entries were new. Raises Invalid when there are none."""
        found = 0
        bundles = sorted(_bundles(folder), key=lambda pair: (pair[0].index, pair[0].width))
        if not bundles:
            raise Invalid(f"{folder} holds no entry bundles (tile/entries/…, C2SP tlog-tiles)")
        for tile, path in bundles:
            if tile.start + tile.width <= self.base:
                continue
            entries = decode_bundle(path.read_bytes(), tile.width)
            with self._scratch.begin():
                for index, raw in enumerate(entries, tile.start):
                    if index >= self.base:
                        found += self._envelope(raw, None, index, str(folder), only=None)
        return found

    # --- inside one transaction of the scratch area ---

    def _checkpoint(self, who: str, note: str) -> bool:
        outside = read_outside(self._keys, who, note)
        if outside is not None:
            self._scratch.add_outside(outside)
        return outside is not None

    def _keeping(self, who: str, message: bytes) -> None:
        try:
            span = read_keep(open_keep(message, self._keys.receipts.verify_key), self._keys.log)
        except CustodyError as error:
            self._fault(f"{who}: {error}")
            return
        if span.size <= self.base:
            return
        self._checkpoint(f"{who} (keeping)", span.note)
        self._scratch.add_told(Told(span.start, span.size, span.runs), span.commits)
        for raw in span.own:
            self._envelope(raw, None, None, who, only=log.HUB_SOURCE)

    def _envelope(self, raw: bytes, opening: bytes | None, index: int | None, who: str, *, only: str | None) -> bool:
        """Verify and keep one envelope; `only` is the source that may come this way. False when it was left out.

        An opening beside it is checked when it goes into the log's database, as intake checks it.
        """
        try:
            envelope = parse_envelope(raw)
            source, seq, _ = decode_chain(envelope.payload_type, envelope.payload)
            if only is not None and source != only:
                raise FormatError(f"an envelope of {source} where only {only}'s belong")
            keys = (self._own,) if source == log.HUB_SOURCE else self._signers.get(source)
            if keys is None:
                raise FormatError(f"nobody enrolled {source}")
            envelope.verify(next((key for key in keys if key.label == envelope.key_label), keys[-1]))
        except CustodyError as error:
            self._fault(f"{who}: {'' if index is None else f'entry {index}: '}{error}")
            return False
        digest = hashlib.sha256(raw).hexdigest()
        other = self._scratch.add_given(Given(source, seq, digest, raw, who, opening))
        if other is not None:
            self._fault(f"{source} signed seq {seq} twice: {other} and {digest} ({who})")
            return False
        if index is not None:
            self._scratch.add_claim(index, source, seq, who)
        if source == log.HUB_SOURCE:
            self._enrolment(envelope.payload_type, envelope.payload)
        else:
            self._follow(source, raw)
        return True

    def _enrolment(self, payload_type: str, payload: bytes) -> None:
        try:
            event = decode_event(payload_type, payload)
            if isinstance(event, StationEnrolled):
                self._signers.setdefault(event.station, (station_key(event.key_line),))
        except CustodyError:  # of a later version: nothing follows from it here
            return

    def _answered(self, page: Refilled, at: str, *, known: bool) -> None:
        first = self.heads.get(page.station, 0) + 1
        done = page.next_seq is None and known
        next_seq = page.next_seq if known and page.next_seq is not None else first
        next_size = self.base if page.next_size is None else page.next_size
        self._scratch.note_answered(page.station, next_seq, next_size, at, done=done)

    def _fault(self, what: str) -> None:
        logger.error("refill_refused what=%s", what)
        self._scratch.add_fault(what[:500], to_text(now_utc()))

    def _learn(self) -> None:
        """Keys of stations that were enrolled after the backup, out of hub events that are at hand."""
        for first, end in self._scratch.seqs().get(log.HUB_SOURCE, []):
            for given in self._scratch.given(log.HUB_SOURCE, first, end - first):
                envelope = parse_envelope(given.envelope)
                self._enrolment(envelope.payload_type, envelope.payload)


def _bundles(folder: Path) -> Iterator[tuple[Tile, Path]]:
    for path in folder.rglob("*"):
        place = path.as_posix().rpartition("/tile/entries/")[2]
        if not path.is_file() or "/tile/entries/" not in path.as_posix():
            continue
        try:
            tile = parse_tile_path(f"tile/entries/{place}")
        except FormatError:
            continue
        if tile.level == ENTRIES and tile.width <= TILE_WIDTH:
            yield tile, path
