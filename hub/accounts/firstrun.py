"""The first administrator of a new hub: made once, on a page, by whoever can read the hub's keys.

Until somebody signs in for the first time the hub stands open to the network, and whoever is first there would run it.
So the page asks for a code that follows from the log's private key: `dock-hub user first` prints it to root and to the
hub's own user, nothing keeps it, every process of one hub expects the same one, and no crash can lose it.
"""

from __future__ import annotations

import hmac
from datetime import datetime

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from sqlalchemy import Connection, select

from custody.hubevents import AccountCreated, SignedIn
from hub import log
from hub.access import Role
from hub.accounts import policy
from hub.accounts.changes import BAD_NAME
from hub.accounts.service import ALPHABET, PasswordRefused, Visit, add_account, chosen_password, start_session
from hub.db import Database
from hub.keys import HubKeys
from hub.problems import FirstRunClosed
from hub.tables import account

CODE_CHARACTERS = 16  # of 31 letters and digits: 79 bits, so wrong ones need not be counted
_INFO = b"custodock/first-administrator/v1"


class WrongFirstCode(Exception):
    """Not the code of this hub."""


def first_code(keys: HubKeys) -> str:
    """The code that makes the first administrator, in four groups of four."""
    seed = keys.log.private.private_bytes_raw()
    number = int.from_bytes(HKDF(hashes.SHA256(), 32, salt=None, info=_INFO).derive(seed))
    letters = ""
    for _ in range(CODE_CHARACTERS):
        number, digit = divmod(number, len(ALPHABET))
        letters += ALPHABET[digit]
    return "-".join(letters[i : i + 4] for i in range(0, CODE_CHARACTERS, 4))


def is_open(connection: Connection) -> bool:
    """Whether nobody has an account yet. Accounts are closed, never deleted: once false, this stays false."""
    return connection.execute(select(account.c.name).limit(1)).first() is None


def create_first(
    db: Database, keys: HubKeys, code: str, name: str, password: tuple[str, str], visit: Visit, now: datetime
) -> str:
    """Make the first administrator, sign them in, say both in the log, and return the session's token.

    `password`: as entered, twice. Raises WrongFirstCode, PasswordRefused, and FirstRunClosed when somebody was faster.
    """
    if not hmac.compare_digest(plain(code).encode(), plain(first_code(keys)).encode()):
        raise WrongFirstCode
    if not policy.is_account_name(name):
        raise PasswordRefused(BAD_NAME)
    if fault := policy.password_fault(name, "", *password):
        raise PasswordRefused(fault)
    chosen = chosen_password(password[0])
    with db.begin() as tx, log.appending(tx, keys, now) as entries:
        if not is_open(tx):  # asked under the log's lock: of two browsers one wins
            raise FirstRunClosed
        add_account(tx, name, Role.ADMINISTRATOR, chosen, now, own_password=True)
        entries.record(AccountCreated, account=name, role=Role.ADMINISTRATOR)
        entries.record(SignedIn, account=name, second_factor=False)
        return start_session(tx, name, visit, now, code_due=False)


def plain(code: str) -> str:
    """A code without the signs and the capitals that people and keyboards put in."""
    return "".join(letter for letter in code.lower() if letter.isalnum())
