"""What `dock-agent profile test` finds out about a card. `examine` is pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from agent.inspection import Inspection
from agent.profiles.identity import Identity, camera_identity
from agent.profiles.names import (
    NameFacts,
    Role,
    SidecarGroups,
    charge_percent,
    describe_name,
    group_sidecars,
)
from agent.profiles.profile import Path, Profile
from agent.profiles.recognition import DeviceFacts, Match, rank


@dataclass(frozen=True, slots=True)
class Examination:
    """Everything that a profile says about one card. `names` covers the sample, in its order."""

    ranking: tuple[Match, ...]
    match: Match  # the first of `ranking`, or that of the profile asked for
    fits: bool  # recognised; with a profile asked for: it comes first
    identity: Identity | None
    names: tuple[tuple[Path, NameFacts], ...]
    sidecars: SidecarGroups
    charge_percent: int | None
    free_hours: float | None

    @property
    def footage(self) -> list[tuple[Path, NameFacts]]:
        """The footage of the sample."""
        return [(path, facts) for path, facts in self.names if facts.role is Role.FOOTAGE]

    @property
    def unmatched(self) -> list[Path]:
        """Footage whose name no pattern reads."""
        return [path for path, facts in self.footage if not facts.matched]


def examine(
    profiles: Sequence[Profile], facts: DeviceFacts, found: Inspection, asked: Profile | None = None
) -> Examination:
    """Recognise, identify and read one card. `asked` is one of `profiles`; None: the one that is recognised."""
    ranking = rank(profiles, facts, found.paths)
    match = ranking[0] if asked is None else next(m for m in ranking if m.profile == asked)
    profile = match.profile
    names = tuple((path, describe_name(profile, path)) for path in found.paths)
    return Examination(
        ranking=ranking,
        match=match,
        fits=match.recognised if asked is None else match is ranking[0],
        identity=camera_identity(profile, facts, (name for _, name in names), found.contents),
        names=names,
        sidecars=group_sidecars(profile, found.paths),
        charge_percent=charge_percent(profile, found.contents),
        free_hours=None if found.free_bytes is None else found.free_bytes / profile.bytes_per_hour,
    )
