"""Settings and keys."""

from __future__ import annotations

from pathlib import Path

import pytest

from hub.errors import KeysUnusable, SettingsInvalid
from hub.keys import create_keys, load_keys
from hub.settings import broker_address, load_settings, make_settings, write_settings


def test_what_is_written_is_read(tmp_path: Path) -> None:
    made = make_settings(
        tmp_path, {"hub_id": "h-1", "database": "postgresql://x", "port": 9, "mqtt_client_id": "a", "replica": True}
    )
    write_settings(made)
    assert load_settings(tmp_path) == made
    assert load_settings(tmp_path, port=10, host=None).port == 10
    with pytest.raises(FileExistsError):
        write_settings(made)


@pytest.mark.parametrize(
    "values",
    [{}, {"hub_id": ""}, {"hub_id": "a", "prot": 1}, {"hub_id": "a", "port": "1"}, {"hub_id": "a", "port": True}]
    + [{"hub_id": "a", "replica": True}, {"hub_id": "a", "replica": True, "mqtt_client_id": "b"}]
    + [{"hub_id": "a", "mqtt": url} for url in ("http://x", "mqtt://", "x", "mqtt://x:y", "mqtt://x:99999")],
)
def test_wrong_settings_stop_the_start(tmp_path: Path, values: dict[str, object]) -> None:
    with pytest.raises(SettingsInvalid):
        make_settings(tmp_path, values)


def test_broker_addresses() -> None:
    assert broker_address("mqtt://127.0.0.1") == ("127.0.0.1", 1883, False)
    assert broker_address("mqtts://hub.example:9") == ("hub.example", 9, True)


def test_keys_are_private_files_and_stay_the_same(tmp_path: Path) -> None:
    made = create_keys(tmp_path / "keys", "h-1")
    assert load_keys(tmp_path / "keys", "h-1").lines == made.lines
    assert made.log.name == "custodock.example/h-1/log"
    assert {(p.stat().st_mode & 0o777) for p in (tmp_path / "keys").iterdir()} == {0o600}
    with pytest.raises(FileExistsError):
        create_keys(tmp_path / "keys", "h-1")


@pytest.mark.parametrize("damage", ["open", "garbage", "missing", "link"])
def test_a_key_that_cannot_be_trusted_stops_the_start(tmp_path: Path, damage: str) -> None:
    create_keys(tmp_path / "keys", "h-1")
    pem = tmp_path / "keys" / "log.pem"
    if damage == "open":
        pem.chmod(0o640)
    elif damage == "garbage":
        pem.write_bytes(b"x")
    else:
        moved = pem.rename(tmp_path / "log.pem")
        if damage == "link":
            pem.symlink_to(moved)
    with pytest.raises(KeysUnusable, match=r"log\.pem"):
        load_keys(tmp_path / "keys", "h-1")
