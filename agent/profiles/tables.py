"""One TOML table read strictly: each value has its type, each key is known, each error names file and key."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

from agent.errors import ProfileInvalid
from agent.profiles.globs import Glob, check_glob

_T = TypeVar("_T")
TEXT_MAX = 1000


class TableReader:
    """Hands out the values of one table; `finish` refuses what nobody asked for."""

    def __init__(self, file: str, path: str, body: dict[str, Any]) -> None:
        self.file, self.path = file, path
        self._body = body
        self._asked: set[str] = set()

    def wrong(self, key: str, en: str, zh: str) -> ProfileInvalid:
        """The error for one key of this table."""
        return profile_invalid(self.file, f"{self.path}{key}", en, zh)

    def has(self, key: str) -> bool:
        """Whether the key is there; it counts as known."""
        self._asked.add(key)
        return key in self._body

    def text(self, key: str, default: str | None = None) -> str:
        """A text of 1 to 1000 characters. Raises ProfileInvalid."""
        value = self._get(key, default)
        if not isinstance(value, str) or (value != default and not 0 < len(value) <= TEXT_MAX):
            raise self.wrong(key, "text in quotes expected", "应为带引号的文本")
        return value

    def texts(self, key: str, default: tuple[str, ...] | None = None) -> tuple[str, ...]:
        """A list of texts. Raises ProfileInvalid."""
        if default is not None and not self.has(key):
            return default
        value = self._get(key, None)
        if not isinstance(value, list) or not all(isinstance(x, str) and 0 < len(x) <= TEXT_MAX for x in value):
            raise self.wrong(key, 'a list of texts expected: ["…"]', '应为文本列表：["…"]')
        return tuple(str(x) for x in value)

    def number(self, key: str, low: float, high: float, default: float | None = None) -> float:
        """A number of this range. Raises ProfileInvalid."""
        value = self._get(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float) or not low <= value <= high:
            raise self.wrong(key, f"a number from {low:g} to {high:g} expected", f"应为 {low:g} 至 {high:g} 的数")
        return value

    def whole(self, key: str, low: int, high: int, default: int | None = None) -> int:
        """A whole number of this range. Raises ProfileInvalid."""
        value = self.number(key, low, high, default)
        if not isinstance(value, int):
            raise self.wrong(key, "a whole number expected", "应为整数")
        return value

    def flag(self, key: str, default: bool) -> bool:
        """true or false. Raises ProfileInvalid."""
        value = self._get(key, default)
        if not isinstance(value, bool):
            raise self.wrong(key, "true or false expected", "应为 true 或 false")
        return value

    def table(self, key: str) -> TableReader:
        """A table; an absent one is empty. Raises ProfileInvalid."""
        value = self._get(key, {})
        if not isinstance(value, dict):
            raise self.wrong(key, "a table expected", "应为表")
        return TableReader(self.file, f"{self.path}{key}.", value)

    def tables(self, key: str) -> list[TableReader]:
        """A list of tables; an absent one is empty. Raises ProfileInvalid."""
        value = self._get(key, [])
        if not isinstance(value, list) or not all(isinstance(x, dict) for x in value):
            raise self.wrong(key, f"[[{self.path}{key}]] expected", f"应为 [[{self.path}{key}]]")
        return [TableReader(self.file, f"{self.path}{key}[{n}].", x) for n, x in enumerate(value, 1)]

    def names(self) -> list[str]:
        """The keys of a table whose keys are names."""
        return sorted(self._body)

    def pattern(self, key: str) -> re.Pattern[str]:
        """A regular expression over text, without regard to case. Raises ProfileInvalid."""
        text = self.text(key)
        return self._checked(key, lambda: re.compile(text, re.IGNORECASE))

    def byte_pattern(self, key: str, allowed: frozenset[str]) -> re.Pattern[bytes]:
        """A regular expression in ASCII over bytes, its groups named from `allowed`. Raises ProfileInvalid."""
        text = self.text(key)
        if not text.isascii():
            raise self.wrong(
                key,
                "only ASCII here, because names come in UTF-8 and in GBK; write [^_]+ for Chinese text",
                "此处仅限 ASCII，因文件名可能为 UTF-8 或 GBK；中文部分请写 [^_]+",
            )
        regex = self._checked(key, lambda: re.compile(text.encode("ascii"), re.IGNORECASE | re.DOTALL))
        strange = set(regex.groupindex) - allowed
        if strange:
            raise self.wrong(
                key,
                f"unknown group {min(strange)!r}; known: {', '.join(sorted(allowed))}",
                f"未知的分组 {min(strange)!r}；可用：{'、'.join(sorted(allowed))}",
            )
        return regex

    def globs(self, key: str) -> tuple[Glob, ...]:
        """A list of globs; an absent one is empty. Raises ProfileInvalid."""
        return tuple(self._glob(key, text) for text in self.texts(key, ()))

    def glob(self, key: str) -> Glob:
        """One glob. Raises ProfileInvalid."""
        return self._glob(key, self.text(key))

    def finish(self) -> None:
        """Raises ProfileInvalid for a key that nobody asked for."""
        for key in sorted(self._body.keys() - self._asked):
            known = ", ".join(sorted(self._asked))
            raise self.wrong(key, f"unknown key; known here: {known}", f"未知的键；此处可用：{known}")

    def _get(self, key: str, default: Any) -> Any:
        self._asked.add(key)
        if key in self._body:
            return self._body[key]
        if default is None:
            raise self.wrong(key, "this key is missing", "缺少此键")
        return default

    def _glob(self, key: str, text: str) -> Glob:
        try:
            return check_glob(text)
        except ValueError as error:
            raise self.wrong(key, f"{text!r} is no path pattern: {error}", f"{text!r} 不是有效的路径模式") from error

    def _checked(self, key: str, make: Callable[[], _T]) -> _T:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("error")  # Python warns of sets that will change their meaning
                return make()
        except (re.error, OverflowError, RecursionError, Warning) as error:
            raise self.wrong(key, f"no regular expression: {error}", f"不是有效的正则表达式：{error}") from error


def profile_invalid(file: str, key: str, en: str, zh: str) -> ProfileInvalid:
    """A profile that cannot be used, with the place in it."""
    where = f"{file}: {key}" if key else file
    return ProfileInvalid(
        f"Camera profile {where}: {en}. Nothing was started. Correct the file and start again.",
        f"记录仪配置 {where}：{zh}。未启动任何操作。请更正该文件后重新启动。",
    )
