"""Migrating an empty database, one that was migrated by hand, and one that was migrated before."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.forked import Forked
from support.schemas import APPS, REVISIONS, App, dump, leftovers, shape
from support.watched import plain

if TYPE_CHECKING:
    from pathlib import Path

    from support.databases import Database

HEAD = REVISIONS[-1]


@pytest.fixture
def secops(tmp_path: Path) -> Forked:
    """The command; these tests call it often."""
    return Forked(tmp_path)


@pytest.fixture(params=list(APPS))
def app(request: pytest.FixtureRequest) -> App:
    return APPS[request.param]


def migrated(secops: Forked, database: Database) -> dict[str, object]:
    done = secops.on(database)("migrate", "--yes", "--json")
    assert done.code == 0, done.err
    found: dict[str, object] = done.json()
    return found


def target(app: App, database: Database) -> dict[tuple[str, str], str]:
    """Return the tables that secops made or took over, by column, without what names depend on."""
    return {
        (row[2], row[3]): row[4]
        for row in shape(database)
        if row[0] == "column" and row[2] != app.users.split(".")[-1].strip('"')
    }


def test_every_kind_of_app_reaches_the_target(secops: Forked, database: Database, app: App) -> None:
    app.create(database)
    outcome = migrated(secops, database)
    assert outcome["applied"] == REVISIONS
    assert outcome["changed"] == len(outcome["sql"])  # type: ignore[arg-type]
    assert leftovers(database) == []
    columns = target(app, database)
    key = app.bare_key.replace("varchar(36)", "text")
    assert columns["refresh_tokens", "user_id"] == f"{key} NOT NULL"
    assert columns["security_events", "user_id"] == key
    assert columns["accounts", "user_id"] == f"{key} NOT NULL"
    assert columns["refresh_tokens", "used"] == "boolean NOT NULL DEFAULT false"
    indexes = {row[3] for row in shape(database) if row[0] == "index"}
    assert {
        "idx_refresh_tokens_user_id", "idx_refresh_tokens_expires_at", "idx_refresh_tokens_family",
        "idx_refresh_tokens_live", "idx_users_locked_until", "idx_security_events_created_at",
        "idx_security_events_user",
        "idx_security_events_login_failed", "idx_security_events_rare",
        "idx_security_events_token_refresh", "idx_security_events_email",
    } <= indexes  # fmt: skip
    assert {row[1] for row in shape(database) if row[2] == "security_events"} == {app.place}
    assert secops.on(database)("migrate", "check").code == 0


def test_the_plans_sql_run_by_hand_is_taken_over(
    secops: Forked, database: Database, app: App
) -> None:
    app.create(database)
    app.run_plan(database)
    app.use_plan(database)
    place = app.schema or "public"
    before = database.execute(f"SELECT * FROM {place}.refresh_tokens ORDER BY id")
    events = database.value(f"SELECT count(*) FROM {place}.security_events")
    outcome = migrated(secops, database)
    assert outcome["applied"] == REVISIONS
    after = database.execute(f"SELECT * FROM {place}.refresh_tokens ORDER BY id")
    assert [row[: len(before[0])] for row in after] == before
    kept = f"SELECT count(*) FROM {place}.security_events WHERE event_type = 'login_failed'"
    assert database.value(kept) == events
    assert leftovers(database) == []
    keys = [row for row in shape(database) if row[0] == "constraint" and "FOREIGN KEY" in row[4]]
    assert [row[2] for row in keys] == ["refresh_tokens"]
    # What the plan has too many is left alone: it may be the app's.
    assert "idx_refresh_tokens_token_hash" in {row[3] for row in shape(database)}
    assert secops.on(database)("migrate", "check").code == 0


def test_by_hand_or_not_the_tables_are_the_same_in_the_end(
    secops: Forked, database: Database, app_db: Database
) -> None:
    app = APPS["uuid"]
    app.create(database)
    app.run_plan(database)
    migrated(secops, database)
    migrated(secops, app_db)
    assert target(app, database) == target(app, app_db)


def test_a_second_run_finds_nothing_to_do(secops: Forked, app_db: Database) -> None:
    migrated(secops, app_db)
    before = dump(app_db)
    events = app_db.value("SELECT count(*) FROM security_events")
    outcome = migrated(secops, app_db)
    assert (outcome["changed"], outcome["applied"]) == (0, [])
    assert dump(app_db) == before
    assert app_db.value("SELECT count(*) FROM security_events") == events


@pytest.mark.parametrize("by_hand", [False, True])
def test_what_is_planned_is_what_runs(secops: Forked, database: Database, by_hand: bool) -> None:
    app = APPS["mixed case"]
    app.create(database)
    if by_hand:
        app.run_plan(database)
    on = secops.on(database)
    dry = on("migrate", "--dry-run", "--json").json()
    plan = on("migrate", "plan", "--json").json()
    assert dry["dry_run"] is True
    assert plain(plan["steps"]) == dry["sql"]
    assert migrated(secops, database)["sql"] == dry["sql"]


def test_a_dry_run_and_a_plan_change_nothing(secops: Forked, app_db: Database) -> None:
    before = shape(app_db)
    for words in (["migrate", "--dry-run"], ["migrate", "plan"], ["migrate", "status"]):
        assert secops.on(app_db)(*words).code == 0
    assert secops.on(app_db)("migrate", "check").code == 3
    assert shape(app_db) == before


def test_the_plan_as_sql_runs_in_psql_to_the_same_schema(
    secops: Forked, database: Database
) -> None:
    APPS["uuid"].create(database)
    script = secops.on(database)("migrate", "plan", "--format", "sql")
    assert script.code == 0
    with database.connect() as conn:
        for statement in script.out.split(";\n\n"):
            conn.execute(statement.encode())
    # The versions are not recorded yet, and every step is found done.
    outcome = migrated(secops, database)
    assert (outcome["changed"], outcome["applied"]) == (0, REVISIONS)


def test_users_is_not_rewritten_and_older_apps_go_on(secops: Forked, app_db: Database) -> None:
    file = "SELECT pg_relation_filenode('users')"
    before = app_db.value(file)
    migrated(secops, app_db)
    assert app_db.value(file) == before
    APPS["uuid"].use_plan(app_db)
    rows = app_db.execute("SELECT used, family_id, revoked FROM refresh_tokens")
    assert set(rows) == {(False, None, False)}
    app_db.execute("DELETE FROM users")
    assert app_db.value("SELECT count(*) FROM refresh_tokens") == 0
    # Evidence outlives the user.
    assert (
        app_db.value("SELECT count(*) FROM security_events WHERE event_type = 'login_failed'") == 8
    )


def test_each_version_leaves_an_event_and_the_run_an_operation(
    secops: Forked, app_db: Database
) -> None:
    migrated(secops.on(app_db, SECOPS_OPERATOR="ops@example.com"), app_db)
    rows = app_db.execute(
        """SELECT event_category, metadata ->> 'revision', metadata ->> 'actor', message
           FROM security_events WHERE event_type = 'schema_migrated' ORDER BY 2"""
    )
    assert [row[1] for row in rows] == REVISIONS
    assert {row[0] for row in rows} == {"operator"}
    assert {row[2] for row in rows} == {"ops@example.com"}
    assert "The plan's tables" in rows[0][3]
    assert app_db.execute("SELECT action, changed, finished_at > started_at FROM secops.operations")


def test_it_asks_and_without_anybody_to_ask_it_refuses(secops: Forked, app_db: Database) -> None:
    before = shape(app_db)
    done = secops.on(app_db)("migrate")
    assert done.code == 8
    assert "--yes" in done.err
    assert shape(app_db) == before


def test_options_before_a_subcommand_are_not_lost_quietly(secops: Forked, app_db: Database) -> None:
    done = secops.on(app_db)("migrate", "--dry-run", "down")
    assert done.code == 2
    assert "migrate down --dry-run" in done.err


def test_status_says_what_is_applied(secops: Forked, app_db: Database) -> None:
    on = secops.on(app_db)
    rows = on("migrate", "status", "--json").json()
    assert [row["state"] for row in rows] == ["pending"] * len(REVISIONS)
    # Nothing was done here, and nothing counts as done for want of a table.
    assert [row["steps_done"] for row in rows] == [0] * len(rows)
    migrated(secops, app_db)
    rows = on("migrate", "status", "--json").json()
    assert [row["state"] for row in rows] == ["applied"] * len(REVISIONS)
    assert all(row["steps_done"] == row["steps"] for row in rows)


def test_a_version_of_a_newer_secops_is_not_touched(secops: Forked, hardened: Database) -> None:
    hardened.execute("UPDATE secops.alembic_version SET version_num = '0099'")
    for words in (["migrate", "--yes"], ["migrate", "status"], ["migrate", "down", "--yes"]):
        done = secops.on(hardened)(*words)
        assert done.code == 5
        assert "0099" in done.err


def test_odd_defaults_of_the_database_change_nothing(secops: Forked, app_db: Database) -> None:
    with app_db.connect() as conn:
        for setting in (
            "lock_timeout = '1ms'",
            "idle_in_transaction_session_timeout = '50ms'",
            "default_transaction_isolation = 'serializable'",
            "bytea_output = 'escape'",
            "DateStyle = 'German'",
        ):
            conn.execute(f'ALTER DATABASE "{app_db.name}" SET {setting}'.encode())
    assert migrated(secops, app_db)["applied"] == REVISIONS


def test_alembic_by_itself_is_told_to_use_secops() -> None:
    from alembic import command
    from alembic.config import Config

    from secops.resources import shipped

    config = Config()
    config.set_main_option("script_location", str(shipped("migrations")))
    config.set_main_option("path_separator", "os")
    with pytest.raises(SystemExit, match="secops migrate"):
        command.upgrade(config, "head")


def test_another_schema_for_our_tables_can_be_named(secops: Forked, app_db: Database) -> None:
    on = secops.on(app_db, SECOPS_SCHEMA="security")
    assert on("migrate", "--yes").code == 0
    assert {row[1] for row in shape(app_db) if row[2] == "refresh_tokens"} == {"security"}
    assert on("migrate", "check").code == 0
