"""What lies in a bundle, and what of it is accounted for by now. Pure: a listing in, findings out."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from custody.finding import Finding, Kind

TAKEN = "taken"


class Contents:
    """The listing of a bundle's folder, and what was found wrong. Whatever is accounted for is taken out of it."""

    def __init__(self, folder: bytes, entries: Mapping[bytes, str]) -> None:
        """Begin with everything unaccounted for; `entries` gives the kind of each path."""
        self.folder = folder
        self.entries = entries
        self.findings: list[Finding] = []
        self._left = dict(entries)
        self._hidden: set[bytes] = set()

    def find(self, kind: Kind, path: bytes | None = None, **facts: object) -> None:
        """Note a finding about `path` of this bundle."""
        self.findings.append(Finding(kind, self.folder, path, **facts))  # type: ignore[arg-type]

    def take_out(self, path: bytes) -> str | None:
        """Account for `path` and the folders that hold it: its kind, None when nothing lies there."""
        found = self._left.get(path)
        if found is not None and found != "folder":
            self._left[path] = TAKEN
            folder = path.rpartition(b"/")[0]
            while folder and self._left.get(folder) == "folder":
                self._left[folder] = TAKEN
                folder = folder.rpartition(b"/")[0]
        return found

    def left(self) -> Iterator[tuple[bytes, str]]:
        """What is not accounted for, in order, with its kind."""
        return ((path, kind) for path, kind in sorted(self._left.items()) if kind != TAKEN)

    def hide(self, folder: bytes, why: str) -> None:
        """A folder that cannot be read: what is not seen there is not missing."""
        self._hidden.add(folder)
        self._left.pop(folder, None)
        self.find(Kind.UNREADABLE, folder, detail=why)

    def hides(self, path: bytes) -> bool:
        """Whether a folder that holds `path` cannot be read."""
        while path and path not in self._hidden:
            path = path.rpartition(b"/")[0]
        return path in self._hidden

    def is_file(self, path: bytes) -> bool:
        """Whether the listing shows a regular file there: whatever else lies there is never opened, nor followed."""
        return self.entries.get(path) == "file"
