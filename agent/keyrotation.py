"""A new key for this station: named by the old one in the station's own chain. See keys.md.

Three steps, each durable before the next, each found again after a crash: 1. the new key lies in ``station.next.key``;
2. one commit: the rotation, signed by the old key, is the chain's last event, and `key_rotation` names the new one;
3. the new file takes the old one's place, and the old private key is gone. `finish_rotation` does 3, at every opening
of the station, before anything is signed. The vault's lock is held throughout: no other process signs meanwhile.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

from agent.errors import KeyUnreadable, RotationRefused
from agent.station import KEY_FILE, Station, create_key, load_key, sign_events, sync_directory
from agent.store import Store
from custody.keyrotation import sign_station_rotation
from custody.stationevents import StationKeyRotated

NEXT_KEY_FILE = "station.next.key"


def rotate_key(store: Store, directory: Path, station: Station) -> Station:
    """The station under its new key. Raises RotationRefused, KeyUnreadable, StoreUntrusted.

    A crash before the commit leaves a key that nothing names: the next rotation replaces it.
    """
    if store.open_dockings():
        raise _offload_open()
    following, old = directory / NEXT_KEY_FILE, station.key.verify_key
    create_key(following, "station", station.id)  # 1
    new = load_key(following, "station")
    line, signature = new.verify_key.line, sign_station_rotation(old, new)

    def rotated(common: dict[str, Any]) -> StationKeyRotated:
        return StationKeyRotated(**common, old_line=old.line, new_line=line, new_signature=signature)

    with store.begin():  # 2
        [seq] = sign_events(store, station, [rotated])
        store.execute("INSERT INTO key_rotation (seq, new_line) VALUES (?, ?)", (seq, line))
    return finish_rotation(store, directory, station)


def finish_rotation(store: Store, directory: Path, station: Station) -> Station:
    """3. The station under the key that its chain names. Raises KeyUnreadable when neither file holds it."""
    line = store.key_line()
    if line in (None, station.key.verify_key.line):
        return station
    following = directory / NEXT_KEY_FILE
    if not following.exists() or load_key(following, "station").verify_key.line != line:
        raise _lost()
    os.replace(following, directory / KEY_FILE)
    sync_directory(directory)
    return Station(station.id, load_key(directory / KEY_FILE, "station"))


def rotations(store: Store) -> list[tuple[int, int | None, bytes]]:
    """Seq, log index and envelope of every rotation, oldest first: who knows an old key then knows this one."""
    return [
        (int(seq), index, bytes(envelope))
        for seq, index, envelope in store.execute(
            "SELECT seq, log_index, envelope FROM outbox JOIN key_rotation USING (seq) ORDER BY seq"
        )
    ]


def _offload_open() -> RotationRefused:
    return RotationRefused(
        "An offload is not closed yet, and one key signs all of it. Nothing was changed. Let it end, then try again.",
        "有导出尚未结束，同一次导出须由同一密钥签名。未作任何改动。请待其结束后重试。",
    )


def _lost() -> KeyUnreadable:
    return KeyUnreadable(
        "The station's key was replaced, and the new key's file is not there. Footage in the vault is safe. Restore "
        "station.key, or enrol this station anew under another name.",
        "采集站密钥已更换，但找不到新密钥文件。存证库中的录像安全。请恢复 station.key，或以新名称重新登记本采集站。",
    )
