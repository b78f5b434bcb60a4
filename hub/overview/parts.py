"""The first page in parts, each rendered again only when what it shows has changed.

A part has a version, larger than that of every part before it: who knows the page as of a version needs only the parts
after it. A station's part is the same for everybody who sees that station.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from jinja2 import Environment
from markupsafe import Markup

from hub.access import Actor
from hub.language import Language
from hub.overview.cameras import CameraBook
from hub.overview.figures import (
    WIDE_STATIONS,
    Figures,
    NotYetSafe,
    Storage,
    not_yet_safe,
    storage,
)
from hub.overview.queries import Facts, within
from hub.sections import Scope
from hub.stations.concerns import severity
from hub.stations.now import StationNow

MAX_HELD = 8192  # forgetting one costs that it is sent again


@dataclass(frozen=True, slots=True)
class Part:
    """An element of the page; its id is that of the element."""

    id: str
    version: int
    html: Markup


@dataclass(frozen=True, slots=True)
class Sight:
    """What everybody sees alike who sees the same stations in one language. `version`: of before it was looked at."""

    version: int
    shape: str  # changes when there are other stations: then the page is built again
    wide: bool
    parts: tuple[Part, ...]
    not_yet: NotYetSafe
    storage: Storage | None


@dataclass(frozen=True, slots=True)
class Picture:
    """All parts that one reader sees. `stamp`: for whoever asks what changed since, see `Parts.since`."""

    at: datetime
    stamp: str
    shape: str  # see `Sight`
    tasks: Part
    alerts: Part
    figures: Part
    stations: tuple[Part, ...]
    offloads: Part
    wide: bool

    @property
    def parts(self) -> tuple[Part, ...]:
        """Every part."""
        return (self.tasks, self.alerts, self.figures, *self.stations, self.offloads)


class Parts:
    """One per process; from any thread."""

    def __init__(self, environments: Mapping[Language, Environment]) -> None:
        """`environments`: the templates of each language."""
        self._environments = environments
        self._lock = threading.Lock()
        self._version = 0
        self._epoch = secrets.token_hex(4)  # another process counts other versions
        self._held: dict[tuple[Any, ...], tuple[Any, Part]] = {}
        self.cameras = CameraBook()

    def sight(self, stations: tuple[StationNow, ...], scope: Scope, language: Language) -> Sight:
        """Those of `stations`, which are all that there are, within `scope`; many of them the worst first."""
        version = self._version  # what changes from here on is given again, not lost
        mine = within(stations, scope)
        wide = len(mine) <= WIDE_STATIONS
        shape = hashlib.sha256(f"{wide} {' '.join(one.id for one in mine)}".encode()).hexdigest()[:12]
        shown = mine if wide else sorted(mine, key=severity)
        template = "overview_station.html" if wide else "overview_tile.html"
        parts = tuple(
            self._keep((template, one.id, language), f"station-{one.id}", template, language, one) for one in shown
        )
        return Sight(version, shape, wide, parts, not_yet_safe(mine), storage(mine))

    def picture(self, actor: Actor, language: Language, sight: Sight, facts: Facts, now: datetime) -> Picture:
        """The page for this reader."""
        figures = Figures(facts.recorded.totals, facts.recorded.cameras, sight.not_yet, sight.storage)
        return Picture(
            at=now,
            stamp=f"{self._epoch}.{sight.version}.{sight.shape}",
            shape=sight.shape,
            tasks=self._part("tasks", actor.name, language, (facts.tasks, len(sight.parts))),
            alerts=self._part("alerts", actor.name, language, facts.alerts),
            figures=self._part("figures", actor.name, language, figures),
            stations=sight.parts,
            offloads=self._part("offloads", actor.name, language, facts.recorded.dockings),
            wide=sight.wide,
        )

    def since(self, picture: Picture, stamp: str) -> tuple[Part, ...] | None:
        """The parts that whoever has the page of `stamp` lacks; None: their page has other stations."""
        epoch, _, rest = stamp.partition(".")
        version, _, shape = rest.partition(".")
        if shape != picture.shape:
            return None
        known = int(version) if epoch == self._epoch and version.isascii() and version.isdigit() else -1
        return tuple(part for part in picture.parts if part.version > known)

    def _part(self, name: str, reader: str, language: Language, view: Any) -> Part:
        return self._keep((name, reader, language), f"part-{name}", f"overview_{name}.html", language, view)

    def _keep(self, key: tuple[Any, ...], name: str, template: str, language: Language, view: Any) -> Part:
        held = self._held.get(key)
        if held is not None and held[0] == view:
            return held[1]
        html = self._environments[language].get_template(template).render(view=view)
        with self._lock:
            held = self._held.pop(key, None)
            if held is None or held[1].html != html:
                self._version += 1
                held = view, Part(name, self._version, Markup(html))  # noqa: S704  a template's output
            self._held[key] = view, held[1]
            if len(self._held) > MAX_HELD:
                del self._held[next(iter(self._held))]
        return self._held[key][1]
