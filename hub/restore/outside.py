"""Checkpoints of our key that others keep, against our log: a larger one shows that we lost something."""

from __future__ import annotations

import logging
from enum import Enum
from pathlib import Path

from sqlalchemy import Connection

from custody.checkpoint import open_checkpoint
from custody.errors import CustodyError
from custody.tiles import root_of
from hub import log
from hub.db import Database
from hub.keys import HubKeys
from hub.readonly import BEHIND, FORKED, close_log
from hub.restore.scratch import Outside, Scratch
from hub.times import now_utc, to_text

logger = logging.getLogger("hub.restore")


class Verdict(Enum):
    """What a checkpoint that somebody keeps is to our log."""

    WITHIN = "within"
    AHEAD = "ahead"  # we have lost what it covers
    FORKED = "forked"  # our key signed two histories


def read_outside(keys: HubKeys, who: str, note: str) -> Outside | None:
    """A checkpoint that our log key signed; None for anything else, which tells nothing about our log."""
    try:
        signed = open_checkpoint(note, keys.log.verify_key)
    except CustodyError as error:
        logger.warning("outside_checkpoint_refused who=%s why=%s", who, error)
        return None
    return Outside(who, signed.size, signed.root, note, to_text(now_utc()))


def compare(connection: Connection, outside: Outside) -> Verdict:
    """Hold it against the stored tree; reads O(log n) tiles."""
    if outside.size > log.read_head(connection).size:
        return Verdict.AHEAD
    ours = root_of(outside.size, log.stored_subtrees(connection))
    return Verdict.WITHIN if ours == outside.root else Verdict.FORKED


def notice(db: Database, keys: HubKeys, directory: Path, who: str, note: str) -> Verdict:
    """Somebody outside keeps this checkpoint: close the log at once when it shows that ours lost something.

    Call it with every checkpoint that a station or witness answers with. The scratch area learns it before the log is
    closed, so a kill in between is noticed again by the next answer.
    """
    outside = read_outside(keys, who, note)
    if outside is None:
        return Verdict.WITHIN
    with db.read() as connection:
        verdict = compare(connection, outside)
    if verdict is not Verdict.WITHIN:
        scratch = Scratch(directory)
        try:
            with scratch.begin():
                scratch.add_outside(outside)
        finally:
            scratch.close()
        close_log(db, BEHIND if verdict is Verdict.AHEAD else FORKED)
        logger.critical("outside_checkpoint who=%s size=%d verdict=%s", who, outside.size, verdict.value)
    return verdict
