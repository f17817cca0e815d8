"""Apps of every shape to migrate, the plan's SQL run by hand on them, and what a schema looks like after."""

from __future__ import annotations

import re
import subprocess
from dataclasses import dataclass
from pathlib import Path

from secops.schema.versions import versions
from support.databases import Database

REVISIONS = [version.revision for version in versions()]
"""Every migration's number, the oldest first."""

_PLAN = (Path(__file__).parent / "plan.sql").read_text(encoding="utf-8")


@dataclass(frozen=True)
class App:
    """One app: its users table and a person in it."""

    name: str
    key: str
    users: str = "users"
    id: str = "id"
    schema: str | None = None
    person: str = "DEFAULT"

    def create(self, database: Database) -> None:
        """Create its table."""
        if self.schema is not None:
            database.execute(f"CREATE SCHEMA {self.schema}")
        database.execute(
            f"""CREATE TABLE {self.users} ({self.id} {self.key} PRIMARY KEY, email text UNIQUE,
                                           password_hash text)"""
        )
        database.execute(
            f"""INSERT INTO {self.users} ({self.id}, email)
                VALUES ({self.person}, 'alice@example.com')"""
        )

    @property
    def bare_key(self) -> str:
        """The type of a column that refers to its key."""
        return re.sub(r" DEFAULT.*| GENERATED.*", "", self.key).replace("bigserial", "bigint")

    @property
    def place(self) -> str:
        """The schema of its tables, unquoted."""
        return (self.schema or "public").strip('"')

    def run_plan(self, database: Database) -> None:
        """Run the plan's own SQL by hand, in the app's schema."""
        text = _PLAN.replace("user_id UUID", f"user_id {self.bare_key}")
        text = text.replace("REFERENCES users(id)", f"REFERENCES {self.users}({self.id})")
        text = re.sub(r"\bTABLE users\b", f"TABLE {self.users}", text)
        text = re.sub(r"\bON users\(", f"ON {self.users}(", text)
        database.execute(f"SET search_path = {self.schema or 'public'}; {text}")

    def use_plan(self, database: Database) -> None:
        """Write rows as an app does that knows the plan's columns alone."""
        place = self.schema or "public"
        database.execute(
            f"""INSERT INTO {place}.refresh_tokens (user_id, token_hash, device_info, expires_at)
                SELECT {self.id}, 'hash-' || gen_random_uuid(), 'phone', now() + interval '7 days'
                FROM {self.users}, generate_series(1, 3)"""
        )
        database.execute(
            f"""INSERT INTO {place}.security_events (event_type, event_category, severity, user_id,
                                                     email, ip_address, success, metadata)
                SELECT 'login_failed', 'authentication', 'warning', {self.id}, email, '10.0.0.1',
                       false, '{{}}' FROM {self.users}"""
        )
        database.execute(
            f"UPDATE {self.users} SET failed_login_attempts = failed_login_attempts + 1, "
            "locked_until = now()"
        )


APPS = {
    app.name: app
    for app in (
        App("uuid", "uuid DEFAULT gen_random_uuid()"),
        App("bigint", "bigserial"),
        App("integer", "integer GENERATED ALWAYS AS IDENTITY"),
        App("text", "text", person="'u1'"),
        App("varchar", "varchar(36)", person="'u1'"),
        App("other schema", "uuid DEFAULT gen_random_uuid()", users="app.users", schema="app"),
        App(
            "mixed case",
            "bigserial",
            users='"My App"."Users"',
            id='"userId"',
            schema='"My App"',
        ),
    )
}

_SHAPE = """
    SELECT 'column', n.nspname, c.relname, a.attname,
           format_type(a.atttypid, a.atttypmod) || CASE WHEN a.attnotnull THEN ' NOT NULL' ELSE '' END
           || coalesce(' DEFAULT ' || pg_get_expr(d.adbin, d.adrelid), '')
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    LEFT JOIN pg_attrdef d ON d.adrelid = c.oid AND d.adnum = a.attnum
    WHERE c.relkind = 'r' AND a.attnum > 0 AND NOT a.attisdropped AND n.nspname !~ '^pg_|^information'
  UNION ALL
    SELECT 'constraint', n.nspname, c.relname, k.conname,
           pg_get_constraintdef(k.oid) || CASE WHEN k.convalidated THEN '' ELSE ' unchecked' END
    FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE n.nspname !~ '^pg_|^information' AND k.contype <> 'n'
  UNION ALL
    SELECT 'index', n.nspname, t.relname, c.relname, pg_get_indexdef(i.indexrelid)
           || CASE WHEN i.indisvalid AND i.indisready AND i.indislive THEN '' ELSE ' INVALID' END
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    JOIN pg_namespace n ON n.oid = c.relnamespace WHERE n.nspname !~ '^pg_|^information'
  UNION ALL
    SELECT 'table', n.nspname, c.relname, array_to_string(c.reloptions, ','),
           coalesce(c.relacl::text, '')
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace
    WHERE c.relkind = 'r' AND n.nspname !~ '^pg_|^information'
  UNION ALL
    SELECT 'function', n.nspname, p.proname, pg_get_function_arguments(p.oid), p.prosrc
    FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace
    WHERE n.nspname !~ '^pg_|^information'
  ORDER BY 1, 2, 3, 4, 5
"""


def shape(database: Database) -> list[tuple[str, ...]]:
    """Return everything that the catalogue knows of the app's and our objects."""
    return database.execute(_SHAPE)


def dump(database: Database) -> str:
    """Return the schema as the server's own ``pg_dump -s`` writes it, and the recorded version."""
    done = subprocess.run(
        [database.server.binaries / "pg_dump", "-s", "-d", database.url],
        capture_output=True,
        text=True,
        check=True,
    )
    # Newer minor versions guard a dump with a random word.
    lines = [line for line in done.stdout.splitlines() if not re.match(r"\\(un)?restrict ", line)]
    return "\n".join(lines) + str(database.execute("SELECT * FROM secops.alembic_version"))


def leftovers(database: Database) -> list[tuple[str, ...]]:
    """Return indexes that no query can use, and advisory locks that nobody gave back."""
    return database.execute(
        """SELECT 'index', indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid
           UNION ALL
           SELECT 'lock', pid::text FROM pg_locks WHERE locktype = 'advisory'
             AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"""
    )
