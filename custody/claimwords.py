"""What a bundle proves and what it does not, in words: English and Chinese. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

from custody.bundlefacts import BundleFacts, Claim
from custody.inert import inert

Lang = Literal["zh", "en"]

PROVED: dict[str, tuple[str, str]] = {
    "footage": (
        "Every recording here is bit for bit what its seal states.",
        "此处每段录像与其封存记录逐位一致。",
    ),
    "whole": (
        "Nothing was added to the bundle, left out of it or exchanged since the hub finished it.",
        "自中心制作完成以来，证据包没有被增加、删减或替换任何内容。",
    ),
    "signed": ("Every statement carries its station's or the hub's signature.", "每项声明都有采集站或中心的签名。"),
    "chained": (
        "Numbered statements that are here side by side follow one another without a break.",
        "此处相邻编号的声明首尾相接，没有断裂。",
    ),
    "logged": (
        "Every statement is in the audit log {0}, under its signed checkpoint of {1} entries.",
        "每项声明都在审计日志 {0} 之中，位于其签名检查点（共 {1} 条）之下。",
    ),
    "cosigned": ("Witness {0} has cosigned the checkpoint, as of {1}.", "见证方 {0} 已会签该检查点，时间 {1}。"),
    "timed": (
        "The log stood like this no later than {1}: so says {0}, a time-stamping authority that you trust.",
        "日志最迟在 {1} 已是如此：您所信任的时间戳机构 {0} 予以证明。",
    ),
    "dockings": (
        "The dockings are here as a whole: nothing that their closings count as copied is left out.",
        "所涉接入是完整的：结束声明所记的导出文件无一遗漏。",
    ),
}
NOT_PROVED: dict[str, tuple[str, str]] = {
    "footage": ("That all footage is as sealed: see the findings above.", "全部录像与封存时一致：见上列发现。"),
    "whole": ("That the bundle is whole and unaltered: see the findings above.", "证据包完整且未被改动：见上列发现。"),
    "signed": ("That every statement is signed: see the findings above.", "每项声明均有签名：见上列发现。"),
    "chained": ("That the statements follow one another: see the findings above.", "声明首尾相接：见上列发现。"),
    "logged": ("That every statement is in the log: see the findings above.", "每项声明均在日志之中：见上列发现。"),
    "dockings": ("That the dockings are here as a whole: see the findings above.", "所涉接入完整收录：见上列发现。"),
    "keys_from_bundle": (
        "Who signed. These keys are known only from the bundle, where whoever altered it could have put them: {0}. "
        "Give --key with key lines obtained from the station or the hub.",
        "签名者是谁。以下密钥仅见于证据包之内，改动者可一并替换：{0}。请用 --key 给出从采集站或中心取得的密钥行。",
    ),
    "log_key_from_bundle": (
        "That this is the hub's log. The log's key lies in the bundle, where it can be replaced. Give --key with the "
        "log's key line obtained from the hub or printed on paper.",
        "这就是中心的日志。日志密钥放在证据包内，可以被替换。请用 --key 给出从中心取得或纸质公布的日志密钥行。",
    ),
    "not_cosigned": (
        "That witness {0} has seen this checkpoint: it has not cosigned it.",
        "见证方 {0} 见过该检查点：其未会签。",
    ),
    "no_authority": (
        "When the log stood like this: the bundle has a time-stamp, but no certificate was given to verify it by "
        "(--tsa), or it does not hold.",
        "日志何时已是如此：证据包内有时间戳，但未给出用于核验的证书（--tsa），或该时间戳不成立。",
    ),
    "no_timestamp": (
        "When the log stood like this: the bundle has no time-stamp of an authority.",
        "日志何时已是如此：证据包内没有机构的时间戳。",
    ),
    "no_witness": (
        "That the hub shows everybody the same log: no witness's signature was checked.",
        "中心对所有人出示同一份日志：未核对任何见证签名。",
    ),
    "enrolled_by_hub": (
        "That these keys were made by the stations themselves: the log's keeper says so. To rule out a key of the "
        "keeper's own, compare with the station and give it by --key: {0}",
        "以下密钥确由采集站自身生成：这是日志保管方的说法。要排除保管方自造密钥，请与采集站核对并用 --key 给出：{0}",
    ),
    "part_of_docking": (
        "What else the cameras held: only {0} of {1} dockings are here as a whole. The closings tell how many files "
        "there were.",
        "设备中还有什么：{1} 次接入中仅 {0} 次完整收录。结束声明记有文件总数。",
    ),
    "hub_says_so": (
        "That the register extract lists every use: it is the hub's statement, bound to this bundle.",
        "使用登记摘录已列出全部使用：这是中心的声明，并与本证据包绑定。",
    ),
    "outside": (
        "What happened before the dock read the card, whether clocks were right, whether the picture is true.",
        "采集站读取存储卡之前发生的事、时钟是否准确、画面内容是否真实。",
    ),
}


def claim_line(claim: Claim, lang: Lang) -> str:
    """One claim in words, without a mark."""
    zh = lang == "zh"
    if claim.proved:
        text = PROVED[claim.name][zh]
    else:
        text = NOT_PROVED[claim.name if claim.why == "finding" else claim.why][zh]
    facts = claim.facts
    if claim.why in ("keys_from_bundle", "enrolled_by_hub"):
        facts = (("、" if zh else ", ").join(claim.facts),)
    return text.format(*map(inert, facts))


def bundle_lines(facts: BundleFacts, found: tuple[Claim, ...], lang: Lang) -> Iterator[str]:
    """What the bundle is, what is proved, and what is not."""
    zh = lang == "zh"
    values = [inert(v) for v in (facts.bundle_id or "", facts.exported_at or "", facts.operator, facts.recipient)]
    if facts.bundle_id is None:
        yield "证据包：没有导出声明" if zh else "bundle: without a statement of its export"
    elif zh:
        yield "证据包 {}：{} 由 {} 导出，交给 {}".format(*values)
        yield f"    事由：{inert(facts.reason)}；范围：{inert(facts.selection)}；录像 {facts.recordings} 段"
    else:
        yield "bundle {}: exported {} by {} for {}".format(*values)
        yield f"    reason: {inert(facts.reason)}; selection: {inert(facts.selection)}; {facts.recordings} recordings"
    if facts.copy_number is not None:
        yield f"    第 {facts.copy_number} 号复制件" if zh else f"    copy no. {facts.copy_number}"
    yield "已证明：" if zh else "Proved:"
    yield from (f"  ✓ {claim_line(c, lang)}" for c in found if c.proved)
    yield "未证明：" if zh else "Not proved:"
    yield from (f"  – {claim_line(c, lang)}" for c in found if not c.proved)
