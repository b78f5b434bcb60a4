"""Where everything lies in a bundle, and the forms of its small files. Pure. See ``custody/spec/bundle.md``.

Writer (the hub) and verifier share this page of names; nothing else is shared between them.
"""

from __future__ import annotations

import re

from custody.bag import BAG_INFO, BAGIT, DATA, PAYLOAD_MANIFEST, TAG_MANIFEST
from custody.digest import CHUNK_BYTES
from custody.stationevents import SegmentSealed
from custody.verify import PREFIX_PARTS

SUMS = b"SHA256SUMS"
CHECKPOINT = b"checkpoint"
REGISTER = b"register.csv"
PAGE = "说明.html".encode()
VERIFIER = b"custody.pyz"
ENVELOPES = b"envelopes"
PROOFS = b"proofs"
LEAVES = b"leaves"
MANIFESTS = b"manifests"
KEYS = b"untrusted-keys"  # whoever alters a bundle can replace what lies in it
LOG_KEY = KEYS + b"/log.vkey"
HUB_KEY = KEYS + b"/hub.vkey"
STATION_KEY = KEYS + b"/station-"  # <id>.vkey
ROTATION = KEYS + b"/rotation-"  # <log index, 12 digits>.dsse.json: a key.rotated event, see keys.md
FINISHED = b"closing/finished.dsse.json"  # made when the tag manifest was final: these two stand outside it
FINISHED_PROOF = b"closing/finished.tlog-proof"
OUTSIDE_THE_TAG_MANIFEST = frozenset({TAG_MANIFEST, FINISHED, FINISHED_PROOF})
FIXED = frozenset({
    BAGIT, BAG_INFO, PAYLOAD_MANIFEST, TAG_MANIFEST, SUMS, CHECKPOINT, REGISTER, PAGE, VERIFIER, LOG_KEY, HUB_KEY,
    FINISHED, FINISHED_PROOF,
})  # fmt: skip
HUB_SOURCE = "hub"
_ENVELOPE = re.compile(re.escape(ENVELOPES) + rb"/(0|[1-9][0-9]{0,18})\.dsse\.json")


def envelope_path(index: int) -> bytes:
    """The envelope that is entry `index` of the log, byte for byte."""
    return b"%s/%d.dsse.json" % (ENVELOPES, index)


def envelope_index(path: bytes) -> int | None:
    """The log index that an envelope's path names; None for any other path."""
    match = _ENVELOPE.fullmatch(path)
    return None if match is None else int(match[1])


def proof_path(index: int) -> bytes:
    """The inclusion proof of entry `index`."""
    return b"%s/%d.tlog-proof" % (PROOFS, index)


def footage_path(seal: SegmentSealed) -> bytes:
    """Where the file of a seal lies: below its station, under the very path of the vault that the seal names."""
    return DATA + f"{seal.source}/{seal.vault_path}".encode()


def leaves_path(seal: SegmentSealed) -> bytes:
    """Where its chunk leaves lie; only a file of more than one chunk has some."""
    return LEAVES + f"/{seal.source}/{seal.vault_path}.leaves".encode()


def docking_folder(seal: SegmentSealed) -> str:
    """The folder of the seal's docking in its vault."""
    return "/".join(seal.vault_path.split("/")[:PREFIX_PARTS])


def manifest_path(station: str, folder: str) -> bytes:
    """The manifest of the docking that lies in this folder of the station's vault."""
    return MANIFESTS + f"/{station}/{folder}/manifest.jsonl".encode()


def seal_fault(seal: SegmentSealed) -> str | None:
    """Why a seal with a good signature cannot be followed; None when it can."""
    parts = seal.vault_path.split("/")
    if len(parts) <= PREFIX_PARTS or any(part in ("", ".", "..") or "\0" in part for part in parts):
        return "its path in the vault is none"
    if seal.chunk_bytes != CHUNK_BYTES or seal.chunk_count != -(-seal.size_bytes // CHUNK_BYTES):
        return "its number of chunks does not fit its size"
    return None


def looks_like_bundle(names: set[bytes]) -> bool:
    """Whether a folder with these names is a bundle, or what is left of one."""
    return len(names & {BAGIT, TAG_MANIFEST, PAYLOAD_MANIFEST, ENVELOPES, PROOFS, CHECKPOINT, VERIFIER}) >= 2
