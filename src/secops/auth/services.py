"""The services, put together for one process: a pool of connections, and what stands on it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import psycopg
from psycopg_pool import ConnectionPool, PoolTimeout, TooManyRequests

from secops.accounts.login.access import Gatekeeper
from secops.accounts.login.attempts import Attempts
from secops.accounts.login.hashing import Hasher
from secops.accounts.login.passwords import Passwords
from secops.accounts.login.service import Logins
from secops.accounts.login.sessions import Sessions
from secops.database.url import normalise
from secops.errors import ConfigurationError, Unreachable

if TYPE_CHECKING:
    from secops.auth.configuration import Configuration
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Secret

_WAITING: Final = 400
"""Requests that may wait for a connection; the next one is told to come back later."""
_PATIENCE: Final = 5.0
"""Seconds that a request waits for a connection."""


@dataclass(frozen=True, slots=True)
class Services:
    """What the routes call. Made by :func:`assemble`.

    Attributes:
        configuration: What the environment says.
        layout: The tables.
        pool: Connections in autocommit mode.
        sessions: Refresh tokens.
        logins: Logins.
        gate: Access tokens.
        passwords: New accounts and new passwords.
    """

    configuration: Configuration
    layout: Layout
    pool: ConnectionPool[Connection]
    sessions: Sessions
    logins: Logins
    gate: Gatekeeper
    passwords: Passwords

    @contextmanager
    def connection(self) -> Iterator[Connection]:
        """Lend a connection.

        Raises:
            Unreachable: None is to be had: the database is away, or everybody is asking at once.
        """
        with lend(self.pool) as conn:
            yield conn


@contextmanager
def lend(pool: ConnectionPool[Connection]) -> Iterator[Connection]:
    """Lend a connection of a pool; see :meth:`Services.connection`."""
    try:
        with pool.connection() as conn:
            yield conn
    except (PoolTimeout, TooManyRequests):
        raise Unreachable(
            "The database cannot be reached, or is too busy.", hint="Try again in a moment."
        ) from None


def open_pool(url: Secret, *, size: int) -> ConnectionPool[Connection]:
    """Open a pool whose connections recover by themselves.

    Args:
        url: The database.
        size: Connections at most.
    """
    return ConnectionPool(
        normalise(url).reveal(),
        min_size=1,
        max_size=size,
        max_waiting=_WAITING,
        timeout=_PATIENCE,
        # A server that was restarted or failed over leaves connections that only look alive.
        check=ConnectionPool.check_connection,
        reconnect_timeout=30,
        kwargs={
            "autocommit": True,
            "prepare_threshold": None,
            "connect_timeout": 5,
            "application_name": "secops serve",
        },
        connection_class=psycopg.Connection,
        open=False,
    )


def assemble(
    configuration: Configuration, layout: Layout, pool: ConnectionPool[Connection]
) -> Services:
    """Put the services together.

    Raises:
        ConfigurationError: The users table has no column for password hashes.
    """
    if layout.users.password is None:
        raise ConfigurationError(
            f"{layout.users.schema}.{layout.users.name} has no column with password hashes that was found.",
            hint="Name it in secops.yaml: users: {password: COLUMN}.",
        )
    rules = configuration
    sessions = Sessions(layout, rules.sessions, rules.events)
    hasher = Hasher()
    attempts = Attempts(layout, rules.lockout, rules.events, rules.pepper, rules.notices)

    def connect() -> AbstractContextManager[Connection]:
        return lend(pool)

    logins = Logins(
        layout=layout,
        connect=connect,
        attempts=attempts,
        sessions=sessions,
        hasher=hasher,
        limit=rules.limit,
        events=rules.events,
    )
    gate = Gatekeeper(layout, rules.signer, rules.sessions.locked_too)
    passwords = Passwords(layout, connect, rules.policy, hasher, attempts, sessions, rules.events)
    return Services(configuration, layout, pool, sessions, logins, gate, passwords)
