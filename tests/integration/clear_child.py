"""``custodock-clear serve`` with a clock that counts as synchronised: the only thing that a test machine may lack."""

import logging
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path

from agent.clearing.__main__ import serve

logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
with socket.socket(fileno=0) as peer:
    sys.exit(serve(peer, Path(sys.argv[1]), Path(sys.argv[2]), lambda: (datetime.now(UTC), "synchronised")))
