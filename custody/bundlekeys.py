"""Whose signature counts in a bundle: given keys first, then what the log says, last what lies in the bundle. Pure."""

from __future__ import annotations

import base64
from collections.abc import Callable, Sequence
from typing import Literal

from custody.bundle import HUB_KEY, HUB_SOURCE, KEYS, LOG_KEY
from custody.checkpoint import Checkpoint, VerifyKey, open_checkpoint, parse_checkpoint, parse_key_line
from custody.cosignature import WitnessKey, cosigned_at
from custody.envelope import Envelope, parse_envelope
from custody.errors import CustodyError, FormatError, KeyInvalid, SignatureInvalid
from custody.event import Event
from custody.events import decode_event
from custody.finding import Kind
from custody.hubevents import KeyRotated
from custody.keyrotation import Rotation, check_rotation, check_station_rotation, trace_back
from custody.signers import Statement, read_key_file
from custody.stationevents import StationKeyRotated

Vouch = Literal["given", "log", "bundle"]  # how a key is known: the caller, the log's entry of its enrolment, nobody
Complain = Callable[..., None]


class BundleKeys:
    """The keys of one bundle. `vouches` tells, by label, how each key that signed something is known."""

    def __init__(self, trusted: Sequence[VerifyKey], witnesses: Sequence[WitnessKey], complain: Complain) -> None:
        """Begin with the keys whose holder the caller knows; `complain(kind, path, …)` notes a finding."""
        self.vouches: dict[str, Vouch] = {}
        self.log_key_given = False  # set once the checkpoint is shown to be signed by a key that the caller gave
        self.enrolment_unseen = False  # what would show a station's enrolment cannot be read
        self.cosigned: list[tuple[str, str]] = []  # witness's label, time as it states it
        self.not_cosigned: list[str] = []
        self._trusted, self._witnesses, self._complain = tuple(trusted), tuple(witnesses), complain
        self._given = {key.label: key for key in trusted}
        self._enrolled: dict[str, VerifyKey] = {}
        self._beside: dict[bytes, VerifyKey] = {}
        self._said: set[str] = set()
        self._rotations: list[Rotation] = []  # in the order of the log
        self._of_stations: list[tuple[VerifyKey, VerifyKey]] = []  # old and new key, in the order of the log
        self._first_seq: dict[str, int] = {}  # by label: of the first event that a station's key may sign
        self._last_seq: dict[str, int] = {}

    def take_rotation(self, path: bytes, raw: bytes) -> None:
        """A rotation that lies in the bundle, in the order of the log and before the key files. What shows it is that
        both keys signed for each other: from a given key on, every key that followed it is as good as given."""
        try:
            envelope = parse_envelope(raw)
            event = decode_event(envelope.payload_type, envelope.payload)
            if isinstance(event, StationKeyRotated):
                self._take_station_rotation(event, envelope)
                return
            if not isinstance(event, KeyRotated):
                raise FormatError("not a rotation")
            rotation = check_rotation(event)
        except CustodyError as error:
            self._complain(Kind.KEY_FILE_ALTERED, path, detail=str(error))
            return
        self._rotations.append(rotation)
        if rotation.old.line in {key.line for key in self._trusted}:
            self._trusted += (rotation.new,)
            self._given[rotation.new.label] = rotation.new

    def _take_station_rotation(self, event: StationKeyRotated, envelope: Envelope) -> None:
        """Both keys signed for each other here too, so who knows one of them knows the other."""
        old = parse_key_line(event.old_line)
        envelope.verify(old)
        new = check_station_rotation(event, old)
        self._of_stations.append((old, new))
        self._last_seq[old.label], self._first_seq[new.label] = event.seq, event.seq + 1
        for pair in (*self._of_stations, *reversed([pair[::-1] for pair in self._of_stations])):
            known, other = pair
            if known.line in {key.line for key in self._trusted} and other.label not in self._given:
                self._trusted += (other,)
                self._given[other.label] = other

    def take_file(self, path: bytes, raw: bytes) -> None:
        """One key line that lies in the bundle."""
        try:
            key = read_key_file(raw)
        except KeyInvalid as error:
            self._complain(Kind.KEY_FILE_ALTERED, path, detail=str(error))
            return
        self._beside[path] = key
        namesakes = [given for given in self._trusted if given.name == key.name]
        if namesakes and key.line not in {given.line for given in namesakes}:
            self._complain(Kind.KEY_FILE_OTHER, path, expected=namesakes[0].label, actual=key.label)

    def enrol(self, line: str) -> None:
        """A station's key as the log's entry of its enrolment gives it, and those that followed. Raises KeyInvalid."""
        key = parse_key_line(line)
        self._enrolled[key.label] = key
        for old, new in self._of_stations:  # in the order of the log
            if old.label in self._enrolled and self._enrolled[old.label].line == old.line:
                self._enrolled[new.label] = new

    def open_note(self, note: str, path: bytes) -> tuple[Checkpoint | None, bool]:
        """The checkpoint that the log's key has signed, and whether the caller gave that key.

        None, and a finding, when no key at hand has signed it.
        """
        try:
            origin = parse_checkpoint(note.partition("\n\n")[0] + "\n").origin
        except FormatError as error:
            self._complain(Kind.CHECKPOINT_ALTERED, path, detail=str(error))
            return None, False
        keys = [key for key in self._trusted if key.name == origin]
        given = bool(keys)
        if self._trusted and not given:
            self._once(Kind.SIGNER_UNKNOWN, origin, path)
        if not given and LOG_KEY in self._beside:
            keys = [self._beside[LOG_KEY]]
        fault: CustodyError = SignatureInvalid("no key of this log is at hand")
        for key in reversed(keys):
            try:
                return open_checkpoint(note, key), given
            except CustodyError as caught:
                fault = caught
        self._complain(Kind.CHECKPOINT_ALTERED, path, detail=str(fault))
        return None, False

    def look_for_witnesses(self, note: str, path: bytes) -> None:
        """Which of the given witnesses have cosigned."""
        for witness in self._witnesses:
            try:
                at = cosigned_at(note, witness)
            except CustodyError as error:
                self._complain(Kind.COSIGNATURE_ALTERED, path, detail=str(error))
                at = None
            if at is None:
                self.not_cosigned.append(witness.label)
            else:
                self.cosigned.append((witness.label, at.isoformat().replace("+00:00", "Z")))

    def open(self, raw: bytes, path: bytes) -> Statement:
        """The event of an envelope whose signature holds. Raises CustodyError, also where no key for it is at hand."""
        envelope = parse_envelope(raw)
        key, vouch = self._key_for(envelope.key_label, path)
        event = decode_event(envelope.payload_type, envelope.verify(key))
        if not _may_speak(key, event):
            raise SignatureInvalid(f"{key.name} signed in the name of {event.source}")
        if not self._first_seq.get(key.label, 1) <= event.seq <= self._last_seq.get(key.label, event.seq):
            raise SignatureInvalid(f"{key.label} did not count for event {event.seq} of {event.source}")
        self.vouches[key.label] = vouch
        return Statement(event, envelope.hash)

    def _key_for(self, label: str, path: bytes) -> tuple[VerifyKey, Vouch]:
        if label in self._given:
            return self._given[label], "given"
        name = label.rpartition("+")[0]
        hub = self._beside.get(HUB_KEY)
        hubs = {} if hub is None else {key.label: key for key in trace_back(hub, self._rotations)}
        if any(key.name == name for key in self._trusted):
            self._once(Kind.SIGNER_UNKNOWN, label, path)
        # what the log holds in the hub's name, the log's keeper put there; a station's key by its enrolment alone
        if label in hubs and "/" in hubs[label].name:
            return hubs[label], "log" if self.log_key_given else "bundle"
        if label in self._enrolled:
            return self._enrolled[label], "log" if self.log_key_given else "bundle"
        if self._trusted and not self.enrolment_unseen:
            self._once(Kind.SIGNER_UNKNOWN, label, path)
        for there, key in self._beside.items():
            if key.label == label and there.startswith(KEYS):
                return key, "bundle"
        raise SignatureInvalid(f"no key {label[:120]} is at hand")

    def _once(self, kind: Kind, label: str, path: bytes) -> None:
        if label not in self._said:
            self._said.add(label)
            self._complain(kind, path, expected=label)


def signed_once(note: str) -> bool:
    """Whether a note that reads carries one signature, in canonical base64: then every edit of it shows."""
    tail = note.rpartition("\n\n")[2]
    encoded = tail.rstrip("\n").rpartition(" ")[2]
    return tail.count("\n") == 1 and base64.b64encode(base64.b64decode(encoded)).decode() == encoded


def _may_speak(key: VerifyKey, event: Event) -> bool:
    """A station's key is named as the station; the hub's key has a path for a name, which no station id is."""
    return "/" in key.name if event.source == HUB_SOURCE else key.name == event.source
