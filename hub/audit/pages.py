"""The audit log: checkpoint, keys to pin, entries, and the bytes behind them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Annotated
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Path, Query, Request
from starlette.responses import Response

from custody.envelope import parse_envelope
from custody.errors import CustodyError
from custody.tiles import right_edge
from hub.access import Action
from hub.accounts.gate import allowed
from hub.audit.queries import (
    CheckpointNow,
    EntryPage,
    EntryProof,
    load_checkpoint,
    load_entries,
    load_proof,
    load_sources,
)
from hub.problems import EntryDamaged
from hub.site import attachment, render, site_of
from hub.vocabulary import ENTRY_TYPES
from hub.witnesses.queries import Witnesses, load_witnesses

router = APIRouter(include_in_schema=False, dependencies=[Depends(allowed(Action.SEE_LOG))])

Index = Annotated[int, Path(ge=0, lt=1 << 62)]
_MAX_SHOWN_CHARACTERS = 20_000


@dataclass(frozen=True, slots=True)
class LogView:
    """The log page."""

    checkpoint: CheckpointNow
    keys: tuple[tuple[str, str], ...]  # (role, key line)
    page: EntryPage
    source: str
    event_type: str
    sources: tuple[str, ...]
    event_types: tuple[str, ...]
    first_page: bool
    next_href: str | None
    newest_href: str
    resources: tuple[str, ...]  # checkpoint, last tile of each level, last entry bundle
    witnesses: Witnesses


@dataclass(frozen=True, slots=True)
class EntryView:
    """One entry: its proof, and its statement line by line as indented JSON."""

    proof: EntryProof
    statement: tuple[str, ...]


@router.get("/log")
def show_log(
    request: Request,
    source: str = "",
    event_type: Annotated[str, Query(alias="type")] = "",
    cursor: Annotated[int | None, Query(ge=0, lt=1 << 62)] = None,
) -> Response:
    site = site_of(request)
    page = load_entries(site.db, source, event_type, cursor)
    kept = [(name, value) for name, value in (("source", source), ("type", event_type)) if value]
    newest = load_checkpoint(site.db)
    view = LogView(
        checkpoint=newest,
        keys=tuple(site.key_lines.items()),
        page=page,
        source=source,
        event_type=event_type,
        sources=load_sources(site.db),
        event_types=tuple(ENTRY_TYPES),
        first_page=cursor is None,
        next_href="?" + urlencode([*kept, ("cursor", page.next_cursor)]) if page.next_cursor is not None else None,
        newest_href="?" + urlencode(kept),
        witnesses=load_witnesses(site.db),
        resources=tuple(f"/log/{path}" for path in ("checkpoint", *(t.path for t in right_edge(newest.size)))),
    )
    return render(request, "log.html", view)


@router.get("/log/entries/{index}")
def show_entry(request: Request, index: Index) -> Response:
    site = site_of(request)
    proof = load_proof(site.db, index, site.key_lines["events"])
    try:
        statement = json.loads(parse_envelope(proof.envelope).payload)
    except (CustodyError, ValueError):
        raise EntryDamaged from None
    text = json.dumps(statement, ensure_ascii=False, indent=2)
    return render(request, "entry.html", EntryView(proof, tuple(text[:_MAX_SHOWN_CHARACTERS].split("\n"))))


@router.get("/log/entries/{index}/envelope")
def download_envelope(request: Request, index: Index) -> Response:
    site = site_of(request)
    proof = load_proof(site.db, index, site.key_lines["events"])
    return attachment(proof.envelope, f"entry-{index}.dsse.json", "application/json")


@router.get("/log/entries/{index}/proof")
def download_proof(request: Request, index: Index) -> Response:
    site = site_of(request)
    proof = load_proof(site.db, index, site.key_lines["events"])
    return attachment(proof.proof_text.encode(), f"entry-{index}.tlog-proof", "text/plain; charset=utf-8")
