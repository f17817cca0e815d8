"""Connections with limits, transactions with timeouts, and what a database error means to a person.

Timeouts are set with ``SET LOCAL`` in every transaction, never for the session: behind a transaction
pooler a session's settings leak to other clients, and startup options are refused (PgBouncer 1.18).
No statement is prepared by name: named statements leak through poolers too, and after five runs their
generic plans lose the partial indexes on ``event_type``.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg import errors as pg

import secops
from secops.database.url import mask, nearest_option, normalise
from secops.errors import (
    Busy,
    ConfigurationError,
    Conflict,
    OutcomeUnknown,
    SecopsError,
    Unreachable,
)

if TYPE_CHECKING:
    from secops.settings import Secret, Settings

Connection = psycopg.Connection[tuple[object, ...]]

HOW_TO_CONFIGURE: Final = (
    "Set SECOPS_DATABASE_URL or DATABASE_URL, give --database-url, write secops.yaml with "
    "`secops init`, or try `secops quickstart` for a database to play with."
)


def connect(settings: Settings, command: str, *, use: str = "database_url") -> Connection:
    """Open a connection in autocommit mode; changes go through :func:`transaction`.

    Args:
        settings: Where to, and how long to wait.
        command: What runs, as ``pg_stat_activity.application_name`` shows it (``unlock user``).
        use: The setting that names the server: ``database_url``, ``report_database_url`` or
            ``direct_url``. The latter two fall back on the first.

    Raises:
        ConfigurationError: Nothing names a database, or the URL is none.
        Unreachable: No connection could be made.
    """
    given = settings.secret(use) or settings.secret("database_url")
    if given is None and not settings.names_a_server():
        raise ConfigurationError(
            "No database is configured, and secops never guesses one.", hint=HOW_TO_CONFIGURE
        )
    conninfo = normalise(given).reveal() if given else ""
    try:
        return psycopg.connect(
            conninfo,
            autocommit=True,
            prepare_threshold=None,
            # libpq takes whole seconds, and 1 means 2 to it.
            connect_timeout=max(2, round(settings.span("connect_timeout").total_seconds())),
            application_name=f"secops/{secops.__version__} {command}"[:63],
        )
    except psycopg.ProgrammingError as error:
        raise ConfigurationError(
            "The database URL cannot be read.", hint=nearest_option(str(error), _options())
        ) from None
    except psycopg.OperationalError as error:
        raise _no_connection(error, given) from None


@contextmanager
def transaction(
    conn: Connection,
    *,
    read_only: bool = False,
    lock_timeout: timedelta = timedelta(milliseconds=100),
    statement_timeout: timedelta = timedelta(0),
    search_path: str | None = None,
) -> Iterator[None]:
    """Run a transaction under its own limits; commits at the end, rolls back on an exception.

    Args:
        conn: In autocommit mode.
        read_only: Whether the server refuses writes.
        lock_timeout: The longest wait for one lock; zero means no limit.
        statement_timeout: The longest that one statement may run; zero means no limit.
        search_path: Quoted schema names, or ``None`` to leave it.

    Raises:
        OutcomeUnknown: The connection was lost while the transaction was committed; not for a
            read-only one, and not for one inside another, whose end is not decided there.
    """
    outermost = conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    committing = False
    try:
        with _limited(conn, read_only, lock_timeout, statement_timeout, search_path):
            yield
            committing = outermost and not read_only
    except psycopg.OperationalError as error:
        if committing and is_lost(error):
            raise commit_unknown() from error
        raise


@contextmanager
def _limited(
    conn: Connection,
    read_only: bool,
    lock_timeout: timedelta,
    statement_timeout: timedelta,
    search_path: str | None,
) -> Iterator[None]:
    with conn.transaction():
        if read_only:
            conn.execute("SET TRANSACTION READ ONLY")
        conn.execute(
            """
            SELECT set_config('lock_timeout', %s, true),
                   set_config('statement_timeout', %s, true),
                   set_config('search_path', coalesce(%s, current_setting('search_path')), true)
            """,
            (_milliseconds(lock_timeout), _milliseconds(statement_timeout), search_path),
        )
        yield


def is_lost(error: psycopg.Error) -> bool:
    """Say whether an error means that the connection is gone, and what was under way is not known."""
    return isinstance(error, pg.AdminShutdown | pg.CrashShutdown) or (
        isinstance(error, psycopg.OperationalError) and error.sqlstate is None
    )


def commit_unknown(what: str = "a change was committed") -> OutcomeUnknown:
    """Return the error for a connection that was lost while something was made final.

    A server that ends a session while it commits may have committed: it says the same either way.
    """
    return OutcomeUnknown(
        f"The connection to the database was lost while {what}, so whether it stands is not known.",
        hint="Run the same command again: it finds out, and finishes what is left.",
    )


def _milliseconds(span: timedelta) -> str:
    return str(round(span / timedelta(milliseconds=1)))


def is_pooled(conn: Connection) -> bool:
    """Say whether a transaction pooler stands between us and the server.

    A pooler answers the connection's start itself, so the process number that libpq was told differs
    from that of the server process that runs a statement (measured on PgBouncer 1.18).
    """
    row = conn.execute("SELECT pg_backend_pid()").fetchone()
    assert row is not None
    return row[0] != conn.info.backend_pid


def translate(error: psycopg.Error) -> SecopsError:  # noqa: PLR0911  one arm a meaning
    """Turn a database error that nothing else understood into one clear sentence."""
    text = mask(error.diag.message_primary or str(error).strip() or type(error).__name__)
    match error:
        case pg.LockNotAvailable():
            return Busy(
                "Another session holds a lock that this needs, and secops does not make the app wait.",
                hint="Run it again; `secops doctor` shows who holds locks for long.",
            )
        case pg.QueryCanceled():
            return SecopsError(
                f"The statement ran longer than it may: {text}.",
                hint="Narrow it down (a shorter --since), or raise the timeout in the settings.",
            )
        case pg.InsufficientPrivilege():
            return SecopsError(
                f"The database role may not do this: {text}.",
                hint="`secops doctor` lists the missing privileges and the GRANT for each.",
            )
        case pg.UndefinedTable() | pg.UndefinedColumn() | pg.InvalidSchemaName():
            return SecopsError(
                f"The database lacks something that secops needs: {text}.",
                hint="Run `secops migrate`; `secops migrate status` says what is pending.",
            )
        case pg.SerializationFailure() | pg.DeadlockDetected():
            return Conflict(
                f"Another session changed the same rows at the same time: {text}.",
                hint="Nothing was done; run it again.",
            )
        case pg.ReadOnlySqlTransaction():
            return SecopsError(
                f"This database takes no writes: {text}.",
                hint="It is a replica, or the role is read-only; point database_url at the primary.",
            )
        case pg.AdminShutdown() | pg.CrashShutdown() | pg.CannotConnectNow():
            return Unreachable(
                f"The database server ended the connection: {text}.",
                hint="What was committed stands; run the same command again when it is back.",
            )
        case psycopg.OperationalError() if error.sqlstate is None:
            return Unreachable(
                f"The connection to the database was lost: {text.splitlines()[0]}",
                hint="What was committed stands; run the same command again.",
            )
        case _:
            state = f" (SQLSTATE {error.sqlstate})" if error.sqlstate else ""
            return SecopsError(
                f"The database said: {text}{state}",
                hint="`--debug` shows where; `secops doctor` checks the surroundings.",
            )


_NO_CONNECTION: Final = (
    # What libpq or the server says (any of these), what that means, what to do.
    (
        ("password authentication failed", "no password supplied", "authentication failed"),
        "The database refused the login",
        "Check user and password; put the password in ~/.pgpass rather than the URL.",
    ),
    (
        ("no pg_hba.conf entry", "pg_hba.conf rejects"),
        "The server does not let this user in from here",
        "Add a line to pg_hba.conf, or connect with sslmode=require if it asks for TLS.",
    ),
    (
        ("timeout expired", "timed out"),
        "The database did not answer in time",
        "Check host, port and firewall; SECOPS_CONNECT_TIMEOUT raises the limit.",
    ),
    (
        ("could not translate host name", "name or service not known", "resolve host"),
        "The host's name cannot be resolved",
        "Check the host in the URL, or PGHOST.",
    ),
    (
        ("connection refused", "no such file or directory"),
        "Nothing answers there",
        "Is PostgreSQL running there? After a reboot, `secops quickstart` starts what it made.",
    ),
    (
        ("too many clients", "remaining connection slots"),
        "The server has no connection left",
        "Try again, or raise max_connections.",
    ),
    (
        ('database "', "does not exist"),
        "There is no such database",
        "Check the last part of the URL; `psql -l` lists the databases.",
    ),
    (
        ('role "', "does not exist"),
        "There is no such role",
        "Check the user in the URL, or PGUSER.",
    ),
)


def _no_connection(error: psycopg.OperationalError, given: Secret | None) -> Unreachable:
    """Say why no connection could be made. libpq tells it by its text alone."""
    text = _without_secrets(error, given)
    low = text.lower()
    for needles, meaning, hint in _NO_CONNECTION:
        together = all if needles[-1] == "does not exist" else any
        if together(needle in low for needle in needles):
            return Unreachable(f"{meaning}: {text}", hint=hint)
    return Unreachable(
        f"No connection to the database: {text}",
        hint="`secops doctor` checks the connection step by step.",
    )


def _options() -> list[str]:
    """Return the names of libpq's connection options."""
    return [option.keyword.decode() for option in psycopg.pq.Conninfo.get_defaults()]


def _without_secrets(error: Exception, given: Secret | None) -> str:
    """Return the error's last line of substance, with the connection string and its password gone."""
    text = str(error)
    if given is not None:
        text = text.replace(given.reveal(), "the given URL")
    # A password that was torn apart (a raw @ or /) never gets here: normalise refuses it.
    lines = [line.strip() for line in mask(text).splitlines() if line.strip()]
    return lines[0] if lines else type(error).__name__
