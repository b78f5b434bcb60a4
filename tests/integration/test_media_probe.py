"""The media parser's process: real clips, cut clips, hostile clips, and a parser that stalls or dies."""

import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from agent.errors import VaultUnwritable
from agent.media import UNREADABLE, MediaProbe
from custody.stationevents import Media
from tests.integration.cards import needs


@pytest.fixture(scope="module")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two seconds of picture and tone in the containers that cameras write."""
    needs("ffmpeg")
    folder = tmp_path_factory.mktemp("clips")
    picture = ["-f", "lavfi", "-i", "testsrc=s=320x240:r=15:d=2", "-f", "lavfi", "-i", "sine=f=300:d=2"]
    h264 = ["-c:v", "libx264", "-preset", "ultrafast", "-pix_fmt", "yuv420p", "-c:a", "aac", "-shortest"]
    start = ["-metadata", "creation_time=2026-03-01T08:00:00Z"]
    for name, options in {
        "end.mp4": [*h264, *start],
        "front.mp4": [*h264, *start, "-movflags", "+faststart"],
        "clip.mov": h264,
        "clip.mkv": h264,
        "clip.ts": h264,
        "clip.avi": ["-c:v", "mjpeg", "-c:a", "pcm_s16le", "-shortest"],
        "clip.wav": ["-vn"],
        "still.jpg": ["-frames:v", "1"],
    }.items():
        subprocess.run(["ffmpeg", "-v", "error", *picture, *options, folder / name], check=True)
    return folder


@pytest.fixture
def probe() -> Iterator[MediaProbe]:
    probe = MediaProbe()
    yield probe
    probe.close()
    probe.close()


def facts(probe: MediaProbe, path: Path) -> Media:
    return probe.facts(os.fsencode(path))


def test_whole_clips(probe: MediaProbe, clips: Path) -> None:
    media = facts(probe, clips / "end.mp4")
    assert media == Media(
        container="MPEG-4",
        duration_ms=2000,
        started_at="2026-03-01 08:00:00 UTC",
        video_codec="AVC",
        audio_codec="AAC",
        width=320,
        height=240,
        truncated=False,
        playable=True,
    )
    containers = {path.name: facts(probe, path) for path in clips.iterdir()}
    assert all(found.playable and found.truncated is False for found in containers.values())
    assert {name: found.container for name, found in containers.items()} == {
        "end.mp4": "MPEG-4",
        "front.mp4": "MPEG-4",
        "clip.mov": "MPEG-4",
        "clip.mkv": "Matroska",
        "clip.ts": "MPEG-TS",
        "clip.avi": "AVI",
        "clip.wav": "Wave",
        "still.jpg": "JPEG",
    }


@pytest.mark.parametrize("name", ["front.mp4", "clip.mkv", "clip.ts", "clip.avi"])
def test_a_cut_clip_is_truncated_and_still_playable(probe: MediaProbe, clips: Path, tmp_path: Path, name: str) -> None:
    whole = (clips / name).read_bytes()
    (tmp_path / name).write_bytes(whole[: len(whole) * 2 // 3])
    media = facts(probe, tmp_path / name)
    assert (media.truncated, media.playable) == (True, True)


def test_without_its_index_an_mp4_is_not_playable(probe: MediaProbe, clips: Path, tmp_path: Path) -> None:
    whole = (clips / "end.mp4").read_bytes()
    (tmp_path / "cut.mp4").write_bytes(whole[: len(whole) * 2 // 3])
    (tmp_path / "empty.mp4").write_bytes(b"")
    (tmp_path / "text.mp4").write_bytes(b"not a film\n" * 100)
    media = facts(probe, tmp_path / "cut.mp4")
    assert (media.truncated, media.playable) == (True, False)
    assert facts(probe, tmp_path / "empty.mp4").playable is False
    assert facts(probe, tmp_path / "text.mp4").playable is False


def test_odd_names_and_absent_files(probe: MediaProbe, clips: Path, tmp_path: Path) -> None:
    odd = os.fsencode(tmp_path) + b"/\xff \n%.mp4"
    with open(odd, "wb") as file:
        file.write((clips / "front.mp4").read_bytes())
    assert probe.facts(odd).playable is True
    (tmp_path / "link.mp4").symlink_to("/etc/passwd")
    for path in (tmp_path / "absent.mp4", tmp_path / "link.mp4"):
        with pytest.raises(VaultUnwritable):
            facts(probe, path)


def test_a_parser_that_stalls_is_killed_and_replaced(clips: Path) -> None:
    probe = MediaProbe()
    assert facts(probe, clips / "end.mp4").playable is True
    probe._timeout_seconds = 0.5
    assert probe._child is not None
    first = probe._child.pid
    os.kill(first, signal.SIGSTOP)
    began = time.monotonic()
    assert facts(probe, clips / "end.mp4") == UNREADABLE
    assert time.monotonic() - began < 8  # less than the usual patience
    assert not os.path.exists(f"/proc/{first}")
    probe._timeout_seconds = 10
    assert facts(probe, clips / "end.mp4").playable is True
    probe.close()


def test_a_parser_that_dies_costs_one_file_at_most(probe: MediaProbe, clips: Path) -> None:
    assert facts(probe, clips / "end.mp4").playable is True
    assert probe._child is not None
    os.kill(probe._child.pid, signal.SIGSEGV)
    assert facts(probe, clips / "end.mp4") in (UNREADABLE, facts(probe, clips / "end.mp4"))
    assert facts(probe, clips / "end.mp4").playable is True


def test_the_parser_is_confined(probe: MediaProbe, clips: Path) -> None:
    facts(probe, clips / "end.mp4")
    assert probe._child is not None
    limits = Path(f"/proc/{probe._child.pid}/limits").read_text()
    status = Path(f"/proc/{probe._child.pid}/status").read_text()
    table = {line[:25].strip(): line[26:46].strip() for line in limits.splitlines()[1:]}
    assert table["Max file size"] == "0"
    assert table["Max core file size"] == "0"
    assert table["Max open files"] == "32"
    assert table["Max processes"] == "0"
    assert int(table["Max address space"]) <= 512 << 20
    assert int(table["Max cpu time"]) <= 20
    assert "NoNewPrivs:\t1" in status
    assert os.getsid(probe._child.pid) == probe._child.pid
    assert Path(f"/proc/{probe._child.pid}/environ").read_bytes().count(b"=") <= 2


def test_hostile_clips_never_reach_us(probe: MediaProbe, clips: Path, tmp_path: Path) -> None:
    """Flipped, cut, spliced and random clips: each gets an answer in time, and the next file is right again."""
    rng = random.Random(9)
    originals = [path.read_bytes() for path in sorted(clips.iterdir())]
    target = tmp_path / "hostile.mp4"
    starts = set()
    for _ in range(150):
        data = bytearray(rng.choice(originals))
        match rng.randrange(5):
            case 0:
                for _ in range(rng.choice([1, 10, 1000])):
                    data[rng.randrange(len(data))] = rng.randrange(256)
            case 1:
                del data[rng.randrange(1, len(data)) :]
            case 2:
                at = rng.randrange(len(data))
                data[at : at + 4] = rng.choice([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", bytes(4)])
            case 3:
                data = bytearray(rng.randbytes(rng.randrange(1, 20_000)))
            case 4:
                other = rng.choice(originals)
                data = data[: rng.randrange(1, 4000)] + other[rng.randrange(len(other)) :]
        target.write_bytes(data)
        assert isinstance(facts(probe, target), Media)
        starts.add(probe._child.pid if probe._child else None)
    assert facts(probe, clips / "end.mp4").playable is True
    assert len(starts) < 20, "the parser should survive nearly all of them"
