"""The embedded MQTT broker: rumqttd out of the `iotcore` wheel, in a process of its own, on loopback only.

It serves one machine (`deploy/try`, a single dock with its hub); a bureau runs Mosquitto with TLS (`deploy/mosquitto`).
Its queue lives in memory: whatever it holds dies with it. That is allowed, because a station forgets an event only
when the hub's signed receipt has come back, never because a broker acknowledged.
"""

import argparse
import ctypes
import logging
import os
import signal
from collections.abc import Sequence
from pathlib import Path

HOST = "127.0.0.1"
MAX_PAYLOAD_BYTES = 256 * 1024
"""An envelope stays under 60 KiB; retained bay and state messages are smaller. A larger packet ends its connection."""

SEGMENT_BYTES = 8 * 1024 * 1024
SEGMENTS = 8
"""Per topic filter the broker keeps its newest 64 MiB: about 40,000 envelopes of 1.5 KiB for a hub that is away."""

DELIVERY_WINDOW = 100
"""Deliveries that may await one client's PUBACK. Fixed inside rumqttd, whatever Receive Maximum the client asked for:
a hub that collects a larger batch before it acknowledges would wait for ever. Commit at this many or sooner."""

_PR_SET_PDEATHSIG = 1


def configuration(port: int) -> str:
    """The rumqttd configuration (TOML): one MQTT 5 listener on loopback and nothing else.

    A `[v4.…]` table would open MQTT 3.1.1, where a refused publish is acknowledged as a success; so there is none.
    `dynamic_filters` stays off: on, every topic ever published would get a 64 MiB log of its own.
    """
    return f"""id = 0

[router]
id = 0
max_connections = 1024
max_outgoing_packet_count = 200
max_segment_size = {SEGMENT_BYTES}
max_segment_count = {SEGMENTS}

[v5.1]
name = "custodock"
listen = "{HOST}:{port}"
next_connection_delay_ms = 1

[v5.1.connections]
connection_timeout_ms = 10000
max_payload_size = {MAX_PAYLOAD_BYTES}
max_inflight_count = {DELIVERY_WINDOW}
dynamic_filters = false
"""


def die_with_parent() -> None:
    """Ask the kernel to end this process when the one that started it ends, however that one ended.

    Raises OSError when the kernel refuses. Linux only, see prctl(2).
    """
    parent = os.getppid()
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG) was refused")
    if os.getppid() != parent:  # the parent ended before prctl took effect, so no signal will come
        raise SystemExit(0)


def serve(port: int, config_dir: Path) -> None:
    """Run the broker on 127.0.0.1:`port` until SIGTERM or SIGINT, which end the process; does not return.

    Writes `config_dir/broker.toml` (a generated file: changes made by hand are overwritten at the next start).
    Raises OSError when the port is taken.
    """
    from iotcore import IotCoreBroker  # noqa: PLC0415 (14 MB of native code that no other command needs)

    config = config_dir / "broker.toml"
    config.write_text(configuration(port), encoding="utf-8")
    # rumqttd wraps each packet in an error-level span, so every packet would print a line and halve the throughput
    logging.getLogger("rumqttd").setLevel(logging.CRITICAL)
    broker = IotCoreBroker(config_path=str(config))
    broker.check_ports()
    # nothing is lost by dying at once: the broker writes no file and holds nothing that a receipt has not covered
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    broker.run_forever()


def main(argv: Sequence[str] | None = None) -> None:
    """`dock-hub broker`: parse the command line, tie this process to its parent, serve."""
    parser = argparse.ArgumentParser(
        prog="dock-hub broker",
        description="在 127.0.0.1 运行内置的 MQTT 5 服务器，供同一台机器上的采集站和中心使用。\n"
        "Run the embedded MQTT 5 broker on 127.0.0.1, for a station and a hub on one machine.\n"
        "It ends when the process that started it ends. For several machines use deploy/mosquitto.",
        epilog="example:\n  dock-hub broker --dir /var/lib/custodock-hub\n\n"
        "exit codes: 0 or by a signal: stopped as asked; 1 the port is taken or the directory cannot be written;\n"
        "2 wrong usage",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--port", type=int, default=1883, help="TCP port on 127.0.0.1 (default 1883)")
    parser.add_argument("--dir", type=Path, required=True, help="existing directory for the generated broker.toml")
    arguments = parser.parse_args(argv)
    die_with_parent()
    serve(arguments.port, arguments.dir)


if __name__ == "__main__":
    main()
