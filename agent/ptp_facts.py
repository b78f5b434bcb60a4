"""Charge, clock and identity of a PTP camera: `python -m agent.ptp_facts PORT` prints them as one JSON object.

PORT as `agent.usbfs.port_for` gives it. A process of its own, confined before the camera says its first byte. It only
reads; it holds the camera for some milliseconds, so ask before an offload or after it, never meanwhile (EBUSY).
Exit code 0; else that of the error, printed as `{"error", "en", "zh"}`.
"""

import dataclasses
import json
import sys
from dataclasses import dataclass

from agent.confine import confine, leave_network, limit_cpu
from agent.errors import AgentError
from agent.ptpcamera import mute, read_device
from agent.ptpdata import Malformed, Operation, Property, clock_text, parse_battery, parse_text
from agent.ptpsession import Refused, Session
from agent.usbfs import UsbPipe

CPU_SECONDS = 10
MEMORY_BYTES = 512 << 20
OPEN_FILES = 32


@dataclass(frozen=True, slots=True)
class PtpFacts:
    """What a camera says of itself; None where it does not say."""

    battery_percent: int | None  # 1 to 100, of what the camera calls full
    clock: str | None  # its wall clock in ISO 8601; with an offset only if the camera states one
    serial: str
    model: str
    manufacturer: str
    version: str  # of its firmware


def read_facts(session: Session) -> PtpFacts:
    """Ask an open session. Raises SourceUnreadable, SourceGone, Refused."""
    device = read_device(session)
    battery = clock = None
    if Property.BATTERY in device.properties:
        try:
            battery = parse_battery(session.ask(Operation.GET_DEVICE_PROPERTY_DESCRIPTION, Property.BATTERY))
        except (Refused, Malformed):
            battery = None
    if Property.CLOCK in device.properties:
        try:
            clock = clock_text(parse_text(session.ask(Operation.GET_DEVICE_PROPERTY, Property.CLOCK)))
        except (Refused, Malformed):
            clock = None
    return PtpFacts(battery, clock, device.serial, device.model, device.manufacturer, device.version)


def main() -> int:
    """Entry point of the process."""
    try:
        pipe = UsbPipe(sys.argv[1])
        try:
            confine(MEMORY_BYTES, OPEN_FILES, file_bytes=1 << 20)  # stdout may be a file
            leave_network()
            limit_cpu(CPU_SECONDS)
            session = Session(pipe)
            facts = read_facts(session)
            session.close()
        except Refused as refused:
            raise mute(refused) from refused
        finally:
            pipe.close()
    except AgentError as error:
        print(json.dumps({"error": error.code, "en": error.en, "zh": error.zh}, ensure_ascii=False))
        return int(error.exit_code)
    print(json.dumps(dataclasses.asdict(facts)))
    return 0


if __name__ == "__main__":
    sys.exit(main())
