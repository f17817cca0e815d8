"""What goes on in the database: transactions that stay open, and vacuum."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.doctor.check import Need, Patient, Result, check, ok, skipped, warn
from secops.durations import about

if TYPE_CHECKING:
    from secops.database.connection import Connection

LONG: Final = timedelta(minutes=5)
"""A transaction open for longer holds up migrations, and vacuum with them."""
_SHOWN: Final = 5
_FEW_PAGES: Final = 1000


@check("long-transactions", "Long transactions")
def long_transactions(patient: Patient) -> Result:
    """Look for what a migration would have to wait for. Statements stay out: they hold people's data."""
    conn = patient.conn
    rows = conn.execute(
        """SELECT format('pid %%s (%%s, role %%s, %%s)', pid, coalesce(nullif(application_name, ''), 'unnamed'),
                         usename, state),
                  clock_timestamp() - xact_start,
                  format('SELECT pg_terminate_backend(%%s);', pid)
           FROM pg_stat_activity
           WHERE datname = current_database() AND pid <> pg_backend_pid()
             AND xact_start < clock_timestamp() - %(long)s AND backend_type = 'client backend'
           UNION ALL
           SELECT format('the prepared transaction %%L (role %%s)', gid, owner),
                  clock_timestamp() - prepared, format('ROLLBACK PREPARED %%L;', gid)
           FROM pg_prepared_xacts
           WHERE database = current_database() AND prepared < clock_timestamp() - %(long)s
           ORDER BY 2 DESC""",
        {"long": LONG},
    ).fetchall()
    if rows:
        shown = "; ".join(f"{what} open for {about(age)}" for what, age, _ in rows[:_SHOWN])  # type: ignore[arg-type]
        more = f"; and {len(rows) - _SHOWN} more" if len(rows) > _SHOWN else ""
        return warn(
            f"{shown}{more}; migrations and vacuum wait for such",
            "\n".join(
                ["-- Ask whoever runs it, or end it:", *(str(row[2]) for row in rows[:_SHOWN])]
            ),
        )
    if hidden := _hidden(conn):
        return skipped(
            f"none that this role can see; it cannot look into {hidden} of other roles "
            "(members of pg_read_all_stats can)"
        )
    return ok(f"none is open for longer than {about(LONG)}")


def _hidden(conn: Connection) -> str:
    row = conn.execute(
        """SELECT count(*) FROM pg_stat_activity
           WHERE datname = current_database() AND state IS NULL AND backend_type IS NULL
              OR datname = current_database() AND query = '<insufficient privilege>'"""
    ).fetchone()
    assert row is not None
    number = row[0]
    return "" if not number else f"{number} {'session' if number == 1 else 'sessions'}"


@check("vacuum", "Vacuum of security_events", needs=Need.USERS)
def vacuum(patient: Patient) -> Result:
    """Events are only ever added, so without vacuum for inserts the reports slow down unnoticed."""
    rows = patient.conn.execute(
        """SELECT current_setting('autovacuum'), p.relname::text, coalesce(p.reloptions, '{}'),
                  p.relpages, p.relallvisible
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           LEFT JOIN LATERAL pg_partition_tree(c.oid) t ON t.isleaf
           JOIN pg_class p ON p.oid = coalesce(t.relid, c.oid)
           WHERE n.nspname = %s AND c.relname = 'security_events'
           ORDER BY p.relname""",
        (patient.layout.schema,),
    ).fetchall()
    if not rows:
        return skipped("security_events is not there yet")
    everywhere = rows[0][0]
    pages = sum(int(str(row[3])) for row in rows)
    visible = sum(int(str(row[4])) for row in rows)
    options = {str(row[1]): _options(row[2]) for row in rows}
    name = patient.layout.events
    if everywhere != "on":
        return warn(
            "autovacuum is off for the whole server",
            "ALTER SYSTEM SET autovacuum = on; SELECT pg_reload_conf();",
        )
    off = [
        part
        for part, given in options.items()
        if given.get("autovacuum_enabled", "true").lower() in {"false", "off", "no", "0"}
    ]
    if off:
        words = sql.SQL("ALTER TABLE {} RESET (autovacuum_enabled);")
        return warn(
            f"autovacuum is off for {_which(off)}",
            "\n".join(
                words.format(sql.Identifier(patient.layout.schema, part)).as_string()
                for part in off
            ),
        )
    if pages > _FEW_PAGES and visible < pages / 2:
        return warn(
            f"{visible / pages:.0%} of its pages are known to be visible to all, so reports read the "
            "table where its indexes would do",
            sql.SQL("VACUUM (ANALYZE) {};").format(name).as_string(),
        )
    bare = [
        part
        for part, given in options.items()
        if "autovacuum_vacuum_insert_scale_factor" not in given
    ]
    if bare:
        return warn(f"{_which(bare)} has no settings of its own for inserts", "secops migrate")
    return ok("autovacuum is on, with settings for a table that only grows")


def _options(given: object) -> dict[str, str]:
    assert isinstance(given, list)
    return {name: value for name, _, value in (str(each).partition("=") for each in given)}


def _which(tables: list[str]) -> str:
    return "the table" if tables == ["security_events"] else ", ".join(tables)
