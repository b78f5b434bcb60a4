"""The process that keeps one camera's footage for the custodian alone (Art. 18): reads, encrypts, writes, reads back.

``python -m agent.secretworker VAULT PARENT_PID``; frames of `wire` on stdin and stdout:

    worker: {"t":"loaded"}
    agent: {"t":"keep","place":…,"recipients":[…],"secret_id":…,"station":…,"camera":…,"bay":…}     once
    worker: {"t":"listing"}, {"t":"copying",files,bytes}, {"t":"progress",…}…, {"t":"saved",n,bytes}…, {"t":"kept",…}

Footage, names and times leave this process encrypted only (age, X25519): into the vault, never as a frame. What is
begun lies in a folder ".part-ID" and is worth nothing; the name of a whole one is given once everything in it is on the
disk. The camera's copy stays where it is whatever happens: footage kept so is never released.
"""

from __future__ import annotations

import base64
import ctypes
import hashlib
import io
import json
import os
import resource
import secrets
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyrage

from agent.card import open_source
from agent.disk import vault_errors
from agent.errors import AgentError, SourceError, SourceGone, SourceUnreadable
from agent.medium import ReadClock
from agent.pipeline import source_empty
from agent.salvage import Salvage
from agent.secretstated import PART_PREFIX, STATED_NAME
from agent.source import Entry, Finding, FindingKind, Reader, Source, parse_place
from agent.station import sync_directory
from agent.vault import display_path
from agent.wire import Frame, decode_frame, encode_frame, error_to_json
from agent.worker import PR_SET_PDEATHSIG, Reporter
from custody.secret import (
    BLIND_BYTES,
    ENCRYPTED_SUFFIX,
    FOLDER,
    MANIFEST_NAME,
    SUMS_NAME,
    SecretFile,
    SecretManifest,
    digest_hex,
    render_manifest,
    render_sums,
)

CHUNK_BYTES = 1 << 20
PR_SET_DUMPABLE = 4
NOT_FOOTAGE = frozenset({FindingKind.DELETED_ENTRY})  # everything else that was met keeps the docking from being whole


class _Footage:
    """One file as the encrypting library reads it. It turns exceptions into its own, so `fault` keeps the real one."""

    def __init__(self, reader: Reader, report: Reporter) -> None:
        self._salvage, self._report = Salvage(reader), report
        self._buffer = memoryview(bytearray(CHUNK_BYTES))
        self._at = self._filled = self.size = 0
        self.sha256 = hashlib.sha256()
        self.gaps: list[tuple[int, int]] = []
        self.fault: Exception | None = None

    def read(self, length: int = -1) -> bytes:
        if self._at == self._filled:
            self._fill()
        length = min(length, self._filled - self._at) if length >= 0 else self._filled - self._at
        self._at += length
        return bytes(self._buffer[self._at - length : self._at])

    def _fill(self) -> None:
        try:
            self._filled, gaps = self._salvage.read(self._buffer, self.size)
        except Exception as error:
            self.fault = error
            raise
        self.gaps += [(gap.offset_bytes, gap.length_bytes) for gap in gaps]
        self.sha256.update(self._buffer[: self._filled])
        self._at, self.size = 0, self.size + self._filled
        self._report.progress(0, self.size)


class _Kept:
    """An encrypted file on its way to the disk."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path, self._sha256 = folder / name, hashlib.sha256()
        self._file = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o400)
        self.fault: OSError | None = None

    def write(self, data: bytes) -> int:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._file, view) :]
        except OSError as error:
            self.fault = error
            raise
        self._sha256.update(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is buffered here."""

    def settle(self) -> str:
        """Make it durable, read it back, and return its digest in hex. Raises OSError."""
        os.fsync(self._file)
        os.posix_fadvise(self._file, 0, 0, os.POSIX_FADV_DONTNEED)  # clean now: the next read asks the disk
        on_disk, offset = hashlib.sha256(), 0
        while piece := os.pread(self._file, CHUNK_BYTES, offset):
            on_disk.update(piece)
            offset += len(piece)
        if on_disk.digest() != self._sha256.digest():
            raise OSError(5, "the disk gives other bytes than were written", str(self._path))
        return on_disk.hexdigest()

    def close(self) -> None:
        os.close(self._file)


@dataclass
class _Keeping:
    """One docking under way."""

    order: Frame
    part: Path
    recipients: list[Any]
    source: Source
    report: Reporter

    def run(self) -> Frame:
        """Keep everything; what the event is to say. Raises AgentError."""
        begun = datetime.now(UTC)
        self.report.send({"t": "listing"})
        entries, unread = self._list()
        if not entries and not unread:
            raise source_empty()
        self.report.send({"t": "copying", "files": len(entries), "bytes": sum(e.size_bytes for e in entries)})
        files, sums = [], []
        for n, entry in enumerate(entries, 1):
            try:
                file, digest = self._keep(f"{n:06}", entry)
            except SourceGone:
                raise
            except SourceError as error:  # this file alone: the rest is kept
                unread.append((display_path(entry.path), error.code))
                continue
            files.append(file)
            sums.append((file.name + ENCRYPTED_SUFFIX, digest))
            self.report.send({"t": "saved", "n": n, "bytes": entry.size_bytes})
        order = self.order
        manifest = SecretManifest(
            secrets.token_hex(BLIND_BYTES), order["secret_id"], order["station"], order["camera"], order["bay"],
            begun, datetime.now(UTC), tuple(files), tuple(unread),
        )  # fmt: skip
        raw = render_manifest(manifest)
        sums.append((MANIFEST_NAME + ENCRYPTED_SUFFIX, self._encrypt(MANIFEST_NAME, io.BytesIO(raw), None)))
        listed = render_sums(sums)
        self._write(SUMS_NAME, listed)
        stated: Frame = {
            "secret_id": order["secret_id"], "files": len(files), "complete": manifest.complete,
            "manifest_sha256": digest_hex(raw), "sums_sha256": digest_hex(listed),
        }  # fmt: skip
        self._write(STATED_NAME, json.dumps(stated).encode())
        sync_directory(self.part)
        return stated

    def _list(self) -> tuple[list[Entry], list[tuple[str, str]]]:
        entries, unread = [], []
        for met in self.source.entries():
            if isinstance(met, Entry):
                entries.append(met)
            elif isinstance(met, Finding) and met.kind not in NOT_FOOTAGE:
                unread.append((display_path(met.path), str(met.kind)))
        return entries, unread

    def _keep(self, name: str, entry: Entry) -> tuple[SecretFile, str]:
        reader = self.source.open(entry)
        try:
            footage = _Footage(reader, self.report)
            digest = self._encrypt(name, footage, footage)
            _check_unchanged(reader, name)
        except BaseException:
            (self.part / (name + ENCRYPTED_SUFFIX)).unlink(missing_ok=True)
            raise
        finally:
            reader.close()
        gaps = tuple(footage.gaps)
        raw = tuple(base64.b64encode(component).decode() for component in entry.path)
        path, sha256 = display_path(entry.path), footage.sha256.hexdigest()
        return SecretFile(name, path, raw, footage.size, entry.modified_ns, sha256, gaps), digest

    def _encrypt(self, name: str, plain: Any, footage: _Footage | None) -> str:
        kept = _Kept(self.part, name + ENCRYPTED_SUFFIX)
        try:
            pyrage.encrypt_io(plain, kept, self.recipients)
            return kept.settle()
        except pyrage.EncryptError as error:
            fault = kept.fault or (footage.fault if footage is not None else None)
            raise fault or error from error
        finally:
            kept.close()

    def _write(self, name: str, data: bytes) -> None:
        kept = _Kept(self.part, name)
        try:
            kept.write(data)
            kept.settle()
        finally:
            kept.close()


def _check_unchanged(reader: Reader, name: str) -> None:
    if reader.changed():
        raise SourceUnreadable(
            f"File {name} changed while it was read: it was not kept, the others are. Dock the camera again.",
            f"文件 {name} 在读取时发生变化：未保存，其余文件已保存。请重新接入记录仪。",
        )


def keep(vault: Path, order: Frame, clock: ReadClock, report: Reporter) -> Frame:
    """Keep everything of one source in ``vault/.secret/ID``, whole and durable. Raises AgentError."""
    home = vault / FOLDER
    part = home / (PART_PREFIX + order["secret_id"])
    recipients = [pyrage.x25519.Recipient.from_str(line) for line in order["recipients"]]
    with vault_errors():
        home.mkdir(mode=0o700, exist_ok=True)
        part.mkdir(mode=0o700)
    source = open_source(parse_place(order["place"]), clock=clock)
    try:
        with vault_errors():
            stated = _Keeping(order, part, recipients, source, report).run()
            part.rename(home / order["secret_id"])
            sync_directory(home)
        return stated
    finally:
        source.close()


def leave_no_trace() -> None:
    """No core file, and no other process of this user may look into this one: plaintext stays in memory, briefly."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, 0)


def main() -> int:
    """Entry point of the process."""
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != int(sys.argv[2]):
        return 1
    leave_no_trace()
    out = os.fdopen(os.dup(1), "wb")  # frames own stdout: whatever a library prints must not land between them
    os.dup2(2, 1)
    out.write(encode_frame({"t": "loaded"}))
    out.flush()
    if not (first := sys.stdin.buffer.readline()):
        return 0
    clock = ReadClock()
    report = Reporter(out, clock)
    try:
        report.send({"t": "kept", **keep(Path(sys.argv[1]), decode_frame(first), clock, report)})
    except AgentError as error:
        report.send(error_to_json(error))
        return int(error.exit_code)
    except BrokenPipeError:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
