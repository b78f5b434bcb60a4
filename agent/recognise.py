"""Which camera was plugged in, and what is known of it before anything is copied.

A card is looked at by the inspector, a PTP camera by `agent.ptp_facts`: separate, limited processes. What they say is
a claim; it decides under which name the footage is kept, never whether it is kept.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from agent.devicefacts import attached_names, device_facts
from agent.errors import NotAFileSystem, SourceError, SourceUnreadable
from agent.inspection import Inspection, Inspectors
from agent.profiles.identity import (
    BODY_KINDS,
    Dispute,
    DisputeKind,
    Identity,
    Part,
    PartKind,
    camera_identity,
    disputed,
    same_usb,
    unseen_card,
)
from agent.profiles.names import describe_name
from agent.profiles.profile import Profile
from agent.profiles.recognition import recognise
from agent.ptp_facts import PtpFacts
from agent.source import PtpPort, SourcePlace
from agent.store import Store
from agent.unlocking import RecorderSaid
from agent.usbports import Attached

PTP_SECONDS = 20.0
LOOK_WAITS = (0.0, 1.0, 3.0)  # before each try to look at a card
LOOK_AGAIN_SECONDS = 30.0  # a card that hung for longer is not waited for once more: its footage comes first
# A new card, or one that was formatted, is no reason to doubt which camera this is.
DISPUTES = frozenset({DisputeKind.CLONED_USB_SERIAL, DisputeKind.OTHER_DEVICE, DisputeKind.SEVERAL_SERIALS})


@dataclass(frozen=True, slots=True)
class Recognised:
    """A camera in a bay: its name, why, and what it said. `places` is what is to be offloaded, one for each LUN."""

    camera: str
    profile: Profile
    identity: Identity
    dispute: Dispute | None
    places: tuple[SourcePlace, ...]
    inspections: tuple[Inspection, ...]  # of the places that could be looked at
    ptp: PtpFacts | None
    at: datetime  # when it was looked at
    said: RecorderSaid | None = None  # when its driver unlocked it
    unseen: bool = False  # a card of it could not be looked at, tried several times


async def recognise_cards(
    device: Attached,
    nodes: Sequence[str],
    profiles: Sequence[Profile],
    inspectors: Inspectors,
    said: RecorderSaid | None = None,
) -> Recognised:
    """Look at the cards of one device. A card that cannot be looked at is offloaded all the same, and says why then.

    `said`: what it told its driver before it became a disk.
    """
    wanted = [glob for profile in profiles for glob in profile.wanted_files]
    places = tuple(Path(node) for node in nodes)
    looked = await asyncio.gather(*(_look(inspectors, place, wanted) for place in places))
    inspections = tuple(one for one in looked if isinstance(one, Inspection))
    named = _named(device, profiles, places, inspections, None, said)
    return replace(named, unseen=any(isinstance(one, SourceError) for one in looked))


async def recognise_ptp(device: Attached, port: str, profiles: Sequence[Profile]) -> Recognised:
    """Ask a PTP camera. Raises SourceError when it does not answer."""
    return _named(device, profiles, (PtpPort(port),), (), await ask_ptp(port))


async def ask_ptp(port: str) -> PtpFacts:
    """What a PTP camera says of itself. Raises SourceUnreadable, with the process's own words where it has some."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-P", "-m", "agent.ptp_facts", port,
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )  # fmt: skip
    try:
        async with asyncio.timeout(PTP_SECONDS):
            out, _ = await process.communicate()
        body = json.loads(out)
        return _ptp_facts(body)
    except (TimeoutError, ValueError, KeyError, TypeError) as error:
        raise SourceUnreadable(
            "The camera does not answer. Nothing was changed. Switch it on, unlock it, and plug it in again.",
            "记录仪没有应答。未作任何改动。请开机、解锁后重新插接。",
        ) from error
    finally:
        if process.returncode is None:
            process.kill()


def remember(store: Store, seen: Recognised) -> Dispute | None:
    """Keep this sighting; the contradiction with earlier ones that stands, if any. Inside the caller's transaction.

    `seen` is as `as_known` gives it. Once disputed, a name stays so until people accept it (`accept`).
    """
    rows = store.execute("SELECT camera, identity, disputed FROM known_camera").fetchall()
    known = [_identity_from(camera, text) for camera, text, _ in rows]
    doubts = [seen.dispute] if seen.dispute is not None else []
    found = doubts + [
        dispute for one in known if (dispute := disputed(one, seen.identity)) and dispute.kind in DISPUTES
    ]
    standing = any(camera == seen.camera and flag for camera, _, flag in rows)
    now = seen.at.isoformat()
    store.execute(
        "INSERT INTO known_camera VALUES (?,?,?,?,?) ON CONFLICT (camera) DO UPDATE SET last_seen_at = "
        "excluded.last_seen_at, disputed = max(disputed, excluded.disputed), "
        "identity = CASE WHEN excluded.disputed THEN identity ELSE excluded.identity END",
        (seen.camera, _identity_text(seen.identity), int(bool(found)), now, now),
    )
    if found:
        return found[0]
    return disputed_before(seen.camera) if standing else None


def as_known(store: Store, seen: Recognised) -> Recognised:
    """A camera whose card could not be looked at keeps the name that it had: that of the one camera met before with its
    USB model and serial. Without such a one, or with several, its name is disputed.
    """
    if not seen.unseen or seen.identity.values(*BODY_KINDS):
        return seen
    rows = store.execute("SELECT camera, identity FROM known_camera").fetchall()
    before = same_usb([_identity_from(camera, text) for camera, text in rows], seen.identity)
    if before is None:
        return replace(seen, dispute=unseen_card(seen.identity))
    return replace(seen, camera=before.id, identity=before)


def accept(store: Store, camera: str) -> bool:
    """People have looked: this camera is what its name says, as seen next. Inside the caller's transaction."""
    return store.execute("DELETE FROM known_camera WHERE camera = ?", (camera,)).rowcount > 0


def set_aside(store: Store, camera: str, why: str, now: datetime) -> bool:
    """Keep a camera from duty; False for one this dock has not met. Inside the caller's transaction."""
    if not store.execute("SELECT 1 FROM known_camera WHERE camera = ?", (camera,)).fetchall():
        return False
    store.execute("INSERT OR REPLACE INTO set_aside VALUES (?,?,?)", (camera, why, now.isoformat()))
    return True


def readmit(store: Store, camera: str) -> bool:
    """Take that back; False where it was not set aside. Inside the caller's transaction."""
    return store.execute("DELETE FROM set_aside WHERE camera = ?", (camera,)).rowcount > 0


def is_set_aside(store: Store, camera: str) -> bool:
    """Whether people keep this camera from duty."""
    return bool(store.execute("SELECT 1 FROM set_aside WHERE camera = ?", (camera,)).fetchall())


def known_cameras(store: Store) -> list[dict[str, Any]]:
    """Every camera this dock has met, by name: when, whether its identity is disputed, why it is set aside."""
    rows = store.execute(
        "SELECT camera, disputed, first_seen_at, last_seen_at, why FROM known_camera "
        "LEFT JOIN set_aside USING (camera) ORDER BY camera"
    )
    return [
        {"camera": camera, "disputed": bool(flag), "first_seen_at": first, "last_seen_at": last, "set_aside": why}
        for camera, flag, first, last, why in rows
    ]


def disputed_before(camera: str) -> Dispute:
    """The dispute of an earlier docking still stands."""
    return Dispute(
        DisputeKind.CLONED_USB_SERIAL,
        f"{camera}: its identity was disputed before and nobody has decided yet. Footage is docked as usual.",
        f"{camera}：此前身份存疑，尚未经人工确认。录像照常采集。",
    )


async def look_at(inspectors: Inspectors, place: Path, wanted: Sequence[Any]) -> Inspection | None:
    """What a card says of itself; None where it cannot be looked at."""
    looked = await _look(inspectors, place, wanted)
    return looked if isinstance(looked, Inspection) else None


async def _look(inspectors: Inspectors, place: Path, wanted: Sequence[Any]) -> Inspection | SourceError | None:
    """None for what has no file system. What may pass by itself is tried again: a camera's name hangs on it."""
    until = time.monotonic() + LOOK_AGAIN_SECONDS
    for wait in LOOK_WAITS:
        await asyncio.sleep(wait)
        try:
            return await asyncio.to_thread(inspectors.look, place, wanted)
        except NotAFileSystem:
            return None
        except SourceError as error:
            failed = error
        if time.monotonic() > until:
            break
    return failed


def _named(
    device: Attached,
    profiles: Sequence[Profile],
    places: tuple[SourcePlace, ...],
    inspections: tuple[Inspection, ...],
    ptp: PtpFacts | None,
    said: RecorderSaid | None = None,
) -> Recognised:
    facts = device_facts(attached_names(device), [one.facts for one in inspections])
    paths = [path for one in inspections for path in one.paths]
    profile = recognise(profiles, facts, paths).profile
    names = [describe_name(profile, path) for path in paths]
    contents = {path: raw for one in inspections for path, raw in one.contents.items()}
    serial = ptp.serial if ptp else said.serial if said else ""
    identity = camera_identity(profile, facts, names, contents, serial) or _by_port(device)
    return Recognised(identity.id, profile, identity, None, places, inspections, ptp, datetime.now(UTC), said)


def _by_port(device: Attached) -> Identity:
    """Nothing tells this camera from another one of its kind: it is called after the port, and disputed."""
    name = f"unknown-{device.usb_id.replace(':', '-')}-{device.port.rpartition('usb')[2]}"
    parts = (Part(PartKind.USB_MODEL, device.usb_id),)
    return Identity(name, parts, "nothing tells it from others of its kind", "没有可区分同型设备的标识", conflict=True)


def _ptp_facts(body: Any) -> PtpFacts:
    """Raises ValueError, KeyError, TypeError for anything but facts; SourceUnreadable for what the process says."""
    if "error" in body:
        raise SourceUnreadable(str(body["en"])[:500], str(body["zh"])[:500])
    percent = body["battery_percent"]
    if percent is not None and not (type(percent) is int and 0 <= percent <= 100):
        raise ValueError("not a percentage")
    texts = {key: str(body[key])[:64] for key in ("serial", "model", "manufacturer", "version")}
    return PtpFacts(battery_percent=percent, clock=body["clock"] and str(body["clock"])[:40], **texts)


def _identity_text(identity: Identity) -> str:
    return json.dumps([[part.kind, part.value] for part in identity.parts], ensure_ascii=False)


def _identity_from(camera: str, text: str) -> Identity:
    parts = tuple(Part(PartKind(kind), value) for kind, value in json.loads(text))
    return Identity(camera, parts, "", "")
