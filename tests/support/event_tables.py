"""security_events filled, fingerprinted and laid out in partitions, for tests."""

from __future__ import annotations

from datetime import UTC, datetime

from support.databases import Database

FILL = """
    INSERT INTO security_events (event_type, event_category, severity, email, ip_address, success,
                                 metadata, created_at)
    SELECT (ARRAY['login_failed', 'login_success', 'token_refresh', 'account_locked'])[1 + n %% 4],
           'authentication', 'warning', 'person' || n %% 50 || '@example.com', '198.51.100.' || n %% 250,
           n %% 4 = 1, jsonb_build_object('n', n),
           now() - interval '95 days' * (n / %(rows)s::float8)
    FROM generate_series(1, %(rows)s::int) AS n
"""


def fill(database: Database, rows: int = 2000) -> None:
    """Write events of the last 95 days."""
    with database.connect() as conn:
        conn.execute(FILL, {"rows": rows})


def later(database: Database, rows: int = 300, months: int = 2) -> None:
    """Write events dated in months to come, as the passing of time would."""
    database.execute(
        """INSERT INTO security_events (event_type, event_category, severity, success, created_at)
           SELECT 'login_success', 'authentication', 'info', true,
                  date_trunc('month', now(), 'UTC') + interval '1 month'
                  + %s * interval '28 days' * random()
           FROM generate_series(1, %s)""",
        (months, rows),
    )


def events(database: Database) -> list[tuple[object, ...]]:
    """Return every event that is no record of what secops did to the schema."""
    return database.execute(
        "SELECT * FROM security_events WHERE event_type <> 'schema_migrated' ORDER BY id"
    )


def kind(database: Database, table: str = "security_events") -> str | None:
    """Return what a table is, as the catalogue says."""
    found = database.execute(
        "SELECT relkind::text FROM pg_class WHERE oid = to_regclass(%s)", (table,)
    )
    return str(found[0][0]) if found else None


def partitions(database: Database) -> dict[str, str]:
    """Return the partitions and their bounds."""
    rows = database.execute(
        """SELECT c.relname::text, pg_get_expr(c.relpartbound, c.oid) FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhrelid
           WHERE i.inhparent = 'security_events'::regclass ORDER BY 1"""
    )
    return {str(name): str(bound) for name, bound in rows}


def loose_ends(database: Database) -> list[tuple[object, ...]]:
    """Return whatever a conversion may leave that does not belong to either of its ends."""
    return database.execute(
        """SELECT 'invalid index', indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
           UNION ALL
           SELECT 'half detached', inhrelid::regclass::text FROM pg_inherits WHERE inhdetachpending
           UNION ALL
           SELECT 'cutoff', conrelid::regclass::text FROM pg_constraint WHERE conname = 'secops_cutoff'
           UNION ALL
           SELECT 'made for it', oid::regclass::text FROM pg_class
           WHERE relname ~ '_secops_(new|id)'
           UNION ALL
           SELECT 'heir', i.inhrelid::regclass::text FROM pg_inherits i
           JOIN pg_class c ON c.oid = i.inhrelid WHERE NOT c.relispartition AND c.relkind = 'r'
           UNION ALL
           SELECT 'default', oid::regclass::text FROM pg_class
           WHERE pg_get_expr(relpartbound, oid) = 'DEFAULT'
           UNION ALL
           SELECT 'lock', pid::text FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    )


def clock(database: Database) -> datetime:
    """Return the server's clock in UTC."""
    now: datetime = database.value("SELECT now()")
    return now.astimezone(UTC)
