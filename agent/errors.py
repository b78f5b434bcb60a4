"""What can go wrong on a station: one tree, each class with a stable code, one reaction and one exit code.

Messages say what happened, what is safe and what to do, in English and in Chinese. Codes are part of the interface of
`dock-agent` (JSON output, logs, kiosk): never change or reuse one.
"""

from enum import IntEnum, StrEnum
from typing import ClassVar


class Reaction(StrEnum):
    """What the place that catches the error does with it."""

    RETRY = "retry"  # link or device busy: the same step again, later
    QUARANTINE = "quarantine"  # set this camera or file aside, visible; the rest goes on
    STOP = "stop"  # our own disk, key or store cannot be trusted: a person decides


class Exit(IntEnum):
    """Exit codes of `dock-agent offload`."""

    COMPLETE = 0
    INCOMPLETE = 1  # copied, but with gaps, unreadable entries or files that changed meanwhile
    USAGE = 2
    SOURCE_UNREADABLE = 3
    SOURCE_EMPTY = 4
    VAULT_UNWRITABLE = 5
    VAULT_FULL = 6
    VAULT_LOCKED = 7
    STATION_UNTRUSTED = 8  # our own store, key or disk cannot be trusted
    INTERRUPTED = 130


class AgentError(Exception):
    """Base of every error the agent raises on purpose."""

    code: ClassVar[str]
    reaction: ClassVar[Reaction]
    exit_code: ClassVar[Exit]

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(en)
        self.en = en
        self.zh = zh


class SettingsInvalid(AgentError):
    """A setting is unknown, missing or has no meaning."""

    code = "settings_invalid"
    reaction = Reaction.STOP
    exit_code = Exit.USAGE


class ProfileInvalid(SettingsInvalid):
    """A camera profile has an unknown key, a missing field or a value without meaning."""

    code = "profile_invalid"


# --- The camera side: set this camera aside, never stop the station -------------------------------------------------


class SourceError(AgentError):
    """Something about one camera, card or folder."""

    reaction = Reaction.QUARANTINE
    exit_code = Exit.SOURCE_UNREADABLE


class SourceUnreadable(SourceError):
    """The source, or one file of it, cannot be opened or read."""

    code = "source_unreadable"


class NotAFileSystem(SourceError):
    """The image or device holds no file system that we read."""

    code = "not_a_file_system"


class SourceEmpty(SourceError):
    """The source is readable and holds no file."""

    code = "source_empty"
    exit_code = Exit.SOURCE_EMPTY


class SourceGone(SourceError):
    """The device left while it was read; what is already in the vault stays."""

    code = "source_gone"
    reaction = Reaction.RETRY

    def __init__(self) -> None:
        super().__init__(
            "The camera was disconnected while it was read. Every file already reported is safe in the vault. "
            "Connect the camera again: copying goes on where it stopped.",
            "读取过程中记录仪被断开。已报告的文件均已安全存入存证库。请重新连接记录仪，将从中断处继续复制。",
        )


class SourceStalled(SourceError):
    """The card kept one read waiting for minutes; its process was ended, other bays were never held up."""

    code = "source_stalled"

    def __init__(self) -> None:
        super().__init__(
            "The camera stopped answering while it was read. Every file already reported is safe in the vault. Take "
            "the camera out and connect it again: copying goes on where it stopped. If it happens again, keep the card "
            "and call support.",
            "读取过程中记录仪停止响应。已报告的文件均已安全存入存证库。请取下后重新连接，将从中断处继续复制；"
            "若再次发生，请保留存储卡并联系技术支持。",
        )


class ReadFault(SourceError):
    """The medium refuses `length_bytes` bytes at `offset_bytes` of one file; other parts of it may be readable.

    `exact`: the reader asked for every sector of them; else a part of them may answer when asked for alone.
    """

    code = "read_fault"

    def __init__(self, offset_bytes: int, length_bytes: int, *, exact: bool = False) -> None:
        super().__init__(
            f"The card cannot read {length_bytes} bytes at {offset_bytes} of this file. The rest of the file is copied "
            "and the gap is recorded. Keep the card and do not record on it again.",
            f"存储卡无法读取该文件第 {offset_bytes} 字节起的 {length_bytes} 字节。"
            "其余部分照常复制，缺口已记录。请保留该卡，勿再用于录制。",
        )
        self.offset_bytes = offset_bytes
        self.length_bytes = length_bytes
        self.exact = exact


class InspectionFailed(SourceError):
    """The process that looks at a card before it is docked hung, crashed or answered nonsense."""

    code = "inspection_failed"

    def __init__(self, en: str, zh: str) -> None:
        super().__init__(
            f"Looking at this card failed: {en}. Nothing was copied or changed. Dock the camera again; if it happens "
            "again, keep the card and hand it to the equipment office.",
            f"查看该存储卡失败：{zh}。未复制也未改动任何内容。请重新接入；若再次发生，请保留存储卡并交办公室处理。",
        )


class DriverFailed(SourceError):
    """A recorder refused a command, answered nonsense or did not answer; its footage was not touched."""

    code = "driver_failed"

    def __init__(self, en: str, zh: str, *, whole: bool = False) -> None:
        """What went wrong; `whole`: the sentences as this class made them before."""
        if whole:
            super().__init__(en, zh)
            return
        super().__init__(
            f"The recorder did not carry out a command: {en}. Its footage was not touched. Take it out and dock it "
            "again; if it happens again, check the driver of its profile.",
            f"记录仪未执行命令：{zh}。其中录像未被触动。请取出后重新接入；若再次发生，请检查其配置中的驱动设置。",
        )


# --- Our own disk, store and key: a person decides ------------------------------------------------------------------


class VaultError(AgentError):
    """The disk that receives the footage."""

    reaction = Reaction.STOP
    exit_code = Exit.VAULT_UNWRITABLE


class VaultFull(VaultError):
    """No space or quota left in the vault."""

    code = "vault_full"
    exit_code = Exit.VAULT_FULL

    def __init__(self) -> None:
        super().__init__(
            "The vault is full. Every file already reported is safe; the camera is untouched and still holds the rest. "
            "Free or add disk space and dock the camera again: copying goes on where it stopped.",
            "存证库空间已满。已报告的文件均安全；记录仪未被改动，其余文件仍在其中。请扩充磁盘空间后重新接入，将从中断处继续复制。",
        )


class VaultReadOnly(VaultError):
    """The vault refuses writing: mounted read-only, or not ours to write."""

    code = "vault_read_only"

    def __init__(self) -> None:
        super().__init__(
            "The vault cannot be written: it is mounted read-only or its permissions refuse us. The camera is "
            "untouched. Check the disk and the owner of the vault folder, then dock the camera again.",
            "存证库无法写入：磁盘以只读方式挂载或权限不足。记录仪未被改动。请检查磁盘和存证库目录的属主，然后重新接入记录仪。",
        )


class VaultUnwritable(VaultError):
    """The vault's disk fails on writing or syncing."""

    code = "vault_unwritable"

    def __init__(self, detail: str) -> None:
        super().__init__(
            f"The vault's disk failed: {detail}. Files already reported are safe; the camera is untouched. "
            "Do not clear the camera. Check or replace the disk, then dock the camera again.",
            f"存证库磁盘出错：{detail}。已报告的文件均安全；记录仪未被改动。请勿清除记录仪，检查或更换磁盘后重新接入。",
        )


class ReadbackMismatch(VaultError):
    """The vault's disk gives back other bytes than were written, again after copying them anew."""

    code = "readback_mismatch"
    exit_code = Exit.STATION_UNTRUSTED

    def __init__(self, chunk: int) -> None:
        super().__init__(
            f"The vault's disk gave back wrong bytes for chunk {chunk}, again after it was copied anew. Nothing wrong "
            "was accepted; the camera is untouched. Do not clear the camera. Replace the vault's disk or cable.",
            f"存证库磁盘读回的第 {chunk} 块与写入不符，重新复制后仍不符。错误数据未被接受；记录仪未被改动。"
            "请勿清除记录仪，更换存证库磁盘或线缆。",
        )
        self.chunk = chunk


class TargetTaken(VaultError):
    """Something stands under the name that a copy was to get; it is never replaced."""

    code = "target_taken"
    reaction = Reaction.QUARANTINE
    exit_code = Exit.INCOMPLETE

    def __init__(self, target: str) -> None:
        super().__init__(
            f"{target} already exists in the vault and was not replaced. The camera is untouched and still holds its "
            "file. Find out who put it there, then dock the camera again.",
            f"存证库中已存在 {target}，未予覆盖。记录仪未被改动，文件仍在其中。请查明该文件来源，然后重新接入记录仪。",
        )


class VaultLocked(VaultError):
    """Another agent works in this vault."""

    code = "vault_locked"
    reaction = Reaction.RETRY
    exit_code = Exit.VAULT_LOCKED


class StoreUntrusted(AgentError):
    """The station's own database is damaged or contradicts itself."""

    code = "store_untrusted"
    reaction = Reaction.STOP
    exit_code = Exit.STATION_UNTRUSTED


class RotationRefused(AgentError):
    """The station's key is not replaced now."""

    code = "rotation_refused"
    reaction = Reaction.RETRY
    exit_code = Exit.INCOMPLETE


class KeyUnreadable(AgentError):
    """The station's signing key is missing, damaged or open to others."""

    code = "key_unreadable"
    reaction = Reaction.STOP
    exit_code = Exit.STATION_UNTRUSTED
