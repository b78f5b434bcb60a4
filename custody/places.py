"""Where dockings lie below a path, and what lies in a vault beside them."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from custody.bundle import looks_like_bundle
from custody.disk import list_folder, list_tree, reason
from custody.finding import Finding, Kind

STAGING = b".staging"
DOCKING_DEPTH = 5  # <vault>/<camera>/<yyyy>/<mm>/<dd>/<docking id>
_DOCKING_PLACE = re.compile(rb"(/.*)?/[^/]+/[0-9]{4}/[0-9]{2}/[0-9]{2}/[^/]+", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Places:
    """Where things lie below a path."""

    dockings: tuple[bytes, ...]
    bare: tuple[bytes, ...]  # folders where a docking should lie, without .custody
    staging: tuple[bytes, ...]
    bundles: tuple[bytes, ...]
    unreadable: tuple[tuple[bytes, str], ...]


def find_places(top: bytes) -> Places:
    """Walk below `top`, not into dockings."""
    dockings, bare, staging, bundles, unreadable = [], [], [], [], []
    waiting = [top]
    while waiting:
        folder = waiting.pop()
        try:
            names = list_folder(folder)
        except OSError as error:
            unreadable.append((folder, reason(error)))
            continue
        if any(name == b".custody" for name, _ in names):
            dockings.append(folder)
            continue
        if looks_like_bundle({name for name, _ in names}):
            bundles.append(folder)
        if _DOCKING_PLACE.fullmatch(folder) and names:
            bare.append(folder)
        for name, kind in names:
            if name == STAGING and kind == "folder":
                staging.append(os.path.join(folder, name))
            elif kind == "folder":
                waiting.append(os.path.join(folder, name))
    roots = {vault_root(d) for d in dockings} | {os.path.dirname(s) for s in staging}
    # A folder like 2026/03/01/x counts as a docking only inside a vault: a photo album looks the same.
    bare = [b for b in bare if vault_root(b) in roots]
    return Places(tuple(dockings), tuple(bare), tuple(staging), tuple(bundles), tuple(unreadable))


def enclosing_docking(path: bytes) -> bytes | None:
    """The docking folder at or above `path`."""
    while True:
        if os.path.lexists(os.path.join(path, b".custody")):
            return path
        if path == os.path.dirname(path):
            return None
        path = os.path.dirname(path)


def vault_root(docking: bytes) -> bytes | None:
    """The vault whose layout this folder's place follows."""
    if not _DOCKING_PLACE.fullmatch(docking):
        return None
    for _ in range(DOCKING_DEPTH):
        docking = os.path.dirname(docking)
    return docking


def around(places: Places, top: bytes) -> list[Finding]:
    """What lies in a vault beside its dockings."""
    findings = []
    for folder in places.bare:
        files = sum(kind != "folder" for kind in list_tree(folder).entries.values())
        if files:
            findings.append(Finding(Kind.CUSTODY_MISSING, folder, actual=files))
    for folder in places.staging:
        files = sum(kind == "file" for kind in list_tree(folder).entries.values())
        if files:
            findings.append(Finding(Kind.STAGING, os.path.dirname(folder), STAGING, actual=files))
    for root in sorted({root for d in places.dockings if (root := vault_root(d)) is not None}):
        findings += _strays(root, top)
    return findings


def _strays(root: bytes, top: bytes) -> list[Finding]:
    """Files above a vault's dockings, no deeper than `top` allows; names with a dot in the root are the vault's own."""
    findings = []
    waiting = [max(root, top, key=len)]  # the deeper one of two that lie on one line
    while waiting:
        folder = waiting.pop()
        depth = 0 if folder == root else os.path.relpath(folder, root).count(b"/") + 1
        if depth > DOCKING_DEPTH - 1:
            continue  # `top` is a docking
        try:
            names = list_folder(folder)
        except OSError as error:
            findings.append(Finding(Kind.UNREADABLE, folder, detail=reason(error)))
            continue
        for name, kind in names:
            path = os.path.join(folder, name)
            if depth == 0 and name.startswith(b"."):
                continue
            if kind != "folder":
                findings.append(Finding(Kind.STRAY, root, os.path.relpath(path, root), actual=kind))
            else:
                waiting.append(path)
    return findings
