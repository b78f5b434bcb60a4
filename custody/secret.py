"""Footage under state secrecy (Art. 18): what the station keeps for the custodian alone. See custody/spec/secret.md.

The station states one event, ``secret.kept.v1``: how many files it keeps, and two digests. One is of the manifest,
which holds names, times and digests of the footage beside 32 random bytes, so that nobody can guess what the digest is
of; it exists encrypted only. The other is of the list of the encrypted files, so that whoever has no key can still tell
that they are all there and unchanged. Pure.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from custody.errors import FormatError
from custody.fields import dump_json, load_object

MANIFEST_FORM = "custodock/secret-manifest/v1"
BLIND_BYTES = 32
FOLDER = ".secret"  # in the vault
MANIFEST_NAME = "manifest.json"
SUMS_NAME = "SHA256SUMS"
ENCRYPTED_SUFFIX = ".age"
_SHA256 = re.compile(r"[0-9a-f]{64}")
_KEYS = frozenset({"form", "blind", "secret_id", "station", "camera", "bay", "begun_at", "ended_at", "files", "unread"})
_FILE_KEYS = frozenset({"name", "path", "path_raw", "size_bytes", "modified_ns", "sha256", "gaps"})


@dataclass(frozen=True, slots=True)
class SecretFile:
    """One file as it was on the camera. `name`: that of its encrypted form without the suffix."""

    name: str
    path: str  # the camera's, as people read it
    path_raw: tuple[str, ...]  # base64 of each component as the source lists it
    size_bytes: int
    modified_ns: int | None  # as the source says
    sha256: str  # of the footage, hex
    gaps: tuple[tuple[int, int], ...]  # offset and length of what could not be read: zeros stand there


@dataclass(frozen=True, slots=True)
class SecretManifest:
    """Everything that one docking kept. `unread`: what was listed and is not among the files, with the reason."""

    blind: str  # 32 random bytes in hex
    secret_id: str  # UUIDv7
    station: str
    camera: str
    bay: str
    begun_at: datetime
    ended_at: datetime
    files: tuple[SecretFile, ...]
    unread: tuple[tuple[str, str], ...]

    @property
    def complete(self) -> bool:
        """Whether everything on the card is kept, whole."""
        return not self.unread and not any(file.gaps for file in self.files)


def render_manifest(manifest: SecretManifest) -> bytes:
    """The bytes that are encrypted, and whose SHA-256 the station states."""
    files = [
        {
            "name": file.name,
            "path": file.path,
            "path_raw": list(file.path_raw),
            "size_bytes": file.size_bytes,
            "modified_ns": file.modified_ns,
            "sha256": file.sha256,
            "gaps": [list(gap) for gap in file.gaps],
        }
        for file in manifest.files
    ]
    return dump_json({
        "form": MANIFEST_FORM, "blind": manifest.blind, "secret_id": manifest.secret_id, "station": manifest.station,
        "camera": manifest.camera, "bay": manifest.bay, "begun_at": manifest.begun_at.isoformat(),
        "ended_at": manifest.ended_at.isoformat(), "files": files, "unread": [list(one) for one in manifest.unread],
    })  # fmt: skip


def parse_manifest(raw: bytes) -> SecretManifest:
    """Read a decrypted manifest. Raises FormatError."""
    body = load_object(raw)
    if body.keys() != _KEYS or body["form"] != MANIFEST_FORM:
        raise FormatError("no manifest of a secret docking")
    try:
        files = tuple(_file(one) for one in body["files"])
        begun, ended = (datetime.fromisoformat(body[name]) for name in ("begun_at", "ended_at"))
        unread = tuple((str(path), str(why)) for path, why in body["unread"])
        blind, secret_id, station, camera, bay = (
            str(body[name]) for name in ("blind", "secret_id", "station", "camera", "bay")
        )
    except (ValueError, TypeError, KeyError) as error:
        raise FormatError(f"a damaged manifest of a secret docking: {error}") from error
    if len({file.name for file in files}) != len(files) or not _SHA256.fullmatch(blind):
        raise FormatError("a manifest of a secret docking that names a file twice or is not blinded")
    return SecretManifest(blind, secret_id, station, camera, bay, begun, ended, files, unread)


def _file(body: dict[str, Any]) -> SecretFile:
    if body.keys() != _FILE_KEYS or not re.fullmatch(r"[0-9]{6,12}", body["name"]):
        raise FormatError("a file of a secret docking has a number as its name")
    if not _SHA256.fullmatch(body["sha256"]) or not isinstance(body["size_bytes"], int) or body["size_bytes"] < 0:
        raise FormatError("a file of a secret docking has a size and a digest")
    components = tuple(str(component) for component in body["path_raw"])
    gaps = tuple((int(offset), int(length)) for offset, length in body["gaps"])
    return SecretFile(
        body["name"],
        str(body["path"]),
        components,
        body["size_bytes"],
        body["modified_ns"],
        body["sha256"],
        gaps,
    )


def render_sums(digests: Iterable[tuple[str, str]]) -> bytes:
    """What ``sha256sum -c`` reads: names of encrypted files and their digests in hex, by name."""
    return "".join(f"{digest}  {name}\n" for name, digest in sorted(digests)).encode()


def digest_hex(data: bytes) -> str:
    """SHA-256 in hex."""
    return hashlib.sha256(data).hexdigest()
