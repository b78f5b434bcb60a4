"""Holds a process of the dock at one exact step, as long as one likes: the kernel asks us before it opens a file.

    with Hold(lab, "/var/lib/custodock", ["manifest.jsonl.new", "/.custody"]) as hold:
        hold.until_held()       # somebody opened the first, then the second, and waits in open(2)

fanotify's permission events, for the whole file system and all mount namespaces. Leaving the block lets it go on.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Sequence
from types import TracebackType

from tests.vm.image import LabError
from tests.vm.shell import Shell

WATCH = """
import ctypes, json, os, struct, sys, time
place, wanted, held_seconds = json.loads(sys.argv[1])
CONTENT, UNLIMITED, ADD, FILESYSTEM, OPEN_PERM, ONDIR, ALLOW = 4, 16, 1, 0x100, 0x10000, 0x40000000, 1
libc = ctypes.CDLL(None, use_errno=True)
fan = libc.fanotify_init(CONTENT | UNLIMITED, os.O_RDONLY)
mask = ctypes.c_uint64(OPEN_PERM | ONDIR)
if fan < 0 or libc.fanotify_mark(fan, ADD | FILESYSTEM, mask, -100, place.encode()):
    sys.exit(os.strerror(ctypes.get_errno()))
print("watching", flush=True)
while True:
    events = os.read(fan, 1 << 16)
    while events:
        length, _, _, _, _, fd, pid = struct.unpack("=IBBHQii", events[:24])
        events = events[length:]
        path = os.readlink(f"/proc/self/fd/{fd}")
        if wanted and path.endswith(wanted[0]) and "/.staging/" not in path:
            wanted.pop(0)
            if not wanted:
                print("held", path, flush=True)
                time.sleep(held_seconds)
        os.write(fan, struct.pack("=iI", fd, ALLOW))
        os.close(fd)
"""


class Hold:
    """Waits for opens of paths that end so, one after the other, and holds the last one for `seconds`."""

    def __init__(self, lab: Shell, place: str, endings: Sequence[str], seconds: float = 600) -> None:
        """`place`: a folder of the file system."""
        self._lab, self._order = lab, json.dumps([place, [*endings], seconds])
        self._held = threading.Event()
        self.path = ""

    def __enter__(self) -> Hold:
        self._lab.run("cat > /run/hold.py", stdin=WATCH.encode())
        self._process = self._lab.spawn(f"python3 /run/hold.py '{self._order}'")
        assert self._process.stdout is not None
        if (said := self._process.stdout.readline()) != "watching\n":
            raise LabError(f"cannot hold: {said}{self._process.stdout.read()}")
        self._thread = threading.Thread(target=self._follow, daemon=True)
        self._thread.start()
        return self

    def _follow(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            if line.startswith("held "):
                self.path = line.removeprefix("held ").strip()
                self._held.set()

    def until_held(self, seconds: float = 180) -> str:
        """The path at which somebody waits now. Raises LabError when nobody came."""
        if not self._held.wait(seconds):
            raise LabError(f"nobody opened {self._order}")
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.terminate()
        try:
            self._process.wait(5)
        except subprocess.TimeoutExpired:  # its dock lost power
            self._process.kill()
        self._thread.join(5)
        assert self._process.stdout is not None
        self._process.stdout.close()
