"""Which camera this is: several parts together, because cheap cameras share one USB serial. Pure.

The camera's name is the serial on its body where one is known, because a person can read it there; else USB serial and
volume id together; else one of them. Parts are kept beside the name, so that two cameras under one name show.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from agent.profiles.names import NameFacts, Role, field_text, read_file_rule
from agent.profiles.profile import Path, Profile
from agent.profiles.recognition import DeviceFacts
from agent.settings import CAMERA_MAX

PLACEHOLDERS = frozenset(
    {"0123456789abcdef", "123456789abcdef", "1234567890abcdef", "123456789012", "1234567890", "0123456789", "123456789"}
)  # serials that makers of cheap chips leave in place


class PartKind(StrEnum):
    """What a part of an identity is."""

    DRIVER_SERIAL = "driver_serial"  # the recorder's own answer
    FILE_SERIAL = "file_serial"  # a file that the camera keeps on its card
    NAME_SERIAL = "name_serial"  # in the names of its footage
    USB_SERIAL = "usb_serial"
    USB_MODEL = "usb_model"
    VOLUME_ID = "volume_id"
    LABEL = "label"


BODY_KINDS = (PartKind.DRIVER_SERIAL, PartKind.FILE_SERIAL, PartKind.NAME_SERIAL)  # the serial on the body; best first


@dataclass(frozen=True, slots=True)
class Part:
    """One fact that an identity stands on."""

    kind: PartKind
    value: str


@dataclass(frozen=True, slots=True)
class Identity:
    """A camera: its name (valid for `agent.settings.check_camera`), the parts seen, and why it is called so.

    `conflict`: the card itself names more than one camera, for instance because it was used in two.
    """

    id: str
    parts: tuple[Part, ...]
    why_en: str
    why_zh: str
    conflict: bool = False

    def values(self, *kinds: PartKind) -> frozenset[str]:
        """The values of these kinds, in lower case."""
        return frozenset(part.value.casefold() for part in self.parts if part.kind in kinds)


class DisputeKind(StrEnum):
    """How two sightings contradict each other."""

    CLONED_USB_SERIAL = "cloned_usb_serial"  # one USB serial, other body or volume: two cameras of a careless maker
    OTHER_DEVICE = "other_device"  # one name, another USB device
    OTHER_VOLUME = "other_volume"  # one name, another card or a newly formatted one
    CARD_MOVED = "card_moved"  # one volume, another camera
    SEVERAL_SERIALS = "several_serials"  # one card, names of more than one camera
    CARD_UNSEEN = "card_unseen"  # its card could not be looked at, and the rest does not tell which camera it is


@dataclass(frozen=True, slots=True)
class Dispute:
    """A contradiction that a person decides; until then footage is docked and nothing is released from the camera."""

    kind: DisputeKind
    en: str
    zh: str


def camera_identity(
    profile: Profile,
    facts: DeviceFacts,
    names: Iterable[NameFacts] = (),
    files: Mapping[Path, bytes] | None = None,
    driver_serial: str = "",
) -> Identity | None:
    """Who this camera is; None where nothing tells it from another one of its kind. Same facts, same answer."""
    body = Counter(name.serial for name in names if name.role is Role.FOOTAGE and name.serial)
    from_files = (read_file_rule(rule, files or {}).get("serial", "") for rule in profile.identity_files)
    parts = [
        *_parts(PartKind.DRIVER_SERIAL, [driver_serial]),
        *_parts(PartKind.FILE_SERIAL, from_files),
        *_parts(PartKind.NAME_SERIAL, sorted(body, key=lambda serial: (-body[serial], serial))),
        *_parts(PartKind.USB_SERIAL, [facts.usb_serial]),
        *_parts(PartKind.USB_MODEL, [f"{facts.usb_vendor}:{facts.usb_product}".lower() if facts.usb_vendor else ""]),
        *_parts(PartKind.VOLUME_ID, facts.volume_ids),
        *_parts(PartKind.LABEL, facts.labels),
    ]
    first = {kind: next((part.value for part in parts if part.kind is kind), "") for kind in PartKind}
    conflict = len({serial.casefold() for serial in body}) > 1
    for kind in BODY_KINDS:
        if first[kind] and not is_placeholder(first[kind]):
            en, zh = _WHY[kind]
            return Identity(_name(first[kind]), tuple(parts), en, zh, conflict)
    usb = "" if is_placeholder(first[PartKind.USB_SERIAL]) else first[PartKind.USB_SERIAL]
    volume = "" if is_placeholder(first[PartKind.VOLUME_ID]) else first[PartKind.VOLUME_ID]
    if not usb and not volume:
        return None
    en, zh = _WHY[PartKind.USB_SERIAL if usb else PartKind.VOLUME_ID]
    name = "-".join(text for text in (profile.name, usb, volume) if text)
    return Identity(_name(name), tuple(parts), en, zh, conflict)


def disputed(known: Identity, seen: Identity) -> Dispute | None:
    """Whether the camera `seen` now contradicts one `known` from before; None: the same camera, or an unrelated one.

    Asked against every known camera that shares the name, the USB serial or a volume id.
    """
    if seen.conflict:
        return _dispute(DisputeKind.SEVERAL_SERIALS, seen)
    same_name = known.id.casefold() == seen.id.casefold()
    apart = {kind for kind in PartKind if _apart(known.values(kind), seen.values(kind))}
    shared_usb = known.values(PartKind.USB_SERIAL) & seen.values(PartKind.USB_SERIAL)
    one_usb = PartKind.USB_MODEL not in apart and any(not is_placeholder(serial) for serial in shared_usb)
    if same_name and apart & {PartKind.USB_SERIAL, PartKind.USB_MODEL}:
        return _dispute(DisputeKind.OTHER_DEVICE, seen)
    if one_usb and (apart & set(BODY_KINDS) or (not same_name and PartKind.VOLUME_ID in apart)):
        return _dispute(DisputeKind.CLONED_USB_SERIAL, seen)
    if same_name and PartKind.VOLUME_ID in apart:
        return _dispute(DisputeKind.OTHER_VOLUME, seen)
    shared_volumes = known.values(PartKind.VOLUME_ID) & seen.values(PartKind.VOLUME_ID)
    if not same_name and any(not is_placeholder(volume) for volume in shared_volumes):
        return _dispute(DisputeKind.CARD_MOVED, seen)
    return None


def same_usb(known: Iterable[Identity], seen: Identity) -> Identity | None:
    """The one known camera with the USB model and serial of `seen`, whose card could not be looked at; else None."""
    kinds = (PartKind.USB_MODEL, PartKind.USB_SERIAL)
    if all(is_placeholder(serial) for serial in seen.values(PartKind.USB_SERIAL)):
        return None
    found = [one for one in known if all(one.values(kind) == seen.values(kind) for kind in kinds)]
    return found[0] if len(found) == 1 else None


def unseen_card(seen: Identity) -> Dispute:
    """Nobody can tell which camera this is."""
    return _dispute(DisputeKind.CARD_UNSEEN, seen)


def is_placeholder(serial: str) -> bool:
    """Whether a serial identifies nothing: empty, one character repeated, or a chip maker's sample."""
    plain = "".join(char for char in serial.casefold() if char.isalnum())
    return len(set(plain)) <= 1 or plain in PLACEHOLDERS


_WHY = {
    PartKind.DRIVER_SERIAL: ("the recorder gave its serial number", "记录仪自报的序列号"),
    PartKind.FILE_SERIAL: (
        "a file of the camera on the card holds its serial number",
        "存储卡上记录仪自身的文件给出序列号",
    ),
    PartKind.NAME_SERIAL: ("the names of its footage hold its serial number", "录像文件名中的序列号"),
    PartKind.USB_SERIAL: (
        "no serial number of the body is known: USB serial and volume id together",
        "未知机身序列号：以 USB 序列号与卷标识共同识别",
    ),
    PartKind.VOLUME_ID: (
        "only the volume id tells it apart: formatting the card makes it another camera",
        "仅凭卷标识识别：格式化后将视为另一台记录仪",
    ),
}
_DISPUTES = {
    DisputeKind.CLONED_USB_SERIAL: (
        "another camera with the same USB serial number was docked before",
        "此前曾接入过 USB 序列号相同的另一台记录仪",
    ),
    DisputeKind.OTHER_DEVICE: ("this name belonged to another USB device before", "该名称此前属于另一台 USB 设备"),
    DisputeKind.OTHER_VOLUME: (
        "this camera came with another card before, or its card was formatted",
        "该记录仪此前使用另一张存储卡，或其存储卡被格式化",
    ),
    DisputeKind.CARD_MOVED: ("this card was in another camera before", "该存储卡此前在另一台记录仪中"),
    DisputeKind.SEVERAL_SERIALS: (
        "the card holds footage under the serial numbers of several cameras",
        "存储卡上有多台记录仪序列号的录像",
    ),
    DisputeKind.CARD_UNSEEN: (
        "its card could not be looked at before docking, so this name is only that of its USB plug",
        "接入时无法查看其存储卡，该名称仅取自 USB 标识",
    ),
}


def _dispute(kind: DisputeKind, seen: Identity) -> Dispute:
    en, zh = _DISPUTES[kind]
    return Dispute(
        kind,
        f"{seen.id}: {en}. Its footage is docked as usual; nothing is cleared from it until a person has decided.",
        f"{seen.id}：{zh}。录像照常采集；在人工确认之前不会清除其中任何内容。",
    )


def _apart(known: frozenset[str], seen: frozenset[str]) -> bool:
    """Whether both say something and nothing in common."""
    return bool(known and seen and not known & seen)


def _parts(kind: PartKind, values: Iterable[str]) -> Sequence[Part]:
    cleaned = (field_text(value.encode("utf-8", "replace")) for value in values)
    return [Part(kind, value) for value in dict.fromkeys(cleaned) if value]


def _name(text: str) -> str:
    """A camera's name from any text: blanks become one hyphen, too long a text keeps its start and a hash."""
    name = "-".join(text.split())
    if len(name) <= CAMERA_MAX:
        return name
    return f"{name[: CAMERA_MAX - 9]}-{hashlib.sha256(name.encode()).hexdigest()[:8]}"
