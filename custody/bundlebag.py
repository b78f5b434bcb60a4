"""A bundle as a BagIt bag: its tag manifest, payload manifest and SHA256SUMS. Pure.

The numbers are those of the steps in `bundlecheck.py`.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

from custody.bag import BAGIT, DATA, DECLARATION, PAYLOAD_MANIFEST, TAG_MANIFEST
from custody.bundle import FIXED, OUTSIDE_THE_TAG_MANIFEST, SUMS
from custody.bundlecontents import Contents
from custody.errors import FormatError
from custody.finding import Finding, Kind
from custody.sums import checksum_line

MORE_LINES = 1000  # that a list may have beyond the files that are here: each of them is named as missing


class BundleBag:
    """The lists of one bundle."""

    def __init__(self, contents: Contents) -> None:
        """Begin; findings go to `contents`."""
        self._contents = contents
        self._waiting: list[Finding] = []
        self._tags: dict[bytes, str] = {}  # digests by path as the tag manifest gives them
        self._payload: dict[bytes, str] = {}

    def begin(self) -> None:
        """4. Begins: but for a tag manifest shown to be another one, what 2 and 3 found waits until `end`.

        A key file or checkpoint that was edited then is named itself, before all that does not fit because of it.
        """
        kinds = (Kind.BAG_ALTERED, Kind.KEY_FILE_ALTERED, Kind.KEY_FILE_MISSING, Kind.KEY_FILE_OTHER)
        self._waiting = [f for f in self._contents.findings if f.kind not in kinds]
        self._contents.findings = [f for f in self._contents.findings if f.kind in kinds]

    def end(self) -> None:
        """4. Ends."""
        self._contents.findings += self._waiting

    def read_declaration(self, raw: bytes | None) -> None:
        """4. bagit.txt; when it is missing, the tag manifest says so."""
        if raw is not None and raw != DECLARATION:
            self._contents.find(Kind.BAG_ALTERED, BAGIT, detail="not BagIt 1.0 in UTF-8")

    def read_tag_manifest(self, lines: Iterable[tuple[bytes, str]] | None) -> None:
        """4. The tag manifest; None when it is missing. A file that it lists is then to be given to `tag_file`."""
        if lines is None:
            self._contents.find(Kind.BAG_ALTERED, TAG_MANIFEST, detail="it is missing")
            return
        if self._read_lines(lines, self._tags, TAG_MANIFEST, len(self._contents.entries)):
            for path, kind in sorted(self._contents.entries.items()):
                if kind != "folder" and path not in self._tags and not _stands_outside(path):
                    self._contents.take_out(path)
                    self._contents.find(Kind.BAG_FILE_UNKNOWN, path, actual=kind)
        for path in sorted(FIXED - OUTSIDE_THE_TAG_MANIFEST):
            if path not in self._tags:
                self._contents.find(Kind.BAG_ALTERED, TAG_MANIFEST, detail=f"it does not list {path.decode()}")

    @property
    def listed(self) -> list[bytes]:
        """4. The files that the tag manifest lists."""
        return list(self._tags)

    def tag_file(self, path: bytes, sha256: str | None) -> None:
        """4. What a listed file digests to; None when it is not there or no regular file."""
        if sha256 is None:
            if not self._contents.hides(path):
                self._contents.find(Kind.BAG_FILE_MISSING, path)
        elif sha256 != self._tags[path]:
            self._contents.find(Kind.BAG_FILE_ALTERED, path)

    def read_payload_manifest(
        self, lines: Iterable[tuple[bytes, str]] | None, sealed: Mapping[bytes, str], *, seals_lack: bool
    ) -> None:
        """8. The payload manifest against what is `sealed`, digests by path; None when it is missing: step 4 says so.

        `seals_lack`: a line without a seal is no finding.
        """
        if lines is None:
            return
        self._read_lines(lines, self._payload, PAYLOAD_MANIFEST, len(self._contents.entries) + len(sealed))
        for path in sorted(self._payload.keys() | sealed.keys()):
            unknown = path not in sealed and seals_lack
            if self._payload.get(path) != sealed.get(path) and not unknown:
                self._contents.find(
                    Kind.BAG_ALTERED, PAYLOAD_MANIFEST, detail=f"its line of {path.decode(errors='replace')}"
                )

    def sums_lines(self) -> list[bytes]:
        """8. What SHA256SUMS holds."""
        return [checksum_line(digest, path) for path, digest in sorted(self._payload.items())]

    def read_sums(self, *, as_they_should: bool) -> None:
        """8. Whether SHA256SUMS holds exactly `sums_lines`."""
        if not as_they_should:
            self._contents.find(Kind.SUMS_ALTERED, SUMS, detail="not the payload manifest's lines")

    def _read_lines(
        self, lines: Iterable[tuple[bytes, str]], into: dict[bytes, str], name: bytes, expected: int
    ) -> bool:
        """Whether every line reads."""
        try:
            into.update(_no_more_than(expected + MORE_LINES, lines))
            reads = True
        except FormatError as error:
            self._contents.find(Kind.BAG_ALTERED, name, detail=str(error))
            reads = False
        if any(path.startswith(DATA) != (into is self._payload) for path in into):
            self._contents.find(Kind.BAG_ALTERED, name, detail="it lists a file that belongs into the other manifest")
        return reads


def _no_more_than(most: int, lines: Iterable[tuple[bytes, str]]) -> Iterator[tuple[bytes, str]]:
    """A list that is longer would fill the memory. Raises FormatError."""
    for number, line in enumerate(lines):
        if number >= most:
            raise FormatError("it lists far more files than are here")
        yield line


def _stands_outside(path: bytes) -> bool:
    return path.startswith(DATA) or path in OUTSIDE_THE_TAG_MANIFEST
