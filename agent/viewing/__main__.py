"""``python -m agent.viewing DIR STATION PARENT``: run by the agent (`process.keep_serving`); dies with it."""

import asyncio
import logging
import sys
from pathlib import Path

from agent.confine import die_with
from agent.viewing.process import serve


def main() -> int:
    """Serve until told to stop."""
    directory, station, parent = sys.argv[1:]
    if not die_with(int(parent)):
        return 0
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s %(message)s", stream=sys.stderr)
    asyncio.run(serve(Path(directory), station))
    return 0


if __name__ == "__main__":
    sys.exit(main())
