"""Time-stamps of checkpoints by a real authority (`openssl ts`): asked for, verified in full, kept, not waited for."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import Encoding
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import select
from sqlalchemy.exc import DBAPIError

from custody.errors import CustodyError, FormatError, SignatureInvalid
from custody.timestamp import (
    _check_purpose,
    imprint_of,
    load_certificates,
    make_request,
    open_response,
    stamped_text,
    verify_token,
)
from hub import log
from hub.app import main
from hub.audit.readers import add_reader
from hub.tables import checkpoint, checkpoint_timestamp
from hub.times import now_utc
from hub.timestamps import AGAIN, EVERY, Authority, Stamped, StampState, is_due, read_stamps, stamp_if_due
from tests.integration.hubs import TestHub
from tests.integration.site_data import Hub
from tests.integration.tsa import Pki, Served, pem, reply, served
from tests.integration.web_peer import signed_in

MESSAGE = b"a checkpoint\n12\nroot\n\n\xe2\x80\x94 log sig\n"
NONCE = 0x7123456789ABCDEF


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Pki:
    return Pki(tmp_path_factory.mktemp("tsa"))


@pytest.fixture(scope="module")
def token(pki: Pki) -> bytes:
    return open_response(reply(pki, make_request(MESSAGE, NONCE)), MESSAGE, NONCE, [pki.root])[0]


# --- the format ---


@pytest.mark.parametrize("name", ["rsa", "ec"])
@pytest.mark.parametrize("ess", ["sha1", "sha256", "sha512"])
def test_what_openssl_answers_is_verified(pki: Pki, name: str, ess: str) -> None:
    raw = reply(pki, make_request(MESSAGE, NONCE), name, ess)
    token, stamp = open_response(raw, MESSAGE, NONCE, [pki.root])
    assert abs(stamp.at - datetime.now(UTC)) < timedelta(minutes=1)
    assert stamp.authority == f"CN={name}"
    assert verify_token(token, MESSAGE, [pki.root]) == stamp
    assert verify_token(token, MESSAGE, load_certificates(pem(pki.stranger) + pem(pki.middle))) == stamp
    assert verify_token(token, MESSAGE, load_certificates((pki.folder / f"{name}.pem").read_bytes())) == stamp


def test_openssl_reads_our_request_and_verifies_what_we_keep(pki: Pki, token: bytes, tmp_path: Path) -> None:
    files = {name: tmp_path / name for name in ("query", "token", "data", "root")}
    contents = (make_request(MESSAGE, NONCE), token, MESSAGE, pem(pki.root))
    for path, content in zip(files.values(), contents, strict=True):
        path.write_bytes(content)
    said = subprocess.run(
        ["openssl", "ts", "-query", "-in", files["query"], "-text"], check=True, capture_output=True, text=True
    ).stdout
    assert "Hash Algorithm: sha256" in said
    assert "Certificate required: yes" in said
    assert f"Nonce: 0x{NONCE:X}" in said
    chain = ["-CAfile", files["root"], "-untrusted", pki.folder / "chain.pem"]
    subprocess.run(
        ["openssl", "ts", "-verify", "-in", files["token"], "-token_in", "-data", files["data"], *chain],
        check=True,
        capture_output=True,
    )


def test_another_message_or_nonce_is_refused(pki: Pki, token: bytes) -> None:
    with pytest.raises(SignatureInvalid):
        verify_token(token, MESSAGE + b"x", [pki.root])
    with pytest.raises(SignatureInvalid):
        verify_token(token, MESSAGE, [pki.root], NONCE + 1)
    without = reply(pki, make_request(MESSAGE, NONCE), "rsa")
    with pytest.raises(SignatureInvalid):
        open_response(without, MESSAGE, NONCE ^ 1, [pki.root])


@pytest.mark.parametrize("name", ["expired", "of-another-root"])
def test_a_certificate_that_is_not_to_be_believed(pki: Pki, name: str) -> None:
    try:
        raw = reply(pki, make_request(MESSAGE, NONCE), name)
    except subprocess.CalledProcessError as error:
        pytest.fail(error.stderr.decode())
    with pytest.raises(SignatureInvalid, match="does not lead"):
        open_response(raw, MESSAGE, NONCE, [pki.root])
    if name == "of-another-root":
        open_response(raw, MESSAGE, NONCE, [pki.stranger])


def test_nobody_trusted_is_nobody_believed(pki: Pki, token: bytes) -> None:
    with pytest.raises(SignatureInvalid, match="does not lead"):
        verify_token(token, MESSAGE, [])


@pytest.mark.parametrize("purposes", [None, "code", "both", "not critical"])
def test_a_certificate_for_other_things_is_refused(pki: Pki, purposes: str | None) -> None:
    """Directly: openssl refuses to sign with one."""
    with pytest.raises(SignatureInvalid, match="not for time-stamping"):
        _check_purpose(pki.with_purposes(purposes))


def test_no_byte_can_be_changed_unseen(pki: Pki, token: bytes) -> None:
    """Every byte of the token in turn; what openssl adds beside what is signed (the middle certificate) may change."""
    whole = verify_token(token, MESSAGE, [pki.root, pki.middle])
    survived = 0
    for at in range(len(token)):
        bent = token[:at] + bytes((token[at] ^ 0x01,)) + token[at + 1 :]
        try:
            found = verify_token(bent, MESSAGE, [pki.root, pki.middle])
        except CustodyError:
            continue
        survived += 1
        assert (found.at, found.serial, found.authority) == (whole.at, whole.serial, whole.authority)
    beside = len(pki.middle.public_bytes(Encoding.DER)) + 40  # and what CMS leaves unsigned: names of algorithms
    assert survived <= beside, "only the certificate that is pinned already may change"


def test_a_certificate_that_the_library_warns_of_is_refused_like_any_other(pki: Pki, token: bytes) -> None:
    at = token.index(b"\xa0\x03\x02\x01\x02\x02") + 7  # the first certificate: version 3, then its serial number
    below_one = token[:at] + bytes((token[at] | 0x80,)) + token[at + 1 :]
    with pytest.raises(SignatureInvalid):
        verify_token(below_one, MESSAGE, [pki.root])


def test_names_that_the_library_warns_of_are_refused_like_any_other(pki: Pki, token: bytes) -> None:
    """What the fuzz below may find some day: a common name becomes a country, which must have two letters."""
    places = [found.end() - 1 for found in re.finditer(b"\x06\x03\x55\x04\x03", token)]
    assert len(places) > 4
    for at in places:
        with pytest.raises(SignatureInvalid):
            verify_token(token[:at] + b"\x06" + token[at + 1 :], MESSAGE, [pki.root])


@settings(max_examples=300)
@given(raw=st.binary(max_size=200), at=st.integers(0, 2000), cut=st.integers(0, 2000))
def test_nothing_but_our_errors_comes_of_garbage(pki: Pki, token: bytes, raw: bytes, at: int, cut: int) -> None:
    for bent in (raw, token[:cut], token[:at] + raw + token[at:], token[:at] + raw + token[at + len(raw) :]):
        for read in (
            lambda b: verify_token(b, MESSAGE, [pki.root]),
            lambda b: open_response(b, MESSAGE, 1, []),
            imprint_of,
        ):
            try:
                read(bent)
            except CustodyError:
                continue


# --- when ---


NOW = datetime(2026, 3, 5, 6, 0, tzinfo=UTC)
GOOD = StampState(True, Stamped(10, NOW, "CN=x"), "", NOW - timedelta(hours=2))


@pytest.mark.parametrize(
    ("size", "state", "obtained", "due"),
    [
        (0, StampState(True, None, "", None), None, False),
        (5, StampState(True, None, "", None), None, True),
        (10, GOOD, NOW - timedelta(days=9), False),
        (11, GOOD, NOW - EVERY, True),
        (11, GOOD, NOW - EVERY + timedelta(seconds=1), False),
        (11, GOOD, NOW + timedelta(hours=1), True),  # the clock was put back
        (5, StampState(True, None, "away", NOW - AGAIN), None, True),
        (5, StampState(True, None, "away", NOW - AGAIN + timedelta(seconds=1)), None, False),
    ],
)
def test_when_it_is_due(size: int, state: StampState, obtained: datetime | None, *, due: bool) -> None:
    assert is_due(NOW, size, state, obtained) is due


# --- the hub ---


@pytest.fixture
def authority(pki: Pki) -> Iterator[tuple[Served, Authority]]:
    with served(pki) as (made, url):
        yield made, Authority(url, [pki.root])


def grow(hub: TestHub) -> None:
    add_reader(hub.db, hub.keys, f"monitor-{now_utc().timestamp()}")


def test_the_newest_checkpoint_is_stamped_hourly_and_kept(
    hub: TestHub, authority: tuple[Served, Authority], pki: Pki
) -> None:
    tsa, asked = authority
    now = now_utc()
    assert stamp_if_due(hub.db, asked, now) is None, "an empty log needs none"
    grow(hub)
    stored = stamp_if_due(hub.db, asked, now)
    assert stored is not None
    with hub.db.read() as connection:
        row = connection.execute(select(checkpoint_timestamp)).one()
        note = connection.execute(select(checkpoint.c.note).where(checkpoint.c.size == row.size)).scalar_one()
    assert verify_token(bytes(row.token), note.encode(), [pki.root]).at == stored.stamped_at
    grow(hub)
    assert stamp_if_due(hub.db, asked, now + timedelta(minutes=59)) is None
    assert stamp_if_due(hub.db, asked, now + timedelta(minutes=61)) is not None
    assert stamp_if_due(hub.db, asked, now + timedelta(hours=9)) is None, "it has not grown"
    assert tsa.asked == 2
    for change in ("UPDATE checkpoint_timestamp SET stamped_at = ''", "DELETE FROM checkpoint_timestamp"):
        with pytest.raises(DBAPIError), hub.db.begin() as tx:
            tx.exec_driver_sql(change)


@pytest.mark.parametrize("mode", ["away", "garbage", "refuses", "other"])
def test_a_failing_authority_is_said_and_asked_again(
    hub: TestHub, authority: tuple[Served, Authority], mode: str
) -> None:
    tsa, asked = authority
    now = now_utc()
    grow(hub)
    if mode == "other":  # a replay of its answer to somebody else
        tsa.answer(make_request(b"else", 1))
    tsa.mode = mode
    assert stamp_if_due(hub.db, asked, now) is None
    with hub.db.read() as connection:
        state = read_stamps(connection, wanted=True)
    assert state.newest is None
    assert state.fault
    before = tsa.asked
    assert stamp_if_due(hub.db, asked, now + timedelta(minutes=1)) is None
    assert tsa.asked == before
    tsa.mode = "good"
    assert stamp_if_due(hub.db, asked, now + AGAIN) is not None
    with hub.db.read() as connection:
        assert read_stamps(connection, wanted=True).fault == ""
        assert log.read_head(connection).size > 0


def test_no_authority_there_at_all(hub: TestHub, pki: Pki) -> None:
    with served(pki) as (_, url):
        pass
    grow(hub)
    assert stamp_if_due(hub.db, Authority(url, [pki.root]), now_utc()) is None
    with hub.db.read() as connection:
        assert read_stamps(connection, wanted=True).fault


def test_pages_show_it_and_hand_it_out(tmp_path: Path, pki: Pki, authority: tuple[Served, Authority]) -> None:
    hub = Hub(tmp_path)
    try:
        browser = signed_in(hub)
        stored = stamp_if_due(hub.db, authority[1], now_utc())
        assert stored is not None
        assert "CN=rsa" in browser.get("/log").text
        note = browser.get(f"/log/checkpoints/{stored.size}").content
        token = browser.get(f"/log/timestamps/{stored.size}").content
        assert verify_token(token, note, [pki.root]).at == stored.stamped_at
        assert browser.get(f"/log/timestamps/{stored.size + 1}").status_code == 404
        assert browser.get(f"/log/checkpoints/{stored.size + 999}").status_code == 404
    finally:
        hub.close()


@pytest.mark.parametrize("lines", ['timestamp_url = "ftp://x/"', 'timestamp_url = "https://x/"', "timestamp_ca = 3"])
def test_settings_that_cannot_be(tmp_path: Path, lines: str, capsys: pytest.CaptureFixture[str]) -> None:
    main(["init", "--dir", str(tmp_path / "hub")])
    with (tmp_path / "hub" / "hub.toml").open("a") as file:
        file.write(lines + "\n")
    with pytest.raises(SystemExit) as ended:
        main(["log", "show", "--dir", str(tmp_path / "hub")])
    assert ended.value.code == 3
    assert "timestamp" in capsys.readouterr().err


def test_a_file_that_is_no_certificate() -> None:
    with pytest.raises(FormatError):
        load_certificates(b"-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n")


def test_a_time_stamp_stays_good_when_witnesses_sign_later() -> None:
    note = "log.example\n3\nAAAA\n\n\u2014 log.example abc=\n"
    assert stamped_text(note + "\u2014 witness def=\n") == stamped_text(note) == note.encode()
    for bad in ("", "log.example\n3\n", "log.example\n3\nAAAA\n\n\u2014 other abc=\n"):
        with pytest.raises(FormatError):
            stamped_text(bad)
