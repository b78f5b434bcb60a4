"""Viewing on loopback: first frame and seeks in a real Chromium, throughput, and what hub and station need for it.

    python -m tests.bench.playback [--size-mib 2048] [--seeks 20] [--work DIR]

Makes an H.264 film of that size (needs ffmpeg), docks it, grants it, and views it through the real hub and station
processes. Prints one line a figure; ends 1 when first frame (1 s) or a seek (500 ms, 95th percentile) is too slow.
"""

from __future__ import annotations

import argparse
import http.client
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import psutil
import uvicorn
from playwright.sync_api import Page, sync_playwright
from starlette.applications import Starlette
from starlette.responses import FileResponse, HTMLResponse
from starlette.routing import Route

from hub.accounts.service import form_token
from hub.site import SESSION_COOKIE
from tests.e2e.test_browser import ARGUMENTS, CHROMIUM
from tests.e2e.viewing_hub import HubProcess, running, session_of
from tests.integration.viewing_scene import ViewingScene, make_video
from tests.ports import free_port

NAME = "FILM.MP4"
KILOBITS, PIECE_SECONDS = 8_000, 60  # what a body-worn camera writes in 1080p, with a key frame every 2 seconds
FRAME = """
(at) => new Promise((done, failed) => {
    const v = document.getElementById("footage"), t = performance.now();
    v.addEventListener("error", () => failed(new Error(v.error.message)), { once: true });
    v.requestVideoFrameCallback(() => done(performance.now() - t));
    if (at !== null) v.currentTime = at;
})
"""


class Watch:
    """The largest resident memory of a process, sampled."""

    def __init__(self, pid: int) -> None:
        self._process, self._stop = psutil.Process(pid), threading.Event()
        self.first = self.largest = self._now()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def stop(self) -> str:
        """First and largest, in words."""
        self._stop.set()
        self._thread.join()
        return f"{self.first:.0f} MiB before, {self.largest:.0f} MiB at most"

    def _now(self) -> float:
        return float(self._process.memory_info().rss) / (1 << 20)

    def _run(self) -> None:
        while not self._stop.wait(0.05):
            self.largest = max(self.largest, self._now())


def make_film(path: Path, size_mib: int) -> float:
    """A film of about this size out of one piece, over and over; its length in seconds."""
    piece = path.with_name("piece.mp4")
    make_video(piece, PIECE_SECONDS, KILOBITS)
    times = max(1, round(size_mib * (1 << 20) / piece.stat().st_size))
    words = ["-stream_loop", str(times - 1), "-i", str(piece), "-c", "copy", "-movflags", "+faststart", str(path)]
    subprocess.run(["ffmpeg", "-v", "error", "-y", *words], check=True)
    piece.unlink()
    return float(times * PIECE_SECONDS)


def begin(hub: HubProcess, cookie: str, recording: int) -> str:
    """The address of a new viewing."""
    line = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30)
    sent = {"cookie": f"{SESSION_COOKIE}={cookie}", "content-type": "application/x-www-form-urlencoded"}
    line.request("POST", f"/recordings/{recording}/viewing", f"form_token={form_token(cookie)}", sent)
    answer = line.getresponse()
    answer.read()
    line.close()
    return str(answer.headers["location"])


def throughput(hub: HubProcess, cookie: str, address: str) -> tuple[int, float]:
    """Bytes and seconds of the whole film as one answer."""
    line, got, start = http.client.HTTPConnection("127.0.0.1", hub.port, timeout=30), 0, time.perf_counter()
    line.request("GET", f"{address}/footage", headers={"cookie": f"{SESSION_COOKIE}={cookie}"})
    answer, buffer = line.getresponse(), memoryview(bytearray(1 << 20))
    while count := answer.readinto(buffer):
        got += count
    line.close()
    return got, time.perf_counter() - start


def frames(page: Page, address: str, seconds: float, seeks: int) -> tuple[float, list[float]]:
    """Milliseconds from the page's request to the first frame, and of each seek to its frame."""
    start = time.perf_counter()
    page.goto(address, wait_until="commit")
    page.wait_for_selector("#footage", state="attached")
    page.evaluate("""() => new Promise((done) => {
        const v = document.getElementById("footage");
        v.readyState >= 2 ? done() : v.addEventListener("loadeddata", () => done(), { once: true });
    })""")
    first = (time.perf_counter() - start) * 1000
    spots = [seconds * (0.02 + 0.96 * ((n * 0.618) % 1)) for n in range(1, seeks + 1)]
    return first, [page.evaluate(FRAME, at) for at in spots]


@contextmanager
def plain_server(film: Path) -> Iterator[str]:
    """The control: the same film from a server that proves, asks and counts nothing; its address."""
    page = '<!doctype html><video id="footage" controls preload="auto" src="/footage"></video>'
    routes = [
        Route("/", lambda _: HTMLResponse(page)),
        Route("/footage", lambda _: FileResponse(film, media_type="video/mp4")),
    ]
    port = free_port()
    server = uvicorn.Server(
        uvicorn.Config(Starlette(routes=routes), port=port, log_level="error", timeout_graceful_shutdown=1)
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join()


def run(arguments: Any) -> bool:
    """All of it; whether the limits hold."""
    with tempfile.TemporaryDirectory(dir=arguments.work) as work:
        film = Path(work) / "film.mp4"
        seconds = make_film(film, arguments.size_mib)
        size_bytes = film.stat().st_size
        print(f"film              {size_bytes / (1 << 20):.0f} MiB, {seconds:.0f} s", flush=True)
        scene = ViewingScene(Path(work) / "scene", {NAME: film})
        scene.grant(NAME)
        recording = scene.saved(NAME).recording
        with scene.serving() as station, running(scene) as hub, sync_playwright() as driver:
            cookie = session_of(scene, "holder")
            assert hub.process is not None
            browser = driver.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            context = browser.new_context(base_url=hub.address, locale="zh-CN")
            context.add_cookies([{"name": SESSION_COOKIE, "value": cookie, "url": hub.address}])
            page = context.new_page()
            page.goto("/recordings")  # the browser itself is warm
            address = begin(hub, cookie, recording)
            first, each = frames(page, address, seconds, arguments.seeks)
            with plain_server(film) as plain:
                bare, bare_each = frames(page, plain, seconds, arguments.seeks)
            browser.close()
            slow = quantiles(each, n=20)[-1]
            print(f"plain server      {bare:.0f} ms first frame; seek {median(bare_each):.0f} ms median, "
                  f"{quantiles(bare_each, n=20)[-1]:.0f} ms p95")  # fmt: skip
            print(f"first frame       {first:.0f} ms", flush=True)
            print(f"seek to frame     {median(each):.0f} ms median, {slow:.0f} ms p95, {max(each):.0f} ms most")
            at_hub, at_station = Watch(hub.process.pid), Watch(station.pid)
            got, took = throughput(hub, cookie, address)
            print(f"whole film        {got / (1 << 20) / took:.0f} MiB/s, each chunk proved and counted")
            print(f"memory, hub       {at_hub.stop()}")
            print(f"memory, station   {at_station.stop()}")
            assert got == size_bytes
        scene.close()
    return first < 1000 and slow < 500


def main() -> int:
    """Entry."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--size-mib", type=int, default=2048)
    parser.add_argument("--seeks", type=int, default=20)
    parser.add_argument("--work", type=Path, help="folder for the film and its copy, twice its size")
    return 0 if run(parser.parse_args()) else 1


if __name__ == "__main__":
    sys.exit(main())
