"""The rules of a release: 10,000 histories that each lack one of them clear nothing and name it."""

from __future__ import annotations

import base64
import hashlib
import io
import random
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from agent.release import Clear, Docked, DockingFacts, Facts, FileFacts, Refused, Trust, VaultCopy, decide
from agent.releasewords import RULES
from custody import manifest
from custody.checkpoint import SigningKey, open_checkpoint
from custody.cosignature import COSIGNATURE_ED25519, WitnessKey
from custody.errors import FormatError
from custody.event import NO_PREVIOUS, Sha256Hex
from custody.events import seal_event
from custody.release import Pins, list_digest
from custody.releasebody import EntryRange
from custody.stationevents import Counts, DockingClosed, Gap, SegmentSealed
from tests.release_case import COMMAND_KEY, LOG_KEY, Command, Log, release_body, seal_release

NOW = datetime(2026, 3, 2, 8, 0, tzinfo=UTC)
STATION_KEY = SigningKey.from_seed("dock-1", bytes([1]) * 32)
WITNESS = SigningKey.from_seed("witness.example", bytes([2]) * 32)
OTHER = SigningKey.from_seed("other", bytes([3]) * 32)
HISTORIES = 10_000
CAMERA, DOCKING, BAY = "CAM1", "20260302T070000Z-01020304", "1"


@dataclass
class History:
    """Everything of one release, to be made wrong in one place before it is judged."""

    chance: random.Random
    count: int = 3
    clock: str = "synchronised"
    complete: bool = True
    gap_in: int = 0  # entry whose seal has a gap
    changed_in: int = 0
    command: dict[str, Any] = field(default_factory=dict)
    body: dict[str, Any] = field(default_factory=dict)
    cosigned: bool = True
    facts: dict[str, Any] = field(default_factory=dict)
    docked: dict[str, Any] = field(default_factory=dict)
    docking: dict[str, Any] = field(default_factory=dict)
    file: dict[str, Any] = field(default_factory=dict)
    manifest_edit: Callable[[bytes], bytes] = bytes
    closed_edit: Callable[[bytes], bytes] = bytes
    note_key: SigningKey = LOG_KEY
    known: bool = False  # the last entry was saved by an earlier docking

    def judge(self) -> Clear | Refused:
        log, facts_of = Log(), []
        for _ in range(self.chance.randrange(4)):
            log.add(self.chance.randbytes(40))
        text = self._manifest(log, facts_of)
        closed = self._closed(text)
        at = log.add(closed)
        for _ in range(self.chance.randrange(4)):
            log.add(self.chance.randbytes(40))
        body = release_body(log, closed, self.event, [(1, self.count)], at)
        note = log.note(self.note_key)
        body = replace(body, **({"checkpoint": self._cosign(note) if self.cosigned else note} | self.body))
        command = replace(Command("dock-1", body, NOW - timedelta(minutes=5)), **self.command)
        raw = seal_release(log, command)
        root = log_root(note, self.note_key)
        docking = DockingFacts(CAMERA, BAY, ("1234-ABCD",), self.closed_edit(closed), True, False)
        facts = Facts(
            release_on=True, station="dock-1", now=NOW, clock=self.clock,  # type: ignore[arg-type]
            trust=Trust(COMMAND_KEY.verify_key, Pins(LOG_KEY.verify_key, (WitnessKey(WITNESS.verify_key),), 1)),
            docked=Docked(CAMERA, BAY, False, ("1234-ABCD",), False, **{}), docking=docking, proved_root=root,
            held=False, closed_at=NOW - timedelta(days=2), keep_days=1,
        )  # fmt: skip
        assert facts.docked is not None
        facts = replace(facts, docked=replace(facts.docked, **self.docked), docking=replace(docking, **self.docking))
        facts = replace(facts, **self.facts)
        victim = self.chance.randrange(self.count)
        files = [replace(one, **self.file) if n == victim else one for n, one in enumerate(facts_of)]
        self.victim = files[victim].listed
        return decide(raw, io.BytesIO(self.manifest_edit(text)), facts, files)

    def _manifest(self, log: Log, files: list[FileFacts]) -> bytes:
        from custody.release import Listed  # noqa: PLC0415

        lines = [manifest.header_line(manifest.Header(
            station="dock-1", docking_id=DOCKING, camera_id=CAMERA, bay=BAY, started_at=NOW, source_kind="block_device",
            file_systems=("FAT32",), labels=("",), volume_ids=("1234-ABCD",), source_bytes=1, time_basis="utc",
        ))]  # fmt: skip
        for entry in range(1, self.count + 1):
            content = self.chance.randbytes(20)
            path, digest = (b"DCIM", b"%d.MP4" % entry), Sha256Hex(hashlib.sha256(content).hexdigest())
            if self.known and entry == self.count:
                raw = manifest.raw_path(path)
                known = manifest.AlreadySaved(
                    entry=entry, path="x", path_raw=raw, size_bytes=20, saved_in="d0", sha256=digest
                )
                lines.append(manifest.entry_line(known))
            else:
                seal = seal_event(self._seal(entry, path, digest), STATION_KEY)
                log.add(seal)
                lines.append(manifest.copied_line(entry, seal))
            files.append(FileFacts(Listed(entry, path, 20, digest), True, VaultCopy(20, digest), False, (20,)))
        lines.append(manifest.counts_line(self.counts))
        return b"".join(lines)

    @property
    def counts(self) -> Counts:
        known = int(self.known)
        return Counts(
            listed=self.count, copied=self.count - known, already_saved=known, failed=0, skipped=0, deleted_seen=0,
            unreadable=0, bytes_copied=20 * (self.count - known),
        )  # fmt: skip

    def _seal(self, entry: int, path: tuple[bytes, ...], digest: Sha256Hex) -> SegmentSealed:
        gap = entry == self.gap_in
        return SegmentSealed(
            id=f"s{entry}", source="dock-1", seq=entry, previous=NO_PREVIOUS, at=NOW, clock="synchronised",
            docking_id=DOCKING, camera_id=CAMERA, bay=BAY, entry=entry, path="x", path_raw=manifest.raw_path(path),
            version=1, vault_path=f"CAM1/{entry}", size_bytes=20, sha256=digest, tree_root=digest, chunk_bytes=1 << 20,
            chunk_count=1, modified_at=None, time_basis="utc",
            gaps=(Gap(offset_bytes=0, length_bytes=1),) if gap else (), gap_count=int(gap), gap_bytes=int(gap),
            changed_while_copied=entry == self.changed_in, media=None,
        )  # fmt: skip

    def _closed(self, text: bytes) -> bytes:
        self.event = DockingClosed(
            id="c", source="dock-1", seq=9, previous=NO_PREVIOUS, at=NOW, clock="synchronised", docking_id=DOCKING,
            camera_id=CAMERA, bay=BAY, complete=self.complete, reason="complete" if self.complete else "gaps",
            counts=self.counts, manifest_sha256=Sha256Hex(hashlib.sha256(text).hexdigest()), manifest_bytes=len(text),
        )  # fmt: skip
        return seal_event(self.event, STATION_KEY)

    def _cosign(self, note: str) -> str:
        body = note.partition("\n\n")[0]
        seconds = int(NOW.timestamp())
        signature = WITNESS.sign(f"cosignature/v1\ntime {seconds}\n{body}\n".encode())
        key_id = hashlib.sha256(
            WITNESS.name.encode() + b"\n" + COSIGNATURE_ED25519 + WITNESS.verify_key.public.public_bytes_raw()
        ).digest()[:4]
        line = base64.b64encode(key_id + seconds.to_bytes(8) + signature).decode()
        return f"{note}\u2014 {WITNESS.name} {line}\n"


def log_root(note: str, key: SigningKey) -> bytes:
    return open_checkpoint(note, key.verify_key).root if key is LOG_KEY else b""


DIGEST = Sha256Hex("ab" * 32)
LACKS: dict[str, list[Callable[[History], Any]]] = {  # rule → ways to lack it
    "release_off": [lambda h: h.facts.update(release_on=False)],
    "not_enrolled": [lambda h: h.facts.update(trust=None)],
    "clock_unsynchronised": [lambda h: setattr(h, "clock", "unsynchronised"), lambda h: setattr(h, "clock", "unknown")],
    "not_authorised": [
        lambda h: h.command.update(key=OTHER),
        lambda h: h.command.update(key=LOG_KEY),
        lambda h: h.command.update(station="dock-2"),
        lambda h: h.command.update(issued_at=NOW + timedelta(hours=1)),
    ],
    "expired": [lambda h: h.command.update(issued_at=NOW - timedelta(hours=8)),
                lambda h: h.facts.update(now=NOW + timedelta(days=9))],
    "not_approved": [
        lambda h: h.command.update(approval="none"),
        lambda h: h.command.update(approval="other_body"),
        lambda h: h.command.update(approval="not_the_hub"),
        lambda h: h.command.update(approval="not_in_log"),
        lambda h: h.command.update(approved_by="custodian"),
    ],
    "held": [lambda h: h.facts.update(held=True)],
    "docking_unknown": [lambda h: h.facts.update(docking=None), lambda h: h.docking.update(camera="CAM2"),
                        lambda h: h.body.update(camera_id="CAM2")],
    "camera_not_docked": [lambda h: h.facts.update(docked=None), lambda h: h.docked.update(camera="CAM2")],
    "camera_disputed": [lambda h: h.docked.update(disputed=True)],
    "camera_left_since": [lambda h: h.docking.update(left=True), lambda h: h.docked.update(bay="2")],
    "card_differs": [
        lambda h: h.docked.update(volume_ids=("FFFF-0000",)),
        lambda h: h.docked.update(volume_ids=()),
        lambda h: (h.docked.update(volume_ids=("",)), h.docking.update(volume_ids=("",))),
    ],
    "checked_out": [lambda h: h.docked.update(checked_out=True)],
    "not_receipted": [lambda h: h.docking.update(receipted=False)],
    "docking_incomplete": [lambda h: setattr(h, "complete", False), lambda h: h.docking.update(closed=None)],
    "closing_differs": [
        lambda h: setattr(h, "closed_edit", lambda raw: raw.replace(b"sig", b"sIg", 1)),
        lambda h: h.body.update(closed_sha256=DIGEST),
        lambda h: h.body.update(manifest_sha256=DIGEST),
        lambda h: h.body.update(docking_id="another"),
    ],
    "checkpoint_invalid": [lambda h: setattr(h, "note_key", SigningKey.from_seed(LOG_KEY.name, bytes([4]) * 32)),
                           lambda h: h.body.update(checkpoint="log.example\n1\n\n")],
    "not_witnessed": [lambda h: setattr(h, "cosigned", False)],
    "not_in_log": [
        lambda h: h.body.update(closed_index=0),
        lambda h: h.body.update(closed_index=10**6),
        lambda h: h.body.update(proof=()),
        lambda h: h.body.update(proof=(DIGEST,) * 3),
    ],
    "checkpoint_not_proved": [lambda h: h.facts.update(proved_root=None)],
    "checkpoint_contradicts": [lambda h: h.facts.update(proved_root=b"\1" * 32)],
    "too_early": [lambda h: h.facts.update(keep_days=3), lambda h: h.facts.update(closed_at=None)],
    "manifest_differs": [
        lambda h: setattr(h, "manifest_edit", lambda raw: raw.replace(b"FAT32", b"FAT16")),
        lambda h: setattr(h, "manifest_edit", lambda raw: raw[:-1]),
        lambda h: setattr(h, "manifest_edit", lambda raw: raw.split(b"\n", 1)[1]),
    ],
    "entry_not_saved": [
        lambda h: setattr(h, "gap_in", 1 + h.chance.randrange(2)),
        lambda h: setattr(h, "changed_in", 1 + h.chance.randrange(2)),
        lambda h: h.body.update(entries=(EntryRange(first=1, last=4),)),
    ],
    "seal_not_receipted": [lambda h: h.file.update(receipted=False)],
    "vault_copy_missing": [lambda h: h.file.update(vault=None)],
    "vault_copy_differs": [lambda h: h.file.update(vault=VaultCopy(20, "00" * 32)),
                           lambda h: h.file.update(vault=VaultCopy(19, "00" * 32))],
}  # fmt: skip
KEEPS: dict[str, Callable[[History], Any]] = {
    "file_held": lambda h: h.file.update(held=True),
    "not_on_card": lambda h: h.file.update(on_card=()),
    "path_ambiguous": lambda h: h.file.update(on_card=(20, 20)),
    "size_differs": lambda h: h.file.update(on_card=(21,)),
}


def test_with_every_rule_the_listed_files_are_cleared() -> None:
    for seed in range(200):
        chance = random.Random(seed)
        history = History(chance, known=chance.random() < 0.5)
        decision = history.judge()
        assert isinstance(decision, Clear), decision
        assert [one.entry for one in decision.files] == [1, 2, 3]
        assert decision.kept == ()
        assert (decision.authorisation.approved.requested_by, decision.authorisation.approved.approved_by) == (
            "custodian",
            "leader",
        )


def test_ten_thousand_histories_that_lack_one_rule_clear_nothing_and_name_it() -> None:
    seen: Counter[str] = Counter()
    rules = list(LACKS)
    for seed in range(HISTORIES):
        chance = random.Random(seed)
        rule = rules[seed % len(rules)]
        history = History(chance, known=chance.random() < 0.3)
        chance.choice(LACKS[rule])(history)
        decision = history.judge()
        assert isinstance(decision, Refused), (seed, rule)
        assert decision.rule == rule, (seed, decision)
        assert rule in RULES
        seen[rule] += 1
    assert min(seen.values()) >= HISTORIES // len(rules)


@pytest.mark.parametrize("rule", KEEPS)
def test_a_file_that_is_held_or_not_as_sealed_stays_and_the_others_go(rule: str) -> None:
    for seed in range(50):
        history = History(random.Random(seed))
        KEEPS[rule](history)
        decision = history.judge()
        assert isinstance(decision, Clear)
        assert len(decision.files) == 2
        assert [(kept.listed, kept.rule) for kept in decision.kept] == [(history.victim, rule)]
        alone = History(random.Random(seed), count=1)
        KEEPS[rule](alone)
        refused = alone.judge()
        assert isinstance(refused, Refused)
        assert (refused.rule, refused.file) == (rule, alone.victim)


def test_a_release_names_its_files_in_one_way_only() -> None:
    history = History(random.Random(0))
    for ranges in [(), ((0, 1),), ((2, 1),), ((1, 2), (2, 3)), ((1, 2), (3, 4)), ((3, 4), (1, 1))]:
        history.body = {"entries": tuple(EntryRange(first=first, last=last) for first, last in ranges)}
        with pytest.raises(FormatError):
            history.judge()


def test_the_list_binds_every_field_of_every_file_in_its_order() -> None:
    decision = History(random.Random(0)).judge()
    assert isinstance(decision, Clear)
    files = decision.files
    digests = {list_digest(files), list_digest(files[:2]), list_digest(files[::-1])}
    for change in ({"entry": 9}, {"path": (b"x",)}, {"size_bytes": 9}, {"sha256": DIGEST}):
        digests.add(list_digest((replace(files[0], **change), *files[1:])))
    assert len(digests) == 7
