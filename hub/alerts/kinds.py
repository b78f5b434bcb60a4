"""Every kind of alert, once: how grave, which article, whom it goes to and when to the next, and its words. Pure data.

Words name no person and no case: stations, bays, cameras, codes and figures only, for they travel in retained MQTT
messages. `{station}`, `{camera}`, `{bay}` and `{detail}` are filled in by `hub.alerts.wording`. deploy/docs/alerts.md
is generated from here. Codes are in signed events: never change or reuse one.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Literal

from hub.access import Role


class Severity(StrEnum):
    """How grave; in this order."""

    CRITICAL = "critical"  # evidence is in danger, or cannot be trusted: at any hour
    WARNING = "warning"  # today
    NOTICE = "notice"  # this week


ORDER = {severity: place for place, severity in enumerate(Severity)}
# condition: it is over when what is watched is well again, and not before. cause: the same, or a person says so.
# person: only a person can tell
Ends = Literal["condition", "cause", "person"]


@dataclass(frozen=True, slots=True)
class Words:
    """One language: a title without figures, what happened, what is safe, what to do."""

    title: str
    what: str
    safe: str
    do: str


@dataclass(frozen=True, slots=True)
class Kind:
    """A row of the table. `goes_to`: who gets it, then who gets it too when nobody took note of it for `after`.

    `settles`: for how long it must be well again before it counts as over; what flaps is then one alert with a count.
    `bureau`: no section's, though a station may be named in it.
    """

    code: str
    severity: Severity
    article: int
    goes_to: tuple[frozenset[Role], ...]
    after: timedelta
    ends: Ends
    zh: Words
    en: Words
    settles: timedelta = timedelta(0)
    bureau: bool = False


_CRITICAL, _WARNING, _NOTICE = Severity
_HOUR = timedelta(hours=1)
_SOON, _DAY = 4 * _HOUR, 24 * _HOUR


def _to(*steps: str) -> tuple[frozenset[Role], ...]:
    return tuple(frozenset(Role(name) for name in step.split()) for step in steps)


# who gets what: the keeper of the cameras, those who mend them, those who run the hub, those who watch over it
_KEEPER = _to("custodian", "section_head", "approving_leader")
_HEAD = _to("section_head", "approving_leader")
_MENDER = _to("custodian equipment_office", "section_head")
_RUNNER = _to("administrator", "auditor", "approving_leader")
_WATCH = _to("auditor administrator", "approving_leader")
_VAULT_SAFE_ZH, _VAULT_SAFE_EN = "已入库并封存的录像安全。", "Footage that was sealed in the vault is safe."
_CARD_SAFE_ZH = "录像仍在记录仪上；请勿格式化，也不要再用它录制。"
_CARD_SAFE_EN = "The footage is still on the camera: do not format it and do not record with it."
_LOG_SAFE_ZH = "采集站保存着全部录像和自己签名的记录。"
_LOG_SAFE_EN = "Stations keep all footage and all that they signed."

_TABLE = (
    Kind("camera_overdue", _WARNING, 6, _KEEPER, _SOON, "cause",
        Words("记录仪逾期未归还", "记录仪 {camera} 已领用，未按时归还。",
            "此前已入库的录像安全；此次领用后的录像仅在记录仪上。",
            "请联系领用人归还并接入采集站。归还后此告警自动解除。"),
        Words("Camera overdue", "Camera {camera} was checked out and did not come back in time.",
            "What was saved before is safe; what was recorded since is on the camera alone.",
            "Ask whoever has it to dock it. The alert ends by itself when it is back.")),
    Kind("camera_taken_not_ready", _WARNING, 7, _HEAD, _SOON, "cause",
        Words("未就绪的记录仪被领用", "记录仪 {camera} 检查未通过（{detail}），仍从 {station} 的 {bay} 号仓位领用。",
            "已入库的录像安全。", "请确认执法能否完整记录；必要时换用其他记录仪。归还后自动解除。"),
        Words("Camera taken for duty though not ready",
            "Camera {camera} had not passed its check ({detail}) and was taken for duty from bay {bay} of {station}.",
            "What was saved is safe.",
            "See whether the work can be recorded whole; give another camera if not. Ends when it is docked again.")),
    Kind("camera_taken_unrecorded", _NOTICE, 6, _to("custodian", "section_head"), _DAY, "cause",
        Words("记录仪未登记即被取走", "记录仪 {camera} 未办领用手续即从 {station} 的 {bay} 号仓位取走。",
            "已入库的录像安全。", "请查明是谁取走并补办手续。重新接入后自动解除。"),
        Words("Camera taken without check-out",
            "Camera {camera} was taken from bay {bay} of {station} and nobody had checked it out.",
            "What was saved is safe.", "Find out who has it. Ends when it is docked again.")),
    Kind("camera_disputed", _CRITICAL, 6, _to("custodian equipment_office", "section_head", "approving_leader"),
        _SOON, "cause",
        Words("记录仪身份存疑", "两台设备都自称 {camera}；其中一台在 {station} 的 {bay} 号仓位。",
            "两台设备的录像都照常采集，互不覆盖。",
            "请核对机身编号，再在采集站上由两人确认（dock-agent camera --accept）。"),
        Words("Identity of a camera is disputed",
            "Two devices call themselves {camera}; one of them is in bay {bay} of {station}.",
            "Footage of both is taken in; neither covers the other's.",
            "Compare their labels, then settle it at the station (`dock-agent camera --accept`).")),
    Kind("camera_faulty", _WARNING, 7, _MENDER, _DAY, "cause",
        Words("记录仪故障", "{station} 的 {bay} 号仓位中记录仪 {camera} 检查发现故障：{detail}。",
            "已入库的录像安全；故障不影响采集。", "请检修、校时或更换。检查通过后自动解除。"),
        Words("Camera has a fault", "The check of camera {camera} in bay {bay} of {station} found: {detail}.",
            "What was saved is safe; the fault does not keep footage from being taken in.",
            "Have it repaired, set or replaced. Ends when it passes its check.")),
    Kind("footage_unsaved", _WARNING, 15, _KEEPER, _SOON, "cause",
        Words("录像未全部入库", "记录仪 {camera} 在 {station} 的采集未完成：{detail}。", _CARD_SAFE_ZH,
            "请把它重新接入任一采集站，等到显示“可以取走”。全部入库后自动解除。"),
        Words("Not all footage saved", "The offload of camera {camera} at {station} did not end complete: {detail}.",
            _CARD_SAFE_EN, "Dock it again at any station until it says “safe to remove”. Ends when all is saved.")),
    Kind("footage_late", _CRITICAL, 15, _KEEPER, _HOUR, "condition",
        Words("录像超过 24 小时未入库", "记录仪 {camera} 的录像超过 24 小时仍未全部入库（{station}）。", _CARD_SAFE_ZH,
            "请立即找到这台记录仪并接入采集站。全部入库或查明去向后自动解除。"),
        Words("Footage not safe after 24 hours",
            "Footage of camera {camera} is not all saved after more than 24 hours ({station}).",
            _CARD_SAFE_EN,
            "Find this camera and dock it now. Ends when all is saved, or the alert behind it is resolved.")),
    Kind("card_unreadable", _WARNING, 15, _MENDER, _SOON, "cause",
        Words("存储卡有无法读取之处", "记录仪 {camera} 的存储卡部分区域无法读取（{station}，{detail}）。",
            "能读取的都已保存，缺口的位置已写入封存记录；存储卡上的内容原样未动。",
            "请停用并保留该卡，交专业机构恢复；更换新卡。"),
        Words("Card cannot be read everywhere",
            "Parts of the card of camera {camera} cannot be read ({station}, {detail}).",
            "What can be read is saved; the seal states where the gaps are. Nothing on the card was changed.",
            "Use the card no more, keep it for recovery by a specialist, and put a new one in.")),
    Kind("secret_incomplete", _WARNING, 18, _KEEPER, _SOON, "person",
        Words("涉密录像未完整保存", "{station} 加密保存的一批涉密录像不完整。", _CARD_SAFE_ZH,
            "请由涉密管理人员在采集站核对，再次接入该记录仪后确认。"),
        Words("Secret footage is not whole", "Footage under state secrecy that {station} keeps encrypted is not whole.",
            _CARD_SAFE_EN, "Have its custodian look at the station, dock that camera again, then resolve this.")),
    Kind("vault_failing", _CRITICAL, 19, _MENDER, _HOUR, "cause",
        Words("采集站无法可靠保存", "{station} 的存证库出错：{detail}。该站可能无法继续采集。",
            "此前封存的录像未被改动；记录仪上的录像仍在，请勿清理。",
            "请改用其他采集站，立即检查磁盘。该站完整采集一次后自动解除。"),
        Words("Station cannot save reliably",
            "The vault of {station} failed: {detail}. It may not be able to take footage in.",
            "What was sealed before is unchanged; footage still is on the cameras: clear none.",
            "Use another station and look after the disk now. Ends with its next complete offload.")),
    Kind("device_refused", _WARNING, 17, _to("custodian", "section_head"), _DAY, "person",
        Words("有非记录仪设备接入", "{station} 的 {bay} 号仓位接入了不是记录仪的设备：{detail}。",
            "未读取其任何内容，也未向其提供任何内容。", "请取下该设备，查明是谁接入的。"),
        Words("A device that is no camera",
            "Something that is no camera was put into bay {bay} of {station}: {detail}.",
            "Nothing was read from it and nothing was given to it.", "Take it out and find out who put it there.")),
    Kind("loose_contact", _NOTICE, 7, _MENDER, _DAY, "cause",
        Words("仓位接触不良", "{station} 的 {bay} 号仓位在一分钟内多次断开又接通。",
            "已入库的录像安全；每次断开都会从已证实之处续传。", "请清洁触点或更换线缆。正常接入后自动解除。"),
        Words("Loose contact in a bay", "Bay {bay} of {station} lost and found its device many times within a minute.",
            "What was saved is safe; an interrupted copy goes on from where it was proven.",
            "Clean its contacts or change the cable. Ends when a camera is docked there properly.")),
    Kind("footage_mismatched", _CRITICAL, 19, _WATCH, _HOUR, "person",
        Words("录像与封存记录不符", "{station} 提供播放的录像（日志条目 {detail}）与其封存记录不符。",
            "不符的部分没有播放；封存记录和日志不受影响。",
            "请勿更改该站任何内容；在该站运行 custody verify，并检查磁盘。"),
        Words("Footage is not as it was sealed",
            "What {station} gave for viewing (log entry {detail}) is not what it sealed.",
            "Nothing of what differs was shown; seal and log are not touched.",
            "Change nothing at that station; run `custody verify` there and look after its disk."), bureau=True),
    Kind("disposition_failed", _WARNING, 15, _KEEPER, _DAY, "person",
        Words("录像处置未完成", "{station} 对记录仪 {camera} 录像的处置未全部执行：{detail}。",
            "未处置的录像仍在存证库中；每个文件的去留都已签名记录。", "请查看处置记录，再决定是否重新申请。"),
        Words("Disposition did not end complete", "Letting footage of camera {camera} leave {station} ended: {detail}.",
            "What did not leave is still in the vault; what became of each file is signed.",
            "Read its record, then decide whether to ask again.")),
    Kind("clearing_failed", _WARNING, 11, _KEEPER, _SOON, "person",
        Words("记录仪清理未完成", "{station} 对记录仪 {camera} 的清理中止：{detail}。",
            "存证库中的录像不受影响；每个文件的去留都已签名记录。", "请保留存储卡并查看清理记录，再决定是否重新申请。"),
        Words("Clearing of a camera ended early", "Clearing camera {camera} at {station} ended: {detail}.",
            "Footage in the vault is not touched; what became of each file is signed.",
            "Keep the card, read the record of this release, then decide whether to ask again.")),
    Kind("command_failed", _WARNING, 17, _MENDER, _DAY, "person",
        Words("采集站未执行命令", "{station} 没有执行 {detail} 号命令。", _VAULT_SAFE_ZH,
            "请在“命令”页查看原因，必要时重新下达。"),
        Words("Station did not carry out a command", "{station} did not carry out command {detail}.", _VAULT_SAFE_EN,
            "See why on the page of commands; order it again if it is still wanted.")),
    Kind("command_unanswered", _WARNING, 17, _MENDER, _DAY, "condition",
        Words("命令过期未获答复", "{station} 在期限内没有答复 {detail} 号命令。", _VAULT_SAFE_ZH,
            "请检查该站是否在线；过期的命令不会再执行，需要时请重新下达。获答复或一周后自动解除。"),
        Words("Command expired without an answer", "{station} did not answer command {detail} before it expired.",
            _VAULT_SAFE_EN,
            "See whether the station is on line. An expired command is not carried out any more: order it again. "
            "Ends with its answer, or after a week.")),
    Kind("station_silent", _WARNING, 15, _to("custodian equipment_office", "section_head"), _SOON, "condition",
        Words("采集站离线", "{station} 已超过 15 分钟没有消息。", _LOG_SAFE_ZH + "离线时仍照常采集，恢复后自动补传。",
            "请检查电源与网络。恢复联系后自动解除。"),
        Words("Station is silent", "{station} has not been heard of for more than 15 minutes.",
            _LOG_SAFE_EN + " Without a line it goes on taking footage in and catches up later.",
            "Check its power and network. Ends when it is heard of again."),
        settles=timedelta(minutes=5)),
    Kind("outbox_ageing", _WARNING, 15, _MENDER, _SOON, "condition",
        Words("采集站记录积压", "{station} 在线，但有记录等待确认已超过一小时。", _LOG_SAFE_ZH,
            "请检查网络与本中心的运行日志。积压消除后自动解除。"),
        Words("Records wait at a station", "{station} is on line, but records of it have waited for more than an hour.",
            _LOG_SAFE_EN, "Check the network and the operational log of this hub. Ends when nothing waits any more."),
        settles=timedelta(minutes=5)),
    Kind("disk_filling", _WARNING, 15, _MENDER, _DAY, "condition",
        Words("采集站磁盘将满", "{station} 的存证库预计 {detail} 天后存满。", _VAULT_SAFE_ZH,
            "请安排扩容。空间充足后自动解除。"),
        Words("Disk of a station is filling up", "At this rate the vault of {station} is full in {detail} days.",
            _VAULT_SAFE_EN, "Plan more storage. Ends when there is room again."),
        settles=timedelta(hours=1)),
    Kind("disk_nearly_full", _CRITICAL, 15, _MENDER, _HOUR, "condition",
        Words("采集站磁盘即将存满", "{station} 的存证库仅剩 {detail}%。", _VAULT_SAFE_ZH + "存满后拒绝采集，不会覆盖。",
            "请立即扩容，或改用其他采集站。空间充足后自动解除。"),
        Words("Disk of a station is nearly full", "The vault of {station} has only {detail} % left.",
            _VAULT_SAFE_EN + " A full vault takes nothing in and covers nothing.",
            "Add storage now, or use another station. Ends when there is room again."),
        settles=timedelta(minutes=10)),
    Kind("disk_failing", _CRITICAL, 19, _MENDER, _HOUR, "condition",
        Words("采集站磁盘故障", "{station} 报告磁盘故障：{detail}。", "目前封存的录像仍可读取，但随时可能丢失。",
            "请立即备份并更换磁盘。恢复正常后自动解除。"),
        Words("Disk of a station is failing", "{station} reports a failing disk: {detail}.",
            "What was sealed can still be read, but may be lost at any time.",
            "Back it up and replace the disk now. Ends when the station reports it well."),
        settles=timedelta(minutes=10)),
    Kind("station_ailing", _NOTICE, 6, _MENDER, _DAY, "condition",
        Words("采集站状态异常", "{station} 报告：{detail}。", _VAULT_SAFE_ZH, "请安排检修。恢复正常后自动解除。"),
        Words("Station is not well", "{station} reports: {detail}.", _VAULT_SAFE_EN,
            "Have it looked after. Ends when the station reports it well."),
        settles=timedelta(minutes=10)),
    Kind("clock_wrong", _WARNING, 10, _MENDER, _DAY, "condition",
        Words("采集站时钟未同步", "{station} 的时钟未与标准时间同步。", "录像照常采集；封存记录注明时钟未经确认。",
            "请检查该站的网络对时。同步后自动解除。"),
        Words("Clock of a station is not synchronised", "The clock of {station} is not known to be right.",
            "Footage is taken in; each seal says that the clock was not confirmed.",
            "Check its time service. Ends when it is synchronised."),
        settles=timedelta(minutes=10)),
    Kind("log_refused", _CRITICAL, 19, _WATCH, _HOUR, "cause",
        Words("采集站拒绝中心日志", "{station} 发现中心日志与其此前所见矛盾（{detail}）。",
            _LOG_SAFE_ZH + "该站保留了矛盾双方的签名检查点。",
            "请勿更改任何内容；由审计人员比对检查点，查明前不要恢复旧备份。"),
        Words("Station refuses the log",
            "{station} found that this hub's log contradicts what it showed before ({detail}).",
            _LOG_SAFE_EN + " It keeps both signed checkpoints.",
            "Change nothing. Have an auditor compare the checkpoints; restore no backup before that is clear."),
        bureau=True),
    Kind("witness_refused", _CRITICAL, 19, _WATCH, _HOUR, "person",
        Words("见证方指出日志矛盾", "一个见证方认为中心日志与此前所见矛盾（{detail}）。", _LOG_SAFE_ZH,
            "请勿更改任何内容；由审计人员与见证方比对检查点。"),
        Words("A witness contradicts the log",
            "A witness holds that this log contradicts what it showed before ({detail}).",
            _LOG_SAFE_EN, "Change nothing. Have an auditor compare checkpoints with the witness."), bureau=True),
    Kind("witness_offered", _NOTICE, 19, _RUNNER, 3 * _DAY, "cause",
        Words("采集站见证公钥待认可", "{station} 提供了见证公钥，尚未认可。", "日志照常签署；只是该站的见证尚不计入。",
            "请核对后运行 dock-hub witness accept。认可后自动解除。"),
        Words("A station offers to witness",
            "{station} offers to witness the log with its key; nobody has accepted it.",
            "The log is signed as before; only this witness does not count yet.",
            "Compare the key and run `dock-hub witness accept`. Ends when it is accepted."), bureau=True),
    Kind("log_damaged", _CRITICAL, 19, _WATCH, _HOUR, "condition",
        Words("日志检查发现错误", "日志全面检查未通过：{detail}。", _LOG_SAFE_ZH,
            "请勿更改任何内容；运行 dock-hub log check 查看第一处错误。再次检查通过后自动解除。"),
        Words("A check of the log failed", "The full check of the log found: {detail}.", _LOG_SAFE_EN,
            "Change nothing. `dock-hub log check` names the first wrong item. Ends when a check finds all sound."),
        bureau=True),
    Kind("log_unchecked", _WARNING, 19, _RUNNER, _DAY, "condition",
        Words("日志未按时检查", "日志已超过 48 小时没有全面检查。", "每次启动时的快速检查照常进行。",
            "请检查每晚的 dock-hub log check。检查后自动解除。"),
        Words("The log was not checked in time", "The whole log has not been checked for more than 48 hours.",
            "What a start checks was found sound.",
            "See after the nightly `dock-hub log check`. Ends with the next one."),
        bureau=True),
    Kind("backup_overdue", _WARNING, 19, _RUNNER, _DAY, "condition",
        Words("备份逾期", "中心已超过 48 小时没有完成备份。", _LOG_SAFE_ZH,
            "请检查每晚的 dock-hub backup。备份完成后自动解除。"),
        Words("Backup overdue", "No backup of the hub was completed for more than 48 hours.", _LOG_SAFE_EN,
            "See after the nightly `dock-hub backup`. Ends with the next one."), bureau=True),
    Kind("log_restored", _CRITICAL, 19, _WATCH, _DAY, "person",
        Words("恢复日志时有采集站未答复", "日志恢复时未等候：{detail}。只有它们保存的内容不在日志中。", _LOG_SAFE_ZH,
            "请查明这些采集站的去向；若它们重新上线，可能出现日志矛盾。"),
        Words("The log was restored without a station",
            "When the log was restored, nobody waited for: {detail}. What only they hold is not in the log.",
            _LOG_SAFE_EN, "Find out what became of them; if one comes back, the log may turn out forked."),
        bureau=True),
    Kind("messages_refused", _WARNING, 19, _RUNNER, _DAY, "person",
        Words("有消息被拒收", "收到无法接收的消息：{detail}。", "未被接收的内容不进入索引；样本已保留。",
            "请在审计日志中查看“拒收消息”；若非故障，可能有人冒充采集站。"),
        Words("Messages were refused", "Messages came that are not taken in: {detail}.",
            "What is refused changes nothing; a sample of it is kept.",
            "See “Message refused” in the audit log. If it is no fault, somebody may pose as a station."), bureau=True),
    Kind("station_frozen", _CRITICAL, 19, _WATCH, _HOUR, "person",
        Words("采集站已冻结", "已停止接收 {station} 的任何内容：{detail}。", "该站照常采集并保存；此前的日志不变。",
            "请由审计人员查明原因；密钥被盗时申请吊销。"),
        Words("Station is frozen", "Nothing more is taken from {station}: {detail}.",
            "It goes on saving footage; what is in the log stays as it is.",
            "Have an auditor find out why; if its key was stolen, ask to revoke it."), bureau=True),
    Kind("key_revoked", _WARNING, 19, _WATCH, _DAY, "person",
        Words("采集站密钥已吊销", "{station} 的密钥已吊销，不再接收其内容。", "吊销前记入日志的内容仍然有效。",
            "请以新名称重新登记该站，再确认此告警。"),
        Words("Key of a station was revoked", "The key of {station} was revoked; nothing is taken from it any more.",
            "What was logged before stays good.", "Enrol it anew under another name, then resolve this."), bureau=True),
    Kind("export_failed", _NOTICE, 17, _to("approving_leader administrator"), 3 * _DAY, "person",
        Words("导出未完成", "一次录像导出未完成：{detail}。", "未完成的导出不能作为证据包；原录像不受影响。",
            "请按原命令继续，或销毁已复制的部分。"),
        Words("An export did not finish", "An export of footage did not finish: {detail}.",
            "What is unfinished is no bundle; the footage itself is not touched.",
            "Let the same command go on, or destroy what was copied."), bureau=True),
    Kind("request_waiting", _NOTICE, 17, _to("approving_leader auditor"), 3 * _DAY, "condition",
        Words("申请等候过久", "有申请等待批准已超过两天（{detail}）。", "未批准之前，什么都不会执行。",
            "请批准或拒绝。作出决定后自动解除。"),
        Words("A request waits too long", "A request has waited for a decision for more than two days ({detail}).",
            "Nothing is done before it is approved.", "Approve or refuse it. Ends with the decision."), bureau=True),
    Kind("account_request_waiting", _NOTICE, 17, _to("administrator", "auditor"), 3 * _DAY, "condition",
        Words("人员或登记申请等候过久", "有人员、科室或采集站登记申请等待批准已超过两天（{detail}）。",
            "未批准之前，什么都不会改变。", "请由另一名管理员批准或拒绝。作出决定后自动解除。"),
        Words("A request about people or stations waits too long",
            "A request about an account, a section or an enrolment has waited for more than two days ({detail}).",
            "Nothing changes before it is approved.",
            "Another administrator approves or refuses it. Ends with the decision."), bureau=True),
)  # fmt: skip
KINDS: dict[str, Kind] = {kind.code: kind for kind in _TABLE}
WATCHED = frozenset(code for code, kind in KINDS.items() if kind.ends == "condition")
