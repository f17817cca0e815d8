"""What people type as their e-mail address, made one: the same person by whatever spelling."""

from __future__ import annotations

import hmac
import unicodedata
from typing import Final

LONGEST: Final = 320
"""Characters of an e-mail address at most (RFC 3696, erratum 1690: 64 + 1 + 254, and one to be sure)."""


def normalise(text: str) -> str | None:
    """Return an identifier in its one spelling: trimmed, NFKC, case folded.

    Returns:
        It, or ``None`` where the text can be nobody's: empty, too long, with a control character or half
        a surrogate pair in it.
    """
    if not text or len(text) > LONGEST:
        return None
    folded = unicodedata.normalize("NFKC", text).casefold()
    found = unicodedata.normalize("NFKC", folded).strip()  # folding may leave what composes anew
    if not found or len(found) > LONGEST:
        return None
    # Control characters (NUL among them), lone surrogates, and what is not assigned.
    if any(unicodedata.category(character) in {"Cc", "Cs", "Cn"} for character in found):
        return None
    return found


def key(pepper: bytes, identifier: str) -> bytes:
    """Return what stands for an identifier where attempts are counted.

    An attacker who reads the table learns no addresses that were tried, for people often type a password
    where their name belongs.
    """
    return hmac.digest(pepper, identifier.encode(), "sha256")
