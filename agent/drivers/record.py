"""The 89-byte record that recorders of the ZFY family keep: who carries this camera. Pure.

    serial[7] user_no[6] user_name[32] unit_no[12] unit_name[32]     GBK, padded with NUL or blanks

The names in it are personal data: they may stand in a signed event, never in a log or a retained message.
"""

from dataclasses import dataclass

RECORD_BYTES = 89
_WIDTHS = (7, 6, 32, 12, 32)


@dataclass(frozen=True, slots=True)
class RecorderInfo:
    """The record as text; "" where it holds nothing."""

    serial: str
    user_no: str
    user_name: str
    unit_no: str
    unit_name: str


def parse_info(record: bytes) -> RecorderInfo:
    """Read a record; bytes that are no GBK show as U+FFFD. Raises ValueError for any other length."""
    if len(record) != RECORD_BYTES:
        raise ValueError(f"a record has {RECORD_BYTES} bytes, not {len(record)}")
    fields, at = [], 0
    for width in _WIDTHS:
        fields.append(_text(record[at : at + width]))
        at += width
    return RecorderInfo(*fields)


def _text(field: bytes) -> str:
    """Up to the first NUL. A letter cut at the field's end is dropped, as the recorder's own screen does."""
    field = field.split(b"\0", 1)[0]
    try:
        text = field.decode("gbk")
    except UnicodeDecodeError as error:
        cut = error.start == len(field) - 1
        text = field[: error.start].decode("gbk") if cut else field.decode("gbk", "replace")
    return "".join(char for char in text if char.isprintable()).strip()
