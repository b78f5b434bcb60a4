"""The folder of a witness that is a program on somebody's computer: key, logs, what it saw, evidence.

``witness.key`` (name and private key), ``logs`` (key lines of the logs it witnesses, people's to edit), one
``state-….json`` a log, ``evidence/`` (two notes a file, never removed). Each change is written aside, synced and
renamed, so that after a power cut the old or the new one is there, whole; only then does a cosignature leave.
"""

from __future__ import annotations

import json
import os
import secrets
import stat
import threading
from collections.abc import Callable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from custody.checkpoint import SigningKey, VerifyKey, parse_key_line
from custody.cosignature import CosigningKey
from custody.errors import CustodyError, FormatError, KeyInvalid
from custody.witness import (
    SIZE_TYPE,
    STATUS,
    Code,
    Conflict,
    Contradiction,
    Cosign,
    Memory,
    Refusal,
    decide,
    parse_request,
    refusal_text,
)

KEY, LOGS, EVIDENCE, LOCK = "witness.key", "logs", "evidence", ".lock"
MAX_EVIDENCE = 1000  # files; whoever holds the log's key must not fill the disk
_TEXT = "text/plain; charset=utf-8"
_LOGS_HEADER = "# One key line a line: the logs that this witness cosigns. 每行一个日志公钥行。\n"


class Unusable(CustodyError):
    """The folder cannot be used as it is; nothing was cosigned."""

    code = "witness_unusable"


@dataclass(frozen=True, slots=True)
class Reply:
    """What to answer, in the terms of tlog-witness."""

    status: int
    kind: str
    body: str


class WitnessDir:
    """One opened folder; nobody else has it open. Every method may be called from any thread."""

    def __init__(self, directory: Path, clock: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        """Lock and read the folder. Raises Unusable."""
        self._directory, self._clock, self._one_at_a_time = directory, clock, threading.Lock()
        self._held = _lock(directory / LOCK)
        self.key = _load_key(directory / KEY)
        self.logs = _load_logs(directory / LOGS)

    def close(self) -> None:
        """Let somebody else open it."""
        os.close(self._held)

    def memory(self, origin: str) -> Memory:
        """What is known of a log. Raises Unusable for a damaged state: to forget it would be to cosign anything."""
        path = self._state(origin)
        try:
            body: dict[str, Any] = json.loads(path.read_text("utf-8"))
            held = body.pop("log")
            stopped = body.pop("stopped")
            memory = Memory(**body, stopped=Code(stopped) if stopped else None)
            _ = memory.largest  # every note in it can be read
        except FileNotFoundError:
            return Memory()
        except (OSError, ValueError, KeyError, TypeError, AttributeError, FormatError) as error:
            raise Unusable(
                f"{path.name} 已损坏，未签署任何内容；请从备份恢复该文件。 / {path.name} is damaged ({error}); nothing "
                "was cosigned. Restore it from a backup."
            ) from None
        if held != origin:
            raise Unusable(f"{path.name} 属于另一日志。 / {path.name} is of another log.")
        return memory

    def add_checkpoint(self, raw: bytes) -> Reply:
        """Answer an add-checkpoint body. Raises Unusable or OSError when what must be kept cannot be kept."""
        try:
            request = parse_request(raw)
        except FormatError:
            return Reply(STATUS[Code.BAD_FORMAT], _TEXT, refusal_text(Code.BAD_FORMAT, ""))
        key = self.logs.get(request.origin)
        with self._one_at_a_time:  # look and keep as one: else a smaller checkpoint could overwrite a larger one
            memory = self.memory(request.origin) if key else Memory()
            outcome = decide(memory, key, request)
            match outcome:
                case Cosign():
                    self._save(request.origin, outcome.memory)
                    # a crash here: the log asks again, is told this size, and gets a cosignature of the same checkpoint
                    return Reply(200, _TEXT, self.key.cosign(outcome.note, self._clock()))
                case Conflict():
                    return Reply(409, SIZE_TYPE, f"{outcome.size}\n")
                case Refusal():
                    return self._refuse(request.origin, outcome)

    def clear(self, origin: str, *, anew: bool) -> None:
        """People have decided: go on from the last proven checkpoint, or `anew` from whatever the log shows next."""
        with self._one_at_a_time:
            self._save(origin, Memory() if anew else Memory(self.memory(origin).cosigned))

    def evidence(self) -> list[tuple[str, str]]:
        """Names and texts of what is kept, oldest first."""
        folder = self._directory / EVIDENCE
        return [(path.name, path.read_text("utf-8")) for path in sorted(folder.glob("*.txt"))]

    def _refuse(self, origin: str, refusal: Refusal) -> Reply:
        if refusal.contradiction is not None:
            self._keep_evidence(origin, refusal.contradiction)
            self._save(origin, refusal.memory)
        if refusal.code is Code.FORK:  # tlog-witness: a conflict, with the size of the last cosigned checkpoint
            return Reply(409, SIZE_TYPE, f"{refusal.memory.size}\n")
        shown = refusal.memory.pending if refusal.code in (Code.PROVE_FIRST, Code.BAD_PROOF) else None
        return Reply(STATUS[refusal.code], _TEXT, refusal_text(refusal.code, shown or ""))

    def _keep_evidence(self, origin: str, found: Contradiction) -> None:
        folder = self._directory / EVIDENCE
        folder.mkdir(mode=0o700, exist_ok=True)
        pair = sha256(f"{found.kept}\0{found.refused}".encode()).hexdigest()[:16]
        if any(folder.glob(f"*-{pair}.txt")) or sum(1 for _ in folder.iterdir()) >= MAX_EVIDENCE:
            return
        at = self._clock()
        text = f"{found.code.value} {at.isoformat()} {origin}\n\n{found.kept}\n{'-' * 40}\n\n{found.refused}"
        write_durably(folder / f"{at:%Y%m%dT%H%M%SZ}-{found.code.value}-{pair}.txt", text.encode(), 0o600)

    def _save(self, origin: str, memory: Memory) -> None:
        body = {"log": origin} | asdict(memory)
        write_durably(self._state(origin), json.dumps(body, ensure_ascii=False, indent=1).encode(), 0o600)

    def _state(self, origin: str) -> Path:
        return self._directory / f"state-{sha256(origin.encode()).hexdigest()[:16]}.json"


def create(directory: Path, name: str, logs: list[VerifyKey]) -> CosigningKey:
    """Make a witness's folder, or add `logs` to one. Raises Unusable when its key has another name, KeyInvalid."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / KEY
    if not path.exists():
        private = Ed25519PrivateKey.generate()
        key = SigningKey.from_seed(name, private.private_bytes_raw())  # checks the name
        pem = private.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        write_durably(path, f"witness: {key.name}\n".encode() + pem, 0o600)
    made = _load_key(path)
    if made.key.name != name:
        raise Unusable(
            f"{path} 属于 {made.key.name}，不是 {name}。 / {path} is the key of {made.key.name}, not of {name}."
        )
    known = _load_logs(directory / LOGS)
    lines = "".join(f"{key.line}\n" for key in (known | {key.name: key for key in logs}).values())
    write_durably(directory / LOGS, (_LOGS_HEADER + lines).encode(), 0o600)
    return made


def write_durably(path: Path, data: bytes, mode: int) -> None:
    """Replace a small file so that after a power cut the old or the new one is there, whole."""
    aside = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    descriptor = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), mode)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(descriptor)
        os.replace(aside, path)
    except OSError:
        aside.unlink(missing_ok=True)
        raise
    if hasattr(os, "O_DIRECTORY"):  # Windows keeps a rename without being asked, and cannot be asked
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _load_key(path: Path) -> CosigningKey:
    try:
        first, _, pem = path.read_bytes().partition(b"\n")
        private = serialization.load_pem_private_key(pem, None)
        mode = stat.S_IMODE(path.stat().st_mode)
    except (OSError, ValueError, TypeError) as error:
        raise Unusable(
            f"无法读取见证密钥 {path}；请先运行 custody witness init。 / the witness's key {path} cannot be read "
            f"({error}); run custody witness init first."
        ) from None
    if os.name == "posix" and mode & 0o077:
        raise Unusable(f"{path} 可被他人读取，不予使用。 / {path} is open to others (mode {mode:04o}) and not used.")
    if not isinstance(private, Ed25519PrivateKey) or not first.startswith(b"witness: "):
        raise Unusable(f"{path} 不是见证密钥。 / {path} is no witness's key.")
    return CosigningKey(SigningKey(first.removeprefix(b"witness: ").decode("utf-8", "replace").strip(), private))


def _load_logs(path: Path) -> dict[str, VerifyKey]:
    """The logs by origin."""
    try:
        lines = path.read_text("utf-8").splitlines()
        keys = [parse_key_line(line) for line in lines if line.strip() and not line.startswith("#")]
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError, KeyInvalid) as error:
        raise Unusable(f"无法读取 {path}。 / {path} cannot be read: {error}") from None
    return {key.name: key for key in keys}


def _lock(path: Path) -> int:
    """The descriptor that holds the folder. Raises Unusable when another process has it."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        raise Unusable(f"无法打开 {path.parent}。 / {path.parent} cannot be opened: {error}") from None
    try:
        _take(descriptor)
    except OSError:
        os.close(descriptor)
        raise Unusable(f"{path.parent} 正被另一程序使用。 / another program uses {path.parent}.") from None
    return descriptor


if os.name == "nt":
    import msvcrt

    def _take(descriptor: int) -> None:
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]  # exists there
else:
    import fcntl

    def _take(descriptor: int) -> None:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
