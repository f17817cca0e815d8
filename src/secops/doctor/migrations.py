"""Is the database what this version of secops needs it to be?"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from secops.database.layout import INTERNAL
from secops.doctor.check import Need, Patient, Result, check, fail, ok, skipped, warn
from secops.schema.site import survey
from secops.schema.versions import VERSION_TABLE, current_revision, plan, versions

if TYPE_CHECKING:
    from secops.database.connection import Connection

_MIGRATE: Final = "secops migrate plan   # what would run\nsecops migrate"


@check("migrations", "Migrations")
def applied(patient: Patient) -> Result:
    """Compare the version that the database records with the versions that came along."""
    if not _readable(patient.conn):
        return skipped(f"this role may not read {INTERNAL}.{VERSION_TABLE}")
    known = [version.revision for version in versions()]
    current = current_revision(patient.conn)
    done = 0 if current is None else known.index(current) + 1
    if done < len(known):
        return fail(f"{len(known) - done} of {len(known)} pending, from {known[done]}", _MIGRATE)
    return ok(f"all {len(known)} are applied")


@check("drift", "Schema", needs=Need.USERS)
def drift(patient: Patient) -> Result:
    """Look whether the tables still are what the applied migrations made of them."""
    if not _readable(patient.conn):
        return skipped(f"this role may not read {INTERNAL}.{VERSION_TABLE}")
    site = survey(patient.conn, patient.layout)
    found = plan(patient.conn, site)
    if found.current is None:
        return skipped("nothing is migrated yet")
    if not found.drifted and site.earlier is not None:
        return warn(
            "tokens in clear are still kept beside their hashes, for an app with an earlier layer",
            "secops migrate contract --dry-run   # who still uses them\nsecops migrate contract",
        )
    if not found.drifted:
        return ok("the tables are as the migrations left them")
    return fail(
        "somebody changed it since: "
        + "; ".join(
            each.finding.difference or f"missing: {each.step.title}" for each in found.drifted
        ),
        f"secops migrate check\n{_MIGRATE}",
    )


def _readable(conn: Connection) -> bool:
    row = conn.execute(
        """SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s""",
        (INTERNAL, VERSION_TABLE),
    ).fetchone()
    return row is None or row[0] is True


@check("indexes", "Indexes", needs=Need.USERS)
def indexes(patient: Patient) -> Result:
    """Look for indexes that an interrupted build left behind: each write pays, no query gains."""
    layout = patient.layout
    rows = patient.conn.execute(
        """SELECT format('%%I.%%I', n.nspname, c.relname)
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           -- A partition counts as the table that it is part of.
           JOIN pg_class t ON t.oid = coalesce(pg_partition_root(i.indrelid), i.indrelid)
           JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE NOT i.indisvalid AND c.relkind = 'i'
             AND (tn.nspname, t.relname) IN ((%s, %s), (%s, 'refresh_tokens'), (%s, 'security_events'))
             AND NOT EXISTS (SELECT FROM pg_stat_progress_create_index p
                             WHERE p.index_relid = i.indexrelid)
           ORDER BY 1""",
        (layout.users.schema, layout.users.name, layout.schema, layout.schema),
    ).fetchall()
    broken = [str(row[0]) for row in rows]
    if broken:
        return warn(
            f"not valid, so no query uses them: {', '.join(broken)}",
            "\n".join(f"REINDEX INDEX CONCURRENTLY {name};" for name in broken),
        )
    return ok("none is left unfinished")
