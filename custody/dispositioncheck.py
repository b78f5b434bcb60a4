"""Which sealed files of a docking left the vault by authority, decided purely. See ``custody/spec/disposition.md``."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from custody.checkpoint import VerifyKey
from custody.disposition import Record, log_proves, read_record
from custody.envelope import parse_envelope
from custody.errors import CustodyError, SignatureInvalid
from custody.events import decode_event
from custody.finding import Kind
from custody.keyrotation import successor
from custody.signers import Statement
from custody.stationevents import DockingClosed, SegmentSealed


class Dispositions:
    """The records of one docking. `complain(kind, path, **facts)` notes a finding."""

    def __init__(self, trusted: Sequence[VerifyKey], complain: Callable[..., None]) -> None:
        """Begin with the keys whose holder the caller knows: of stations, of the log."""
        self._trusted, self._complain = trusted, complain
        self._by_entry: dict[int, Record] = {}

    def take(self, name: bytes, raw: bytes, closed: DockingClosed | None, beside: VerifyKey | None) -> Statement | None:
        """A record: its files may be gone, and are said to be disposed of. The intent, where it is accepted.

        1. The station's key signed the intent: a trusted one, or the one that lies beside the docking, or one that
        followed it by rotations that the record holds. 2. It is of this docking, and the command is the one that it
        names. 3. Where the log's key is among the trusted ones, the log proves that two people stand for it.
        """
        try:
            record = read_record(raw, name)  # 2
            if closed is None or (record.intent.source, record.intent.docking_id) != (closed.source, closed.docking_id):
                raise SignatureInvalid("it is of another docking, or what closed this one is not there")
            envelope = parse_envelope(record.intent_envelope)
            envelope.verify(self._signer(record, envelope.key_label, beside))  # 1
            proved = log_proves(record, self._trusted)
            if proved is False:  # 3
                raise SignatureInvalid("the log does not prove that two people stand for it")
        except CustodyError as error:
            self._complain(Kind.DISPOSITION_ALTERED, name, detail=str(error))
            return None
        intent = record.intent
        self._by_entry |= dict.fromkeys(intent.entries, record)
        people = f"{intent.requested_by}, {intent.approved_by}"
        kind = Kind.DISPOSITION if proved else Kind.DISPOSITION_STATED
        self._complain(kind, name, expected=people, actual=intent.disposition_id, detail=intent.basis)
        return Statement(intent, envelope.hash)

    def authority(self, seal: SegmentSealed) -> str | None:
        """The disposition by which this file may be gone."""
        record = self._by_entry.get(seal.entry)
        if record is None or seal.sha256 not in record.body.file_sha256s:
            return None
        return record.intent.disposition_id

    def _signer(self, record: Record, label: str, beside: VerifyKey | None) -> VerifyKey:
        name = record.intent.source
        found = [key for key in self._trusted if key.label == label]
        key = found[0] if found else beside
        for raw in () if found else record.rotations:
            if key is None or key.label == label:
                break
            envelope = parse_envelope(raw)
            event = decode_event(envelope.payload_type, envelope.verify(key))
            key = successor(event, key) or key
        if key is None or key.name != name:
            raise SignatureInvalid(f"no key of {name} is at hand that signed it; give its key line")
        return key
