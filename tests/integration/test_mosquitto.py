"""The delivered Mosquitto configuration and access list, run by a real Mosquitto with real certificates."""

import socket
import ssl
import subprocess
import sys
from collections.abc import Iterator
from itertools import product

import pytest

from custody.topics import TOPICS, Topic
from tests.integration.mosquitto import DEPLOY, MISSING, Site, make_site
from tests.integration.mqtt_peer import Client, wait_until

pytestmark = pytest.mark.skipif(MISSING, reason="needs the programs mosquitto and openssl")
NOT_AUTHORIZED = 135
NAMES = {"station": "dock-7", "hub": "hub", "supervisor": "supervisor-east", "other": "dock-9"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    made = make_site(tmp_path_factory.mktemp("mosquitto"), "supervisor-east:east")
    yield made
    made.stop()


def example(topic: Topic) -> str:
    return (
        topic.pattern.format(station="dock-7", bay="1", unit="east", alert="a1")
        if "{" in topic.pattern
        else topic.pattern
    )


def may_publish(site: Site, party: str, topic: str) -> bool:
    client = site.client(party)
    client.publish(topic, b"x")
    client.close()
    return NOT_AUTHORIZED not in client.refusals


def test_the_committed_access_list_is_fresh() -> None:
    subprocess.run([sys.executable, DEPLOY / "make-acl", "--check"], check=True)


@pytest.mark.parametrize(("topic", "party"), list(product(TOPICS, NAMES)))
def test_only_the_writer_of_a_topic_may_publish_it(site: Site, topic: Topic, party: str) -> None:
    assert may_publish(site, NAMES[party], example(topic)) == (party == topic.writer)


@pytest.mark.parametrize(
    ("topic", "party"), [(topic, party) for topic, party in product(TOPICS, NAMES) if party != topic.writer]
)
def test_only_the_readers_of_a_topic_get_it(site: Site, topic: Topic, party: str) -> None:
    reader, writer = site.client(NAMES[party]), site.client(NAMES[topic.writer])
    reader.subscribe(example(topic))
    writer.publish(example(topic), b"secret")
    reader.publish("nowhere", b"")  # its refusal comes after everything sent to this client before it
    # the other station reads what every station reads; what is for one station it does not
    expected = (
        "station" in topic.readers and "{station}" not in topic.pattern if party == "other" else party in topic.readers
    )
    if expected:
        wait_until(lambda: reader.payloads == [b"secret"], "the message")
    assert reader.payloads == ([b"secret"] if expected else [])
    reader.close()
    writer.close()


@pytest.mark.parametrize("channel", ["state", "bay/1", "events"])
def test_a_station_cannot_speak_for_another(site: Site, channel: str) -> None:
    assert not may_publish(site, "dock-8", f"custodock/1/dock-7/{channel}")


@pytest.mark.parametrize("channel", ["receipts", "commands", "events"])
def test_a_station_cannot_listen_to_another(site: Site, channel: str) -> None:
    spy = site.client("dock-8")
    spy.subscribe(f"custodock/1/+/{channel}")
    writer = site.client("dock-7" if channel == "events" else "hub")
    writer.publish(f"custodock/1/dock-7/{channel}", b"secret")
    spy.publish("nowhere", b"")
    assert spy.payloads == []
    spy.close()
    writer.close()


def test_a_supervisor_sees_the_alerts_of_the_own_unit_only(site: Site) -> None:
    supervisor, hub = site.client("supervisor-east"), site.client("hub")
    supervisor.subscribe("custodock/1/alerts/#")
    hub.publish("custodock/1/alerts/west/a1", b"west")
    hub.publish("custodock/1/alerts/east/a2", b"east")
    wait_until(lambda: supervisor.payloads == [b"east"], "the own unit's alert")
    supervisor.close()
    hub.close()


def test_the_client_id_is_the_certificates_name(site: Site) -> None:
    """A station that calls itself the hub is still itself: it may not write receipts."""
    impostor = Client(site.port, "hub", tls=site.tls("dock-9"))
    impostor.publish("custodock/1/dock-9/receipts", b"forged")
    assert impostor.refusals == [NOT_AUTHORIZED]
    impostor.close()


def exchange(secure: ssl.SSLSocket) -> bytes:
    secure.sendall(b"x")
    return secure.recv(1)


def test_no_certificate_no_connection(site: Site) -> None:
    context = ssl.create_default_context(cafile=str(site.directory / "ca.pem"))
    plain = socket.create_connection(("127.0.0.1", site.port))
    secure = context.wrap_socket(plain, server_hostname="127.0.0.1")
    # in TLS 1.3 the handshake ends for the client before the broker looks at the missing certificate
    with secure, pytest.raises((ssl.SSLError, ConnectionError)):
        exchange(secure)


def test_keeps_events_for_an_absent_hub_through_a_clean_restart(site: Site) -> None:
    hub = site.client("hub", session_seconds=86400)
    hub.subscribe("custodock/1/+/events")
    hub.close()
    station = site.client("dock-7")
    sent = [b"%06d" % number + bytes(1500) for number in range(3000)]
    for payload in sent:
        station.paho.publish("custodock/1/dock-7/events", payload, qos=1)
    wait_until(lambda: station.published == len(sent), "3,000 acknowledgements")
    station.paho.loop_stop()
    site.stop()
    site.start()
    hub = site.client("hub", session_seconds=86400)
    wait_until(lambda: len(hub.messages) >= len(sent), "3,000 messages")
    assert hub.payloads == sent
    hub.close()


def test_an_oversize_publish_is_refused(site: Site) -> None:
    station = site.client("dock-7")
    info = station.paho.publish("custodock/1/dock-7/events", bytes(300 * 1024), qos=1)
    wait_until(lambda: station.ended_with is not None, "the refusal")
    assert not info.is_published()
    station.paho.loop_stop()
