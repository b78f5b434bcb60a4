"""What a process gives up before it parses what a camera says: the media parser and the reader of camera facts."""

import ctypes
import resource

MEMORY_BYTES = 512 << 20  # a process at work takes 50 MB
_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def confine(file_bytes: int = 0) -> None:
    """Give up core dumps, growing files, more memory, children, privileges and, where the kernel lets it, the network.

    What is open stays open; no file grows past `file_bytes`. Raises OSError when a limit that always works is refused.
    """
    for kind, limit in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, 32),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)  # refused on some kernels: the limits above still hold
