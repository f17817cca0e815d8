"""What going back destroys: counted to the row and value, no more than was accepted, never by halves."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING, Any

import psycopg
import pytest

from support.forked import unheard
from support.schemas import APPS, shape
from support.servers import majors

if TYPE_CHECKING:
    from support.databases import Database
    from support.forked import Forked

# What is counted is counted the same by every server.
pytestmark = pytest.mark.parametrize("server", [max(majors())], indirect=True)

TARGETS = (
    *("base", "0001"),
    *(pytest.param(each, marks=pytest.mark.chaos) for each in ("0002", "0003", "0004")),
)

# Rows in every table, values in every column that a migration brings, and rows that say nothing.
USED = """
    UPDATE users SET failed_login_attempts = 3 WHERE email LIKE 'a%';
    UPDATE users SET locked_until = NULL, failed_login_attempts = NULL WHERE email LIKE 'b%';
    UPDATE refresh_tokens SET used = true, used_at = now(), family_id = id, parent_id = id,
        family_expires_at = now(), successor = '\\x01'
    WHERE id IN (SELECT id FROM refresh_tokens LIMIT 5);
    UPDATE refresh_tokens SET revoked_at = now(), revoked_reason = 'logout'
    WHERE id IN (SELECT id FROM refresh_tokens LIMIT 7);
    INSERT INTO secops.accounts (user_id, locked_at) SELECT id, now() FROM users LIMIT 2;
    INSERT INTO secops.login_attempts (identifier) VALUES ('\\x01'), ('\\x02');
    INSERT INTO secops.rate_limits (client, until) VALUES ('10.0.0.1', now());
    INSERT INTO secops.outbox (kind, address) VALUES ('locked', 'a@example.com');
"""

_TABLES = """
    SELECT n.nspname::text, c.relname::text,
           (SELECT array_agg(a.attname::text) FROM pg_index i
            JOIN pg_attribute a ON a.attrelid = c.oid AND a.attnum = ANY (i.indkey)
            WHERE i.indrelid = c.oid AND i.indisprimary)
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind IN ('r', 'p') AND n.nspname IN ('public', 'secops') AND c.relname <> 'alembic_version'
"""


def contents(database: Database) -> dict[tuple[str, str], dict[str, dict[str, Any]]]:
    """Return every row of every table, by its key."""
    found: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}
    for schema, table, key in database.execute(_TABLES):
        rows = database.execute(f'SELECT to_jsonb(t) FROM "{schema}"."{table}" t')
        found[schema, table] = {str([row[name] for name in key]): row for (row,) in rows}
    return found


def not_back(
    before: dict[tuple[str, str], dict[str, dict[str, Any]]],
    after: dict[tuple[str, str], dict[str, dict[str, Any]]],
) -> int:
    """Count what is not there any more: rows, and values of rows that still are."""
    lost = 0
    for table, rows in before.items():
        there = after.get(table, {})
        for key, row in rows.items():
            if key not in there:
                lost += 1
                continue
            lost += sum(
                value is not None and there[key].get(name) != value for name, value in row.items()
            )
    return lost


@pytest.mark.parametrize("target", TARGETS)
def test_the_number_is_what_does_not_come_back(
    secops: Forked, hardened: Database, target: str
) -> None:
    APPS["uuid"].use_plan(hardened)
    hardened.execute(USED)
    on = secops.on(hardened)
    before = contents(hardened)
    dry = on("migrate", "down", target, "--dry-run", "--json").json()
    told = sum(item["count"] for item in dry["items"])
    assert told > 0
    # What it would run says which tables it drops, and whom it keeps waiting.
    assert all(
        each["sql"] and each["tables"] for each in dry["statements"] if "TABLE" in each["sql"]
    )
    assert contents(hardened) == before
    for wrong in ([], ["--accept-loss", str(told - 1)], ["--accept-loss", str(told + 1)]):
        refused = on("migrate", "down", target, "--yes", "--json", *wrong)
        assert refused.code == 8, refused
        assert refused.error()["details"]["total"] == told
        assert contents(hardened) == before
    done = on("migrate", "down", target, "--yes", "--accept-loss", str(told))
    assert done.code == 0, done.err
    assert on("migrate", "--yes").code == 0
    assert not_back(before, contents(hardened)) == told


@pytest.mark.parametrize(
    ("write", "there", "target"),
    [
        (
            """INSERT INTO security_events (event_type, event_category, severity, success)
               VALUES ('late', 'x', 'info', true)""",
            "SELECT count(*) FROM security_events WHERE event_type = 'late'",
            "base",
        ),
        (
            "UPDATE users SET locked_until = '2030-01-01' WHERE email = 'alice@example.com'",
            "SELECT count(*) FROM users WHERE locked_until = '2030-01-01'",
            "base",
        ),
        (
            "INSERT INTO secops.accounts (user_id) SELECT id FROM users LIMIT 1",
            "SELECT count(*) FROM secops.accounts",
            "0001",
        ),
    ],
    ids=["a row", "a value", "a row of ours"],
)
def test_what_came_in_since_it_was_counted_is_not_destroyed(
    secops: Forked, hardened: Database, write: str, there: str, target: str
) -> None:
    on = secops.on(hardened)
    dry = on("migrate", "down", target, "--dry-run", "--json").json()
    told = str(sum(item["count"] for item in dry["items"]))
    url = hardened.url

    def late(_: int, conn: psycopg.Connection[Any], text: str) -> None:
        del conn
        # At the last moment: everything has been counted and accepted.
        if text.startswith("BEGIN;") and "SE001" in text and "LATE" not in os.environ:
            os.environ["LATE"] = "yes"
            with unheard(), psycopg.connect(url, autocommit=True) as app:
                app.execute(write.encode())

    done = on("migrate", "down", target, "--yes", "--accept-loss", told, hook=late)
    assert done.code == 8, done
    assert "somebody wrote meanwhile" in done.err
    assert hardened.value(there) == 1
    # The way forward and the way back are both open.
    dry = on("migrate", "down", target, "--dry-run", "--json").json()
    told = str(sum(item["count"] for item in dry["items"]))
    assert on("migrate", "--yes").code == 0
    assert hardened.value(there) == 1


@pytest.mark.parametrize(
    ("made", "named", "mend"),
    [
        ("CREATE VIEW live AS SELECT id FROM refresh_tokens", "view public.live", "DROP VIEW"),
        (
            "CREATE MATERIALIZED VIEW live AS SELECT count(*) FROM security_events",
            "materialized view public.live",
            "DROP MATERIALIZED VIEW",
        ),
        ("CREATE VIEW locked AS SELECT locked_until FROM users", "columns of", "DROP VIEW"),
        (
            "CREATE TABLE notes (token uuid REFERENCES refresh_tokens (id))",
            "foreign key notes_token_fkey",
            "DROP CONSTRAINT",
        ),
    ],
)
def test_what_others_built_on_it_is_named_before_anything_is_touched(
    secops: Forked, hardened: Database, made: str, named: str, mend: str
) -> None:
    hardened.execute(made)
    on = secops.on(hardened)
    before = shape(hardened)
    for words in (["--dry-run"], ["--yes", "--accept-loss", "99"]):
        done = on("migrate", "down", "base", *words)
        assert done.code == 5, done
        assert named in done.err
        assert "nothing was touched" in done.err
        assert mend in done.err
    assert shape(hardened) == before
    # A view of columns that stay is in nobody's way.
    assert on("migrate", "down", "0004", "--dry-run").code == 0
    found = re.search(r"Take that away \((.*)\), then", done.err)
    assert found is not None
    hardened.execute(found[1])
    assert on("migrate", "down", "base", "--dry-run").code == 0
