"""The software camera of these tests against libgphoto2, a peer that is not ours: both must understand it alike."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import pytest

from agent.ptp import PtpSource
from agent.ptp_facts import read_facts
from agent.ptpsession import Session
from agent.source import Entry
from tests.ptp.camera import SoftCamera
from tests.ptp.ptpip import PtpIp
from tests.ptp.usb import DirectPipe, UsbCamera


def gphoto2(served: PtpIp, *argv: str) -> bytes:
    port = f"ptpip:127.0.0.1:{served.port}:{served.port}"
    return subprocess.run(
        ["gphoto2", "--camera", "PTP/IP Camera", "--port", port, *argv],
        env={**os.environ, "LC_ALL": "C.UTF-8", "TZ": "UTC"}, check=True, capture_output=True, timeout=60,
    ).stdout  # fmt: skip


@pytest.mark.skipif(shutil.which("gphoto2") is None, reason="needs Debian's gphoto2")
def test_libgphoto2_lists_and_reads_what_we_list_and_read() -> None:
    camera = SoftCamera(storages={0x10001: "Internal", 0x20001: "SD"}, battery=63)
    folder = camera.folder("100MEDIA", camera.folder("DCIM"))
    for name, size in (("执法_001.MP4", 3_000_007), ("B.JPG", 77)):
        camera.add(name, folder, size=size)
    camera.add("ROOT.MP4", storage=0x20001, size=1 << 20)
    session = Session(DirectPipe(UsbCamera(camera)))
    source = PtpSource(session)
    with PtpIp(camera) as served:
        listed = gphoto2(served, "--parsable", "--recurse", "--list-files").decode()
        for entry in source.entries():
            assert isinstance(entry, Entry)
            name = b"/" + b"/".join(entry.path)
            (line,) = (line for line in listed.splitlines() if f"'{name.decode()}'" in line)
            facts = dict(re.findall(r"(\w+)=\s*(\S+)", line))
            assert entry.modified_ns is not None
            assert (facts["FILESIZE"], facts["FILEMTIME"]) == (str(entry.size_bytes), str(entry.modified_ns // 10**9))
            content = bytearray(entry.size_bytes)
            assert source.open(entry).read_into(memoryview(content), 0) == entry.size_bytes
            above, _, last = name.decode().rpartition("/")
            assert gphoto2(served, "--folder", above, "--get-file", last, "--stdout") == bytes(content)
        assert len([line for line in listed.splitlines() if line.startswith("FILENAME=")]) == 3
        assert b"Current: 63%" in gphoto2(served, "--get-config", "batterylevel")
    assert read_facts(session).battery_percent == 63
