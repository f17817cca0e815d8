"""An earlier, home-grown layer: taken over while its app goes on, and given up when told."""

from __future__ import annotations

import hashlib
import re
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from secops.schema.migrate import opened
from support import earlier_layer
from support.databases import Database
from support.earlier_layer import at_work, create
from support.schemas import APPS, App, dump, leftovers, shape

if TYPE_CHECKING:
    from collections.abc import Callable

    from support.databases import Command

# Where the server's version cannot matter, one is enough.
one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


def sha256(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()


def migrated(secops: Command, database: Database) -> None:
    done = secops.on(database)("migrate", "--yes")
    assert done.code == 0, done.err


def until(so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 30
    while not so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def tokens(database: Database, place: str) -> dict[str | None, tuple[object, ...]]:
    rows = database.execute(
        f"SELECT token, token_hash, revoked, revoked_at IS NOT NULL, device_info, expires_at"
        f" FROM {place}.refresh_tokens"
    )
    return {row[0] or row[1]: row[1:] for row in rows}


def files(database: Database, app: App) -> list[tuple[object, ...]]:
    place = app.schema or "public"
    return database.execute(
        "SELECT pg_relation_filenode(t::regclass) FROM unnest(%s::text[]) AS t",
        ([f"{place}.refresh_tokens", f"{place}.security_events", app.users],),
    )


@pytest.mark.parametrize(
    ("server", "name"),
    [
        ("pg15", "uuid"),
        ("pg15", "mixed case"),
        ("pg18", "bigint"),
        ("pg18", "text"),
        ("pg18", "other schema"),
        *(
            pytest.param(*each, marks=pytest.mark.chaos)
            for each in (
                ("pg18", "uuid"),
                ("pg18", "mixed case"),
                ("pg15", "bigint"),
                ("pg15", "text"),
                ("pg15", "other schema"),
            )
        ),
    ],
    indirect=["server"],
)
def test_old_app_and_new_app_work_all_along_and_no_row_is_lost(
    secops: Command, database: Database, name: str
) -> None:
    """The whole story: expand beside the old app, both apps, contract, the new app alone."""
    app = APPS[name]
    create(app, database, rows=150)
    place = app.schema or "public"
    on = secops.on(database)
    before = [row[0] for row in database.execute(f"SELECT token FROM {place}.refresh_tokens")]
    times = f"SELECT token, extract(epoch FROM expires_at) FROM {place}.refresh_tokens"
    expires, where = dict(database.execute(times)), files(database, app)
    planned = on("migrate", "--dry-run", "--json").json()["sql"]
    with at_work(app, database, sessions=1) as old:
        done = on("migrate", "--yes", "--json")
        assert done.code == 0, done.err
        assert done.json()["sql"] == planned
        with at_work(app, database, new=True, sessions=1) as new:
            until(lambda: len(new.hashes) > 2)
            assert on("migrate", "check").code == 0
    assert (old.failed, new.failed) == ([], [])
    # No row was written anew for its types, none is lost, and none has another time.
    assert files(database, app) == where
    found = tokens(database, place)
    assert {*before, *old.tokens, *new.hashes} == set(found)
    for token in (*before, *old.tokens):
        assert found[token][0] == sha256(token)
    assert all(revoked == has_time for _, revoked, has_time, *_ in found.values())
    assert found["token-1"][3] == '{"ua": "Phone 1"}'
    later = dict(database.execute(times))
    assert {token: later[token] for token in before} == expires
    assert database.value(f"SELECT locked_until = '2030-01-01 12:00+00' FROM {app.users}") is True
    every_event_is_understood(database, place, 150 + len(old.events) + len(new.events))
    assert leftovers(database) == []
    the_clear_tokens_go_when_told(on, database, app, found)


def every_event_is_understood(database: Database, place: str, count: int) -> None:
    told = database.execute(
        f"""SELECT event_type, success, count(*), count(metadata), min(ip_address)
            FROM {place}.security_events WHERE event_category = 'authentication' GROUP BY 1, 2"""
    )
    assert {(kind, success) for kind, success, *_ in told} == {
        ("login", True), ("failed_login", False), ("login_success", True),
    }  # fmt: skip
    assert sum(rows for *_, rows, _, _ in told) == count
    assert all(rows == with_metadata for *_, rows, with_metadata, _ in told)
    assert {ip for *_, ip in told} <= {"203.0.113.7", "203.0.113.8", "203.0.113.9"}


def the_clear_tokens_go_when_told(
    on: Command, database: Database, app: App, found: dict[str | None, tuple[object, ...]]
) -> None:
    """Not while the old app may be there, not without the number; and then beside the new app."""
    place = app.schema or "public"
    clear = database.value(f"SELECT count(token) FROM {place}.refresh_tokens")
    dry = on("migrate", "contract", "--dry-run", "--json").json()
    assert (dry["matched"], dry["dry_run"]) == (clear, True)
    assert any("DROP COLUMN" in sql and '"token"' in sql for sql in dry["sql"])
    assert ("index", "refresh_tokens_token_key") in {(e["kind"], e["what"]) for e in dry["items"]}
    assert any("last_seen_at" in sql for sql in dry["kept"])
    still = on("migrate", "contract", "--yes", "--accept-loss", str(clear))
    assert still.code == 9
    assert "was written at" in still.err
    quiet = ("migrate", "contract", "--yes", "--grace", "0s")
    for words in (quiet, (*quiet, "--accept-loss", str(clear - 1))):
        refused = on(*words)
        assert refused.code == 8, refused
        assert f"--accept-loss {clear}" in refused.err
    assert tokens(database, place) == found
    with at_work(app, database, new=True, sessions=1) as new:
        done = on(*quiet, "--accept-loss", str(clear), "--json")
        assert done.code == 0, done.err
        assert on("migrate", "check").code == 0
    assert new.failed == []
    assert done.json()["sql"] == dry["sql"]
    hashes = database.execute(f"SELECT token_hash FROM {place}.refresh_tokens")
    assert {row[0] for row in hashes} >= {facts[0] for facts in found.values()}
    again = on(*quiet)
    assert (again.code, "Nothing to contract" in again.out) == (0, True)


# What an app's own layer leaves that a fresh migration does not make; docs/migrations.md lists it.
KEPT = (
    "last_seen_at", " ip inet", "details jsonb", "refresh_tokens_check", "live_tokens",
    "security_events_recent", "security_events_type", "DEFAULT 'low'",
)  # fmt: skip


def lines(database: Database) -> set[str]:
    """Return a dump's lines, without where columns stand in their table."""
    text = re.sub(r"\s*\n\s+", " ", dump(database))
    return {line.strip().rstrip(",") for line in re.split(r"[\n(,]\s*", text) if line.strip()}


@one_major
def test_afterwards_the_schema_is_that_of_a_fresh_migration_but_for_what_is_the_apps(
    secops: Command, database: Database, app_db: Database
) -> None:
    app = APPS["uuid"]
    create(app, database, rows=3)
    migrated(secops, database)
    done = secops.on(database)(
        "migrate", "contract", "--yes", "--grace", "0s", "--accept-loss", "3"
    )
    assert done.code == 0, done.err
    fresh = app_db
    fresh.execute("DROP TABLE users CASCADE")
    app.create(fresh)
    migrated(secops, fresh)

    def known(where: Database) -> set[tuple[str, ...]]:
        return {
            row for row in shape(where) if not any(kept in " ".join(map(str, row)) for kept in KEPT)
        }

    difference = known(database) ^ known(fresh)
    # Asked for by the old layer, and no trouble to the new app.
    stricter = {
        ("column", "public", "refresh_tokens", "created_at"),
        ("column", "public", "security_events", "created_at"),
        ("column", "public", "security_events", "severity"),
    }
    told = {row[:4] for row in difference}
    extra = {row for row in difference if row[0] == "column" and row[3] in {"ip", "details"}}
    assert told - {row[:4] for row in extra} <= stricter
    for row in difference - extra:
        if row[3] == "created_at":
            assert row[4].replace(" NOT NULL", "") == "timestamp with time zone DEFAULT now()"
    assert "secops_" not in dump(database).replace("secops_json", "secops_")
    assert database.execute("SELECT FROM pg_trigger WHERE tgname = 'secops_earlier'") == []


# What cannot be taken over: how the layer differs, what is said of it, and what mends it.
REFUSED = {
    "a view": (
        "CREATE VIEW live AS SELECT user_id FROM refresh_tokens WHERE expires_at > now()",
        "view public.live",
        "DROP VIEW",
    ),
    "a view of the device": (
        "CREATE VIEW devices AS SELECT device_info ->> 'ua' AS ua FROM refresh_tokens",
        "device_info, which is to be of another type",
        "DROP VIEW",
    ),
    "an index of the device": (
        "CREATE INDEX devices ON refresh_tokens USING gin (device_info)",
        "index public.devices holds on to public.refresh_tokens.device_info",
        "DROP INDEX CONCURRENTLY public.devices",
    ),
    "an index that computes with a time": (
        "CREATE INDEX daily ON security_events (date_trunc('day', created_at))",
        "daily of public.security_events computes with a time",
        'DROP INDEX CONCURRENTLY "public"."daily"',
    ),
    "a unique index with a time": (
        "CREATE UNIQUE INDEX once ON security_events (user_id, created_at, id)",
        "once of public.security_events is unique",
        'DROP INDEX CONCURRENTLY "public"."once"',
    ),
    "tokens that are not unique": (
        "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_token_key",
        "token is not unique",
        "CREATE UNIQUE INDEX CONCURRENTLY",
    ),
    "rows without a token": (
        (
            "ALTER TABLE refresh_tokens ALTER token DROP NOT NULL; "
            "UPDATE refresh_tokens SET token = NULL WHERE token = 'token-1'"
        ),
        "rows of public.refresh_tokens have no token",
        "DELETE FROM",
    ),
    "numbered tokens": (
        "ALTER TABLE refresh_tokens DROP COLUMN id; ALTER TABLE refresh_tokens ADD id bigserial PRIMARY KEY",
        "refresh_tokens.id is bigint, not uuid",
        "ALTER COLUMN",
    ),
    "a default that takes the zone away": (
        (
            "ALTER TABLE refresh_tokens ALTER expires_at SET DEFAULT "
            "(now() AT TIME ZONE 'utc') + interval '30 days'"
        ),
        "which takes its zone away",
        "SET DEFAULT",
    ),
    "sessions in another zone": (
        "ALTER ROLE postgres IN DATABASE {database} SET TimeZone = 'Asia/Tokyo'",
        "sessions of postgres are in the zone Asia/Tokyo",
        "SET TimeZone = 'UTC'",
    ),
    "a check that wants a token": (
        "ALTER TABLE refresh_tokens ADD CHECK (token IS NOT NULL AND length(token) > 3)",
        "which refuses rows of the new app",
        "DROP CONSTRAINT",
    ),
    "a foreign key that does not cascade": (
        (
            "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey, "
            "ADD FOREIGN KEY (user_id) REFERENCES users"
        ),
        "not ON DELETE CASCADE",
        "DROP CONSTRAINT",
    ),
}


@pytest.fixture
def story(database: Database) -> Database:
    create(APPS["uuid"], database, rows=5)
    return database


@one_major
def test_what_cannot_be_taken_over_is_named_with_its_mend_and_nothing_is_touched(
    secops: Command, story: Database
) -> None:
    for name, (damage, words, mend) in REFUSED.items():
        database = Database(story.server, story.server.create(story.name))
        with database.connect() as conn:
            conn.execute(damage.replace("{database}", database.name).encode())
        before = shape(database)
        on = secops.on(database)
        done = on("migrate", "--yes", "--json")
        assert done.code == 5, (name, done)
        error = done.error()
        assert words in error["message"], (name, error)
        assert mend in error["hint"], (name, error)
        assert on("migrate", "plan").code == 5
        assert on("migrate", "--dry-run").code == 5
        assert shape(database) == before, name
        story.server.drop(database.name)


@one_major
def test_the_mend_that_is_given_is_enough(secops: Command, story: Database) -> None:
    for name in ("a view", "an index that computes with a time", "an index of the device"):
        story.execute(REFUSED[name][0])
    done = secops.on(story)("migrate", "--yes", "--json")
    assert done.code == 5
    for difference in done.error()["details"]["differences"]:
        for mend in re.findall(r"DROP [^;]*;", difference["mend"]):
            story.execute(mend)
    migrated(secops, story)


@one_major
def test_a_column_called_token_alone_is_no_earlier_layer(
    secops: Command, database: Database
) -> None:
    app = APPS["uuid"]
    app.create(database)
    app.run_plan(database)
    database.execute("ALTER TABLE refresh_tokens RENAME token_hash TO token")
    done = secops.on(database)("migrate", "--yes")
    assert done.code == 5
    assert "token_hash is missing" in done.err


@one_major
def test_it_is_told_of_in_plan_status_and_check(secops: Command, story: Database) -> None:
    on = secops.on(story)
    for words in ("plan", "status"):
        assert "earlier layer" in on("migrate", words).err
    assert on("migrate", "plan", "--json").json()["earlier_layer"] == "found"
    assert on("migrate", "check").code == 3
    migrated(secops, story)
    assert "secops migrate contract" in on("migrate", "status").err
    assert on("migrate", "plan", "--json").json()["earlier_layer"] == "taken over"
    assert "tokens in clear" in on("doctor").out
    assert on("migrate", "check").code == 0
    # Drift between expand and contract is seen, and mended.
    story.execute("DROP TRIGGER secops_earlier ON refresh_tokens")
    assert on("migrate", "check").code == 3
    migrated(secops, story)
    assert on("migrate", "check").code == 0


def test_contract_waits_for_migrate_and_knows_when_there_is_nothing(
    secops: Command, story: Database, hardened: Database
) -> None:
    early = secops.on(story)("migrate", "contract", "--yes", "--accept-loss", "5")
    assert early.code == 5
    assert "secops migrate" in early.err
    none = secops.on(hardened)("migrate", "contract", "--yes")
    assert none.code == 0
    assert "Nothing to contract" in none.out


@one_major
def test_contract_shows_the_code_that_names_the_token_and_stops_at_what_depends_on_it(
    secops: Command, story: Database
) -> None:
    migrated(secops, story)
    story.execute(
        """CREATE FUNCTION whose(t text) RETURNS uuid LANGUAGE sql AS
               $$ SELECT user_id FROM refresh_tokens WHERE token = t $$;
           CREATE VIEW secrets AS SELECT token FROM refresh_tokens"""
    )
    on = secops.on(story)
    with story.connect() as conn:
        conn.execute("SELECT user_id FROM refresh_tokens WHERE token = 'token-1'")
        dry = on("migrate", "contract", "--dry-run", "--json").json()
        shown = {each["kind"]: each["what"] for each in dry["items"]}
        assert "whose(text)" in shown["function"]
        assert "secrets" in shown["dependent"]
        assert shown["session"] == "SELECT user_id FROM refresh_tokens WHERE token = 'token-1'"
        words = ("migrate", "contract", "--yes", "--accept-loss", "5")
        stopped = on(*words, "--grace", "0s")
        assert stopped.code == 5
        assert "DROP VIEW" in stopped.err
        story.execute("DROP VIEW secrets")
        # The rows are old; the session that asked is not.
        story.execute("UPDATE refresh_tokens SET created_at = now() - interval '1 day'")
        asked = on(*words)
        assert asked.code == 9
        assert "a session ran" in asked.err
    assert story.value("SELECT count(token) FROM refresh_tokens") == 5


@one_major
def test_down_gives_the_old_app_its_tables_back(secops: Command, story: Database) -> None:
    on = secops.on(story)
    migrated(secops, story)
    with at_work(APPS["uuid"], story, new=True, sessions=1) as new:
        until(lambda: len(new.hashes) > 1)
    dry = on("migrate", "down", "base", "--dry-run", "--json").json()
    lost = {item["lost"]: item["count"] for item in dry["items"]}
    # Sessions that the new app began have no clear token to fall back on.
    sessions = "values of refresh_tokens.token_hash that token does not hold"
    assert lost[sessions] == len(new.hashes) > 0
    total = sum(lost.values())
    done = on("migrate", "down", "base", "--yes", "--accept-loss", str(total))
    assert done.code == 0, done.err
    assert story.value("SELECT count(token) FROM refresh_tokens") == 5
    assert story.value("SELECT count(*) FROM security_events") >= 5
    assert "token_hash" not in dump_of(story, "refresh_tokens")
    assert story.value("SELECT count(locked_until) FROM users") == 1
    with at_work(APPS["uuid"], story, sessions=1) as old:
        until(lambda: len(old.events) > 1)
    # The device is text now; what reads into it is the old app's to change, or the backup's to bring.
    assert [each for each in old.failed if "->>" not in each and "read []" not in each] == []


def dump_of(database: Database, table: str) -> str:
    return str([row for row in shape(database) if row[2] == table])


@one_major
def test_old_rows_are_filled_in_batches_and_one_that_is_held_is_waited_for_by_nobody(
    secops: Command, database: Database
) -> None:
    """While somebody holds a row, all others are filled; then that one, too."""
    create(APPS["uuid"], database, rows=4000)
    migrated(secops, database)
    database.execute(
        """DELETE FROM secops.adoption WHERE kind = 'filled';
           ALTER TABLE refresh_tokens ALTER token_hash DROP NOT NULL, DISABLE TRIGGER USER;
           UPDATE refresh_tokens SET token_hash = NULL;
           ALTER TABLE refresh_tokens ENABLE TRIGGER USER"""
    )
    with opened(database.settings(), changing=True) as migration:
        (filling,) = [
            each.statements[0]
            for each in migration.look().open
            if each.step.title == "Fill the new columns of refresh_tokens"
        ]
    empty = "SELECT count(*) FROM refresh_tokens WHERE token_hash IS NULL"
    with database.connect() as holder, database.connect() as filler, ThreadPoolExecutor(1) as pool:
        holder.execute("BEGIN")
        holder.execute("SELECT FROM refresh_tokens WHERE token = 'token-7' FOR UPDATE")
        running = pool.submit(filler.execute, filling)
        deadline = time.monotonic() + 60
        while database.value(empty) != 1:
            assert not running.done(), running.exception()
            assert time.monotonic() < deadline, database.value(empty)
            time.sleep(0.02)
        time.sleep(0.2)
        assert not running.done()
        # It waits for no row, so nobody can wait for it in a circle.
        locks = "SELECT count(*) FROM pg_locks WHERE pid = %s AND NOT granted"
        assert database.value(locks, (filler.info.backend_pid,)) == 0
        holder.execute("COMMIT")
        running.result(timeout=30)
    assert database.value(empty) == 0


@one_major
def test_the_hash_is_the_one_that_the_apps_own_code_makes(secops: Command, story: Database) -> None:
    migrated(secops, story)
    token = "grüße-\N{SNOWMAN}"
    story.execute(
        "INSERT INTO refresh_tokens (user_id, token, expires_at)"
        " SELECT id, %s, now() + interval '1 day' FROM users LIMIT 1",
        (token,),
    )
    query = "SELECT token_hash FROM refresh_tokens WHERE token = %s"
    assert story.value(query, (token,)) == sha256(token)
    # The old app gives a row another token: the hash follows.
    story.execute("UPDATE refresh_tokens SET token = 'other' WHERE token = %s", (token,))
    assert story.value(query, ("other",)) == sha256("other")
    # The new app gives it another hash: the clear token that opened it opens it no more.
    story.execute(
        "UPDATE refresh_tokens SET token_hash = %s WHERE token = 'other'", (sha256("new"),)
    )
    assert story.execute(query, ("other",)) == []


@one_major
def test_a_way_of_saying_revoked_is_understood_by_both(secops: Command, story: Database) -> None:
    migrated(secops, story)
    state = "SELECT revoked, revoked_at IS NOT NULL FROM refresh_tokens WHERE token = 'token-1'"
    for change, expected in (
        ("revoked_at = now()", (True, True)),
        ("revoked_at = NULL", (False, False)),
        ("revoked = true", (True, True)),
        ("revoked = false", (False, False)),
        ("revoked = true, revoked_at = '2026-01-01', revoked_reason = 'admin'", (True, True)),
        ("last_seen_at = now()", (True, True)),
    ):
        story.execute(f"UPDATE refresh_tokens SET {change} WHERE token = 'token-1'")
        assert story.execute(state) == [expected], change


@one_major
def test_what_is_made_for_tests_is_what_the_issue_describes(story: Database) -> None:
    """Layout B: tokens in clear, no time with a zone, events with CHECKs of their own."""
    kinds = story.execute(
        "SELECT DISTINCT data_type FROM information_schema.columns"
        " WHERE table_schema = 'public' AND data_type LIKE 'timestamp%'"
    )
    assert kinds == [("timestamp without time zone",)]
    assert "varchar(255) NOT NULL UNIQUE" in earlier_layer._TABLES


# Other layers that people make: only tokens; enumerations and other names; other types and less.
VARIANTS = {
    "tokens alone": """
        CREATE TABLE refresh_tokens (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
            token text NOT NULL UNIQUE, expires_at timestamp NOT NULL);
        INSERT INTO refresh_tokens (user_id, token, expires_at)
            SELECT id, 'one', now() + interval '1 day' FROM users""",
    "other names and kinds": """
        CREATE TYPE act AS ENUM ('login', 'login_failed');
        CREATE TABLE refresh_tokens (
            id uuid PRIMARY KEY, user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
            token varchar(64) UNIQUE, revoked boolean NOT NULL DEFAULT false, revoked_at timestamptz,
            expires_at timestamptz NOT NULL, ip_address inet, kind text NOT NULL);
        INSERT INTO refresh_tokens (id, user_id, token, expires_at, ip_address, kind)
            SELECT gen_random_uuid(), id, 'one', now() + interval '1 day', '2001:db8::1', 'web' FROM users;
        CREATE TABLE security_events (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(), user_id uuid,
            event_type act NOT NULL, level varchar(200), ip_address inet, metadata json DEFAULT '{}',
            message varchar(100) NOT NULL, occurred_at timestamp NOT NULL DEFAULT now());
        CREATE INDEX ON security_events (occurred_at);
        INSERT INTO security_events (user_id, event_type, level, ip_address, message, occurred_at)
            SELECT id, 'login_failed', 'very high indeed, and then some', '10.0.0.1', 'no',
                   '2026-01-02 03:04' FROM users""",
    "a uuid as the token": """
        CREATE TABLE refresh_tokens (
            id uuid PRIMARY KEY DEFAULT gen_random_uuid(),
            user_id uuid NOT NULL REFERENCES users ON DELETE CASCADE,
            token uuid NOT NULL UNIQUE DEFAULT gen_random_uuid(), device_info json,
            expires_at timestamp NOT NULL, created_at timestamp DEFAULT CURRENT_TIMESTAMP);
        INSERT INTO refresh_tokens (user_id, token, expires_at, device_info)
            SELECT id, '11111111-2222-3333-4444-555555555555', now() + interval '1 day', '{"a": 1}'
            FROM users""",
}


@one_major
@pytest.mark.parametrize("variant", VARIANTS)
def test_other_layers_reach_the_target_too(
    secops: Command, database: Database, variant: str
) -> None:
    app = APPS["uuid"]
    app.create(database)
    database.execute(VARIANTS[variant])
    on = secops.on(database)
    planned = on("migrate", "--dry-run", "--json").json()["sql"]
    done = on("migrate", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json()["sql"] == planned
    assert on("migrate", "check").code == 0
    columns = {(row[2], row[3]): row[4] for row in shape(database) if row[0] == "column"}
    hashed = database.execute("SELECT token::text, token_hash FROM refresh_tokens")
    assert [(sha256(token), token_hash) for token, token_hash in hashed] == [
        (token_hash, token_hash) for _, token_hash in hashed
    ]
    app.use_plan(database)
    assert columns["refresh_tokens", "device_info"] == "text"
    assert columns["refresh_tokens", "ip_address"] == "character varying(45)"
    assert columns["security_events", "event_type"] == "character varying(50) NOT NULL"
    assert columns["security_events", "metadata"] == "jsonb"
    if variant == "other names and kinds":
        assert database.execute(
            """SELECT event_type, severity, ip_address, metadata::text, success, created_at::text
               FROM security_events WHERE occurred_at IS NOT NULL AND message = 'no'"""
        ) == [
            ("login_failed", "very high indeed, an", "10.0.0.1", "{}", False,
             "2026-01-02 03:04:00+00"),
        ]  # fmt: skip
        database.execute(
            """INSERT INTO security_events (event_type, level, ip_address, message, occurred_at)
               VALUES ('login'::act, 'low', '10.0.0.2'::inet, 'yes', '2026-02-02 02:02')"""
        )
        assert database.execute(
            """SELECT event_type, severity, ip_address, success, created_at::text
               FROM security_events WHERE message = 'yes'"""
        ) == [("login", "low", "10.0.0.2", True, "2026-02-02 02:02:00+00")]
    done = on("migrate", "contract", "--yes", "--grace", "0s", "--accept-loss", "1")
    assert done.code == 0, done.err
    assert on("migrate", "check").code == 0
    app.use_plan(database)
