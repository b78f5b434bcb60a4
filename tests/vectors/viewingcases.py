"""Vectors of requests for footage: one good one, and one fault each."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime

from custody.checkpoint import Checkpoint, SigningKey, sign_checkpoint
from custody.digest import leaf_hash, tree_root
from custody.envelope import EVENT_TYPE, seal
from custody.event import NO_PREVIOUS
from custody.events import seal_event
from custody.fields import Sha256Hex, dump_json, write_fields
from custody.hubevents import FootageViewStarted
from custody.merkle import inclusion_proof
from custody.tlogproof import LogProof
from custody.viewing import REQUEST_TYPE, ChunkRequest, seal_request
from tests.vectors.commandcases import COMMAND_KEY, replace_name
from tests.vectors.dockings import OTHER_KEY

LOG_KEY = SigningKey.from_seed("hub.example/log", bytes(range(0x60, 0x80)))
EVENT_KEY = SigningKey.from_seed("hub.example/events", bytes(range(0x80, 0xA0)))
STATION = "dock-test"
UUID = "0195f000-0000-7000-8000-00000000000"


def started(**changes: object) -> FootageViewStarted:
    """The entry that states the viewing."""
    made = FootageViewStarted(
        id=f"{UUID}1", source="hub", seq=1, previous=NO_PREVIOUS, at=datetime(2026, 3, 5, 8, 0, tzinfo=UTC),
        clock="unknown", viewing_id=f"{UUID}2", account="wang", recording=17, grant_id=f"{UUID}3", purpose="2026-17",
        station=STATION, docking_id="20260305T080000Z-0badcafe", file_sha256=Sha256Hex("ab" * 32),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def logged(event: FootageViewStarted, key: SigningKey = LOG_KEY) -> dict[str, str]:
    """An entry in a log of three, with its proof."""
    raw = seal_event(event, EVENT_KEY)
    leaves = [leaf_hash(one) for one in (b"a", raw, b"c")]
    note = sign_checkpoint(Checkpoint(key.name, 3, tree_root(leaves)), key)
    path = inclusion_proof(1, 3, lambda level, at: tree_root(leaves[at << level : (at + 1) << level]))
    return {"started": raw.decode(), "started_proof": LogProof(1, tuple(path), note).text}


def request(**changes: object) -> ChunkRequest:
    """The good one."""
    event = started()
    made = ChunkRequest(
        station=STATION, challenge="0123456789abcdef" * 2, nonce="fedcba9876543210" * 2, grant_id=event.grant_id,
        viewing_id=event.viewing_id, holder=event.account, docking=event.docking_id, file_sha256=event.file_sha256,
        first_chunk=3, chunks=16, **logged(event),
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def viewings(files: dict[str, bytes]) -> list[dict[str, object]]:
    """Put the files below ``viewings`` into `files` and return their cases."""
    cases: list[dict[str, object]] = []

    def add(name: str, raw: bytes, code: str | None) -> None:
        files[f"viewings/{name}.json"] = raw
        keys = {"key": COMMAND_KEY.verify_key.line, "log_key": LOG_KEY.verify_key.line}
        cases.append({"file": f"viewings/{name}.json", "code": code, "station": STATION} | keys)

    def made(**changes: object) -> bytes:
        return seal_request(request(**changes), COMMAND_KEY)

    def bent(**changes: object) -> bytes:
        """Signed by the right key, with a field that `seal_request` would not write."""
        body = write_fields(request()) | changes
        return seal(REQUEST_TYPE, dump_json({k: v for k, v in body.items() if v is not ...}), COMMAND_KEY)

    good = made()
    add("good", good, None)
    add("field-added", bent(later=1), None)
    add("signer-other", seal_request(request(), replace_name(OTHER_KEY)), "bad_signature")
    add("station-other", made(station="dock-other", **logged(started(station="dock-other"))), "wrong_station")
    add("too-long", good + b" " * 61440, "too_long")
    add("an-event-instead", seal(EVENT_TYPE, dump_json(write_fields(request())), COMMAND_KEY), "bad_format")
    add("field-missing", bent(nonce=...), "bad_format")
    add("challenge-short", bent(challenge="0123"), "bad_format")
    add("nonce-upper-case", bent(nonce="FEDCBA9876543210" * 2), "bad_format")
    add("chunks-none", bent(chunks=0), "bad_format")
    add("chunks-too-many", bent(chunks=65), "bad_format")
    add("holder-empty", bent(holder=""), "bad_format")
    add("proof-missing", made(started_proof=""), "not_logged")
    add("proof-by-another-log", made(**logged(started(), replace_log(OTHER_KEY))), "not_logged")
    add("entry-changed", made(started=request().started.replace("A", "B", 1)), "not_logged")
    add("entry-of-a-station", made(**logged(started(source=STATION))), "not_logged")
    add("entry-of-another-viewing", made(**logged(started(viewing_id=f"{UUID}9"))), "not_logged")
    add("entry-of-another-grant", made(**logged(started(grant_id=f"{UUID}9"))), "not_logged")
    add("entry-of-another-account", made(**logged(started(account="li"))), "not_logged")
    add("entry-of-another-file", made(**logged(started(file_sha256=Sha256Hex("cd" * 32)))), "not_logged")
    add("entry-of-another-docking", made(**logged(started(docking_id="d"))), "not_logged")
    return cases


def replace_log(key: SigningKey) -> SigningKey:
    """Another key under the log's name."""
    return SigningKey(LOG_KEY.name, key.private)
