"""Carries out the release of a docked camera: look, decide, state the intent, clear file by file, state the end.

One path for a release that begins and one that a stop cut short: what is gone is told by the card, listed anew. The
rules are in agent/release.py, the writing in agent/clearing; here is only the order of things.

Crash windows. Before the intent: nothing was cleared, the order still waits. After it: the order is `intended`, and
the next stay of the camera, or the order's expiry, ends it. Between clearing a file and keeping its outcome: the card
tells.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from agent import releasebook as book
from agent.certificate import write_certificate
from agent.clearclient import ClearClient, Connect, connect
from agent.clearing.session import ABOUT_ONE_FILE
from agent.commands import Trust as CommandTrust
from agent.commands import trust_now
from agent.errors import AgentError
from agent.pipeline import Dock
from agent.proved import proved_root
from agent.release import Allowed, Clear, Docked, Facts, FileFacts, Refused, Trust, VaultCopy, authorise, choose
from agent.releasebook import CLEARED, Ending, ReleaseOrder, is_held
from agent.relisting import Relisted, relist
from agent.settings import Settings
from agent.source import SourcePlace
from agent.station import clock_quality
from agent.store import Store
from custody.digest import CHUNK_BYTES
from custody.event import Clock
from custody.release import (
    Authorisation,
    Listed,
    Pins,
    ReleaseRefused,
    check_checkpoint,
    open_authorisation,
    read_command,
    read_named,
)

log = logging.getLogger("agent.releasing")

# Not fulfilled yet, and perhaps soon: the order waits until it expires. Any other refusal ends it.
WAITS = frozenset({
    "release_off", "not_enrolled", "clock_unsynchronised", "camera_not_docked", "checked_out", "not_receipted",
    "seal_not_receipted", "checkpoint_not_proved", "too_early", "clearing_unavailable", "clearing_failed", "card_gone",
})  # fmt: skip
GONE = "gone"  # found gone from the card after a stop
UNKNOWN = "unknown"
CAME_BACK = "came_back"  # the card took the change and shows the file again: it does not keep what it says


@dataclass(frozen=True, slots=True)
class Sources:
    """What a release stands on besides the station's book."""

    release_on: bool
    trust: Trust | None
    connect: Connect
    keep_days: int = 0
    now: Callable[[], tuple[datetime, Clock]] = lambda: (datetime.now(UTC), clock_quality())


def release_sources(settings: Settings) -> Sources:
    """Those of this station. A station that was enrolled without the hub's command key clears nothing."""
    link = settings.link
    trust = None
    if link is not None and link.command_key is not None:
        trust = Trust(link.command_key, Pins(link.log_key))
    return Sources(settings.release, trust, connect, settings.release_keep_days)


@dataclass(frozen=True, slots=True)
class AtBay:
    """A camera as it lies in a bay, everything of it saved. `gone` is set when it is taken."""

    camera: str
    bay: str
    disputed: bool
    places: tuple[SourcePlace, ...]
    gone: asyncio.Event


Show = Callable[[int, int], None]  # files done, files in all


@dataclass(frozen=True, slots=True)
class _Ready:
    """What `_look` found."""

    allowed: Allowed
    place: Path
    closed: bytes
    copies: dict[int, book.Saved]
    files: tuple[FileFacts, ...]


class Releasing:
    """Of one station; all its bays share it."""

    def __init__(self, dock: Dock, sources: Sources) -> None:
        """Nothing is under way."""
        self._dock, self._sources = dock, sources
        self._trust: Trust | None = None  # as of the last look: the hub's keys follow its rotations
        self.listeners: set[asyncio.Event] = set()  # of bays with a camera; in the event loop

    def stir(self) -> None:
        """There is a new order: bays need not wait for their next look."""
        for listener in self.listeners:
            listener.set()

    async def attend(self, at: AtBay, show: Show) -> str | None:
        """Carry out what is authorised for this camera; the rule with which the last order ended, None without one.

        A refusal or fault of one order never goes further. Raises StoreUntrusted.
        """
        ended = None
        self._trust = await self._dock.store.call(trusted_now, self._sources.trust)
        for order in await self._dock.store.call(book.open_orders, at.camera):
            if at.gone.is_set():
                break
            try:
                ended = await self._carry_out(order, at, show)
            except ReleaseRefused as error:
                ended = await self._refused(order, at, error) or ended
        return ended

    async def end_expired(self) -> None:
        """State the end of orders whose time is over and whose camera is in no bay. Raises StoreUntrusted."""
        self._trust = await self._dock.store.call(trusted_now, self._sources.trust)
        for order in await self._dock.store.call(book.open_orders, None):
            try:
                self._open(order)
            except ReleaseRefused as error:
                if error.rule == "expired":
                    await self._refused(order, None, error)

    # --- look and decide ---

    async def _carry_out(self, order: ReleaseOrder, at: AtBay, show: Show) -> str:
        """Everything in order; the rule it ended with. Raises ReleaseRefused."""
        ready = await self._look(order, at)
        decision = choose(ready.allowed, ready.files)
        if isinstance(decision, Refused):
            if not order.intended or decision.rule != "not_on_card":  # else: all of it was gone before the stop
                raise ReleaseRefused(decision.rule, "" if decision.file is None else f"entry {decision.file.entry}")
            decision = Clear(ready.allowed.authorisation, (), ())
        await self._dock.store.call(book.state_intent, self._dock.station, order, at.bay, decision)
        log.warning("release_begins camera=%s docking=%s files=%d", at.camera, order.docking, len(decision.files))
        rule = await self._clear(order, at, ready, decision, show)
        if rule in WAITS:
            raise ReleaseRefused(rule)
        return await self._end(order, at, ready.allowed.files, rule)

    def _open(self, order: ReleaseOrder) -> Authorisation:
        """The rules that need the command alone: most orders that wait end here. Raises ReleaseRefused."""
        trust, (now, clock) = self._trust, self._sources.now()
        if not self._sources.release_on:
            raise ReleaseRefused("release_off")
        if trust is None:
            raise ReleaseRefused("not_enrolled")
        if clock != "synchronised":
            raise ReleaseRefused("clock_unsynchronised", clock)
        return open_authorisation(order.command, self._dock.station.id, trust.command_key, trust.pins, now, clock)

    async def _look(self, order: ReleaseOrder, at: AtBay) -> _Ready:
        """All facts: the book's, the card's listed anew, and the vault's read from the disk. Raises ReleaseRefused."""
        authorisation, trust = self._open(order), self._trust
        known = await self._dock.store.call(book.docking_facts, order.docking)
        if known is None or trust is None:
            raise ReleaseRefused("docking_unknown")
        docking, closed_at, folder = known
        relisted = await self._relist(at, docking.volume_ids)
        holds = await self._dock.store.call(Store.holds)
        size = check_checkpoint(authorisation.release, trust.pins).size
        now, clock = self._sources.now()
        out = await self._dock.store.call(book.is_checked_out, at.camera)
        facts = Facts(
            release_on=self._sources.release_on, station=self._dock.station.id, trust=trust, now=now, clock=clock,
            docked=Docked(at.camera, at.bay, at.disputed, relisted.volume_ids, out), docking=docking,
            proved_root=await self._dock.store.call(proved_root, trust.pins.log_key.name, size),
            held=is_held(holds, at.camera, order.docking, None), closed_at=closed_at,
            keep_days=self._sources.keep_days,
        )  # fmt: skip
        allowed = await asyncio.to_thread(_authorise, order.command, self._manifest(folder), facts)
        numbers = [listed.entry for listed in allowed.files]
        copies = await self._dock.store.call(book.saved_copies, order.docking, numbers)

        def read_files() -> Iterator[FileFacts]:
            for listed in allowed.files:
                saved = copies.get(listed.entry)
                held = is_held(holds, at.camera, order.docking, listed.sha256)
                copy = None if saved is None else read_copy(self._dock.vault, saved.target)
                sizes = tuple(relisted.sizes.get(listed.path, ()))
                yield FileFacts(listed, saved is not None and saved.receipted, copy, held, sizes)

        files = await asyncio.to_thread(lambda: tuple(read_files()))
        return _Ready(allowed, relisted.place, docking.closed or b"", copies, files)

    async def _relist(self, at: AtBay, volume_ids: tuple[str, ...]) -> Relisted:
        """The card of the camera that has these volumes. Raises ReleaseRefused."""
        for place in at.places:
            if not isinstance(place, Path):
                raise ReleaseRefused("file_system_not_supported", "PTP")
            try:
                relisted = await relist(self._dock.workers, place)
            except AgentError as error:
                raise ReleaseRefused("card_gone", error.code) from None
            if relisted.volume_ids == volume_ids:
                return relisted
        raise ReleaseRefused("card_differs")

    def _manifest(self, folder: bytes) -> Path:
        return self._dock.vault / os.fsdecode(folder) / ".custody" / "manifest.jsonl"

    # --- clear ---

    async def _clear(self, order: ReleaseOrder, at: AtBay, ready: _Ready, clear: Clear, show: Show) -> str:
        """File by file; "complete", or the rule that kept a file, or that ended it early."""
        rule = "complete"
        for kept in clear.kept:
            if kept.rule != "not_on_card" or not order.intended:
                await self._dock.store.call(book.keep_outcome, order, kept.listed, kept.rule)
                rule = kept.rule
        try:  # also when a stop came after the last file: the card's own count of free space is yet to be corrected
            client = await asyncio.to_thread(ClearClient, self._sources.connect)
        except ReleaseRefused as error:
            return error.rule
        leaving = asyncio.create_task(_hang_up_when_gone(at, client))
        try:
            manifest = self._manifest(await self._dock.store.call(book.docking_folder, order.docking))
            await asyncio.to_thread(client.open, str(ready.place), order.command, ready.closed, manifest)
            for number, listed in enumerate(clear.files):
                show(number, len(clear.files))
                rule = await self._clear_one(client, order, ready, listed) or rule
            if not await asyncio.to_thread(client.finish):
                rule = "others_changed"
        except ReleaseRefused as error:
            if error.rule == "already_used" and not clear.files:
                return rule  # the stop came after the program was done
            log.error("release_stops camera=%s rule=%s why=%s", at.camera, error.rule, error.detail)  # noqa: TRY400
            return "card_gone" if at.gone.is_set() else error.rule
        finally:
            leaving.cancel()
            client.hang_up()
            client.close()
        return rule

    async def _clear_one(self, client: ClearClient, order: ReleaseOrder, ready: _Ready, listed: Listed) -> str | None:
        """Clear one file, unless a hold came meanwhile; the rule that keeps it. Raises ReleaseRefused to stop."""
        rule, outcome = None, CLEARED
        holds = await self._dock.store.call(Store.holds)
        if is_held(holds, order.camera, order.docking, listed.sha256):
            rule = outcome = "file_held"
        else:
            copy = os.path.join(os.fsencode(self._dock.vault), ready.copies[listed.entry].target)
            try:
                await asyncio.to_thread(client.delete, listed.entry, copy)
            except ReleaseRefused as error:
                if error.rule not in ABOUT_ONE_FILE:
                    raise
                rule = outcome = error.rule
        await self._dock.store.call(book.keep_outcome, order, listed, outcome)
        return rule

    # --- the end ---

    async def _refused(self, order: ReleaseOrder, at: AtBay | None, error: ReleaseRefused) -> str | None:
        """The rule, once it has ended the order; None while it waits."""
        if error.rule in WAITS:
            if order.rule != error.rule:
                log.warning("release_waits docking=%s rule=%s why=%s", order.docking, error.rule, error.detail)
                await self._dock.store.call(book.note_waiting, order, error.rule)
            return None
        log.warning("release_refused docking=%s rule=%s why=%s", order.docking, error.rule, error.detail)
        if not any(one.command_sha256 == order.command_sha256 and one.intended
                   for one in await self._dock.store.call(book.open_orders, order.camera)):  # fmt: skip
            bay = "-" if at is None else at.bay
            ending = Ending("refused", error.rule)
            await self._dock.store.call(book.state_finished, self._dock.station, order, bay, ending)
            return error.rule
        try:
            files = await self._files_of(order)
        except (ReleaseRefused, OSError) as fault:  # the vault is not what it was: say so rather than nothing
            log.error("release_list_lost docking=%s why=%s", order.docking, fault)  # noqa: TRY400
            files = ()
        return await self._end(order, at, files, error.rule)

    async def _files_of(self, order: ReleaseOrder) -> tuple[Listed, ...]:
        """The files of an order whose time may be over. Raises ReleaseRefused."""
        trust = self._trust
        if trust is None:
            raise ReleaseRefused("not_enrolled")
        _, release = read_command(order.command, trust.command_key)
        manifest = self._manifest(await self._dock.store.call(book.docking_folder, order.docking))

        def read() -> tuple[Listed, ...]:
            with manifest.open("rb") as stream:
                return read_named(release, stream).files

        return await asyncio.to_thread(read)

    async def _end(self, order: ReleaseOrder, at: AtBay | None, files: tuple[Listed, ...], rule: str) -> str:
        """List the card once more, write the certificate and state what became of every file."""
        kept = await self._dock.store.call(book.outcomes, order)
        known = await self._dock.store.call(book.docking_facts, order.docking)
        volume_ids = known[0].volume_ids if known else ()
        relisted: Relisted | None = None
        if at is not None and not at.gone.is_set():
            try:
                relisted = await self._relist(at, volume_ids)
            except ReleaseRefused as error:
                log.warning("release_end_unseen camera=%s rule=%s", order.camera, error.rule)
        outcomes = [(one, _outcome(one, kept.get(one.entry), relisted, rule)) for one in files]
        folder = self._dock.vault / os.fsdecode(await self._dock.store.call(book.docking_folder, order.docking))
        certificate = await asyncio.to_thread(write_certificate, folder, order, outcomes)
        ending = _ending(rule, [outcome for _, outcome in outcomes], certificate)
        bay = "-" if at is None else at.bay
        await self._dock.store.call(book.state_finished, self._dock.station, order, bay, ending)
        log.warning("release_ends camera=%s outcome=%s rule=%s cleared=%d kept=%d unknown=%d", order.camera,
                    ending.outcome, rule, ending.cleared, ending.kept, ending.unknown)  # fmt: skip
        return rule


def _outcome(listed: Listed, kept: str | None, relisted: Relisted | None, rule: str) -> str:
    """What became of one file: what was kept of it, unless the card says otherwise."""
    if kept == CLEARED and relisted is not None and listed.path in relisted.sizes:
        return CAME_BACK
    if kept is not None:
        return kept
    if relisted is None:
        return UNKNOWN
    return rule if listed.path in relisted.sizes else GONE


def _ending(rule: str, outcomes: list[str], certificate: book.Certificate) -> Ending:
    cleared = sum(one in (CLEARED, GONE) for one in outcomes)
    unknown = outcomes.count(UNKNOWN)
    kept = len(outcomes) - cleared - unknown
    if rule == "complete":
        rule = CAME_BACK if CAME_BACK in outcomes else rule
        return Ending("cleared" if not kept + unknown else "partly", rule, cleared, kept, unknown, certificate)
    ended_early = rule in outcomes and rule not in ABOUT_ONE_FILE | {"file_held"}
    word: book.Outcome = "stopped" if ended_early or unknown or rule == "others_changed" else "partly"
    return Ending(word, rule, cleared, kept, unknown, certificate)


def trusted_now(store: Store, pinned: Trust | None) -> Trust | None:
    """The keys of enrolment, or those that followed them by rotation."""
    if pinned is None:
        return None
    now = trust_now(store, CommandTrust(pinned.command_key, pinned.pins.log_key, {}))
    return Trust(now.command_key, replace(pinned.pins, log_key=now.log_key))


async def _hang_up_when_gone(at: AtBay, client: ClearClient) -> None:
    await at.gone.wait()
    client.hang_up()


def _authorise(command: bytes, manifest: Path, facts: Facts) -> Allowed:
    try:
        with manifest.open("rb") as stream:
            return authorise(command, stream, facts)
    except OSError as error:
        raise ReleaseRefused("manifest_differs", str(error.strerror)) from None


def read_copy(vault: Path, target: bytes) -> VaultCopy | None:
    """A file of the vault, read from the disk and not from memory; None where it cannot be."""
    try:
        fd = os.open(os.path.join(os.fsencode(vault), target), os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    total, size, buffer = hashlib.sha256(), 0, memoryview(bytearray(CHUNK_BYTES))
    try:
        os.posix_fadvise(fd, 0, 0, os.POSIX_FADV_DONTNEED)
        while got := os.readv(fd, [buffer]):
            total.update(buffer[:got])
            size += got
    except OSError:
        return None
    finally:
        os.close(fd)
    return VaultCopy(size, total.hexdigest())
