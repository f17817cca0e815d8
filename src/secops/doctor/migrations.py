"""Is the database what this version of secops needs it to be?"""

from __future__ import annotations

import ast
from typing import TYPE_CHECKING

from secops.database.layout import INTERNAL
from secops.doctor.check import Need, Patient, Result, check, fail, ok, skipped, warn
from secops.resources import shipped

if TYPE_CHECKING:
    from pathlib import Path


@check("migrations", "Migrations")
def applied(patient: Patient) -> Result:
    """Compare the version that the database records with the versions that came along."""
    row = patient.conn.execute(
        """SELECT has_schema_privilege(n.oid, 'USAGE') AND has_table_privilege(c.oid, 'SELECT')
           FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = 'alembic_version'""",
        (INTERNAL,),
    ).fetchone()
    chain = versions(shipped("migrations") / "versions")
    if row is None:
        return fail(
            f"none of {len(chain)} is applied",
            "secops migrate plan   # what would run\nsecops migrate",
        )
    if row[0] is not True:
        return skipped(f"this role may not read {INTERNAL}.alembic_version")
    rows = patient.conn.execute(f"SELECT version_num FROM {INTERNAL}.alembic_version").fetchall()  # noqa: S608  a constant
    current = [str(each[0]) for each in rows]
    if unknown := [each for each in current if each not in chain]:
        return fail(
            f"the database is at {', '.join(unknown)}, which this version of secops does not know",
            "Use the secops that migrated it, or a newer one: pip install --upgrade secops",
        )
    done = max((chain.index(each) + 1 for each in current), default=0)
    if done < len(chain):
        return fail(
            f"{len(chain) - done} of {len(chain)} pending, from {chain[done]}",
            "secops migrate plan   # what would run\nsecops migrate",
        )
    return ok(f"all {len(chain)} are applied")


@check("indexes", "Indexes", needs=Need.USERS)
def indexes(patient: Patient) -> Result:
    """Look for indexes that an interrupted build left behind: each write pays, no query gains."""
    layout = patient.layout
    rows = patient.conn.execute(
        """SELECT format('%%I.%%I', n.nspname, c.relname)
           FROM pg_index i
           JOIN pg_class c ON c.oid = i.indexrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_class t ON t.oid = i.indrelid
           JOIN pg_namespace tn ON tn.oid = t.relnamespace
           WHERE NOT i.indisvalid
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


def versions(folder: Path) -> list[str]:
    """Return the revisions of a folder of migrations, oldest first.

    They are read, not imported: what runs migrations takes as long to import as all checks to run.
    """
    follows: dict[str | None, str] = {}
    for path in sorted(folder.glob("[0-9]*.py")):
        names = _constants(path)
        follows[names.get("down_revision")] = str(names["revision"])
    chain: list[str] = []
    while (following := follows.get(chain[-1] if chain else None)) is not None:
        chain.append(following)
    return chain


def _constants(path: Path) -> dict[str, str | None]:
    found: dict[str, str | None] = {}
    for node in ast.parse(path.read_text(encoding="utf-8")).body:
        value = getattr(node, "value", None)
        if not isinstance(value, ast.Constant):
            continue
        if isinstance(node, ast.Assign) and isinstance(node.targets[0], ast.Name):
            found[node.targets[0].id] = value.value  # type: ignore[assignment]  # text, or None
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            found[node.target.id] = value.value  # type: ignore[assignment]
    return found
