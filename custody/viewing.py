"""What the hub asks a station for when somebody views footage, and how the answer is proved. See
``custody/spec/viewing.md``.

A request is an envelope of a payload type of its own, signed with the hub's command key. It carries the log entry that
states the viewing, with its proof: a station gives no byte whose use is not in the log, whoever holds the command key.
Pure: keys and the station's challenge come in as values.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

from custody.checkpoint import SigningKey, VerifyKey, open_checkpoint
from custody.commandbody import check_text
from custody.digest import CHUNK_BYTES, HASH_BYTES, Buffer, leaf_hash
from custody.envelope import MAX_ENVELOPE_BYTES, open_envelope, parse_envelope, seal
from custody.errors import CustodyError, FormatError, ProofInvalid, SignatureInvalid
from custody.event import Sha256Hex
from custody.events import decode_event
from custody.fields import dump_json, load_object, read_fields, write_fields
from custody.hubevents import FootageViewStarted
from custody.merkle import verify_inclusion
from custody.tlogproof import parse_proof

REQUEST_TYPE = "application/vnd.custodock.viewing+json"
CHUNKS_TYPE = "application/vnd.custodock.chunks"
PATH = "/viewing/1/chunks"
MAX_REQUEST_BYTES = MAX_ENVELOPE_BYTES
MAX_CHUNKS = 64  # in one answer
MAX_PROOF_HASHES = 63
_HUB = "hub"
_WORD = re.compile(r"[0-9a-f]{32}")

# Why a station gives nothing, and the HTTP status of that answer.
STATUS: dict[str, int] = {
    "too_long": 413, "bad_format": 400, "bad_signature": 401, "wrong_station": 403, "not_logged": 403,
    "stale": 409, "replayed": 409, "grant_unknown": 403, "wrong_holder": 403, "wrong_file": 403, "revoked": 403,
    "expired": 403, "clock_unsynchronised": 403, "not_saved": 404, "altered": 410, "bad_range": 416, "busy": 503,
}  # fmt: skip


@dataclass(frozen=True, slots=True, kw_only=True)
class ChunkRequest:
    """Some chunks of one file, for one viewing by one grant."""

    station: str  # the one station that it is for
    challenge: str  # 32 hex digits that this station gave out last; it holds for minutes of a clock that nobody sets
    nonce: str  # 32 hex digits, once
    grant_id: str  # see grant.v1 of commands.md
    viewing_id: str  # see footage.view_started.v1
    holder: str  # account of the grant
    docking: str  # where the file was saved
    file_sha256: Sha256Hex  # the file
    first_chunk: int  # number of the first chunk, from 0
    chunks: int  # how many, 1 to 64
    started: str  # envelope of the footage.view_started.v1 event
    started_proof: str  # C2SP tlog-proof that it is in the log


class ViewingRefused(CustodyError):
    """A request that gets no footage. `code` is a key of `STATUS`."""

    code: str
    codes: ClassVar[tuple[str, ...]] = tuple(STATUS)

    def __init__(self, code: str, message: str = "") -> None:
        super().__init__(message or code)
        self.code = code


def seal_request(request: ChunkRequest, key: SigningKey) -> bytes:
    """The signed bytes of a request. Raises FormatError for one that a station would refuse for its form."""
    _check(request)
    return seal(REQUEST_TYPE, dump_json(write_fields(request)), key)


def open_request(raw: bytes, station: str, command_key: VerifyKey, log_key: VerifyKey) -> ChunkRequest:
    """Read a request to `station`.

    1. It is no longer than an envelope may be. 2. It is a request in an envelope, its values within their ranges. 3.
    The command key signed it. 4. It is for this station. 5. The log proves that this viewing was stated. What depends
    on the station's own state (challenge, nonce, grant, file) is judged by `agent.viewing.decision`. Raises
    ViewingRefused.
    """
    if len(raw) > MAX_REQUEST_BYTES:  # 1
        raise ViewingRefused("too_long", f"a request holds at most {MAX_REQUEST_BYTES} bytes")
    try:
        request = read_fields(ChunkRequest, load_object(open_envelope(raw, command_key, REQUEST_TYPE)), "request")  # 3
        _check(request)  # 2
    except SignatureInvalid as error:
        raise ViewingRefused("bad_signature", str(error)) from None
    except FormatError as error:
        raise ViewingRefused("bad_format", str(error)) from None
    if request.station != station:  # 4
        raise ViewingRefused("wrong_station", f"the request is for {request.station[:80]}")
    _check_logged(request, log_key)  # 5
    return request


def _check_logged(request: ChunkRequest, log_key: VerifyKey) -> None:
    raw = request.started.encode()
    try:
        proof = parse_proof(request.started_proof.encode())
        checkpoint = open_checkpoint(proof.note, log_key)
        verify_inclusion(leaf_hash(raw), proof.index, checkpoint.size, proof.hashes, checkpoint.root)
        envelope = parse_envelope(raw)
        event = decode_event(envelope.payload_type, envelope.payload)
    except CustodyError as error:
        raise ViewingRefused("not_logged", f"the log does not prove this viewing: {error}") from None
    if not isinstance(event, FootageViewStarted) or event.source != _HUB:
        raise ViewingRefused("not_logged", "its log entry states no viewing")
    stated = (event.viewing_id, event.grant_id, event.account, event.station, event.docking_id, event.file_sha256)
    asked = (request.viewing_id, request.grant_id, request.holder, request.station, request.docking)
    if stated != (*asked, request.file_sha256):
        raise ViewingRefused("not_logged", "its log entry is of another viewing")


def _check(request: ChunkRequest) -> None:
    if not _WORD.fullmatch(request.challenge) or not _WORD.fullmatch(request.nonce):
        raise FormatError("challenge and nonce are 32 hex digits")
    for name in ("grant_id", "viewing_id", "holder", "docking"):
        check_text(getattr(request, name), name)
    if not 0 < request.chunks <= MAX_CHUNKS:
        raise FormatError(f"1 to {MAX_CHUNKS} chunks can be asked for")


# --- the answer: for each chunk one byte with the number of hashes, these hashes (32 bytes each), the chunk ---


def chunk_count(size_bytes: int) -> int:
    """How many chunks a file of this size has."""
    return -(-size_bytes // CHUNK_BYTES)


def chunk_length(index: int, size_bytes: int) -> int:
    """Bytes of chunk `index`; every one but the last is `CHUNK_BYTES` long."""
    return min(CHUNK_BYTES, size_bytes - index * CHUNK_BYTES)


def frame_head(proof: Sequence[bytes]) -> bytes:
    """What goes before a chunk: its inclusion proof in the file's tree."""
    return bytes([len(proof)]) + b"".join(proof)


def read_head(count: int, raw: bytes) -> list[bytes]:
    """The hashes of a proof of `count` hashes. Raises ProofInvalid."""
    if count > MAX_PROOF_HASHES or len(raw) != count * HASH_BYTES:
        raise ProofInvalid("no proof of a chunk")
    return [raw[at : at + HASH_BYTES] for at in range(0, len(raw), HASH_BYTES)]


def prove_chunk(chunk: Buffer, index: int, size_bytes: int, proof: Sequence[bytes], root: bytes) -> None:
    """Raise ProofInvalid unless these are the bytes of chunk `index` of the file with this size and sealed root."""
    if len(chunk) != chunk_length(index, size_bytes):
        raise ProofInvalid(f"chunk {index} has a wrong length")
    verify_inclusion(leaf_hash(chunk), index, chunk_count(size_bytes), proof, root)
