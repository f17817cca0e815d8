"""The three roles: what each can do, and that it can do nothing else. Nobody here is a superuser.

A superuser only sets the scene and looks at what came of it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import psycopg
import pytest

from secops.schema.detect import detect
from secops.schema.grants import ROLES, grants
from support.databases import Command, Database, Result
from support.mailbox import mailbox

# Logins, as the head of the script describes them.
MEMBERS = {"deploy": "secops_migrator", "opal": "secops_operator", "rhea": "secops_reader"}
OURS = ("public.users", "public.refresh_tokens", "public.security_events")
ROLLOUTS = ("secops.rollouts", "secops.rollout_journal", "secops.rollout_readings")
BACKEND = ("secops.login_attempts", "secops.rate_limits", "secops.outbox")
INTERNAL = ("secops.accounts", "secops.operations", "secops.alembic_version", *ROLLOUTS, *BACKEND)
EVENT = (
    "INSERT INTO security_events (event_type, event_category, severity, user_id, email, ip_address,"
    " success, created_at) SELECT 'login_failed', 'authentication', 'warning', id, email,"
    " '203.0.113.7', false, now() - interval '5 min' FROM users CROSS JOIN generate_series(1, 6)"
)
TOKEN = (
    "INSERT INTO refresh_tokens (user_id, token_hash, device_info, ip_address, expires_at)"
    " SELECT id, 'secret-' || email || n, 'Mozilla/5.0', '203.0.113.7',"
    " now() + CASE n WHEN 1 THEN interval '7 days' ELSE interval '-30 days' END"
    " FROM users CROSS JOIN generate_series(1, 2) n"
)


@dataclass
class Stage:
    """A database with the roles on it, and the command as each of them."""

    database: Database
    secops: Command

    def run(self, who: str, *arguments: str, **env: str) -> Result:
        """Run the command as a login."""
        url = self.database.server.url(self.database.name, who)
        return self.secops(*arguments, env={"SECOPS_DATABASE_URL": url, **env})

    def execute(self, who: str, statement: str) -> list[tuple[object, ...]]:
        """Run SQL as a login."""
        with self.database.connect(who) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def denied(self, who: str, statement: str) -> None:
        """Make sure that SQL is refused for want of a privilege, and for nothing else."""
        with pytest.raises(psycopg.errors.InsufficientPrivilege):
            self.execute(who, statement)

    def grant(self) -> None:
        """Run the script, as `secops init --print-grants` prints it."""
        with self.database.connect() as conn:
            conn.execute(grants(detect(conn, self.database.settings())).encode())

    def contents(self) -> dict[str, str]:
        """Return a digest of each table's rows, and of the schema's shape."""
        found = {
            table: str(
                self.database.value(
                    f"SELECT md5(coalesce(string_agg(t::text, '|' ORDER BY t::text), '')) FROM {table} t"
                )
            )
            for table in OURS + INTERNAL
        }
        found["shape"] = str(
            self.database.value(
                "SELECT md5(string_agg(format('%s %s %s %s', attrelid::regclass, attname, atttypid,"
                " attnotnull), ',' ORDER BY attrelid, attnum)) FROM pg_attribute"
                " WHERE attrelid >= 16384"
            )
        )
        return found


def _stage(database: Database, secops: Command) -> Iterator[Stage]:
    names = (*MEMBERS, *ROLES.values(), "app")
    # Roles are the server's: an earlier test may have left some.
    database.execute(f"DROP ROLE IF EXISTS {', '.join(names)}")
    database.execute("CREATE ROLE app LOGIN; ALTER TABLE users OWNER TO app")
    yield Stage(database, secops)
    there = database.execute(
        "SELECT rolname FROM pg_roles WHERE rolname = ANY (%s)", (list(names),)
    )
    listed = ", ".join(str(row[0]) for row in there)
    database.execute(f"DROP OWNED BY {listed} CASCADE; DROP ROLE {listed}")


def _logins(stage: Stage) -> None:
    for name, role in MEMBERS.items():
        stage.database.execute(f"CREATE ROLE {name} LOGIN; GRANT {role} TO {name}")
    stage.database.execute("ALTER ROLE deploy SET role = secops_migrator")


@pytest.fixture
def stage(hardened: Database, secops: Command) -> Iterator[Stage]:
    """A hardened database, migrated by a superuser before anybody thought of roles."""
    for made in _stage(hardened, secops):
        # The users table has another owner now, and whoever owns it must reach the other two.
        assert secops.on(hardened)("migrate", "--yes").code == 0
        made.grant()
        _logins(made)
        hardened.execute(f"{EVENT}; {TOKEN}")
        yield made


@pytest.fixture
def fresh(app_db: Database, secops: Command) -> Iterator[Stage]:
    """A database on which secops was never run."""
    for made in _stage(app_db, secops):
        made.grant()
        _logins(made)
        yield made


def _reports(stage: Stage) -> list[str]:
    return [str(row["name"]) for row in stage.run("rhea", "report", "--json").json()]


def test_the_reader_can_run_every_report_and_the_commands_that_look(stage: Stage) -> None:
    reports = _reports(stage)
    assert len(reports) >= 12
    for name in reports:
        done = stage.run("rhea", "report", name, "--json")
        assert (done.code, name) == (0, name), done.err
    assert stage.run("rhea", "report", "failed-logins", "--json").json()
    shown = stage.run("rhea", "show", "user", "alice@example.com")
    assert shown.code == 0, shown.err
    told = stage.run("rhea", "doctor")
    assert told.code == 0, told.out
    assert "✓ May read" in told.out
    assert "! May act" in told.out


@pytest.mark.parametrize(
    "words",
    [
        ("lock", "user", "alice@example.com"),
        ("unlock", "user", "alice@example.com"),
        ("unlock", "user", "--all-locked", "--yes"),
        ("revoke", "sessions", "--user", "alice@example.com", "--yes"),
        ("revoke", "sessions", "--everyone", "--yes"),
        ("prune", "tokens", "--older-than", "1d", "--yes"),
        ("import", "events", "events.jsonl", "--yes"),
    ],
    ids=" ".join,
)
def test_no_command_changes_anything_as_the_reader(stage: Stage, words: tuple[str, ...]) -> None:
    stage.database.execute(
        "UPDATE users SET locked_until = now() + interval '1 h' WHERE email = 'alice@example.com'"
    )
    (stage.secops.home / "events.jsonl").write_text(
        '{"event_type": "login_failed", "event_category": "authentication", "severity": "info",'
        ' "email": "x@example.com", "success": false, "created_at": "2026-01-01T00:00:00Z"}\n'
    )
    before = stage.contents()
    done = stage.run("rhea", *words, "--reason", "none")
    assert done.code == 1, done.out + done.err
    assert "may not" in done.err or "permission" in done.err or "owner" in done.err, done.err
    assert "Traceback" not in done.err
    assert stage.contents() == before


def _columns(stage: Stage, table: str) -> list[str]:
    return [
        str(row[0])
        for row in stage.database.execute(
            "SELECT attname FROM pg_attribute"
            " WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped",
            (table,),
        )
    ]


def test_the_reader_can_change_nothing_by_sql_either(stage: Stage) -> None:
    before = stage.contents()
    for table in OURS + INTERNAL:
        for column in _columns(stage, table):
            stage.denied("rhea", f"UPDATE {table} SET {column} = {column}")
            stage.denied("rhea", f"INSERT INTO {table} ({column}) VALUES (NULL)")
        stage.denied("rhea", f"INSERT INTO {table} DEFAULT VALUES")
        stage.denied("rhea", f"DELETE FROM {table}")
        stage.denied("rhea", f"TRUNCATE {table} CASCADE")
        stage.denied("rhea", f"DROP TABLE {table} CASCADE")
        stage.denied("rhea", f"ALTER TABLE {table} ADD COLUMN x int")
        stage.denied("rhea", f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        stage.denied("rhea", f"BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")
        stage.denied("rhea", f"CREATE INDEX ON {table} (({_columns(stage, table)[0]}))")
    for statement in (
        "CREATE TABLE public.mine (x int)",
        "CREATE TABLE secops.mine (x int)",
        "CREATE SCHEMA mine",
        "CREATE ROLE another",
        "DROP SCHEMA secops CASCADE",
        "DROP FUNCTION secops.try_inet(text)",
        "SET ROLE secops_operator",
        "SET ROLE secops_migrator",
        "SET ROLE app",
        "SET ROLE postgres",
    ):
        stage.denied("rhea", statement)
    assert stage.contents() == before


@pytest.mark.parametrize("who", ["rhea", "opal"])
def test_reader_and_operator_cannot_read_a_password_or_the_hash_of_a_token(
    stage: Stage, who: str
) -> None:
    for statement in (
        "SELECT password_hash FROM users",
        "SELECT * FROM users",
        "SELECT users FROM users",
        "SELECT count(password_hash) FROM users",
        "SELECT 1 FROM users WHERE password_hash LIKE '$argon2id$%'",
        "SELECT id FROM users ORDER BY password_hash",
        "COPY users TO STDOUT",
        "COPY users (password_hash) TO STDOUT",
        "SELECT token_hash FROM refresh_tokens",
        "SELECT * FROM refresh_tokens",
        "SELECT 1 FROM refresh_tokens WHERE token_hash LIKE 'secret-%'",
        "UPDATE users SET failed_login_attempts = 0 RETURNING password_hash",
        "DELETE FROM refresh_tokens RETURNING token_hash",
        "DELETE FROM refresh_tokens WHERE token_hash = 'secret-alice@example.com1'",
        "SELECT pg_read_file('PG_VERSION')",
    ):
        stage.denied(who, statement)
    for told in (
        stage.run(who, "show", "user", "alice@example.com", "--json"),
        stage.run(who, "report", "sessions", "--json"),
    ):
        assert told.code == 0, told.err
        assert "argon2id" not in told.out
        assert "secret-" not in told.out


def test_the_operator_can_lock_unlock_and_revoke_and_each_is_recorded(stage: Stage) -> None:
    for words in (
        ("lock", "user", "alice@example.com"),
        ("unlock", "user", "alice@example.com"),
        ("lock", "user", "bob@example.com", "--for", "2h", "--revoke-sessions"),
        ("revoke", "sessions", "--user", "carol@example.com", "--yes"),
        ("revoke", "sessions", "--ip", "203.0.113.7/32", "--user", "dave@example.com", "--yes"),
        ("revoke", "sessions", "--everyone", "--yes"),
    ):
        done = stage.run("opal", *words, "--reason", "drill", "--json")
        assert done.code == 0, (words, done.err)
    locked = stage.database.execute("SELECT email FROM users WHERE locked_until > now()")
    assert locked == [("bob@example.com",)]
    live = "SELECT count(*) FROM refresh_tokens WHERE revoked IS NOT TRUE AND expires_at > now()"
    assert stage.database.value(live) == 0
    kinds = stage.database.execute(
        "SELECT DISTINCT event_type FROM security_events WHERE event_category = 'operator'"
        " AND event_type <> 'schema_migrated' ORDER BY 1"
    )
    assert kinds == [("account_locked",), ("account_unlocked",), ("session_revoked",)]
    assert stage.database.value("SELECT count(*) FROM secops.operations") >= 5
    told = stage.run("opal", "doctor")
    assert told.code == 0, told.out
    assert "✓ May act" in told.out


def test_the_operator_can_prune_and_import(stage: Stage) -> None:
    done = stage.run(
        "opal", "prune", "tokens", "--older-than", "1d", "--yes", "--reason", "drill", "--json"
    )
    assert done.code == 0, done.err
    assert stage.database.value("SELECT count(*) FROM refresh_tokens WHERE expires_at < now()") == 0
    assert stage.database.value("SELECT count(*) FROM refresh_tokens") > 0
    events = stage.secops.home / "events.jsonl"
    events.write_text(
        '{"event_type": "login_failed", "event_category": "authentication", "severity": "info",'
        ' "email": "x@example.com", "success": false, "created_at": "2026-01-01T00:00:00Z"}\n'
    )
    done = stage.run(
        "opal", "import", "events", str(events), "--yes", "--reason", "drill", "--json"
    )
    assert done.code == 0, done.err
    found = "SELECT count(*) FROM security_events WHERE email = 'x@example.com'"
    assert stage.database.value(found) == 1


def test_the_operator_can_send_mails_and_sweep_what_the_backend_counts_by(stage: Stage) -> None:
    for statement in (
        "INSERT INTO secops.outbox (kind, address) VALUES ('account_locked', 'alice@example.com')",
        "INSERT INTO secops.outbox (kind, address, sent_at) VALUES ('k', 'a@b.c', now() - interval '40 d')",
        "INSERT INTO secops.login_attempts (identifier, taken_at) VALUES ('a', now() - interval '9 d')",
        "INSERT INTO secops.rate_limits VALUES ('a', now() - interval '1 s')",
    ):
        stage.database.execute(statement)
    with mailbox() as box:
        run = stage.run(
            "opal",
            "cron",
            "mail",
            SECOPS_MAIL_FROM="a@example.com",
            SECOPS_SMTP_URL=f"smtp://127.0.0.1:{box.port}?tls=off",
        )
    assert run.out == "cron mail: 1 mail sent.\n", run.err
    swept = stage.run("opal", "cron", "cleanup")
    assert swept.code == 0, swept.err
    assert "1 old mail deleted; 2 counts of login attempts deleted" in swept.out


def test_the_operator_can_roll_out_and_back_and_the_reader_can_look(stage: Stage) -> None:
    home = stage.secops.home
    (home / "profiles" / "rollouts").mkdir(parents=True)
    (home / "profiles" / "rollouts" / "steps.yaml").write_text(
        "about: One step.\nstages:\n  - {id: first, set: {JWT_EXPIRATION: 1h}, soak: {min: 1h}}\n"
    )
    (home / ".env").write_text("JWT_EXPIRATION=30d\n")
    (home / "secops.yaml").write_text("targets:\n  prod: {kind: dotenv, path: .env}\n")
    done = stage.run("opal", "rollout", "--stage", "first", "--yes", "--reason", "drill")
    assert done.code == 0, done.err
    assert stage.run("opal", "rollout", "tick").code == 0
    for words in (["rollout", "status"], ["rollout", "history"], ["drift"]):
        looked = stage.run("rhea", *words)
        assert looked.code == 0, looked.err
    refused = stage.run("rhea", "rollout", "tick")
    assert refused.code == 1
    assert "may not do this" in refused.err
    back = stage.run("opal", "rollback", "--now")
    assert back.code == 0, back.err
    assert "JWT_EXPIRATION=30d" in (home / ".env").read_text()


def test_the_operator_can_touch_nothing_but_locks_and_sessions(stage: Stage) -> None:
    before = stage.contents()
    allowed = {
        "public.users": {"failed_login_attempts", "locked_until"},
        "public.refresh_tokens": {"revoked", "revoked_at", "revoked_reason"},
        "public.security_events": set(),
        "secops.operations": {"finished_at", "matched", "changed", "detail"},
        "secops.alembic_version": set(),
        "secops.rollout_journal": set(),
        "secops.rollout_readings": set(),
    }
    for table, columns in allowed.items():
        for column in _columns(stage, table):
            statement = f"UPDATE {table} SET {column} = {column}"
            if column in columns:
                stage.execute("opal", f"BEGIN; {statement}; ROLLBACK")
            else:
                stage.denied("opal", statement)
    for statement in (
        "DELETE FROM users",
        "INSERT INTO users (email, password_hash) VALUES ('x', 'y')",
        # Whoever can write a token can log in as anybody.
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at) SELECT id, 'f', now() FROM users",
        # Events are evidence.
        "DELETE FROM security_events",
        "DELETE FROM secops.operations",
        "DELETE FROM secops.accounts",
        *(f"DELETE FROM {table}" for table in ROLLOUTS),
        "UPDATE secops.rollouts SET started_at = now()",
        "UPDATE secops.alembic_version SET version_num = '0001'",
    ):
        stage.denied("opal", statement)
    for table in OURS + INTERNAL:
        stage.denied("opal", f"TRUNCATE {table} CASCADE")
        stage.denied("opal", f"DROP TABLE {table} CASCADE")
        stage.denied("opal", f"ALTER TABLE {table} ADD COLUMN x int")
        stage.denied("opal", f"ALTER TABLE {table} DISABLE TRIGGER ALL")
        stage.denied("opal", f"CREATE INDEX ON {table} (({_columns(stage, table)[0]}))")
    for statement in (
        "CREATE TABLE public.mine (x int)",
        "CREATE TABLE secops.mine (x int)",
        "SET ROLE app",
        "SET ROLE secops_migrator",
    ):
        stage.denied("opal", statement)
    assert stage.contents() == before


@pytest.mark.parametrize("who", ["rhea", "opal"])
def test_only_the_migrator_can_take_the_schema_away(stage: Stage, who: str) -> None:
    before = stage.contents()
    asked = stage.secops.on(stage.database)("migrate", "down", "base", "--yes", "--json")
    loss = re.search(r"--accept-loss (\d+)", asked.err)
    assert loss, asked.err
    done = stage.run(who, "migrate", "down", "base", "--yes", "--accept-loss", loss[1])
    assert done.code in {1, 8}, done.out + done.err
    assert "may not" in done.err
    assert stage.contents() == before
    # They belong to the superuser who migrated; the script warns of that, and says to do this.
    told = stage.run("deploy", "doctor").out
    assert "! May migrate" in told
    for table in ("refresh_tokens", "security_events"):
        assert f'ALTER TABLE "public"."{table}" OWNER TO "secops_migrator";' in told
        stage.database.execute(f"ALTER TABLE {table} OWNER TO app")
    stage.grant()
    done = stage.run("deploy", "migrate", "down", "base", "--yes", "--accept-loss", loss[1])
    assert done.code == 0, done.err
    assert stage.database.value("SELECT to_regclass('security_events')") is None


def test_the_migrator_migrates_from_scratch_and_then_all_three_can_work(fresh: Stage) -> None:
    told = fresh.run("deploy", "doctor")
    assert "✓ May migrate" in told.out
    assert "✓ Owner of the users table" in told.out
    done = fresh.run("deploy", "migrate", "--yes")
    assert done.code == 0, done.err
    assert fresh.run("deploy", "migrate", "check").code == 0
    owners = fresh.database.execute(
        "SELECT DISTINCT pg_get_userbyid(relowner) FROM pg_class WHERE oid = ANY (%s::regclass[])",
        ([*OURS[1:], *INTERNAL],),
    )
    assert owners == [("secops_migrator",)]
    # The script's head says: once more, after the first migration.
    fresh.grant()
    fresh.database.execute(f"{EVENT}; {TOKEN}")
    assert fresh.run("rhea", "report", "failed-logins", "--json").json()
    locked = fresh.run("opal", "lock", "user", "alice@example.com", "--reason", "drill")
    assert locked.code == 0, locked.err
    for who, mark in (("rhea", "✓ May read"), ("opal", "✓ May act"), ("deploy", "✓ May migrate")):
        told = fresh.run(who, "doctor")
        assert told.code == 0, told.out
        assert mark in told.out


def test_the_app_goes_on_with_the_tables_that_the_migrator_made(fresh: Stage) -> None:
    assert fresh.run("deploy", "migrate", "--yes").code == 0
    fresh.execute("app", EVENT)
    fresh.execute("app", TOKEN)
    fresh.execute("app", "UPDATE refresh_tokens SET revoked = true")
    fresh.execute("app", "UPDATE users SET failed_login_attempts = 1, locked_until = now()")


def test_without_the_script_the_app_s_own_role_is_told_what_it_lacks(
    app_db: Database, secops: Command
) -> None:
    for stage in _stage(app_db, secops):
        told = stage.run("app", "doctor")
        mend = re.search(r"GRANT CREATE ON DATABASE .* TO \"app\";", told.out)
        assert mend
        early = stage.run("app", "migrate", "--yes")
        assert early.code in {1, 8}
        assert "GRANT CREATE" in early.err
        for line in told.out.splitlines():
            if line.strip().startswith("GRANT CREATE"):
                app_db.execute(line)
        done = stage.run("app", "migrate", "--yes")
        assert done.code == 0, done.err


def test_running_the_script_again_changes_nothing(stage: Stage) -> None:
    acl = (
        "SELECT string_agg(format('%s %s', oid::regclass, relacl), ',' ORDER BY oid) FROM pg_class"
        " WHERE oid >= 16384"
    )
    before = stage.database.value(acl)
    stage.grant()
    assert stage.database.value(acl) == before
