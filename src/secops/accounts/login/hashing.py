"""Password hashes: argon2id for what is new, bcrypt read as long as there is some.

Hashing takes tens of milliseconds and 19 MiB of memory each, so no more of it runs at once than the
machine has processors for; whoever comes later waits, without a connection.
"""

from __future__ import annotations

import os
import threading
from dataclasses import dataclass, field
from typing import Final

import bcrypt
from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

LONGEST: Final = 1024
"""Characters that a password may have; hashing reads all of them."""

_BCRYPT: Final = ("$2a$", "$2b$", "$2y$")
_BCRYPT_READS: Final = 72
"""Bytes of a password that bcrypt looks at. Older libraries dropped the rest, so it is dropped here too."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What came of a verification.

    Attributes:
        right: Whether the password is.
        rehashed: A new hash to store, where the old one is weaker than it should be.
    """

    right: bool
    rehashed: str | None = None


@dataclass(frozen=True)
class Hasher:
    """Makes and verifies hashes; one for a process.

    Attributes:
        slots: How many run at once.
    """

    slots: int = field(default_factory=lambda: max(1, os.cpu_count() or 1))
    # OWASP's Password Storage Cheat Sheet: Argon2id, 19 MiB, two iterations, one degree of parallelism.
    _argon: PasswordHasher = field(
        default_factory=lambda: PasswordHasher(time_cost=2, memory_cost=19_456, parallelism=1),
        init=False,
        repr=False,
    )
    _slots: threading.BoundedSemaphore = field(init=False, repr=False)
    _dummy: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_slots", threading.BoundedSemaphore(self.slots))
        object.__setattr__(self, "_dummy", self._argon.hash("nobody has this password"))

    def hash(self, password: str) -> str:
        """Return a new hash of a password."""
        with self._slots:
            return self._argon.hash(_bytes(password))

    def verify(self, password: str, stored: str | None) -> Verified:
        """Verify a password.

        Args:
            password: What was typed.
            stored: The hash; ``None`` for somebody who does not exist, or has no password. That takes as
                long as a wrong password does.
        """
        with self._slots:
            if stored is not None and stored.startswith(_BCRYPT):
                right = _bcrypt(password, stored)
                return Verified(right, self._argon.hash(_bytes(password)) if right else None)
            right = self._argon2(password, stored if stored is not None else self._dummy)
            if stored is None or not right:
                return Verified(False)
            weaker = self._argon.check_needs_rehash(stored)
            return Verified(True, self._argon.hash(_bytes(password)) if weaker else None)

    def _argon2(self, password: str, stored: str) -> bool:
        try:
            return self._argon.verify(stored, _bytes(password))
        except VerificationError:
            return False
        except InvalidHashError:
            # A hash of some other kind opens nothing; it takes its time all the same.
            self._argon2(password, self._dummy)
            return False


def _bcrypt(password: str, stored: str) -> bool:
    try:
        return bcrypt.checkpw(_bytes(password)[:_BCRYPT_READS], stored.encode())
    except ValueError:  # a damaged hash opens nothing
        return False


def _bytes(password: str) -> bytes:
    return password.encode("utf-8", "surrogatepass")
