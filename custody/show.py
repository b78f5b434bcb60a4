"""`custody show`: one evidence file in readable form, and whether a given key signed it."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import BinaryIO

from custody.checkpoint import MAX_NOTE_BYTES, VerifyKey, open_note, parse_checkpoint, parse_key_line
from custody.commitments import check_opening, committed, parse_opening
from custody.digest import HASH_BYTES, tree_root
from custody.envelope import Envelope, parse_envelope
from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.fields import load_object
from custody.finding import Exit
from custody.inert import inert_json
from custody.manifest import Copied, ManifestReader
from custody.report import Lang, inert

_WORDS = {
    "proved": ("signed by {}: verified", "由 {} 签名：已验证"),
    "refused": ("NOT VERIFIED: {}", "未通过验证：{}"),
    "unproved": ("NOT VERIFIED: no --key was given", "未验证：未给出 --key"),
    "unsigned": ("carries no signature of its own", "此文件本身不带签名"),
    "opened": ("  {} = {}: proved by the opening", "  {} = {}：由开启值证明"),
    "unopened": ("  {}: a commitment; no opening was given", "  {}：仅为承诺；未给出开启值"),
    "opening_refused": ("  the opening proves nothing: {}", "  开启值不能证明任何内容：{}"),
    "unknown": (
        "neither envelope, note, key line, manifest nor leaves",
        "既非信封、签名文本、密钥行、清单，也非分块哈希",
    ),
}


def show(
    stream: BinaryIO, keys: Sequence[VerifyKey], lang: Lang, opening: bytes | None = None
) -> tuple[Exit, Iterator[str]]:
    """The exit code and the lines to print; the lines are made while `stream` is open.

    `opening`: what shows the values behind the commitments of an envelope, see commitments.md.
    """
    head = stream.read(MAX_NOTE_BYTES + 1)
    stream.seek(0)
    if head.startswith(b'{"manifest":'):
        whole = _reads_to_its_end(stream)
        return _unsigned(keys) if whole else Exit.UNREADABLE, _manifest(stream, lang)
    try:
        return _envelope(parse_envelope(head), keys, lang, opening)
    except FormatError:
        pass  # then it may be a note
    try:
        text = head.decode()
    except UnicodeDecodeError:
        return _leaves(stream, keys, lang)
    if "\n\n\u2014 " in text:
        return _note(text, keys, lang)
    try:
        key = parse_key_line(text)
    except CustodyError:
        return _leaves(stream, keys, lang)
    lines = [f"key line of {inert(key.name)}", f"  label       {inert(key.label)}", "  algorithm   Ed25519"]
    return _unsigned(keys), iter([*lines, f"  public key  {key.public.public_bytes_raw().hex()}"])


def _unsigned(keys: Sequence[VerifyKey]) -> Exit:
    """Of a form that carries no signature: none by a key that was asked for."""
    return Exit.ALTERED if keys else Exit.VERIFIED


def _say(lang: Lang, word: str, *facts: object) -> str:
    return _WORDS[word][lang == "zh"].format(*(inert(str(f)) for f in facts))


def _envelope(
    envelope: Envelope, keys: Sequence[VerifyKey], lang: Lang, opening: bytes | None
) -> tuple[Exit, Iterator[str]]:
    code, proof = Exit.VERIFIED, _say(lang, "unproved")
    if keys:
        key = next((k for k in keys if k.label == envelope.key_label), keys[0])
        try:
            envelope.verify(key)
            proof = _say(lang, "proved", key.label)
        except SignatureInvalid as error:
            code, proof = Exit.ALTERED, _say(lang, "refused", error)
    try:
        body = inert_json(load_object(envelope.payload), indent=2)
    except (FormatError, RecursionError):
        body = f"payload: {len(envelope.payload)} bytes that are not JSON, or too deeply nested to show"
    fits, values = _opened(envelope, opening, lang)
    lines = [
        f"envelope {envelope.payload_type}",
        f"  SHA-256  {envelope.hash.hex()}",
        f"  key id   {inert(envelope.key_label)}",
        f"  {proof}",
        *values,
        *(inert(line) for line in body.split("\n")),
    ]
    return code if fits else Exit.ALTERED, iter(lines)


def _opened(envelope: Envelope, raw: bytes | None, lang: Lang) -> tuple[bool, list[str]]:
    """Whether the given opening fits, and each committed field with what is known of it."""
    try:
        fields = list(committed(envelope)[1])
        opening = None if raw is None else parse_opening(raw)
        if opening is not None:
            check_opening(opening, envelope)
    except CustodyError as error:
        return raw is None, [] if raw is None else [_say(lang, "opening_refused", error)]
    values = {one.field: one.value for one in opening.fields} if opening else {}
    return True, [
        _say(lang, "opened" if f in values else "unopened", f, *([values[f]] if f in values else [])) for f in fields
    ]


def _note(text: str, keys: Sequence[VerifyKey], lang: Lang) -> tuple[Exit, Iterator[str]]:
    lines, code = [inert(line) for line in text.split("\n")], Exit.VERIFIED
    proofs = [] if keys else [_say(lang, "unproved")]
    for key in keys:
        try:
            open_note(text, key)
            proofs.append(_say(lang, "proved", key.label))
        except CustodyError as error:
            code = Exit.ALTERED
            proofs.append(_say(lang, "refused", error))
    try:
        checkpoint = parse_checkpoint(text.partition("\n\n")[0] + "\n")
        lines.append(f"checkpoint of {inert(checkpoint.origin)}: {checkpoint.size} entries, {checkpoint.root.hex()}")
    except FormatError:
        lines.append("note")
    return code, iter([*lines, *proofs])


def _reads_to_its_end(stream: BinaryIO) -> bool:
    try:
        for _ in ManifestReader(stream):
            pass
    except FormatError:
        return False
    finally:
        stream.seek(0)
    return True


def _manifest(stream: BinaryIO, lang: Lang) -> Iterator[str]:
    reader = ManifestReader(stream)
    try:
        for item in reader:
            if isinstance(item, Copied):
                envelope = parse_envelope(item.envelope)
                statement = load_object(envelope.payload)
                yield inert(f"{item.entry} copied {json.dumps(statement, ensure_ascii=False)}")
            else:
                yield inert(str(item))
    except FormatError as error:
        yield _say(lang, "refused", error)
    yield f"SHA-256 {reader.sha256}, {reader.size_bytes} bytes, {_say(lang, 'unsigned')}"


def _leaves(stream: BinaryIO, keys: Sequence[VerifyKey], lang: Lang) -> tuple[Exit, Iterator[str]]:
    size = stream.seek(0, 2)
    stream.seek(0)
    if not size or size % HASH_BYTES or size // HASH_BYTES < 2:
        return Exit.UNREADABLE, iter([_say(lang, "unknown")])
    leaves = iter(lambda: stream.read(HASH_BYTES), b"")
    first = list(islice(leaves, 1000))

    def lines() -> Iterator[str]:
        yield f"{size // HASH_BYTES} leaves of 1 MiB chunks, {_say(lang, 'unsigned')}"
        for number, leaf in enumerate(first):
            yield f"  {number:6d} {leaf.hex()}"
        stream.seek(0)
        yield f"tree root {tree_root(iter(lambda: stream.read(HASH_BYTES), b'')).hex()}"

    return _unsigned(keys), lines()
