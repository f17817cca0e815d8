"""security_events with old months to be let go of, and archives held against what was there before."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from support.databases import Command, Database

OLD = """
    DO $do$
    DECLARE
        month timestamptz;
        name text;
    BEGIN
        DROP TABLE security_events_legacy;
        FOR month IN SELECT generate_series(
            date_trunc('month', now(), 'UTC') - interval '5 months',
            date_trunc('month', now(), 'UTC'), interval '1 month')
        LOOP
            name := format('security_events_p%s', to_char(month AT TIME ZONE 'UTC', 'YYYY_MM'));
            EXECUTE format('CREATE TABLE %I (LIKE security_events INCLUDING ALL)', name);
            EXECUTE format('COMMENT ON TABLE %I IS %L', name, 'month of ' || name);
            EXECUTE format('ALTER TABLE security_events ATTACH PARTITION %I FOR VALUES FROM (%L) TO (%L)',
                           name, month, month + interval '1 month');
        END LOOP;
    END $do$
"""

FILL = """
    INSERT INTO security_events (event_type, event_category, severity, user_id, email, ip_address,
                                 user_agent, success, message, metadata, created_at)
    SELECT CASE WHEN n %% 3 = 0 THEN 'login_failed' ELSE 'login_success' END, 'authentication',
           CASE WHEN n %% 3 = 0 THEN 'warning' ELSE 'info' END,
           (SELECT id FROM users WHERE email = 'alice@example.com' AND n %% 2 = 0),
           CASE WHEN n %% 5 = 0 THEN NULL ELSE 'p' || n %% 7 || '@example.com' END, '198.51.100.' || n %% 250,
           CASE n %% 4 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN E'a"b,\\n\\t\\\\N' ELSE 'Grüße 🙂' END,
           n %% 3 > 0, CASE WHEN n %% 6 > 0 THEN n::text END,
           CASE WHEN n %% 2 = 0 THEN jsonb_build_object('n', n, 'weird', E'line\\nbreak "x"') END,
           now() - interval '150 days' * (n / %(rows)s::float8)
    FROM generate_series(1, %(rows)s::int) n
"""
"""Events of the last 150 days, with everything that quoting can get wrong."""


def fill(database: Database, rows: int = 300) -> None:
    with database.connect() as conn:
        conn.execute(FILL, {"rows": rows})


def partition(database: Database, run: Command) -> None:
    """Partition an empty table, with five old months."""
    done = run("partition", "convert", "--yes")
    assert done.code == 0, done.err
    with database.connect() as conn:
        conn.execute(OLD.encode())


def live(database: Database) -> list[str]:
    """Return every event that secops did not write, as one line each."""
    return [
        row[0]
        for row in database.execute(
            "SELECT to_jsonb(e)::text FROM security_events e WHERE event_category <> 'operator' ORDER BY 1"
        )
    ]


def archived(database: Database, folder: Path) -> list[str]:
    """Return every event of an archive, read back into PostgreSQL, as one line each."""
    from pyarrow import parquet

    from secops.archive import manifest, rows

    known = manifest.read(folder)
    if known is None:
        return []
    found: list[str] = []
    with database.connect() as conn:
        for entry in known.there:
            table: Any = parquet.read_table(folder / entry.file, partitioning=None)
            names = table.column_names
            conn.execute("CREATE TEMPORARY TABLE back (LIKE security_events)")
            with (
                conn.cursor() as cursor,
                cursor.copy(
                    f"COPY back ({', '.join(names)}) FROM STDIN (FORMAT csv)".encode()
                ) as copy,
            ):
                copy.write(rows.csv_of(table, names))
            found += [
                str(row[0])
                for row in conn.execute(
                    "SELECT to_jsonb(b)::text FROM back b WHERE event_category <> 'operator'"
                )
            ]
            conn.execute("DROP TABLE back")
    return sorted(found)
