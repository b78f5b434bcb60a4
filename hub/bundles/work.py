"""The unfinished bundle beside its target, ``<target>.part``: what makes an export resumable, and safe from itself."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.errors import Conflict, Invalid
from hub.settings import write_new

ORDER = "export-order.json"


@dataclass(frozen=True, slots=True)
class Order:
    """What an export was asked for. The same order again goes on where it stopped."""

    recordings: tuple[int, ...]
    selection: str
    recipient: str
    reason: str
    operator: str


@contextmanager
def working_folder(target: Path, order: Order, fresh_id: str) -> Iterator[tuple[Path, str]]:
    """The folder to fill and the bundle's id: a new one, or those of an interrupted export with the same order.

    The order is durable before the block begins, so a bundle has one id however often it is resumed. Raises Conflict
    when the target exists, another order is unfinished there, or another process works on it.
    """
    if os.path.lexists(target):
        raise Conflict(
            f"{target} 已存在，不会覆盖；请另选名称。 / {target} exists and is never overwritten; choose another name."
        )
    part = target.with_name(f"{target.name}.part")
    part.mkdir(mode=0o750, exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"另一导出正在写入 {part}。 / another export is writing to {part}.") from None
        yield part, _bundle_id(part, order, fresh_id)
    finally:
        os.close(descriptor)


def _bundle_id(part: Path, order: Order, fresh_id: str) -> str:
    asked = json.loads(json.dumps(asdict(order)))
    try:
        kept = json.loads((part / ORDER).read_bytes())
    except FileNotFoundError:
        if any(part.iterdir()):
            raise Conflict(f"{part} 不是本程序的未完成导出。 / {part} is no unfinished export of ours.") from None
        text = json.dumps({"bundle_id": fresh_id, "order": asked}, ensure_ascii=False)
        write_new(part / ORDER, text.encode(), 0o640)
        return fresh_id
    except ValueError:
        raise Invalid(
            f"{part / ORDER} 已损坏；请删除 {part} 后重新导出。 / it is damaged; delete {part} and export again."
        ) from None
    if kept.get("order") != asked:
        raise Conflict(
            f"{part} 是另一份未完成的导出；请完成它、删除它或另选名称。 / {part} is an unfinished export of "
            "something else; "
            "finish it, delete it or choose another name."
        )
    return str(kept["bundle_id"])


def publish(part: Path, target: Path) -> None:
    """Give a finished bundle its name; all of it is durable then. Raises Conflict when the name is taken."""
    (part / ORDER).unlink(missing_ok=True)
    os.sync()  # thousands of small files: one call instead of one fsync each
    if os.path.lexists(target):
        raise Conflict(f"{target} 已存在。 / {target} exists by now.")
    part.rename(target)
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
