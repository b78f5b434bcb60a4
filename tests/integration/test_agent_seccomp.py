"""The filter of the media parser, in a real process."""

import subprocess
import sys

import pytest

from agent.seccomp import build_filter, refuse_outreach

# each must end in EPERM in a shut-in process, and in something else in one that is not
OUTREACH = {
    "a socket": "socket.socket(socket.AF_INET, socket.SOCK_STREAM)",
    "a local socket": "socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)",
    "another program": "os.execv('/bin/true', ['true'])",
    "a program by descriptor": "os.execve(os.open('/bin/true', os.O_RDONLY), ['true'], {})",
    "namespaces": "call('unshare', 0x10000000)",
    "another process's memory": "call('process_vm_readv', 1, None, 0, None, 0, 0)",
    "debugging": "call('ptrace', 0x4206, 1, None, None)",
}
PRELUDE = """
import ctypes, errno, os, socket, sys
from agent.seccomp import refuse_outreach
libc = ctypes.CDLL(None, use_errno=True)
def call(name, *arguments):
    if getattr(libc, name)(*arguments) < 0:
        raise OSError(ctypes.get_errno(), name)
"""


def outcome(program: str) -> str:
    done = subprocess.run([sys.executable, "-c", PRELUDE + program], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.strip()


@pytest.mark.parametrize("what", OUTREACH)
def test_reaching_out_is_refused(what: str) -> None:
    attempt = f"""
try:
    {OUTREACH[what]}
except OSError as error:
    print(errno.errorcode[error.errno])
"""
    assert outcome("refuse_outreach()\n" + attempt) == "EPERM"


@pytest.mark.parametrize("what", ["a socket", "a local socket", "another program", "a program by descriptor"])
def test_without_the_filter_the_same_attempts_succeed(what: str) -> None:
    outcome(OUTREACH[what])


def test_reading_files_and_threads_go_on() -> None:
    assert outcome(
        "refuse_outreach()\nimport threading\nsaid = []\n"
        "thread = threading.Thread(target=lambda: said.append(open('/proc/self/status').read()))\n"
        "thread.start(); thread.join()\nprint('Seccomp:\\t2' in said[0])"
    ) == "True"  # fmt: skip


def test_a_thread_started_later_is_shut_in_too() -> None:
    program = """
refuse_outreach()
import threading
def attempt():
    try:
        socket.socket()
    except OSError as error:
        print(errno.errorcode[error.errno])
thread = threading.Thread(target=attempt)
thread.start(); thread.join()
"""
    assert outcome(program) == "EPERM"


def test_an_unknown_machine_is_told() -> None:
    assert refuse_outreach("riscv64") is False


@pytest.mark.parametrize("machine", ["x86_64", "aarch64"])
def test_jumps_end_at_a_return(machine: str) -> None:
    """Every way through the program, walked: the kernel's own check runs only for the machine the tests run on."""
    code = [build_filter(machine)[at : at + 8] for at in range(0, len(build_filter(machine)), 8)]
    for at, instruction in enumerate(code):
        if instruction[0] in (0x15, 0x35):  # a jump: both ways land inside
            assert all(at + 1 + step < len(code) for step in instruction[2:4])
    assert [instruction[0] for instruction in code[-2:]] == [0x06, 0x06]
