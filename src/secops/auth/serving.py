"""The backend as a process: what uvicorn calls, once in each worker."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from secops.auth.app import create_app
from secops.auth.configuration import configure
from secops.auth.services import assemble, open_pool
from secops.database.connection import HOW_TO_CONFIGURE, connect
from secops.errors import ConfigurationError
from secops.schema.detect import detect
from secops.settings import load

if TYPE_CHECKING:
    from fastapi import FastAPI

    from secops.auth.services import Services
    from secops.database.connection import Connection
    from secops.settings import Settings

POOL: Final = "SECOPS_SERVE_POOL"
"""Names how many connections a worker holds at most."""
_POOL: Final = 10


def services() -> Services:
    """Put the services together from the process's settings and environment.

    Raises:
        ConfigurationError: Something is not set, or the database is not migrated.
        Unreachable: The database is away; what starts the process starts it again.
    """
    settings = load()
    url = settings.secret("database_url")
    if url is None:
        raise ConfigurationError("No database is configured.", hint=HOW_TO_CONFIGURE)
    configuration = configure(os.environ)
    with connect(settings, "serve") as conn:
        require_migrations(conn, settings)
        layout = detect(conn, settings)
    size = int(os.environ.get(POOL, _POOL))
    return assemble(configuration, layout, open_pool(url, size=size))


def create() -> FastAPI:
    """Make the app from the process's settings and environment; raises what :func:`services` does."""
    return create_app(services())


def require_migrations(conn: Connection, settings: Settings) -> None:
    """Make sure that the backend's tables are there.

    Raises:
        ConfigurationError: They are not.
    """
    layout = detect(conn, settings)
    row = conn.execute(
        """SELECT count(*) FILTER (WHERE to_regclass('secops.' || name) IS NOT NULL) = count(*),
                  EXISTS (SELECT FROM information_schema.columns WHERE table_schema = %s
                          AND table_name = 'refresh_tokens' AND column_name = 'successor')
           FROM unnest(ARRAY['accounts', 'login_attempts', 'rate_limits', 'outbox']) AS name""",
        (layout.schema,),
    ).fetchone()
    if row != (True, True):
        raise ConfigurationError(
            "The database lacks what the backend needs.", hint="Run `secops migrate`."
        )
