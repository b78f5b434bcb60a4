"""A disk whose every write, flush and read is logged in order: three files served over /dev/fuse, without a library.

    disk    read and written, to be loop-mounted; writes and flushes are logged
    card    read only; reads are logged
    marks   what is written here stands in the log as a mark, logged when the write returns

The server answers one request after the other and writes to the log before it answers, so the log is an order in which
everything may have happened: what a process did after its write returned comes later. Requires root and Linux.
Protocol: include/uapi/linux/fuse.h of the kernel, version 7.31.

Everything here is meant for a process started by `in_namespace`: whatever ends it, kill -9 included, its mounts and
loop devices go with it.
"""

import ctypes
import errno
import mmap
import os
import signal
import stat
import struct
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path

IO_BYTES_MAX = 1 << 20
RECORD = struct.Struct("<B3xIQ")  # kind, length, offset; the bytes of a write or mark follow
DISK, CARD, MARKS = 2, 3, 4  # node ids; 1 is the folder
NAMES = {b"disk": DISK, b"card": CARD, b"marks": MARKS}

_IN = struct.Struct("<IIQQIIIHH")
_OUT = struct.Struct("<IiQ")
_ATTR = struct.Struct("<QQQQQQIIIIIIIIII")
_FOREVER = 1 << 30
_ASYNC_READ, _BIG_WRITES, _MAX_PAGES = 1 << 0, 1 << 5, 1 << 22
_FOPEN_DIRECT_IO = 1
_PR_SET_PDEATHSIG = 1


class Op(IntEnum):
    """The requests that the kernel makes of so small a file system."""

    LOOKUP = 1
    FORGET = 2
    GETATTR = 3
    SETATTR = 4
    OPEN = 14
    READ = 15
    WRITE = 16
    RELEASE = 18
    FSYNC = 20
    FLUSH = 25
    INIT = 26
    INTERRUPT = 36
    BATCH_FORGET = 42


class Kind(IntEnum):
    """What a record of the log stands for."""

    WRITE = 1
    FLUSH = 2
    READ = 3
    MARK = 4


class Server:
    """Answers the kernel until the file system is unmounted."""

    def __init__(self, device: int, disk: int, card: int, log: int) -> None:
        self._device, self._log = device, log
        self._files = {DISK: disk, CARD: card}
        self._sizes = {node: os.fstat(fd).st_size for node, fd in self._files.items()} | {MARKS: 0}

    def run(self) -> None:
        """Serve; returns when unmounted."""
        request = memoryview(mmap.mmap(-1, IO_BYTES_MAX + 2 * mmap.PAGESIZE))
        while True:
            try:
                length = os.readv(self._device, [request])
            except OSError as error:
                if error.errno == errno.ENODEV:
                    return
                if error.errno in (errno.EINTR, errno.ENOENT):  # ENOENT: the request was interrupted
                    continue
                raise
            _, opcode, unique, node, *_ = _IN.unpack_from(request)
            try:
                answer = self._answer(opcode, node, request[_IN.size : length])
            except OSError as error:
                answer = error.errno or errno.EIO
            if answer is not None:
                self._reply(unique, answer)

    def _reply(self, unique: int, answer: bytes | int) -> None:
        body = answer if isinstance(answer, bytes) else b""
        code = -answer if isinstance(answer, int) else 0
        try:
            os.writev(self._device, [_OUT.pack(_OUT.size + len(body), code, unique), body])
        except OSError as error:
            if error.errno != errno.ENOENT:  # nobody waits any more
                raise

    def _answer(self, opcode: int, node: int, body: memoryview) -> bytes | int | None:
        """The answer's body, an errno, or None where none is awaited."""
        match opcode:
            case Op.READ:
                offset, length = struct.unpack_from("<8xQI", body)
                return self._read(node, offset, length)
            case Op.WRITE:
                offset, length = struct.unpack_from("<8xQI", body)
                return self._write(node, offset, body[40 : 40 + length])
            case Op.FSYNC:
                if node == DISK:
                    self._record(Kind.FLUSH, 0)
                return b""
            case Op.LOOKUP:
                found = NAMES.get(bytes(body).rstrip(b"\0"))
                if found is None:
                    return errno.ENOENT
                return struct.pack("<QQQQII", found, 0, _FOREVER, _FOREVER, 0, 0) + self._attributes(found)
            case Op.GETATTR | Op.SETATTR:
                return struct.pack("<QII", _FOREVER, 0, 0) + self._attributes(node)
            case Op.OPEN:
                return struct.pack("<QII", node, _FOPEN_DIRECT_IO, 0)
            case Op.RELEASE | Op.FLUSH:
                return b""
            case Op.INIT:
                return _hello(body)
            case Op.FORGET | Op.INTERRUPT | Op.BATCH_FORGET:
                return None
            case _:
                return errno.ENOSYS

    def _read(self, node: int, offset: int, length: int) -> bytes:
        if node == CARD:
            self._record(Kind.READ, offset, length=length)
        return os.pread(self._files[node], length, offset) if node in self._files else b""

    def _write(self, node: int, offset: int, data: memoryview) -> bytes | int:
        if node == DISK:
            self._record(Kind.WRITE, offset, data)
            if os.pwrite(self._files[DISK], data, offset) != len(data):
                return errno.EIO
        elif node == MARKS:
            self._record(Kind.MARK, 0, data)
        else:
            return errno.EROFS
        return struct.pack("<II", len(data), 0)

    def _record(self, kind: Kind, offset: int, data: memoryview | bytes = b"", length: int | None = None) -> None:
        header = RECORD.pack(kind, len(data) if length is None else length, offset)
        if os.writev(self._log, [header, data]) != len(header) + len(data):
            raise OSError(errno.ENOSPC, "the log is cut short")

    def _attributes(self, node: int) -> bytes:
        folder = node == 1
        mode = stat.S_IFDIR | 0o700 if folder else stat.S_IFREG | 0o600
        size = 0 if folder else self._sizes[node]
        return _ATTR.pack(node, size, size // 512, 0, 0, 0, 0, 0, 0, mode, 2 if folder else 1, 0, 0, 0, 4096, 0)


def in_namespace(module: str, *arguments: str | Path) -> list[str]:
    """The command that runs one of these test modules in a mount namespace of its own."""
    python = [sys.executable, "-m", f"tests.integration.{module}", *map(str, arguments)]
    return ["unshare", "--mount", "--propagation", "private", *python]


def run(*argv: str | Path) -> None:
    """Run a tool. Raises CalledProcessError."""
    subprocess.run(argv, check=True, capture_output=True)


@contextmanager
def scratch(parent: Path | None = None) -> Iterator[Path]:
    """A folder in memory, with the mount points `fuse` and `disk`; by default below the system's temporary folder."""
    folder = Path(tempfile.mkdtemp(prefix="power", dir=parent))
    try:
        run("mount", "-t", "tmpfs", "-o", "size=4g", "tmpfs", folder)
        for name in ("fuse", "disk"):
            (folder / name).mkdir()
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=False, capture_output=True)
        folder.rmdir()


@contextmanager
def disk_mounted(image: Path, point: Path) -> Iterator[Path]:
    """A disk image on a loop device that goes with its mount; mounting replays the journal."""
    run("mount", "-o", "loop", image, point)
    try:
        yield point
    finally:
        run("umount", point)


def blank_disk(path: Path, size_mib: int) -> Path:
    """An image with an empty ext4 that writes nothing later by itself."""
    with path.open("wb") as file:
        file.truncate(size_mib << 20)
    quiet = "lazy_itable_init=0,lazy_journal_init=0,nodiscard"
    run("mkfs.ext4", "-q", "-F", "-b", "4096", "-m", "0", "-E", quiet, path)
    return path


def _hello(body: memoryview) -> bytes:
    major, minor, readahead, offered = struct.unpack_from("<IIII", body)
    flags = offered & (_ASYNC_READ | _BIG_WRITES | _MAX_PAGES)
    pages = IO_BYTES_MAX // mmap.PAGESIZE
    return struct.pack(
        "<IIIIHHIIHHII24x", major, min(minor, 31), readahead, flags, 64, 48, IO_BYTES_MAX, 1, pages, 0, 0, 0
    )


@contextmanager
def served(point: Path, disk: Path, card: Path, log: Path) -> Iterator[Path]:
    """The three files below `point`, served by a process of its own that ends with this one. Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    device = os.open("/dev/fuse", os.O_RDWR | os.O_CLOEXEC)
    try:
        options = f"fd={device},rootmode=40000,user_id=0,group_id=0,max_read={IO_BYTES_MAX}".encode()
        if libc.mount(b"custodock-test", os.fsencode(point), b"fuse", 0, options) != 0:
            code = ctypes.get_errno()
            raise OSError(code, f"a FUSE file system cannot be mounted: {os.strerror(code)}")
        pid = os.fork()
        if pid == 0:
            libc.prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
            _serve(device, disk, card, log)
    finally:
        os.close(device)
    try:
        yield point
    finally:
        libc.umount2(os.fsencode(point), 0)
        os.waitpid(pid, 0)


def _serve(device: int, disk: Path, card: Path, log: Path) -> None:
    """In the forked process: serve and end, whatever happens; when it ends the kernel fails what is under way."""
    try:
        opened = os.open(disk, os.O_RDWR), os.open(card, os.O_RDONLY), os.open(log, os.O_WRONLY | os.O_APPEND)
        Server(device, *opened).run()
    finally:
        os._exit(0)


def probe() -> None:
    """Everything that the tests mount, once, small. Raises OSError, CalledProcessError where this machine cannot."""
    with scratch() as folder:
        disk, card, log = blank_disk(folder / "disk.img", 8), folder / "card.img", folder / "log"
        card.touch()
        log.touch()
        with served(folder / "fuse", disk, card, log) as files, disk_mounted(files / "disk", folder / "disk"):
            pass
        assert log.stat().st_size > 0


if __name__ == "__main__":
    probe()
