"""A plain table becomes partitions: everything that works before works after, and nothing is copied."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any
from uuid import UUID

import pytest

from secops.accounts.explain import explain
from secops.reports.catalogue import open_catalogue
from secops.schema.detect import detect
from support.busy_app import at_work
from support.event_tables import clock, events, fill, kind, later, loose_ends, partitions
from support.report_events import ask
from support.schemas import APPS, shape

if TYPE_CHECKING:
    from datetime import datetime

    from support.databases import Command, Database


def converted(secops: Command, database: Database, *more: str) -> dict[str, Any]:
    done = secops.on(database)("partition", "convert", "--yes", "--json", *more)
    assert done.code == 0, done.err
    assert loose_ends(database) == []
    assert kind(database) == "p"
    found: dict[str, Any] = done.json()
    return found


def test_the_table_becomes_the_partition_of_all_that_was(
    secops: Command, hardened: Database
) -> None:
    fill(hardened)
    before = events(hardened)
    file = hardened.value("SELECT pg_relation_filenode('security_events')")
    outcome = converted(secops, hardened)
    assert events(hardened) == before
    # Not a row was written anew.
    assert hardened.value("SELECT pg_relation_filenode('security_events_legacy')") == file
    bounds = partitions(hardened)
    assert len(bounds) == 4
    cutoff = outcome["cutoff"][:10]
    assert bounds.pop("security_events_legacy") == (
        f"FOR VALUES FROM (MINVALUE) TO ('{cutoff} 00:00:00+00')"
    )
    assert not any("DEFAULT" in bound for bound in bounds.values())
    status = secops.on(hardened)("partition", "status", "--json")
    assert status.code == 0
    assert status.json()["months_ahead"] >= 3


def test_a_second_run_finds_nothing_to_do(secops: Command, hardened: Database) -> None:
    converted(secops, hardened)
    before = shape(hardened)
    assert converted(secops, hardened)["changed"] == 0
    assert shape(hardened) == before


def test_what_is_planned_is_what_runs(secops: Command, hardened: Database) -> None:
    fill(hardened)
    before = shape(hardened)
    dry = secops.on(hardened)("partition", "convert", "--dry-run", "--json")
    assert dry.code == 0, dry.err
    assert shape(hardened) == before
    done = converted(secops, hardened)
    assert dry.json()["sql"] == done["sql"]
    assert dry.json()["dry_run"] is True


def test_it_asks_and_without_anybody_to_ask_it_refuses(secops: Command, hardened: Database) -> None:
    before = shape(hardened)
    done = secops.on(hardened)("partition", "convert")
    assert done.code == 8
    assert "--yes" in done.err
    assert shape(hardened) == before


def test_it_leaves_an_event_and_an_operation(secops: Command, hardened: Database) -> None:
    converted(secops.on(hardened, SECOPS_OPERATOR="ops@example.com"), hardened)
    rows = hardened.execute(
        """SELECT message, metadata ->> 'actor' FROM security_events
           WHERE metadata ->> 'direction' = 'partition'"""
    )
    assert [row[1] for row in rows] == ["ops@example.com"]
    assert "by month" in rows[0][0]
    finished = (
        "SELECT finished_at IS NOT NULL FROM secops.operations WHERE action = 'partition convert'"
    )
    assert hardened.execute(finished) == [(True,)]


REPORTS = sorted(set(open_catalogue().names()) - {"slow-queries", "index-usage", "table-size"})


def answers(database: Database, now: datetime) -> dict[str, Any]:
    """Return what every report that reads events says, and what is shown of one account."""
    with database.connect() as conn:
        found: dict[str, Any] = {
            name: ask(database, name, conn=conn, as_of=now) for name in REPORTS
        }
        layout = detect(conn, database.settings())
        found["show user"] = explain(conn, layout, "alice@example.com", allowed=5).events
    return found


def test_every_report_says_the_same_before_and_after(secops: Command, hardened: Database) -> None:
    fill(hardened, 3000)
    hardened.execute(
        """UPDATE security_events e SET user_id = u.id, email = u.email FROM users u
           WHERE (e.metadata ->> 'n')::int % 8 = 1 AND u.email = 'alice@example.com'"""
    )
    hardened.execute(
        "UPDATE security_events SET created_at = now() - interval '3 hours' * random()"
        " WHERE (metadata ->> 'n')::int <= 900"
    )
    hardened.execute("DELETE FROM security_events WHERE event_type = 'schema_migrated'")
    now = clock(hardened)
    before = answers(hardened, now)
    assert sum(map(bool, before.values())) >= 4, {name: len(each) for name, each in before.items()}
    converted(secops, hardened)
    hardened.execute("DELETE FROM security_events WHERE event_type = 'schema_migrated'")
    assert answers(hardened, now) == before


def test_the_size_of_the_table_is_that_of_its_partitions(
    secops: Command, hardened: Database
) -> None:
    fill(hardened, 5000)
    hardened.execute("VACUUM ANALYZE security_events")
    converted(secops, hardened)
    later(hardened, 400)
    hardened.execute("VACUUM ANALYZE security_events")
    rows = secops.on(hardened)("report", "table-size", "--json").json()
    (found,) = [row for row in rows if row["table_name"] == "public.security_events"]
    counted = hardened.value("SELECT count(*) FROM security_events")
    assert abs(found["row_count"] - counted) < 20
    status = secops.on(hardened)("partition", "status", "--json").json()
    assert status["bytes"] == found["total_bytes"]


def test_migrations_find_a_partitioned_table_right(secops: Command, hardened: Database) -> None:
    converted(secops, hardened)
    on = secops.on(hardened)
    assert on("migrate", "check").code == 0
    assert on("migrate", "--yes", "--json").json()["changed"] == 0
    doctor = on("doctor", "--json").json()["checks"]
    found = {each["id"]: each["status"] for each in doctor}
    assert {found[name] for name in ("migrations", "drift", "indexes", "partitions", "vacuum")} == {
        "ok"
    }


def test_no_statement_of_the_app_fails_or_waits_long(process: Command, hardened: Database) -> None:
    fill(hardened, 100_000)
    hardened.execute("VACUUM ANALYZE security_events")
    with at_work(hardened) as app:
        done = converted(process, hardened)
    assert app.failed == []
    assert len(app.took) > 200
    # The swap is some milliseconds; the rest is what a busy machine adds.
    assert app.longest < 1.5
    there = {row[0] for row in hardened.execute("SELECT id FROM security_events")}
    assert set(app.written) <= there
    assert "CONCURRENTLY" in done["sql"][0]


@pytest.mark.parametrize("name", ["mixed case", "other schema", "bigint", "text"])
def test_every_kind_of_app_can_be_converted_and_undone(
    secops: Command, database: Database, name: str
) -> None:
    app = APPS[name]
    app.create(database)
    app.run_plan(database)
    app.use_plan(database)
    on = secops.on(database)
    assert on("migrate", "--yes").code == 0
    before = shape(database)
    done = on("partition", "convert", "--yes")
    assert done.code == 0, done.err
    assert on("migrate", "check").code == 0
    app.use_plan(database)
    done = on("partition", "undo", "--yes")
    assert done.code == 0, done.err
    assert shape(database) == before
    assert loose_ends(database) == []


DRESSED = """
    CREATE ROLE {role} NOLOGIN;
    CREATE ROLE {role}_reader NOLOGIN;
    GRANT CREATE ON SCHEMA public TO {role};
    GRANT SELECT ON security_events TO {role}_reader;
    GRANT INSERT (email, event_type) ON security_events TO {role}_reader WITH GRANT OPTION;
    COMMENT ON TABLE security_events IS 'What happened';
    COMMENT ON COLUMN security_events.email IS 'Whose';
    COMMENT ON INDEX idx_security_events_user IS 'Of one person';
    ALTER TABLE security_events SET (autovacuum_analyze_scale_factor = 0.01,
                                     toast.autovacuum_vacuum_threshold = 1000);
    ALTER TABLE security_events ALTER COLUMN email SET STATISTICS 500;
    ALTER TABLE security_events ALTER COLUMN ip_address SET (n_distinct = 1000);
    ALTER TABLE security_events ALTER COLUMN message SET STORAGE EXTERNAL;
    CREATE STATISTICS by_mail_and_address ON email, ip_address FROM security_events;
    CREATE SEQUENCE numbers;
    ALTER TABLE security_events ADD COLUMN number bigint DEFAULT nextval('numbers');
    ALTER SEQUENCE numbers OWNED BY security_events.number;
    ALTER TABLE security_events OWNER TO {role};
    REVOKE DELETE ON security_events FROM {role};
    ALTER TABLE security_events ADD CONSTRAINT short CHECK (length(message) < 10000);
    CREATE UNIQUE INDEX "By Number and Time" ON security_events (number, created_at);
    CREATE INDEX "{long}" ON security_events USING gin (metadata jsonb_path_ops)
        WITH (fastupdate = off);
"""


def test_what_belongs_to_the_table_belongs_to_the_whole_and_each_part(
    secops: Command, hardened: Database
) -> None:
    role = f"owner_{hardened.name}"
    try:
        hardened.execute(DRESSED.format(role=role, long="ü" * 31))
        fill(hardened, 300)
        converted(secops, hardened)
        names = ["security_events", *partitions(hardened)]
        rows = hardened.execute(
            """SELECT c.relname, pg_get_userbyid(c.relowner), obj_description(c.oid),
                      col_description(c.oid, 6), c.relkind, coalesce(c.reloptions, '{}'),
                      (SELECT attstattarget FROM pg_attribute WHERE attrelid = c.oid AND attname = 'email'),
                      (SELECT attoptions FROM pg_attribute
                       WHERE attrelid = c.oid AND attname = 'ip_address'),
                      (SELECT attstorage FROM pg_attribute WHERE attrelid = c.oid AND attname = 'message'),
                      (SELECT count(*) FROM pg_statistic_ext WHERE stxrelid = c.oid),
                      (SELECT count(*) FROM pg_index WHERE indrelid = c.oid AND indisvalid),
                      (SELECT pg_get_constraintdef(oid) FROM pg_constraint
                       WHERE conrelid = c.oid AND conname = 'short'),
                      has_table_privilege(%(reader)s, c.oid, 'SELECT'),
                      has_table_privilege(%(reader)s, c.oid, 'INSERT'),
                      has_column_privilege(%(reader)s, c.oid, 'email', 'INSERT WITH GRANT OPTION'),
                      has_table_privilege(%(role)s, c.oid, 'DELETE'),
                      (SELECT pg_get_expr(adbin, adrelid) FROM pg_attrdef d JOIN pg_attribute a
                       ON a.attrelid = d.adrelid AND a.attnum = d.adnum
                       WHERE d.adrelid = c.oid AND a.attname = 'number')
               FROM pg_class c WHERE relname = ANY (%(names)s) AND relnamespace = 'public'::regnamespace
               ORDER BY relkind DESC, relname""".replace("%(reader)s", f"'{role}_reader'")
            .replace("%(role)s", f"'{role}'")
            .replace("%(names)s", f"ARRAY{names}"),
        )
        assert len(rows) == 5
        options = {tuple(row[5]) for row in rows if row[4] == "r"}
        assert len(options) == 1
        assert "autovacuum_analyze_scale_factor=0.01" in next(iter(options))
        alike = {str((*row[1:4], *row[6:])) for row in rows}
        assert len(alike) == 1, alike
        row = rows[0]
        assert row[1:4] == (role, "What happened", "Whose")
        assert (row[6], row[7], row[8]) == (500, ["n_distinct=1000"], "e")
        assert row[9] == 1
        assert row[10] == 9
        assert "length(message) < 10000" in row[11]
        assert row[12:16] == (True, False, True, False)
        assert "nextval" in row[16]
        toast = hardened.execute(
            """SELECT DISTINCT t.reloptions FROM pg_class c JOIN pg_class t ON t.oid = c.reltoastrelid
               WHERE c.relname ~ '^security_events_(legacy|p)' AND c.relkind = 'r'"""
        )
        assert toast == [(["autovacuum_vacuum_threshold=1000"],)]
        assert (
            hardened.value("SELECT obj_description('idx_security_events_user'::regclass)")
            == "Of one person"
        )
        owned = "SELECT pg_get_serial_sequence('security_events', 'number')"
        assert hardened.value(owned) == "public.numbers"
        later(hardened, 20)
        assert hardened.value("SELECT count(DISTINCT number) = count(*) FROM security_events")
    finally:
        hardened.server.drop(hardened.name)
        with hardened.server.connect() as conn:
            conn.execute(f"DROP ROLE IF EXISTS {role}, {role}_reader".encode())


def test_names_that_others_have_taken_are_left_to_them(secops: Command, hardened: Database) -> None:
    hardened.execute(
        """CREATE TABLE security_events_legacy (mine int);
           CREATE TYPE security_events_legacy_2 AS ENUM ('mine');
           CREATE TABLE security_events_secops_new (mine int);
           CREATE TABLE security_events_legacy_pkey (mine int);
           CREATE INDEX idx_security_events_user_legacy ON users (first_name)"""
    )
    now = clock(hardened)
    taken = f"security_events_p{(now.year * 12 + now.month) // 12}_{(now.year * 12 + now.month) % 12 + 1:02}"
    hardened.execute(f"CREATE TABLE {taken} (mine int)")
    fill(hardened, 100)
    before = events(hardened)
    mine = shape(hardened)
    done = secops.on(hardened)("partition", "convert", "--yes")
    assert done.code == 0, done.err
    assert events(hardened) == before
    assert {"security_events_legacy_3", f"{taken}_2"} <= set(partitions(hardened))
    assert secops.on(hardened)("migrate", "check").code == 0
    done = secops.on(hardened)("partition", "undo", "--yes")
    assert done.code == 0, done.err
    assert shape(hardened) == mine


def test_a_table_that_was_changed_meanwhile_is_made_ready_anew(
    secops: Command, hardened: Database
) -> None:
    """A run that died after the preparations, then a column, an index and a grant of somebody's."""
    hardened.execute("CREATE TABLE kept AS SELECT 1 AS a")
    dry = secops.on(hardened)("partition", "convert", "--dry-run", "--json").json()["sql"]
    with hardened.connect() as conn:
        for statement in dry[:5]:
            conn.execute(statement.encode())
    assert kind(hardened, "security_events_secops_new") == "p"
    hardened.execute(
        """ALTER TABLE security_events ADD COLUMN tenant text DEFAULT 'one';
           CREATE INDEX by_tenant ON security_events (tenant, created_at)"""
    )
    converted(secops, hardened)
    later(hardened, 5)
    assert hardened.value("SELECT count(*) FROM security_events WHERE tenant = 'one'") >= 8
    assert hardened.value(
        "SELECT indisvalid FROM pg_index WHERE indexrelid = 'by_tenant'::regclass"
    )


def test_an_import_takes_each_event_once_before_and_after(
    process: Command, hardened: Database
) -> None:
    file = process.home / "events.jsonl"
    lines = []
    for number in range(60):
        line: dict[str, object] = {"event_type": "login_failed", "email": f"p{number}@example.com"}
        if number % 3 != 1:
            line["id"] = str(UUID(int=number + 1))
        if number % 3 != 2:
            line["created_at"] = f"2026-0{number % 9 + 1}-03T10:00:00Z"
        lines.append(json.dumps(line))
    file.write_text("\n".join(lines) + "\n")
    on = process.on(hardened)
    words = ("import", "events", str(file), "--json")
    done = on(*words)
    assert done.code == 0, done.err
    assert done.json()["changed"] == 60
    rows = events(hardened)
    converted(process, hardened)
    again = on(*words)
    assert again.code == 0, again.err
    assert again.json()["changed"] == 0
    assert events(hardened) == rows
    # A file of its own, first on partitions, then on a plain table again.
    other = process.home / "more.jsonl"
    other.write_text(
        file.read_text().replace("00000000-0000", "00000001-0000").replace("example", "elsewhere")
    )
    words = ("import", "events", str(other), "--json")
    assert on(*words).json()["changed"] == 60
    assert on(*words).json()["changed"] == 0
    assert on("partition", "undo", "--yes").code == 0
    assert on(*words).json()["changed"] == 0
    assert sum(row[1] == "login_failed" for row in events(hardened)) == 120
