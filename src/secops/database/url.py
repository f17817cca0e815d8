"""Connection strings: made fit for libpq, and never shown with their password.

libpq and psycopg repeat a string that they cannot parse, password and all, in their errors; and a
password with a raw ``@`` or ``/`` in it is torn apart, so that half of it passes for a host, a port or
a database and is then repeated as such. So strings are normalised and checked here first.
"""

from __future__ import annotations

import difflib
import re
from typing import Final
from urllib.parse import quote, unquote, unquote_to_bytes

from secops.errors import ConfigurationError
from secops.settings import Secret

SHAPE: Final = "postgresql://USER@HOST:5432/DATABASE"

_SCHEME: Final = re.compile(r"(postgres(?:ql)?)(?:\+[a-z0-9_]+)?://", re.IGNORECASE)
_KEYWORDS: Final = re.compile(r"[A-Za-z_]+\s*=")
_ENCODE: Final = (
    "Write a % in a password as %25, @ as %40, / as %2F, a space as %20; "
    "or put the password in ~/.pgpass."
)

# The user ends at the first ":" or "@", as libpq reads it; from there to the last "@" of the line may
# all be password. Too much masked is no harm.
_PASSWORD_IN_URL: Final = re.compile(r"(?<=://)([^:@\s]*):[^\n]*@")
# What was meant as a URL and lacks its "://".
_PASSWORD_BEFORE_AT: Final = re.compile(r":(?!//)\S+@")
_PASSWORD_WORD: Final = re.compile(
    r"((?:ssl)?password|passwd|sslkey|oauth_client_secret|scram_(?:client|server)_key)"
    r"(['\"]?\s*=\s*|['\"]\s*:\s*)"
    r"('(?:[^'\\]|\\.)*(?:'|$)|\"(?:[^\"\\]|\\.)*(?:\"|$)|(?:\\.|\S)+)",
    re.IGNORECASE | re.DOTALL,
)

_BAD_PERCENT: Final = re.compile(r"%(?![0-9A-Fa-f]{2})|%00")
_USERINFO: Final = re.compile(r"(?:[^@/]*@)?")
_HOST: Final = re.compile(r"(?:\[[^\[\]]*\]|[^\[\]:]*)(?::\d*)?", re.ASCII)
_PARAMETER: Final = re.compile(r"[\w%]+=[^=]*", re.ASCII)
_WORD: Final = re.compile(
    r"\s*[A-Za-z_]+\s*=\s*(?:'(?:[^'\\]|\\.)*'(?=\s|$)|(?!')(?:\\.|[^\s\\])*)\s*"
)


def mask(text: str) -> str:
    """Return the text with every password in it, in URL or keyword form, replaced by ``***``."""
    text = _PASSWORD_IN_URL.sub(r"\1:***@", text)
    text = _PASSWORD_WORD.sub(r"\1\2***", text)
    return _PASSWORD_BEFORE_AT.sub(":***@", text)


def normalise(given: Secret) -> Secret:
    """Make a connection string fit for libpq.

    Args:
        given: A URL (``postgres://``, ``postgresql://``, also in SQLAlchemy's form
            ``postgresql+psycopg://``) or libpq's ``key=value`` words.

    Returns:
        The same, as libpq reads it.

    Raises:
        ConfigurationError: It cannot be one, or libpq would take a part of its password for
            something else. The message never repeats the string.
    """
    text = given.reveal().strip()
    if not text:
        raise ConfigurationError("The database URL is empty.", hint=f"Write it as {SHAPE}.")
    try:
        text.encode()
    except UnicodeEncodeError:  # what the environment holds in another encoding
        raise ConfigurationError(
            "The database URL is not UTF-8.",
            hint="Write other letters in it with % and hexadecimal.",
        ) from None
    if _SCHEME.match(text):
        text = _SCHEME.sub("postgresql://", text, count=1)
        _check_url(text.removeprefix("postgresql://"))
    elif _KEYWORDS.match(text):
        _check_words(text)
    elif "://" in text:
        raise ConfigurationError(
            "The database URL does not begin with postgresql://.",
            hint=f"Write it as {SHAPE}. Only PostgreSQL is supported.",
        )
    else:
        raise ConfigurationError(
            "The database URL is neither a URL nor key=value words.",
            hint=f"Write it as {SHAPE}, or as host=… dbname=… user=….",
        )
    return Secret(text)


def _check_url(rest: str) -> None:
    """Refuse what libpq would refuse with the string in its message, or would take apart wrongly.

    The order of reading is that of libpq's ``conninfo_uri_parse_options``: the first ``@`` before any
    ``/`` ends user and password, then hosts run to ``/`` or ``?``.
    """
    if re.search(r"\s", rest):
        raise ConfigurationError("The database URL holds a space or a line break.", hint=_ENCODE)
    if _BAD_PERCENT.search(rest):
        raise ConfigurationError(
            "The database URL holds a % that is not followed by two hexadecimal digits, or %00.",
            hint=_ENCODE,
        )
    try:
        unquote_to_bytes(rest).decode()
    except UnicodeDecodeError:
        raise ConfigurationError(
            "The database URL holds %-codes that are not UTF-8.", hint=_ENCODE
        ) from None
    userinfo = _USERINFO.match(rest)
    assert userinfo is not None
    place, _, query = rest[userinfo.end() :].partition("?")
    hosts, _, path = place.partition("/")
    if "@" in hosts or "@" in path:
        raise ConfigurationError(
            "The database URL holds an @ too many, or a / before its @.", hint=_ENCODE
        )
    if not all(_HOST.fullmatch(host) for host in hosts.split(",")):
        raise ConfigurationError(
            "The host and port in the database URL cannot be read: a port is a number, and an IPv6 "
            "address stands in brackets.",
            hint=f"Write it as {SHAPE}. {_ENCODE}",
        )
    if query and not all(_PARAMETER.fullmatch(each) for each in query.split("&")):
        raise ConfigurationError(
            "What follows the ? in the database URL is not name=value, joined by &.", hint=_ENCODE
        )


def _check_words(text: str) -> None:
    place = 0
    while place < len(text):
        word = _WORD.match(text, place)
        if word is None or word.end() == place:
            raise ConfigurationError(
                "The database's key=value words cannot be read.",
                hint="A value with a space in it needs 'quotes', and a ' or \\ in one a \\ before it; "
                f"or write it as a URL: {SHAPE}.",
            )
        place = word.end()


def nearest_option(complaint: str, known: list[str]) -> str:
    """Say which option libpq's complaint of an unknown one was probably about.

    Args:
        complaint: What libpq said; never repeated, for the unknown option may be part of a password.
        known: The names of libpq's options.

    Returns:
        ``Did you mean connect_timeout?``, or advice in general.
    """
    named = re.search(
        r'(?:connection option|query parameter): ?"([^"]*)"|option "([^"]*)"', complaint
    )
    near = (
        difflib.get_close_matches(named[1] or named[2] or "", known, n=1, cutoff=0.75)
        if named
        else []
    )
    if near:
        return f"It names an option that libpq does not have. Did you mean {near[0]}?"
    return f"Check the names of its options; or write it as {SHAPE}."


def holds_password(text: str) -> bool:
    """Say whether a connection string carries a password, however it is encoded; rather yes than no."""
    line = "".join(text.splitlines())
    plain = unquote(line)
    return mask(line) != line or mask(plain) != plain


def shown(given: Secret) -> str:
    """Return a connection string for people: only its parts that are no secret, the password as ``***``.

    A string that cannot be read is not shown at all.
    """
    import psycopg  # noqa: PLC0415  only who shows a string needs it, and it is slow to import
    from psycopg.conninfo import conninfo_to_dict  # noqa: PLC0415

    try:
        parts = conninfo_to_dict(normalise(given).reveal())
    except (ConfigurationError, psycopg.Error):
        return "*** (cannot be read)"
    # Masked in its parts too: a whole URL may have been put where the database's name belongs.
    found = {key: mask(str(value)) for key, value in parts.items() if value}
    user = quote(found.get("user", ""), safe="")
    secret = ":***" if "password" in found else ""
    host = found.get("host") or found.get("hostaddr") or ""
    port = f":{found['port']}" if "port" in found else ""
    where = f"{quote(host, safe=':,[]')}{port}/{quote(found.get('dbname', ''), safe='')}"
    options = "&".join(
        f"{key}={quote(found[key], safe='')}"
        for key in ("service", "sslmode", "target_session_attrs")
        if key in found
    )
    whole = f"postgresql://{user}{secret}{'@' if user or secret else ''}{where}"
    return f"{whole}?{options}" if options else whole
