"""`dock-hub export`: footage and everything that proves it, into one bundle.

1. Read the order and find the footage; refuse what cannot be done, while nothing has happened. 2. With an approved
request of exactly this order, state the export in the log (`bundle.exported.v1`): from here on it counts as a use.
3. Copy and read back each file. 4. Write statements, proofs and lists. 5. State in the log that the bundle is whole, or
why it ended (`bundle.finished.v1`). 6. Give it its name. A crash after 2 or 5 leaves ``<target>.part``; the same order
again goes on there under the same bundle id, and may state step 5 a second time.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from custody.bundle import footage_path
from custody.disk import Hasher, reason
from custody.event import Sha256Hex
from custody.hubevents import MAX_LISTED_RECORDINGS, BundleExported, BundleFinished
from custody.stationevents import SegmentSealed
from hub import log
from hub.bundles.disc import check_program, is_image, make_image
from hub.bundles.footage import TargetFailed, bring, check_room, find_footage
from hub.bundles.selection import exports_in_log, load_seals
from hub.bundles.tags import Stamp, no_stamp, write_closing, write_tags
from hub.bundles.work import Order, check_order, order_file, part_folder, publish, publish_image, working_folder
from hub.db import Database
from hub.errors import DomainError
from hub.identifiers import new_id
from hub.keys import HubKeys
from hub.requests.exporting import check_approved, check_not_revoked
from hub.times import now_utc
from hub.witnesses.queries import needed_now, witnessed_size

logger = logging.getLogger("hub.bundles")

_WITNESS_POLL_SECONDS = 0.5


@dataclass(frozen=True, slots=True)
class Exported:
    """A finished bundle."""

    bundle_id: str
    path: str
    recordings: int
    bytes: int
    log_indexes: tuple[int, ...]  # of the statements of the export
    tag_manifest_sha256: str


def export_bundle(
    db: Database,
    keys: HubKeys,
    order: Order,
    vaults: Sequence[Path],
    target: Path,
    patience_seconds: float = 0,
    stamp: Stamp = no_stamp,
) -> Exported:
    """Make the bundle `target`, an image where it ends in .iso, and return what it is.

    It is durable then, and its use is in the log. Where a witness policy is set, it waits up to `patience_seconds` for
    a witnessed checkpoint over the statement of this export; without one the bundle lies under the newest checkpoint.

    Raises DomainError, in both languages, for whatever stands in the way.
    """
    check_order(order.recordings, order.recipient, order.reason)
    if is_image(target):
        check_program()
    with db.read() as connection:  # 1
        seals = load_seals(connection, order.recordings)
        if not order_file(target).exists():  # else it is interrupted, and may have been stated while it was approved
            check_approved(connection, order, "", now_utc())
    sources = find_footage(vaults, seals.values())
    total = sum(seal.size_bytes for seal in seals.values())
    needed = total * (2 if is_image(target) else 1) - _already_there(part_folder(target), seals)
    check_room(target.parent, needed)
    with working_folder(target, order, new_id(now_utc())) as (part, bundle_id):
        stated = _state_export(db, keys, order, bundle_id, total)  # 2
        try:
            leaves = _bring_all(part, seals, sources)  # 3
            _await_witnesses(db, max(stated), patience_seconds)
            with _telling_of_the_disk():
                digest = write_tags(db, keys, part, bundle_id, seals, leaves, vaults, stamp)  # 4
            finished = _state_whole(db, keys, order, bundle_id, digest)  # 5
        except DomainError as error:
            _state_end(db, keys, bundle_id, error.code)
            raise
        with _telling_of_the_disk():
            write_closing(db, part, finished)
            if is_image(target):
                image = part.with_name(f"{target.name}.image")
                make_image(part, image)
                publish_image(part, image, target)  # 6
            else:
                publish(part, target)  # 6
    return Exported(bundle_id, str(target), len(seals), total, stated, digest)


def _already_there(part: Path, seals: dict[int, SegmentSealed]) -> int:
    there = 0
    for seal in seals.values():
        path = part / footage_path(seal).decode()
        there += seal.size_bytes if path.is_file() and path.stat().st_size == seal.size_bytes else 0
    return there


def _state_export(db: Database, keys: HubKeys, order: Order, bundle_id: str, total_bytes: int) -> tuple[int, ...]:
    """2. Say in the log what is about to be exported, once for each bundle id; the log indexes of the statements."""
    parts = [
        order.recordings[i : i + MAX_LISTED_RECORDINGS] for i in range(0, len(order.recordings), MAX_LISTED_RECORDINGS)
    ]
    with db.begin() as tx, log.appending(tx, keys, now_utc()) as entries:
        stated = tuple(index for index, export in exports_in_log(tx) if export.bundle_id == bundle_id)
        if stated:  # it was approved then, and goes on
            check_not_revoked(tx, order.request_id)
            return stated
        approved = check_approved(tx, order, bundle_id, now_utc())
        return tuple(
            entries.record(
                BundleExported,
                bundle_id=bundle_id,
                part=number,
                parts=len(parts),
                recordings=recordings,
                recordings_in_all=len(order.recordings),
                bytes_in_all=total_bytes,
                selection=order.selection,
                recipient=order.recipient,
                reason=order.reason,
                operator=order.operator,
                request_id=approved.request_id,
                requested_by=approved.requested_by,
                approved_by=approved.approved_by,
            )
            for number, recordings in enumerate(parts, 1)
        )


def _bring_all(part: Path, seals: dict[int, SegmentSealed], sources: dict[str, bytes]) -> dict[int, bytes]:
    """3. Every file, one after another; its leaves by log index."""
    leaves = {}
    with Hasher() as hasher:
        for index, seal in seals.items():
            leaves[index] = bring(sources[footage_path(seal).decode()], part, seal, hasher)
    return leaves


def _await_witnesses(db: Database, index: int, patience_seconds: float) -> None:
    """Wait until entry `index` is under a witnessed checkpoint, in the running hub's own time; no longer than that."""
    until = time.monotonic() + patience_seconds
    while True:
        with db.read() as connection:
            if needed_now(connection) is None or (witnessed_size(connection) or 0) > index:
                return
        if time.monotonic() >= until:
            logger.warning("export_not_witnessed index=%d waited_seconds=%.0f", index, patience_seconds)
            return
        time.sleep(_WITNESS_POLL_SECONDS)


@contextmanager
def _telling_of_the_disk() -> Iterator[None]:
    """Raise TargetFailed for what the disk refuses inside."""
    try:
        yield
    except OSError as error:
        raise TargetFailed(
            f"写入证明文件时出错：{reason(error)}。录像原件未受影响；排除故障后可用同一命令继续。 / writing the "
            "proofs failed: "
            f"{reason(error)}. The footage is untouched; the same command goes on here once the fault is mended."
        ) from None


def _state_whole(db: Database, keys: HubKeys, order: Order, bundle_id: str, digest: str) -> int:
    """5. Say in the log that the bundle is whole. Raises ApprovalRevoked: copying may have taken hours."""
    with db.begin() as tx, log.appending(tx, keys, now_utc()) as entries:
        check_not_revoked(tx, order.request_id)
        whole = {"complete": True, "reason": "complete", "tag_manifest_sha256": Sha256Hex(digest)}
        return entries.record(BundleFinished, bundle_id=bundle_id, **whole)


def _state_end(db: Database, keys: HubKeys, bundle_id: str, reason: str) -> None:
    """5. Say in the log why the export ended."""
    with db.begin() as tx, log.appending(tx, keys, now_utc()) as entries:
        ended = {"complete": False, "reason": reason, "tag_manifest_sha256": None}
        entries.record(BundleFinished, bundle_id=bundle_id, **ended)
