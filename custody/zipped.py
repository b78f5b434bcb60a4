"""The verifier as one file, ``custody.pyz``: this package, and nothing else but Python and `cryptography` is needed.

The same sources give the same bytes on every machine: members sorted, stored uncompressed, with one fixed time.
``python -m custody.zipped FILE`` writes it.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

FIXED_TIME = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP file can say
_SHEBANG = b"#!/usr/bin/env python3\n"
_MAIN = '''\
"""Starts the verifier, or says in plain words what it lacks. Old Pythons must be able to read this file."""
import sys

if sys.version_info < (3, 11):
    sys.stderr.write(
        "custody: 需要 Python 3.11 或更新版本，当前为 %d.%d。尚未验证任何内容。\\n"
        "custody: needs Python 3.11 or newer, this is %d.%d. Nothing was verified.\\n" % (sys.version_info[:2] * 2)
    )
    sys.exit(2)
try:
    import cryptography
except ImportError:
    sys.stderr.write(
        "custody: 缺少 Python 库 cryptography（用于核对签名）。尚未验证任何内容。\\n"
        "  请安装： python3 -m pip install cryptography ，或 Debian/Ubuntu/UOS： apt install python3-cryptography\\n"
        "custody: the Python library cryptography is missing; it checks the signatures. Nothing was verified.\\n"
        "  Install it: python3 -m pip install cryptography, or on Debian: apt install python3-cryptography\\n"
    )
    sys.exit(2)

from custody.cli import command

sys.exit(command())
'''


def verifier_zipapp() -> bytes:
    """The bytes of ``custody.pyz``, made from the sources of this very package."""
    members = {"__main__.py": _MAIN.encode()}
    for source in Path(__file__).parent.glob("*.py"):
        members[f"custody/{source.name}"] = source.read_bytes()
    made = io.BytesIO()
    made.write(_SHEBANG)
    with zipfile.ZipFile(made, "a", zipfile.ZIP_STORED) as archive:
        for name in sorted(members):
            info = zipfile.ZipInfo(name, FIXED_TIME)
            info.create_system, info.external_attr = 3, 0o644 << 16  # the same on every system
            archive.writestr(info, members[name])
    return made.getvalue()


if __name__ == "__main__":
    Path(sys.argv[1]).write_bytes(verifier_zipapp())
