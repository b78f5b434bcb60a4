"""A second reader of the log, written from the C2SP texts (signed-note, tlog-checkpoint, tlog-tiles, tlog-proof) and
RFC 6962 alone. It shares no code with `custody` and no way of computing: every hash comes from section 2.1's recursion.

    python -m tests.independent.reader PREFIX VKEY [--token TOKEN] [--old FILE]

checks the whole log behind an URL, or in a folder laid out the same way. Exit 1 and a reason when anything is wrong.
"""

from __future__ import annotations

import argparse
import base64
import hashlib
import json
import sys
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

Get = Callable[[str], bytes]


class Wrong(Exception):
    """What was read is not what the texts say."""


# --- RFC 6962 section 2.1 ---


def leaf(entry: bytes) -> bytes:
    return hashlib.sha256(b"\x00" + entry).digest()


def mth(hashes: list[bytes]) -> bytes:
    """Merkle Tree Hash over leaf hashes."""
    if not hashes:
        return hashlib.sha256(b"").digest()
    if len(hashes) == 1:
        return hashes[0]
    k = split_at(len(hashes))
    return hashlib.sha256(b"\x01" + mth(hashes[:k]) + mth(hashes[k:])).digest()


def split_at(n: int) -> int:
    """The largest power of two smaller than n."""
    k = 1
    while 2 * k < n:
        k *= 2
    return k


def root_along_path(index: int, size: int, node: bytes, path: list[bytes]) -> bytes:
    """The root that PATH(m, D[n]) of section 2.1.1 leads to, taken apart from the outside in."""
    if size == 1:
        if path:
            raise Wrong("a path that goes on below its leaf")
        return node
    if not path:
        raise Wrong("a path that ends too early")
    k, outer = split_at(size), path[-1]
    if index < k:
        left, right = root_along_path(index, k, node, path[:-1]), outer
    else:
        left, right = outer, root_along_path(index - k, size - k, node, path[:-1])
    return hashlib.sha256(b"\x01" + left + right).digest()


def roots_along_proof(old: int, size: int, proof: list[bytes], old_root: bytes, whole: bool) -> tuple[bytes, bytes]:
    """Old and new root that SUBPROOF(m, D[n], b) of section 2.1.2 leads to."""
    if old == size:
        if whole:
            if proof:
                raise Wrong("a proof that goes on")
            return old_root, old_root
        if len(proof) != 1:
            raise Wrong("a proof of a wrong length")
        return proof[0], proof[0]
    if not proof:
        raise Wrong("a proof that ends too early")
    k, outer = split_at(size), proof[-1]
    if old <= k:
        before, after = roots_along_proof(old, k, proof[:-1], old_root, whole)
        return before, hashlib.sha256(b"\x01" + after + outer).digest()
    before, after = roots_along_proof(old - k, size - k, proof[:-1], old_root, False)
    return tuple(hashlib.sha256(b"\x01" + outer + half).digest() for half in (before, after))  # type: ignore[return-value]


# --- signed-note, tlog-checkpoint ---


@dataclass(frozen=True)
class Checkpoint:
    size: int
    root: bytes


def open_checkpoint(note: str, vkey: str) -> Checkpoint:
    """The checkpoint of the log with this verifier key."""
    name, key_hash, encoded = vkey.split("+", 2)
    raw = base64.b64decode(encoded)
    if raw[0] != 1 or hashlib.sha256(name.encode() + b"\n" + raw).digest()[:4].hex() != key_hash:
        raise Wrong("not an Ed25519 verifier key")
    text, signatures = note[: note.rindex("\n\n") + 1], note[note.rindex("\n\n") + 2 :]
    for line in signatures.splitlines():
        dash, by, signature = line.split(" ")
        signed = base64.b64decode(signature)
        if (dash, by, signed[:4].hex()) == ("\u2014", name, key_hash):
            try:
                Ed25519PublicKey.from_public_bytes(raw[1:]).verify(signed[4:], text.encode())
            except InvalidSignature:
                raise Wrong("the checkpoint's signature does not hold") from None
            break
    else:
        raise Wrong("the checkpoint is not signed by this key")
    origin, size, root = text.splitlines()
    if origin != name or str(int(size)) != size:
        raise Wrong("not a checkpoint of this log")
    return Checkpoint(int(size), base64.b64decode(root))


def signed_by(vkey: str, signature: str, message: bytes) -> bool:
    raw = base64.b64decode(vkey.split("+", 2)[2])
    try:
        Ed25519PublicKey.from_public_bytes(raw[1:]).verify(base64.b64decode(signature), message)
    except (InvalidSignature, ValueError):
        return False
    return True


def follow_rotations(vkey: str, entries: Iterable[bytes]) -> str:
    """The log's key after every rotation among the entries, as custody/spec/keys.md tells it: each key signs for the
    next one, and the next for it."""
    for entry in entries:
        payload = json.loads(base64.b64decode(json.loads(entry)["payload"]))
        if payload.get("type") != "key.rotated.v1" or payload["source"] != "hub" or payload["role"] != "log":
            continue
        old, new = payload["old_line"], payload["new_line"]
        text = f"custodock key rotation v1\nlog\n{old}\n{new}\n".encode()
        if old != vkey:
            continue  # the key that was given is a later one
        if not signed_by(old, payload["old_signature"], text) or not signed_by(new, payload["new_signature"], text):
            raise Wrong("a rotation of the log's key that the keys have not signed")
        vkey = new
    return vkey


# --- tlog-tiles ---


def path_of(level: str, index: int, width: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    groups = [digits[i : i + 3] for i in range(0, len(digits), 3)]
    path = "/".join([*("x" + group for group in groups[:-1]), groups[-1]])
    return f"tile/{level}/{path}" + (f".p/{width}" if width < 256 else "")


def level_hashes(get: Get, level: int, size: int) -> list[bytes]:
    """Every hash of one level in the tree of `size`."""
    count = size // 256**level
    found: list[bytes] = []
    for index in range(-(-count // 256)):
        width = min(256, count - index * 256)
        raw = get(path_of(str(level), index, width))
        if len(raw) != 32 * width:
            raise Wrong(f"tile {level}/{index} has {len(raw)} bytes")
        found += [raw[i : i + 32] for i in range(0, len(raw), 32)]
    return found


def bundle_entries(get: Get, index: int, width: int) -> list[bytes]:
    raw = get(path_of("entries", index, width))
    entries = []
    while raw:
        length = int.from_bytes(raw[:2], "big")
        if len(raw) < 2 + length:
            raise Wrong(f"bundle {index} is cut")
        entries.append(raw[2 : 2 + length])
        raw = raw[2 + length :]
    if len(entries) != width:
        raise Wrong(f"bundle {index} holds {len(entries)} entries")
    return entries


class Log:
    """The whole log as its tiles give it: leaves of level 0, compared with every other level and the checkpoint."""

    def __init__(self, get: Get, vkey: str) -> None:
        """`vkey` may be the log's key of any time: then the entries are read to follow its rotations."""
        self.note = get("checkpoint").decode()
        if f"+{self._key_hash()}+" not in vkey:
            vkey = follow_rotations(vkey, self._claimed_entries(get))
        self.vkey = vkey
        self.checkpoint = open_checkpoint(self.note, vkey)
        size = self.checkpoint.size
        self.leaves = level_hashes(get, 0, size)
        if mth(self.leaves) != self.checkpoint.root:
            raise Wrong("the tiles do not give the checkpoint's root")
        level = 1
        while size // 256**level:
            unit = 256**level
            for i, node in enumerate(level_hashes(get, level, size)):
                if mth(self.leaves[i * unit : (i + 1) * unit]) != node:
                    raise Wrong(f"hash {i} of level {level} is not that of its entries")
            level += 1
        self._get = get

    def _key_hash(self) -> str:
        line = self.note[self.note.rindex("\n\n") + 2 :].splitlines()[0]
        return base64.b64decode(line.split(" ")[2])[:4].hex()

    def _claimed_entries(self, get: Get) -> Iterator[bytes]:
        """What lies there under the size that the checkpoint claims: nothing of it is proved yet."""
        size = int(self.note.splitlines()[1])
        for index in range(-(-size // 256)):
            yield from bundle_entries(get, index, min(256, size - index * 256))

    def check_entries(self) -> int:
        """Every entry gives its leaf; how many there are."""
        for index in range(-(-len(self.leaves) // 256)):
            wanted = self.leaves[index * 256 : (index + 1) * 256]
            if [leaf(entry) for entry in bundle_entries(self._get, index, len(wanted))] != wanted:
                raise Wrong(f"the entries of bundle {index} do not give its leaves")
        return len(self.leaves)

    def check_grew_from(self, old: Checkpoint) -> None:
        """Every entry under an older checkpoint is still there."""
        if old.size > len(self.leaves) or mth(self.leaves[: old.size]) != old.root:
            raise Wrong("the log is not a continuation of the older checkpoint")


def check_proof_file(text: str, entry: bytes, vkey: str) -> int:
    """A tlog-proof and the entry it is about; the entry's index."""
    head, note = text.split("\n\n", 1)
    first, index, *hashes = head.split("\n")
    if first != "c2sp.org/tlog-proof@v1" or not index.startswith("index "):
        raise Wrong("not a tlog-proof")
    checkpoint, at = open_checkpoint(note, vkey), int(index[6:])
    if root_along_path(at, checkpoint.size, leaf(entry), [base64.b64decode(h) for h in hashes]) != checkpoint.root:
        raise Wrong("the proof does not lead to its checkpoint")
    return at


# --- getting ---


def from_url(prefix: str, token: str = "") -> Get:
    def get(path: str) -> bytes:
        request = urllib.request.Request(f"{prefix}/{path}")  # noqa: S310 (the log's address is the caller's)
        if token:
            request.add_header("Authorization", f"Bearer {token}")
        with urllib.request.urlopen(request, timeout=30) as answer:  # noqa: S310
            return bytes(answer.read())

    return get


def from_folder(folder: Path) -> Get:
    return lambda path: (folder / path).read_bytes()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("prefix")
    parser.add_argument("vkey")
    parser.add_argument("--token", default="")
    parser.add_argument("--old", type=Path)
    asked = parser.parse_args()
    by_url = asked.prefix.startswith(("http://", "https://"))
    get = from_url(asked.prefix, asked.token) if by_url else from_folder(Path(asked.prefix))
    try:
        log = Log(get, asked.vkey)
        entries = log.check_entries()
        if asked.old:
            log.check_grew_from(open_checkpoint(asked.old.read_text(encoding="utf-8"), asked.vkey))
    except Wrong as error:
        sys.exit(f"reader: {error}")
    print(f"{entries} entries, all under the checkpoint")


if __name__ == "__main__":
    main()
