"""Where a file of a camera lies in the vault: pure naming, nothing here touches a disk.

    <camera>/<yyyy>/<mm>/<dd>/<docking id>/<original path>                    the footage
    <camera>/<yyyy>/<mm>/<dd>/<docking id>/.custody/leaves/<path>.leaves      its chunk leaves
    <camera>/<yyyy>/<mm>/<dd>/<docking id>/SHA256SUMS                         what `sha256sum -c` reads

A camera's names are data. A component is kept byte for byte where that is harmless and percent-encoded (upper-case
hex) where it is not: '/', '%', NUL, C0 and C1 controls, DEL, bidirectional controls, bytes that are not UTF-8, whole
components '.' and '..', and the dot of a trailing '.leaves'. Because every '%' of an original becomes '%25', a '%'
before a lower-case letter is ours alone:

    %e             an empty component
    %h<16 hex>     before the extension: cut to 200 bytes, the hex is the start of SHA-256 of the raw component
    %v<k>          before the extension: version k (2, 3, ...) of the same path in one docking
    %p<64 hex>     stands for all folders of a path that would be too long, or one of which is a file's name on a
                   damaged card; SHA-256 over them

So different original paths never meet, and an uncut name can be turned back into its bytes.
"""

import hashlib
import re
from collections.abc import Iterator, Sequence
from datetime import date

COMPONENT_BYTES_MAX = 200  # leaves room for %h, %v and '.leaves' below the 255 of ext4
PATH_BYTES_MAX = 3000  # Linux takes 4095 with the vault's own root in front
EXTENSION_BYTES_MAX = 20
RESERVED_IN_DOCKING = (b"SHA256SUMS", b".custody")
LEAVES_SUFFIX = b".leaves"

_BIDI = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
_ESCAPE = re.compile(rb"%([0-9A-F]{2})")
_HARMLESS = re.compile(rb"(?!\.)[ -$&-.0-~]{1,%d}" % COMPONENT_BYTES_MAX)  # printable ASCII but % and /
_OURS = re.compile(rb"%[a-z]")


def is_inert(char: str) -> bool:
    """Whether a character neither controls a terminal nor reorders the text around it."""
    code = ord(char)
    return not (code < 0x20 or 0x7F <= code <= 0x9F or char in _BIDI)


def encode_component(raw: bytes) -> bytes:
    """One file or folder name as it lies in the vault: valid UTF-8, 1 to 218 bytes, never '.', '..' or holding '/'."""
    if _HARMLESS.fullmatch(raw) and not raw.endswith(LEAVES_SUFFIX):  # nearly every name there is
        return raw
    if not raw:
        return b"%e"
    if raw in (b".", b".."):
        return raw.replace(b".", b"%2E")
    stem = raw[: -len(LEAVES_SUFFIX)] if raw.endswith(LEAVES_SUFFIX) else raw
    tokens = list(_tokens(stem))
    if stem is not raw:  # a folder "a.leaves" must not meet the leaves of a file "a"
        tokens += [b"%2E", b"leaves"]
    if sum(map(len, tokens)) <= COMPONENT_BYTES_MAX:
        return b"".join(tokens)
    return _cut(tokens, hashlib.sha256(raw).hexdigest()[:16].encode())


def decode_component(encoded: bytes) -> bytes:
    """The raw name behind an encoded component. Raises ValueError where it was cut or carries a version."""
    if encoded == b"%e":
        return b""
    if _OURS.search(encoded):
        raise ValueError("a cut or versioned name does not hold its original: take it from the seal")
    return _ESCAPE.sub(lambda match: bytes.fromhex(match[1].decode()), encoded)


def docking_path(camera: str, day: date, docking_id: str) -> bytes:
    """The folder of one docking, relative to the vault."""
    first = encode_component(camera.encode())
    if first.startswith(b"."):  # the vault's own folders, such as .staging, begin with a dot
        first = b"%2E" + first[1:]
    return b"/".join([first, b"%04d/%02d/%02d" % (day.year, day.month, day.day), encode_component(docking_id.encode())])


def relative_path(path: Sequence[bytes], version: int = 1, apart: bool = False) -> bytes:
    """Where a file of a camera lies inside the folder of its docking: what SHA256SUMS and the seal name.

    `apart`: a folder of the path has the name of a file, so one %p folder stands for all of them.
    """
    if not path or version < 1:
        raise ValueError("a file has at least one path component and a version from 1")
    parts = [encode_component(component) for component in path]
    if parts[0] in RESERVED_IN_DOCKING:
        parts[0] = b"%%%02X" % parts[0][0] + parts[0][1:]
    if version > 1:
        parts[-1] = _before_extension(parts[-1], b"%%v%d" % version)
    joined = b"/".join(parts)
    if len(joined) <= PATH_BYTES_MAX and not apart:
        return joined
    folders = hashlib.sha256(b"".join(len(raw).to_bytes(8) + raw for raw in path[:-1])).hexdigest()
    return b"%p" + folders.encode() + b"/" + parts[-1]


def segment_path(docking_folder: bytes, path: Sequence[bytes], version: int = 1, apart: bool = False) -> bytes:
    """Where a file of a camera lies, relative to the vault; `path` holds its raw components as the source gave them."""
    return docking_folder + b"/" + relative_path(path, version, apart)


def leaves_path(docking_folder: bytes, path: Sequence[bytes], version: int = 1, apart: bool = False) -> bytes:
    """Where the chunk leaves of that file lie, relative to the vault."""
    return docking_folder + b"/.custody/leaves/" + relative_path(path, version, apart) + LEAVES_SUFFIX


def display_path(path: Sequence[bytes]) -> str:
    """A camera's path for people: UTF-8, else GBK, else percent-encoded; whatever could mislead a reader is inert."""
    return "/".join(_display(component) for component in path)


def _display(raw: bytes) -> str:
    if _HARMLESS.fullmatch(raw):
        return raw.decode()
    for encoding in ("utf-8", "gbk"):
        try:
            text = raw.decode(encoding)
        except UnicodeDecodeError:
            continue
        return "".join(c if is_inert(c) and c != "/" else _percent(c.encode()).decode() for c in text)
    return "".join(chr(byte) if 0x20 <= byte < 0x7F and byte != 0x2F else f"%{byte:02X}" for byte in raw)


def _tokens(raw: bytes) -> Iterator[bytes]:
    """The encoded characters of a name, one by one, so that a cut never falls inside one."""
    for char in raw.decode("utf-8", "surrogateescape"):
        if "\udc80" <= char <= "\udcff":  # a byte that is not UTF-8
            yield b"%%%02X" % (ord(char) - 0xDC00)
        elif char in "/%" or not is_inert(char):
            yield _percent(char.encode())
        else:
            yield char.encode()


def _percent(raw: bytes) -> bytes:
    return b"".join(b"%%%02X" % byte for byte in raw)


def _cut(tokens: list[bytes], digest: bytes) -> bytes:
    """Keep the start and the extension (programs choose by it), mark the cut with the digest of the whole."""
    dot = len(tokens) - 1 - tokens[::-1].index(b".") if b"." in tokens else 0
    extension = b"".join(tokens[dot:]) if dot else b""
    if len(extension) > EXTENSION_BYTES_MAX:
        extension = b""
    kept, room = b"", COMPONENT_BYTES_MAX - len(extension)
    for token in tokens:
        if len(kept) + len(token) > room:
            break
        kept += token
    return kept + b"%h" + digest + extension


def _before_extension(name: bytes, mark: bytes) -> bytes:
    dot = name.rfind(b".")
    return name[:dot] + mark + name[dot:] if dot > 0 else name + mark
