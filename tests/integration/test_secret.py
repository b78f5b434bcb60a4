"""Footage under state secrecy (Art. 18): encrypted to the custodian, kept whole, one blinded event."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyrage
import pytest

from agent.app import main as dock_agent
from agent.errors import AgentError, SourceGone
from agent.opening import open_dock
from agent.progress import Progress
from agent.secretlane import SecretOrder, SecretResult, keep_secret
from agent.secretstated import PART_PREFIX
from agent.settings import load_settings
from custody.cli import main as custody
from custody.envelope import parse_envelope
from custody.events import decode_event
from custody.secret import FOLDER, parse_manifest
from custody.stationevents import SecretKept
from tests.integration.bay_scene import device, scene
from tests.integration.test_usbbay import card

IDENTITY = pyrage.x25519.Identity.generate()
RECIPIENT = str(IDENTITY.to_public())
CAMERA, NAME = "SECRET-CAM-77", "VID-CONFIDENTIAL.MP4"


def footage(folder: Path) -> dict[str, bytes]:
    """A folder with a long file, a short and an empty one, and what is in them."""
    made = {NAME: os.urandom(3 << 20), "DCIM/a.mp4": b"short", "DCIM/empty.mp4": b""}
    for name, data in made.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return made


def keep(home: Path, source: Path, on_progress: Callable[[Progress], None] = lambda _: None) -> SecretResult:
    with open_dock(home / "vault", home) as found:
        order = SecretOrder(source, CAMERA, "1", (RECIPIENT,))
        return asyncio.run(keep_secret(found.dock, order, on_progress))


def stated(home: Path) -> list[tuple[bytes, SecretKept]]:
    """Envelopes and events of secret dockings, and that nothing else was stated."""
    with open_dock(home / "vault", home) as found:
        rows = asyncio.run(found.dock.store.call(lambda store: store.outbox_from(1, 1000)))
    events = []
    for row in rows:
        envelope = parse_envelope(row.envelope)
        event = decode_event(envelope.payload_type, envelope.payload)
        assert isinstance(event, SecretKept)
        events.append((row.envelope, event))
    return events


def decrypt(kept: Path, to: Path) -> None:
    """As the custodian does, elsewhere."""
    to.mkdir()
    for one in kept.glob("*.age"):
        (to / one.name.removesuffix(".age")).write_bytes(pyrage.decrypt(one.read_bytes(), [IDENTITY]))


def verify(home: Path, capsys: pytest.CaptureFixture[str], result: SecretResult, plain: Path) -> tuple[int, Any]:
    """`custody secret` with everything that there is."""
    envelope, key = stated(home)[-1][0], (home / "station.vkey")
    with open_dock(home / "vault", home) as found:
        key.write_text(found.station.key.verify_key.line + "\n")
    (home / "event.json").write_bytes(envelope)
    kept = home / "vault" / FOLDER / result.secret_id
    capsys.readouterr()
    arguments = [str(plain), "--event", str(home / "event.json"), "--key", str(key), "--kept", str(kept), "--json"]
    code = custody(["secret", *arguments])
    return code, json.loads(capsys.readouterr().out)


def test_what_is_kept_is_whole_and_only_the_custodian_reads_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    home, source = tmp_path / "dock", tmp_path / "card"
    made = footage(source)
    told = list[Progress]()
    result = keep(home, source, told.append)
    assert (result.files, result.complete, told[-1].state) == (3, True, "safe")
    ((_, event),) = stated(home)
    assert (event.secret_id, event.files, event.manifest_sha256) == (result.secret_id, 3, result.manifest_sha256)

    for path in home.rglob("*"):  # the station knows neither camera nor name nor a byte of footage
        if path.is_file():
            data = path.read_bytes()
            assert not any(word in data for word in (CAMERA.encode(), b"CONFIDENTIAL", made[NAME][:64])), path
    kept = home / "vault" / FOLDER / result.secret_id
    decrypt(kept, tmp_path / "plain")
    manifest = parse_manifest((tmp_path / "plain/manifest.json").read_bytes())
    assert {file.path: (tmp_path / "plain" / file.name).read_bytes() for file in manifest.files} == made
    assert verify(home, capsys, result, tmp_path / "plain")[0] == 0
    assert custody(["verify", str(home / "vault")]) == 4  # a vault whose only dockings are secret has none to verify


@pytest.mark.parametrize(
    ("spoil", "kind"),
    [
        (lambda plain, _: (plain / "000001").write_bytes(b"other"), "altered"),
        (lambda plain, _: (plain / "000002").unlink(), "missing"),
        (lambda plain, _: _rename_camera(plain / "manifest.json"), "manifest_altered"),
        (lambda _, kept: _flip(kept / "000001.age"), "altered"),
        (lambda _, kept: (kept / "000002.age").unlink(), "missing"),
        (lambda _, kept: _drop_line(kept / "SHA256SUMS"), "list_altered"),
    ],
)
def test_what_was_changed_is_found(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], spoil: Callable[[Path, Path], object], kind: str
) -> None:
    home, source, plain = tmp_path / "dock", tmp_path / "card", tmp_path / "plain"
    footage(source)
    result = keep(home, source)
    kept = home / "vault" / FOLDER / result.secret_id
    decrypt(kept, plain)
    spoil(plain, kept)
    code, said = verify(home, capsys, result, plain)
    assert code == 1
    assert kind in {finding["kind"] for finding in said["findings"]}


def _rename_camera(path: Path) -> None:
    path.write_bytes(path.read_bytes().replace(CAMERA.encode(), b"ANOTHER-CAM-1"))


def _flip(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.chmod(0o600)
    path.write_bytes(data)


def _drop_line(path: Path) -> None:
    path.chmod(0o600)
    path.write_bytes(b"".join(path.read_bytes().splitlines(keepends=True)[1:]))


def test_a_stop_in_the_middle_keeps_and_states_nothing(tmp_path: Path) -> None:
    home, source = tmp_path / "dock", tmp_path / "card"
    footage(source)
    gone = asyncio.Event()

    async def pulled() -> None:
        with open_dock(home / "vault", home) as found:
            order = SecretOrder(source, CAMERA, "1", (RECIPIENT,), gone)
            await keep_secret(found.dock, order, lambda p: gone.set() if p.files_done else None)

    with pytest.raises(SourceGone, match="Nothing of it is kept"):
        asyncio.run(pulled())
    assert list((home / "vault" / FOLDER).iterdir()) == []
    assert stated(home) == []


def test_a_power_cut_leaves_a_part_that_goes_or_a_folder_that_is_stated_once(tmp_path: Path) -> None:
    home, source = tmp_path / "dock", tmp_path / "card"
    footage(source)
    result = keep(home, source)
    folder = home / "vault" / FOLDER
    other = tmp_path / "other"  # a station that was cut off before its event: the same folder, another database
    (other / "vault").mkdir(parents=True)
    shutil.copytree(folder, other / "vault" / FOLDER)
    (other / "vault" / FOLDER / (PART_PREFIX + "x")).mkdir()
    (other / "vault" / FOLDER / "not-ours").mkdir()
    for _ in range(2):
        ((_, event),) = stated(other)
        assert (event.secret_id, event.sums_sha256) == (result.secret_id, result.sums_sha256)
    assert {path.name for path in (other / "vault" / FOLDER).iterdir()} == {result.secret_id, "not-ours"}


def test_a_full_disk_keeps_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    home, source = tmp_path / "dock", tmp_path / "card"
    footage(source)
    with open_dock(home / "vault", home):
        pass
    (home / "vault" / FOLDER).write_bytes(b"")  # where a folder must be
    with pytest.raises(AgentError) as failed:
        keep(home, source)
    assert failed.value.code == "vault_unwritable"
    (home / "vault" / FOLDER).unlink()
    assert stated(home) == []


async def test_a_secret_bay_tells_nothing_but_that_it_is_done(tmp_path: Path) -> None:
    image = card(tmp_path / "a.img", {"DCIM/VID00001.MP4": 4000})
    async with scene(tmp_path / "dock", recipients=(RECIPIENT,)) as dock:
        dock.plug(device(2, image))
        state = await dock.until(lambda s: s.state == "safe", "2")
        assert (state.reason, state.camera, state.verdict, state.removable) == ("secret_kept", None, None, True)
        dock.plug()
        await dock.until(lambda s: s.state == "empty", "2")
        assert [type(event) for event in await dock.events()] == [SecretKept]
        (kept,) = (tmp_path / "dock/vault" / FOLDER).iterdir()
        manifest = parse_manifest(pyrage.decrypt((kept / "manifest.json.age").read_bytes(), [IDENTITY]))
        assert (manifest.camera, manifest.bay, [file.size_bytes for file in manifest.files]) == (
            "20260001",
            "2",
            [4000],
        )


def test_the_command_and_its_settings(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "card"
    footage(source)
    command = ["secret", str(source), "--dir", str(tmp_path), "--camera", CAMERA, "--json"]
    (tmp_path / "agent.toml").write_text('vault = "vault"\n')
    assert dock_agent(command) == 2
    assert "secret_recipients" in capsys.readouterr().out
    (tmp_path / "agent.toml").write_text(f'vault = "vault"\nsecret_recipients = ["{RECIPIENT}"]\n')
    assert dock_agent(command) == 0
    assert json.loads(capsys.readouterr().out)["files"] == 3
    assert dock_agent([*command[:1], str(tmp_path / "nowhere"), *command[2:]]) == 3
    bay = '[[bay]]\nname = "1"\nsecret = true\n'
    for wrong in (
        'secret_recipients = ["age1xyz"]\n',
        f'{bay}ports = ["0000:01:00.0-usb2-1.2"]\n',
        f'secret_recipients = ["{RECIPIENT}"]\n{bay}cards = "x"\n',
    ):
        (tmp_path / "agent.toml").write_text(f'vault = "vault"\n{wrong}')
        with pytest.raises(AgentError):
            load_settings(tmp_path)
