"""What the copy of one file is asked for and what comes back: plain values."""

from dataclasses import dataclass

from agent.source import Entry


@dataclass(frozen=True, slots=True)
class Gap:
    """Bytes that the source could not give: zeros in the copy."""

    offset_bytes: int
    length_bytes: int


@dataclass(frozen=True, slots=True)
class CopyItem:
    """One file to copy. Paths are relative to the vault; `target` and `leaves_target` are free names."""

    n: int
    entry: Entry
    key: str  # 32 hex, names <vault>/.staging/<key>.part, .leaves and .gaps; the same for the same file, always
    target: bytes
    leaves_target: bytes | None  # for files of more than one chunk
    known_leaf: bytes | None  # the first leaf of an earlier copy: equal means that nothing is to be copied


@dataclass(frozen=True, slots=True)
class Copied:
    """Durable, read back from the disk and under its final name."""

    n: int
    size_bytes: int
    sha256: bytes
    tree_root: bytes
    first_leaf: bytes  # empty for an empty file
    chunk_count: int
    gaps: tuple[Gap, ...]  # rising, coalesced
    changed: bool  # the source altered the file meanwhile: the copy is kept, but may mix two states of it
    copied_bytes: int  # read from the source this time
    resumed_at_bytes: int  # taken over, proven, from an interrupted copy


@dataclass(frozen=True, slots=True)
class Known:
    """The first chunk equals that of an earlier copy: nothing was copied."""

    n: int


@dataclass(frozen=True, slots=True)
class Failed:
    """This one file could not be copied; `code` is that of an AgentError."""

    n: int
    code: str
    detail: str


Result = Copied | Known | Failed


def coalesce(gaps: list[Gap]) -> tuple[Gap, ...]:
    """Adjacent gaps joined; `gaps` rises by offset."""
    joined: list[Gap] = []
    for gap in gaps:
        if joined and joined[-1].offset_bytes + joined[-1].length_bytes == gap.offset_bytes:
            joined[-1] = Gap(joined[-1].offset_bytes, joined[-1].length_bytes + gap.length_bytes)
        else:
            joined.append(gap)
    return tuple(joined)
