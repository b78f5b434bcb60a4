"""`custody witness`: a witness of a hub's log on anybody's computer. Parses, calls, prints."""

from __future__ import annotations

import argparse
import base64
import re
import signal
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from custody.checkpoint import Checkpoint, VerifyKey, open_checkpoint, parse_checkpoint, parse_key_line
from custody.errors import CustodyError, FormatError, KeyInvalid, ProofInvalid
from custody.finding import Exit
from custody.merkle import verify_consistency
from custody.witness import AddCheckpoint, Code, size_of
from custody.witnessdir import Unusable, WitnessDir, create

if TYPE_CHECKING:
    from custody.remote import RemoteLog

HELP = """\
A witness keeps the newest checkpoint of a hub's audit log that it was proven, and cosigns only what extends it. With
witnesses on computers that the hub's administrator does not run, nobody can roll the log back or show two faces of it
unnoticed. A leader's or an auditor's computer is the right place: it needs Python and the library cryptography.

  custody witness init DIR --name office.example/leader --log 'LOG KEY LINE'   make key and folder, print the key line
  custody witness run DIR --port 8450                    let the hub ask (dock-hub witness add KEYLINE --url http://…)
  custody witness pull DIR --log-url https://hub/log     for a computer that the hub cannot reach: ask the hub instead
  custody witness show DIR                               what was cosigned, and every contradiction with both notes
  custody witness check NOTE --log-url https://hub/log --key 'LOG KEY LINE'
                                                         does today's log extend the checkpoint on this sheet of paper?
  custody witness clear DIR --log ORIGIN                 people have looked at a contradiction and decided

exit codes
  0  done; check: the log extends that checkpoint
  1  contradiction: the log does not extend what it showed; both notes are printed or kept
  2  wrong usage
  3  the folder, the note or the log cannot be read
"""
_ROOT_HEX = re.compile("[0-9a-f]{64}")


def add_witness(commands: Any) -> None:
    """Add `custody witness` to the commands of `custody`."""
    raw = argparse.RawDescriptionHelpFormatter
    witness = commands.add_parser("witness", help="cosign a hub's log", description=HELP, formatter_class=raw)
    kinds = witness.add_subparsers(required=True, metavar="WHAT")
    init = _add(kinds, "init", _init, "make key and folder, print the witness's key line")
    init.add_argument("--name", required=True, help="name of the witness for ever, such as office.example/leader")
    run = _add(kinds, "run", _run, "answer add-checkpoint over HTTP until stopped")
    run.add_argument("--port", type=int, required=True)
    run.add_argument("--host", default="127.0.0.1", help="address to listen on (default 127.0.0.1)")
    pull = _add(kinds, "pull", _pull, "ask the hub for its checkpoint, cosign it, hand the cosignature back")
    pull.add_argument("--every", type=float, metavar="SECONDS", help="go on until stopped; otherwise once")
    pull.add_argument("--keep", action="store_true", help="only print the cosigned checkpoint, hand nothing back")
    _add(kinds, "show", _show, "what this witness has seen")
    clear = _add(kinds, "clear", _clear, "go on after a contradiction that people have looked at")
    clear.add_argument(
        "--anew", action="store_true", help="forget what was known: take the next checkpoint as the first"
    )
    check = kinds.add_parser("check", help="whether the log extends a checkpoint on paper")
    check.add_argument(
        "note", metavar="NOTE", nargs="?", help="file with the note, as scanned; - reads it from the input"
    )
    check.add_argument("--size", type=int, help="instead of NOTE: the number of entries, typed from the sheet")
    check.add_argument("--root", nargs="+", help="and its root: 64 hexadecimal digits, in groups as printed")
    check.set_defaults(run=_guarded(_check))
    for command in (init, clear):
        command.add_argument("--log", action="append", default=[], help="key line (clear: origin) of a log")
    check.add_argument("--key", required=True, help="the log's key line, from paper")
    for command in (pull, check):
        command.add_argument("--log-url", required=True, metavar="URL", help="https://hub/log")
        command.add_argument("--ca", type=Path, help="PEM: authority of the hub's certificate")


def _add(kinds: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    made: argparse.ArgumentParser = kinds.add_parser(name, help=text, description=text)
    made.add_argument("dir", metavar="DIR", type=Path, help="folder of the witness")
    made.set_defaults(run=_guarded(run))
    return made


def _guarded(run: Callable[[argparse.Namespace], int]) -> Callable[[argparse.Namespace], int]:
    def guarded(arguments: argparse.Namespace) -> int:
        try:
            return run(arguments)
        except KeyInvalid as error:
            print(f"custody: 密钥行无效 / not a key line: {error}", file=sys.stderr)
            return Exit.USAGE
        except CustodyError as error:
            print(f"custody: {error}", file=sys.stderr)
            return Exit.UNREADABLE

    return guarded


def _init(arguments: argparse.Namespace) -> int:
    key = create(arguments.dir, arguments.name, [parse_key_line(line) for line in arguments.log])
    print(key.public.line)
    return 0


def _run(arguments: argparse.Namespace) -> int:
    from custody.witnessserver import WitnessServer  # noqa: PLC0415 - verifying must not wait for a web server

    witness = WitnessDir(arguments.dir)
    try:
        server = WitnessServer((arguments.host, arguments.port), witness)
    except OSError as error:
        raise Unusable(f"无法监听 / cannot listen on {arguments.host}:{arguments.port}: {error}") from None

    def stop(*_: object) -> None:
        threading.Thread(target=server.shutdown).start()  # shutdown waits for serve_forever, which this interrupts

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    print(f"{witness.key.public.line}\n正在监听 / listening on {arguments.host}:{server.server_address[1]}", flush=True)
    server.serve_forever()
    server.server_close()
    witness.close()
    return 0


def _pull(arguments: argparse.Namespace) -> int:
    from custody.remote import RemoteLog, Unreachable  # noqa: PLC0415 - nor for a web client

    witness, log = WitnessDir(arguments.dir), RemoteLog(arguments.log_url, arguments.ca)
    if not witness.logs:
        raise Unusable("未登记任何日志：custody witness init DIR --log 公钥行 / no log: init DIR --log KEYLINE")
    while True:
        try:
            code = _pull_once(witness, log, keep=arguments.keep)
        except Unreachable as error:
            print(f"custody: {error}", file=sys.stderr, flush=True)
            code = int(Exit.UNREADABLE)
        if not arguments.every:
            return code
        time.sleep(arguments.every)


def _pull_once(witness: WitnessDir, log: RemoteLog, *, keep: bool) -> int:
    """One look at the log: the same decision as over HTTP, with a proof made here from the log's own tiles."""
    note, key = _newest_known(witness, log)
    memory = witness.memory(key.name)
    target = memory.pending if memory.pending and size_of(memory.pending) < size_of(note) else note
    reply = witness.add_checkpoint(_request(log, memory.size, target).raw)
    if reply.status == 200 and target != note:
        reply = witness.add_checkpoint(_request(log, size_of(target), note).raw)
    if reply.status != 200:
        behind = f"{Code.ROLLBACK}: {memory.size} > {size_of(note)}" if size_of(note) < memory.size else reply.body
        print(f"未签署 / not cosigned: {behind.strip()}", flush=True)
        return int(Exit.ALTERED)
    cosigned = note + reply.body
    if keep:
        print(cosigned, end="", flush=True)
    else:
        log.give(cosigned)
        print(f"已签署 / cosigned: {size_of(note)}", flush=True)
    return 0


def _newest_known(witness: WitnessDir, log: RemoteLog) -> tuple[str, VerifyKey]:
    """The newest checkpoint, and the key of the log it is of. Raises FormatError for a log that is not witnessed."""
    note = log.read_newest()
    key = witness.logs.get(note.partition("\n")[0])
    if key is None:
        raise FormatError(f"此见证方未登记该日志 / this witness has no key of log {note.partition(chr(10))[0][:80]!r}")
    open_checkpoint(note, key)
    return note, key


def _request(log: RemoteLog, old: int, note: str) -> AddCheckpoint:
    return AddCheckpoint(old, tuple(log.prove(old, size_of(note))), note)


def _show(arguments: argparse.Namespace) -> int:
    witness = WitnessDir(arguments.dir)
    print(f"见证公钥行 / witness key line: {witness.key.public.line}")
    stopped = False
    for origin in witness.logs:
        memory = witness.memory(origin)
        stopped = stopped or memory.stopped is not None
        print(f"\n日志 / log: {origin}\n已签署至 / cosigned up to: {memory.size}")
        if memory.stopped is not None:
            print(f"已停止签署，等待人工处理 / stopped until people decide: {memory.stopped.value}")
        print(memory.cosigned or "（尚未签署 / nothing yet）\n", end="")
    for name, text in witness.evidence():
        print(f"\n证据 / evidence {name}\n{text}", end="")
    return int(Exit.ALTERED) if stopped else 0


def _clear(arguments: argparse.Namespace) -> int:
    witness = WitnessDir(arguments.dir)
    for origin in arguments.log or list(witness.logs):
        if origin not in witness.logs:
            raise Unusable(f"没有该日志 / no such log: {origin}")
        witness.clear(origin, anew=arguments.anew)
        print(f"已处理 / cleared: {origin}")
    return 0


def _check(arguments: argparse.Namespace) -> int:
    """Whether today's log extends a checkpoint: 1. read it. 2. Read the newest. 3. Prove, by the log's tiles."""
    from custody.remote import RemoteLog  # noqa: PLC0415 - as above

    key = parse_key_line(arguments.key)
    old, signed = _given_checkpoint(arguments, key)  # 1
    log = RemoteLog(arguments.log_url, arguments.ca)
    note = log.read_newest()  # 2
    new = open_checkpoint(note, key)
    shown = f"{old.size} → {new.size}"
    if new.size < old.size:
        print(f"日志变短：曾有 {old.size} 条，现仅 {new.size} 条。/ The log shrank: {shown}.\n{note}", end="")
        return int(Exit.ALTERED)
    try:
        if old.size:
            verify_consistency(old.size, old.root, new.size, new.root, log.prove(old.size, new.size))  # 3
    except ProofInvalid as error:
        print(
            f"矛盾：当前日志不是该检查点的延续。/ Contradiction: the log does not extend it ({error}).\n{note}", end=""
        )
        return int(Exit.ALTERED)
    print(f"一致：当前日志完整包含该检查点。/ The log extends this checkpoint: {shown}")
    if not signed:
        print(
            "纸面内容未带签名，其真实性由纸张本身保证。/ What was typed carries no signature; the paper vouches for it."
        )
    return 0


def _given_checkpoint(arguments: argparse.Namespace, key: VerifyKey) -> tuple[Checkpoint, bool]:
    """The checkpoint and whether it came with the log's signature. Raises FormatError, SignatureInvalid."""
    if arguments.note is None:
        root = "".join(arguments.root or ()).lower().replace(" ", "")
        if arguments.size is None or arguments.size < 0 or not _ROOT_HEX.fullmatch(root):
            raise FormatError(
                "请给出 NOTE，或 --size 与 --root（64 位十六进制）。 / NOTE, or --size and --root (64 digits)"
            )
        return Checkpoint(key.name, arguments.size, bytes.fromhex(root)), False
    raw = sys.stdin.read() if arguments.note == "-" else _read(Path(arguments.note))
    text = raw.replace("\r\n", "\n").strip("\n") + "\n"
    if "\n\n" in text:
        return open_checkpoint(text, key), True
    typed = parse_checkpoint(text)
    if typed.origin != key.name or base64.b64encode(typed.root).decode() not in text:
        raise FormatError(f"该检查点属于另一日志。 / the checkpoint is of {typed.origin}, the key of {key.name}")
    return typed, False


def _read(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise FormatError(f"无法读取 / cannot be read: {path}: {error}") from None
