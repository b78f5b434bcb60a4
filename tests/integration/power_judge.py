"""What must be true of a vault after a power cut, told from what had been announced before it. Reads, never repairs."""

import hashlib
import os
import shutil
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from custody.checkpoint import VerifyKey
from custody.envelope import EVENT_TYPE, STATEMENT_TYPE, open_envelope, parse_envelope
from custody.events import decode_chain, decode_event
from custody.stationevents import SegmentSealed
from custody.sums import checksum_path

MIB = 1 << 20
AGAIN_BYTES_MAX = 16 * MIB  # what a stop may cost of a file under way: longcopy.py
PROOF_BYTES_MAX = 2 * MIB  # first chunk and last one proven, read from the card to see that the file is the same
_OUR_FOLDERS = {".custody", ".staging", ".station"}
_OUR_FILES = {".lock", "SHA256SUMS", ".SHA256SUMS.new"}  # the last: a closing that was cut short


@dataclass(frozen=True, slots=True)
class Promise:
    """What was announced: outbox rows by seq, with their hash, and the seals among them as (vault path, sha256)."""

    rows: dict[int, str]
    seals: dict[int, tuple[str, str]]
    ended: bool  # the command had said that all is complete


def footage(vault: Path) -> Iterator[Path]:
    """Every file under a final name."""
    for folder, folders, files in os.walk(vault):
        folders[:] = [name for name in folders if name not in _OUR_FOLDERS]
        yield from (Path(folder, name) for name in files if name not in _OUR_FILES)


def digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def outbox(database: Path, scratch: Path) -> dict[int, bytes]:
    """The envelopes, by seq, read from a copy so that looking alters nothing."""
    if not database.exists():
        return {}
    shutil.rmtree(scratch, ignore_errors=True)
    scratch.mkdir()
    for suffix in ("", "-wal"):
        if (part := database.with_name(database.name + suffix)).exists():
            shutil.copyfile(part, scratch / part.name)
    db = sqlite3.connect(scratch / database.name)
    try:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        if not db.execute("SELECT 1 FROM sqlite_schema WHERE name = 'outbox'").fetchone():
            return {}
        rows = db.execute("SELECT seq, sha256, envelope FROM outbox").fetchall()
    finally:
        db.close()
    assert all(hashlib.sha256(envelope).digest() == sha256 for _, sha256, envelope in rows)
    return {seq: envelope for seq, _, envelope in rows}


def judge_chain(envelopes: dict[int, bytes]) -> None:
    """Sequence numbers without a gap, each envelope naming the hash of the one before."""
    assert sorted(envelopes) == list(range(1, len(envelopes) + 1))
    for seq in range(2, len(envelopes) + 1):
        parsed = parse_envelope(envelopes[seq])
        _, number, previous = decode_chain(parsed.payload_type, parsed.payload)
        assert (number, previous) == (seq, hashlib.sha256(envelopes[seq - 1]).hexdigest())


def judge_promise(vault: Path, promise: Promise, truth: dict[str, str], scratch: Path) -> None:
    """Right after the cut, before the agent runs again. `truth`: sha256 to name of every file of the source.

    1. The database opens and is sound; the chain is whole.
    2. Every announced envelope is there, byte for byte, under its seq.
    3. Every announced seal has its file under its final name.
    4. Under a final name stands a whole file of the source and nothing else, announced or not.
    """
    envelopes = outbox(vault / ".station/station.db", scratch)  # 1
    judge_chain(envelopes)
    for seq, sha256 in promise.rows.items():  # 2
        assert seq in envelopes, f"announced envelope {seq} of {max(promise.rows)} is lost; {len(envelopes)} are there"
        assert hashlib.sha256(envelopes[seq]).hexdigest() == sha256, f"another envelope {seq} than was announced"
    standing = {str(path.relative_to(vault)): digest(path) for path in footage(vault)}
    for path, sha256 in promise.seals.values():  # 3
        assert path in standing, f"sealed and announced, but not in the vault: {path}"
        assert standing[path] == sha256, f"sealed and announced, but damaged: {path}"
    for path, sha256 in standing.items():  # 4
        assert truth.get(sha256) == Path(path).name, f"not a whole file of the source: {path}"
    if promise.ended:
        assert list(vault.rglob("completed.dsse.json")), "announced as complete, but the docking's end is lost"


def judge_recovery(vault: Path, promise: Promise, truth: dict[str, str], key: VerifyKey, scratch: Path) -> None:
    """After the agent ran again to its end.

    1. The chain goes on from what was announced; every envelope carries the station's signature.
    2. Every file of the source is in the vault once, sealed once, and nothing else is.
    3. sha256sum agrees. 4. Nothing is left in staging, nor of a closing that was cut short.
    """
    envelopes = outbox(vault / ".station/station.db", scratch)  # 1
    judge_chain(envelopes)
    for seq, sha256 in promise.rows.items():
        assert hashlib.sha256(envelopes[seq]).hexdigest() == sha256, f"envelope {seq} changed after it was announced"
    sealed = dict(seals(envelopes, key).values())  # 2
    standing = {str(path.relative_to(vault)) for path in footage(vault)}
    assert sealed.keys() == standing
    assert Counter(sealed.values()) == Counter(truth.keys())
    listed: dict[str, str] = {}
    for sums in vault.rglob("SHA256SUMS"):  # 3
        checked = subprocess.run(
            ["sha256sum", "--check", "--strict", "--quiet", sums.name],
            cwd=sums.parent,
            capture_output=True,
            check=False,
        )
        assert checked.returncode == 0, checked.stdout + checked.stderr
        for line in sums.read_bytes().splitlines(keepends=True):
            name = checksum_path(line)
            assert name is not None
            listed[str((sums.parent / os.fsdecode(name)).relative_to(vault))] = line[:64].decode()
    assert listed == sealed
    assert not [*(vault / ".staging").iterdir(), *vault.rglob(".*.new")]  # 4


def seals(envelopes: dict[int, bytes], key: VerifyKey) -> dict[int, tuple[str, str]]:
    """(vault path, sha256) of each seal, by seq; every signature is verified. Raises FormatError, SignatureInvalid."""
    found = {}
    for seq, raw in envelopes.items():
        payload = open_envelope(raw, key, EVENT_TYPE, STATEMENT_TYPE)
        event = decode_event(parse_envelope(raw).payload_type, payload)
        if isinstance(event, SegmentSealed):
            found[seq] = (event.vault_path, str(event.sha256))
    return found


def judge_read_again(reached: dict[str, int], read: dict[str, int], sizes: dict[str, int]) -> None:
    """Of each file at most 16 MiB are copied again, counted by what was read from the card.

    `reached`: how far each file was read before the cut; `read`: bytes read of it by the run after the cut.
    """
    for name, size in sizes.items():
        allowed = size - reached.get(name, 0) + AGAIN_BYTES_MAX + PROOF_BYTES_MAX
        assert read.get(name, 0) <= allowed, f"{name}: {read[name]} bytes read again, {allowed} are allowed"
