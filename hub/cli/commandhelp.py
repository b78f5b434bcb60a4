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
    "station add": "用 `dock-agent enrol` 打印的公钥行登记一个采集站。",
    "station list": "列出已登记的采集站。",
    "station show": "显示一个采集站及其公钥行。",
    "user add": "新建账号，打印初始密码；首次登录时必须修改。",
    "run": "运行中心，直到收到 SIGTERM。先升级数据库，再检查日志。",
    "log check": "把一切从日志条目重新推导并比对，指出第一处错误。请每晚运行。",
    "log show": "打印日志条目，每行一个 JSON 对象。",
    "log proof": "打印一条日志的 C2SP tlog-proof 证明，可交给他人。",
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
    "run": (
        f"dock-hub run {HUB} --mqtt mqtts://broker.lan:8883 --ca ca.pem --cert hub.pem --key hub.key",
        f"dock-hub run {HUB} --mqtt mqtt://127.0.0.1:1883      # beside dock-hub broker, on one machine",
    ),
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
