"""Services of the login layer on a hardened database."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from support.databases import Database
from support.logins import Backend


@pytest.fixture
def backend(hardened: Database) -> Iterator[Backend]:
    """The services, with a pool of connections, on the demo app's hardened database."""
    hardened.execute("""
        ALTER TABLE refresh_tokens ADD COLUMN IF NOT EXISTS successor bytea;
        CREATE TABLE IF NOT EXISTS secops.login_attempts (
            identifier bytea PRIMARY KEY, failed integer NOT NULL DEFAULT 0, open integer NOT NULL DEFAULT 0,
            began_at timestamptz NOT NULL DEFAULT now(), taken_at timestamptz NOT NULL DEFAULT now(),
            locked_until timestamptz);
        CREATE UNLOGGED TABLE IF NOT EXISTS secops.rate_limits (
            client text PRIMARY KEY, until timestamptz NOT NULL)
    """)
    made = Backend.on(hardened)
    yield made
    made.close()
