"""说明.html and register.csv of a bundle: for people, Chinese first. Pure.

Neither is evidence by itself; the statement that finishes the bundle binds both. No scripts, nothing is loaded.
"""
# ruff: noqa: E501  - the prose of a page reads best in its own lines

from __future__ import annotations

import csv
import io
from collections.abc import Mapping, Sequence
from html import escape

from custody.bundle import footage_path
from custody.hubevents import BundleExported, UseDecided, UseRequested
from custody.stationevents import SegmentSealed
from hub.bundles.selection import number_of
from hub.wording import BEIJING, visible

MAX_SHOWN = 2000  # rows of the page; the payload manifest lists all
_STYLE = """
body{font:16px/1.6 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;
color:#1a1a1a;background:#fff}
h1{font-size:1.6rem}h2{font-size:1.2rem;margin-top:2rem;border-top:1px solid #bbb;padding-top:1rem}
table{border-collapse:collapse;width:100%;font-size:.9rem}th,td{border:1px solid #bbb;padding:.3rem .5rem;text-align:left;
vertical-align:top;overflow-wrap:anywhere}th{background:#f2f2f2;overflow-wrap:normal}code,pre{font-family:ui-monospace,monospace;overflow-wrap:anywhere}
pre{background:#f2f2f2;padding:.8rem;white-space:pre-wrap}.wide{overflow-x:auto}td:first-child,td:nth-child(4),td:nth-child(5){white-space:nowrap}
"""
_CSP = "default-src 'none'; style-src 'unsafe-inline'"


Approval = Sequence[tuple[int, UseRequested | UseDecided]]  # request and approval of one copy, with log indexes


def render_page(
    exports: Sequence[tuple[int, BundleExported]],
    approval: Approval,
    seals: Mapping[int, SegmentSealed],
    key_lines: Mapping[str, str],
) -> bytes:
    """The readable page of a bundle."""
    first = exports[0][1]
    rows = "".join(_row(index, seal) for index, seal in list(seals.items())[:MAX_SHOWN])
    more = "" if len(seals) <= MAX_SHOWN else f"<p>… {len(seals)} / manifest-sha256.txt</p>"
    facts = _facts(exports, first, approval)
    origin = key_lines["log"].partition("+")[0]
    return f"""<!doctype html>
<html lang="zh-CN">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{_CSP}">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>录像证据包说明 · Evidence bundle</title>
<style>{_STYLE}</style>
</head>
<body>
<h1>录像证据包说明</h1>
<p>本证据包由存证坞导出，可在任何电脑上离线核验，无需信任我们的软件或服务器。本页便于阅读，本身不是证据；证据是录像、签名声明与日志证明。</p>
{_table(facts, 0)}
<h2>如何核验</h2>
<ol>
<li>从可信来源取得日志的密钥行（向制作单位索取，或使用纸质公布的），保存为 <code>log.vkey</code>。<strong>不要使用
<code>untrusted-keys</code> 目录中的密钥行：</strong>改动证据包的人可以一并替换它。日志名称：<code>{escape(origin)}</code></li>
<li>安装 Python 3.11 或更新版本及其 cryptography 库，在本目录执行：
<pre>python3 custody.pyz verify . --key log.vkey --lang zh</pre>
更稳妥的做法是使用另行取得的 <code>custody.pyz</code>。输出会写明哪些已证明、哪些未证明，以及哪个文件的哪些秒被改动。</li>
<li>只核对文件是否完好，可执行 <code>sha256sum -c SHA256SUMS</code>。</li>
</ol>
<h2>本证据包不能证明的事</h2>
<p>采集站读取存储卡之前发生的事；设备时钟是否准确；画面内容是否真实；使用登记摘录 <code>register.csv</code> 是否列全。</p>
<h2>录像（{len(seals)}）</h2>
<div class="wide"><table><tr><th>日志序号<br>log index</th><th>文件<br>file</th><th>设备<br>camera</th><th>时长<br>duration</th>
<th>字节<br>bytes</th><th>SHA-256</th></tr>
{rows}</table></div>{more}
<div lang="en">
<h2>Evidence bundle</h2>
<p>Exported by Custodock. It can be verified offline on any computer, without trusting our software or servers. This page is
for reading and is no evidence; the footage, the signed statements and the proofs of the log are.</p>
{_table(facts, 1)}
<h2>How to verify</h2>
<ol>
<li>Get the log's key line from a source you trust (whoever made the bundle, or paper) as <code>log.vkey</code>.
<strong>Do not take it from <code>untrusted-keys</code>:</strong> whoever alters a bundle can replace what lies there. Name of
the log: <code>{escape(origin)}</code></li>
<li>With Python 3.11 or newer and its library cryptography, in this folder:
<pre>python3 custody.pyz verify . --key log.vkey --lang en</pre>
Better still, use a <code>custody.pyz</code> from elsewhere. It says what is proved, what is not, and which seconds of which
file differ.</li>
<li>Whether the files are intact can also be told by <code>sha256sum -c SHA256SUMS</code>.</li>
</ol>
<h2>What this bundle does not prove</h2>
<p>What happened before the dock read the card; whether clocks were right; whether the picture is true; whether the register
extract <code>register.csv</code> lists every use.</p>
</div>
</body>
</html>
""".encode()


def _facts(
    exports: Sequence[tuple[int, BundleExported]], first: BundleExported, approval: Approval
) -> list[tuple[tuple[str, str], str]]:
    indexes = ", ".join(str(index) for index, _ in exports)
    approved = ", ".join(str(index) for index, _ in approval)
    number = number_of(approval)
    at = f"{first.at.astimezone(BEIJING):%Y-%m-%d %H:%M:%S} UTC+8"
    return [
        (("复制件编号", "copy no."), "—" if number is None else str(number)),
        (("证据包编号", "bundle"), first.bundle_id),
        (("导出时间", "exported at"), at),
        (("交给", "recipient"), first.recipient),
        (("事由", "reason"), first.reason),
        (("范围", "selection"), first.selection),
        (("操作账户", "operator's account"), first.operator),
        (("申请人", "asked for by"), first.requested_by or "—"),
        (("批准人", "approved by"), first.approved_by or "—"),
        (("导出申请编号", "request"), first.request_id or "—"),
        (("日志中的申请与批准", "request and approval in the log"), approved or "—"),
        (("日志中的导出声明", "statement in the log"), indexes),
    ]


def _table(facts: list[tuple[tuple[str, str], str]], language: int) -> str:
    rows = (f"<tr><th>{names[language]}</th><td>{_text(value)}</td></tr>" for names, value in facts)
    return f"<table>{''.join(rows)}</table>"


def _row(index: int, seal: SegmentSealed) -> str:
    duration = seal.media.duration_ms if seal.media else None
    seconds = "—" if duration is None else f"{duration / 1000:.1f} s"
    cells = (str(index), footage_path(seal).decode(), seal.camera_id, seconds, str(seal.size_bytes), seal.sha256)
    return "<tr>" + "".join(f"<td>{_text(cell)}</td>" for cell in cells) + "</tr>\n"


def _text(value: str) -> str:
    return escape(visible(value))


def render_register(
    exports: Sequence[tuple[int, BundleExported]], copies: Mapping[str, Approval], recordings: set[int]
) -> bytes:
    """The uses of these recordings that the log knows: today exports alone. UTF-8 with a mark, as Excel wants it."""
    made = io.StringIO()
    table = csv.writer(made)
    table.writerow(("时间 time", "日志序号 log index", "使用 use", "操作账户 operator", "对象 recipient", "事由 reason",
                    "范围 selection", "证据包 bundle", "申请 request", "申请人 asked for by", "批准人 approved by",
                    "复制件编号 copy no.", "涉及录像 recordings"))  # fmt: skip
    for index, export in exports:
        used = sorted(recordings.intersection(export.recordings))
        if used:
            listed = " ".join(map(str, used))
            cells = ("导出 export", export.operator, export.recipient, export.reason, export.selection)
            number = number_of(copies.get(export.request_id or "", ()))
            approval = (export.request_id or "", export.requested_by or "", export.approved_by or "", str(number or ""))
            row = (export.at.isoformat(), str(index), *cells, export.bundle_id, *approval, listed)
            table.writerow([cell(value) for value in row])
    return b"\xef\xbb\xbf" + made.getvalue().encode()


def cell(value: str) -> str:
    """Text that a spreadsheet does not take for a formula; one for Chinese reads wide signs as well."""
    return f"'{value}" if value.startswith(tuple("=+-@\t\r\n＝＋－＠")) else value
