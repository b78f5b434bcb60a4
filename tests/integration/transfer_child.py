"""A transfer in a process of its own, to be failed and killed: ``python -m tests.integration.transfer_child``.

    SOURCE VAULT [announced numbers, comma separated]

One JSON line per progress and per result, written before the next is taken: a line stands for an announcement.
The last line is {"end": code}: "complete" or the code of the error.
"""

import json
import os
import sys
from pathlib import Path

from agent.copies import Copied
from agent.errors import AgentError
from agent.folder import FolderSource
from agent.transfer import copy_items
from tests.integration.transfer_cases import items_of


def say(**line: object) -> None:
    os.write(1, json.dumps(line).encode() + b"\n")


def main() -> None:
    folder, vault = sys.argv[1:3]
    announced = {int(n) for n in sys.argv[3].split(",") if n} if len(sys.argv) > 3 else set()
    source = FolderSource(os.fsencode(folder))
    items = [item for item in items_of(source) if item.n not in announced]
    end = "complete"
    try:
        for result in copy_items(source, items, Path(vault), lambda n, bytes_done: say(n=n, progress=bytes_done)):
            if isinstance(result, Copied):
                say(
                    copied=result.n, size=result.size_bytes, sha256=result.sha256.hex(), root=result.tree_root.hex(),
                    leaf=result.first_leaf.hex(), chunks=result.chunk_count, changed=result.changed,
                    copied_bytes=result.copied_bytes, resumed_at=result.resumed_at_bytes,
                )  # fmt: skip
            else:
                say(other=result.n, kind=str(result))
    except AgentError as error:
        end = error.code
    say(end=end)


main()
