"""`dock-hub export` over a real hub and a real vault: what it makes verifies, and what must not happen does not."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import os
import re
import shutil
import subprocess
import threading
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pytest

from custody.bundleexamine import examine_bundle
from custody.checkpoint import SigningKey
from custody.cosignature import CosigningKey
from custody.digest import CHUNK_BYTES
from custody.disk import Hasher
from custody.envelope import _render, pae
from custody.event import Event, Sha256Hex
from custody.events import ChainHead
from custody.examine import Report
from custody.finding import Exit, Kind
from custody.hubevents import BundleFinished
from custody.manifest import Copied, ManifestReader
from custody.stationevents import DockingStarted, SegmentSealed
from hub import log
from hub.bundles.disc import make_image
from hub.bundles.selection import exports_in_log, find_recordings, read_entries
from hub.bundles.service import export_bundle
from hub.bundles.tags import _Writer
from hub.bundles.work import Order
from hub.chains import chain_ends
from hub.errors import Conflict, DomainError, Invalid, NotFound
from hub.logcheck import check_log
from hub.recordings.queries import RecordingFilter
from hub.stations.service import enrol_station
from hub.witnesses.service import add_witness, set_policy, take_cosigned_note
from tests.integration.approved_exports import approved
from tests.integration.hubs import TestHub, make_hub
from tests.vectors.dockings import STATION_KEY, Docking, Station, bent, build, pattern

FILES = {
    "DCIM/VID00001.MP4": pattern(1, 3 * CHUNK_BYTES + 5),
    "DCIM/VID00002.MP4": pattern(2, 900),
    "执法 50%25\\.mp4": pattern(4, 70),
    "empty.log": b"",
}


@dataclass
class Scene:
    hub: TestHub
    vault: Path
    docking: Path
    recordings: tuple[int, ...]
    tmp: Path

    def order(self, *recordings: int, **changes: str) -> Order:
        order = Order(recordings or self.recordings, "all of them", "区法院", "案件 17 调取", "root (signed in as li)")
        return replace(order, **changes)

    def stated(self) -> list[str]:
        """What the log says of exports that began."""
        return [kind for kind in self.hub.types() if kind.startswith("bundle.")]

    def approved(self) -> Order:
        return approved(self.hub.db, self.hub.keys, self.order())

    def export(self, *recordings: int, name: str = "bundle", **changes: str) -> Path:
        target = self.tmp / name
        order = approved(self.hub.db, self.hub.keys, self.order(*recordings, **changes))
        export_bundle(self.hub.db, self.hub.keys, order, [self.vault], target)
        return target

    def verify(self, bundle: Path, trusted: bool = True) -> Report:
        keys = [self.hub.keys.log.verify_key] if trusted else []
        with Hasher() as hasher:
            return examine_bundle(os.fsencode(bundle), keys, [], lambda _: None, hasher)


@pytest.fixture
def scene(database_url: str, tmp_path: Path) -> Iterator[Scene]:
    """A docking of four files in a vault, taken in by a hub on each engine together with other stations' events."""
    hub, vault, station = make_hub(database_url), tmp_path / "vault", Station()
    enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
    other = hub.enrol("dock-9")
    started = station.seal(_started)[1]
    docking = build(vault, Docking(FILES), station)
    with (docking / ".custody/manifest.jsonl").open("rb") as stream:
        seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
    hub.take("dock-test", started, *seals[:2])
    hub.take("dock-9", other.started(), other.segment())
    hub.take("dock-test", *seals[2:], (docking / ".custody/completed.dsse.json").read_bytes())
    recordings = find_recordings(hub.db, RecordingFilter(station="dock-test"))
    yield Scene(hub, vault, docking, tuple(recordings), tmp_path)
    hub.intake.close()
    hub.db.close()


def _started(**common: object) -> Event:
    return DockingStarted(
        **common,  # type: ignore[arg-type]
        docking_id="0195f000-d0c1",
        camera_id="cam-7",
        bay="1",
        source_kind="image",
        file_systems=("FAT32",),
        labels=("BODYCAM",),
        volume_ids=("1234-5678",),
        source_bytes=32 << 30,
        new_files=4,
        new_bytes=9,
    )


def _problems(report: Report) -> list[str]:
    return [f"{f.kind} {f.path!r} {f.detail}" for f in report.findings if not f.is_information]


def test_a_bundle_of_a_docking_verifies_with_the_logs_key_alone(scene: Scene) -> None:
    bundle = scene.export()
    report = scene.verify(bundle)
    assert _problems(report) == []
    assert report.exit is Exit.VERIFIED
    assert report.authorship_proved
    assert report.bundle is not None
    assert (report.bundle.recordings, report.bundle.dockings, report.bundle.whole_dockings) == (4, 1, 1)
    assert report.bundle.recipient == "区法院"
    assert dict(report.bundle.stations_by) == {
        STATION_KEY.verify_key.label: "log",
        scene.hub.keys.events.verify_key.label: "log",
    }
    assert not scene.verify(bundle, trusted=False).authorship_proved
    assert not [p for p in scene.tmp.iterdir() if p.name.startswith("bundle.")]


def test_a_bundle_lies_under_a_witnessed_checkpoint_where_the_witnesses_answer_in_time(scene: Scene) -> None:
    """Where they do not, under the newest one: the export goes on."""
    leader = CosigningKey(SigningKey.from_seed("office.example/leader", bytes(range(32))))
    add_witness(scene.hub.db, scene.hub.keys, leader.public.line, "tester")
    set_policy(scene.hub.db, scene.hub.keys, 1, "tester")
    ended = threading.Event()

    def witness() -> None:
        """As `custody witness pull` does: cosigns whatever is the newest, and hands it back."""
        while not ended.wait(0.05):
            with scene.hub.db.read() as connection:
                note = log.newest_note(connection)
            take_cosigned_note(scene.hub.db, note + leader.cosign(note, datetime.now(UTC)))

    thread = threading.Thread(target=witness)
    thread.start()
    try:
        target = scene.tmp / "bundle"
        export_bundle(scene.hub.db, scene.hub.keys, scene.approved(), [scene.vault], target, patience_seconds=60)
    finally:
        ended.set()
        thread.join()
    alone = scene.export(name="alone", reason="second")
    for bundle, cosigned in ((target, True), (alone, False)):
        with Hasher() as hasher:
            keys = [scene.hub.keys.log.verify_key]
            report = examine_bundle(os.fsencode(bundle), keys, [leader.public], lambda _: None, hasher)
        assert _problems(report) == []
        assert report.bundle is not None
        assert [label for label, _ in report.bundle.cosigned] == [leader.public.label] * cosigned
        assert report.bundle.not_cosigned == (() if cosigned else (leader.public.label,))


def test_the_bundle_is_a_bag_by_the_text_of_rfc_8493(scene: Scene) -> None:
    """A second reading of the RFC, and the tools that everybody has."""
    bundle = scene.export()
    assert (bundle / "bagit.txt").read_text() == "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
    for manifest, payload in (("manifest-sha256.txt", True), ("tagmanifest-sha256.txt", False)):
        listed = {}
        for line in (bundle / manifest).read_text().splitlines():
            digest, path = line.split(maxsplit=1)
            listed[re.sub("%(25|0[AD])", lambda m: chr(int(m[1], 16)), path)] = digest
        for path, digest in listed.items():
            assert hashlib.sha256((bundle / path).read_bytes()).hexdigest() == digest
            assert path.startswith("data/") == payload
        if payload:
            there = {f.relative_to(bundle).as_posix() for f in (bundle / "data").rglob("*") if f.is_file()}
            assert there == set(listed)
    info = dict(line.split(": ", 1) for line in (bundle / "bag-info.txt").read_text().splitlines())
    total = sum(map(len, FILES.values()))
    assert info["Payload-Oxum"] == f"{total}.{len(FILES)}"
    subprocess.run(["sha256sum", "--check", "--quiet", "--strict", "SHA256SUMS"], cwd=bundle, check=True)


def test_one_recording_carries_no_manifest_that_names_the_others(scene: Scene) -> None:
    bundle = scene.export(scene.recordings[0])
    report = scene.verify(bundle)
    assert _problems(report) == []
    assert report.bundle is not None
    assert (report.bundle.recordings, report.bundle.whole_dockings) == (1, 0)
    told = b"".join(f.read_bytes() for f in bundle.rglob("*") if f.is_file() and f.name != "custody.pyz")
    assert b"VID00001" in told
    assert b"VID00002" not in told
    for name in ("envelopes", "proofs"):  # enrolment, opening, seal, closing, export
        assert len(list((bundle / name).iterdir())) == 7  # with request and approval


def test_the_export_is_in_the_log_before_the_first_byte_and_its_end_after(scene: Scene) -> None:
    file = scene.docking / "DCIM/VID00002.MP4"
    good = file.read_bytes()
    file.write_bytes(b"x" * len(good))
    with pytest.raises(DomainError, match="VID00002"):
        scene.export()
    assert scene.stated() == ["bundle.exported.v1", "bundle.finished.v1"]
    assert not (scene.tmp / "bundle").exists()
    copied = [f for f in (scene.tmp / "bundle.part").rglob("*") if f.is_file()]
    assert [f.name for f in copied if b"x" * 900 in f.read_bytes()] == []
    file.write_bytes(good)
    bundle = scene.export()  # the same order goes on under the same id, stated once
    assert scene.stated() == ["bundle.exported.v1", *["bundle.finished.v1"] * 2]
    assert _problems(scene.verify(bundle)) == []
    with scene.hub.db.read() as connection:
        check_log(connection, scene.hub.keys, 480)


def test_nothing_is_stated_or_written_for_what_cannot_be_done(scene: Scene) -> None:
    (scene.tmp / "taken").mkdir()
    with pytest.raises(Conflict, match="exists"):
        scene.export(name="taken")
    with pytest.raises(NotFound, match="no recording"):
        scene.export(0)
    with pytest.raises(Invalid, match="Give the reason"):
        scene.export(reason=" ")
    with pytest.raises(Invalid, match="who gets the copy"):
        scene.export(recipient="two\nlines")
    (scene.docking / "empty.log").unlink()
    with pytest.raises(DomainError, match=r"empty\.log"):
        scene.export()
    assert scene.stated() == []
    assert not (scene.tmp / "bundle.part").exists()


def test_a_disk_without_room_is_told_before_anything_is_stated(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    full = os.statvfs_result((4096, 4096, 100, 10, 10, 0, 0, 0, 0, 255))
    monkeypatch.setattr(os, "statvfs", lambda _: full)
    with pytest.raises(DomainError, match="use a larger disk"):
        scene.export()
    assert scene.stated() == []
    assert not [p for p in scene.tmp.iterdir() if p.name.startswith("bundle.")]


def test_another_order_does_not_take_over_an_unfinished_one(scene: Scene) -> None:
    file = scene.docking / "empty.log"
    file.write_bytes(b"")
    (scene.docking / "DCIM/VID00001.MP4").write_bytes(b"x" * len(FILES["DCIM/VID00001.MP4"]))
    with pytest.raises(DomainError, match="VID00001"):
        scene.export()
    with pytest.raises(Conflict, match="unfinished export of something else"):
        scene.export(recipient="另一人")


def test_a_resumed_export_copies_only_what_lacks(scene: Scene) -> None:
    damaged = scene.docking / "empty.log"
    last = scene.docking / "执法 50%25\\.mp4"
    good = last.read_bytes()
    last.write_bytes(b"x" * len(good))
    with pytest.raises(DomainError, match="执法"):
        scene.export()
    last.write_bytes(good)
    first = next((scene.tmp / "bundle.part/data").rglob("VID00001.MP4"))
    second = next((scene.tmp / "bundle.part/data").rglob("VID00002.MP4"))
    kept = first.stat().st_ino
    second.write_bytes(b"y" * 900)  # the interrupted export left something else: it is not believed
    bundle = scene.export()
    assert next((bundle / "data").rglob("VID00001.MP4")).stat().st_ino == kept
    assert damaged.exists()
    assert _problems(scene.verify(bundle)) == []


def test_exports_of_more_recordings_than_one_statement_lists(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("hub.bundles.service.MAX_LISTED_RECORDINGS", 3)
    bundle = scene.export()
    with scene.hub.db.read() as connection:
        assert [export.recordings for _, export in exports_in_log(connection)] == [
            scene.recordings[:3],
            scene.recordings[3:],
        ]
    assert _problems(scene.verify(bundle)) == []


def test_the_register_tells_earlier_exports_of_the_same_recordings(scene: Scene) -> None:
    scene.export(scene.recordings[0], name="first", recipient="=cmd()")
    scene.export(scene.recordings[1], name="second")
    bundle = scene.export(scene.recordings[0], name="third")
    lines = (bundle / "register.csv").read_text("utf-8-sig").splitlines()
    assert len(lines) == 3
    assert "'=cmd()" in lines[1]
    page = (bundle / "说明.html").read_text()
    assert "<script" not in page
    assert "区法院" in page


def test_the_verifier_in_the_bundle_is_the_built_one_and_runs_there(scene: Scene) -> None:
    bundle = scene.export()
    (scene.tmp / "log.vkey").write_text(scene.hub.keys.log.verify_key.line)
    command = ["python3", "custody.pyz", "verify", ".", "--key", "../log.vkey", "--lang", "zh"]
    ran = subprocess.run(command, cwd=bundle, capture_output=True, text=True, check=False)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "验证通过" in ran.stdout
    assert "已证明" in ran.stdout
    assert {
        name.partition("/")[0] for name in zipfile.ZipFile(io.BytesIO((bundle / "custody.pyz").read_bytes())).namelist()
    } == {
        "__main__.py",
        "custody",
    }
    assert Kind.BAG_FILE_UNKNOWN not in {f.kind for f in scene.verify(bundle).findings}  # it left no cache behind


def test_a_newer_checkpoint_does_not_disturb(scene: Scene) -> None:
    bundle = scene.export()
    scene.export(name="later")
    assert _problems(scene.verify(bundle)) == []
    with scene.hub.db.read() as connection:
        assert log.read_head(connection).size == len(scene.hub.types())


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
def test_an_image_holds_the_bundle_and_is_read_back(scene: Scene) -> None:
    image = scene.export(name="case.iso")
    assert {p.name for p in scene.tmp.iterdir() if p.name.startswith("case")} == {"case.iso"}
    extracted = scene.tmp / "extracted"
    command = ["xorriso", "-osirrox", "on", "-indev", str(image), "-extract", "/", str(extracted)]
    subprocess.run(command, check=True, capture_output=True, env=os.environ | {"LC_ALL": "C.UTF-8"})
    report = scene.verify(extracted)
    assert _problems(report) == []
    assert report.authorship_proved
    with pytest.raises(Conflict, match="exists"):
        scene.export(name="case.iso")


@pytest.mark.skipif(shutil.which("xorriso") is None, reason="xorriso is not installed")
def test_an_image_that_the_disk_gives_back_otherwise_is_refused(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is changed between writing and comparing, by a xorriso in front of the real one."""
    folder = scene.export()
    (tmp_path / "bin").mkdir()
    real = shutil.which("xorriso")
    script = f"#!/bin/sh\n{real} \"$@\" || exit\ncase $1 in -as) echo x >> '{folder}/register.csv' ;; esac\n"
    (tmp_path / "bin/xorriso").write_text(script)
    (tmp_path / "bin/xorriso").chmod(0o755)
    search = {"LC_ALL": "C.UTF-8", "PATH": f"{tmp_path / 'bin'}:{os.defpath}"}
    monkeypatch.setattr("hub.bundles.disc._ENVIRONMENT", search)
    monkeypatch.setenv("PATH", search["PATH"])
    with pytest.raises(DomainError, match="ISO image failed"):
        make_image(folder, scene.tmp / "x.iso")


# --- what a station, a vault or a disk can do to an export ---------------------------------------------------------


@pytest.fixture
def scene_of(database_url: str, tmp_path: Path) -> Iterator[Callable[..., Scene]]:
    """Makes a scene of one docking of these files; `bend_seal` changes what its station seals."""
    hub = make_hub(database_url)

    def make(files: dict[str, bytes], **hooks: Callable[[SegmentSealed], SegmentSealed]) -> Scene:
        vault, station = tmp_path / "vault", Station()
        enrol_station(hub.db, hub.keys, STATION_KEY.verify_key.line)
        started = station.seal(_started)[1]
        docking = build(vault, Docking(files, **hooks), station)  # type: ignore[arg-type]
        with (docking / ".custody/manifest.jsonl").open("rb") as stream:
            seals = [item.envelope for item in ManifestReader(stream) if isinstance(item, Copied)]
        hub.take("dock-test", started, *seals, (docking / ".custody/completed.dsse.json").read_bytes())
        recordings = find_recordings(hub.db, RecordingFilter(station="dock-test"))
        return Scene(hub, vault, docking, tuple(recordings), tmp_path)

    yield make
    hub.intake.close()
    hub.db.close()


def _authentic(station: Station, payload: bytes) -> bytes:
    """A payload that the station signed, whatever it holds."""
    kind = "application/vnd.custodock.event+json"
    raw = _render(kind, payload, station.key.verify_key.label, station.key.sign(pae(kind, payload)))
    station.head = ChainHead(station.head.seq + 1, Sha256Hex(hashlib.sha256(raw).hexdigest()))
    return raw


@pytest.mark.parametrize("kind", ["bundle.exported.v1", "station.enrolled.v1"])
def test_a_station_that_speaks_of_exports_and_enrolments_stops_none(scene: Scene, kind: str) -> None:
    """Authentic, so it is logged; but unreadable, and nothing that the hub has said."""
    with scene.hub.db.read() as connection:
        end = chain_ends(connection, {"dock-test"})["dock-test"]
    head = ChainHead(end.seq, Sha256Hex(end.sha256))
    station = Station(STATION_KEY, head)
    body = b'{"type":"%s","source":"dock-test","seq":%d,"previous":"%s"}'
    raw = _authentic(station, body % (kind.encode(), head.seq + 1, head.hash_hex.encode()))
    before = len(scene.hub.types())
    scene.hub.take("dock-test", raw)
    assert scene.hub.types()[before:] == [kind]
    assert _problems(scene.verify(scene.export())) == []
    with pytest.raises(NotFound, match="no recording"):
        scene.export(before, name="other")


def test_a_file_named_as_the_copy_of_another_is_not_lost(scene_of: Callable[..., Scene]) -> None:
    scene = scene_of({".b.mp4.part": b"first", "b.mp4": b"second", ".copying": b"third"})
    assert _problems(scene.verify(scene.export())) == []


def test_a_seal_that_no_verifier_follows_is_refused_before_anything_is_stated(
    scene_of: Callable[..., Scene],
) -> None:
    scene = scene_of(FILES, bend_seal=bent(chunk_count=9))
    with pytest.raises(DomainError, match="chunks"):
        scene.export()
    assert scene.stated() == []


def test_two_recordings_of_one_file_are_refused_before_anything_is_stated(scene_of: Callable[..., Scene]) -> None:
    same = bent(vault_path="cam-7/2026/03/01/0195f000-d0c1/VID00002.MP4")
    scene = scene_of({"VID00001.MP4": b"1", "VID00002.MP4": b"2"}, bend_seal=same)
    with pytest.raises(DomainError, match="VID00002"):
        scene.export()
    assert scene.stated() == []


def test_a_prepared_part_folder_writes_nowhere_else(scene: Scene) -> None:
    """Whoever can write beside the target, as on a disk that he hands over, knows the order and lays links."""
    outside = scene.tmp / "outside"
    outside.mkdir()
    (outside / "keep").write_bytes(b"kept")
    part = scene.tmp / "bundle.part"
    part.symlink_to(outside)
    with pytest.raises(Conflict):
        scene.export()
    part.unlink()
    part.mkdir()
    (part / "register.csv").symlink_to(outside / "keep")
    order = {"bundle_id": "0195f000-0000-7000-8000-00000000beef", "order": asdict(scene.order())}
    (scene.tmp / "bundle.order.json").write_text(json.dumps(order))
    with pytest.raises(Conflict, match="link"):
        scene.export()
    assert (outside / "keep").read_bytes() == b"kept"
    assert [p.name for p in outside.iterdir()] == ["keep"]


@pytest.mark.parametrize("kept", ["[]", "{}", '"x"', '{"order": null}', "\x00"])
def test_a_damaged_order_is_told_as_one(scene: Scene, kept: str) -> None:
    (scene.tmp / "bundle.order.json").write_text(kept)
    with pytest.raises(DomainError):
        scene.export()


def test_a_disk_that_fails_while_footage_is_read_back_is_told_and_stated(scene: Scene) -> None:
    """The place of a file is taken by a folder: what the disk answers is no OSError that ends the program."""
    part = scene.tmp / "bundle.part"
    blocked = part / "data/dock-test/cam-7/2026/03/01/0195f000-d0c1/DCIM"
    file = scene.docking / "DCIM/VID00001.MP4"
    file.write_bytes(b"x" * len(FILES["DCIM/VID00001.MP4"]))
    with pytest.raises(DomainError):  # interrupted, so that the order is there
        scene.export()
    file.write_bytes(FILES["DCIM/VID00001.MP4"])
    shutil.rmtree(blocked)
    blocked.write_bytes(b"a file where a folder belongs")
    types = scene.hub.types()
    with pytest.raises(DomainError, match="DCIM"):
        scene.export()
    assert scene.hub.types()[len(types) :] == ["bundle.finished.v1"]


def test_cells_of_the_register_are_no_formulas_in_any_language_of_a_spreadsheet(scene: Scene) -> None:
    for number, start in enumerate("=+-@＝＋－＠"):
        scene.export(scene.recordings[0], name=f"b{number}", recipient=f"{start}cmd()")
    rows = list(csv.reader((scene.export(name="last") / "register.csv").read_text("utf-8-sig").splitlines()))
    assert all(not cell or cell[0] not in "=+-@＝＋－＠" for row in rows for cell in row)


def test_what_does_not_belong_to_the_bundle_is_told_before_it_is_called_whole(scene: Scene) -> None:
    file = scene.docking / "执法 50%25\\.mp4"
    good = file.read_bytes()
    file.write_bytes(b"x" * len(good))
    with pytest.raises(DomainError, match="执法"):
        scene.export()
    file.write_bytes(good)
    (scene.tmp / "bundle.part/Thumbs.db").write_bytes(b"a file manager was here")
    with pytest.raises(DomainError, match=r"Thumbs\.db is too much"):
        scene.export()
    with scene.hub.db.read() as connection:
        ends = [e.event for e in read_entries(connection, range(len(scene.hub.types())))]
    assert [e.complete for e in ends if isinstance(e, BundleFinished)] == [False, False]
    (scene.tmp / "bundle.part/Thumbs.db").unlink()
    assert _problems(scene.verify(scene.export())) == []


def test_a_disk_that_takes_two_names_for_one_is_told(tmp_path: Path) -> None:
    """What a disk leaves on which A.MP4 was copied over a.mp4: seen by its listing alone."""
    write = _Writer(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/A.MP4").write_bytes(b"second")
    with pytest.raises(DomainError, match=r"data/a\.mp4 is not there"):
        write.check_names({b"data/A.MP4", b"data/a.mp4"})
    write.check_names({b"data/A.MP4"})
