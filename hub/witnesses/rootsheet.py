"""The log's root on one sheet of paper, to be printed once a week and kept where the hub's administrator cannot reach.

Whoever holds a sheet can prove any later change of what the log held then: `custody witness check`. Chinese and
English, black on white, no scripts, nothing is loaded. The whole note is in the QR code.
"""
# ruff: noqa: E501  - the prose of a page reads best in its own lines

from __future__ import annotations

import base64
import hashlib
import io
from dataclasses import dataclass
from datetime import datetime
from html import escape

import segno
from sqlalchemy import select

from custody.checkpoint import parse_checkpoint, parse_key_line
from custody.witness import body_of, size_of
from hub.db import Database
from hub.tables import checkpoint
from hub.witnesses.queries import cosigned_note, newest_cosigned, newest_witnessed
from hub.wording import BEIJING, digest_groups

MAX_QR_BYTES = 1800  # version 32 at level L: larger ones are hard to scan from paper
_STYLE = """
@page{size:A4;margin:14mm}
@media print{body{max-width:none;padding:0}}
body{font:11pt/1.5 system-ui,"Noto Sans CJK SC","Microsoft YaHei",sans-serif;max-width:178mm;margin:0 auto;padding:4mm;
color:#000;background:#fff}
h1{font-size:18pt;margin:0}h1 small,dt small,p small{display:block;font-weight:400;font-size:9pt;line-height:1.35}
h1 small{font-size:11pt}header{border-bottom:1.2pt solid #000;padding-bottom:3mm;margin-bottom:4mm}
dl{margin:0;display:grid;grid-template-columns:38mm minmax(0,1fr);gap:2mm 5mm}dt{font-weight:600}dd{margin:0}
dd.number{font-size:15pt;font-weight:600;font-variant-numeric:tabular-nums}
.root{font:600 13pt/1.55 ui-monospace,"DejaVu Sans Mono",Consolas,monospace;display:grid;grid-template-columns:repeat(4,max-content);gap:0 5mm}
code,pre{font:8.5pt/1.4 ui-monospace,"DejaVu Sans Mono",Consolas,monospace;overflow-wrap:anywhere}
.code{display:flex;gap:7mm;align-items:flex-start;margin-top:5mm;border-top:.6pt solid #000;padding-top:4mm;break-inside:avoid}
.code svg{width:72mm;height:72mm;flex:none;shape-rendering:crispEdges}
.code p{margin:0 0 3mm}pre{white-space:pre-wrap;margin:4mm 0 0;border-top:.6pt solid #000;padding-top:3mm}
.sign{display:grid;grid-template-columns:1fr 1fr 1fr;gap:6mm;margin-top:11mm}.sign p{border-top:.6pt solid #000;margin:0;padding-top:1mm}
@media (max-width:600px){body{font-size:10.5pt}dl{grid-template-columns:1fr;gap:.5mm}dd{margin-bottom:2.5mm}
.root{grid-template-columns:repeat(2,max-content)}.code{display:block}.code svg{width:100%;height:auto}.sign{grid-template-columns:1fr}}
"""
_STYLE_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
SHEET_CSP = f"default-src 'none'; style-src 'sha256-{_STYLE_HASH}'; base-uri 'none'; form-action 'none'"


@dataclass(frozen=True, slots=True)
class Sheet:
    """What stands on the sheet. `note`: signed by the log, and by the witnesses named in `cosigners`."""

    note: str
    signed_at: datetime
    key_label: str
    key_line: str
    cosigners: tuple[str, ...]
    witnessed: bool  # by as many as the policy asks


def load_sheet(db: Database, log_key_line: str) -> Sheet:
    """The newest witnessed checkpoint, or the newest one where none is witnessed."""
    with db.read() as connection:
        witnessed = newest_witnessed(connection)
    note = witnessed or newest_cosigned(db)
    with db.read() as connection:
        at = connection.execute(select(checkpoint.c.signed_at).where(checkpoint.c.size == size_of(note))).scalar_one()
        note = cosigned_note(connection, size_of(note)) or note
    signatures = note.rpartition("\n\n")[2].splitlines()[1:]
    cosigners = tuple(line.removeprefix("\u2014 ").partition(" ")[0] for line in signatures)
    label = parse_key_line(log_key_line).label
    return Sheet(note, datetime.fromisoformat(at), label, log_key_line, cosigners, witnessed is not None)


def render_sheet(sheet: Sheet) -> bytes:
    """The page. Pure."""
    held = parse_checkpoint(body_of(sheet.note))
    groups = "".join(f"<span>{group}</span>" for group in digest_groups(held.root.hex()))
    names = "、".join(escape(name) for name in sheet.cosigners) or "无 / none"
    short = "" if sheet.witnessed else "（未达到见证策略 / fewer than the policy asks）"
    local = sheet.signed_at.astimezone(BEIJING)
    rows = "".join(
        f"<dt>{zh}<small>{en}</small></dt><dd{kind}>{value}</dd>"
        for zh, en, kind, value in (
            ("日志", "Log (origin)", "", f"<code>{escape(held.origin)}</code>"),
            ("条目数", "Entries", ' class="number"', str(held.size)),
            ("根值", "Root, hexadecimal", "", f'<div class="root">{groups}</div>'),
            ("签署时间", "Signed", "", f"{local:%Y-%m-%d %H:%M:%S} UTC+8"),
            ("日志密钥", "Key of the log", "", f"<code>{escape(sheet.key_line)}</code>"),
            ("见证方", "Witnesses", "", f"{names}{short}"),
        )
    )
    return f"""<!doctype html>
<html lang="zh-CN"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width, initial-scale=1">
<meta http-equiv="Content-Security-Policy" content="{SHEET_CSP}">
<title>审计日志根值 {local:%Y-%m-%d} · Audit log root</title><style>{_STYLE}</style></head><body>
<header><h1>审计日志根值<small>Root of the audit log</small></h1></header>
<main><dl>{rows}</dl>
<section class="code">{_qr(sheet.note)}<div>
<p>二维码内含完整的签名检查点。请每周打印一份，由领导或监察部门签字保管，勿与中心同处存放。
<small>The QR code holds the whole signed checkpoint. Print one a week; a leader or the supervision office signs and keeps
it, away from the hub.</small></p>
<p>凭本页可证明此后的任何改动：
<small>Whoever holds this sheet can prove any later change:</small></p>
<p><code>custody witness check --size {held.size} --root {" ".join(digest_groups(held.root.hex()))} --log-url https://…/log
--key '{escape(sheet.key_line)}'</code></p>
<p>也可将扫描所得文字存为文件，以文件名代替 --size 与 --root。
<small>Or save the scanned text as a file and name it instead of --size and --root.</small></p></div></section>
<pre>{escape(_own_note(sheet.note))}</pre>
<section class="sign"><p>打印人 <small>Printed by</small></p><p>保管人 <small>Kept by</small></p><p>日期 <small>Date</small></p></section>
</main></body></html>
""".encode()


def _own_note(note: str) -> str:
    """The note with the log's own signature alone."""
    body, _, signatures = note.rpartition("\n\n")
    return f"{body}\n\n{signatures.partition(chr(10))[0]}\n"


def _qr(note: str) -> str:
    """The note as a QR code in SVG; where many witnesses make it too long, without their lines."""
    if len(note.encode()) > MAX_QR_BYTES:
        note = _own_note(note)
    out = io.BytesIO()
    code = segno.make(note.encode(), error="l", boost_error=True, micro=False)
    code.save(
        out, kind="svg", xmldecl=False, svgns=True, omitsize=True, border=4, title="QR", svgclass=None, lineclass=None
    )
    return out.getvalue().decode()
