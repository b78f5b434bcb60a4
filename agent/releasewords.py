"""Why files stay on a camera, for people: each rule of a release in English and Chinese (as `agent.report.REASONS`)."""

from __future__ import annotations

RULES: dict[str, tuple[str, str]] = {
    # not fulfilled yet: the order waits
    "release_off": ("clearing is switched off at this station", "本站未启用清除功能"),
    "not_enrolled": ("this station is not enrolled at the hub", "本站尚未登记到中心"),
    "clock_unsynchronised": ("the station's clock is not synchronised", "本站时钟未同步"),
    "camera_not_docked": ("the camera is not in its bay", "记录仪不在仓位中"),
    "checked_out": ("an officer has checked the camera out", "该记录仪已被领用"),
    "not_receipted": ("the hub has not confirmed this docking yet", "中心尚未确认本次接入"),
    "seal_not_receipted": ("the hub has not confirmed every file yet", "中心尚未确认全部文件"),
    "checkpoint_not_proved": ("the station has not yet checked the hub's log so far", "本站尚未核验到该日志位置"),
    "too_early": ("footage stays on the camera for some days more", "录像须在记录仪中再保留若干天"),
    "clearing_unavailable": ("the program that clears cameras does not run", "清除程序未运行"),
    "clearing_failed": ("the program that clears cameras broke off", "清除程序中断"),
    "card_gone": ("the camera does not answer", "记录仪没有应答"),
    # the authorisation
    "not_authorised": ("this is no authorisation by the hub for this station", "并非中心发给本站的有效授权"),
    "not_approved": ("the log does not prove that two people approved", "日志不能证明已由两人审批"),
    "expired": ("the authorisation has expired", "授权已过期"),
    "already_used": ("this authorisation was used up", "该授权已使用过"),
    "closing_differs": ("the authorisation is about another docking", "授权针对另一次接入"),
    "checkpoint_invalid": ("the log's checkpoint is not signed by its key", "日志检查点签名无效"),
    "checkpoint_contradicts": ("the log shows another history than it did before", "日志与此前所见不一致"),
    "not_witnessed": ("too few witnesses have confirmed the log", "确认该日志的见证者不足"),
    "not_in_log": ("the log does not hold this docking", "日志中没有本次接入"),
    "manifest_differs": ("the manifest in the vault is not the approved one", "存证库中的清单与批准的不一致"),
    "entry_not_saved": ("an authorised file was not saved whole", "授权文件中有未完整保存的"),
    # docking, camera and vault
    "docking_unknown": ("this station knows no such docking", "本站没有该次接入的记录"),
    "docking_incomplete": ("not everything of this docking was saved", "本次接入未能全部保存"),
    "camera_disputed": ("the camera's identity is disputed", "记录仪身份存疑"),
    "camera_left_since": ("the camera was taken out since it was saved", "保存后记录仪曾被取下"),
    "card_differs": ("this is not the card that was saved", "并非当时保存的存储卡"),
    "held": ("a hold is on this camera or docking", "该记录仪或该次接入已被保全"),
    "vault_copy_missing": ("a copy in the vault is missing", "存证库中缺少副本"),
    "vault_copy_differs": ("a copy in the vault is not as it was sealed", "存证库中的副本与封存时不符"),
    # the card
    "file_held": ("a hold is on this file", "该文件已被保全"),
    "not_on_card": ("the file is not on the card any more", "该文件已不在卡上"),
    "path_ambiguous": ("the card lists this name twice", "卡上有两个同名文件"),
    "size_differs": ("the file has changed since it was saved", "该文件在保存后发生变化"),
    "content_differs": ("the file has changed since it was saved", "该文件在保存后发生变化"),
    "card_read_fault": ("parts of the card cannot be read", "存储卡部分区域无法读取"),
    "card_write_fault": ("the card does not take what is written", "存储卡写入失败"),
    "card_damaged": ("the card's file system is damaged", "存储卡文件系统已损坏"),
    "others_changed": ("files that were not authorised changed meanwhile", "其间有未授权的文件发生变化"),
    "file_system_not_supported": ("cards of this kind are not cleared yet", "暂不支持清除此类存储卡"),
    "came_back": ("the card shows a cleared file again: keep the card", "已清除的文件重新出现：请保留该卡"),
    # the program that clears
    "not_pinned": ("the program that clears cameras was not set up", "清除程序尚未设置"),
    "not_the_agent": ("the program that clears cameras refuses this caller", "清除程序拒绝该调用者"),
    "not_a_card": ("this is no card of a camera", "并非记录仪存储卡"),
    "card_busy": ("the card is in use", "存储卡正被占用"),
    "bad_request": ("the program that clears cameras did not understand", "清除程序无法理解请求"),
    # how it ended
    "released": ("authorised footage was cleared from the camera", "已按授权清除记录仪中的录像"),
}
