"""Connection strings: made fit for libpq, and never shown with their password.

psycopg repeats a string that it cannot parse, password and all, in its error; so strings are normalised
and checked here first.
"""

from __future__ import annotations

import re
from typing import Final

from secops.errors import ConfigurationError
from secops.settings import Secret

_SCHEME: Final = re.compile(r"^(postgres(?:ql)?)(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
# Greedy to the last @: a password may hold an unescaped one, and too much masked is no harm.
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)([^:/@?#\s]*):\S+@")
_PASSWORD_WORD: Final = re.compile(
    r"((?:ssl)?password|passwd|sslkey)(\s*=\s*)('(?:[^'\\]|\\.)*'|[^\s&'\"]+)", re.IGNORECASE
)
_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})")

SHAPE: Final = "postgresql://USER@HOST:5432/DATABASE"


def mask(text: str) -> str:
    """Return the text with every password in it, in URL or keyword form, replaced by ``***``."""
    text = _PASSWORD_IN_URL.sub(r"\1:***@", text)
    return _PASSWORD_WORD.sub(r"\1\2***", text)


def normalise(given: Secret) -> Secret:
    """Make a connection string fit for libpq.

    Args:
        given: A URL (``postgres://``, ``postgresql://``, also in SQLAlchemy's form
            ``postgresql+psycopg://``) or libpq's ``key=value`` words.

    Returns:
        The same, as libpq reads it.

    Raises:
        ConfigurationError: It cannot be one. The message never repeats the string.
    """
    text = given.reveal().strip()
    if "://" not in text:
        if text and "=" not in text:
            raise ConfigurationError(
                "The database URL is neither a URL nor key=value words.",
                hint=f"Write it as {SHAPE}, or as host=… dbname=… user=….",
            )
        return Secret(text)
    if not _SCHEME.match(text):
        raise ConfigurationError(
            "The database URL does not begin with postgresql://.",
            hint=f"Write it as {SHAPE}. Only PostgreSQL is supported.",
        )
    if _BAD_PERCENT.search(text):
        raise ConfigurationError(
            "The database URL holds a % that is not followed by two hexadecimal digits.",
            hint="Write a % in a password as %25, @ as %40, / as %2F; or put the password in ~/.pgpass.",
        )
    return Secret(_SCHEME.sub("postgresql://", text))


def holds_password(text: str) -> bool:
    """Say whether a connection string carries a password."""
    return mask(text) != text
