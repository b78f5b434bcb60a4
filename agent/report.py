"""What the command line says: progress and outcome of an offload, in Chinese and English."""

from __future__ import annotations

from typing import Any

from agent.pipeline import Result
from agent.progress import Progress

REASONS = {
    "gaps": ("some files have unreadable parts", "部分文件存在无法读取的缺口"),
    "unreadable_parts": ("parts of the card's directories cannot be read", "存储卡部分目录无法读取"),
    "unreadable_files": ("some files could not be read", "部分文件无法读取"),
    "changed_while_copied": ("a file kept changing while it was copied", "有文件在复制过程中持续变化"),
    "agent_stopped": ("the agent was stopped", "程序被停止"),
    "source_gone": ("the camera was disconnected", "记录仪被断开"),
    "source_unreadable": ("the camera cannot be read any further", "记录仪无法继续读取"),
    "source_stalled": ("the card stopped answering", "存储卡停止应答"),
    "secret_kept": ("encrypted; only the custodian can read it", "已加密保存，仅保管人可读"),
    "secret_incomplete": ("encrypted, but not everything could be read", "已加密保存，但有内容无法读取"),
    "source_empty": ("there is no file on the card", "存储卡中没有文件"),
    "not_a_file_system": ("no known file system on the card", "存储卡上没有可识别的文件系统"),
    "inspection_failed": ("the card could not be looked at", "无法检查存储卡"),
    "read_fault": ("parts of the card cannot be read", "存储卡部分区域无法读取"),
    "driver_failed": (
        "the recorder did not carry out the unlock commands; have its profile checked",
        "记录仪未执行解锁命令，请管理人员检查其配置",
    ),
    "target_taken": ("a name in the vault is taken already", "存证库中已有同名文件"),
    "vault_locked": ("another program works in the vault", "另有程序正在使用存证库"),
    "store_untrusted": ("the dock's own database cannot be trusted", "采集站数据库不可信"),
    "key_unreadable": ("the dock's own key cannot be read", "采集站密钥无法读取"),
    "settings_invalid": ("the name of this card cannot be a camera's", "该存储卡的名称不能作为记录仪名称"),
    "internal": ("the dock's program made an error", "采集程序出错"),
    "vault_full": ("the vault is full", "存证库空间已满"),
    "vault_read_only": ("the vault cannot be written", "存证库不可写入"),
    "vault_unwritable": ("the vault's disk failed", "存证库磁盘出错"),
    "readback_mismatch": ("the vault's disk gives back wrong data", "存证库磁盘读回的数据有误"),
}


def size_text(size_bytes: int) -> str:
    """Bytes for people, in units of 1024."""
    size = float(size_bytes)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if size < 1024:
            return f"{size:.0f} {unit}" if unit == "B" else f"{size:.1f} {unit}"
        size /= 1024
    return f"{size:.1f} TiB"


def progress_line(progress: Progress) -> str:
    """One line for a terminal."""
    if progress.state == "listing":
        return "正在读取目录 / listing"
    left = "" if progress.seconds_left is None else f"  剩余 {time_text(progress.seconds_left)}"
    done, total = size_text(progress.bytes_done), size_text(progress.bytes_total)
    return f"{progress.files_done}/{progress.files_total}  {done} / {total}{left}"


def time_text(seconds: int) -> str:
    """h:mm:ss."""
    return f"{seconds // 3600}:{seconds // 60 % 60:02}:{seconds % 60:02}"


def outcome_json(result: Result) -> dict[str, Any]:
    """The outcome for programs; field names are stable."""
    closed = result.closed
    body: dict[str, Any] = {"docking": result.docking_id}
    if closed is not None:
        counts = closed.counts
        body |= {name: getattr(counts, name) for name in counts.__dataclass_fields__}
        body |= {"complete": closed.complete, "reason": closed.reason, "gap_files": closed.gap_files}
    if result.error is not None:
        body |= {"error": result.error.code, "en": result.error.en, "zh": result.error.zh}
    return body


def outcome_lines(result: Result) -> list[str]:
    """The outcome for people."""
    closed = result.closed
    if closed is None:
        return ["没有新文件 / nothing new"]
    counts, size = closed.counts, size_text(closed.counts.bytes_copied)
    lines = [
        f"接入编号 / docking {result.docking_id}",
        f"新复制 {counts.copied} 个文件（{size}），此前已保存 {counts.already_saved} 个 / "
        f"copied {counts.copied} new files ({size}), {counts.already_saved} were saved before",
    ]
    noted = {
        "未能读取 / unreadable files": counts.failed,
        "有缺口 / files with gaps": closed.gap_files,
        "目录无法读取 / unreadable directory parts": counts.unreadable,
        "跳过（链接、设备等）/ skipped (links, devices)": counts.skipped,
        "已删除的目录项 / deleted entries seen": counts.deleted_seen,
    }
    lines += [f"{name}: {number}" for name, number in noted.items() if number]
    if closed.complete:
        lines.append("完整：全部已写盘、回读核对并封存 / complete: all synced, read back and sealed")
    else:
        en, zh = REASONS.get(closed.reason, (closed.reason, closed.reason))
        lines.append(f"不完整：{zh}；请保留存储卡 / NOT complete: {en}; keep the card")
    return lines
