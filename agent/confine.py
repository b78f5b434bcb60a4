"""What a process that parses hostile input gives up before it reads any: memory, files, privileges, the network."""

import ctypes
import os
import resource

from agent.seccomp import refuse_outreach

_PR_SET_DUMPABLE, _PR_SET_NO_NEW_PRIVS = 4, 38
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000


def confine(memory_bytes: int, open_files: int, file_bytes: int = 0) -> None:
    """Give up what parsing does not need. No file grows past `file_bytes`; what is open stays open.

    Raises OSError when a limit that always works is refused.
    """
    for kind, limit in (
        (resource.RLIMIT_AS, memory_bytes),
        (resource.RLIMIT_FSIZE, file_bytes),
        (resource.RLIMIT_CORE, 0),
        (resource.RLIMIT_NOFILE, open_files),
        (resource.RLIMIT_NPROC, 0),
    ):
        resource.setrlimit(kind, (limit, limit))
    libc = ctypes.CDLL(None, use_errno=True)
    for option, value in ((_PR_SET_NO_NEW_PRIVS, 1), (_PR_SET_DUMPABLE, 0)):
        if libc.prctl(option, value, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")


def leave_network(*, keep_privileges: bool = False) -> None:
    """Enter a namespace without network and without any privilege, and never make a socket or start a program again.

    Some kernels, and our own unit, refuse the namespace; the filter holds everywhere. `keep_privileges`: root stays
    root over files, for who has yet to open some.
    """
    libc = ctypes.CDLL(None)
    if not keep_privileges or libc.unshare(_CLONE_NEWNET) != 0:
        libc.unshare(_CLONE_NEWUSER | _CLONE_NEWNET)
    refuse_outreach()


def limit_cpu(seconds: int) -> None:
    """Let the kernel end this process after so much more processor time."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    limit = int(used.ru_utime + used.ru_stime) + seconds
    resource.setrlimit(resource.RLIMIT_CPU, (limit, resource.getrlimit(resource.RLIMIT_CPU)[1]))


def die_with(parent_pid: int) -> bool:
    """Let the kernel kill this process when its parent ends; False: the parent has ended already."""
    signal_kill, pr_set_pdeathsig = 9, 1
    ctypes.CDLL(None).prctl(pr_set_pdeathsig, signal_kill)
    return os.getppid() == parent_pid
