"""The unfinished bundle beside its target: what makes an export resumable, and safe from itself.

``<target>.order.json`` says what was asked for, ``<target>.part`` is the folder being filled; both go when it is done.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

from hub.errors import Conflict, Invalid, NotFound
from hub.settings import write_new

MAX_TEXT = 500  # of each text that an order brings into the log


@dataclass(frozen=True, slots=True)
class Order:
    """What an export was asked for. The same order again goes on where it stopped."""

    recordings: tuple[int, ...]
    selection: str
    recipient: str
    reason: str
    operator: str
    request_id: str = ""  # the approved request that it carries out (hub/requests)


def check_order(recordings: tuple[int, ...], recipient: str, reason: str) -> None:
    """Raise Invalid for a text that cannot stand in the log, NotFound when there is nothing to export."""
    for name, text in (("--recipient", recipient), ("--reason", reason)):
        if not text.strip() or len(text) > MAX_TEXT or not text.isprintable():
            raise Invalid(
                f"{name} 必须填写，最多 {MAX_TEXT} 字，不含换行；内容将写入审计日志。 / {name} is needed: one "
                f"line of at most {MAX_TEXT} characters. It goes into the audit log."
            )
    if not recordings:
        raise NotFound("没有符合条件的录像，未导出任何内容。 / No recording fits; nothing was exported.")


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
    part = part_folder(target)
    _refuse_links(part)
    part.mkdir(mode=0o750, exist_ok=True)
    descriptor = os.open(part, os.O_RDONLY | os.O_DIRECTORY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Conflict(f"另一导出正在写入 {part}。 / another export is writing to {part}.") from None
        yield part, _bundle_id(part, order_file(target), order, fresh_id)
    finally:
        os.close(descriptor)


def _refuse_links(part: Path) -> None:
    """Raise Conflict where whoever can write beside the target has laid a link: an export would write behind it."""
    laid = (
        [part]
        if part.is_symlink()
        else [p for p in part.rglob("*") if p.is_symlink() or not (p.is_file() or p.is_dir())]
    )
    if laid:
        raise Conflict(
            f"{laid[0]} 是链接或特殊文件，不是导出所留；请删除 {part} 后重新导出。 / {laid[0]} is a link or special "
            f"file, which no export leaves; delete {part} and export again."
        )


def part_folder(target: Path) -> Path:
    """The folder that an export to `target` fills."""
    return target.with_name(f"{target.name}.part")


def order_file(target: Path) -> Path:
    """Where the order of an unfinished export lies: not in the folder, which holds the bundle and nothing else."""
    return target.with_name(f"{target.name}.order.json")


def _bundle_id(part: Path, kept_at: Path, order: Order, fresh_id: str) -> str:
    asked = json.loads(json.dumps(asdict(order)))
    try:
        kept = json.loads(kept_at.read_bytes())
    except FileNotFoundError:
        if any(part.iterdir()):
            raise Conflict(
                f"{part} 不是可继续的导出；请删除后重新导出。 / "
                f"{part} is no export to go on with; delete it and export again."
            ) from None
        text = json.dumps({"bundle_id": fresh_id, "order": asked}, ensure_ascii=False)
        write_new(kept_at, text.encode(), 0o640)
        return fresh_id
    except ValueError:
        kept = None
    if not isinstance(kept, dict) or not isinstance(kept.get("bundle_id"), str):
        raise Invalid(
            f"{kept_at} 已损坏；请将其与 {part} 删除后重新导出。 / "
            f"{kept_at} is damaged; delete it and {part}, and export again."
        )
    if kept.get("order") != asked:
        raise Conflict(
            f"{part} 是另一份未完成的导出；请完成它、删除它（连同 {kept_at.name}）或另选名称。 / "
            f"{part} is an unfinished export of something else; finish it, delete it with {kept_at.name}, or choose "
            "another name."
        )
    bundle_id: str = kept["bundle_id"]
    return bundle_id


def publish(part: Path, target: Path) -> None:
    """Give a finished bundle its name; all of it is durable then. Raises Conflict when the name is taken."""
    os.sync()  # thousands of small files: one call instead of one fsync each
    _rename(part, target)


def publish_image(part: Path, image: Path, target: Path) -> None:
    """Give a finished, durable image its name, and remove the folder it was made of. Raises Conflict as `publish`."""
    _rename(image, target)
    shutil.rmtree(part)  # a crash before this leaves a folder too many, and a whole image


def _rename(made: Path, target: Path) -> None:
    if os.path.lexists(target):
        raise Conflict(f"{target} 已存在。 / {target} exists by now.")
    # first: an order that outlived its bundle would let the same one be made again without a statement in the log.
    # A crash before the rename leaves a part that no order goes on with: to be deleted, and exported again.
    order_file(target).unlink(missing_ok=True)
    made.rename(target)
    parent = os.open(target.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(parent)
    finally:
        os.close(parent)
