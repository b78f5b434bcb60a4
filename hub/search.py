"""Search in paths by character bigrams: two letters of any script are found, at any place in a name.

FTS5's own trigram tokenizer finds nothing for two-character Chinese words; a column of bigrams in an ordinary full-text
table does. Index and question are cut by the same function, so what one side folds, the other folds too.
"""

from __future__ import annotations

from itertools import pairwise

from sqlalchemy import ColumnElement, Connection, Integer, Text, bindparam, cast, column, literal_column, select, table
from sqlalchemy.dialects.postgresql import TSQUERY

from hub.tables import segment, segment_bigrams

MAX_QUERY_CHARACTERS = 80
MAX_INDEXED_CHARACTERS = 4_000  # PostgreSQL keeps positions up to 16,383; no camera writes paths this long
_SEGMENT_TEXT = table("segment_text", column("rowid", Integer))


def bigrams(text: str) -> list[str]:
    """Pairs of neighbouring characters of the case-folded text, as tokens that every tokenizer keeps whole.

    Each token is the hex of its two code points: no punctuation, stemming or case folding can touch it.
    """
    return [f"{ord(a):x}x{ord(b):x}" for a, b in pairwise(text.casefold())]


def fts5_document(text: str) -> str:
    """What the FTS5 table indexes."""
    return " ".join(bigrams(text[:MAX_INDEXED_CHARACTERS]))


def tsvector_document(text: str) -> str:
    """What PostgreSQL casts to tsvector: positions let it check that pairs are neighbours."""
    return " ".join(f"{token}:{place}" for place, token in enumerate(bigrams(text[:MAX_INDEXED_CHARACTERS]), 1))


def matching(connection: Connection, text: str) -> ColumnElement[bool]:
    """A condition on `tables.segment`: its path holds `text`, ignoring case. Raises ValueError below two characters."""
    tokens = bigrams(text[:MAX_QUERY_CHARACTERS])
    if not tokens:
        raise ValueError("a search needs at least two characters")
    if connection.dialect.name == "sqlite":
        phrase = bindparam(None, f'"{" ".join(tokens)}"', Text())
        hits = select(_SEGMENT_TEXT.c.rowid).where(literal_column("segment_text").op("MATCH")(phrase))
    else:
        wanted = cast(bindparam(None, " <-> ".join(tokens), Text()), TSQUERY)
        hits = select(segment_bigrams.c.log_index).where(segment_bigrams.c.bigrams.op("@@")(wanted))
    return segment.c.log_index.in_(hits)
