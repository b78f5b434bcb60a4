"""What several dockings prove about each other, decided purely. See ``custody/spec/verify.md``.

 9. A station's sequence numbers are unique, and each envelope names the hash of the one before it where both are here.
10. A docking lies in a vault once.
11. Entries saved in an earlier docking are sealed there, where that docking is here too.

What is missing altogether, such as a docking removed as a whole, only the hub's log can show: gaps in the sequence are
information, since events that are no seals never lie in a vault.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import blake2b

from custody.digest import HASH_BYTES
from custody.finding import Finding, Kind
from custody.manifest import AlreadySaved
from custody.signers import Statement
from custody.verify import DockingCheck


class VaultCheck:
    """Takes every docking's statements as they are accepted; memory is about 400 bytes for each."""

    def __init__(self) -> None:
        """Begin with no docking."""
        self._links: dict[str, dict[int, tuple[bytes, bytes]]] = {}  # source -> seq -> hash with previous hash, folder
        self._conflicts: list[Finding] = []
        self._folders: dict[str, list[tuple[bytes, bytes]]] = {}  # docking id -> (vault's root, folder)
        self._damaged: set[str] = set()  # dockings whose entries are not all known
        self._saved: set[bytes] = set()  # see `_key`
        self._references: list[tuple[bytes, AlreadySaved]] = []

    def add_statement(self, folder: bytes, statement: Statement) -> None:
        """9. One accepted envelope."""
        event = statement.event
        hashes = statement.envelope_hash + bytes.fromhex(event.previous)
        other, there = self._links.setdefault(event.source, {}).setdefault(event.seq, (hashes, folder))
        if other != hashes:
            self._conflicts.append(
                Finding(Kind.SEQ_REUSED, folder, expected=event.seq, actual=event.source, detail=_shown(there))
            )

    def add_saved(self, docking_id: str, sha256: str, size_bytes: int) -> None:
        """11. A sealed file."""
        self._saved.add(_key(docking_id, sha256, size_bytes))

    def add_docking(self, root: bytes, check: DockingCheck) -> None:
        """10., 11. A docking that was looked at, and the vault it lies in."""
        facts = check.closed or check.header
        if facts is not None:
            self._folders.setdefault(facts.docking_id, []).append((root, check.folder))
            if not check.entries_known:
                self._damaged.add(facts.docking_id)
        self._references += [(check.folder, reference) for reference in check.references]

    def findings(self) -> Iterator[Finding]:
        """Everything wrong, and information, once all dockings were added."""
        yield from self._conflicts
        for source, links in self._links.items():
            yield from _chain_findings(source, links)
        for places in self._folders.values():
            yield from _twice(places)
        yield from self._reference_findings()

    def _reference_findings(self) -> Iterator[Finding]:
        elsewhere: dict[tuple[bytes, str], int] = {}
        for folder, reference in self._references:
            saved_in = reference.saved_in
            if saved_in not in self._folders:
                elsewhere[folder, saved_in] = elsewhere.get((folder, saved_in), 0) + 1
                continue
            known = saved_in not in self._damaged
            if known and _key(saved_in, reference.sha256, reference.size_bytes) not in self._saved:
                path = reference.path.encode()
                yield Finding(Kind.REFERENCE_WRONG, folder, path, actual=reference.entry, detail=saved_in)
        for (folder, docking_id), count in elsewhere.items():
            yield Finding(Kind.REFERENCE_ELSEWHERE, folder, actual=count, detail=docking_id)


def _chain_findings(source: str, links: dict[int, tuple[bytes, bytes]]) -> Iterator[Finding]:
    first, last = min(links), max(links)
    for seq, (hashes, folder) in sorted(links.items()):
        before = links.get(seq - 1)
        if before is not None and before[0][:HASH_BYTES] != hashes[HASH_BYTES:]:
            yield Finding(Kind.CHAIN_BROKEN, folder, expected=seq, actual=source)
    absent = last - first + 1 - len(links)
    if absent:
        yield Finding(Kind.SEQS_ABSENT, links[first][1], expected=f"{first}-{last}", actual=absent, detail=source)


def _twice(places: list[tuple[bytes, bytes]]) -> Iterator[Finding]:
    first_root, first_folder = places[0]
    for root, folder in places[1:]:
        kind = Kind.DOCKING_TWICE if root == first_root else Kind.COPY_OF_DOCKING
        yield Finding(kind, folder, detail=_shown(first_folder))


def _key(docking_id: str, sha256: str, size_bytes: int) -> bytes:
    """Stands for one saved file: 16 bytes instead of three values."""
    return blake2b(f"{docking_id}\n{sha256}\n{size_bytes}".encode(), digest_size=16).digest()


def _shown(folder: bytes) -> str:
    return folder.decode(errors="surrogateescape")
