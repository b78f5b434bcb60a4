"""The media parser's own process: `python -m agent.media_probe FD`, where FD is a socket to its parent (media.py).

For each byte received with an open file it answers one JSON line. Before the first file it gives up what it does not
need: core dumps, growing files, more memory, new privileges, sockets and other programs (seccomp.py) and, where the
kernel lets it, every privilege it had.
"""

import contextlib
import json
import os
import socket
import sys
from typing import Any

from pymediainfo import MediaInfo

from agent.confine import confine, leave_network, limit_cpu

MEMORY_BYTES = 512 << 20  # a process at work takes 50 MB
CPU_SECONDS_PER_FILE = 10
OPEN_FILES = 32


def main() -> int:
    """Serve until the parent closes its end."""
    with socket.socket(fileno=int(sys.argv[1])) as parent:
        confine(MEMORY_BYTES, OPEN_FILES)
        leave_network()
        while True:
            message, fds, _, _ = socket.recv_fds(parent, 1, 1)
            if not message:
                return 0
            limit_cpu(CPU_SECONDS_PER_FILE)
            answer = json.dumps(_answer(fds[0])) if fds else "{}"
            parent.sendall(answer.encode() + b"\n")


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
