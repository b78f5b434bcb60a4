"""What a copied file says of itself (container, duration, codecs, cut or whole), found by a separate, limited process.

Media parsers are large and their input is hostile, so the parser (media_probe.py) gets one open file at a time and no
path, and this side believes nothing but the types it expects. A file that crashes or stalls it is `unreadable`: its
copy stays, its facts are unknown.
"""

import contextlib
import json
import os
import socket
import subprocess
import sys
import threading
import time
from typing import Any

from agent.errors import VaultUnwritable
from custody.stationevents import Media

TIMEOUT_SECONDS = 10.0
ANSWER_BYTES_MAX = 64 * 1024
TEXT_MAX = 64
NUMBER_MAX = 2**53 - 1  # what JSON readers elsewhere keep exactly
UNREADABLE = Media(container="unreadable")
NOT_PLAYABLE = Media(playable=False)
MEDIA_EXTENSIONS = frozenset(
    b"264 265 3gp aac amr asf avi flv h264 hevc lrv m2ts m4a mkv mov mp3 mp4 mpeg mpg mts ts wav wmv".split()
)  # no stills: duration, start and codec are asked of recordings, and a card may hold ten thousands of snapshots


# How a file of these kinds must begin; the others (transport and elementary streams, MP3) may begin anywhere. Noise
# under such a name would cost the parser seconds of searching: 1.3 s for 64 MiB.
_BOXES = (b"ftyp", b"moov", b"mdat", b"free", b"skip", b"wide", b"pnot", b"uuid")
_STARTS: dict[bytes, tuple[int, tuple[bytes, ...]]] = {
    **dict.fromkeys((b"mp4", b"mov", b"3gp", b"m4a", b"lrv"), (4, _BOXES)),
    **dict.fromkeys((b"avi", b"wav"), (0, (b"RIFF", b"RF64", b"RIFX"))),
    b"mkv": (0, (b"\x1a\x45\xdf\xa3",)),
    b"flv": (0, (b"FLV",)),
}


def begins_as_named(path: bytes, head: bytes) -> bool:
    """Whether a file's first 12 bytes are a beginning of what its extension says."""
    offset, starts = _STARTS.get(path.rpartition(b".")[2].lower(), (0, (b"",)))
    return head[offset:].startswith(starts)


def is_media(path: bytes) -> bool:
    """Whether a file is named like footage or sound."""
    _, dot, extension = path.rpartition(b"/")[2].rpartition(b".")
    return bool(dot) and extension.lower() in MEDIA_EXTENSIONS


class MediaProbe:
    """Owns the parser process: starts it at the first file, kills it when it stalls, starts it anew for the next."""

    def __init__(self, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._timeout_seconds = timeout_seconds
        self._lock = threading.Lock()  # one file at a time; any thread may ask
        self._child: subprocess.Popen[bytes] | None = None
        self._socket: socket.socket | None = None

    def facts(self, path: bytes) -> Media:
        """The facts of one file of the vault. Raises VaultUnwritable when the vault cannot give it."""
        try:
            fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise VaultUnwritable(f"a file just saved cannot be opened ({error.strerror})") from error
        try:
            if not begins_as_named(path, os.pread(fd, 12, 0)) or os.fstat(fd).st_size == 0:
                return NOT_PLAYABLE
            with self._lock:
                return self._ask(fd)
        finally:
            os.close(fd)

    def close(self) -> None:
        """End the parser; closing twice does nothing."""
        with self._lock:
            self._end()

    def _ask(self, fd: int) -> Media:
        try:
            answer = self._exchange(fd)
            return _media(json.loads(answer))
        except (OSError, ValueError):  # stalled, crashed, or answered nonsense: not to be trusted with the next file
            self._end()
            return UNREADABLE

    def _exchange(self, fd: int) -> bytes:
        """Raises OSError, ValueError."""
        if self._child is None or self._child.poll() is not None or self._socket is None:
            self._end()
            self._start()
        assert self._socket is not None  # noqa: S101 - `_start` made it
        deadline = time.monotonic() + self._timeout_seconds
        self._socket.settimeout(self._timeout_seconds)
        socket.send_fds(self._socket, [b"\n"], [fd])
        answer = b""
        while not answer.endswith(b"\n"):
            self._socket.settimeout(max(0.001, deadline - time.monotonic()))
            piece = self._socket.recv(ANSWER_BYTES_MAX)
            answer += piece
            if not piece or len(answer) > ANSWER_BYTES_MAX:
                raise ValueError("the media parser broke off")
        return answer

    def _start(self) -> None:
        ours, theirs = socket.socketpair()
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-P", "-m", "agent.media_probe", str(theirs.fileno())],
                pass_fds=[theirs.fileno()],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                env={"LC_ALL": "C.UTF-8"},  # nothing of ours: settings may name secrets
            )
        self._socket = ours

    def _end(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._child is not None:
            with contextlib.suppress(ProcessLookupError):  # it ended by itself
                self._child.kill()
            self._child.wait()
            self._child = None


def _media(answer: Any) -> Media:
    """Facts from the parser's answer, each of the type and size we expect. Raises ValueError."""
    if not isinstance(answer, dict):
        raise ValueError("not an object")  # noqa: TRY004 - one reaction to any nonsense
    return Media(
        container=_text(answer.get("container")),
        duration_ms=_number(answer.get("duration_ms")),
        started_at=_text(answer.get("started_at")),
        video_codec=_text(answer.get("video_codec")),
        audio_codec=_text(answer.get("audio_codec")),
        width=_number(answer.get("width")),
        height=_number(answer.get("height")),
        truncated=_flag(answer.get("truncated")),
        playable=_flag(answer.get("playable")),
    )


def _text(value: Any) -> str | None:
    if not isinstance(value, str):
        return None
    return "".join(c for c in value if c.isprintable())[:TEXT_MAX] or None


def _number(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int):
        return None
    return value if 0 <= value <= NUMBER_MAX else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None
