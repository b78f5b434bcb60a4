"""What `dock-hub COMMAND --help` adds to each command: a Chinese sentence and an example.

`tests/unit/test_command_help.py` gives every example to the real parser.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping

HUB = "--dir /var/lib/custodock-hub"

CHINESE: Mapping[str, str] = {
    "init": "建立新的中心：密钥、数据库、设置。",
    "keys": "打印中心的公钥行：采集站登记时使用；并印在纸上，供不信任中心的人核验。",
    "key rotate": "申请更换中心的一把密钥；须由另一账号批准。",
    "key approve": "批准更换密钥：新旧两把密钥互相签名，写入日志，通知各采集站。"
    "运行中的中心会自行退出，由系统服务以新密钥重新启动。",
    "key list": "列出历次密钥更换和待批准的申请。",
    "station add": "用 `dock-agent enrol` 打印的公钥行登记一个采集站。",
    "station list": "列出已登记的采集站。",
    "station show": "显示一个采集站及其公钥行。",
    "station freeze": "停止接收一个采集站的任何内容，例如其密钥被盗时。一人即可执行，写入日志。",
    "station revoke": "申请吊销采集站的密钥，例如密钥被盗时；须由另一账号批准。请先执行 station freeze。",
    "station approve-revocation": "批准吊销采集站的密钥。此前记入日志的内容仍然有效，此后该密钥不再被采信。",
    "user add": "新建账号，打印初始密码；首次登录时必须修改。",
    "user first": "尚无账号时，打印一次性口令，凭它在网页 /first 上建立第一个管理员；有账号后即作废。请勿交给他人。",
    "user password": "为账号重设初始密码，并结束其全部登录。恢复备份后需要：日志从不保存密码。",
    "run": "运行中心，直到收到 SIGTERM。先升级数据库，再检查日志。",
    "alert list": "列出未解除的告警，最严重的在前。",
    "alert acknowledge": "知悉一条告警：不再升级给其他人。",
    "alert resolve": "说明一条告警已处理完毕。多数告警会自动解除。",
    "alert test-sender": "向 alert_senders 文件中的每个地址发送一条测试消息。",
    "witness list": "列出见证方、采集站提供的见证公钥和警报。",
    "witness accept": "认可采集站在自己的签名链中提供的见证公钥。",
    "witness add": "按保管人交来的公钥行登记一个见证方。",
    "witness remove": "申请不再采信一个见证方，由另一账号批准。",
    "witness approve-removal": "批准不再采信一个见证方：其后的检查点不再计入其见证。",
    "witness policy": "设定须有几个见证方共同签署，检查点才算已见证。",
    "backup": "中心运行时即可备份，备份为一个目录；名称以 .tar 结尾时为一个文件。核验通过后才有正式名称。"
    "私钥须另加 --with-keys，只需备份一次，离线存放。",
    "restore begin": "从备份建立新的中心目录；日志补齐之前只读。",
    "restore add": "放入他人交来的检查点和日志镜像。",
    "restore status": "说明还缺什么、属于谁、何时问过谁，以及该怎么做。",
    "restore finish": "立即补齐并恢复工作：用于没有中心在运行，或某采集站再也不会答复时。"
    "已损毁的采集站用 --without 指明，日志会记下未等候它。",
    "log check": "把一切从日志条目重新推导并比对，指出第一处错误。请每晚运行。",
    "log show": "打印日志条目，每行一个 JSON 对象。",
    "log proof": "打印一条日志的 C2SP tlog-proof 证明，可交给他人。",
    "log export": "把日志条目导出为文件，或把整个日志导出为任何人都能核验的目录；导出前先以此账号写入日志。",
    "log root-sheet": "生成一页可打印的日志根（A4，HTML，含二维码），供纸面留存。",
    "log reader add": "准许一个程序读取日志条目，并打印其令牌：只显示这一次。",
    "log reader list": "列出可读取日志条目的程序。",
    "log reader revoke": "立即并永久作废一个程序的令牌。",
    "opening remove": "申请移除日志旁的个人信息（如工号）；须由另一人批准后才移除。",
    "opening approve": "批准移除：信息永久消失，日志条目与证明保持不变。旧备份须另行删除。",
    "opening list": "列出已申请和已完成的移除。",
    "export": "导出录像及其全部证明，供他人离线验证；导出本身先写入审计日志。",
    "reindex": "从日志重建全部索引；其间暂停接收。",
}
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "init": (
        f"dock-hub init {HUB}",
        f"dock-hub init {HUB} --database postgresql://custodock@db.lan/custodock",
    ),
    "keys": (f"dock-hub keys {HUB}", f"dock-hub keys {HUB} --json"),
    "station add": (f"dock-hub station add 'dock-1+c506c070+AQOhB7…' {HUB}",),
    "station list": (f"dock-hub station list {HUB}",),
    "station show": (f"dock-hub station show dock-1 {HUB}",),
    "user add": (
        f"dock-hub user add admin --admin {HUB}",
        f"dock-hub user add liwei --role auditor {HUB}",
    ),
    "user first": (f"dock-hub user first {HUB}",),
    "run": (
        f"dock-hub run {HUB} --mqtt mqtts://broker.lan:8883 --ca ca.pem --cert hub.pem --key hub.key",
        f"dock-hub run {HUB} --mqtt mqtt://127.0.0.1:1883      # beside dock-hub broker, on one machine",
    ),
    "alert list": (f"dock-hub alert list {HUB}", f"dock-hub alert list --resolved --json {HUB}"),
    "alert acknowledge": (f"dock-hub alert acknowledge 0195f000-0000-7000-8000-000000000001 --account zhaomin {HUB}",),
    "alert resolve": (
        f"dock-hub alert resolve 0195f000-0000-7000-8000-000000000001 --note 已取下 --account zhaomin {HUB}",
    ),
    "alert test-sender": (f"dock-hub alert test-sender {HUB}",),
    "log check": (f"dock-hub log check {HUB}", f"dock-hub log check {HUB} --quick"),
    "log show": (f"dock-hub log show {HUB} --start 1040 --limit 10",),
    "log proof": (f"dock-hub log proof 1042 {HUB} > 1042.tlog-proof",),
    "log reader add": (f"dock-hub log reader add province-monitor {HUB}",),
    "log reader list": (f"dock-hub log reader list {HUB}",),
    "log reader revoke": (f"dock-hub log reader revoke province-monitor {HUB}",),
    "opening remove": (
        f"dock-hub opening remove --officer 310042 --reason asked_by_person --account zhaomin {HUB}",
        f"dock-hub opening remove --before 2025-01-01 --reason retention_over --account zhaomin {HUB}",
    ),
    "opening approve": (f"dock-hub opening approve 0195f000-0000-7000-8000-000000000001 --account chenli {HUB}",),
    "opening list": (f"dock-hub opening list {HUB}",),
    "reindex": (f"dock-hub reindex {HUB}",),
}


def complete(command: argparse.ArgumentParser) -> None:
    """Add to one command's help what the tables above say of it; a command that they do not know stays as it is."""
    name = command.prog.removeprefix("dock-hub ")
    if name in CHINESE:
        command.description = f"{CHINESE[name]}\n{command.description}"
    if name in EXAMPLES:
        examples = "".join(f"  {line}\n" for line in EXAMPLES[name])
        command.epilog = f"examples:\n{examples}\n{command.epilog}"
