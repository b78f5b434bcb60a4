"""The form of a backup: a folder, or the same folder in one tar file.

    manifest.json   what this is, with size and SHA-256 of every other file; written last
    hub.db          the hub's tables as an SQLite database, whatever engine the hub has
    hub.toml        its settings
    checkpoint      the newest checkpoint that hub.db holds, a signed note
    keys/           only when asked for: the private keys, encrypted with a passphrase or plain

Everything is readable by its owner alone: hub.db holds password digests.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tarfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from hub.errors import BackupUnusable, Invalid
from hub.settings import sync_directory, write_new

FORM = "custodock-hub-backup/1"
MANIFEST = "manifest.json"
DATABASE = "hub.db"
CHECKPOINT = "checkpoint"
KEYS = "keys"


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a backup holds. `files` maps each path to its length and SHA-256."""

    form: str
    hub_id: str
    log: str  # origin of the log
    size: int  # entries
    checkpoint: str  # signed note
    created_at: str
    software: str
    schema: str
    engine: str  # of the hub that was backed up
    keys: str  # none, encrypted, plain
    files: dict[str, tuple[int, str]]


def write_manifest(folder: Path, facts: dict[str, Any]) -> Manifest:
    """Digest every file below `folder` and write the manifest, durable when this returns."""
    files = {}
    for path in sorted(p for p in folder.rglob("*") if p.is_file()):
        path.chmod(0o600)
        _sync_file(path)
        files[path.relative_to(folder).as_posix()] = (path.stat().st_size, _sha256(path))
    manifest = Manifest(form=FORM, files=files, **facts)
    write_new(folder / MANIFEST, json.dumps(asdict(manifest), indent=1, ensure_ascii=False).encode() + b"\n", 0o600)
    for directory in (path for path in folder.rglob("*") if path.is_dir()):
        sync_directory(directory)
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """Read the manifest and compare every file with it. Raises BackupUnusable, naming the first that differs."""
    try:
        body = json.loads((folder / MANIFEST).read_bytes())
        if body.get("form") != FORM:
            raise BackupUnusable(f"{folder} is no backup of the form {FORM}")
        body["files"] = {str(name): (int(size), str(digest)) for name, (size, digest) in body["files"].items()}
        manifest = Manifest(**body)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise BackupUnusable(f"{folder / MANIFEST} cannot be read: {error}") from None
    for name, (size, digest) in manifest.files.items():
        path = folder / name
        if ".." in Path(name).parts or Path(name).is_absolute() or not path.is_file():
            raise BackupUnusable(f"the backup lacks {name}")
        if path.stat().st_size != size or _sha256(path) != digest:
            raise BackupUnusable(f"{path} is not what was backed up: use another backup")
    return manifest


def publish(aside: Path, target: Path) -> None:
    """Give a finished backup its name, as a folder or, for ``.tar``, as one file. Never replaces anything."""
    if target.suffix == ".tar":
        packed = aside.with_name(aside.name + ".tar")
        with packed.open("xb") as file:
            packed.chmod(0o600)
            with tarfile.open(fileobj=file, mode="w") as tar:
                for path in sorted(aside.rglob("*")):
                    tar.add(path, path.relative_to(aside).as_posix(), recursive=False)
            file.flush()
            os.fsync(file.fileno())
        _refuse_existing(target)
        packed.rename(target)
        shutil.rmtree(aside)
    else:
        _refuse_existing(target)
        aside.rename(target)
    sync_directory(target.parent)


def unpack(backup: Path, into: Path) -> Path:
    """The folder of a backup; a tar file is unpacked below `into` first. Raises BackupUnusable."""
    if backup.is_dir():
        return backup
    try:
        with tarfile.open(backup) as tar:
            tar.extractall(into, filter="data")
    except (OSError, tarfile.TarError) as error:
        raise BackupUnusable(f"{backup} cannot be read as a backup: {error}") from None
    return into


def _refuse_existing(target: Path) -> None:
    if target.exists():
        raise Invalid(f"{target} exists: a backup never replaces anything")


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync_file(path: Path) -> None:
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
