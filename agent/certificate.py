"""The certificate of a release: every authorised file and what became of it, beside the manifest it refers to."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from agent.closing import DurableFile
from agent.disk import vault_errors
from agent.releasebook import Certificate, ReleaseOrder
from agent.station import sync_directory
from custody.event import Sha256Hex
from custody.fields import dump_json
from custody.release import Listed, list_line


def write_certificate(folder: Path, order: ReleaseOrder, outcomes: Iterable[tuple[Listed, str]]) -> Certificate:
    """Durable before its digest is stated; written again, whole, after a stop in between. Raises VaultError."""
    custody = folder / ".custody"
    with vault_errors():
        with DurableFile(custody / f"release-{order.command_sha256[:16]}.jsonl") as lines:
            header = {
                "certificate": "custodock-release/1",
                "command_sha256": order.command_sha256,
                "camera_id": order.camera,
                "docking_id": order.docking,
            }
            lines.write(dump_json(header) + b"\n")
            for listed, outcome in outcomes:
                lines.write(list_line(listed, outcome))
        sync_directory(custody)
    return Certificate(Sha256Hex(lines.digest.hexdigest()), lines.size_bytes)
