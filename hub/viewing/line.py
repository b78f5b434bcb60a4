"""The line to a station for footage: HTTPS to the certificate that the station has stated, signed requests, and every
chunk proved against the sealed tree before anybody gets a byte of it. Blocking; one line belongs to one stream.
"""

from __future__ import annotations

import contextlib
import hashlib
import http.client
import json
import secrets
import socket
import ssl
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from sqlalchemy import Connection, desc, select

from custody.digest import HASH_BYTES, leaf_hash
from custody.envelope import parse_envelope
from custody.errors import CustodyError, ProofInvalid
from custody.event import Sha256Hex
from custody.events import decode_event
from custody.stationevents import ViewingOffered
from custody.tlogproof import LogProof
from custody.viewing import (
    PATH,
    REQUEST_TYPE,
    STATUS,
    ChunkRequest,
    chunk_length,
    prove_chunk,
    read_head,
    seal_request,
)
from hub import log
from hub.db import Database
from hub.keys import HubKeys
from hub.tables import log_entry, station
from hub.viewing.book import Viewing
from hub.viewing.problems import FootageAltered, StationAway, StationRefused

TIMEOUT_SECONDS = 10.0
AT_ONCE = 16  # chunks of one request: a viewer who pauses keeps a station's stream no longer than it lets them
_TRIES = 3  # without a chunk in between
_MAX_ANSWER = 4096
_ANY_CHALLENGE = "0" * 32  # the station answers with the one to use


@dataclass(frozen=True, slots=True)
class Place:
    """Where a station serves footage, by its newest statement."""

    host: str
    port: int
    certificate_sha256: str


def find_place(connection: Connection, name: str) -> Place | None:
    """Where station `name` serves footage; None: nowhere, or its key counts no more."""
    good = select(station.c.id).where(
        station.c.id == name, station.c.revoked_at.is_(None), station.c.frozen_at.is_(None)
    )
    if connection.execute(good).first() is None:
        return None
    stated = (log_entry.c.event_type == ViewingOffered.TYPE) & (log_entry.c.source == name)
    query = select(log_entry.c.envelope).where(stated).order_by(desc(log_entry.c.idx)).limit(1)
    raw = connection.execute(query).scalar_one_or_none()
    if raw is None:
        return None
    try:
        envelope = parse_envelope(log.stored_bytes(raw))
        offer = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError:
        return None
    if not isinstance(offer, ViewingOffered) or offer.certificate_sha256 is None:
        return None
    host, _, port = offer.address.rpartition(":")
    if not host or not (port.isascii() and port.isdigit()) or not 0 < int(port) < 65536:
        return None
    return Place(host.removeprefix("[").removesuffix("]"), int(port), offer.certificate_sha256)


def fetch_chunks(db: Database, keys: HubKeys, one: Viewing, first: int, end: int) -> Iterator[bytes]:
    """The proved chunks from `first` up to `end`, one at a time; close it to hang up.

    Raises StationAway, StationRefused, FootageAltered.
    """
    with db.read() as connection:
        place = find_place(connection, one.footage.station)
    if place is None:
        raise StationAway("it has not said where footage can be viewed")
    line, tries = _Line(place), 0
    try:
        while first < end:
            try:
                for chunk in line.ask(partial(_request, db, keys, one, first, end), one, first):
                    yield chunk
                    first, tries = first + 1, 0
            except (OSError, http.client.HTTPException) as error:  # it cut a slow reader off, or is away
                line.hang_up()
                tries += 1
                if tries >= _TRIES:
                    raise StationAway(str(error)) from None
    finally:
        line.hang_up()


def _request(db: Database, keys: HubKeys, one: Viewing, first: int, end: int, challenge: str) -> bytes:
    """A signed request with the proof, by the newest checkpoint, that the viewing is in the log."""
    with db.read() as connection:
        size = log.read_head(connection).size
        hashes = tuple(log.prove_inclusion(connection, one.started_index, size))
        proof = LogProof(one.started_index, hashes, log.newest_note(connection))
    request = ChunkRequest(
        station=one.footage.station, challenge=challenge, nonce=secrets.token_hex(16), grant_id=one.grant_id,
        viewing_id=one.id, holder=one.account, docking=one.footage.docking,
        file_sha256=Sha256Hex(one.footage.file_sha256), first_chunk=first, chunks=min(AT_ONCE, end - first),
        started=one.started.decode(), started_proof=proof.text,
    )  # fmt: skip
    return seal_request(request, keys.commands)


class _Line:
    """One connection, opened when it is needed."""

    def __init__(self, place: Place) -> None:
        self._place = place
        self._challenge = _ANY_CHALLENGE
        self._connection: http.client.HTTPSConnection | None = None

    def ask(self, make: Callable[[str], bytes], one: Viewing, first: int) -> Iterator[bytes]:
        """The proved chunks of one answer, or its beginning. Raises OSError and HTTPException where the line fails."""
        answer = self._post(make(self._challenge))
        if answer.status == STATUS["stale"]:
            self._challenge = _facts(answer).get("challenge", "")[:32]
            answer = self._post(make(self._challenge))
        if answer.status != 200:
            code = _facts(answer).get("code", "")[:40]
            if code == "altered":
                raise FootageAltered(None, None)
            if code == "busy":
                raise StationAway("as many viewings as it serves are under way")
            raise StationRefused(code if code in STATUS else "bad_format")
        for index in range(first, first + _asked(answer)):
            yield _read_chunk(answer, one, index)
        answer.read()

    def hang_up(self) -> None:
        """Close the connection."""
        if self._connection is not None:
            with contextlib.suppress(OSError):
                self._connection.close()
            self._connection = None

    def _post(self, body: bytes) -> http.client.HTTPResponse:
        if self._connection is None:
            self._connection = self._connect()
        self._connection.request("POST", PATH, body, {"content-type": REQUEST_TYPE})
        return self._connection.getresponse()

    def _connect(self) -> http.client.HTTPSConnection:
        """Nothing is sent before the certificate is the one that the station has stated."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.minimum_version = ssl.TLSVersion.TLSv1_3
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE  # its digest is what counts
        connection = http.client.HTTPSConnection(
            self._place.host, self._place.port, timeout=TIMEOUT_SECONDS, context=context
        )
        connection.connect()
        assert isinstance(connection.sock, ssl.SSLSocket)  # noqa: S101 - by the context
        shown = connection.sock.getpeercert(binary_form=True) or b""
        if hashlib.sha256(shown).hexdigest() != self._place.certificate_sha256:
            connection.close()
            raise StationAway("another certificate than the station has stated")
        connection.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return connection


def _asked(answer: http.client.HTTPResponse) -> int:
    """How many chunks the answer says it holds."""
    text = answer.getheader("x-chunks", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) < 4 else 0


def _read_chunk(answer: http.client.HTTPResponse, one: Viewing, index: int) -> bytes:
    """The next chunk, proved. Raises FootageAltered, and ConnectionError when the answer ends early."""
    [count] = _read(answer, 1)
    hashes = _read(answer, count * HASH_BYTES)
    chunk = _read(answer, chunk_length(index, one.footage.size_bytes))
    try:
        prove_chunk(chunk, index, one.footage.size_bytes, read_head(count, hashes), one.footage.tree_root)
    except ProofInvalid:
        raise FootageAltered(index, leaf_hash(chunk)) from None
    return chunk


def _read(answer: http.client.HTTPResponse, wanted: int) -> bytes:
    raw = answer.read(wanted) if wanted else b""
    if len(raw) != wanted:
        raise ConnectionError("the station broke off")
    return raw


def _facts(answer: http.client.HTTPResponse) -> dict[str, str]:
    """What a refusal says."""
    try:
        facts = json.loads(answer.read(_MAX_ANSWER))
    except ValueError:
        return {}
    return {str(key): str(value) for key, value in facts.items()} if isinstance(facts, dict) else {}
