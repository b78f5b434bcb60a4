"""The embedded broker, spoken to over a socket by paho: what hub and station rely on, and how it dies."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from hub import broker
from tests.integration.mqtt_peer import WAIT_SECONDS, Client, answers, wait_until
from tests.ports import free_port

EVENTS = "custodock/1/dock-7/events"
ALL_EVENTS = "custodock/1/+/events"


def start_broker(port: int, directory: Path) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "hub.broker", "--port", str(port), "--dir", str(directory)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE)
    wait_until(lambda: answers(port) or process.poll() is not None, "the broker to listen")
    return process


def finish(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.communicate()


@pytest.fixture
def port(tmp_path: Path) -> Iterator[int]:
    number = free_port()
    process = start_broker(number, tmp_path)
    yield number
    finish(process)


def test_listens_on_loopback_only(tmp_path: Path) -> None:
    process = start_broker(number := free_port(), tmp_path)
    listening = [c.laddr for c in psutil.Process(process.pid).net_connections() if c.status == psutil.CONN_LISTEN]
    finish(process)
    assert [(address.ip, address.port) for address in listening] == [("127.0.0.1", number)]


def test_refuses_mqtt_3(port: int) -> None:
    """3.1.1 would acknowledge a refused publish as a success, so such a client gets no CONNACK of success."""
    connect_311 = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x3c\x00\x02c1"
    with socket.create_connection(("127.0.0.1", port), timeout=WAIT_SECONDS) as raw:
        raw.sendall(connect_311)
        try:
            answer = raw.recv(64)
        except ConnectionResetError:
            answer = b""
    assert answer[:1] != b"\x20" or answer[3] != 0


def test_delivers_in_order(port: int) -> None:
    hub, station = Client(port, "hub"), Client(port, "dock-7")
    hub.subscribe(ALL_EVENTS)
    sent = [b"%d" % number for number in range(500)]
    for payload in sent:
        station.paho.publish(EVENTS, payload, qos=1)
    wait_until(lambda: len(hub.messages) == len(sent), "500 messages")
    assert hub.payloads == sent
    hub.close()
    station.close()


def test_a_publish_nobody_listens_to_is_harmless(port: int) -> None:
    station = Client(port, "dock-7")
    station.publish("custodock/1/dock-7/state", b"{}", retain=True)
    station.publish(EVENTS, b"x")
    assert station.paho.is_connected()
    station.close()


def test_retained_state_reaches_a_later_subscriber_and_can_be_cleared(port: int) -> None:
    station = Client(port, "dock-7")
    station.publish("custodock/1/dock-7/bay/1", b"copying 12/48", retain=True)
    supervisor = Client(port, "supervisor")
    supervisor.subscribe("custodock/1/+/bay/+")
    wait_until(lambda: supervisor.payloads == [b"copying 12/48"], "the retained message")
    assert supervisor.messages[0].retain
    station.publish("custodock/1/dock-7/bay/1", b"", retain=True)
    late = Client(port, "late")
    late.subscribe("custodock/1/dock-7/bay/+")
    station.publish("custodock/1/dock-7/bay/2", b"empty")
    wait_until(lambda: bool(late.messages), "the live message")
    assert late.payloads == [b"empty"]
    for client in (station, supervisor, late):
        client.close()


def test_last_will_is_published_when_a_station_vanishes(port: int) -> None:
    hub = Client(port, "hub")
    hub.subscribe("custodock/1/+/state")
    station = Client(port, "dock-7", will=("custodock/1/dock-7/state", b"offline"))
    station.publish("custodock/1/dock-7/state", b"online", retain=True)
    station.vanish()
    wait_until(lambda: hub.payloads == [b"online", b"offline"], "the will")
    late = Client(port, "late")
    late.subscribe("custodock/1/dock-7/state")
    wait_until(lambda: late.payloads == [b"offline"], "the retained will")
    hub.close()
    late.close()


def test_keeps_thousands_of_events_for_an_absent_hub(port: int) -> None:
    hub = Client(port, "hub", session_seconds=86400)
    hub.subscribe(ALL_EVENTS)
    hub.close()
    station = Client(port, "dock-7")
    sent = [b"%06d" % number + bytes(1500) for number in range(5000)]
    for payload in sent:
        station.paho.publish(EVENTS, payload, qos=1)
    wait_until(lambda: station.published == len(sent), "5,000 acknowledgements")
    hub = Client(port, "hub", session_seconds=86400)
    wait_until(lambda: len(hub.messages) >= len(sent), "5,000 messages")
    assert hub.payloads == sent
    hub.close()
    station.close()


def test_unacknowledged_messages_come_again(port: int) -> None:
    """The hub dies before its commit: what it had not acknowledged must be delivered to its next life."""
    hub = Client(port, "hub", session_seconds=86400, ack=False)
    hub.subscribe(ALL_EVENTS)
    station = Client(port, "dock-7")
    sent = [b"%d" % number for number in range(50)]
    for payload in sent:
        station.publish(EVENTS, payload)
    wait_until(lambda: len(hub.messages) == len(sent), "50 messages")
    for message in hub.messages[:20]:
        hub.paho.ack(message.mid, message.qos)
    time.sleep(0.2)
    hub.vanish()
    time.sleep(0.2)
    again = Client(port, "hub", session_seconds=86400)
    wait_until(lambda: set(sent[20:]) <= set(again.payloads), "the unacknowledged messages")
    again.close()
    station.close()


def test_delivery_stops_at_the_window_and_goes_on_after_an_ack(port: int) -> None:
    """The hub must commit and acknowledge at DELIVERY_WINDOW messages: no more will come before."""
    hub, station = Client(port, "hub", ack=False), Client(port, "dock-7")
    hub.subscribe(ALL_EVENTS)
    for _ in range(3 * broker.DELIVERY_WINDOW):
        station.paho.publish(EVENTS, b"x", qos=1)
    wait_until(lambda: station.published == 3 * broker.DELIVERY_WINDOW, "the acknowledgements")
    wait_until(lambda: len(hub.messages) == broker.DELIVERY_WINDOW, "the first window")
    time.sleep(0.3)
    assert len(hub.messages) == broker.DELIVERY_WINDOW
    for message in list(hub.messages):
        hub.paho.ack(message.mid, message.qos)
    wait_until(lambda: len(hub.messages) == 2 * broker.DELIVERY_WINDOW, "the second window")
    hub.close()
    station.close()


def test_shared_subscription_divides_the_work(port: int) -> None:
    replicas = [Client(port, f"hub-{number}") for number in range(2)]
    for replica in replicas:
        replica.subscribe(f"$share/hub/{ALL_EVENTS}")
    station = Client(port, "dock-7")
    for number in range(40):
        station.publish(EVENTS, b"%d" % number)
    wait_until(lambda: sum(len(replica.messages) for replica in replicas) >= 40, "40 messages")
    assert sorted(replicas[0].payloads + replicas[1].payloads, key=int) == [b"%d" % number for number in range(40)]
    for client in (*replicas, station):
        client.close()


def test_an_oversize_publish_ends_the_connection_unacknowledged(port: int) -> None:
    hub, station = Client(port, "hub"), Client(port, "dock-7")
    hub.subscribe(ALL_EVENTS)
    station.publish(EVENTS, bytes(200 * 1024))
    info = station.paho.publish(EVENTS, bytes(broker.MAX_PAYLOAD_BYTES + 1024), qos=1)
    wait_until(lambda: not station.paho.is_connected(), "the refusal")
    # the broker may hang up before paho has sent the last of it: then it says so by its code, and raises when asked
    assert info.rc or not info.is_published()
    other = Client(port, "dock-8")
    other.publish("custodock/1/dock-8/events", b"after")
    wait_until(lambda: len(hub.messages) == 2, "the message of another station")
    assert [len(payload) for payload in hub.payloads] == [200 * 1024, 5]
    hub.close()
    other.close()


def test_sigterm_ends_it_and_frees_the_port(tmp_path: Path) -> None:
    process = start_broker(number := free_port(), tmp_path)
    process.terminate()
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (-signal.SIGTERM, b"")
    assert not answers(number)


def test_restarts_on_the_same_port_after_kill(tmp_path: Path) -> None:
    process = start_broker(number := free_port(), tmp_path)
    station = Client(number, "dock-7")
    finish(process)
    second = start_broker(number, tmp_path)
    again = Client(number, "dock-7")
    again.publish(EVENTS, b"x")
    again.close()
    station.paho.loop_stop()
    finish(second)


def test_a_taken_port_is_an_error(port: int, tmp_path: Path) -> None:
    process = start_broker(port, tmp_path)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"in use" in errors


def test_dies_with_its_parent(tmp_path: Path) -> None:
    number = free_port()
    command = [sys.executable, "-m", "hub.broker", "--port", str(number), "--dir", str(tmp_path)]
    starter = f"import subprocess; subprocess.Popen({command!r}); input()"
    parent = subprocess.Popen([sys.executable, "-c", starter], stdin=subprocess.PIPE, cwd=Path.cwd())
    wait_until(lambda: answers(number), "the broker to listen")
    children = psutil.Process(parent.pid).children()
    parent.kill()
    parent.communicate()
    gone, alive = psutil.wait_procs(children, timeout=60)
    assert len(gone) == 1
    assert not alive


@pytest.mark.slow
def test_throughput(port: int, record_property: Callable[[str, object], None]) -> None:
    """Two stations to one hub, QoS 1 both ways; every message arrives; the figure is printed (`pytest -s`)."""
    hub = Client(port, "hub")
    hub.subscribe(ALL_EVENTS)
    count = 10_000
    stations = [Client(port, f"dock-{number}") for number in range(2)]
    started = time.monotonic()
    for number in range(count):
        stations[number % 2].paho.publish(f"custodock/1/dock-{number % 2}/events", bytes(1500), qos=1)
    wait_until(lambda: len(hub.messages) == count, "all messages")
    rate = count / (time.monotonic() - started)
    print(f"\nbroker: {rate:.0f} messages/s of 1,500 bytes, QoS 1, load {os.getloadavg()[0]:.1f}")
    record_property("messages_per_second", rate)
    for client in (hub, *stations):
        client.close()
