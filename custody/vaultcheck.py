"""What several dockings prove about each other, decided purely. See ``custody/spec/verify.md``.

 9. A station's sequence numbers are unique, and each envelope names the hash of the one before it where both are here.
10. A docking lies in a vault once.
11. Entries saved in an earlier docking are sealed there, where that docking is here too.

What is missing altogether, such as a docking removed as a whole, only the hub's log can show: gaps in the sequence are
information, since events that are no seals never lie in a vault.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custody.finding import Finding, Kind
from custody.manifest import AlreadySaved
from custody.signers import Statement
from custody.verify import DockingCheck

Saved = tuple[str, bytes]  # docking id, and SHA-256 with size of a file


@dataclass(frozen=True, slots=True)
class _Link:
    hash: bytes
    previous: bytes
    folder: bytes


class VaultCheck:
    """Takes every docking's statements as they are accepted; about 500 bytes of memory for each."""

    def __init__(self) -> None:
        """Begin with no docking."""
        self._links: dict[str, dict[int, _Link]] = {}  # source -> seq -> link
        self._conflicts: list[Finding] = []
        self._folders: dict[str, list[tuple[bytes, bytes]]] = {}  # docking id -> (vault's root, folder)
        self._saved: set[Saved] = set()
        self._references: list[tuple[bytes, AlreadySaved]] = []

    def add_statement(self, folder: bytes, statement: Statement) -> None:
        """9. One accepted envelope."""
        event = statement.event
        link = _Link(statement.envelope_hash, bytes.fromhex(event.previous), folder)
        other = self._links.setdefault(event.source, {}).setdefault(event.seq, link)
        if other.hash != link.hash:
            self._conflicts.append(
                Finding(Kind.SEQ_REUSED, folder, expected=event.seq, actual=event.source, detail=_shown(other.folder))
            )

    def add_saved(self, docking_id: str, sha256: str, size_bytes: int) -> None:
        """11. A sealed file."""
        self._saved.add((docking_id, _key(sha256, size_bytes)))

    def add_docking(self, root: bytes, check: DockingCheck) -> None:
        """10., 11. A docking that was looked at, and the vault it lies in."""
        facts = check.closed or check.header
        if facts is not None:
            self._folders.setdefault(facts.docking_id, []).append((root, check.folder))
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
            if reference.saved_in not in self._folders:
                key = (folder, reference.saved_in)
                elsewhere[key] = elsewhere.get(key, 0) + 1
            elif (reference.saved_in, _key(reference.sha256, reference.size_bytes)) not in self._saved:
                yield Finding(
                    Kind.REFERENCE_WRONG,
                    folder,
                    reference.path.encode(),
                    actual=reference.entry,
                    detail=reference.saved_in,
                )
        for (folder, docking_id), count in elsewhere.items():
            yield Finding(Kind.REFERENCE_ELSEWHERE, folder, actual=count, detail=docking_id)


def _chain_findings(source: str, links: dict[int, _Link]) -> Iterator[Finding]:
    first, last = min(links), max(links)
    for seq, link in sorted(links.items()):
        before = links.get(seq - 1)
        if before is not None and before.hash != link.previous:
            yield Finding(Kind.CHAIN_BROKEN, link.folder, expected=seq, actual=source)
    absent = last - first + 1 - len(links)
    if absent:
        yield Finding(Kind.SEQS_ABSENT, links[first].folder, expected=f"{first}-{last}", actual=absent, detail=source)


def _twice(places: list[tuple[bytes, bytes]]) -> Iterator[Finding]:
    first_root, first_folder = places[0]
    for root, folder in places[1:]:
        kind = Kind.DOCKING_TWICE if root == first_root else Kind.COPY_OF_DOCKING
        yield Finding(kind, folder, detail=_shown(first_folder))


def _key(sha256: str, size_bytes: int) -> bytes:
    return bytes.fromhex(sha256) + size_bytes.to_bytes(8)


def _shown(folder: bytes) -> str:
    return folder.decode(errors="backslashreplace")
