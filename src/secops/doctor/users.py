"""The app's users table: which it is, and whose."""

from __future__ import annotations

from psycopg import sql

from secops.doctor.check import Need, Patient, Result, check, fail, ok, warn
from secops.schema.detect import detect


@check("users-table", "Users table")
def table(patient: Patient) -> Result:
    """Find the users table, as every command does."""
    layout = detect(patient.conn, patient.settings)
    patient.know(layout)
    return ok(describe(patient))


def describe(patient: Patient) -> str:
    """Say in a line what was detected."""
    users = patient.layout.users
    parts = [f"key {users.id} ({users.id_type})", f"e-mail {users.email}"]
    for what, column in (
        ("name", users.display_name),
        ("active", users.active),
        ("password", users.password),
    ):
        if column is not None:
            parts.append(f"{what} {column}")
    return f"{users.schema}.{users.name}: {', '.join(parts)}"


@check("users-owner", "Owner of the users table", needs=Need.USERS)
def owner(patient: Patient) -> Result:
    """Migrations add columns to it, and PostgreSQL lets only the owner do that."""
    users = patient.layout.users
    row = patient.conn.execute(
        """SELECT r.rolname::text, r.rolsuper, pg_has_role(c.relowner, 'USAGE'), current_user::text,
                  (SELECT count(*) FROM pg_attribute a WHERE a.attrelid = c.oid AND NOT a.attisdropped
                   AND a.attname IN ('failed_login_attempts', 'locked_until')) = 2
           FROM pg_class c
           JOIN pg_namespace n ON n.oid = c.relnamespace
           JOIN pg_roles r ON r.oid = c.relowner
           WHERE n.nspname = %s AND c.relname = %s""",
        (users.schema, users.name),
    ).fetchone()
    assert row is not None
    name, superuser, ours, us, complete = row
    if ours:
        return ok(f"{name}, as whom role {us} may act")
    who = sql.Identifier(str(us))
    if superuser:  # whom nobody should join
        comment = f"-- Run `secops migrate` as {name}, or make {us} the owner where the app needs no other:"
        words = sql.SQL("ALTER TABLE {} OWNER TO {};").format(users.table, who)
    else:  # the app keeps its table
        comment = f"-- Run `secops migrate` as {name}, or let {us} act as it:"
        words = sql.SQL("GRANT {} TO {};").format(sql.Identifier(str(name)), who)
    mend = f"{comment}\n{words.as_string()}"
    evidence = f"{name}; role {us} may not change it"
    if complete:
        return warn(f"{evidence}, which only later migrations would need", mend)
    return fail(f"{evidence}, and migrations must", mend)
