"""What a restore still lacks, of whom, and what people can do: for the command line, the page and programs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hub.db import Database
from hub.errors import HubError
from hub.keys import HubKeys
from hub.readonly import FORKED, why_read_only
from hub.restore.absorb import Absorber
from hub.restore.completing import LogForked, Plan, make_plan
from hub.restore.scratch import Asked, Scratch

_MOST_DISPUTED = 20


@dataclass(frozen=True, slots=True)
class StationStatus:
    """One enrolled station: what was asked of it and when. `waited_for` False: people decided to go on without it."""

    station: str
    asked_at: str | None
    answered_at: str | None
    done: bool
    checkpoint_size: int | None
    waited_for: bool


@dataclass(frozen=True, slots=True)
class Lack:
    """Log indexes `first_index` to `last_index` that nobody has given. `source` None: unknown whose they are."""

    first_index: int
    last_index: int
    source: str | None
    first_seq: int | None
    last_seq: int | None


@dataclass(frozen=True, slots=True)
class Status:
    """How a restore stands. `reason` None: the log is open and nothing is under way."""

    reason: str | None
    base_size: int
    target_size: int
    target_held_by: str | None
    lacking: tuple[Lack, ...]
    stations: tuple[StationStatus, ...]
    faults: tuple[str, ...]
    fork: str | None  # what contradicts what

    @property
    def complete(self) -> bool:
        """Whether everything is here and everybody answered who is waited for."""
        return self.reason is not None and not self.lacking and self.fork is None and not self.silent

    @property
    def lacking_entries(self) -> int:
        """How many entries are missing."""
        return sum(lack.last_index - lack.first_index + 1 for lack in self.lacking)

    @property
    def silent(self) -> tuple[str, ...]:
        """Stations that have not answered to the end and are waited for."""
        return tuple(s.station for s in self.stations if s.waited_for and not s.done)

    def json(self) -> dict[str, Any]:
        """For programs; field names are stable."""
        more = {"complete": self.complete, "lacking_entries": self.lacking_entries, "silent": list(self.silent)}
        return asdict(self) | more


def read_status(db: Database, keys: HubKeys, directory: Path) -> tuple[Status, Plan | None]:
    """How things stand, and the plan behind it. `directory` is the hub's; nothing is changed."""
    with db.read() as connection:
        reason = why_read_only(connection)
        if reason is None:
            return Status(reason, 0, 0, None, (), (), (), None), None
        scratch = Scratch(directory)
        try:
            absorber = Absorber(connection, keys, scratch)
            stations = _stations(scratch, absorber.stations)
            disputed = [f"entry {index}: {' / '.join(said)}" for index, said in scratch.disputed_claims().items()]
            faults = (*scratch.faults(), *disputed[:_MOST_DISPUTED])
            try:
                plan = make_plan(connection, scratch)
            except LogForked as error:
                return Status(reason, 0, 0, None, (), stations, faults, str(error)), None
        finally:
            scratch.close()
    lacking = tuple(
        Lack(
            m.start,
            m.end - 1,
            m.source,
            *((m.first_seq, m.first_seq + m.end - m.start - 1) if m.source else (None, None)),
        )
        for m in plan.missing
    )
    held_by = None if plan.target is None else plan.target.who
    fork = "forked" if reason == FORKED else None
    return Status(reason, plan.base_size, plan.size, held_by, lacking, stations, faults, fork), plan


def _stations(scratch: Scratch, enrolled: set[str]) -> tuple[StationStatus, ...]:
    without = scratch.without()
    asked: Mapping[str, Asked] = scratch.asked()
    sizes: dict[str, int] = {}
    for kept in scratch.outside():
        sizes[kept.who] = max(kept.size, sizes.get(kept.who, 0))
    found = []
    for name in sorted(enrolled):
        told = asked.get(name)
        times = (None, None, False) if told is None else (told.asked_at, told.answered_at, told.done)
        found.append(StationStatus(name, *times, sizes.get(name), name not in without))
    return tuple(found)


def status_lines(status: Status, error: HubError | None = None) -> list[str]:
    """The status for people, Chinese and English."""
    if status.reason is None:
        return ["日志可写，没有恢复在进行 / the log is open; no restore is under way"]
    lines = [f"只读：{status.reason} / read-only: {status.reason}"]
    if status.fork:
        return [*lines, status.fork if status.fork != "forked" else _FORKED, *_NEXT_FORK]
    lines.append(
        f"备份含 {status.base_size} 条，目标 {status.target_size} 条（检查点由 {status.target_held_by or '-'} 持有） / "
        f"backup: {status.base_size} entries; target: {status.target_size} entries, checkpoint held by "
        f"{status.target_held_by or 'nobody else'}"
    )
    lines += [_lack(lack) for lack in status.lacking]
    lines += [_station(one) for one in status.stations]
    lines += [f"未接受 / not accepted: {fault}" for fault in status.faults]
    if error is not None:
        lines.append(str(error))
    return [*lines, *_next(status)]


def _lack(lack: Lack) -> str:
    span = f"{lack.first_index}–{lack.last_index}"
    if lack.source is None:
        return f"缺少第 {span} 条（来源未知） / missing: entries {span}, nobody has told whose"
    who = f"{lack.source} seq {lack.first_seq}–{lack.last_seq}"
    return f"缺少第 {span} 条：{who} / missing: entries {span}: {who}"


def _station(one: StationStatus) -> str:
    if not one.waited_for:
        return f"采集站 {one.station}：不再等待 / station {one.station}: not waited for"
    if one.done:
        return f"采集站 {one.station}：已答复（检查点 {one.checkpoint_size}） / station {one.station}: answered"
    asked = one.asked_at or "—"
    return f"采集站 {one.station}：未答复完，最近询问 {asked} / station {one.station}: not through, last asked {asked}"


_FORKED = "有人持有与本日志矛盾的检查点 / somebody holds a checkpoint that contradicts this log"
_NEXT_FORK = [
    "下一步：保留两份检查点，不要再启动写入；按 deploy/docs/restore.zh-CN.md“检查点相互矛盾”一节处理。 / "
    'Next: keep both checkpoints; see "Two checkpoints contradict each other" in deploy/docs/restore.md.'
]


def _next(status: Status) -> Sequence[str]:
    if status.complete:
        return [
            "内容已齐，中心运行时自动完成，或运行 dock-hub restore finish / complete: a running hub finishes by itself"
        ]
    words = []
    if status.silent:
        names = ", ".join(status.silent)
        words += [
            f"下一步：接通采集站 {names}；确已损毁的，用 dock-hub restore finish --without 采集站",
            f"Next: bring station {names} on line; for one that is lost for good: `dock-hub restore finish --without`",
        ]
    if status.lacking:
        words += [
            "下一步：等待上述采集站，或放入日志镜像：dock-hub restore add --entries 目录",
            "都没有时只能另立新日志并作说明，见 deploy/docs/restore.zh-CN.md",
            "Next: wait for these stations, or put in a mirror of the log: `dock-hub restore add --entries DIR`",
            "If there is neither, only a new log with a statement is left: deploy/docs/restore.md",
        ]
    return words
