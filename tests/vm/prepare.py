"""Build what the tests in the virtual dock need and a cache keeps: `python -m tests.vm.prepare`.

Image, drivers and packages take minutes, most of them spent waiting for a network.
"""

from __future__ import annotations

import signal
import sys

from deploy.environment import LOCKS
from tests.vm.dock import wheelhouse
from tests.vm.drivers import build_drivers
from tests.vm.image import why_not


def main() -> None:
    """Raises LabError. Where no virtual dock can run the tests skip and say why; this does so too."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # then what is half built is removed
    if reason := why_not():
        sys.stdout.write(f"skipped: {reason}\n")
        return
    for what in LOCKS:
        wheelhouse(what)
    build_drivers()


if __name__ == "__main__":
    main()
