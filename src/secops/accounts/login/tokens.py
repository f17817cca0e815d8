"""Refresh tokens as texts: made, hashed, and handed out a second time without being stored.

A token is 256 random bits, so a plain SHA-256 of it is as good as a slow hash (ASVS 5.0, 6.5.2), and the
table holds nothing else. A client whose answer was lost must get the same successor again; it is stored
encrypted under the token that it succeeds, which only the client has.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from hashlib import sha256
from typing import Final

PREFIX: Final = "srt_"
"""What a token begins with, for scanners that look for secrets in code and logs."""

_BYTES: Final = 32
_LABEL: Final = b"secops refresh token successor"
LONGEST: Final = 512
"""Characters that anything presented as a token may have; a home-grown layer's tokens are longer than ours."""


def mint() -> str:
    """Make a token."""
    return PREFIX + secrets.token_urlsafe(_BYTES)


def digest(token: str) -> str:
    """Return what the table holds of a token: its SHA-256 in hexadecimal."""
    return sha256(token.encode("utf-8", "surrogatepass")).hexdigest()


def seal(parent: str, child: str) -> bytes:
    """Encrypt a token under the one that it succeeds.

    The pad is an HMAC under 256 random bits that never encrypts anything else, so this is a one-time pad
    from a pseudo-random function; the child's digest in the table says whether it was opened right.

    Args:
        parent: The token that is used up.
        child: A token of :func:`mint`.
    """
    raw = base64.urlsafe_b64decode(child.removeprefix(PREFIX) + "=")
    return _xor(raw, _pad(parent))


def unseal(parent: str, sealed: bytes, expected: str) -> str | None:
    """Decrypt what :func:`seal` made.

    Args:
        parent: The token that was used up.
        sealed: What is stored.
        expected: The child's digest.

    Returns:
        The child, or ``None`` where it is not what was sealed under this parent.
    """
    if len(sealed) != _BYTES:
        return None
    raw = _xor(sealed, _pad(parent))
    child = PREFIX + base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
    return child if hmac.compare_digest(digest(child), expected) else None


def _pad(parent: str) -> bytes:
    return hmac.digest(parent.encode("utf-8", "surrogatepass"), _LABEL, "sha256")


def _xor(one: bytes, other: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(one, other, strict=True))
