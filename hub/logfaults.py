"""What a check of the log can find: stable codes, and how each is said to people.

An item names the first wrong thing: ``entry/17``, ``tile/0/x001/067``, ``checkpoint/300``, ``log_state``,
``station/dock-1``, ``segment/17`` and so on; a number is a log index, that of a checkpoint its size.
"""

from __future__ import annotations

from hub.errors import HubError, LogUntrusted

FAULTS: dict[str, tuple[str, str]] = {
    "entry_missing": ("缺少一条日志", "a log entry is missing"),
    "entry_altered": ("日志条目已被改动", "a log entry is not what was logged"),
    "entry_extra": ("日志中多出一条", "an entry stands in the log that no checkpoint covers"),
    "entry_column": ("日志条目的索引列与信封不符", "a log entry's columns do not say what its envelope says"),
    "entry_time": ("日志条目的接收时间与其检查点不符", "a log entry's time of receipt is not that of its checkpoint"),
    "entry_chain": ("日志条目与同一来源的前一条不衔接", "a log entry does not follow its source's previous one"),
    "entry_signature": ("日志条目没有其来源的有效签名", "a log entry carries no valid signature of its source"),
    "tile_missing": ("缺少哈希块", "a tile is missing"),
    "tile_altered": ("哈希块已被改动", "a tile is not what the entries give"),
    "tile_extra": ("多出一个哈希块", "there is a tile that a log of this size has not"),
    "checkpoint_missing": ("缺少检查点", "a checkpoint is missing"),
    "checkpoint_altered": ("检查点已被改动", "a checkpoint is not what our key signed"),
    "checkpoint_forked": ("检查点属于另一段历史", "a checkpoint of our key is of another history"),
    "state_altered": ("日志状态与日志不符", "the log's state is not that of its newest checkpoint"),
    "station_altered": ("采集站登记与日志不符", "a station's row does not follow from the log"),
    "account_altered": ("账户与日志不符", "an account does not follow from the log"),
    "reader_altered": ("日志读取者与日志不符", "a log reader does not follow from the log"),
    "witness_altered": ("见证方登记与日志不符", "a witness or the witness policy does not follow from the log"),
    "key_altered": ("密钥更换记录与日志不符", "a rotation of a key does not follow from the log"),
    "use_altered": ("借阅申请与日志不符", "a request to use footage does not follow from the log"),
    "command_altered": ("命令与日志不符", "a command to a station does not follow from the log"),
    "mark_altered": ("降低密级的申请与日志不符", "a request for a lower mark does not follow from the log"),
    "viewing_altered": ("查看记录与日志不符", "a viewing of footage does not follow from the log"),
    "opening_altered": ("承诺的开启值与日志不符", "the opening of a commitment does not follow from the log"),
    "alert_altered": ("告警与日志不符", "an alert does not follow from the log"),
    "refused_altered": ("拒收记录与日志不符", "a row of refused messages does not follow from the log"),
}
INDEX_FAULTS: dict[str, tuple[str, str]] = {
    "index_missing": ("索引缺少一行", "an index row is missing"),
    "index_altered": ("索引行与日志不符", "an index row does not say what the log says"),
    "index_extra": ("索引多出一行", "there is an index row that the log does not give"),
    "index_stale": ("索引尚未收入一条日志", "an entry was set aside by an earlier version and can be read now"),
}


class IndexWrong(HubError):
    """The log is sound, rows made out of it are not: pages may hide or show what they should not."""

    code = "index_wrong"
    exit_code = 5

    def __init__(self, fault: str, item: str) -> None:
        """`fault` is one of `INDEX_FAULTS`; `item` names the first wrong row."""
        zh, en = INDEX_FAULTS[fault]
        super().__init__(
            f"索引有误：{zh}（{item}）。日志本身可信，证据未受影响；请停止中心并运行 dock-hub reindex 重建索引。 / "
            f"The index is wrong: {en} ({item}). The log itself is sound and no evidence is affected; "
            f"stop the hub and rebuild the index with `dock-hub reindex`. [{fault}: {item}]"
        )
        self.fault, self.item = fault, item


def untrusted(fault: str, item: str, more: str = "") -> LogUntrusted:
    """The error for one of `FAULTS`; `more` is for the engineer."""
    zh, en = FAULTS[fault]
    return LogUntrusted(f"{zh}（{item}）", f"{en} ({item}){'; ' + more if more else ''}", fault, item)
