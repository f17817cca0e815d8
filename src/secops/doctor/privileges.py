"""Who we are in the database, and what we may do."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.doctor.check import Check, Need, Patient, Result, Status, check, ok, warn
from secops.schema import grants

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.grants import Privilege, RoleKind


@check("role", "Role")
def role(patient: Patient) -> Result:
    """Say who we are; a superuser can do more harm than any command needs."""
    row = patient.conn.execute(
        """SELECT current_user::text, session_user::text, r.rolsuper,
                  ARRAY(SELECT g.rolname::text FROM pg_roles g
                        WHERE g.rolname = ANY (%s) AND pg_has_role(g.oid, 'USAGE') ORDER BY 1)
           FROM pg_roles r WHERE r.rolname = current_user""",
        (list(grants.ROLES.values()),),
    ).fetchone()
    assert row is not None
    us, session, superuser, member_of = row
    who = f"{us}" if us == session else f"{us} (logged in as {session})"
    if superuser:
        return warn(
            f"{who}, a superuser: no privilege limits a mistake",
            "`secops init --print-grants` prints three roles with no more than they need.",
        )
    assert isinstance(member_of, list)
    return ok(f"{who}{', in ' + ', '.join(member_of) if member_of else ''}")


def _may(kind: RoleKind, title: str, what: str, lacking: Status) -> Check:
    @check(f"privileges-{kind}", title, needs=Need.USERS)
    def look(patient: Patient) -> Result:
        conn, layout = patient.conn, patient.layout
        missing = [
            _as_far_as_there(conn, each)
            for each in grants.missing(conn, layout, kind)
            # The owner of the users table has a check of its own, which says more.
            if not (each.kind == "owner" and each.name[1] == layout.users.name)
        ]
        us, lines = _us(conn), []
        if kind == "migrator" and (database := _cannot_create_schema(conn)):
            lines.append(
                sql.SQL("GRANT CREATE ON DATABASE {} TO {};")
                .format(sql.Identifier(database), sql.Identifier(us))
                .as_string()
            )
        lines += dict.fromkeys(f"{each.grant(us).as_string()};" for each in missing)
        if not lines:
            return ok(f"nothing is missing {what}")
        plural = "privilege is" if len(lines) == 1 else "privileges are"
        return Result(lacking, f"{len(lines)} {plural} missing {what}", "\n".join(lines))

    return look


def _us(conn: Connection) -> str:
    row = conn.execute("SELECT current_user::text").fetchone()
    assert row is not None
    return str(row[0])


def _as_far_as_there(conn: Connection, each: Privilege) -> Privilege:
    """Leave out columns that only a migration will bring: a GRANT that names them would fail."""
    if not each.columns:
        return each
    rows = conn.execute(
        """SELECT a.attname::text FROM pg_attribute a
           JOIN pg_class c ON c.oid = a.attrelid
           JOIN pg_namespace n ON n.oid = c.relnamespace
           WHERE n.nspname = %s AND c.relname = %s AND NOT a.attisdropped""",
        each.name,
    ).fetchall()
    there = {str(row[0]) for row in rows}
    return replace(each, columns=tuple(column for column in each.columns if column in there))


def _cannot_create_schema(conn: Connection) -> str | None:
    """Return the database's name where the schema of secops must be made and may not be."""
    row = conn.execute(
        """SELECT current_database()::text
           WHERE NOT EXISTS (SELECT FROM pg_namespace WHERE nspname = %s)
             AND NOT has_database_privilege(current_database(), 'CREATE')""",
        (INTERNAL,),
    ).fetchone()
    return None if row is None else str(row[0])


reader = _may("reader", "May read", "for reports and `show user`", Status.FAIL)
operator = _may("operator", "May act", "for lock, unlock, revoke, prune and import", Status.WARN)
migrator = _may("migrator", "May migrate", "for `secops migrate`", Status.WARN)
