"""What the dock's screen says of a bay, in Chinese and English. Pure: a bay's state in, words and tone out."""

from __future__ import annotations

from typing import Any

from agent.baystate import BayState
from agent.charge import ChargeState, Origin, Reading
from agent.readiness import Level, Verdict
from agent.releasewords import RULES
from agent.report import REASONS, size_text

Both = tuple[str, str]  # Chinese, English

TITLES: dict[str, tuple[str, str, str]] = {  # tone, Chinese, English
    "empty": ("idle", "空闲", "Free"),
    "recognising": ("busy", "正在识别", "Recognising"),
    "listing": ("busy", "正在读卡", "Reading card"),
    "copying": ("busy", "正在复制", "Copying"),
    "safe": ("good", "可以取下", "Safe to remove"),
    "attention": ("warn", "需要处理", "Needs attention"),
    "failed": ("bad", "尚未存妥", "Not saved"),
    "refused": ("bad", "不接受此设备", "Device refused"),
    "storm": ("warn", "接触不良", "Loose contact"),
    "no_card": ("warn", "没有存储卡", "No card"),
    "clearing": ("busy", "正在清除", "Clearing"),
}
WHAT_TO_DO: dict[str, Both] = {
    "empty": ("插入记录仪", "Plug in a camera"),
    "recognising": ("请稍候", "Please wait"),
    "listing": ("请勿取下", "Do not remove"),
    "copying": ("请勿取下", "Do not remove"),
    "safe": ("录像已全部安全入库", "All footage is safe in the vault"),
    "attention": (
        "可读部分均已入库。请取下并交管理人员，存储卡原样保留",
        "What can be read is safe. Hand camera and card to the custodian as they are",
    ),
    "failed": (
        "录像仍在记录仪中。请重新插接；仍不行请交管理人员",
        "The footage is still in the camera. Plug it in again, or call the custodian",
    ),
    "refused": ("请拔下此设备", "Unplug this device"),
    "storm": ("请插稳并保持 10 秒", "Plug it in firmly and wait 10 seconds"),
    "clearing": ("请勿取下", "Do not remove"),
    "no_card": ("请装入存储卡、开机后重新插接", "Insert a card, switch it on and plug it in again"),
}  # fmt: skip
REFUSALS: dict[str, Both] = {
    "keyboard": ("这是键盘或鼠标类设备", "It acts as a keyboard or mouse"),
    "network": ("这是网络设备", "It acts as a network device"),
    "unknown_device": (
        "无法识别的设备；若是记录仪，请将其切换到 U 盘模式",
        "Unknown device; a camera must be switched to disk mode",
    ),
}  # fmt: skip
VERDICTS: dict[Level, tuple[str, str, str]] = {
    Level.READY: ("good", "可以领用", "Ready for duty"),
    Level.ATTENTION: ("warn", "可领用，有提示", "Usable, with remarks"),
    Level.NOT_READY: ("bad", "不可领用", "Not ready for duty"),
}
CHARGE_STATES: dict[ChargeState, Both] = {
    ChargeState.CHARGING: ("充电中", "charging"),
    ChargeState.TAPERING: ("即将充满", "nearly full"),
    ChargeState.FULL: ("已充满", "full"),
    ChargeState.DISCHARGING: ("未在充电", "not charging"),
    ChargeState.ABSENT: ("无电池", "no battery"),
    ChargeState.FAULT: ("电池故障", "battery fault"),
    ChargeState.UNKNOWN: ("", ""),
}
CARD_SLOW_SECONDS = 5


def bay_view(bay: BayState) -> dict[str, Any]:
    """One bay for the page: tone, title, what to do, progress, charge, verdict. Every text is a pair [zh, en]."""
    tone, *title = TITLES.get(bay.state, TITLES["recognising"])
    return {
        "bay": bay.bay,
        "camera": bay.camera,
        "tone": tone,
        "state": bay.state,
        "title": title,
        "todo": list(WHAT_TO_DO.get(bay.state, WHAT_TO_DO["recognising"])),
        "remark": _remark(bay),
        "progress": _progress(bay),
        "charge": _charge(bay.charge) if bay.charge or bay.removable else None,
        "verdict": _verdict(bay.verdict) if bay.verdict and bay.removable else None,
        "removable": bay.removable,
        "disputed": bay.disputed,
        "officer": bay.officer,
        "can_take_back": bay.officer is not None and bay.removable,
        "can_check_out": bay.state == "safe" and bay.verdict is not None and bay.officer is None,
    }


def _remark(bay: BayState) -> list[str] | None:
    """Why it is as it is, when there is a reason."""
    if bay.state in ("listing", "copying") and bay.waiting_seconds >= CARD_SLOW_SECONDS:
        seconds = round(bay.waiting_seconds)
        return [f"存储卡已 {seconds} 秒没有响应", f"The card has not answered for {seconds} s"]
    if not bay.reason:
        return None
    if bay.reason in REFUSALS:
        return list(REFUSALS[bay.reason])
    en, zh = REASONS.get(bay.reason) or RULES.get(bay.reason, (bay.reason, bay.reason))
    return [zh, en[:1].upper() + en[1:]]


def _progress(bay: BayState) -> dict[str, Any] | None:
    progress = bay.progress
    if bay.state == "clearing":
        done, total = progress.files_done, progress.files_total
        percent = done * 100 // total if total else 0
        return {"percent": percent, "line": [f"{done}/{total} 个文件", f"{done}/{total} files"]}
    if bay.state != "copying":
        if bay.state == "safe" and progress.files_total:
            size = _size(progress.bytes_total)
            return {
                "percent": None,
                "line": [f"{progress.files_total} 个文件，{size}", f"{progress.files_total} files, {size}"],
            }
        return None
    percent = progress.bytes_done * 100 // progress.bytes_total if progress.bytes_total else 0
    files = f"{progress.files_done}/{progress.files_total}"
    size = f"{_size(progress.bytes_done)} / {_size(progress.bytes_total)}"
    left = progress.seconds_left
    zh, en = (f"，约剩 {_left(left)[0]}", f", {_left(left)[1]} left") if left is not None else ("", "")
    return {"percent": min(100, percent), "line": [f"{files} 个文件，{size}{zh}", f"{files} files, {size}{en}"]}


def _size(size_bytes: int) -> str:
    """Figure and unit stay on one line."""
    return size_text(size_bytes).replace(" ", "\N{NO-BREAK SPACE}")


def _left(seconds: int) -> Both:
    """A time that a person waits for, rounded up: 40 秒, 3 分钟, 1 小时 5 分."""
    if seconds < 60:
        seconds = max(5, -(-seconds // 5) * 5)
        return f"{seconds} 秒", f"{seconds} s"
    minutes = -(-seconds // 60)
    if minutes < 60:
        return f"{minutes} 分钟", f"{minutes} min"
    return f"{minutes // 60} 小时 {minutes % 60} 分", f"{minutes // 60} h {minutes % 60} min"


def _charge(reading: Reading | None) -> dict[str, Any]:
    if reading is None or not reading.tells():
        return {"percent": None, "tone": "warn", "text": ["电量未知", "Charge unknown"]}
    zh, en = CHARGE_STATES[reading.state]
    percent = f"{reading.percent} %" if reading.percent is not None else ""
    measured = reading.origin is Origin.INFERRED
    return {
        "percent": reading.percent,
        "tone": "bad"
        if reading.state is ChargeState.FAULT
        else "good"
        if reading.state is ChargeState.FULL
        else "busy",
        "text": [
            " ".join(x for x in ("电量", percent, zh, "（推断）" if measured else "") if x),
            " ".join(x for x in ("Battery", percent, en, "(inferred)" if measured else "") if x),
        ],
    }


def _verdict(verdict: Verdict) -> dict[str, Any]:
    tone, zh, en = VERDICTS[verdict.level]
    hours = verdict.hours_left
    return {
        "level": verdict.level.word,
        "tone": tone,
        "title": [zh, en],
        "space": None if hours is None else [f"可录约 {hours:g} 小时", f"about {hours:g} h of recording"],
        "reasons": [
            {"text": [r.zh, r.en], "tone": VERDICTS[r.level][0], "article": r.article} for r in verdict.reasons
        ],
    }
