"""Whose signature counts for one docking: trusted keys before the key line that lies beside it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from custody.checkpoint import VerifyKey, parse_key_line
from custody.envelope import Envelope, parse_envelope
from custody.errors import KeyInvalid, SignatureInvalid
from custody.event import Event
from custody.events import decode_event
from custody.finding import Kind


@dataclass(frozen=True, slots=True)
class Statement:
    """An event as an accepted envelope gives it."""

    event: Event
    envelope_hash: bytes


def read_key_file(raw: bytes) -> VerifyKey:
    """The key of a file that is exactly one whole key line. Raises KeyInvalid."""
    try:
        key = parse_key_line(raw.decode())
    except UnicodeDecodeError:
        raise KeyInvalid("not a key line: not UTF-8") from None
    if raw != f"{key.line}\n".encode():
        raise KeyInvalid("more than one key line, or stray characters")
    return key


class Signers:
    """The keys of one docking. Says once, by `complain(kind, wanted label, label beside)`, what is wrong with them."""

    def __init__(self, trusted: Sequence[VerifyKey], complain: Callable[[Kind, str, str | None], None]) -> None:
        """Begin with the keys whose holder the caller knows; none for a check without authorship."""
        self.labels: set[str] = set()  # of the keys that signed what was accepted
        self._trusted = {key.label: key for key in trusted}
        self._beside: VerifyKey | None = None
        self._complain = complain
        self._said: set[tuple[Kind, str]] = set()

    def take_key_file(self, raw: bytes) -> None:
        """The key line beside the docking. Raises KeyInvalid unless it is exactly one whole key line."""
        self._beside = read_key_file(raw)

    @property
    def beside(self) -> VerifyKey | None:
        """The key whose line lies beside the docking."""
        return self._beside

    def open(self, raw: bytes) -> Statement:
        """The event of an envelope whose signature holds, or that no key at hand can prove: then it was complained of.

        Raises CustodyError for anything else, and for a key that signs in the name of another source.
        """
        envelope = parse_envelope(raw)
        key = self._key_for(envelope)
        if key is None:
            return Statement(decode_event(envelope.payload_type, envelope.payload), envelope.hash)
        event = decode_event(envelope.payload_type, envelope.verify(key))
        if event.source != key.name:
            raise SignatureInvalid(f"{key.name} signed in the name of {event.source}")
        self.labels.add(key.label)
        return Statement(event, envelope.hash)

    def _key_for(self, envelope: Envelope) -> VerifyKey | None:
        label, beside = envelope.key_label, self._beside
        if trusted := self._trusted.get(label):
            if beside is not None and beside.line != trusted.line:
                self._once(Kind.KEY_FILE_OTHER, label)
            return trusted
        if self._trusted:
            self._once(Kind.SIGNER_UNKNOWN, label)
        if beside is not None and beside.label != label:
            self._once(Kind.KEY_FILE_OTHER, label)
            return None
        return beside  # None: a missing or damaged key file is a finding already

    def _once(self, kind: Kind, label: str) -> None:
        if (kind, label) not in self._said:
            self._said.add((kind, label))
            self._complain(kind, label, self._beside.label if self._beside else None)
