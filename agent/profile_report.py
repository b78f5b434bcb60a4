"""The examination of a card as text in Chinese and English, and as JSON whose field names are stable."""

from __future__ import annotations

import unicodedata
from datetime import UTC, datetime
from typing import Any

from agent.examination import Examination
from agent.inspection import Inspection
from agent.profiles.names import NameFacts, SidecarGroups
from agent.profiles.profile import Path, Profile
from agent.profiles.recognition import Match
from agent.readiness import SPACE_HOURS
from agent.report import size_text
from agent.vault import display_path

SHOWN = 12
_FIELDS = ("serial", "officer", "start", "sequence", "key_file", "encrypted", "channel", "recording", "address")
_EVIDENCE = {"tried": "实机验证", "documented": "厂商文档", "quoted": "公开资料", "guess": "推测"}


def examination_json(seen: Examination, found: Inspection) -> dict[str, Any]:
    """For programs."""
    identity = seen.identity
    return {
        "profile": seen.match.profile.name,
        "fits": seen.fits,
        "ranking": [_match_json(match) for match in seen.ranking],
        "identity": None
        if identity is None
        else {
            "id": identity.id,
            "why": identity.why_en,
            "conflict": identity.conflict,
            "parts": [[part.kind.value, part.value] for part in identity.parts],
        },
        "files": found.files,
        "size_bytes": found.size_bytes,
        "whole": found.whole,
        "newest": _stamp(found.newest_ns),
        "volumes": [
            {
                "file_system": kind,
                "label": label,
                "volume_id": volume_id,
                "total_bytes": space.total_bytes,
                "free_bytes": space.free_bytes,
                "exact": space.exact,
            }
            for kind, label, volume_id, space in zip(
                found.facts.file_systems, found.facts.labels, found.facts.volume_ids, found.spaces, strict=False
            )
        ],
        "free_hours": None if seen.free_hours is None else round(seen.free_hours, 2),
        "charge_sources": [source.value for source in seen.match.profile.charge.sources],
        "charge_percent": seen.charge_percent,
        "names": [{"path": display_path(path), **_name_json(facts)} for path, facts in seen.names],
        "unmatched": [display_path(path) for path in seen.unmatched],
        "sidecars": {display_path(clip): [*map(display_path, m)] for clip, m in seen.sidecars.by_clip.items()},
        "sidecars_alone": [display_path(path) for path in seen.sidecars.alone],
    }


def examination_lines(seen: Examination, found: Inspection) -> list[str]:
    """For people."""
    profile = seen.match.profile
    verdict = (
        "识别为 / recognised as" if seen.fits else "没有专用配置符合，按此处理 / no profile of its own fits, treated as"
    )
    if not seen.fits and seen.match is not seen.ranking[0]:
        verdict = "不符合，仍按要求以此读取 / does not fit, read with it as asked"
    lines = [f"{verdict}: {profile.name}（{profile.zh} / {profile.en}），{seen.match.score} 分 / points"]
    lines += [f"  {reason.points:+3d}  {reason.zh} / {reason.en}" for reason in seen.match.why]
    lines += ["其他配置 / the others:"]
    lines += [f"  {_missed(match)}" for match in seen.ranking if match is not seen.match]
    lines += ["", *_identity_lines(seen), "", *_space_lines(seen, found), *_charge_lines(seen), ""]
    lines += [*_names_lines(seen), *_sidecar_lines(seen.sidecars)]
    return lines


def profile_line(profile: Profile) -> str:
    """One line of `profile list`."""
    origin = "内置 / built in" if profile.built_in else "本地 / site"
    driver = f"，驱动 / driver: {profile.driver.transport.value}" if profile.driver else ""
    evidence = f"{_EVIDENCE[profile.evidence.value]} / {profile.evidence.value}"
    return f"{profile.name:<16} {profile.zh} / {profile.en}（{origin}，{evidence}{driver}）"


def profile_json(profile: Profile) -> dict[str, Any]:
    """One profile of `profile list --json`."""
    return {
        "name": profile.name,
        "zh": profile.zh,
        "en": profile.en,
        "built_in": profile.built_in,
        "evidence": profile.evidence.value,
        "driver": profile.driver.transport.value if profile.driver else None,
    }


def _match_json(match: Match) -> dict[str, Any]:
    reasons = [{"points": reason.points, "en": reason.en, "zh": reason.zh} for reason in match.why]
    return {"profile": match.profile.name, "score": match.score, "recognised": match.recognised, "why": reasons}


def _name_json(facts: NameFacts) -> dict[str, Any]:
    return {"role": facts.role.value, "matched": facts.matched} | {
        field: value.isoformat() if isinstance(value, datetime) else value
        for field in _FIELDS
        if (value := getattr(facts, field)) not in (None, False)
    }


def _missed(match: Match) -> str:
    lacking = "；".join(f"{reason.zh} / {reason.en}" for reason in match.why if not reason.points)
    return f"{match.profile.name}: {match.score} 分 / points" + (f"（{lacking}）" if lacking else "")


def _identity_lines(seen: Examination) -> list[str]:
    identity = seen.identity
    if identity is None:
        return ["记录仪身份：无法与同型号区分，需人工指定 / identity: nothing tells it apart, a person must name it"]
    lines = [f"记录仪身份 / identity: {identity.id}", f"  {identity.why_zh} / {identity.why_en}"]
    lines += [f"  {part.kind.value}: {part.value}" for part in identity.parts]
    if identity.conflict:
        lines.append("  注意：卡上有多台记录仪的录像 / NOTE: the card holds footage of several cameras")
    return lines


def _space_lines(seen: Examination, found: Inspection) -> list[str]:
    lines = [f"文件 / files: {found.files}（{size_text(found.size_bytes)}）"]
    if not found.whole:
        lines.append("  未全部列出：超时 / not all were listed: time was up")
    newest = _stamp(found.newest_ns)
    if newest:
        lines.append(f"最新文件时间 / newest file: {newest}（{found.facts.time_basis.value}）")
    for kind, label, space in zip(found.facts.file_systems, found.facts.labels, found.spaces, strict=False):
        free = "未知 / unknown" if space.free_bytes is None else size_text(space.free_bytes)
        doubt = "" if space.exact else "，不确切 / not exact"
        lines.append(f"{kind} {label!r}: {free} 可用 / free, {size_text(space.total_bytes)} 共 / total{doubt}")
    if seen.free_hours is not None:
        wanted = max(SPACE_HOURS, seen.match.profile.minimum_free_hours or 0)
        verdict = "足够 / enough" if seen.free_hours >= wanted else f"不足 {wanted:g} h / less than {wanted:g} h"
        rate = seen.match.profile.bitrate_kbit
        lines.append(f"可录时长 / recording time: {seen.free_hours:.1f} h @ {rate} kbit/s（{verdict}）")
    return lines


def _charge_lines(seen: Examination) -> list[str]:
    charge = seen.match.profile.charge
    if not charge.sources:
        return ["电量来源：无，电量未知即不可出勤 / charge: no source; unknown is never ready"]
    lines = [f"电量来源 / charge sources: {', '.join(source.value for source in charge.sources)}"]
    if charge.status_file:
        read = "未读到 / not found" if seen.charge_percent is None else f"{seen.charge_percent} %"
        lines.append(f"  {charge.status_file.path.text}: {read}")
    return lines


def _names_lines(seen: Examination) -> list[str]:
    footage, unmatched = seen.footage, seen.unmatched
    fitting = len(footage) - len(unmatched)
    lines = [f"文件名 / names: {len(footage)} 个录像中 {fitting} 个可读 / {fitting} of {len(footage)} are read"]
    rows = [(display_path(path), _fields(facts)) for path, facts in footage if facts.matched][:SHOWN]
    wide = min(60, max((_width(name) for name, _ in rows), default=0))
    lines += [f"  {name}{' ' * max(1, wide + 2 - _width(name))}{fields}" for name, fields in rows]
    if fitting > SHOWN:
        lines.append(f"  … {fitting - SHOWN}")
    if unmatched:
        lines.append(f"未能读取的文件名 / names not read: {len(unmatched)}")
        lines += [f"  {display_path(path)}" for path in unmatched[:SHOWN]]
    return lines


def _sidecar_lines(groups: SidecarGroups) -> list[str]:
    count = sum(map(len, groups.by_clip.values()))
    lines = [
        f"附属文件 / sidecars: {count} 个属于 {len(groups.by_clip)} 个录像 / {count} of {len(groups.by_clip)} clips"
    ]
    for clip, members in list(groups.by_clip.items())[:SHOWN]:
        lines.append(f"  {display_path(clip)} ← {', '.join(_last(member) for member in members)}")
    if groups.alone:
        lines.append(f"无对应录像 / without a clip: {', '.join(map(display_path, groups.alone[:SHOWN]))}")
    return lines


def _last(path: Path) -> str:
    return display_path(path[-1:])


def _fields(facts: NameFacts) -> str:
    pieces = []
    for field in _FIELDS:
        value = getattr(facts, field)
        if value is True:
            pieces.append(field)
        elif value not in (None, False):
            pieces.append(f"{field}={value}")
    return " ".join(pieces)


def _stamp(newest_ns: int | None) -> str | None:
    if newest_ns is None:
        return None
    try:
        return datetime.fromtimestamp(newest_ns // 10**9, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, ValueError, OSError):  # a stamp beyond any calendar
        return None


def _width(text: str) -> int:
    """Columns on a terminal: Chinese letters take two."""
    return sum(2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)
