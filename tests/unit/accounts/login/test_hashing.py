"""Password hashes."""

from __future__ import annotations

import bcrypt
import pytest
from argon2 import PasswordHasher

from secops.accounts.login.hashing import Hasher, Verified

HASHER = Hasher(slots=2)
RIGHT = "correct horse 🐎"


def test_a_new_hash_has_owasps_parameters_and_opens_with_its_password_alone() -> None:
    stored = HASHER.hash(RIGHT)
    assert stored.startswith("$argon2id$v=19$m=19456,t=2,p=1$")
    assert HASHER.verify(RIGHT, stored) == Verified(True)
    assert HASHER.verify(RIGHT + " ", stored) == Verified(False)


def test_an_old_bcrypt_hash_opens_and_is_replaced() -> None:
    stored = bcrypt.hashpw(RIGHT.encode(), bcrypt.gensalt(4)).decode()
    found = HASHER.verify(RIGHT, stored)
    assert found.right
    assert found.rehashed is not None
    assert HASHER.verify(RIGHT, found.rehashed) == Verified(True)
    assert HASHER.verify("wrong", stored) == Verified(False)


def test_a_long_password_that_bcrypt_once_cut_off_still_opens_and_then_counts_whole() -> None:
    password = "p" * 80
    stored = bcrypt.hashpw(password.encode()[:72], bcrypt.gensalt(4)).decode()
    found = HASHER.verify(password, stored)
    assert found.right
    assert found.rehashed is not None
    assert HASHER.verify("p" * 73, found.rehashed) == Verified(False)


def test_a_weaker_argon2_hash_is_replaced() -> None:
    stored = PasswordHasher(time_cost=1, memory_cost=1024, parallelism=1).hash(RIGHT)
    found = HASHER.verify(RIGHT, stored)
    assert found.right
    assert found.rehashed is not None
    assert "m=19456" in found.rehashed


@pytest.mark.parametrize("stored", [None, "", "x", "$2b$", "$2b$10$short", "$argon2id$", "md5:abc"])
def test_who_has_no_hash_that_can_be_read_is_let_in_by_nothing(stored: str | None) -> None:
    assert HASHER.verify(RIGHT, stored) == Verified(False)
    assert HASHER.verify("nobody has this password", stored) == Verified(False)
