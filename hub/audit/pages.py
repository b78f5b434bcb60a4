"""The audit log: how it stands, keys to pin, entries, one entry in words, and the bytes behind it."""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import RedirectResponse, Response

from custody.commitments import committed
from custody.envelope import Envelope, parse_envelope
from custody.errors import CustodyError
from custody.tiles import right_edge
from hub.access import Action, Actor
from hub.accounts.gate import allowed
from hub.audit.asked import AskedEntries
from hub.audit.queries import (
    PAGE_ROWS,
    CheckpointNow,
    EntryProof,
    EntryRow,
    LastCheck,
    load_note,
    load_proof,
    load_token,
    newest_checkpoint,
    read_entries,
    read_event,
    read_events,
    read_last_check,
    read_sources,
)
from hub.audit.saying import CONCEALED, say_event
from hub.audit.selection import EntryFilter
from hub.openings.reading import reveal
from hub.openings.rows import Held, opening_bytes, read_openings
from hub.problems import EntryDamaged, NotFound
from hub.sections import concealed
from hub.site import attachment, render, site_of, words_of
from hub.times import now_utc
from hub.timestamps import StampState, read_stamps
from hub.vocabulary import ENTRY_TYPES
from hub.witnesses.queries import Witnesses, load_witnesses

router = APIRouter(include_in_schema=False)
WHOLE = [Depends(allowed(Action.SEE_LOG))]
Reader = Annotated[Actor, Depends(allowed(Action.SEE_ENTRY))]

Index = Annotated[int, Path(ge=0, lt=1 << 62)]
CHECK_DUE = timedelta(hours=36)  # a check is meant for every night
_MAX_SHOWN_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class LogState:
    """How the log stands: what is signed, when it was last checked, who outside confirmed it."""

    checkpoint: CheckpointNow
    last_check: LastCheck | None
    check_due: bool  # none for longer than `CHECK_DUE`
    stamps: StampState


@dataclass(frozen=True, slots=True)
class LogView:
    """The log page. `rows` are entries with what each says."""

    state: LogState
    keys: tuple[tuple[str, str], ...]  # (role, key line)
    rows: tuple[tuple[EntryRow, str], ...]
    asked: EntryFilter
    sources: tuple[str, ...]
    event_types: tuple[str, ...]
    first_page: bool
    next_href: str | None
    newest_href: str
    resources: tuple[str, ...]  # checkpoint, last tile of each level, last entry bundle
    witnesses: Witnesses

    @property
    def limited(self) -> bool:
        """Whether anything is filtered."""
        return bool(self.asked.parameters)


@dataclass(frozen=True, slots=True)
class Committed:
    """A field that the entry holds as a commitment, and what is held beside it. `held` None: no opening came."""

    field: str
    held: Held | None


@dataclass(frozen=True, slots=True)
class EntryView:
    """One entry: what it says, its fields, its proof, and its statement line by line as indented JSON."""

    proof: EntryProof
    said: str
    fields: tuple[tuple[str, str], ...]
    recording: int | None  # log index of the seal, when this is one or is about exactly one
    statement: tuple[str, ...]
    committed: tuple[Committed, ...]

    @property
    def older(self) -> int | None:
        """Index of the entry before."""
        return self.proof.entry.index - 1 if self.proof.entry.index else None

    @property
    def newer(self) -> int | None:
        """Index of the entry behind."""
        return self.proof.entry.index + 1 if self.proof.entry.index + 1 < self.proof.checkpoint.size else None


@router.get("/log")
def show_log(
    request: Request,
    actor: Annotated[Actor, Depends(allowed(Action.SEE_LOG))],
    asked: AskedEntries,
    cursor: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
) -> Response:
    site, words = site_of(request), words_of(request)
    with site.db.read() as connection:
        page = read_entries(connection, asked, cursor, PAGE_ROWS)
        events = read_events(connection, [row.index for row in page.rows])
        hidden = concealed(connection, actor.name, events)
        newest, check = newest_checkpoint(connection), read_last_check(connection)
        sources, stamps = read_sources(connection), read_stamps(connection, site.timestamps_wanted)
    due = check is None or now_utc() - check.finished_at > CHECK_DUE
    view = LogView(
        state=LogState(newest, check, due, stamps),
        keys=tuple(site.key_lines.items()),
        rows=tuple(
            (row, words.say(CONCEALED) if row.index in hidden else say_event(words, events.get(row.index)))
            for row in page.rows
        ),
        asked=asked,
        sources=sources,
        event_types=tuple(ENTRY_TYPES),
        first_page=cursor is None,
        next_href="?" + urlencode([*asked.parameters, ("cursor", page.next_cursor)])
        if page.next_cursor is not None
        else None,
        newest_href="?" + urlencode(asked.parameters),
        witnesses=load_witnesses(site.db),
        resources=tuple(f"/log/{path}" for path in ("checkpoint", *(t.path for t in right_edge(newest.size)))),
    )
    return render(request, "log.html", view)


@router.get("/log/entry", dependencies=WHOLE)
def go_to_entry(index: Annotated[int, Query(ge=0, lt=1 << 62)]) -> Response:
    """Where the form for an index leads."""
    return RedirectResponse(f"/log/entries/{index}", 303)


@router.get("/log/entries/{index}")
def show_entry(request: Request, actor: Reader, index: Index) -> Response:
    site, words = site_of(request), words_of(request)
    proof = load_proof(site.db, actor, index, site.key_lines["events"])
    held = _held(request, actor, index)
    try:
        envelope = parse_envelope(proof.envelope)
        payload = envelope.payload
        statement = json.loads(payload)
        text, said = json.dumps(statement, ensure_ascii=False, indent=2), tuple(_fields(statement))
    except (CustodyError, ValueError):
        raise EntryDamaged from None
    except RecursionError:  # authentic all the same: a station may nest as deep as it likes
        statement, text, said = {}, payload.decode(errors="replace"), ()
    event = read_event(proof.envelope)
    view = EntryView(
        proof,
        say_event(words, event and reveal(event, held)),
        said,
        _recording(proof, statement),
        tuple(text[:_MAX_SHOWN_CHARACTERS].split("\n")),
        _committed(envelope, held) if statement else (),
    )
    return render(request, "entry.html", view)


def _held(request: Request, actor: Actor, index: int) -> tuple[Held, ...]:
    with site_of(request).db.read() as connection:
        if concealed(connection, actor.name, [index]):
            return ()
        return read_openings(connection, [index]).get(index, ())


def _committed(envelope: Envelope, held: tuple[Held, ...]) -> tuple[Committed, ...]:
    by_field = {one.field: one for one in held}
    return tuple(Committed(field, by_field.get(field)) for field in committed(envelope)[1])


def _fields(statement: object) -> list[tuple[str, str]]:
    """Every field of a statement with its value, nested names with dots; long ones are cut."""
    found: list[tuple[str, str]] = []

    def walk(name: str, value: object) -> None:
        if isinstance(value, dict):
            for key, inner in value.items():
                walk(f"{name}.{key}" if name else str(key), inner)
        else:
            shown = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
            found.append((name[:200], shown if len(shown) <= 500 else shown[:500] + " …"))

    walk("", statement)
    return found[:200]


def _recording(proof: EntryProof, statement: object) -> int | None:
    if proof.entry.event_type == "segment.sealed.v1":
        return proof.entry.index
    if proof.entry.source != "hub" or not isinstance(statement, dict):
        return None
    named = statement.get("recordings") or [statement.get("recording")]
    return named[0] if len(named) == 1 and isinstance(named[0], int) else None


@router.get("/log/entries/{index}/envelope")
def download_envelope(request: Request, actor: Reader, index: Index) -> Response:
    site = site_of(request)
    proof = load_proof(site.db, actor, index, site.key_lines["events"])
    return attachment(proof.envelope, f"entry-{index}.dsse.json", "application/json")


@router.get("/log/entries/{index}/opening")
def download_opening(request: Request, actor: Reader, index: Index) -> Response:
    """What shows the values behind the entry's commitments, as it is handed out beside the envelope."""
    site = site_of(request)
    proof = load_proof(site.db, actor, index, site.key_lines["events"])
    raw = opening_bytes(proof.entry.envelope_sha256, _held(request, actor, index))
    if raw is None:
        raise NotFound
    return attachment(raw, f"entry-{index}.opening.json", "application/json")


@router.get("/log/entries/{index}/proof")
def download_proof(request: Request, actor: Reader, index: Index) -> Response:
    site = site_of(request)
    proof = load_proof(site.db, actor, index, site.key_lines["events"])
    return attachment(proof.proof_text.encode(), f"entry-{index}.tlog-proof", "text/plain; charset=utf-8")


@router.get("/log/checkpoints/{size}", dependencies=WHOLE)
def download_checkpoint(request: Request, size: Index) -> Response:
    """A checkpoint as it was signed, newest or not: just what its time-stamp is over."""
    return attachment(load_note(site_of(request).db, size).encode(), f"checkpoint-{size}", "text/plain; charset=utf-8")


@router.get("/log/timestamps/{size}", dependencies=WHOLE)
def download_timestamp(request: Request, size: Index) -> Response:
    """The RFC 3161 token over the checkpoint of this size."""
    return attachment(load_token(site_of(request).db, size), f"checkpoint-{size}.tst", "application/timestamp-reply")
