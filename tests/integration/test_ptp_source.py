"""A PTP camera as a source, over a software camera that speaks USB packets: all is listed, nothing is believed."""

from __future__ import annotations

import pytest

from agent.copies import Gap
from agent.errors import ReadFault, SourceGone, SourceUnreadable
from agent.ptp import PtpSource
from agent.ptp_facts import PtpFacts, read_facts
from agent.ptpdata import Operation
from agent.ptpreader import StreamReader
from agent.ptpsession import TRANSFER_BYTES, Refused, Session
from agent.salvage import Salvage
from agent.source import Entry, Finding, FindingKind, Reader, SourceKind, TimeBasis
from tests.ptp.camera import FOLDER, SoftCamera
from tests.ptp.usb import DirectPipe, UsbCamera, UsbQuirks

MIB = 1 << 20
GIB = 1 << 30
STORE = b"store_00010001"
QUIRKS = {
    "high speed": UsbQuirks(),
    "full speed": UsbQuirks(packet_bytes=64),
    "super speed": UsbQuirks(packet_bytes=1024),
    "no empty packet": UsbQuirks(empty_packet=False),
    "head alone": UsbQuirks(head_alone=True),
}


def dock(camera: SoftCamera, quirks: UsbQuirks | None = None) -> tuple[PtpSource, DirectPipe]:
    pipe = DirectPipe(UsbCamera(camera, quirks))
    return PtpSource(Session(pipe)), pipe


def listing(source: PtpSource) -> tuple[list[Entry], list[Finding]]:
    met = list(source.entries())
    return [m for m in met if isinstance(m, Entry)], [m for m in met if isinstance(m, Finding)]


def read_all(reader: Reader, size: int) -> tuple[bytes, tuple[Gap, ...]]:
    """As the copy reads: chunk by chunk, around what fails."""
    salvage, buffer, content, gaps = Salvage(reader), memoryview(bytearray(MIB)), bytearray(), list[Gap]()
    while len(content) < size:
        length, missing = salvage.read(buffer[: min(MIB, size - len(content))], len(content))
        gaps += missing
        if not length:
            break
        content += buffer[:length]
    return bytes(content), tuple(gaps)


def thing(camera: SoftCamera, entry: Entry) -> bytes:
    held = camera.things[int(entry.handle.partition(":")[0], 16)]
    return held.read(0, held.length)


@pytest.mark.parametrize("quirks", QUIRKS.values(), ids=QUIRKS.keys())
@pytest.mark.parametrize("partial", [True, False], ids=["pieces", "whole files only"])
def test_every_byte_of_every_size_arrives(quirks: UsbQuirks, partial: bool) -> None:
    camera = SoftCamera(partial=partial)
    sizes = [0, 1, 52, 116, 499, 500, 501, 512, 1012, 1024, 128 * 1024 - 12, 128 * 1024, MIB - 12, MIB, 3 * MIB + 7]
    for size in sizes:
        camera.add(f"{size}.MP4", size=size)
    source, pipe = dock(camera, quirks)
    entries, findings = listing(source)
    assert sorted(entry.size_bytes for entry in entries) == sizes
    assert not findings
    for entry in entries:
        reader = source.open(entry)
        assert read_all(reader, entry.size_bytes) == (thing(camera, entry), ())
        assert not reader.changed()
        reader.close()
    assert pipe.recoveries == 0


def test_stores_folders_and_names_are_as_the_camera_has_them() -> None:
    camera = SoftCamera(storages={0x10001: "Internal", 0x20001: "SD 卡", 0x30000: "empty slot"})
    deep = camera.folder("100MEDIA", camera.folder("DCIM"))
    camera.add("执法_001.MP4", deep, size=5, modified="20260302T081500")
    camera.add(b"X\0\x00\xd8", deep, size=1)
    camera.add("a/b", deep, size=2, modified="")
    camera.add("..", deep, size=3)
    camera.add("root.log", storage=0x20001, size=4)
    source, _ = dock(camera)
    entries, findings = listing(source)
    above = (STORE, b"DCIM", b"100MEDIA")
    assert [(entry.path, entry.size_bytes) for entry in entries] == [
        ((*above, "执法_001.MP4".encode()), 5),
        ((*above, b"X\xed\xa0\x80"), 1),
        ((*above, b"a/b"), 2),
        ((*above, b".."), 3),
        ((b"store_00020001", b"root.log"), 4),
    ]
    assert not findings
    assert entries[0].modified_ns == 1_772_439_300 * 10**9
    facts = source.facts
    assert (facts.kind, facts.time_basis) == (SourceKind.PTP, TimeBasis.CAMERA_LOCAL)
    assert facts.labels == ("Internal", "SD 卡")


def test_twins_of_a_name_are_both_listed() -> None:
    """libgphoto2 2.5 keeps one of them and says nothing."""
    camera = SoftCamera()
    folder = camera.folder("DCIM")
    camera.add("A.MP4", folder, size=10)
    camera.add("A.MP4", folder, size=20)
    source, _ = dock(camera)
    entries, _ = listing(source)
    assert [entry.size_bytes for entry in entries] == [10, 20]
    assert [read_all(source.open(e), e.size_bytes)[0] for e in entries] == [thing(camera, e) for e in entries]


def test_a_folder_that_does_not_list_is_a_finding_and_the_rest_goes_on() -> None:
    camera = SoftCamera()
    bad, good = camera.folder("100BAD"), camera.folder("101GOOD")
    camera.add("lost.MP4", bad, size=1)
    camera.add("kept.MP4", good, size=1)
    camera.unlistable = {bad}
    entries, findings = listing(dock(camera)[0])
    assert [entry.path[-1] for entry in entries] == [b"kept.MP4"]
    assert [(f.kind, f.path) for f in findings] == [(FindingKind.UNREADABLE_DIRECTORY, (STORE, b"100BAD"))]


def test_a_store_that_does_not_list_is_a_finding() -> None:
    camera = SoftCamera(storages={0x10001: "a", 0x20001: "b"}, hidden_storages={0x10001})
    camera.add("kept.MP4", storage=0x20001, size=1)
    entries, findings = listing(dock(camera)[0])
    assert len(entries) == 1
    assert [(f.kind, f.path) for f in findings] == [(FindingKind.UNREADABLE_DIRECTORY, (STORE,))]


def test_an_object_that_is_not_described_is_a_finding() -> None:
    """libgphoto2 2.5 leaves it out and says nothing."""
    camera = SoftCamera()
    camera.infoless = {camera.add("A.MP4", size=1)}
    camera.add("B.MP4", size=1)
    entries, findings = listing(dock(camera)[0])
    assert [entry.path[-1] for entry in entries] == [b"B.MP4"]
    assert [f.kind for f in findings] == [FindingKind.UNREADABLE_ENTRY]


def test_objects_that_name_another_parent_are_listed_once_and_not_lost() -> None:
    """Cameras that answer with all objects whatever folder is asked for, and objects whose folder does not exist."""
    camera = SoftCamera()
    folder = camera.folder("DCIM")
    camera.add("in.MP4", folder, size=1)
    camera.add("lost.MP4", 0x7777, size=2)
    camera.add("self.MP4", 0x99, handle=0x99, size=3)
    stray_folder = camera.folder("LOST", 0x8888)
    camera.add("below.MP4", stray_folder, size=4)
    usb = UsbCamera(camera)
    usb.responder.flat = True
    entries, findings = listing(PtpSource(Session(DirectPipe(usb))))
    assert sorted((entry.path, entry.size_bytes) for entry in entries) == [
        ((STORE, b"DCIM", b"in.MP4"), 1),
        ((STORE, b"LOST", b"below.MP4"), 4),
        ((STORE, b"lost.MP4"), 2),
        ((STORE, b"self.MP4"), 3),
    ]
    assert not findings


def test_a_store_that_lists_what_lies_in_another_loses_and_doubles_nothing() -> None:
    camera = SoftCamera(storages={0x10001: "a", 0x20001: "b"})
    camera.add("A.MP4", size=1)
    camera.add("B.MP4", storage=0x20001, size=2)
    camera.add("C.MP4", camera.folder("DCIM", storage=0x20001), storage=0x20001, size=3)
    usb = UsbCamera(camera)
    usb.responder.any_store = True
    expected = [((STORE, b"A.MP4"), 1), ((b"store_00020001", b"B.MP4"), 2), ((b"store_00020001", b"DCIM", b"C.MP4"), 3)]
    for hidden in (set(), {0x20001}):  # whether or not the other store lists them too
        camera.hidden_storages = hidden
        entries, findings = listing(PtpSource(Session(DirectPipe(usb))))
        assert sorted((e.path, e.size_bytes) for e in entries) == (expected if not hidden else expected[:2])
        assert len(findings) == 2 * len(hidden)  # its root and its folder


def test_a_camera_that_cannot_list_one_folder_is_listed_whole() -> None:
    camera = SoftCamera()
    inner = camera.folder("100MEDIA", camera.folder("DCIM"))
    camera.add("A.MP4", inner, size=1)
    camera.add("B.MP4", size=2)
    usb = UsbCamera(camera)
    usb.responder.unfiltered = True
    entries, findings = listing(PtpSource(Session(DirectPipe(usb))))
    assert sorted((entry.path, entry.size_bytes) for entry in entries) == [
        ((STORE, b"B.MP4"), 2),
        ((STORE, b"DCIM", b"100MEDIA", b"A.MP4"), 1),
    ]
    assert not findings


def test_folders_without_end_are_a_finding() -> None:
    camera = SoftCamera()
    at = 0
    for _ in range(1010):
        at = camera.folder("a", at)
    camera.add("deep.MP4", at, size=1)
    entries, (finding,) = listing(dock(camera)[0])
    assert not entries
    assert (finding.kind, len(finding.path)) == (FindingKind.UNREADABLE_DIRECTORY, 1001)


def test_a_list_of_handles_without_end_is_refused() -> None:
    camera = SoftCamera(storages=dict.fromkeys(range(1, 1_100_000), ""))
    with pytest.raises(Refused):
        dock(camera)


def test_folders_in_each_other_end() -> None:
    camera = SoftCamera()
    one, two = camera.folder("1", 0x21, handle=0x20), camera.folder("2", 0x20, handle=0x21)
    camera.add("in.MP4", one, size=1)
    camera.add("in.MP4", two, size=2)
    usb = UsbCamera(camera)
    usb.responder.flat = True
    entries, _ = listing(PtpSource(Session(DirectPipe(usb))))
    assert sorted(entry.size_bytes for entry in entries) == [1, 2]


@pytest.mark.parametrize("properties", [True, False], ids=["ObjectSize", "by trying"])
@pytest.mark.parametrize("size", [0xFFFFFFFE, 0xFFFFFFFF, 0x100000000, 5 * GIB + 1])
def test_sizes_around_and_above_4_gib(properties: bool, size: int) -> None:
    camera = SoftCamera(partial64=True, object_properties=properties)
    camera.add("LONG.MP4", size=size)
    source, _ = dock(camera)
    ((entry,), findings) = listing(source)
    assert (entry.size_bytes, findings) == (size, [])
    reader, buffer = source.open(entry), bytearray(MIB)
    held = camera.things[int(entry.handle.partition(":")[0], 16)]
    for offset in (0, 0xFFFFFFFF - MIB, 0xFFFFFFFF - 5, size - 5):
        wanted = min(MIB, size - offset)
        assert reader.read_into(memoryview(buffer), offset) == wanted
        assert bytes(buffer[:wanted]) == held.read(offset, wanted)
    assert reader.read_into(memoryview(buffer), size) == 0


def test_a_file_above_4_gib_that_cannot_be_read_is_said_to_be_missing() -> None:
    camera = SoftCamera()
    camera.add("LONG.MP4", size=5 * GIB)
    entries, (finding,) = listing(dock(camera)[0])
    assert not entries
    assert finding.kind is FindingKind.UNREADABLE_ENTRY


@pytest.mark.parametrize(("listed", "held"), [(1000, 900), (1000, 1001), (0, 7), (1000, 0), (3 * MIB, 9 * MIB + 1)])
def test_a_size_that_the_content_contradicts_is_a_finding_and_all_content_is_copied(listed: int, held: int) -> None:
    camera = SoftCamera()
    camera.add("A.MP4", size=listed, held=held)
    source, _ = dock(camera)
    ((entry,), (finding,)) = listing(source)
    assert (entry.size_bytes, finding.kind, finding.path) == (held, FindingKind.UNREADABLE_ENTRY, entry.path)
    assert str(listed) in finding.detail
    reader = source.open(entry)
    assert read_all(reader, entry.size_bytes) == (thing(camera, entry), ())
    assert not reader.changed()


def test_a_bad_place_is_not_taken_for_the_end_of_a_file_that_is_shorter_than_listed() -> None:
    camera = SoftCamera()
    camera.add("A.MP4", size=4 * MIB, held=3 * MIB, bad=[(MIB, 4096), (2 * MIB, 4096)])
    ((entry,), (finding,)) = listing(dock(camera)[0])
    assert (entry.size_bytes, finding.kind) == (3 * MIB, FindingKind.UNREADABLE_ENTRY)


def test_a_size_found_by_trying_past_a_bad_place_is_said_to_be_doubtful() -> None:
    camera = SoftCamera(partial64=True)
    camera.add("A.MP4", size=5 * GIB, bad=[(5 * GIB - 4096, 4096)])
    ((entry,), (finding,)) = listing(dock(camera)[0])
    assert entry.size_bytes >= 0xFFFFFFFF
    assert "may be longer" in finding.detail


def test_a_stream_longer_than_listed_is_a_change() -> None:
    camera = SoftCamera(partial=False)
    camera.add("A.MP4", size=1000, held=1001)
    source, _ = dock(camera)
    ((entry,), _) = listing(source)
    reader = source.open(entry)
    assert isinstance(reader, StreamReader)
    read_all(reader, entry.size_bytes)
    assert reader.changed()


@pytest.mark.parametrize("stall", [False, True], ids=["refused", "stalled"])
def test_what_cannot_be_read_is_a_gap_of_whole_pages_and_the_rest_is_there(stall: bool) -> None:
    camera = SoftCamera(stall_bad=stall)
    camera.add("A.MP4", size=3 * MIB, bad=[(MIB + 5000, 100), (2 * MIB + 8192, 4096)])
    camera.add("B.MP4", size=100)
    source, pipe = dock(camera)
    entries, findings = listing(source)
    assert not findings
    reader = source.open(entries[0])
    content, gaps = read_all(reader, 3 * MIB)
    assert gaps == (Gap(MIB + 4096, 4096), Gap(2 * MIB + 8192, 4096))
    expected = bytearray(thing(camera, entries[0]))
    for gap in gaps:
        expected[gap.offset_bytes : gap.offset_bytes + gap.length_bytes] = bytes(gap.length_bytes)
    assert content == bytes(expected)
    assert not reader.changed()
    assert read_all(source.open(entries[1]), 100) == (thing(camera, entries[1]), ())
    assert (pipe.recoveries > 0) == stall


def test_a_bad_end_of_a_file_is_a_gap_and_no_wrong_size() -> None:
    camera = SoftCamera()
    camera.add("A.MP4", size=MIB, bad=[(MIB - 100, 100)])
    source, _ = dock(camera)
    ((entry,), findings) = listing(source)
    assert (entry.size_bytes, findings) == (MIB, [])
    assert read_all(source.open(entry), MIB)[1] == (Gap(MIB - 4096, 4096),)


def test_a_whole_file_stream_that_breaks_gives_what_lies_before() -> None:
    camera = SoftCamera(partial=False, stall_bad=True)
    camera.add("A.MP4", size=4 * MIB, bad=[(2 * MIB, 100)])
    source, _ = dock(camera)
    ((entry,), _) = listing(source)
    content, gaps = read_all(source.open(entry), 4 * MIB)
    start = gaps[0].offset_bytes  # what a transfer had brought when it stalled is lost with it
    assert 2 * MIB - TRANSFER_BYTES - 512 <= start <= 2 * MIB
    assert content[:start] == thing(camera, entry)[:start]
    assert sum(gap.length_bytes for gap in gaps) == 4 * MIB - start


def test_short_answers_are_asked_on() -> None:
    camera = SoftCamera(short_after=10_000)
    camera.add("A.MP4", size=100_000)
    source, _ = dock(camera)
    ((entry,), findings) = listing(source)
    assert not findings
    assert read_all(source.open(entry), 100_000) == (thing(camera, entry), ())


def test_more_than_was_asked_for_is_refused() -> None:
    """libgphoto2 2.5.34 writes it behind the buffer: here a segmentation fault, in an exploit worse."""
    camera = SoftCamera()
    camera.add("A.MP4", size=2 * MIB)
    source, pipe = dock(camera)
    ((entry,), _) = listing(source)
    camera.oversize = 4 * MIB
    with pytest.raises(ReadFault):
        source.open(entry).read_into(memoryview(bytearray(MIB)), 0)
    camera.oversize = 0
    assert pipe.recoveries == 1
    assert read_all(source.open(entry), 2 * MIB) == (thing(camera, entry), ())


def test_a_camera_that_leaves_is_gone() -> None:
    camera = SoftCamera()
    camera.add("A.MP4", size=8 * MIB)
    source, pipe = dock(camera)
    ((entry,), _) = listing(source)
    camera.unplug_after = camera.sent + 3 * MIB
    with pytest.raises(SourceGone):
        read_all(source.open(entry), 8 * MIB)
    with pytest.raises(SourceGone):
        list(source.entries())
    source.close()
    assert pipe.closed


def test_a_file_that_is_removed_or_rewritten_meanwhile() -> None:
    camera = SoftCamera()
    first, second = camera.add("A.MP4", size=10), camera.add("B.MP4", size=10)
    source, _ = dock(camera)
    entries, _ = listing(source)
    reader = source.open(entries[0])
    del camera.things[first]
    with pytest.raises(SourceUnreadable):
        reader.read_into(memoryview(bytearray(10)), 0)
    assert reader.changed()
    with pytest.raises(SourceUnreadable):
        source.open(entries[0])
    reader = source.open(entries[1])
    camera.things[second].modified = "20270101T000000"
    assert reader.changed()


def test_a_busy_camera_is_waited_for() -> None:
    camera = SoftCamera(busy=3)
    camera.add("A.MP4", size=10)
    assert len(listing(dock(camera)[0])[0]) == 1


def test_a_session_that_another_program_left_open_is_closed_first() -> None:
    camera = SoftCamera(session_left_open=True)
    camera.add("A.MP4", size=10)
    assert len(listing(dock(camera)[0])[0]) == 1
    assert camera.asked[:3] == [Operation.OPEN_SESSION, Operation.CLOSE_SESSION, Operation.OPEN_SESSION]


def test_what_a_killed_program_left_in_the_pipe_is_thrown_away() -> None:
    camera = SoftCamera(partial=False)
    camera.add("A.MP4", size=4 * MIB)
    usb = UsbCamera(camera)
    source = PtpSource(Session(DirectPipe(usb)))
    (entry,) = source.entries()
    assert isinstance(entry, Entry)
    source.open(entry).read_into(memoryview(bytearray(1000)), 0)  # and no more: its process was killed
    again = PtpSource(Session(DirectPipe(usb)))
    ((entry,), _) = listing(again)
    assert read_all(again.open(entry), 4 * MIB) == (thing(camera, entry), ())


def test_a_stream_that_is_left_in_the_middle_does_not_disturb_what_follows() -> None:
    camera = SoftCamera(partial=False)
    for name in ("A.MP4", "B.MP4"):
        camera.add(name, size=4 * MIB)
    source, _ = dock(camera)
    entries, _ = listing(source)
    first = source.open(entries[0])
    first.read_into(memoryview(bytearray(MIB)), 0)
    first.close()
    assert read_all(source.open(entries[1]), 4 * MIB) == (thing(camera, entries[1]), ())


def test_a_locked_phone_is_no_empty_source() -> None:
    with pytest.raises(SourceUnreadable, match="Unlock"):
        dock(SoftCamera(storages={}))


def test_nothing_but_reading_is_ever_asked() -> None:
    camera = SoftCamera(partial64=True, object_properties=True)
    camera.add("A.MP4", camera.folder("DCIM"), size=3 * MIB, bad=[(MIB, 10)])
    camera.add("B.MP4", size=5 * GIB, held=10)
    source, _ = dock(camera)
    for entry in listing(source)[0]:
        read_all(source.open(entry), min(entry.size_bytes, 4 * MIB))
    source.close()
    assert set(camera.asked) <= {int(operation) for operation in Operation}


def test_facts() -> None:
    camera = SoftCamera(
        battery=63, clock="20260302T091530", serial="C1", model="M", manufacturer="Maker", version="2.1"
    )
    session = Session(DirectPipe(UsbCamera(camera)))
    assert read_facts(session) == PtpFacts(63, "2026-03-02T09:15:30", "C1", "M", "Maker", "2.1")
    camera.battery = camera.clock = None
    assert read_facts(Session(DirectPipe(UsbCamera(camera)))) == PtpFacts(None, None, "C1", "M", "Maker", "2.1")


def test_folders_are_not_files() -> None:
    camera = SoftCamera()
    camera.add("empty", format=FOLDER)
    assert listing(dock(camera)[0]) == ([], [])
