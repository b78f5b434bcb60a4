"""Intake's signature check accepts nothing that the auditor's refuses: libsodium beside OpenSSL, crafted points too."""

from __future__ import annotations

import hashlib

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from custody.checkpoint import SigningKey, VerifyKey, parse_key_line
from custody.cosignature import WitnessKey, parse_witness_line
from custody.errors import KeyInvalid, SignatureInvalid
from hub.stationkeys import StationKey, station_key

# Edwards curve of RFC 8032, section 5.1, to craft what no signer makes
P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
NEUTRAL: Point = (0, 1)
SEED = b"\x01" * 32
KEY = SigningKey.from_seed("dock-1", SEED)
FIELD_ENCODINGS = [0, 1, P - 1, P, P + 1]  # y of order 4, 1, 2, and two that are not reduced


def add(p: Point, q: Point) -> Point:
    (x1, y1), (x2, y2) = p, q
    k = D * x1 * x2 * y1 * y2
    return (x1 * y2 + x2 * y1) * pow(1 + k, -1, P) % P, (y1 * y2 + x1 * x2) * pow(1 - k, -1, P) % P


def times(n: int, p: Point) -> Point:
    total = NEUTRAL
    while n:
        if n & 1:
            total = add(total, p)
        p, n = add(p, p), n >> 1
    return total


def point(y: int) -> Point | None:
    """The point with this y and an even x."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    if (x * x - square) % P:
        x = x * pow(2, (P - 1) // 4, P) % P
    if (x * x - square) % P:
        return None
    return (P - x if x & 1 else x), y


def encode(p: Point) -> bytes:
    return (p[1] | (p[0] & 1) << 255).to_bytes(32, "little")


def find_order_8() -> Point:
    for y in range(2, 100):
        found = point(y)
        if found and times(4, torsion := times(L, found)) != NEUTRAL:
            return torsion
    raise AssertionError("a quarter of all points has such a part")


BASE = point(4 * pow(5, -1, P) % P) or NEUTRAL
ORDER_8 = find_order_8()
SMALL = [times(n, ORDER_8) for n in range(8)]  # all points of small order
SECRET = int.from_bytes(hashlib.sha512(SEED).digest()[:32], "little") & ((1 << 254) - 8) | 1 << 254

PUBLIC = times(SECRET, BASE)
R_SECRET = 4_711
R_POINT = times(R_SECRET, BASE)


def sign_with(r_point: Point, public: bytes, message: bytes) -> bytes:
    """A signature over `message` whose R is any point, with the S that fits `R_POINT`."""
    encoded = encode(r_point)
    challenge = int.from_bytes(hashlib.sha512(encoded + public + message).digest(), "little")
    return encoded + ((R_SECRET + challenge * SECRET) % L).to_bytes(32, "little")


def accepts(key: VerifyKey, signature: bytes, message: bytes) -> bool:
    try:
        key.verify(signature, message)
    except SignatureInvalid:
        return False
    return True


def verdicts(public: bytes, signature: bytes, message: bytes) -> tuple[bool, bool]:
    """What OpenSSL and libsodium say."""
    theirs = Ed25519PublicKey.from_public_bytes(public)
    return accepts(VerifyKey("k", theirs), signature, message), accepts(StationKey("k", theirs), signature, message)


@given(st.binary(max_size=3_000), st.integers(0, 511), st.integers(0, 255))
def test_same_verdict_on_what_a_key_signed_and_on_every_change_of_it(message: bytes, bit: int, key_bit: int) -> None:
    public, signature = KEY.verify_key.public.public_bytes_raw(), KEY.sign(message)
    assert verdicts(public, signature, message) == (True, True)
    assert verdicts(public, signature, message + b"\x00") == (False, False)
    flipped = bytearray(signature)
    flipped[bit // 8] ^= 1 << bit % 8
    assert verdicts(public, bytes(flipped), message) == (False, False)
    other = bytearray(public)
    other[key_bit // 8] ^= 1 << key_bit % 8
    assert verdicts(bytes(other), signature, message) == (False, False)


@given(st.binary(max_size=100), st.integers(1, 14))
def test_s_is_refused_from_the_group_order_on(message: bytes, multiple: int) -> None:
    public, signature = KEY.verify_key.public.public_bytes_raw(), KEY.sign(message)
    s = int.from_bytes(signature[32:], "little") + multiple * L
    assert verdicts(public, signature[:32] + s.to_bytes(32, "little"), message) == (False, False)


@pytest.mark.parametrize("part", range(8))
def test_r_with_a_part_of_small_order_is_refused_by_both(part: int) -> None:
    """What tells checks with and without cofactor apart: the key's owner can make this, and both must say the same."""
    public = encode(PUBLIC)
    assert public == KEY.verify_key.public.public_bytes_raw()
    r_point = add(R_POINT, SMALL[part])
    assert verdicts(public, sign_with(r_point, public, b"message"), b"message") == (part == 0, part == 0)


@given(st.integers(0, 7), st.integers(0, 7), st.binary(max_size=20))
def test_same_verdict_for_keys_with_a_part_of_small_order(key_part: int, part: int, message: bytes) -> None:
    public = encode(add(PUBLIC, SMALL[key_part]))
    signature = sign_with(add(R_POINT, SMALL[part]), public, message)
    openssl, libsodium = verdicts(public, signature, message)
    assert openssl == libsodium


@pytest.mark.parametrize("public", [encode(point) for point in SMALL])
@pytest.mark.parametrize("r_encoded", [encode(point) for point in SMALL])
def test_keys_of_small_order_sign_nothing(public: bytes, r_encoded: bytes) -> None:
    """With such a key OpenSSL takes S = 0 for any message whose challenge fits; libsodium never does."""
    for n in range(8):
        assert verdicts(public, r_encoded + bytes(32), b"%d" % n)[1] is False


@pytest.mark.parametrize("y", FIELD_ENCODINGS)
@pytest.mark.parametrize("sign", [0, 1])
@given(message=st.binary(max_size=20))
def test_unusual_encodings_are_never_taken_where_openssl_refuses(y: int, sign: int, message: bytes) -> None:
    odd = (y | sign << 255).to_bytes(32, "little")
    public = KEY.verify_key.public.public_bytes_raw()
    for key, signature in ((odd, odd + bytes(32)), (public, odd + KEY.sign(message)[32:])):
        openssl, libsodium = verdicts(key, signature, message)
        assert openssl or not libsodium


def is_refused(public: bytes) -> bool:
    """Whether no reader of key lines takes this key, as a signer's or as a witness's."""
    key = VerifyKey("dock-1", Ed25519PublicKey.from_public_bytes(public))
    found = []
    for read, line in ((parse_key_line, key.line), (station_key, key.line), (parse_witness_line, WitnessKey(key).line)):
        try:
            read(line)
            found.append(False)
        except KeyInvalid:
            found.append(True)
    assert len(set(found)) == 1
    return found[0]


def test_no_key_line_holds_a_point_of_small_order() -> None:
    assert len({encode(point) for point in SMALL}) == 8
    for small in SMALL:
        assert is_refused(encode(small))
        assert is_refused((small[1] | 1 << 255).to_bytes(32, "little"))
        assert not is_refused(encode(add(PUBLIC, small)))  # a large part is enough to bind its owner


def test_no_key_line_holds_an_encoding_that_is_not_reduced() -> None:
    for y in range(19):
        for sign in (0, 1 << 255):
            assert is_refused((P + y | sign).to_bytes(32, "little"))
            assert is_refused((y | sign).to_bytes(32, "little")) == (y < 2)


def test_a_key_line_is_read_as_the_auditor_reads_it() -> None:
    key = station_key(KEY.verify_key.line)
    assert (key.line, key.label) == (KEY.verify_key.line, KEY.verify_key.label)
    assert accepts(key, KEY.sign(b"x"), b"x")
