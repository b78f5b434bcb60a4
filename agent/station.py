"""Who this station is: its key and name, its clock, and the chain of envelopes it signs."""

from __future__ import annotations

import ctypes
import os
import secrets
import stat
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from agent.errors import KeyUnreadable
from agent.store import OutboxRow, Store
from custody.checkpoint import SigningKey
from custody.commitments import Opening, Stated, render_opening
from custody.errors import FormatError
from custody.event import Clock, Event, Sha256Hex
from custody.events import seal_event
from custody.topics import check_station_id

KEY_FILE = "station.key"
TIME_ERROR = 5  # adjtimex(2): clock not synchronised


@dataclass(frozen=True, slots=True)
class Station:
    """Identity of one dock. The key never leaves `DIR/station.key`."""

    id: str
    key: SigningKey


EventMaker = Callable[[dict[str, Any]], Event | Stated]


def sign_events(store: Store, station: Station, makers: Sequence[EventMaker]) -> list[int]:
    """Append events to the chain inside the caller's transaction; returns their seqs.

    Each maker gets the common fields (id, source, seq, previous, at, clock) and returns its event, with what opens its
    commitments where it has some.
    """
    head = store.head()
    seq, previous, at, clock = head.seq, head.hash_hex, datetime.now(UTC), clock_quality()
    if store.key_line() not in (None, station.key.verify_key.line):
        # the hub would refuse it, and with it all that comes after
        raise _bad_key(Path(KEY_FILE), "it was replaced meanwhile; start this program again")
    rows = []
    for make in makers:
        seq += 1
        common = {"id": uuid7(), "source": station.id, "seq": seq, "previous": previous, "at": at, "clock": clock}
        made = make(common)
        stated = made if isinstance(made, Stated) else Stated(made)
        raw = seal_event(stated.event, station.key)
        digest = sha256(raw)
        opening = render_opening(Opening(digest.hexdigest(), stated.opened)) if stated.opened else None
        rows.append(OutboxRow(seq, digest.digest(), raw, opening))
        previous = Sha256Hex(digest.hexdigest())
    store.add_envelopes(rows, at)
    return [row.seq for row in rows]


def load_or_create_station(directory: Path, wanted_id: str | None = None) -> Station:
    """The station of this state directory; a new key on first use, durable before it is used.

    Raises KeyUnreadable when the key is damaged, open to others, or belongs to another name.
    """
    key_path = directory / KEY_FILE
    if not key_path.exists():
        create_key(key_path, "station", wanted_id)
    key = load_key(key_path, "station")
    if wanted_id is not None and key.name != wanted_id:
        raise _bad_key(key_path, f"it belongs to station {key.name}, not {wanted_id}")
    return Station(key.name, key)


def load_or_create_key(path: Path, role: str, name: str) -> SigningKey:
    """Another key of this station under this name, made and checked as the station's own is. Raises KeyUnreadable."""
    if not path.exists():
        create_key(path, role, name)
    key = load_key(path, role)
    if key.name != name:
        raise _bad_key(path, f"it belongs to {key.name}, not {name}")
    return key


def create_key(key_path: Path, role: str, wanted: str | None) -> None:
    """Make a key file, durable when this returns; one that is there is replaced. Raises KeyUnreadable."""
    private = Ed25519PrivateKey.generate()
    name = wanted or f"dock-{private.public_key().public_bytes_raw()[:4].hex()}"
    try:
        check_station_id(name.partition("/")[0])
    except FormatError as error:
        raise _bad_key(key_path, str(error)) from None
    pem = private.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    # Name and key are one file, written aside and renamed: a crash leaves either no station or a whole one.
    try:
        write_durably(key_path, f"{role}: {name}\n".encode() + pem, 0o600)
    except OSError as error:
        raise _bad_key(key_path, str(error)) from error


def load_key(key_path: Path, role: str) -> SigningKey:
    """Read a key file. Raises KeyUnreadable when it is damaged, open to others, or of another role."""
    try:
        mode = key_path.stat().st_mode
        first, _, pem = key_path.read_bytes().partition(b"\n")
        private = serialization.load_pem_private_key(pem, None)
    except (OSError, ValueError, TypeError) as error:
        raise _bad_key(key_path, str(error)) from error
    if stat.S_IMODE(mode) & 0o077:
        raise _bad_key(key_path, f"others may read it (mode {stat.S_IMODE(mode):04o}; 0600 expected)")
    prefix = f"{role}: ".encode()
    if not isinstance(private, Ed25519PrivateKey) or not first.startswith(prefix):
        raise _bad_key(key_path, f"it is not a {role} key")
    return SigningKey(first.removeprefix(prefix).decode("ascii", "replace"), private)


def _bad_key(path: Path, why: str) -> KeyUnreadable:
    return KeyUnreadable(
        f"The station's key {path.name} cannot be used: {why}. Footage in the vault is safe. Restore the key file, or "
        "enrol this station anew under another name.",
        f"采集站密钥 {path.name} 无法使用：{why}。存证库中的录像安全。请恢复密钥文件，或以新名称重新登记本采集站。",
    )


def write_durably(path: Path, data: bytes, mode: int) -> None:
    """Replace a small file so that after a power cut either the old or the new one is there, whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
    try:
        os.write(descriptor, data)
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    os.replace(aside, path)
    sync_directory(path.parent)


def sync_directory(path: Path | bytes) -> None:
    """fsync a directory: without it 393 of 500 simulated power cuts lost a finished rename."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class _Timex(ctypes.Structure):
    """The beginning of struct timex; `modes` 0 only reads."""

    _fields_ = (
        ("modes", ctypes.c_uint), ("offset", ctypes.c_long), ("frequency", ctypes.c_long),
        ("max_error", ctypes.c_long), ("estimated_error", ctypes.c_long), ("rest", ctypes.c_byte * 512),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class ClockState:
    """The station's clock as the kernel sees it; the error is the kernel's bound, None where it knows none."""

    quality: Clock
    max_error_seconds: float | None = None


def clock_state() -> ClockState:
    """Whether the kernel says that its clock is disciplined, adjtimex(2); `unknown` where it cannot be asked."""
    try:
        timex = _Timex()
        state = ctypes.CDLL(None).adjtimex(ctypes.byref(timex))
    except (OSError, AttributeError):
        return ClockState("unknown")
    if state < 0:
        return ClockState("unknown")
    if state == TIME_ERROR:
        return ClockState("unsynchronised")
    return ClockState("synchronised", timex.max_error / 1e6)


def clock_quality() -> Clock:
    """The `quality` of `clock_state`."""
    return clock_state().quality


def uuid7() -> str:
    """A UUIDv7, RFC 9562 section 5.7: 48 bits of milliseconds, then random."""
    value = (time.time_ns() // 1_000_000 & (1 << 48) - 1) << 80 | int.from_bytes(os.urandom(10))
    value = value & ~(0xF << 76 | 0x3 << 62) | 0x7 << 76 | 0x2 << 62
    text = f"{value:032x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"
