"""Search in paths: two characters of any script are found, at any place in a name, alone or with the list's filters.

FTS5's own trigram tokenizer finds nothing for two-character Chinese words, so we cut the text ourselves: triples of
ASCII characters, pairs of all others. (Pairs of digits stand in nearly every name: among a million names a miss took
130 ms with pairs, 20 ms with triples.) Index and question are cut by the same function: what one folds, both fold.

A document also holds one token per filter of the list, so that a question with filters is one intersection of sorted
lists, whatever a planner would make of it. The FTS5 table is contentless: ``rowid`` is the segment's log index.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from functools import lru_cache

from sqlalchemy import Connection, text

from hub.recordings.standing import UNSTATED, Standing

# the words of `segment_text` one by one: word, log index, place
FTS5_WORDS = "CREATE VIRTUAL TABLE segment_text_words USING fts5vocab('segment_text', 'instance')"
FTS5_TABLE = "CREATE VIRTUAL TABLE segment_text USING fts5(grams, content='', columnsize=0)"
MAX_TEXT_CHARACTERS = 100
ANY_LABEL = "any"  # as a filter's label: has at least one
_PARTIES = {True: "p1", False: "p0"}
_RESTRICTED = "xrestricted"
_MAX_PATH_CHARACTERS = 4_000  # longer ones are searchable by their beginning
_FIRST_DAY, _LAST_DAY = date(1970, 1, 1), date(2107, 12, 31)  # the last one a FAT entry can hold


@dataclass(frozen=True, slots=True)
class Filters:
    """The filters of a list, as a segment has them or as a question wants them; None: unknown, or any."""

    camera: str | None = None
    station: str | None = None
    docking: str | None = None
    labels: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Within:
    """What a list is limited to besides: segments of these stations, or of these dockings (station, id)."""

    stations: tuple[str, ...]
    dockings: tuple[tuple[str, str], ...]


def document(path: str, filters: Filters, recorded_day: str | None) -> list[str]:
    """The tokens of one segment; `recorded_day` is YYYY-MM-DD."""
    tokens = _filter_tokens(filters)
    if filters.labels:
        tokens.append("l" + ANY_LABEL)
    if recorded_day is not None:
        year, month, day = recorded_day.split("-")
        tokens += ["d" + year, "d" + year + month, "d" + year + month + day]
    return tokens + _grams(_fold(path[:_MAX_PATH_CHARACTERS]))


def fts5_document(tokens: Iterable[str]) -> str:
    """What the FTS5 table indexes."""
    return " ".join(tokens)


def with_standing(words: str, standing: Standing) -> str:
    """A segment's words (`fts5_document`) with those of what people have stated of it in front."""
    return fts5_document([*standing_tokens(standing), words]) if standing != UNSTATED else words


def standing_tokens(standing: Standing) -> list[str]:
    """One token per fact. Texts of people are in openings only: here stands the labelling that each comes from."""
    texts = (("place", standing.place_at), ("matter", standing.matter_at), ("case_number", standing.case_at))
    tokens = [kind_token(standing.kind)] if standing.kind else []
    tokens += [_PARTIES[standing.parties_present]] if standing.parties_present is not None else []
    tokens += [labelling_token(field, at) for field, at in texts if at is not None]
    if standing.restricted:
        tokens += [_RESTRICTED, mark_token(standing.mark)]
        tokens += [knowing_token(account) for account in sorted(standing.known_to)]
    return tokens


def kind_token(kind: str) -> str:
    """Of recordings of a kind of work."""
    return "n" + kind.replace("_", "")


def labelling_token(field: str, log_index: int) -> str:
    """Of recordings whose place, matter or case number is that of this labelling."""
    return f"t{field[0]}{log_index}"


def mark_token(mark: str) -> str:
    """Of recordings with this mark, any but normal."""
    return "x" + mark.replace("_", "")


def knowing_token(account: str) -> str:
    """Of restricted recordings that this account may know."""
    return "w" + _short_hash(account)


def replace(tx: Connection, changed: Sequence[tuple[int, str, str]]) -> None:
    """Put other words in the place of those that segments had: (log index, words so far, words from now on).

    A contentless FTS5 table takes a document out only by exactly the words that went in.
    """
    if tx.dialect.name == "sqlite":
        for index, old, new in changed:
            tx.exec_driver_sql(
                "INSERT INTO segment_text (segment_text, rowid, grams) VALUES ('delete', ?, ?)", (index, old)
            )
            tx.exec_driver_sql("INSERT INTO segment_text (rowid, grams) VALUES (?, ?)", (index, new))
        return
    statement = text("UPDATE segment_bigrams SET bigrams = cast(:words AS tsvector) WHERE log_index = :at")
    for index, _, new in changed:
        tx.execute(statement, {"at": index, "words": tsvector_document(new.split(" "))})


def tsvector_document(tokens: Iterable[str]) -> str:
    """What PostgreSQL casts to tsvector: positions let it check that pieces are neighbours."""
    return " ".join(f"{token}:{place}" for place, token in enumerate(tokens, 1))


def find(
    connection: Connection,
    wanted: str,
    filters: Filters,
    days: tuple[date | None, date | None],
    *,
    before: int | None,
    limit: int,
    within: Within | None = None,
    also: Sequence[Sequence[str]] = (),
    knower: str | None = None,
    only: Sequence[int] | None = None,
    oldest_first: bool = False,
) -> list[int]:
    """Log indexes of the newest `limit` segments below `before` that fit, the newest first.

    Their paths hold every word of `wanted` (which may be empty when there is a filter), exact but for the case of
    letters and for compatibility forms such as full width. `days` are both included. `also`: of each of these groups
    one token or `both` at least. `knower`: without restricted ones that this account may not know. `only`: among these.
    `oldest_first`: the oldest above `before` instead.
    """
    words = [_fold(word) for word in wanted[:MAX_TEXT_CHARACTERS].split()]
    day_tokens = _day_tokens(*days) if days != (None, None) else []
    parts = [_phrase(word, connection) for word in words] + _filter_tokens(filters)
    if within is not None:
        held = [both(connection, Filters(station=name)) for name in within.stations]
        held += [both(connection, Filters(station=name, docking=one)) for name, one in within.dockings]
        also = [*also, held]
    if not all(also) or (days != (None, None) and not day_tokens):
        return []
    parts += [_either(connection, tokens) for tokens in (*also, day_tokens) if tokens]
    if not parts:
        return []
    question = _AND[connection.dialect.name].join(parts)
    if knower is not None:
        question = _WITHOUT[connection.dialect.name].format(question, _RESTRICTED, knowing_token(knower))
    places = "" if only is None else _AMONG[connection.dialect.name].format(", ".join(str(int(at)) for at in only))
    statement = text(_FIND[connection.dialect.name].format(places, *(_RISING if oldest_first else _FALLING)))
    start = before if before is not None else -1 if oldest_first else 1 << 62
    return list(connection.execute(statement, {"question": question, "start": start, "limit": limit}).scalars())


def both(connection: Connection, filters: Filters) -> str:
    """All of these filters at once, as one of the choices of a group."""
    return "(" + _AND[connection.dialect.name].join(_filter_tokens(filters)) + ")"


def _either(connection: Connection, tokens: Sequence[str]) -> str:
    return "(" + _OR[connection.dialect.name].join(tokens) + ")"


_AND = {"sqlite": " AND ", "postgresql": " & "}
_OR = {"sqlite": " OR ", "postgresql": " | "}
_WITHOUT = {"sqlite": "({}) NOT ({} NOT {})", "postgresql": "({}) & !({} & !{})"}
_AMONG = {"sqlite": "AND rowid IN ({})", "postgresql": "AND log_index IN ({})"}
_FALLING, _RISING = ("<", "DESC"), (">", "ASC")
_FIND = {
    "sqlite": "SELECT rowid FROM segment_text WHERE segment_text MATCH :question {} "
    "AND rowid {} :start ORDER BY rowid {} LIMIT :limit",
    "postgresql": "SELECT log_index FROM segment_bigrams WHERE bigrams @@ cast(:question AS tsquery) {} "
    "AND log_index {} cast(:start AS bigint) ORDER BY log_index {} LIMIT :limit",
}


def _fold(name: str) -> str:
    return name.lower() if name.isascii() else unicodedata.normalize("NFKC", name).casefold()


def _grams(folded: str) -> list[str]:
    """One token per character: up to three ASCII characters from it on, or another one and its neighbour; in hex.

    Every tokenizer keeps hex whole. A token cut short by the end is a prefix of the one it could have become.
    """
    if folded.isascii():  # nearly every name, and ingest waits for this
        whole = folded.encode().hex()
        return ["a" + whole[i : i + 6] for i in range(0, len(whole), 2)]
    tokens = []
    for i, ch in enumerate(folded):
        if ch.isascii():
            triple = folded[i : i + 3]
            ascii_part = triple if triple.isascii() else triple[:2] if triple[:2].isascii() else ch
            tokens.append("a" + ascii_part.encode().hex())
        else:
            tokens.append("c" + "".join(f"{ord(c):06x}" for c in folded[i : i + 2]))
    return tokens


def _phrase(word: str, connection: Connection) -> str:
    """The question for one word: its tokens as neighbours, up to the first that reaches the word's end."""
    kept = []
    for place, token in enumerate(_grams(word)):
        kept.append(token)
        length, longest = ((len(token) - 1) // 2, 3) if token[0] == "a" else ((len(token) - 1) // 6, 2)
        if place + length == len(word):
            break
    cut_short = length < longest  # in a longer name this token would go on
    if connection.dialect.name == "sqlite":
        return '"' + " ".join(kept) + '"' + ("*" if cut_short else "")
    return "(" + " <-> ".join(kept) + (":*" if cut_short else "") + ")"


def _filter_tokens(filters: Filters) -> list[str]:
    named = (("m", filters.camera), ("s", filters.station), ("k", filters.docking))
    tokens = [kind + _short_hash(value) for kind, value in named if value is not None]
    return tokens + ["l" + label.replace("_", "") for label in filters.labels]


@lru_cache(maxsize=4096)
def _short_hash(value: str) -> str:
    return hashlib.sha256(value.encode()).hexdigest()[:16]


def _day_tokens(first: date | None, last: date | None) -> list[str]:
    """The days from `first` to `last`, both included, in whole years, whole months and days."""
    day = max(first or _FIRST_DAY, _FIRST_DAY)
    end = min(last or _LAST_DAY, _LAST_DAY)
    tokens = []
    while day <= end:
        next_year = date(day.year + 1, 1, 1)
        next_month = date(day.year + day.month // 12, day.month % 12 + 1, 1)
        if (day.month, day.day) == (1, 1) and next_year - timedelta(days=1) <= end:
            tokens.append(f"d{day:%Y}")
            day = next_year
        elif day.day == 1 and next_month - timedelta(days=1) <= end:
            tokens.append(f"d{day:%Y%m}")
            day = next_month
        else:
            tokens.append(f"d{day:%Y%m%d}")
            day += timedelta(days=1)
    return tokens
