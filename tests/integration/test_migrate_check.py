"""``migrate check``: whatever of a migration somebody takes away or changes, it is drift, and named."""

from __future__ import annotations

import random
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from secops.database.connection import connect
from secops.schema import versions
from secops.schema.detect import detect
from secops.schema.site import survey
from secops.schema.steps import State
from support.servers import majors

if TYPE_CHECKING:
    from collections.abc import Iterator

    from secops.database.connection import Connection
    from support.databases import Database
    from support.forked import Forked

pytestmark = pytest.mark.parametrize("server", [max(majors())], indirect=True)


@contextmanager
def undone(conn: Connection) -> Iterator[None]:
    """Roll back what is done in the block."""
    conn.execute("BEGIN")
    try:
        yield
    finally:
        conn.execute("ROLLBACK")


_COLUMNS = """
    SELECT table_schema::text, table_name::text, column_name::text FROM information_schema.columns
    WHERE (table_schema = 'secops' OR table_name IN ('refresh_tokens', 'security_events')
           OR column_name IN ('failed_login_attempts', 'locked_until'))
      AND table_name <> 'alembic_version'
    ORDER BY 1, 2, ordinal_position
"""
_INDEXES = """
    SELECT n.nspname::text, c.relname::text FROM pg_index i
    JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    JOIN pg_class t ON t.oid = i.indrelid
    WHERE n.nspname IN ('public', 'secops') AND (t.relname <> 'users' OR c.relname LIKE 'idx_%')
      AND NOT EXISTS (SELECT FROM pg_constraint k WHERE k.conindid = i.indexrelid)
"""
_CONSTRAINTS = """
    SELECT n.nspname::text, c.relname::text, k.conname::text FROM pg_constraint k
    JOIN pg_class c ON c.oid = k.conrelid JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname IN ('public', 'secops') AND c.relname <> 'users' AND k.contype IN ('p', 'u', 'f')
"""
_FUNCTIONS = """
    SELECT p.oid::regprocedure::text FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname = 'secops'
"""


def changes(database: Database) -> Iterator[str]:
    """Return everything that somebody could take away of what migrations made."""
    for schema, table, column in database.execute(_COLUMNS):
        yield f'ALTER TABLE "{schema}"."{table}" DROP COLUMN "{column}" CASCADE'
    for schema, index in database.execute(_INDEXES):
        yield f'DROP INDEX "{schema}"."{index}"'
        yield f"UPDATE pg_index SET indisvalid = false WHERE indexrelid = '{schema}.{index}'::regclass"
    for schema, table, name in database.execute(_CONSTRAINTS):
        yield f'ALTER TABLE "{schema}"."{table}" DROP CONSTRAINT "{name}" CASCADE'
    for (function,) in database.execute(_FUNCTIONS):
        yield f"DROP FUNCTION {function} CASCADE"
        yield f"ALTER FUNCTION {function} VOLATILE"
    for table in ("refresh_tokens", "security_events", "secops.accounts", "secops.operations"):
        yield f"DROP TABLE {table} CASCADE"
    yield "ALTER TABLE security_events RESET (autovacuum_vacuum_insert_threshold)"
    yield "ALTER TABLE refresh_tokens ALTER revoked DROP DEFAULT"
    yield "ALTER TABLE refresh_tokens ALTER used SET DEFAULT true"
    yield "ALTER TABLE refresh_tokens ALTER user_id DROP NOT NULL"
    yield "ALTER TABLE security_events ALTER message SET NOT NULL"
    yield "ALTER TABLE security_events ADD CHECK (severity <> 'nonsense')"
    yield "ALTER TABLE security_events ADD FOREIGN KEY (user_id) REFERENCES users"
    yield "DROP SCHEMA secops CASCADE"


def unseen(database: Database, some: list[str]) -> list[str]:
    """Return the changes that a plan does not see."""
    found = []
    with connect(database.settings(), "test") as conn:
        conn.execute("SET search_path = pg_catalog, public")
        site = survey(conn, detect(conn, database.settings()))
        for change in some:
            with undone(conn):
                conn.execute(change.encode())
                conn.execute("SET LOCAL search_path = pg_catalog")
                plan = versions.plan(conn, site)
                if plan.nothing_to_do:
                    found.append(change)
                # What is said of it names it.
                assert all(
                    each.finding.difference or each.finding.state is State.ABSENT
                    for each in plan.open
                )
        with undone(conn):
            conn.execute("SET LOCAL search_path = pg_catalog")
            assert versions.plan(conn, site).nothing_to_do
    return found


def test_some_of_what_may_be_taken_away_is_drift(hardened: Database) -> None:
    everything = list(changes(hardened))
    assert len(everything) > 120
    assert unseen(hardened, random.Random(len(everything)).sample(everything, 25)) == []


@pytest.mark.chaos
def test_whatever_is_taken_away_is_drift(hardened: Database) -> None:
    assert unseen(hardened, list(changes(hardened))) == []


def test_drift_is_named_with_exit_code_3(secops: Forked, hardened: Database) -> None:
    on = secops.on(hardened)
    hardened.execute("ALTER TABLE refresh_tokens ALTER used SET DEFAULT true")
    check = on("migrate", "check")
    assert check.code == 3
    assert "used has the default true, not false" in check.out
    assert "1 step has drifted." in check.err
    assert 'ALTER COLUMN "used" SET DEFAULT false' in check.err
    hardened.execute("DROP INDEX idx_security_events_user, idx_security_events_email")
    assert "3 steps have drifted." in on("migrate", "check").err
    hardened.execute("ALTER TABLE refresh_tokens ALTER used SET DEFAULT false")
    assert on("migrate", "--yes").code == 0
    assert on("migrate", "check").code == 0
