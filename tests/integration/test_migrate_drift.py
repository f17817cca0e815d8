"""What is there and is not as secops would make it: repaired, taken over, or refused untouched."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from secops.schema.versions import versions
from support.forked import Forked
from support.schemas import APPS, dump, leftovers, shape

if TYPE_CHECKING:
    from pathlib import Path

    from support.databases import Database


@pytest.fixture
def secops(tmp_path: Path) -> Forked:
    """The command; these tests call it often."""
    return Forked(tmp_path)


def invalidate(database: Database, index: str) -> None:
    """Leave an index as a killed CREATE INDEX CONCURRENTLY does."""
    database.execute(
        "UPDATE pg_index SET indisvalid = false WHERE indexrelid = %s::regclass", (index,)
    )


@pytest.mark.parametrize(
    "index",
    [
        "idx_refresh_tokens_user_id",
        "idx_refresh_tokens_family",
        "idx_users_locked_until",
        "idx_security_events_login_failed",
        "idx_security_events_rare",
        "idx_security_events_email",
    ],
)
def test_an_invalid_index_is_dropped_and_built_again(
    secops: Forked, hardened: Database, index: str
) -> None:
    wanted = dump(hardened)
    invalidate(hardened, index)
    on = secops.on(hardened)
    check = on("migrate", "check", "--json")
    assert check.code == 3
    assert [(row["state"], index in row["difference"]) for row in check.json()] == [
        ("partial", True)
    ]
    done = on("migrate", "--yes", "--json")
    assert done.code == 0, done.err
    drop, build = done.json()["sql"]
    assert drop.startswith("DROP INDEX CONCURRENTLY")
    assert build.startswith("CREATE INDEX CONCURRENTLY")
    assert leftovers(hardened) == []
    assert dump(hardened) == wanted


# Each is put into the app's database before it is migrated; the second is what the error must name.
DIFFERENT = {
    "an index on other columns": (
        "CREATE INDEX idx_users_locked_until ON users (email)",
        "idx_users_locked_until",
    ),
    "a partial index with another condition": (
        "CREATE INDEX idx_users_locked_until ON users (locked_until) WHERE failed_login_attempts > 3",
        "idx_users_locked_until",
    ),
    "a unique index": (
        "CREATE UNIQUE INDEX idx_users_locked_until ON users (locked_until)",
        "UNIQUE",
    ),
    "an invalid index with another definition": (
        (
            "CREATE INDEX idx_users_locked_until ON users (email); UPDATE pg_index "
            "SET indisvalid = false WHERE indexrelid = 'idx_users_locked_until'::regclass"
        ),
        "idx_users_locked_until",
    ),
    "a table by the name of an index": (
        "CREATE TABLE idx_users_locked_until (a int)",
        "idx_users_locked_until is a table",
    ),
    "a column of another type": (
        "ALTER TABLE users ALTER locked_until TYPE timestamp",
        "locked_until is timestamp without time zone",
    ),
    "a column with another default": (
        "ALTER TABLE users ALTER failed_login_attempts SET DEFAULT 5",
        "failed_login_attempts has the default 5",
    ),
    "a column that must not be left away": (
        "ALTER TABLE security_events ALTER user_agent SET NOT NULL",
        "user_agent is NOT NULL",
    ),
    "a column that may be NULL": (
        "ALTER TABLE refresh_tokens ALTER expires_at DROP NOT NULL",
        "expires_at may be NULL",
    ),
    "a column that is too short": (
        "ALTER TABLE security_events ALTER event_type TYPE varchar(10)",
        "event_type is character varying(10)",
    ),
    "a missing column": (
        "ALTER TABLE security_events DROP metadata",
        "metadata is missing",
    ),
    "a token column by another name": (
        "ALTER TABLE refresh_tokens RENAME token_hash TO token",
        "token_hash is missing",
    ),
    "a key of another type": (
        (
            "ALTER TABLE security_events DROP CONSTRAINT security_events_user_id_fkey, "
            "ALTER user_id TYPE text"
        ),
        "user_id is text, not uuid",
    ),
    "no primary key": (
        "ALTER TABLE security_events DROP CONSTRAINT security_events_pkey",
        "the primary key of public.security_events is missing",
    ),
    "tokens that are not unique": (
        "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_token_hash_key",
        "token_hash is not unique",
    ),
    "a foreign key that does not cascade": (
        (
            "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey, "
            "ADD FOREIGN KEY (user_id) REFERENCES users"
        ),
        "not ON DELETE CASCADE",
    ),
    "a check that refuses our events": (
        "ALTER TABLE security_events ADD CHECK (event_type IN ('login_failed', 'login_success'))",
        "may refuse what secops writes",
    ),
    "a view in place of a table": (
        (
            "ALTER TABLE security_events RENAME TO events; "
            "CREATE VIEW security_events AS SELECT * FROM events"
        ),
        "security_events is a view",
    ),
}


@pytest.mark.parametrize("case", list(DIFFERENT))
def test_what_is_different_is_named_and_nothing_is_touched(
    secops: Forked, database: Database, case: str
) -> None:
    app = APPS["uuid"]
    app.create(database)
    app.run_plan(database)
    statement, named = DIFFERENT[case]
    if "idx_users_locked_until" in statement:
        database.execute("DROP INDEX idx_users_locked_until")
    database.execute(statement)
    before = shape(database)
    for words in (["migrate", "--yes", "--json"], ["migrate", "--dry-run", "--json"]):
        done = secops.on(database)(*words)
        assert done.code == 5, done.err
        error = done.error()
        assert named in error["message"]
        assert "nothing was touched" in error["message"]
        assert error["hint"]
        assert error["details"]["differences"]
    assert shape(database) == before
    assert secops.on(database)("migrate", "check").code == 3


# Each is done to a migrated database, or to one with the plan's tables; migrate brings it back.
REPAIRED = {
    "a dropped index": "DROP INDEX idx_security_events_rare",
    "a dropped column": "ALTER TABLE users DROP locked_until",
    "some dropped columns": "ALTER TABLE refresh_tokens DROP used_at, DROP family_id CASCADE",
    "a dropped default": "ALTER TABLE users ALTER failed_login_attempts DROP DEFAULT",
    "another dropped default": "ALTER TABLE refresh_tokens ALTER revoked DROP DEFAULT",
    "a dropped foreign key": (
        "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey"
    ),
    "an unchecked foreign key": (
        "ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey, ADD CONSTRAINT "
        "refresh_tokens_user_id_fkey FOREIGN KEY (user_id) REFERENCES users (id) "
        "ON DELETE CASCADE NOT VALID"
    ),
    "a foreign key that would hold users fast": (
        "ALTER TABLE security_events ADD CONSTRAINT ours FOREIGN KEY (user_id) REFERENCES users"
    ),
    "a dropped function": "DROP FUNCTION secops.try_inet",
    "another function body": (
        "CREATE OR REPLACE FUNCTION secops.try_inet(value text) RETURNS inet LANGUAGE plpgsql "
        "IMMUTABLE STRICT AS 'BEGIN RETURN NULL; END'"
    ),
    "a dropped table": "DROP TABLE secops.operations",
    "reset vacuum parameters": (
        "ALTER TABLE security_events RESET (autovacuum_vacuum_insert_threshold)"
    ),
}


@pytest.mark.parametrize("case", list(REPAIRED))
def test_drift_is_reported_repaired_and_recorded(
    secops: Forked, hardened: Database, case: str
) -> None:
    on = secops.on(hardened)
    columns = [row for row in shape(hardened) if row[0] != "column"]
    named = {row[3]: row[4] for row in shape(hardened) if row[0] == "column"}
    hardened.execute(REPAIRED[case])
    check = on("migrate", "check")
    assert check.code == 3
    assert "drifted" in check.err
    statuses = [row["state"] for row in on("migrate", "status", "--json").json()]
    assert "drifted" in statuses
    done = on("migrate", "--yes", "--json")
    assert done.code == 0, done.err
    assert done.json()["applied"] == []
    assert done.json()["mended"]
    # Columns that come back stand last, so order is not compared, only what they are.
    assert {row[3]: row[4] for row in shape(hardened) if row[0] == "column"} == named
    assert sorted(columns) == sorted(row for row in shape(hardened) if row[0] != "column")
    mended = hardened.value(
        "SELECT message FROM security_events WHERE metadata ->> 'direction' = 'mend'"
    )
    assert mended.startswith("Mended")
    assert on("migrate", "check").code == 0


def test_the_apps_own_extras_are_no_drift(secops: Forked, hardened: Database) -> None:
    hardened.execute(
        """CREATE INDEX app_tokens ON refresh_tokens (device_info);
           ALTER TABLE refresh_tokens ADD COLUMN nickname text;
           ALTER TABLE security_events SET (autovacuum_vacuum_insert_threshold = 5);
           ALTER TABLE security_events ALTER event_type TYPE text;
           ALTER TABLE users ALTER failed_login_attempts SET NOT NULL;
           ALTER TABLE refresh_tokens ALTER revoked SET NOT NULL"""
    )
    assert secops.on(hardened)("migrate", "check").code == 0


def test_the_plans_full_index_is_as_good(secops: Forked, hardened: Database) -> None:
    hardened.execute(
        "DROP INDEX idx_users_locked_until; "
        "CREATE INDEX idx_users_locked_until ON users (locked_until)"
    )
    assert secops.on(hardened)("migrate", "check").code == 0


def test_tokens_of_people_who_are_gone_stop_it_with_the_row(
    secops: Forked, database: Database
) -> None:
    app = APPS["uuid"]
    app.create(database)
    app.run_plan(database)
    app.use_plan(database)
    database.execute(
        """ALTER TABLE refresh_tokens DROP CONSTRAINT refresh_tokens_user_id_fkey;
           UPDATE refresh_tokens SET user_id = '00000000-0000-0000-0000-000000000000'"""
    )
    done = secops.on(database)("migrate", "--yes")
    assert done.code == 5
    assert "00000000-0000-0000-0000-000000000000" in done.err
    database.execute("DELETE FROM refresh_tokens")
    assert secops.on(database)("migrate", "--yes").code == 0


def test_down_and_up_again_is_the_same_schema(secops: Forked, hardened: Database) -> None:
    on = secops.on(hardened)
    before = shape(hardened)
    done = on("migrate", "down", "0001", "--yes", "--accept-loss", "1")
    assert done.code == 0, done.err
    assert hardened.value("SELECT version_num FROM secops.alembic_version") == "0001"
    assert hardened.execute("SELECT to_regclass('secops.accounts')") == [(None,)]
    assert on("migrate", "--yes").code == 0
    assert shape(hardened) == before
    events = hardened.execute(
        "SELECT message FROM security_events WHERE metadata ->> 'direction' = 'down' ORDER BY 1"
    )
    assert [message for (message,) in events] == [
        f"Undid migration {version.revision}: {version.title}." for version in versions()[1:]
    ]


def test_down_to_the_beginning_leaves_the_apps_table_as_it_was(
    secops: Forked, app_db: Database
) -> None:
    before = [row for row in shape(app_db) if row[1] == "public"]
    on = secops.on(app_db)
    assert on("migrate", "--yes").code == 0
    total = on("migrate", "down", "base", "--dry-run", "--json").json()
    lost = sum(item["count"] for item in total["items"])
    assert on("migrate", "down", "base", "--yes", "--accept-loss", str(lost)).code == 0
    assert [row for row in shape(app_db) if row[1] == "public"] == before
    again = on("migrate", "down", "--yes", "--json")
    assert again.code == 0
    assert again.json()["changed"] == 0


def test_down_counts_what_it_would_destroy_and_wants_that_number(
    secops: Forked, hardened: Database
) -> None:
    APPS["uuid"].use_plan(hardened)
    hardened.execute(
        """UPDATE refresh_tokens SET used = true, used_at = now(), family_id = gen_random_uuid()
           WHERE id IN (SELECT id FROM refresh_tokens LIMIT 5);
           INSERT INTO secops.accounts (user_id, locked_at) SELECT id, now() FROM users LIMIT 2"""
    )
    on = secops.on(hardened)
    before = shape(hardened)
    down = ["migrate", "down", "0001", "--yes", "--json"]
    expected = {
        "values of refresh_tokens.used": 5,
        "values of refresh_tokens.used_at": 5,
        "values of refresh_tokens.family_id": 5,
        "rows of accounts": 2,
        "rows of operations": 1,
    }
    for words in ([], ["--accept-loss", "17"], ["--accept-loss", "0"]):
        done = on(*down, *words)
        assert done.code == 8, done.err
        assert done.error()["details"] == {"total": 18, "losses": expected}
        assert "--accept-loss 18" in done.error()["hint"]
    assert shape(hardened) == before
    done = on(*down, "--accept-loss", "18")
    assert done.code == 0, done.err
    assert {item["lost"]: item["count"] for item in done.json()["items"]} == expected


def test_down_to_what_is_not_below_is_refused(secops: Forked, hardened: Database) -> None:
    on = secops.on(hardened)
    done = on("migrate", "down", "0042", "--yes")
    assert done.code == 2
    assert "0001, 0002, 0003" in done.err
    assert on("migrate", "down", "0001", "--yes", "--accept-loss", "1").code == 0
    assert on("migrate", "down", "0002", "--yes").code == 2
