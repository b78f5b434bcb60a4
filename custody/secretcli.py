"""`custody secret`: does what the custodian decrypted agree with what the station stated? Parses, calls, prints."""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from custody.checkpoint import VerifyKey
from custody.disk import open_stream, read_small
from custody.envelope import EVENT_TYPE, open_envelope
from custody.errors import CustodyError, FormatError
from custody.events import decode_event
from custody.finding import Exit
from custody.report import inert
from custody.secret import MANIFEST_NAME, SUMS_NAME, SecretManifest, digest_hex, parse_manifest
from custody.stationevents import SecretKept

MANIFEST_LIMIT = 256 << 20
ENVELOPE_LIMIT = 1 << 16
_HELP = """\
保管人解密涉密录像后，核验其与采集站的声明一致：文件齐全、逐位相同、清单未被更换。

Compares what the custodian has decrypted with what the station stated: that every file is there and is bit for bit what
was on the camera, and that the manifest is the one whose digest is in the log. Nothing leaves this computer.

  for f in *.age; do age -d -i custodian.key -o /private/"${f%.age}" "$f"; done
  custody secret /private --event entry-17.dsse.json --key station.vkey --kept .

--event: the envelope of secret.kept.v1, from the hub's log (page of the entry) or from the station. Without it the
files are only held against their manifest, which proves nothing of where it comes from.

exit codes: 0 all agrees; 1 altered or incomplete, each finding on a line; 2 wrong usage; 3 unreadable
"""
Finding = tuple[str, str]  # code, name


def add_secret(commands: Any) -> argparse.ArgumentParser:
    """Add `custody secret` to the commands of `custody`, and return it."""
    raw = argparse.RawDescriptionHelpFormatter
    command: argparse.ArgumentParser = commands.add_parser(
        "secret", help="verify decrypted secret footage", description=_HELP, formatter_class=raw
    )
    command.add_argument("dir", metavar="DIR", type=Path, help="folder with the decrypted files and manifest.json")
    command.add_argument("--event", metavar="FILE", type=Path, help="envelope of secret.kept.v1")
    command.add_argument(
        "--kept", metavar="FOLDER", type=Path, help="folder with the encrypted files, to check them too"
    )
    command.add_argument("--json", action="store_true", help="print one JSON object")
    command.set_defaults(run=_run)
    return command


def _run(arguments: argparse.Namespace) -> int:
    keys = [key for group in arguments.key for key in group if isinstance(key, VerifyKey)]
    if arguments.event is not None and not keys:
        print("custody: --event needs --key: whose signature counts is yours to say", file=sys.stderr)
        return Exit.USAGE
    try:
        raw = _read(arguments.dir / MANIFEST_NAME, MANIFEST_LIMIT)
        manifest, found = parse_manifest(raw), list[Finding]()
        event = None
        if arguments.event is not None:
            event = _event(_read(arguments.event, ENVELOPE_LIMIT), keys)
            found += _against_event(manifest, raw, event)
        found += _files(manifest, arguments.dir)
        if arguments.kept is not None:
            found += _encrypted(arguments.kept, event)
    except CustodyError as error:
        print(f"custody: {error}", file=sys.stderr)
        return Exit.UNREADABLE
    _print(manifest, found, proved=event is not None, as_json=arguments.json)
    return Exit.ALTERED if found else Exit.VERIFIED


def _event(raw: bytes, keys: list[VerifyKey]) -> SecretKept:
    """Raises FormatError, SignatureInvalid: of the last key when no key fits."""
    fault: CustodyError = FormatError("no key was given")
    for key in keys:
        try:
            event = decode_event(EVENT_TYPE, open_envelope(raw, key, EVENT_TYPE))
        except CustodyError as error:
            fault = error
            continue
        if not isinstance(event, SecretKept):
            raise FormatError(f"an event of another type: {event.TYPE}")
        return event
    raise fault


def _against_event(manifest: SecretManifest, raw: bytes, event: SecretKept) -> Iterator[Finding]:
    said = (event.secret_id, event.source, event.files, event.complete, event.manifest_sha256)
    held = (manifest.secret_id, manifest.station, len(manifest.files), manifest.complete, digest_hex(raw))
    if said != held:
        yield "manifest_altered", MANIFEST_NAME


def _files(manifest: SecretManifest, folder: Path) -> Iterator[Finding]:
    for file in manifest.files:
        try:
            digest, size = _digest(folder / file.name)
        except FileNotFoundError:
            yield "missing", file.name
            continue
        if (digest, size) != (file.sha256, file.size_bytes):
            yield "altered", file.name


def _encrypted(kept: Path, event: SecretKept | None) -> Iterator[Finding]:
    raw = _read(kept / SUMS_NAME, MANIFEST_LIMIT)
    if event is not None and digest_hex(raw) != event.sums_sha256:
        yield "list_altered", SUMS_NAME
    for line in raw.decode(errors="replace").splitlines():
        digest, _, name = line.partition("  ")
        if not name or "/" in name:
            yield "list_altered", SUMS_NAME
            continue
        try:
            if _digest(kept / name)[0] != digest:
                yield "altered", name
        except FileNotFoundError:
            yield "missing", name


def _digest(path: Path) -> tuple[str, int]:
    sha256, size = hashlib.sha256(), 0
    with open_stream(os.fsencode(path)) as stream:
        read: Callable[[int], bytes] = stream.read
        while piece := read(1 << 20):
            sha256.update(piece)
            size += len(piece)
    return sha256.hexdigest(), size


def _read(path: Path, limit: int) -> bytes:
    raw = read_small(os.fsencode(path), limit)
    if len(raw) > limit:
        raise FormatError(f"{path.name} has more than {limit} bytes")
    return raw


_WORDS = {
    "manifest_altered": ("清单与采集站的声明不符", "the manifest is not the one that the station stated"),
    "missing": ("文件缺失", "missing"),
    "altered": ("内容已改变", "altered"),
    "list_altered": ("加密文件清单与声明不符", "the list of encrypted files is not the stated one"),
}


def _print(manifest: SecretManifest, found: list[Finding], *, proved: bool, as_json: bool) -> None:
    if as_json:
        findings = [{"kind": kind, "name": name} for kind, name in found]
        facts = {"secret_id": manifest.secret_id, "station": manifest.station, "camera": manifest.camera}
        counts = {"files": len(manifest.files), "complete": manifest.complete, "stated": proved}
        print(json.dumps(facts | counts | {"findings": findings}, ensure_ascii=False))
        return
    camera, at = inert(manifest.camera.encode()), f"{manifest.begun_at:%Y-%m-%d %H:%M:%S%z}"
    print(f"{manifest.station}  {camera}  {at}  {manifest.secret_id}")
    for file in manifest.files:
        gaps = f"  缺口 / gaps: {len(file.gaps)}" if file.gaps else ""
        print(f"{file.name}  {file.size_bytes:>14,}  {inert(file.path.encode())}{gaps}")
    for path, why in manifest.unread:
        print(f"未读取 / not read: {inert(path.encode())} ({inert(why.encode())})")
    for kind, name in found:
        zh, en = _WORDS[kind]
        print(f"{inert(name.encode())}: {zh} / {en}")
    if not found:
        print(
            "全部一致 / all agrees"
            if proved
            else "与清单一致；未核对声明 / agrees with its manifest; no statement was checked"
        )
