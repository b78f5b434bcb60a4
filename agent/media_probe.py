"""The media parser's own process: `python -m agent.media_probe FD`, where FD is a socket to its parent (media.py).

For each byte received with an open file it answers one JSON line. Before the first file it gives up what it does not
need: core dumps, growing files, more memory, new privileges, sockets and other programs (seccomp.py) and, where the
kernel lets it, every privilege it had.
"""

import contextlib
import ctypes
import json
import os
import resource
import socket
import sys
from typing import Any

from pymediainfo import MediaInfo

from agent.seccomp import refuse_outreach

MEMORY_BYTES = 512 << 20  # a process at work takes 50 MB
CPU_SECONDS_PER_FILE = 10
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def main() -> int:
    """Serve until the parent closes its end."""
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        confine()
        while True:
            message, fds, _, _ = socket.recv_fds(parent, 1, 1)
            if not message:
                return 0
            used = resource.getrusage(resource.RUSAGE_SELF)
            limit = int(used.ru_utime + used.ru_stime) + CPU_SECONDS_PER_FILE
            resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))
            answer = json.dumps(_answer(fds[0])) if fds else "{}"
            parent.sendall(answer.encode() + b"\n")


def confine() -> None:
    """Give up what parsing does not need. Raises OSError when a limit that always works is refused."""
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, 0),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # refused on some kernels and by our unit: the rest still holds
    refuse_outreach()


def describe(fd: int) -> dict[str, Any]:
    """What the file behind `fd` says of itself. Takes over `fd`. Raises whatever the parser raises."""
    with os.fdopen(fd, "rb") as file:
        info = MediaInfo.parse(file)
    tracks = [track.to_data() for track in info.tracks]
    first = {kind: _first(tracks, kind) for kind in ("General", "Video", "Audio", "Image")}
    picture = first["Video"] or first["Image"]
    return {
        "container": first["General"].get("format"),
        "duration_ms": _whole(first["General"].get("duration")),
        "started_at": next((first["General"][key] for key in _STARTED if first["General"].get(key)), None),
        "video_codec": picture.get("format"),
        "audio_codec": first["Audio"].get("format"),
        "width": _whole(picture.get("width")),
        "height": _whole(picture.get("height")),
        "truncated": any("Yes" in (track.get("istruncated"), track.get("is_truncated")) for track in tracks),
        "playable": bool(picture or first["Audio"]),
    }


_STARTED = ("recorded_date", "encoded_date", "tagged_date", "mastered_date")


def _answer(fd: int) -> dict[str, Any]:
    try:
        return describe(fd)
    except Exception:  # noqa: BLE001 - whatever a hostile file does to the parser means one thing
        return {"container": "unreadable"}


def _first(tracks: list[dict[str, Any]], kind: str) -> dict[str, Any]:
    return next((track for track in tracks if track.get("track_type") == kind), {})


def _whole(value: Any) -> int | None:
    with contextlib.suppress(TypeError, ValueError, OverflowError):
        return int(float(value))
    return None


if __name__ == "__main__":
    sys.exit(main())
