"""A card listed anew, by a worker process of its own: what is on it now, however long ago it was copied."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from agent import wire
from agent.worker_process import Workers


@dataclass(frozen=True, slots=True)
class Relisted:
    """`sizes`: of the files at each path; more than one where a damaged card lists a path twice."""

    place: Path
    volume_ids: tuple[str, ...]
    sizes: dict[tuple[bytes, ...], list[int]]


async def relist(workers: Workers, place: Path) -> Relisted:
    """List a card. Raises AgentError."""
    worker = await workers.take(place, 0)
    volume_ids: tuple[str, ...] = ()
    sizes: dict[tuple[bytes, ...], list[int]] = {}
    try:
        await worker.send({"t": "list"})
        while (frame := await worker.receive())["t"] != "listed":
            if frame["t"] == "facts":
                volume_ids = wire.facts_from_json(frame["facts"]).volume_ids
                continue
            for one in frame["entries"]:
                entry = wire.entry_from_json(one)
                sizes.setdefault(entry.path, []).append(entry.size_bytes)
        await worker.dismiss()
    finally:
        await worker.kill()
    return Relisted(place, volume_ids, sizes)
