"""What `deploy/try` says, in Chinese and English: pure text from the JSON of `dock-agent status`."""

import unicodedata
from typing import Any

STATES = {
    "empty": "空闲 / empty",
    "listing": "读取目录 / reading the directory",
    "copying": "正在复制 / copying",
    "safe": "已完成，可以取下 / done, safe to remove",
    "attention": "需要处理 / needs attention",
    "failed": "失败 / failed",
}


def size_text(size_bytes: int) -> str:
    """A number of bytes for people, in units of 1,024 as the dock's screen says it."""
    # not the agent's own: `deploy/try --help` runs before there are any packages
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def columns(rows: list[tuple[str, str]]) -> list[str]:
    """Name and value in two columns; a Chinese character is two cells wide on a terminal."""
    width = max(map(cells, (name for name, _ in rows)))
    return [f"  {name}{' ' * (width - cells(name))}   {value}" for name, value in rows]


def cells(text: str) -> int:
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def bay_line(bay: dict[str, Any]) -> str:
    """One bay as a person would say it: state, camera, files, bytes, time left."""
    parts = [f"仓位 / bay {bay['bay']}", STATES.get(bay["state"], bay["state"])]
    if bay["camera"]:
        parts.append(bay["camera"])
    if bay["files_total"]:
        parts.append(f"{bay['files_done']}/{bay['files_total']} 个文件 / files")
        parts.append(f"{size_text(bay['bytes_done'])} / {size_text(bay['bytes_total'])}")
    if bay["seconds_left"] is not None:
        parts.append(f"剩余 / left {bay['seconds_left']} s")
    if bay["reason"]:
        parts.append(bay["reason"])
    return "   ".join(parts)


def progress_lines(status: dict[str, Any]) -> list[str]:
    """The station now: one line a bay, and one for events still without the hub's receipt. None before it runs."""
    if not status["bays"]:
        return []
    lines = [bay_line(bay) for bay in status["bays"]]
    waiting = status["outbox"]["unreceipted"]
    receipts = (
        f"等待回执 / waiting for the hub's receipt: {waiting}"
        if waiting
        else "全部已有回执 / every event has its receipt"
    )
    return [*lines, receipts]


def changes(before: list[str], after: list[str]) -> list[str]:
    """The lines that were not shown last time, in their order."""
    return [line for line in after if line not in before]


def banner(url: str, user: str, password: str, places: dict[str, str]) -> str:
    """What to do first: the address, the sign-in, and where things lie."""
    first = f"{password}   （首次登录时换成自己的，此后作废 / replaced by your own at the first sign-in, then void）"
    rows = [("打开 / open", url), ("用户 / user", user), ("初始密码 / first password", first), *places.items()]
    stop = "  按 Ctrl-C 停止，再次运行继续使用 / Ctrl-C stops; the next start goes on with the same data"
    return "\n".join(["", *columns(rows), "", stop, ""])


def sums_compared(expected: str, found: str) -> tuple[int, list[str]]:
    """Compare two `sha256sum` listings: how many entries of `expected` are in `found`, and the paths that are not."""
    have = set(found.splitlines())
    missing = [line.split("  ", 1)[1] for line in expected.splitlines() if line not in have]
    return len(expected.splitlines()) - len(missing), missing


def summary(docking: dict[str, Any], folder: str, agreeing: int, missing: list[str], verdict: str) -> str:
    """The end of `--once`: what was docked, and how it was checked in two ways that do not share code."""
    rows = [
        ("接入编号 / docking", docking["docking"]),
        ("记录仪 / camera", docking["camera"]),
        *((f"文件 / files {state}", str(number)) for state, number in sorted(docking["files"].items())),
        ("sha256sum", f"{agreeing} 个文件与源卡一致 / files equal to the card's own list"),
        *(("不一致 / DIFFERS", path) for path in missing),
        ("custody verify", verdict),
        ("查看 / look at", folder),
    ]
    return "\n".join(["", *columns(rows), ""])
