"""As much DER (ITU-T X.690) as RFC 3161 needs: read strictly, write plainly. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from custody.errors import FormatError

BOOLEAN, INTEGER, OCTETS, NULL, OID, UTC_TIME, GENERALIZED_TIME = 0x01, 0x02, 0x04, 0x05, 0x06, 0x17, 0x18
SEQUENCE, SET = 0x30, 0x31


def context(number: int, *, constructed: bool = True) -> int:
    """The tag ``[number]``."""
    return (0xA0 if constructed else 0x80) | number


@dataclass(frozen=True, slots=True)
class Value:
    """One value: `raw` is all of it, `content` without tag and length."""

    tag: int
    content: bytes
    raw: bytes

    def of(self, tag: int) -> Value:
        """Itself. Raises FormatError when it is not of this tag."""
        if self.tag != tag:
            raise FormatError(f"DER: tag {self.tag:#04x} where {tag:#04x} belongs")
        return self

    def parts(self, tag: int = SEQUENCE) -> list[Value]:
        """The values in a constructed value of this tag. Raises FormatError."""
        return list(read_all(self.of(tag).content))

    @property
    def number(self) -> int:
        """An INTEGER's value. Raises FormatError."""
        content = self.of(INTEGER).content
        if not content or (len(content) > 1 and content[0] in (0, 0xFF) and content[0] >> 7 == content[1] >> 7):
            raise FormatError("DER: an integer out of form")
        return int.from_bytes(content, "big", signed=True)


def read_one(raw: bytes) -> Value:
    """The single value that `raw` is. Raises FormatError for anything before or behind it."""
    values = list(read_all(raw))
    if len(values) != 1:
        raise FormatError(f"DER: {len(values)} values where one belongs")
    return values[0]


def read_all(raw: bytes) -> Iterator[Value]:
    """The values that follow one another in `raw`. Raises FormatError."""
    at = 0
    while at < len(raw):
        start, tag = at, raw[at]
        if tag & 0x1F == 0x1F or at + 2 > len(raw):
            raise FormatError("DER: a tag of several bytes, or none")
        length, at = raw[at + 1], at + 2
        if length & 0x80:
            count = length & 0x7F
            length = int.from_bytes(raw[at : at + count], "big")
            if not 1 <= count <= 4 or at + count > len(raw) or raw[at] == 0 or length < 0x80:
                raise FormatError("DER: a length out of form")
            at += count
        if at + length > len(raw):
            raise FormatError("DER: a value that ends too early")
        yield Value(tag, raw[at : at + length], raw[start : at + length])
        at += length


def write(tag: int, *parts: bytes) -> bytes:
    """A value of this tag over `parts`."""
    content = b"".join(parts)
    if len(content) < 0x80:
        return bytes((tag, len(content))) + content
    length = len(content).to_bytes(-(-len(content).bit_length() // 8), "big")
    return bytes((tag, 0x80 | len(length))) + length + content


def write_number(value: int) -> bytes:
    """A non-negative INTEGER."""
    return write(INTEGER, value.to_bytes(value.bit_length() // 8 + 1, "big"))


def write_oid(dotted: str) -> bytes:
    """An OBJECT IDENTIFIER, such as ``2.16.840.1.101.3.4.2.1``."""
    first, second, *rest = (int(part) for part in dotted.split("."))
    content = bytearray()
    for number in (first * 40 + second, *rest):
        septets = [number & 0x7F]
        while number := number >> 7:
            septets.append(number & 0x7F | 0x80)
        content += bytes(reversed(septets))
    return write(OID, bytes(content))
