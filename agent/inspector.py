"""The process that looks at a card before it is docked: `python -m agent.inspector FD SOURCE PARENT_PID`.

FD is a socket to its parent (inspection.py). It says `wire.LOADED`, reads one JSON line {"wanted": [globs],
"seconds": n}, looks at the source within its limits and answers one JSON line: what `inspection.parse_answer` reads, or
an error frame of `wire`.
It holds no key, no vault and no network. Names travel as latin-1 text, content as base64.
"""

import base64
import json
import socket
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from agent import wire
from agent.card import open_source
from agent.confine import confine, die_with, leave_network, limit_cpu
from agent.errors import AgentError, SourceError, SourceGone
from agent.freespace import SpaceSource
from agent.profiles.globs import Glob, any_matches
from agent.source import Entry, Source

MEMORY_BYTES = 512 << 20  # with The Sleuth Kit loaded it takes 60 MB
OPEN_FILES = 64
CPU_SECONDS = 60
FILE_BYTES_MAX = 64 * 1024
FILES_MAX = 16
PER_FOLDER = 20
PER_TOP = 200
SAMPLE_MAX = 2000
NAME_BYTES_MAX = 1024  # of one path in the sample; a longer one is counted and not shown
REQUEST_BYTES_MAX = 1 << 20


@dataclass(slots=True)
class Survey:
    """What one walk over a source found. Memory is bounded by the constants above."""

    wanted: tuple[Glob, ...]
    files: int = 0
    size_bytes: int = 0
    findings: int = 0
    newest_ns: int | None = None
    whole: bool = True  # the walk reached its end
    sample: list[Entry] = field(default_factory=list)
    small: list[Entry] = field(default_factory=list)
    _per_folder: Counter[tuple[bytes, ...]] = field(default_factory=Counter)
    _per_top: Counter[bytes] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Count one file; keep it if its folder and its top folder have room."""
        self.files += 1
        self.size_bytes += entry.size_bytes
        if entry.modified_ns is not None:
            self.newest_ns = max(entry.modified_ns, self.newest_ns or entry.modified_ns)
        if entry.size_bytes <= FILE_BYTES_MAX and len(self.small) < FILES_MAX and any_matches(self.wanted, entry.path):
            self.small.append(entry)
        folder, top = entry.path[:-1], entry.path[0] if len(entry.path) > 1 else b""
        if len(self.sample) >= SAMPLE_MAX or self._per_top[top] >= PER_TOP or self._per_folder[folder] >= PER_FOLDER:
            return
        if sum(map(len, entry.path)) <= NAME_BYTES_MAX:
            self._per_folder[folder] += 1
            self._per_top[top] += 1
            self.sample.append(entry)

    def sampled(self) -> list[Entry]:
        """The sample breadth first: files near the top before those below, in byte order."""
        return sorted(self.sample, key=lambda entry: (len(entry.path), entry.path))


def survey_source(source: Source, wanted: Sequence[str], seconds: float) -> Survey:
    """Walk over everything, at most for so long. Raises SourceError."""
    survey = Survey(tuple(map(Glob, wanted)))
    deadline = time.monotonic() + seconds
    for met in source.entries():
        if isinstance(met, Entry):
            survey.add(met)
        else:
            survey.findings += 1
        if time.monotonic() > deadline:
            survey.whole = False
            break
    return survey


def read_small(source: Source, entry: Entry) -> bytes | None:
    """The content of a small file; None where it cannot be read. Raises SourceGone."""
    try:
        reader = source.open(entry)
        try:
            data = bytearray(entry.size_bytes)
            count = reader.read_into(memoryview(data), 0)
            return bytes(data[:count])
        finally:
            reader.close()
    except SourceGone:
        raise
    except SourceError:
        return None


def answer(source: Source, wanted: Sequence[str], seconds: float) -> dict[str, Any]:
    """Everything about the source that the parent asks for. Raises SourceError."""
    survey = survey_source(source, wanted, seconds)
    spaces = source.spaces() if isinstance(source, SpaceSource) else ()
    contents = ((entry, read_small(source, entry)) for entry in survey.small)
    return {
        "t": "inspection",
        "facts": wire.facts_to_json(source.facts),
        "spaces": [[space.total_bytes, space.free_bytes, space.exact] for space in spaces],
        "files": survey.files,
        "size_bytes": survey.size_bytes,
        "findings": survey.findings,
        "newest_ns": survey.newest_ns,
        "whole": survey.whole,
        "sample": [[wire.path_to_text(e.path), e.size_bytes, e.modified_ns] for e in survey.sampled()],
        "contents": [
            [wire.path_to_text(entry.path), base64.b64encode(content).decode()]
            for entry, content in contents
            if content is not None
        ],
    }


def main() -> int:
    """Answer one request."""
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        if not die_with(int(sys.argv[2])):
            return 1
        confine(MEMORY_BYTES, OPEN_FILES)
        parent.sendall(wire.LOADED)
        with parent.makefile("rb") as requests:  # an idle one waits here for its source
            line = requests.readline(REQUEST_BYTES_MAX)
        if not line:
            return 0
        limit_cpu(CPU_SECONDS)
        request = json.loads(line)
        try:
            source = open_source(request["source"].encode("latin-1"))
            leave_network(keep_privileges=True)  # the files of a folder are opened one by one
            try:
                said = answer(source, request["wanted"], request["seconds"])
            finally:
                source.close()
        except AgentError as error:
            said = wire.error_to_json(error)
        parent.sendall(wire.encode_frame(said))
    return 0


if __name__ == "__main__":
    sys.exit(main())
