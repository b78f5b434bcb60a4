"""What a path says under a profile: its role, the fields in its name, and which sidecar belongs to which clip. Pure.

Names are data: any bytes, never trusted. What they say is a claim beside the seal, never part of it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum

from agent.profiles.globs import ENCODINGS, any_matches
from agent.profiles.profile import FileRule, Path, Profile

NAME_BYTES_MAX = 1024  # longer ones match no pattern, so that no pattern ever takes long
FIELD_MAX = 64
_SEPARATORS = b"_-. "


class Role(StrEnum):
    """What a file is. Only a label: every role is docked."""

    FOOTAGE = "footage"
    SIDECAR = "sidecar"
    PROXY = "proxy"  # a small second copy for previews; never counted as footage
    IGNORED = "ignored"  # what the camera itself treats as scratch; docked, not counted
    OTHER = "other"


@dataclass(frozen=True, slots=True)
class NameFacts:
    """What one path says. Every text is printable and at most 64 characters; None: the name does not say.

    `start` is the camera's wall clock without zone. `matched`: one of the profile's patterns fits.
    """

    role: Role
    key_file: bool = False
    matched: bool = False
    serial: str | None = None
    officer: str | None = None
    start: datetime | None = None
    sequence: int | None = None
    encrypted: bool = False
    channel: str | None = None
    recording: str | None = None
    address: str | None = None


@dataclass(frozen=True, slots=True)
class SidecarGroups:
    """Every sidecar and proxy, by the clip it belongs to, and those that belong to none. Sorted."""

    by_clip: Mapping[Path, tuple[Path, ...]]
    alone: tuple[Path, ...]


def describe_name(profile: Profile, path: Path) -> NameFacts:
    """Role and fields of one path. Never raises, whatever the bytes."""
    role = role_of(profile, path)
    marked = role is Role.FOOTAGE and any_matches(profile.roles.key_file, path)
    for pattern in profile.names:
        text = b"/".join(path[-pattern.components :])
        found = pattern.regex.fullmatch(text) if len(text) <= NAME_BYTES_MAX else None
        if not found:
            continue
        groups = {key: value for key, value in found.groupdict().items() if value}
        texts = {key: field_text(value) for key, value in groups.items()}
        start = pattern.start.parse(groups["start"].decode("latin-1")) if pattern.start and "start" in groups else None
        digits = groups.get("sequence", b"")
        return NameFacts(
            role=role,
            key_file=marked or (role is Role.FOOTAGE and "mark" in groups),
            matched=True,
            start=start,
            sequence=int(digits) if digits.isdigit() and len(digits) <= 15 else None,
            encrypted="encrypted" in groups,
            **{key: texts.get(key) for key in ("serial", "officer", "channel", "recording", "address")},
        )
    return NameFacts(role, marked)


def started_at(profile: Profile, facts: NameFacts, station_zone: tzinfo) -> datetime | None:
    """The start that a name claims, aware, in UTC. A time that occurs twice (end of summer time) is the first one."""
    if facts.start is None:
        return None
    try:
        return facts.start.replace(tzinfo=profile.time_zone or station_zone).astimezone(UTC)
    except OverflowError:  # the year 1 or 9999
        return None


def role_of(profile: Profile, path: Path) -> Role:
    """What the profile's globs call this path."""
    roles = profile.roles
    for role, globs in (
        (Role.IGNORED, roles.ignored),
        (Role.PROXY, roles.proxy),
        (Role.SIDECAR, roles.sidecar),
        (Role.FOOTAGE, roles.footage),
    ):
        if any_matches(globs, path):
            return role
    return Role.OTHER


def group_sidecars(profile: Profile, paths: Iterable[Path]) -> SidecarGroups:
    """Which clip each sidecar and proxy belongs to, within one folder and without regard to case.

    In this order: the clip's whole name in front (A.MP4.md5 of A.MP4), the same stem (A.md5), the longest stem in front
    of a separator (A_gps.json). Of two clips with one stem the first in byte order has it.
    """
    clips: dict[Path, dict[bytes, Path]] = defaultdict(dict)
    others: list[Path] = []
    for path in sorted(set(paths)):
        role = role_of(profile, path)
        if role is Role.FOOTAGE:
            names = clips[path[:-1]]
            names.setdefault(path[-1].lower(), path)
            names.setdefault(_stem(path[-1].lower()), path)
        elif role in (Role.SIDECAR, Role.PROXY):
            others.append(path)
    by_clip: dict[Path, list[Path]] = defaultdict(list)
    alone = []
    for path in others:
        names = clips.get(path[:-1], {})
        clip = next((names[stem] for stem in _fronts(path[-1].lower()) if stem in names), None)
        if clip is None:
            alone.append(path)
        else:
            by_clip[clip].append(path)
    return SidecarGroups({clip: tuple(found) for clip, found in sorted(by_clip.items())}, tuple(alone))


def read_file_rule(rule: FileRule, files: Mapping[Path, bytes]) -> dict[str, str]:
    """The fields that the first file of this rule, in byte order, gives; none where no file does."""
    for path in sorted(files):
        if rule.path.matches(path):
            found = rule.regex.search(files[path])
            if found:
                return {key: field_text(value) for key, value in found.groupdict().items() if value}
    return {}


def charge_percent(profile: Profile, files: Mapping[Path, bytes]) -> int | None:
    """The charge that the camera's status file states, 0 to 100; None: unknown, which is never ready."""
    rule = profile.charge.status_file
    text = read_file_rule(rule, files).get("percent", "") if rule else ""
    if not re.fullmatch(r"[0-9]{1,3}", text) or int(text) > 100:
        return None
    return int(text)


def field_text(raw: bytes) -> str:
    """Bytes of a name as text for people: UTF-8, else GBK, else escaped; printable only, cut to 64 characters."""
    for encoding in ENCODINGS:
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        break
    else:
        text = raw.decode("ascii", "backslashreplace")
    return "".join(char for char in text if char.isprintable()).strip()[:FIELD_MAX].strip()


def _stem(name: bytes) -> bytes:
    stem, dot, _ = name.rpartition(b".")
    return stem if dot and stem else name


def _fronts(name: bytes) -> Iterator[bytes]:
    """What may be a clip's name or stem in front of a sidecar's, longest first."""
    for at in range(len(name) - 1, 0, -1):
        if name[at] in _SEPARATORS:
            yield name[:at]
