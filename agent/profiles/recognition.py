"""Which profile a camera has: points for every sign that fits, with the reasons, the same for the same facts. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from agent.profiles.names import Role, describe_name
from agent.profiles.profile import Path, Profile, UsbId

MATCH_POINTS = 20  # a profile below it was not recognised
GENERIC_POINTS = 10  # the most that a generic profile gets: any specific one that is recognised comes before it
USB_POINTS, USB_VENDOR_POINTS, USB_SERIAL_POINTS = 40, 10, 20
SCSI_POINTS, LABEL_POINTS, PATHS_POINTS, NAMES_POINTS = 25, 10, 30, 40
_TEXT_MAX = 200


@dataclass(frozen=True, slots=True)
class DeviceFacts:
    """What the kernel and the card say of a device; "" and () where they say nothing. USB ids: four hex digits."""

    usb_vendor: str = ""
    usb_product: str = ""
    usb_serial: str = ""
    scsi_vendor: str = ""
    scsi_model: str = ""
    labels: tuple[str, ...] = ()
    volume_ids: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Reason:
    """One sign of a profile: what it gave, 0 if it did not fit."""

    points: int
    en: str
    zh: str


@dataclass(frozen=True, slots=True)
class Match:
    """How well one profile fits. `recognised`: more than a generic one."""

    profile: Profile
    score: int
    why: tuple[Reason, ...]

    @property
    def recognised(self) -> bool:
        return not self.profile.signs.generic and self.score >= MATCH_POINTS


def recognise(profiles: Sequence[Profile], facts: DeviceFacts, sample: Sequence[Path]) -> Match:
    """The best of `rank`."""
    return rank(profiles, facts, sample)[0]


def rank(profiles: Sequence[Profile], facts: DeviceFacts, sample: Sequence[Path]) -> tuple[Match, ...]:
    """Every profile, best first: the recognised by score, then the generic, then the rest.

    A tie goes to a site's own profile before a built-in one, then to the first name. `profiles` holds a generic one
    without signs, so something always fits. Raises ValueError without any profile.
    """
    if not profiles:
        raise ValueError("no profiles")

    def order(match: Match) -> tuple[bool, bool, int, bool, str]:
        below = not match.recognised
        stranger = below and not match.profile.signs.generic
        return (stranger, below, -match.score, match.profile.built_in, match.profile.name)

    return tuple(sorted((_match(profile, facts, sample) for profile in profiles), key=order))


def may_drive(profile: Profile, facts: DeviceFacts) -> bool:
    """Whether this profile's driver may send commands to this device: only to exactly its USB ids."""
    return profile.driver is not None and any(
        usb == UsbId(facts.usb_vendor.lower(), facts.usb_product.lower()) for usb in profile.signs.usb
    )


def _match(profile: Profile, facts: DeviceFacts, sample: Sequence[Path]) -> Match:
    found = (
        _usb(profile, facts),
        _text(profile.signs.usb_serial, (facts.usb_serial,), USB_SERIAL_POINTS, "USB serial", "USB 序列号"),
        _scsi(profile, facts),
        _text(profile.signs.label, facts.labels, LABEL_POINTS, "volume label", "卷标"),
        _paths(profile, sample),
        _names(profile, sample),
    )
    why = tuple(reason for reason in found if reason is not None)
    score = sum(reason.points for reason in why)
    if profile.signs.generic:
        has_signs = any((profile.signs.all_paths, profile.signs.any_path, profile.signs.label, profile.signs.usb))
        score = min(score, GENERIC_POINTS) if has_signs else 1
    return Match(profile, score, why)


def _usb(profile: Profile, facts: DeviceFacts) -> Reason | None:
    if not profile.signs.usb:
        return None
    vendor, product = facts.usb_vendor.lower(), facts.usb_product.lower()
    if not vendor:
        return Reason(0, "no USB ids are known of this source", "该来源没有 USB 设备号")
    seen = f"{vendor}:{product}"
    if UsbId(vendor, product) in profile.signs.usb:
        return Reason(USB_POINTS, f"USB ids {seen}", f"USB 设备号 {seen}")
    if UsbId(vendor, None) in profile.signs.usb:
        return Reason(USB_VENDOR_POINTS, f"USB vendor {vendor}", f"USB 厂商号 {vendor}")
    return Reason(0, f"other USB ids: {seen}", f"USB 设备号不同：{seen}")


def _text(pattern: re.Pattern[str] | None, values: tuple[str, ...], points: int, en: str, zh: str) -> Reason | None:
    if pattern is None:
        return None
    for value in values:
        if value and pattern.fullmatch(value[:_TEXT_MAX]):
            return Reason(points, f"{en} {value[:_TEXT_MAX]!r}", f"{zh} {value[:_TEXT_MAX]!r}")
    return Reason(0, f"{en} does not fit", f"{zh}不符")


def _scsi(profile: Profile, facts: DeviceFacts) -> Reason | None:
    if not profile.signs.scsi:
        return None
    vendor, model = facts.scsi_vendor.strip()[:_TEXT_MAX], facts.scsi_model.strip()[:_TEXT_MAX]
    for name in profile.signs.scsi:
        if name.vendor.fullmatch(vendor) and name.model.fullmatch(model):
            return Reason(SCSI_POINTS, f"SCSI name {vendor!r} {model!r}", f"SCSI 名称 {vendor!r} {model!r}")
    return Reason(0, "SCSI name does not fit", "SCSI 名称不符")


def _paths(profile: Profile, sample: Sequence[Path]) -> Reason | None:
    wanted, any_of = profile.signs.all_paths, profile.signs.any_path
    if not wanted and not any_of:
        return None
    missing = [glob.text for glob in wanted if not any(glob.begins(path) for path in sample)]
    present = [glob.text for glob in (*wanted, *any_of) if any(glob.begins(path) for path in sample)]
    if missing or (any_of and not any(glob.text in present for glob in any_of)):
        lacking = ", ".join(missing or [glob.text for glob in any_of])
        return Reason(0, f"no folder {lacking}", f"没有文件夹 {lacking}")
    return Reason(PATHS_POINTS, f"folders {', '.join(present)}", f"文件夹 {'、'.join(present)}")


def _names(profile: Profile, sample: Sequence[Path]) -> Reason | None:
    """Points by the share of footage whose name fits; a few strangers on a card take little away."""
    if not profile.names:
        return None
    described = (describe_name(profile, path) for path in sample)
    footage = [facts.matched for facts in described if facts.role is Role.FOOTAGE]
    fitting = sum(footage)
    if not footage:
        return Reason(0, "no footage to read names of", "没有可辨认文件名的录像")
    points = NAMES_POINTS * fitting // len(footage)
    return Reason(
        points,
        f"{fitting} of {len(footage)} footage names fit",
        f"{len(footage)} 个录像文件名中有 {fitting} 个符合",
    )
