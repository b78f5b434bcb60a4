"""The code that two people compare when a station is enrolled: digits that stand for four public keys. See keys.md.

Key lines travel between station and hub by whatever people use: a stick, a chat, a mail. Whoever can change them on the
way could enrol a key of his own as this station, or make the station believe a hub of his own. Both ends derive the
same digits from the key lines that they really hold, and people carry them by voice: if they agree, so do the keys.

How many digits: nobody commits to a key before the other end speaks, so an attacker may search for keys that give equal
digits before he acts. Replacing one end's key takes 10^24 trials. Replacing both ends' takes about 10^12, and only
where the station's key was known before the hub's lines were pinned. scrypt makes each trial cost 32 MiB and a tenth of
a second: 10^12 of them are some 3,000 years of one core. Six digits, as where both ends commit first, would not do.
"""

from __future__ import annotations

import hashlib
import re

DIGITS, GROUP = 24, 4
_N, _R, _P = 1 << 15, 8, 1  # RFC 7914: 32 MiB
_SALT = b"custodock enrolment v1"


def comparison_code(station_line: str, log_line: str, receipt_line: str, command_line: str) -> str:
    """The digits in groups of four, parted by blanks, for key lines as each end holds them."""
    text = "\n".join(("custodock enrolment v1", station_line, log_line, receipt_line, command_line, ""))
    raw = hashlib.scrypt(text.encode(), salt=_SALT, n=_N, r=_R, p=_P, dklen=32, maxmem=1 << 26)
    digits = f"{int.from_bytes(raw) % 10**DIGITS:0{DIGITS}}"
    return " ".join(digits[i : i + GROUP] for i in range(0, DIGITS, GROUP))


def same_code(typed: str, code: str) -> bool:
    """Whether a person typed this code, with whatever blanks and hyphens."""
    return re.sub(r"[\s-]", "", typed) == code.replace(" ", "")
