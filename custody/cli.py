"""The `custody` command. Parses, calls, prints, exits; results on stdout, the rest on stderr."""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from cryptography.x509 import Certificate

from custody.bundleexamine import examine_bundle, is_bundle
from custody.checkpoint import VerifyKey, parse_key_line
from custody.cosignature import WitnessKey, parse_witness_line
from custody.digest import CHUNK_BYTES
from custody.disk import Hasher, NotRegular, open_regular, reason
from custody.errors import CustodyError, KeyInvalid
from custody.examine import examine
from custody.finding import Exit
from custody.report import Lang, as_json, inert, render
from custody.secretcli import add_secret
from custody.show import show
from custody.timestamp import load_certificates
from custody.witnesscli import add_witness

_VERIFY_HELP = """\
核验存证库、其中一次接入，或中心导出的证据包：文件齐全，与采集站封存时逐位相同，无添加，各声明相符。不需要服务器和网络。

Verifies a vault, one docking in it, anything that holds dockings, or a bundle that a hub has exported: that every file
is there and is bit for bit what the station sealed, that nothing was added, and that all statements agree. Of a bundle
it also checks that every statement is in the hub's audit log, and says what is proved and what is not. Needs no server
and no network.

Which key? For a vault the station's key line, from the station ("dock-agent status"); for a bundle the log's, from the
hub or from paper, and the stations' where you have them; a witness's to check its signature. Never take a key from
beside the footage: whoever alters footage can replace the key next to it. Without --key everything is checked, but not
who signed it.

exit codes
  0  verified: everything is as sealed
  1  altered or incomplete; every finding is listed with file, chunks and kind
  2  wrong usage
  3  something could not be read, or was not looked at (a bundle beside a vault); all else is as sealed
  4  nothing to verify: no docking at this path

examples
  custody verify /srv/vault --key station.vkey
  custody verify /media/disc/bundle --key log.vkey --lang zh
  custody verify /media/disc/bundle --key log.vkey --tsa authority.pem
  custody verify /media/disc/cam-7/2026/03/01/0195f0 --key 'dock-1+c506c070+AQOhB7…' --lang zh
  custody verify /srv/vault --json | jq '.findings[] | .kind, .path'
"""
_TSA_HELP = "PEM file: certificates of a time-stamping authority that you trust, to verify when the log stood so"
_DIGEST_HELP = """\
计算一个文件的 SHA-256 和分块树的根哈希，与封存记录中的一致即为同一内容。

Prints the SHA-256 of a file and the root of the tree over its chunks of 1 MiB, as a seal states them.

example
  custody digest 0001.MP4

exit codes: 0 done; 2 wrong usage; 3 the file cannot be read
"""
_SHOW_HELP = """\
以可读形式打印一份证据文件；给出 --key 时还说明是否由该密钥签名。

Prints an envelope, receipt, signed note, checkpoint, key line, manifest or leaves file in readable form. With --key it
says whether that key signed it; without, nothing shown is proved.

example
  custody show completed.dsse.json --key station.vkey
  custody show entry-17.dsse.json --opening entry-17.opening.json

exit codes: 0 shown, and with --key proved; 1 not signed by the key, or an opening that does not fit; 2 wrong usage;
3 unreadable or of no known form
"""


def command() -> int:
    """`custody` as a program of its own. What it does to its process would be a caller's ruin: see `main`."""
    if hasattr(signal, "SIGPIPE"):  # Windows has none
        signal.signal(signal.SIGPIPE, signal.SIG_DFL)  # `custody … | head` ends quietly
    return main()


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command and return its exit code."""
    for stream in (sys.stdout, sys.stderr):
        stream.reconfigure(errors="backslashreplace")  # type: ignore[union-attr]  # both are text files
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return 130
    except NotRegular:
        return _unreadable("not a regular file")
    except OSError as error:
        return _unreadable(f"{inert(os.fsencode(error.filename or ''))}: {reason(error)}")


def _unreadable(message: str) -> int:
    print(f"custody: {message}", file=sys.stderr)
    return Exit.UNREADABLE


def _parser() -> argparse.ArgumentParser:
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        prog="custody",
        description="核验执法记录仪录像，无需信任任何人的服务器。\n"
        "Verify footage of body-worn cameras without trusting anybody's server.",
        epilog="Start with: custody verify PATH --key KEYLINE. Exit codes and examples: custody COMMAND --help",
        formatter_class=raw,
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    verify = commands.add_parser(
        "verify", help="verify a vault, a docking or a bundle", description=_VERIFY_HELP, formatter_class=raw
    )
    verify.add_argument("path", metavar="PATH", help="a bundle, a vault, a docking folder, or anything above one")
    verify.set_defaults(run=_verify)
    digest = commands.add_parser(
        "digest", help="SHA-256 and tree root of a file", description=_DIGEST_HELP, formatter_class=raw
    )
    digest.add_argument("path", metavar="FILE", help="any file")
    digest.set_defaults(run=_digest)
    shown = commands.add_parser("show", help="print an evidence file", description=_SHOW_HELP, formatter_class=raw)
    shown.add_argument("path", metavar="FILE", help="an evidence file: from .custody/ of a docking, or from a bundle")
    shown.add_argument("--opening", metavar="FILE", help="what shows the values behind an envelope's commitments")
    shown.set_defaults(run=_show)
    verify.add_argument("--tsa", metavar="FILE", action="append", type=_certificates, default=[], help=_TSA_HELP)
    add_witness(commands)
    for command in (verify, shown, add_secret(commands)):
        key_help = "a trusted key line, or a file with key lines; may be given several times"
        command.add_argument("--key", metavar="FILE|KEYLINE", action="append", type=_keys, default=[], help=key_help)
        command.add_argument("--lang", choices=("zh", "en"), default=_system_language(), help="language of the output")
    for command in (verify, digest):
        command.add_argument("--json", action="store_true", help="print one JSON object instead")
    return parser


def _certificates(value: str) -> list[Certificate]:
    if not hasattr(Certificate, "not_valid_before_utc"):
        raise argparse.ArgumentTypeError("time-stamps need the Python library cryptography in version 42 or newer")
    try:
        return load_certificates(Path(value).read_bytes())
    except (CustodyError, OSError) as error:
        raise argparse.ArgumentTypeError(f"{inert(value)} is no PEM file of certificates: {error}") from None


def _keys(value: str) -> list[VerifyKey | WitnessKey]:
    try:
        lines = Path(value).read_text("utf-8-sig").splitlines() if os.path.exists(value) else [value]
        keys = [_key(line) for line in lines if line.strip() and not line.startswith("#")]
    except (KeyInvalid, OSError, UnicodeDecodeError) as error:
        raise argparse.ArgumentTypeError(
            f"{inert(value)} is neither a key line nor a file of key lines: {error}"
        ) from None
    if not keys:
        raise argparse.ArgumentTypeError(f"{inert(value)} holds no key line")
    return keys


def _key(line: str) -> VerifyKey | WitnessKey:
    try:
        return parse_key_line(line)
    except KeyInvalid:
        try:
            return parse_witness_line(line)
        except KeyInvalid:
            pass
        raise


def _given(arguments: argparse.Namespace) -> list[VerifyKey]:
    return [key for group in arguments.key for key in group if isinstance(key, VerifyKey)]


def _system_language() -> Lang:
    language = os.environ.get("LC_ALL") or os.environ.get("LC_MESSAGES") or os.environ.get("LANG") or ""
    return "zh" if language.startswith("zh") else "en"


def _verify(arguments: argparse.Namespace) -> int:
    keys, path = _given(arguments), os.fsencode(arguments.path)
    witnesses = [key for group in arguments.key for key in group if isinstance(key, WitnessKey)]
    progress = Progress(sys.stderr.isatty())
    with Hasher(progress.add) as hasher:
        if is_bundle(path):
            authorities = [certificate for group in arguments.tsa for certificate in group]
            report = examine_bundle(path, keys, witnesses, progress.start, hasher, authorities)
        else:
            report = examine(path, keys, progress.start, hasher)
    progress.end()
    if arguments.json:
        print(json.dumps(as_json(report), indent=1))
    else:
        print("\n".join(render(report, arguments.lang)))
    return report.exit


def _digest(arguments: argparse.Namespace) -> int:
    with open_regular(os.fsencode(arguments.path)) as descriptor, Hasher() as hasher:
        size = os.fstat(descriptor).st_size
        digests = hasher.digest(descriptor, size, lambda _: None)
    count = -(-digests.read_bytes // CHUNK_BYTES)
    facts = {
        "sha256": digests.sha256.hex(),
        "tree_root": digests.tree_root.hex(),
        "chunk_bytes": CHUNK_BYTES,
        "chunk_count": count,
        "size_bytes": digests.read_bytes,
    }
    print(json.dumps(facts) if arguments.json else "\n".join(f"{name:<12} {value}" for name, value in facts.items()))
    return Exit.VERIFIED


def _show(arguments: argparse.Namespace) -> int:
    keys = _given(arguments)
    with open_regular(os.fsencode(arguments.path)) as descriptor, open(descriptor, "rb", closefd=False) as stream:
        opening = None if arguments.opening is None else Path(arguments.opening).read_bytes()
        code, lines = show(stream, keys, arguments.lang, opening)
        for line in lines:
            print(line)
    return code


class Progress:
    """Bytes done and time left on a terminal's stderr, at most four times a second; silent elsewhere."""

    def __init__(self, shown: bool) -> None:
        """Begin; nothing is printed unless `shown`."""
        self._shown = shown
        self._total = self._done = 0
        self._began = self._last = time.monotonic()

    def start(self, total_bytes: int) -> None:
        """How many bytes there will be."""
        self._total = total_bytes

    def add(self, count: int) -> None:
        """So many more bytes are done."""
        self._done += count
        now = time.monotonic()
        if not self._shown or now - self._last < 0.25:
            return
        self._last = now
        rate = self._done / max(now - self._began, 0.001)
        left = max(self._total - self._done, 0) / rate
        share = min(100 * self._done // max(self._total, 1), 100)
        print(f"\r{share:3d} %  {rate / 1e6:.0f} MB/s  {left:.0f} s ", end="", file=sys.stderr, flush=True)

    def end(self) -> None:
        """Clear the line."""
        if self._shown:
            print("\r\x1b[K", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(command())
