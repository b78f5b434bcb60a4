"""What `dock-agent COMMAND --help` adds to each command: a Chinese sentence, an example, exit codes.

`tests/unit/test_command_help.py` gives every example to the real parser and asks each command for its exit codes.
"""

from __future__ import annotations

import argparse
import textwrap
from collections.abc import Mapping

WIDTH = 100  # columns
STATE = "/var/lib/custodock"  # where deploy/install keeps a station

CHINESE: Mapping[str, str] = {
    "offload": "把来源中的新内容全部复制到存证库：边复制边计算哈希、落盘、读回核对、封存签名。来源只读。可随时中断。",
    "run": "看守各仓位，导出录像，并向中心上报，直到停止。系统服务运行的就是它。",
    "status": "显示各仓位、最近的导出、等待中心回执的事件，以及本站的公钥行。",
    "doctor": "检查本站的设置、密钥、数据库、存证库、时钟和消息服务器。",
    "enrol": "生成本站密钥（如尚无），并固定中心的公钥；公钥行交给一名系统管理员，核对码念给另一名。",
    "bays": "显示每个 USB 端口上的设备：逐个仓位插入记录仪，即知端口。",
    "officer": "登记、改名、停用可领用记录仪的人员；姓名只留在本站。",
    "camera": "列出本站见过的记录仪；身份有争议的，核对机身编号后用 --accept 确认。",
    "secret": "将涉密存储卡的内容加密保存，仅保管人可读；日志只得知文件数和两个摘要。请先停止采集程序。",
    "rotate-key": "更换本站密钥：新密钥在本站生成，旧密钥在本站事件链中签名确认；请先停止采集程序。",
    "witness": "本站共同签署中心的审计日志；日志若被回退或分叉则拒签。查明原因后用 --clear 写明理由，继续见证。",
    "profile": "型号配置说明如何识别一款记录仪、如何读其文件名；导出哪些内容与它无关。",
}
EXAMPLES: Mapping[str, tuple[str, ...]] = {
    "offload": ("dock-agent offload /media/card --vault /srv/vault --camera CAM01",),
    "run": (f"dock-agent run --dir {STATE}",),
    "status": (f"dock-agent status --dir {STATE}", f"dock-agent status --dir {STATE} --json"),
    "doctor": (f"dock-agent doctor --dir {STATE}",),
    "enrol": (
        f"dock-agent enrol --dir {STATE} --hub-receipt-key KEYLINE --hub-log-key KEYLINE \\\n"
        "      --hub-command-key KEYLINE \\\n"
        "      --mqtt mqtts://hub.lan:8883 --ca ca.pem --certificate dock-1.pem --private-key dock-1.key",
    ),
    "bays": (f"dock-agent bays --dir {STATE}",),
    "officer": (
        f"dock-agent officer --dir {STATE}",
        f"dock-agent officer 1001 --name 张伟 --dir {STATE}",
        f"dock-agent officer 1001 --disable --dir {STATE}",
    ),
    "camera": (f"dock-agent camera --dir {STATE}", f"dock-agent camera CAM01 --accept --dir {STATE}"),
    "secret": (f"dock-agent secret /dev/sdb --dir {STATE} --camera CAM01",),
    "rotate-key": (f"dock-agent rotate-key --dir {STATE}",),
    "profile": ("dock-agent profile test /media/card", "dock-agent profile show dcim"),
}
_DONE = "0 done"
_STATION = "2 wrong usage or settings; 8 the station's own key, database or disk cannot be trusted"
EXITS: Mapping[str, str] = {
    "run": "0 stopped as asked (SIGTERM, Ctrl-C); 2 wrong usage or settings; 5 the vault cannot be written; 7 another "
    "dock-agent works in this vault; 8 the station's own key, database or disk cannot be trusted",
    "status": f"{_DONE}; {_STATION}",
    "doctor": "0 all is well; 1 something needs attention: its line begins with FAIL; 2 wrong usage",
    "enrol": f"{_DONE}; {_STATION}",
    "profile": f"{_DONE}; 2 wrong usage, or a profile that cannot be used; of test: see dock-agent profile test --help",
}


def complete(command: argparse.ArgumentParser) -> None:
    """Add to one command's help what the tables above say of it; its own words stay, filled to the page."""
    name = command.prog.split()[-1]
    command.description = "\n\n".join(
        filter(None, [CHINESE.get(name), *map(_filled, _paragraphs(command.description))])
    )
    examples = "".join(f"\n  {line}" for line in EXAMPLES.get(name, ()))
    exits = _filled(f"exit codes: {EXITS[name]}") if name in EXITS else ""
    said = [f"examples:{examples}" if examples else "", *map(_filled, _paragraphs(command.epilog)), exits]
    command.epilog = "\n\n".join(filter(None, said))
    command.formatter_class = argparse.RawDescriptionHelpFormatter


def _paragraphs(text: str | None) -> list[str]:
    return [part.rstrip() for part in (text or "").split("\n\n")]


def _filled(paragraph: str) -> str:
    """A paragraph of one line filled to the page; what has lines already is a table or an example."""
    return paragraph if "\n" in paragraph else textwrap.fill(paragraph, WIDTH)
