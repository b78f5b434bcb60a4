"""Errors of the hub: one tree, stable codes, and one reaction each.

*Retry*: the database or broker is away for now; nothing is acknowledged until it works. *Stop*: our own keys, log or
settings cannot be trusted; the process ends before it signs anything. *Domain*: a person asked for what cannot be; the
pages answer with `http_status`. A bad message of a station is no exception at all but a `Refused` value: see intake.
"""

from __future__ import annotations


class HubError(Exception):
    """Base of all. `code` is stable; the message says what happened, what is safe and what to do."""

    code = "hub_error"
    http_status = 500
    exit_code = 1


class Stop(HubError):
    """The hub must not run, or not go on, as things stand."""

    code = "stop"
    exit_code = 3


class LogUntrusted(Stop):
    """The stored log does not fit its own hashes, checkpoint or chains. Nothing may be signed on top of it."""

    code = "log_untrusted"
    exit_code = 4

    def __init__(self, zh: str, en: str, fault: str, item: str) -> None:
        """What does not fit, in both languages: whoever reads this stands before a hub that will not start.

        `fault` is the stable code of what is wrong (see hub/logfaults.py), `item` names the first wrong thing.
        """
        super().__init__(
            f"日志不可信：{zh}。未签署任何内容；请保留数据库原样并从备份恢复。 / "
            f"The log cannot be trusted: {en}. Nothing was signed; keep this database as it is and restore a backup. "
            f"[{fault}: {item}]"
        )
        self.fault, self.item = fault, item


class LogReadOnly(HubError):
    """The log is behind what others hold of it. Pages are served; nothing is taken in, signed or appended."""

    code = "log_read_only"
    http_status = 503
    exit_code = 6

    def __init__(self, reason: str) -> None:
        """`reason`: why, one of `hub/readonly.py`."""
        super().__init__(
            "中心处于只读状态：日志落后于他人所持的检查点，补齐之前不接收、不签署、不追加；没有内容丢失，采集站照常保存。"
            "请运行 dock-hub restore status 查看缺少什么。 / "
            "The hub is read-only: its log is behind what others hold of it. Until it is refilled nothing is taken "
            "in, signed or appended; nothing is lost, stations go on keeping everything. "
            f"`dock-hub restore status` tells what is missing. [{reason}]"
        )
        self.reason = reason


class BackupUnusable(Stop):
    """A backup is not whole, or is of another hub."""

    code = "backup_unusable"


class KeysUnusable(Stop):
    """A key file is missing, readable by others, or not an Ed25519 key."""

    code = "keys_unusable"


class KeysChanged(Stop):
    """A key was rotated beside this process: it must not sign with the old one. Start again with the new files."""

    code = "keys_changed"


class SettingsInvalid(Stop):
    """hub.toml has an unknown key, a missing one or a value of the wrong kind."""

    code = "settings_invalid"


class SchemaMismatch(Stop):
    """The database was made by another version: run ``dock-hub run`` of this version, or the newer program."""

    code = "schema_mismatch"


class DomainError(HubError):
    """A request that cannot be met; nothing was changed."""

    code = "domain_error"
    http_status = 422
    exit_code = 1


class NotFound(DomainError):
    """There is no such thing, or not for this actor."""

    code = "not_found"
    http_status = 404


class Conflict(DomainError):
    """It is there already, or is not in a state that allows this."""

    code = "conflict"
    http_status = 409


class Invalid(DomainError):
    """A value that a person or program gave cannot be used."""

    code = "invalid"
