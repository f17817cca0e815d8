"""The three roles: what the script grants is enough for each, and not more."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from psycopg import errors as pg

from secops.schema.detect import detect
from secops.schema.grants import ROLES, grants, missing
from support.forked import Forked
from support.schemas import APPS, leftovers, shape

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.databases import Database

# Roles belong to the server, not to the database: these are made and dropped around each test.
LOGINS = ("app_login", "deploy_login", "operator_login", "reader_login")


@pytest.fixture
def secops(tmp_path: Path) -> Forked:
    return Forked(tmp_path)


@pytest.fixture
def app_db(app_db: Database) -> Iterator[Database]:
    """The demo app's database, where the app logs in as a role of its own that owns its table."""
    for name in LOGINS:
        app_db.execute(f"CREATE ROLE {name} LOGIN")
    app_db.execute("ALTER TABLE users OWNER TO app_login")
    yield app_db
    for name in (*LOGINS, *ROLES.values()):
        app_db.execute(
            f"""DO $$ BEGIN
                IF EXISTS (SELECT FROM pg_roles WHERE rolname = '{name}') THEN
                    DROP OWNED BY {name} CASCADE; DROP ROLE {name};
                END IF; END $$"""
        )


def prepare(database: Database) -> list[str]:
    """Run the script as its reader would; returns what the server remarks."""
    said: list[str] = []
    with database.connect() as conn:
        conn.add_notice_handler(lambda each: said.append(str(each.message_primary)))
        conn.execute(grants(detect(conn, database.settings())).encode())
        if conn.execute("SELECT 1 FROM pg_roles WHERE rolname = 'deploy_login'").fetchone():
            conn.execute("GRANT secops_migrator TO deploy_login")
            conn.execute("ALTER ROLE deploy_login SET role = secops_migrator")
            conn.execute("GRANT secops_operator TO operator_login")
            conn.execute("GRANT secops_reader TO reader_login")
    return said


def as_user(secops: Forked, database: Database, user: str) -> Forked:
    return secops.on(database, SECOPS_DATABASE_URL=database.server.url(database.name, user))


def refused(database: Database, user: str, statement: str) -> None:
    with database.connect(user) as conn, pytest.raises(pg.InsufficientPrivilege):
        conn.execute(statement.encode())


def migrated(secops: Forked, database: Database) -> None:
    prepare(database)
    done = as_user(secops, database, "deploy_login")("migrate", "--yes")
    assert done.code == 0, done.err
    prepare(database)


def test_the_migrator_migrates_and_the_app_can_use_what_it_gets(
    secops: Forked, app_db: Database
) -> None:
    said = prepare(app_db)
    assert any("run `secops migrate`" in each for each in said)
    deploy = as_user(secops, app_db, "deploy_login")
    assert deploy("migrate", "--yes").code == 0
    assert deploy("migrate", "check").code == 0
    with app_db.connect("app_login") as conn:
        conn.execute(
            """INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
               SELECT id, 'h', now() FROM users LIMIT 1"""
        )
        conn.execute("UPDATE refresh_tokens SET revoked = true")
        conn.execute("DELETE FROM users")
        conn.execute(
            """INSERT INTO security_events (event_type, event_category, severity, success)
               VALUES ('login_failed', 'authentication', 'warning', false)"""
        )
    assert leftovers(app_db) == []
    total = deploy("migrate", "down", "base", "--dry-run", "--json").json()
    lost = str(sum(item["count"] for item in total["items"]))
    assert deploy("migrate", "down", "base", "--yes", "--accept-loss", lost).code == 0


def test_who_lacks_privileges_is_told_the_grants_and_touches_nothing(
    secops: Forked, app_db: Database
) -> None:
    before = shape(app_db)
    done = as_user(secops, app_db, "deploy_login")("migrate", "--yes", "--json")
    assert done.code == 8, done.err
    error = done.error()
    assert "nothing was touched" in error["message"]
    assert 'GRANT "app_login" TO "deploy_login";' in error["hint"]
    assert shape(app_db) == before
    # What the hint says is all that it takes.
    for line in error["hint"].splitlines()[1:]:
        app_db.execute(line)
    again = as_user(secops, app_db, "deploy_login")("migrate", "--yes")
    assert again.code == 0, again.err


def test_a_table_of_a_superuser_is_named_and_nobody_joins_the_superuser(
    secops: Forked, app_db: Database
) -> None:
    app_db.execute("ALTER TABLE users OWNER TO postgres")
    said = prepare(app_db)
    assert any("users belongs to the superuser postgres" in each for each in said)
    assert app_db.value("SELECT pg_has_role('secops_migrator', 'postgres', 'MEMBER')") is False
    done = as_user(secops, app_db, "deploy_login")("migrate", "--yes")
    assert done.code == 8
    assert "ALTER TABLE" in done.err


def test_the_script_can_be_run_again_and_gives_each_role_all_it_needs(
    secops: Forked, app_db: Database
) -> None:
    migrated(secops, app_db)
    before = shape(app_db)
    prepare(app_db)
    assert shape(app_db) == before
    for user, role in (
        ("deploy_login", "migrator"),
        ("operator_login", "operator"),
        ("reader_login", "reader"),
    ):
        with app_db.connect(user) as conn:
            layout = detect(conn, app_db.settings())
            assert missing(conn, layout, role) == [], role  # type: ignore[arg-type]  # of the three
    with app_db.connect("reader_login") as conn:
        lacking = [str(each) for each in missing(conn, detect(conn, app_db.settings()), "operator")]
    assert "INSERT on table public.security_events" in lacking
    assert not any(each.startswith("SELECT on table secops") for each in lacking)


def test_every_grant_that_is_missed_is_one_that_helps(secops: Forked, app_db: Database) -> None:
    migrated(secops, app_db)
    with app_db.connect("app_login") as conn, app_db.connect() as admin:
        layout = detect(conn, app_db.settings())
        for role in ROLES:
            for each in missing(conn, layout, role):
                if each.kind != "owner":
                    admin.execute(each.grant("app_login"))
            assert all(each.kind == "owner" for each in missing(conn, layout, role))


def test_the_reader_reads_no_secret_and_changes_nothing(secops: Forked, app_db: Database) -> None:
    migrated(secops, app_db)
    with app_db.connect("reader_login") as conn:
        conn.execute("SELECT id, email, first_name, is_active, locked_until FROM users")
        conn.execute("SELECT count(*), max(expires_at) FROM refresh_tokens WHERE NOT used")
        conn.execute("SELECT * FROM security_events")
        conn.execute("SELECT secops.try_inet('::1') FROM secops.accounts, secops.operations")
    for statement in (
        "SELECT password_hash FROM users",
        "SELECT token_hash FROM refresh_tokens",
        "UPDATE users SET locked_until = NULL",
        "DELETE FROM refresh_tokens",
        "INSERT INTO security_events SELECT * FROM security_events",
        "INSERT INTO secops.accounts (user_id) SELECT id FROM users",
        "CREATE TABLE secops.mine (a int)",
        "CREATE TABLE public.mine (a int)",
    ):
        refused(app_db, "reader_login", statement)


def test_the_operator_changes_lockouts_and_sessions_and_nothing_else(
    secops: Forked, app_db: Database
) -> None:
    migrated(secops, app_db)
    with app_db.connect("operator_login") as conn:
        conn.execute("UPDATE users SET failed_login_attempts = 0, locked_until = NULL")
        conn.execute("SELECT id FROM users FOR UPDATE SKIP LOCKED")
        conn.execute("UPDATE refresh_tokens SET revoked = true, revoked_reason = 'admin'")
        conn.execute("DELETE FROM refresh_tokens WHERE expires_at < now()")
    for statement in (
        "SELECT password_hash FROM users",
        "UPDATE users SET password_hash = 'x'",
        "UPDATE users SET email = 'x'",
        "UPDATE users SET is_active = true",
        "DELETE FROM users",
        "UPDATE refresh_tokens SET expires_at = now() + interval '1 year'",
        "UPDATE refresh_tokens SET user_id = user_id",
        "UPDATE refresh_tokens SET token_hash = 'x'",
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at) SELECT id, 'x', now() FROM users",
        "UPDATE security_events SET message = 'x'",
        "DELETE FROM security_events",
        "DELETE FROM secops.operations",
        "UPDATE secops.alembic_version SET version_num = 'x'",
        "ALTER TABLE users ADD COLUMN mine int",
    ):
        refused(app_db, "operator_login", statement)


def test_names_cannot_break_out_of_the_script(database: Database) -> None:
    name = "a\"b'c$do$d{}%e\n-- f"
    quoted = '"' + name.replace('"', '""') + '"'
    with database.connect() as conn:
        conn.execute(f"CREATE SCHEMA {quoted}".encode())
        conn.execute(
            f'CREATE TABLE {quoted}."users" (id int PRIMARY KEY, "e-mail" text, email text)'.encode()
        )
    prepare(database)
    with database.connect() as conn:
        found: Any = conn.execute(
            "SELECT has_schema_privilege('secops_reader', oid, 'USAGE') FROM pg_namespace "
            "WHERE nspname = %s",
            (name,),
        ).fetchone()
        assert found == (True,)
        for role in ROLES.values():
            conn.execute(psycopg.sql.SQL("DROP OWNED BY {0}; DROP ROLE {0}").format(
                psycopg.sql.Identifier(role)
            ))  # fmt: skip


def test_an_app_of_another_shape_is_granted_by_its_names(secops: Forked, app_db: Database) -> None:
    app_db.execute("DROP TABLE users")
    app = APPS["mixed case"]
    app.create(app_db)
    app_db.execute(f"ALTER TABLE {app.users} OWNER TO app_login")
    migrated(secops, app_db)
    with app_db.connect("reader_login") as conn:
        conn.execute('SELECT "userId", email FROM "My App"."Users"')
    refused(app_db, "reader_login", 'SELECT password_hash FROM "My App"."Users"')
