"""Dockings out of which a file left by authority, and ones whose record of that proves nothing."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

from custody.commandbody import Disposition
from custody.commands import Header, body_text, seal_command
from custody.disposition import record_lines, record_name
from custody.event import NO_PREVIOUS, Event, Sha256Hex
from custody.stationevents import DispositionIntended
from tests.approvals import make_approval
from tests.vectors.commandcases import COMMAND_KEY, UUID
from tests.vectors.dockings import AT, OTHER_KEY, Docking, Station, build, digest, pattern

FILES = {"DCIM/A.MP4": pattern(5, 700), "DCIM/B.MP4": pattern(6, 300)}
Change = Callable[[Path], object]
CASES: dict[str, tuple[dict[str, Any], Change, list[str]]] = {
    "disposed": ({}, lambda _: None, []),
    "disposed-without-record": ({}, lambda record: record.unlink(), ["missing"]),
    "disposed-entry-not-in-intent": ({"entries": (2,)}, lambda _: None, ["missing"]),
    "disposed-digest-not-in-command": ({"digests": (Sha256Hex("ab" * 32),)}, lambda _: None, ["missing"]),
    "disposed-intent-of-another-docking": (
        {"docking_id": "0195f000-d0c9"}, lambda _: None, ["disposition_altered", "missing"],
    ),
    "disposed-intent-by-another-key": ({"key": OTHER_KEY}, lambda _: None, ["disposition_altered", "missing"]),
    "disposed-command-of-another-intent": (
        {"command_sha256": Sha256Hex("ab" * 32)}, lambda _: None, ["disposition_altered", "missing"],
    ),
    "disposed-approval-of-another-body": (
        {"approved_sha256": Sha256Hex("ab" * 32)}, lambda _: None, ["disposition_altered", "missing"],
    ),
    "disposed-by-one-person": ({"approved_by": "records"}, lambda _: None, ["disposition_altered", "missing"]),
}  # fmt: skip


def disposed(top: Path, log_key: Any) -> list[dict[str, object]]:
    """Write the dockings below `top` and return their cases; the verifier is given `log_key` too."""
    cases: list[dict[str, object]] = []
    for name, (changes, change, kinds) in CASES.items():
        station = Station()
        folder = build(top / "scratch", Docking(FILES), station)
        change(_dispose(folder, station, log_key, dict(changes)))
        folder.rename(top / f"dockings/{name}")
        keys = [station.key.verify_key.line, log_key.verify_key.line]
        cases.append(
            {"name": name, "docking": f"dockings/{name}", "key": keys[0], "log_key": keys[1], "exit": int(bool(kinds)),
             "kinds": kinds}
        )  # fmt: skip
    return cases


def _dispose(folder: Path, station: Station, log_key: Any, changes: dict[str, Any]) -> Path:
    """Remove the first file by authority; the record."""
    digests = changes.pop("digests", (Sha256Hex(digest(FILES["DCIM/A.MP4"])[0].sha256.hex()),))
    body = Disposition(disposition_id=UUID, docking=folder.name, file_sha256s=digests, basis="three years are over")
    approval = {name: changes.pop(name) for name in ("approved_by", "approved_sha256") if name in changes}
    header = Header(
        id=UUID, station=station.key.name, number=1, previous=NO_PREVIOUS, issued_at=AT,
        expires_at=AT + timedelta(days=7), kind=body.KIND, body=body_text(body),
        approval=make_approval(log_key, UUID, station.key.name, body.KIND, body_text(body), **approval),
    )  # fmt: skip
    command = seal_command(header, COMMAND_KEY)
    sha256 = digest(command)[0].sha256.hex()
    signer = Station(changes.pop("key"), station.head) if "key" in changes else station

    def intent(**common: Any) -> Event:
        made = DispositionIntended(
            **common, command_id=UUID, command_sha256=Sha256Hex(sha256), disposition_id=UUID, camera_id="cam-7",
            docking_id=folder.name, basis=body.basis, requested_by="records", approved_by="leader", entries=(1,),
            bytes_in_all=len(FILES["DCIM/A.MP4"]),
        )  # fmt: skip
        return replace(made, **changes)

    _, envelope = signer.seal(intent)
    record = folder / record_name(sha256).decode()
    record.write_bytes(record_lines(envelope, command))
    (folder / "DCIM/A.MP4").unlink()
    return record
