"""A seccomp filter for a process that parses hostile bytes: no socket, no other program, no look into other processes.

It cannot be taken back, and unlike namespaces it is there on every kernel of Debian 11 or later. seccomp(2), and
<linux/filter.h> for the instructions.
"""

import ctypes
import errno
import platform
import struct

_AUDIT = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
# socket, io_uring_setup (makes sockets without socket(2)), execve, execveat, ptrace, process_vm_readv,
# process_vm_writev, pidfd_getfd, unshare, setns
_REFUSED = {
    "x86_64": (41, 425, 59, 322, 101, 310, 311, 438, 272, 308),
    "aarch64": (198, 425, 221, 281, 117, 270, 271, 438, 97, 268),
}
_X32 = 0x40000000  # x86_64's second numbering of the same calls
_LOAD, _EQUAL, _AT_LEAST, _RETURN = 0x20, 0x15, 0x35, 0x06
_NUMBER, _ARCHITECTURE = 0, 4  # offsets in struct seccomp_data
_ALLOW, _REFUSE = 0x7FFF0000, 0x00050000 | errno.EPERM
_PR_SET_NO_NEW_PRIVS, _PR_SET_SECCOMP, _MODE_FILTER = 38, 22, 2


class _Program(ctypes.Structure):
    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_char_p))


def refuse_outreach(machine: str = platform.machine()) -> bool:
    """Shut this process in for good, threads started later too; what it asks for then ends in EPERM.

    False on a machine whose call numbers are not known here. Raises OSError when the kernel refuses the filter.
    """
    if machine not in _AUDIT:
        return False
    program = build_filter(machine)
    libc = ctypes.CDLL(None, use_errno=True)
    argument = _Program(len(program) // 8, program)
    for option, value, pointer in (
        (_PR_SET_NO_NEW_PRIVS, 1, 0),
        (_PR_SET_SECCOMP, _MODE_FILTER, ctypes.byref(argument)),
    ):
        if libc.prctl(option, value, pointer, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl")
    return True


def build_filter(machine: str) -> bytes:
    """The instructions: another architecture's calls are refused whole, then the listed ones; all else passes."""
    refused = _REFUSED[machine]
    tests = [(_EQUAL, number) for number in refused] + [(_AT_LEAST, _X32)]
    code = [(_LOAD, 0, 0, _ARCHITECTURE), (_EQUAL, 0, len(tests) + 2, _AUDIT[machine]), (_LOAD, 0, 0, _NUMBER)]
    # each test jumps over the remaining tests and the allowing return to the refusing one
    code += [(kind, len(tests) - at, 0, value) for at, (kind, value) in enumerate(tests)]
    code += [(_RETURN, 0, 0, _ALLOW), (_RETURN, 0, 0, _REFUSE)]
    return b"".join(struct.pack("=HBBI", *instruction) for instruction in code)
