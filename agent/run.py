"""What all copies of one `copy_items` share: source, vault, buffers, lanes, and the way back to the caller.

Work flows downstream only: source lane, then whole, leaf and write lanes, then commit, check and publish lane. Which of
the middle three waits for which differs: long files are written before they are hashed (`longcopy`), short ones hashed
before they are written (`bulk`).
"""

import queue
import threading
from dataclasses import dataclass

from agent.aio import ReadRing
from agent.copies import CopyItem, Result
from agent.disk import BufferPool, Vault
from agent.errors import AgentError
from agent.lanes import Lane
from agent.marks import Marker
from agent.source import Source

POOL_CHUNKS = 20  # the end of one long file and the beginning of the next
AHEAD_CHUNKS = 4  # reads of a long file under way at once
CHECK_CHUNKS = 4
WRITERS = 4  # chunks written at once: direct writes reach the disk one by one and wait for it
RING_DEPTH = 256


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of item `n` that are read."""

    n: int
    bytes_done: int


@dataclass(frozen=True, slots=True)
class Again:
    """The vault's disk failed this copy and nothing of it was kept: copy the item anew, or raise `error`."""

    item: CopyItem
    error: AgentError


@dataclass(frozen=True, slots=True)
class Done:
    """What became of some items of a job; `over`: the job has no more to say."""

    outcomes: list[Result | Again]
    over: bool


@dataclass(frozen=True, slots=True)
class Halted:
    """`Run.failure` was set."""


Event = Progress | Done | Halted


class Run:
    """One call of `copy_items` under way."""

    def __init__(self, source: Source, vault: Vault) -> None:
        self.source = source
        self.source_lock = threading.Lock()  # the source lane reads on while the check lane mends a chunk
        self.vault = vault
        self.pool = BufferPool(POOL_CHUNKS)
        self.check_buffers = BufferPool(CHECK_CHUNKS)
        self.ring = ReadRing(RING_DEPTH)  # the check lane's
        self.marker = Marker()
        self.source_ring = ReadRing(AHEAD_CHUNKS)  # the source lane's
        self.events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self.failure: BaseException | None = None
        self.abandoned = False  # nobody waits for results any more: stop at the next chunk, keep what is durable
        self._lanes: list[Lane] = []  # upstream first
        self.source_lane = self._lane("source")
        self.whole_lane = self._lane("whole")
        self.leaf_lane = self._lane("leaf")
        self.write_lanes = [self._lane(f"write-{number}") for number in range(WRITERS)]
        self.commit_lane = self._lane("commit")
        self.check_lane = self._lane("check")
        self.publish_lane = self._lane("publish")

    def _lane(self, name: str) -> Lane:
        self._lanes.append(Lane(name, self.fail))
        return self._lanes[-1]

    @property
    def halted(self) -> bool:
        """Whether to read nothing more; what was read is still made durable, checked and reported."""
        return self.abandoned or self.failure is not None

    def fail(self, error: BaseException) -> None:
        """End the run with this error, unless one came before; from any thread."""
        if self.failure is None:
            self.failure = error
        self.events.put(Halted())

    def done(self, *outcomes: Result | Again, over: bool = True) -> None:
        """Report; from any thread."""
        self.events.put(Done(list(outcomes), over))

    def finish(self) -> None:
        """Let every lane end its work, upstream first, so that nothing under way is lost."""
        for lane in self._lanes:
            lane.close()
        self.ring.close()
        self.source_ring.close()
