"""The verifier's wording, English and Chinese, and its JSON. Names from a disk or a seal are made inert here."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict
from typing import Literal

from custody.bundlefacts import claims
from custody.claimwords import bundle_lines, claim_line
from custody.examine import Report
from custody.finding import ChunkRange, Exit, Finding, Kind
from custody.inert import inert as inert  # noqa: PLC0414  whoever prints a report prints names with it

Lang = Literal["zh", "en"]
Text = tuple[str, str]  # English, Chinese

TEXT: dict[Kind, Text] = {
    Kind.ALTERED: ("ALTERED: content is not what was sealed", "被改动：内容与封存时不符"),
    Kind.TRUNCATED: (
        "TRUNCATED: {actual} of {expected} bytes are left",
        "被截短：仅存 {actual} 字节，封存时为 {expected} 字节",
    ),
    Kind.EXTENDED: (
        "EXTENDED: {actual} bytes, sealed with {expected}",
        "被加长：现有 {actual} 字节，封存时为 {expected} 字节",
    ),
    Kind.MISSING: ("MISSING: sealed, but not there", "缺失：已封存，但文件不存在"),
    Kind.NOT_REGULAR: ("REPLACED: a {actual} lies where the file was", "被替换：原文件处现为 {actual}"),
    Kind.ADDED: (
        "ADDED: this {actual} belongs to no seal of the docking",
        "多出：此 {actual} 不属于本次接入的任何封存记录",
    ),
    Kind.UNSEALED: (
        "NOT COVERED: no intact seal covers this file; what states the seals is damaged",
        "无法证明：载有封存记录的清单或声明已损坏，没有完好的封存记录覆盖此文件",
    ),
    Kind.UNREADABLE: ("UNREADABLE: {detail}", "无法读取：{detail}"),
    Kind.LEAVES_ALTERED: (
        "CHUNK LEAVES ALTERED: they no longer lead to the sealed tree root",
        "分块哈希被改动：已推不出封存的树根",
    ),
    Kind.LEAVES_MISSING: ("CHUNK LEAVES MISSING", "分块哈希文件缺失"),
    Kind.SUMS_ALTERED: ("SHA256SUMS ALTERED: {detail}", "SHA256SUMS 被改动：{detail}"),
    Kind.SUMS_MISSING: ("SHA256SUMS MISSING", "SHA256SUMS 缺失"),
    Kind.KEY_FILE_ALTERED: ("KEY LINE ALTERED: {detail}", "密钥行被改动：{detail}"),
    Kind.KEY_FILE_MISSING: ("KEY LINE MISSING", "密钥行文件缺失"),
    Kind.KEY_FILE_OTHER: (
        "KEY LINE REPLACED: {expected} signed, but {actual} lies beside the docking",
        "密钥行被替换：签名者为 {expected}，旁置密钥为 {actual}",
    ),
    Kind.NOT_CLOSED: (
        "NOT YET CLOSED: {actual} files, nothing signed yet. The offload is running, was interrupted, or its records "
        "were removed",
        "尚未结束：{actual} 个文件，尚无签名记录。导出正在进行、曾被中断，或记录已被移除",
    ),
    Kind.CUSTODY_MISSING: (
        "PROOF MISSING: {actual} files lie where a docking belongs, and its .custody folder is gone",
        "证明缺失：此处应为一次接入，有 {actual} 个文件，但 .custody 目录不存在",
    ),
    Kind.CLOSING_ALTERED: ("CLOSING STATEMENT ALTERED: {detail}", "结束声明被改动：{detail}"),
    Kind.CLOSING_MISSING: (
        "CLOSING STATEMENT MISSING: removed, or the station stopped before writing it",
        "结束声明缺失：被移除，或采集站在写入前停止",
    ),
    Kind.MANIFEST_ALTERED: ("MANIFEST ALTERED: {detail}", "清单被改动：{detail}"),
    Kind.MANIFEST_MISSING: ("MANIFEST MISSING", "清单缺失"),
    Kind.MANIFEST_WRONG: ("MANIFEST CONTRADICTS ITSELF: {detail}", "清单自相矛盾：{detail}"),
    Kind.COUNTS_WRONG: (
        "COUNTS DO NOT ADD UP: {detail} {expected} / {actual}",
        "计数不符：{detail} {expected} / {actual}",
    ),
    Kind.ENTRIES_WRONG: ("ENTRIES MISSING OR DOUBLE: {detail}", "条目缺失或重复：{detail}"),
    Kind.SEAL_ALTERED: ("SEAL ALTERED: {detail}", "封存记录被改动：{detail}"),
    Kind.SEAL_WRONG: ("SEAL DOES NOT BELONG HERE: {detail}", "封存记录不属于此处：{detail}"),
    Kind.SIGNER_UNKNOWN: (
        "SIGNER NOT TRUSTED: signed by {expected}, which is none of the given keys",
        "签名者不可信：由 {expected} 签名，不在给定的密钥之中",
    ),
    Kind.KEY_REVOKED: (
        "KEY REVOKED: log entry {detail} revokes the key of {actual}; its events from no. {expected} on are in doubt",
        "密钥已吊销：日志条目 {detail} 吊销了 {actual} 的密钥，其自第 {expected} 号事件起存疑",
    ),
    Kind.DISPOSITION_ALTERED: (
        "RECORD OF A DISPOSITION PROVES NOTHING: {detail}",
        "处置记录不能证明任何事项：{detail}",
    ),
    Kind.STRAY: ("STRAY: this {actual} lies outside every docking", "游离：此 {actual} 不在任何一次接入之内"),
    Kind.SEQ_REUSED: (
        "NUMBER USED TWICE: {actual} signed two different events {expected}; the other lies in {detail}",
        "序号重复：{actual} 以同一序号 {expected} 签署了两个不同事件，另一个在 {detail}",
    ),
    Kind.CHAIN_BROKEN: (
        "CHAIN BROKEN: event {expected} of {actual} does not name the event before it",
        "链条断裂：{actual} 的事件 {expected} 未指向其前一事件",
    ),
    Kind.DOCKING_TWICE: ("DOCKING TWICE in this vault; also in {detail}", "同一次接入在库中出现两次，另见 {detail}"),
    Kind.BUNDLE_APART: (
        "NOT LOOKED AT: a bundle lies here, or what is left of one; verify this folder by itself",
        "未核验：此处是一个证据包（或其残余），请单独验证该目录",
    ),
    Kind.REFERENCE_WRONG: (
        "SAVED BEFORE? Entry {actual} should be sealed in docking {detail}, and is not",
        "引用不实：条目 {actual} 应已封存于接入 {detail}，但其中没有",
    ),
    Kind.BAG_ALTERED: ("BUNDLE'S LIST OF FILES ALTERED: {detail}", "证据包的文件清单被改动：{detail}"),
    Kind.BAG_FILE_ALTERED: ("ALTERED: not what the bundle's list of files says", "被改动：与证据包的文件清单不符"),
    Kind.BAG_FILE_MISSING: ("MISSING: the bundle's list names it", "缺失：证据包的文件清单列有此文件"),
    Kind.BAG_FILE_UNKNOWN: (
        "ADDED: this {actual} belongs to nothing that the bundle states",
        "多出：此 {actual} 不属于证据包声明的任何内容",
    ),
    Kind.CHECKPOINT_ALTERED: ("CHECKPOINT OF THE LOG ALTERED: {detail}", "日志检查点被改动：{detail}"),
    Kind.TIMESTAMP_ALTERED: ("TIME-STAMP DOES NOT HOLD: {detail}", "时间戳不成立：{detail}"),
    Kind.COSIGNATURE_ALTERED: ("WITNESS'S SIGNATURE ALTERED: {detail}", "见证签名被改动：{detail}"),
    Kind.ENVELOPE_ALTERED: ("SIGNED STATEMENT ALTERED: {detail}", "签名声明被改动：{detail}"),
    Kind.ENVELOPE_MISSING: (
        "SIGNED STATEMENT MISSING: the export was stated to hold log entry {expected}",
        "签名声明缺失：导出声明列有日志第 {expected} 条",
    ),
    Kind.ENVELOPE_WRONG: ("SIGNED STATEMENT DOES NOT BELONG HERE: {detail}", "签名声明不属于此处：{detail}"),
    Kind.PROOF_ALTERED: ("INCLUSION PROOF ALTERED OR MISSING: {detail}", "包含证明被改动或缺失：{detail}"),
    Kind.EXPORT_WRONG: ("STATEMENT OF THE EXPORT: {detail}", "导出声明不符：{detail}"),
    Kind.FINISH_WRONG: (
        "NOT SHOWN TO BE WHOLE: {detail}",
        "未能证明证据包完整：{detail}",
    ),
    Kind.INSIDE_DOCKING: (
        "{detail} lies inside this docking; the whole docking is verified",
        "{detail} 位于此次接入之内，将验证整个接入",
    ),
    Kind.STAGING: (
        "{actual} unfinished files in staging; they are no evidence",
        "暂存区有 {actual} 个未完成文件，不是证据",
    ),
    Kind.INCOMPLETE_OFFLOAD: (
        "the station itself states that this offload is incomplete: {detail}",
        "采集站声明本次导出不完整：{detail}",
    ),
    Kind.GAPS: (
        "{expected} unreadable places of the card are zeros in this copy, {actual} bytes, as sealed",
        "存储卡有 {expected} 处无法读取，副本中以零填充，共 {actual} 字节，已如实封存",
    ),
    Kind.REFERENCE_ELSEWHERE: (
        "{actual} entries were saved in docking {detail}, which is not part of what was verified",
        "{actual} 个条目保存于接入 {detail}，不在本次验证范围内",
    ),
    Kind.COPY_OF_DOCKING: ("a copy of the docking in {detail}", "与 {detail} 为同一次接入的副本"),
    Kind.SEQS_ABSENT: (
        "{actual} events of {detail} between {expected} are not here",
        "{detail} 的序号 {expected} 之间有 {actual} 个事件不在此处",
    ),
    Kind.DISPOSED: (
        "disposed of under authority {actual}; its seal, chunk leaves and manifest line prove what it was",
        "已按授权 {actual} 处置；其封存记录、分块哈希与清单条目仍可证明原文件",
    ),
    Kind.DISPOSITION: (
        "disposition {actual} ({detail}): the log proves that {expected} stand for it",
        "处置 {actual}（{detail}）：日志证明由 {expected} 两人申请并批准",
    ),
    Kind.DISPOSITION_STATED: (
        "disposition {actual} ({detail}): the station states that {expected} stand for it. Give --key with the "
        "log's key line to have the log's proof checked",
        "处置 {actual}（{detail}）：采集站声明由 {expected} 两人申请并批准。请以 --key 给出日志密钥行以核验日志证明",
    ),
    Kind.CERTIFICATE: (
        "a certificate of a camera's clearing; the log names its digest, this docking does not",
        "清除记录仪的证明；其摘要载于日志，本次接入的清单不含",
    ),
}

_REMARKS: dict[str, Text] = {
    "chunks_unknown": (
        "which chunks cannot be named: the chunk leaves are missing or altered too",
        "无法指明哪些分块：分块哈希也缺失或被改动",
    ),
    "seal_contradicts_itself": (
        "its chunks lead to the sealed root, its SHA-256 does not: the seal contradicts itself",
        "各分块与封存树根一致，但 SHA-256 不符：封存记录自相矛盾",
    ),
}
_TYPES: dict[str, Text] = {
    "file": ("file", "文件"),
    "folder": ("folder", "文件夹"),
    "symlink": ("symbolic link", "符号链接"),
    "special": ("special file", "特殊文件"),
}
_VERDICTS: dict[Exit, Text] = {
    Exit.VERIFIED: ("VERIFIED", "验证通过"),
    Exit.ALTERED: ("NOT VERIFIED: altered or incomplete", "验证不通过：被改动或不完整"),
    Exit.UNREADABLE: ("NOT VERIFIED: something could not be read", "验证未完成：有内容无法读取"),
    Exit.NOTHING: ("NOTHING TO VERIFY: no docking here", "无可验证：此处没有接入记录"),
}


def render(report: Report, lang: Lang) -> Iterator[str]:
    """The report in lines for people."""
    zh = lang == "zh"
    for finding in report.findings:
        yield from render_finding(finding, lang)
    for docking in report.dockings:
        who = ", ".join(map(inert, docking.signers)) or ("无" if zh else "nobody")
        where = inert(docking.folder)
        size = docking.bytes_sealed
        if zh:
            yield f"接入 {where}：封存文件 {docking.files} 个，{size} 字节，签名者 {who}"
        else:
            yield f"docking {where}: {docking.files} sealed files, {size} bytes, signed by {who}"
    problems = sum(not f.is_information for f in report.findings)
    if report.bundle is not None:
        yield from bundle_lines(report.bundle, claims(report.bundle, report.findings), lang)
    elif report.exit is not Exit.NOTHING:
        yield _authorship(report, lang)
    yield _VERDICTS[report.exit][zh] + (f"（{problems} 项发现）" if zh else f" ({problems} findings)")


def _authorship(report: Report, lang: Lang) -> str:
    if report.authorship_proved:
        return "已用给定密钥证明签名者身份。" if lang == "zh" else "Authorship is proved with the given keys."
    if lang == "zh":
        return "未证明签名者身份：密钥行与录像放在一起，改动者可一并替换。请用 --key 给出从采集站或中心取得的密钥行。"
    return (
        "AUTHORSHIP IS NOT PROVED: the key line lies beside the footage, where whoever altered both could have put it. "
        "Give --key with the key line obtained from the station or hub."
    )


def render_finding(finding: Finding, lang: Lang) -> Iterator[str]:
    """One finding in lines for people."""
    zh = lang == "zh"
    facts = {name: _fact(getattr(finding, name), zh) for name in ("expected", "actual", "detail")}
    text = TEXT[finding.kind][zh].format(**facts)
    where = os.path.join(finding.folder, finding.path) if finding.path else finding.folder
    mark = "·" if finding.is_information else "✗"
    yield f"{mark} {inert(where)}"
    yield f"    {text}"
    if finding.detail in _REMARKS:
        yield f"    {_REMARKS[finding.detail][zh]}"
    for chunk in finding.chunks:
        yield f"    {_chunks(chunk, finding.chunk_count, zh)}"
    if finding.more_chunks:
        yield "    ……还有更多分块" if zh else "    … and further chunks"


def _fact(value: object, zh: bool) -> str:
    if isinstance(value, str) and value in _TYPES:
        return _TYPES[value][zh]
    return "" if value is None else inert(str(value))


def _chunks(chunk: ChunkRange, count: int | None, zh: bool) -> str:
    last_byte = chunk.offset_bytes + chunk.length_bytes - 1
    numbers = f"{chunk.first}" if chunk.first == chunk.last else f"{chunk.first}–{chunk.last}"
    if zh:
        line = f"分块 {numbers}（自 0 起，共 {count} 块），字节 {chunk.offset_bytes}–{last_byte}"
    else:
        word = "chunk" if chunk.first == chunk.last else "chunks"
        line = f"{word} {numbers} (from 0, of {count}), bytes {chunk.offset_bytes}–{last_byte}"
    if chunk.seconds is not None:
        start, end = chunk.seconds
        line += f"，约第 {start:.1f}–{end:.1f} 秒（估计）" if zh else f", about {start:.1f}–{end:.1f} s (estimate)"
    return line


def as_json(report: Report) -> dict[str, object]:
    """The report for programs; names as in `inert`."""
    return _bundle_json(report) | {
        "path": inert(report.path),
        "verdict": report.exit.name.lower(),
        "exit": int(report.exit),
        "authorship_proved": report.authorship_proved,
        "dockings": [
            {
                "folder": inert(d.folder),
                "docking_id": d.docking_id,
                "camera_id": d.camera_id,
                "station": d.station,
                "files": d.files,
                "bytes": d.bytes_sealed,
                "signers": list(d.signers),
            }
            for d in report.dockings
        ],
        "findings": [_finding_json(f) for f in report.findings if not f.is_information],
        "information": [_finding_json(f) for f in report.findings if f.is_information],
    }


def _bundle_json(report: Report) -> dict[str, object]:
    facts = report.bundle
    if facts is None:
        return {}
    found = [
        {"claim": c.name, "proved": c.proved, **({"why": c.why} if c.why else {}), "text": claim_line(c, "en")}
        for c in claims(facts, report.findings)
    ]
    return {"bundle": asdict(facts), "claims": found}


def _finding_json(finding: Finding) -> dict[str, object]:
    body: dict[str, object] = {"kind": finding.kind.value, "folder": inert(finding.folder)}
    if finding.path is not None:
        body["path"] = inert(finding.path)
    for name in ("chunk_count", "expected", "actual", "detail"):
        if value := getattr(finding, name):
            body[name] = value
    if finding.chunks:
        body["chunks"] = [
            {
                "first": c.first,
                "last": c.last,
                "offset_bytes": c.offset_bytes,
                "length_bytes": c.length_bytes,
                **({"seconds_estimate": [round(s, 3) for s in c.seconds]} if c.seconds else {}),
            }
            for c in finding.chunks
        ]
        body["more_chunks"] = finding.more_chunks
    return body
