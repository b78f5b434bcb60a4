"""An agent that was taken over asks custodock-clear for what it may not have, and gets nothing."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from agent.clearing.__main__ import main
from agent.clearing.pins import load_pins
from agent.clearing.protocol import Close, Delete, Open, decode_answer, decode_request, encode_request, receive, refusal
from agent.clearing.session import Session
from agent.opening import open_dock
from custody.checkpoint import SigningKey
from custody.release import ReleaseRefused
from custody.releasebody import EntryRange
from tests.integration.cards import fat_card
from tests.integration.clearer import Clearer
from tests.release_case import COMMAND_KEY, Case, Command, docked, seal_release

CHANCE = random.Random(7)
TREE = {f"DCIM/{n:04}.MP4": CHANCE.randbytes(5000 + n) for n in range(5)}
MESSAGES = 10_000


@dataclass
class Target:
    """A card that could be cleared, and the program."""

    case: Case
    clearer: Clearer
    home: Path
    before: bytes

    def untouched(self) -> bool:
        return self.case.card.read_bytes() == self.before


@pytest_asyncio.fixture
async def target(tmp_path: Path) -> AsyncIterator[Target]:
    images = tmp_path / "cards"
    images.mkdir()
    card = fat_card(images / "card.img", TREE, 12, 8, 8)
    with open_dock(tmp_path / "vault", tmp_path) as opened:
        case = await docked(opened, card, [(1, 4)])
        yield Target(case, Clearer(tmp_path, images, opened.station.id), tmp_path, card.read_bytes())


def refused(target: Target, rule: str, **changes: Any) -> None:
    """Opening with these changes is refused by this rule."""
    with target.clearer.connected() as peer, pytest.raises(ReleaseRefused) as caught:
        peer.open(target.case, **changes)
    assert caught.value.rule == rule, caught.value
    assert target.untouched()


def command(target: Target, **changes: Any) -> bytes:
    wanted = Command(target.case.opened.station.id, target.case.body, datetime.now(UTC) - timedelta(minutes=1))
    return seal_release(target.case.log, replace(wanted, **changes))


OTHER = SigningKey.from_seed("hub-commands", bytes([44]) * 32)
WRONG: dict[str, tuple[str, Callable[[Target], dict[str, Any]]]] = {
    "signed by another key": ("not_authorised", lambda t: {"command": command(t, key=OTHER)}),
    "for another station": ("not_authorised", lambda t: {"command": command(t, station="dock-9")}),
    "expired": ("expired", lambda t: {"command": command(t, issued_at=datetime.now(UTC) - timedelta(hours=9))}),
    "nobody approved": ("not_approved", lambda t: {"command": command(t, approval="none")}),
    "one person approved": ("not_approved", lambda t: {"command": command(t, approved_by="custodian")}),
    "another body approved": ("not_approved", lambda t: {"command": command(t, approval="other_body")}),
    "approved by the station itself": ("not_approved", lambda t: {"command": command(t, approval="not_the_hub")}),
    "approval not in the log": ("not_approved", lambda t: {"command": command(t, approval="not_in_log")}),
    "no inclusion proof": ("not_in_log", lambda t: {"command": command(t, body=replace(t.case.body, proof=()))}),
    "another place in the log": ("not_in_log", lambda t: {"command": command(t, body=replace(t.case.body,
                                                                                             closed_index=0))}),
    "a closing of its own": ("closing_differs", lambda t: {"closed": t.case.closed.replace(b"sig", b"sIg")}),
    "a manifest of its own": ("manifest_differs", lambda t: {"manifest": forged_manifest(t)}),
    "more than was docked": ("entry_not_saved", lambda t: {"command": command(t, body=replace(
        t.case.body, entries=(EntryRange(first=1, last=400),)))}),
    "the disk of the system": ("not_a_card", lambda t: {"device": "/dev/vda"}),
    "a path with dots": ("not_a_card", lambda t: {"device": "/dev/../etc/passwd"}),
    "a file beside the cards": ("not_a_card", lambda t: {"device": str(t.case.manifest)}),
    "a link among the cards": ("not_a_card", lambda t: {"device": linked(t)}),
    "another card": ("card_differs", lambda t: {"device": str(other_card(t))}),
    "memory as manifest": ("manifest_differs", lambda t: {"manifest": Path("/proc/self/mem")}),
    "a device as manifest": ("manifest_differs", lambda t: {"manifest": Path("/dev/zero")}),
}  # fmt: skip


def forged_manifest(target: Target) -> Path:
    """Another digest for the first file, so that another file would be cleared."""
    forged = target.home / "forged.jsonl"
    forged.write_bytes(target.case.manifest.read_bytes().replace(b'"entry":1,', b'"entry":9,', 1))
    return forged


def linked(target: Target) -> str:
    link = target.case.card.with_name("link.img")
    link.symlink_to(target.case.manifest)
    return str(link)


def other_card(target: Target) -> Path:
    card = fat_card(target.case.card.with_name("other.img"), TREE, 12, 8, 8)
    with card.open("r+b") as file:
        file.seek(39)
        file.write(b"\x01\x02\x03\x04")  # its serial number
    return card


@pytest.mark.parametrize("what", WRONG)
def test_what_is_not_authorised_is_refused_with_its_rule(target: Target, what: str) -> None:
    rule, changes = WRONG[what]
    refused(target, rule, **changes(target))


def test_only_what_was_authorised_goes_and_only_with_its_copy_in_the_vault(target: Target) -> None:
    """Entry 5 is on the card and in the manifest, and was not authorised."""
    case, seals = target.case, target.case.seals()
    number = dict(seals.values())
    for entry, copy, rule in (
        (5, number[5], "bad_request"),
        (400, number[1], "bad_request"),
        (1, number[2], "vault_copy_differs"),
        (1, Path("/dev/null"), "vault_copy_missing"),
    ):
        with target.clearer.connected() as peer:
            peer.open(case)
            with pytest.raises(ReleaseRefused, match=rule):
                peer.ask(encode_request(Delete(entry)), copy)
        assert target.untouched()
    with target.clearer.connected() as peer, pytest.raises(ReleaseRefused, match="bad_request"):
        peer.ask(encode_request(Delete(1)), number[1])
    with target.clearer.connected() as peer, pytest.raises(ReleaseRefused, match="bad_request"):
        peer.close()
    assert target.untouched()


def test_a_used_authorisation_is_used_up(target: Target) -> None:
    """Also after a card with the very same files was put in again."""
    with target.clearer.connected() as peer:
        peer.open(target.case)
        for name, (entry, _) in target.case.seals().items():
            if entry < 5:
                peer.delete(target.case, name)
        assert peer.close()["others_same"]
    target.case.card.write_bytes(target.before)
    refused(target, "already_used")


def test_another_user_is_refused(target: Target) -> None:
    """The kernel says who asks; what the peer says does not count."""
    if os.geteuid() != 0:
        pytest.skip("needs root to be somebody else")
    pins = json.loads(target.clearer.pins.read_text())
    target.clearer.pins.write_text(json.dumps(pins | {"agent_user": "nobody"}))
    refused(target, "not_the_agent")


@pytest.mark.parametrize("edit", ["missing", "writable", "foreign", "unknown key", "no keys"])
def test_pins_that_others_may_write_or_that_are_wrong_stop_it(target: Target, edit: str) -> None:
    pins = target.clearer.pins
    body = json.loads(pins.read_text())
    match edit:
        case "missing":
            pins.unlink()
        case "writable":
            pins.chmod(0o666)
        case "foreign":
            if os.geteuid() != 0:
                pytest.skip("needs root to give a file away")
            os.chown(pins, 65534, 65534)
        case "unknown key":
            pins.write_text(json.dumps(body | {"anything": 1}))
        case "no keys":
            pins.write_text(json.dumps({"station": body["station"]}))
    refused(target, "not_pinned")


def test_the_program_itself_asks_the_clock(target: Target) -> None:
    """As installed, by this machine's own clock: without synchronisation nothing is opened."""
    from agent.station import clock_quality  # noqa: PLC0415

    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    used = str(target.clearer.used)
    with ours, theirs:
        argv = [sys.executable, "-m", "agent.clearing", "--pins", target.clearer.pins, "serve", "--used", used]
        child = subprocess.Popen(argv, stdin=theirs)
        theirs.close()
        with target.case.manifest.open("rb") as file:
            packet = encode_request(Open(str(target.case.card), target.case.command, target.case.closed))
            socket.send_fds(ours, [packet], [file.fileno()])
        answer, _ = receive(ours)
    child.wait(30)
    if clock_quality() == "synchronised":
        assert decode_answer(answer)["files"] == 4
    else:
        with pytest.raises(ReleaseRefused, match="clock_unsynchronised"):
            decode_answer(answer)
    assert target.untouched()


def test_pinning_writes_what_serving_reads(target: Target, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    body = json.loads(target.clearer.pins.read_text())
    place = tmp_path / "etc/clear.json"
    argv = ["--pins", str(place), "pin", "--station", body["station"], "--command-key", body["command_key"],
            "--log-key", body["log_key"], "--agent-user", body["agent_user"]]  # fmt: skip
    assert main(argv) == 0
    assert body["station"] in capsys.readouterr().out
    assert load_pins(place).command_key == COMMAND_KEY.verify_key
    assert main([*argv[:5], *argv[5:7], *argv[7:9], "--agent-user", "no-such-user"]) == 1


# --- garbage ---------------------------------------------------------------------------------------------------------


class NoDevice(Exception):
    """A garbled request got as far as opening a card."""


def garbled(chance: random.Random, good: list[bytes]) -> Iterator[bytes]:
    """Messages without end: noise, JSON of any shape, and good ones with a little wrong."""
    shapes: list[Any] = [None, True, 0, -1, 1 << 70, 1.5, "", "/dev/sda", [], {}, "\ud800", "x" * 1000, ["open"]]
    while True:
        match chance.randrange(5):
            case 0:
                yield chance.randbytes(chance.randrange(300))
            case 1:
                keys = ["verb", "device", "authorisation", "closed", "entry", "path", "command"]
                body = {chance.choice(keys): chance.choice(shapes) for _ in range(chance.randrange(6))}
                body["verb"] = chance.choice(["open", "delete", "close", "format", "write", "", 5])
                yield json.dumps(body).encode("utf-8", "surrogatepass")
            case 2:
                raw = bytearray(chance.choice(good))
                for _ in range(chance.randrange(1, 4)):
                    raw[chance.randrange(len(raw))] = chance.randrange(256)
                yield bytes(raw)
            case 3:
                raw = bytearray(chance.choice(good))
                at = chance.randrange(len(raw))
                yield bytes(raw[:at]) + bytes(raw[at + chance.randrange(1, 200) :])
            case _:
                first, second = chance.choice(good), chance.choice(good)
                yield first[: chance.randrange(len(first))] + second[chance.randrange(len(second)) :]


def test_ten_thousand_messages_of_garbage_open_nothing(target: Target) -> None:
    """Every one is refused with a rule; none opens a card, none raises anything else."""
    case, chance = target.case, random.Random(1)
    good = [encode_request(Open(str(case.card), case.command, case.closed)), encode_request(Delete(1)),
            encode_request(Close())]  # fmt: skip
    pins, refusals, same, rules = load_pins(target.clearer.pins), 0, 0, set[str]()

    def open_device(path: str) -> Any:
        raise NoDevice(path)

    with case.manifest.open("rb") as manifest:
        messages = garbled(chance, good)
        for _ in range(MESSAGES):
            packet = next(messages)
            session = Session(pins, target.clearer.used, lambda: (datetime.now(UTC), "synchronised"), open_device)
            try:
                session.handle(decode_request(packet), manifest.fileno())
            except ReleaseRefused as error:
                refusals += 1
                rules.add(str(refusal(error)["refused"]))
            except NoDevice:
                same += 1  # the change left every byte of the meaning as it was
                assert is_same(packet, good[0]), packet
    assert refusals + same == MESSAGES
    assert rules >= {"bad_request", "not_a_card", "not_authorised", "closing_differs"}, rules
    assert same < MESSAGES // 100
    assert target.untouched()


def is_same(packet: bytes, good: bytes) -> bool:
    found, wanted = decode_request(packet), decode_request(good)
    assert isinstance(found, Open)
    assert isinstance(wanted, Open)
    return (found.authorisation, found.closed) == (wanted.authorisation, wanted.closed)


def test_garbage_over_the_socket_ends_the_conversation(target: Target) -> None:
    chance = random.Random(2)
    messages = garbled(chance, [encode_request(Delete(1)), encode_request(Close())])
    for _ in range(15):
        with target.clearer.connected() as peer, pytest.raises(ReleaseRefused):
            peer.ask(next(messages) or b"x", target.case.manifest if chance.random() < 0.5 else None)
    with target.clearer.connected() as peer:  # several descriptors, and a packet that is too long
        with target.case.manifest.open("rb") as one:
            socket.send_fds(peer.line, [encode_request(Close())], [one.fileno()] * 3)
        with pytest.raises(ReleaseRefused, match="bad_request"):
            decode_answer(receive(peer.line)[0])
    with target.clearer.connected() as peer, pytest.raises(ReleaseRefused, match="bad_request"):
        peer.ask(b"x" * 170_000)
    assert target.untouched()


def test_a_card_of_another_kind_is_refused(target: Target) -> None:
    """The card in the slot became an ext4 one, and one that holds nothing."""
    from tests.integration.cards import blank, ext_card, plant  # noqa: PLC0415

    for make in (lambda p: blank(p, 8), lambda p: ext_card(p, plant(p.with_suffix(".d"), TREE))):
        make(target.case.card)
        target.before = target.case.card.read_bytes()
        with target.clearer.connected() as peer, pytest.raises(ReleaseRefused) as caught:
            peer.open(target.case)
        assert caught.value.rule in ("file_system_not_supported", "card_differs")
        assert target.untouched()


def test_a_damaged_card_is_not_written_to(target: Target) -> None:
    """Two files share clusters: which of them would be harmed is unknown."""
    raw = bytearray(target.case.card.read_bytes())
    at = raw.index(b"0001    MP4")
    other = raw.index(b"0002    MP4")
    raw[at + 26 : at + 28] = raw[other + 26 : other + 28]
    target.case.card.write_bytes(raw)
    target.before = bytes(raw)
    refused(target, "card_damaged")
