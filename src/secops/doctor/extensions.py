"""Extensions that reports can use."""

from __future__ import annotations

import psycopg
from psycopg import sql

from secops.doctor.check import Patient, Result, check, ok, warn

_PRELOAD = "shared_preload_libraries = 'pg_stat_statements'   -- in postgresql.conf, then restart the server\n"
_CREATE = "CREATE EXTENSION IF NOT EXISTS pg_stat_statements;"


@check("pg_stat_statements", "pg_stat_statements")
def statements(patient: Patient) -> Result:
    """`secops report slow-queries` reads it; nothing else does."""
    row = patient.conn.execute(
        """SELECT (SELECT n.nspname::text FROM pg_extension e
                   JOIN pg_namespace n ON n.oid = e.extnamespace
                   WHERE e.extname = 'pg_stat_statements'),
                  EXISTS (SELECT FROM pg_available_extensions WHERE name = 'pg_stat_statements')"""
    ).fetchone()
    assert row is not None
    schema, available = row
    if schema is None:
        if not available:
            return warn(
                "this server does not have it, so `report slow-queries` has nothing to say",
                "Install it with the server's contrib package, where there is one.",
            )
        return warn(
            "not enabled, so `report slow-queries` has nothing to say", f"{_PRELOAD}{_CREATE}"
        )
    name = sql.Identifier(str(schema), "pg_stat_statements")
    try:
        with patient.conn.transaction():
            patient.conn.execute(sql.SQL("SELECT 1 FROM {} LIMIT 1").format(name))
    except psycopg.errors.ObjectNotInPrerequisiteState:
        return warn("created, but the server has not loaded it", _PRELOAD.rstrip())
    except psycopg.errors.InsufficientPrivilege:
        return warn(
            "there, but this role may not read it",
            sql.SQL("GRANT SELECT ON {} TO {};")
            .format(name, sql.Identifier(patient.conn.info.user))
            .as_string(),
        )
    return ok("there")
