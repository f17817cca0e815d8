"""A report changes nothing, holds nothing up, keeps its index, and says where it is broken."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import tracemalloc
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from secops.errors import SecopsError, UsageError
from secops.reports.catalogue import open_catalogue
from secops.reports.header import Report
from secops.reports.run import running
from secops.reports.statement import statement
from secops.schema.detect import detect
from secops.schema.grants import grants
from secops.settings import load
from support.databases import Command, Database
from support.report_events import NOW, Event, ask, insert, own, shipped
from support.servers import Connection

ATTACKS = Path(__file__).resolve().parents[2].parent / "shared" / "data"


@pytest.fixture
def conn(hardened: Database) -> Iterator[Connection]:
    with hardened.connect() as conn:
        conn.execute("DELETE FROM security_events")
        yield conn


def state(database: Database) -> Any:
    """Everything that a report could have changed."""
    return database.execute(
        """
        SELECT (SELECT array_agg(c.oid::regclass::text || c.relfilenode ORDER BY c.oid)
                FROM pg_class c WHERE c.relnamespace::regnamespace::text IN ('public', 'secops')),
               (SELECT array_agg(u::text ORDER BY u.id) FROM users u),
               (SELECT array_agg(e::text ORDER BY e.id) FROM security_events e),
               (SELECT count(*) FROM refresh_tokens), (SELECT count(*) FROM pg_largeobject_metadata),
               (SELECT array_agg(rolname::text ORDER BY 1) FROM pg_roles)
        """
    )


def unguarded(folder: Path, sql: str) -> Report:
    """A report whose SQL the header's own check has not seen: what is left is what the server refuses."""
    return dataclasses.replace(own(folder, "SELECT 1"), sql=sql, placeholders=())


TRICKS = [
    "SELECT 1; COMMIT; DROP TABLE users CASCADE",
    "SELECT 1; ROLLBACK; BEGIN; DELETE FROM security_events; COMMIT",
    "SELECT 1; SET TRANSACTION READ WRITE; DELETE FROM users",
    "COMMIT",
    "DELETE FROM users",
    "DELETE FROM users RETURNING *",
    "WITH gone AS (DELETE FROM users RETURNING *) SELECT * FROM gone",
    "SELECT * INTO copied FROM users",
    "CREATE TABLE copied AS SELECT 1",
    "SELECT * FROM users FOR UPDATE",
    "COPY users TO PROGRAM 'cat > /dev/null'",
    "COPY users TO STDOUT",
    "DO $$ BEGIN DELETE FROM users; END $$",
    "CALL nothing()",
    "SET ROLE postgres",
    "SELECT set_config('transaction_read_only', 'off', false)",
    "SELECT query_to_xml('DELETE FROM users RETURNING 1', true, true, '')",
    "SELECT 1 UNION ALL SELECT 1; DROP TABLE users; --",
]
# What the server lets a superuser do even while it is read-only; rolled back it leaves nothing.
UNDONE = ["SELECT lo_create(0)"]


@pytest.mark.parametrize("trick", [*TRICKS, *UNDONE])
def test_no_report_can_change_anything(hardened: Database, tmp_path: Path, trick: str) -> None:
    before = state(hardened)
    report = unguarded(tmp_path, trick)
    if trick in TRICKS:
        with pytest.raises(SecopsError) as caught:
            ask(hardened, report)
        assert str(report.path) in caught.value.message
    else:
        # PostgreSQL 16 refuses it, 15 does not.
        with contextlib.suppress(SecopsError):
            ask(hardened, report)
    assert state(hardened) == before


def test_a_read_only_transaction_alone_would_not_have_helped(hardened: Database) -> None:
    """The control of the test above: this is what it guards against."""
    with hardened.connect() as conn:
        conn.execute("BEGIN READ ONLY")
        conn.execute("SELECT 1; COMMIT; DROP TABLE users CASCADE")
    assert hardened.value("SELECT to_regclass('users')") is None


def test_nothing_of_a_report_stays_on_the_connection(hardened: Database, conn: Connection) -> None:
    shown = b"""SELECT current_setting('transaction_read_only'), current_setting('search_path'),
                       current_setting('statement_timeout'), current_setting('TimeZone')"""
    before = conn.execute(shown).fetchone()
    ask(hardened, "failed-logins", conn=conn)
    assert conn.info.transaction_status == psycopg.pq.TransactionStatus.IDLE
    assert conn.execute(shown).fetchone() == before
    assert conn.execute("SELECT count(*) FROM pg_prepared_statements").fetchone() == (0,)
    assert conn.execute("SELECT count(*) FROM pg_cursors").fetchone() == (0,)


@pytest.mark.parametrize(
    "given", ["'; DROP TABLE users; --", "1) OR 1=1 --", "$$", "\\", "%s %(x)s", "é☃"]
)
def test_a_value_is_bound_and_never_part_of_the_sql(
    hardened: Database, tmp_path: Path, given: str
) -> None:
    report = own(
        tmp_path, "SELECT :who AS who, ':who' AS text, 'a'::text /* :who */ AS cast, 5 % 3 AS rest",
        "params: {who: {type: text}}",
    )  # fmt: skip
    assert ask(hardened, report, who=given) == [
        {"who": given, "text": ":who", "cast": "a", "rest": 2}
    ]
    layout = detect_layout(hardened)
    assert given not in statement(report, layout, {"who": given}).rendered.text


def detect_layout(database: Database) -> Any:
    with database.connect() as conn:
        return detect(conn, database.settings())


def test_every_type_of_parameter_arrives_as_that_type(hardened: Database, tmp_path: Path) -> None:
    report = own(
        tmp_path,
        "SELECT pg_typeof(:d)::text AS d, pg_typeof(:i)::text AS i, pg_typeof(:t)::text AS t,"
        " pg_typeof(:a)::text AS a, pg_typeof(:w)::text AS w, pg_typeof(:c)::text AS c,"
        " pg_typeof(:as_of)::text AS o, pg_typeof(:n)::text AS n, :n IS NULL AS missing, host(:a) AS host",
        "params:",
        "  d: {type: duration}",
        "  i: {type: int}",
        "  t: {type: text}",
        "  a: {type: inet}",
        "  w: {type: timestamp}",
        "  c: {type: choice, choices: [x, y]}",
        "  n: {type: int, default: null}",
    )
    (row,) = ask(
        hardened,
        report,
        d="1h",
        i="9223372036854775807",
        t="x",
        a="2001:db8::1/64",
        w="2026-01-01",
        c="y",
    )
    assert row == {
        "d": "interval", "i": "bigint", "t": "text", "a": "inet", "w": "timestamp with time zone",
        "c": "text", "o": "timestamp with time zone", "n": "bigint", "missing": True, "host": "2001:db8::1",
    }  # fmt: skip


PARTIAL = {
    "failed-logins": "idx_security_events_login_failed",
    "lockouts": "idx_security_events_rare",
    "theft": "idx_security_events_rare",
    "token-refreshes": "idx_security_events_token_refresh",
    "suspicious-ips": "idx_security_events_login_failed",
    "attacked-accounts": "idx_security_events_login_failed",
}


@pytest.fixture
def busy(hardened: Database, conn: Connection) -> Database:
    """Thirty days with a hundred thousand events, so that the planner has something to choose."""
    conn.execute(
        """
        INSERT INTO security_events (event_type, event_category, severity, email, ip_address,
                                     success, created_at)
        SELECT CASE WHEN mod(n, 1000) = 1 THEN 'account_locked'
                    WHEN mod(n, 1000) = 2 THEN 'refresh_token_theft_detected'
                    WHEN mod(n, 10) = 3 THEN 'login_failed'
                    WHEN mod(n, 10) IN (4, 5) THEN 'token_refresh'
                    ELSE 'login_success' END,
               'authentication', 'info', 'u' || mod(n, 500) || '@x.org', '203.0.113.' || mod(n, 250), true,
               %s - n * interval '26 seconds'
        FROM generate_series(1, 100000) n
        """,
        (NOW,),
    )
    conn.execute("VACUUM ANALYZE security_events")
    return hardened


def test_the_partial_index_still_serves_after_the_sixth_run_on_a_connection(busy: Database) -> None:
    """psycopg prepares a statement after five runs, and its generic plan loses partial indexes."""

    def used() -> dict[str, Any]:
        return dict(busy.execute("SELECT indexrelname::text, idx_scan FROM pg_stat_user_indexes"))

    def sequential() -> Any:
        return busy.value(
            "SELECT seq_scan FROM pg_stat_user_tables WHERE relname = 'security_events'"
        )

    for name, index in PARTIAL.items():
        before = used()[index], sequential()
        report = shipped(name)
        values = defaults(report)
        with psycopg.connect(
            busy.url, autocommit=True
        ) as conn:  # with psycopg's own prepare_threshold
            layout = detect(conn, busy.settings())
            for _ in range(8):
                with running(conn, layout, report, values, as_of=NOW) as answer:
                    list(answer.rows)
            ready = statement(report, layout, values, as_of=NOW)
            plan = psycopg.RawCursor(conn).execute(
                f"EXPLAIN (FORMAT JSON) {ready.rendered.text}".encode(), ready.values
            )
            (shown,) = plan.fetchone() or ()
        # A session's statistics are there when it has ended.
        assert used()[index] - before[0] >= 8, name
        assert sequential() == before[1], name
        assert index in json.dumps(shown), name


def test_a_report_that_takes_too_long_is_ended(hardened: Database, tmp_path: Path) -> None:
    report = own(tmp_path, "SELECT pg_sleep(30)::text AS slept")
    with pytest.raises(SecopsError, match="took longer than 200ms") as caught:
        ask(hardened, report, timeout=timedelta(milliseconds=200))
    assert "SECOPS_REPORT_TIMEOUT" in caught.value.hint


def test_a_report_that_somebody_cancels_did_not_take_too_long(
    hardened: Database, tmp_path: Path
) -> None:
    report = own(tmp_path, "SELECT pg_cancel_backend(pg_backend_pid()), pg_sleep(5)::text AS slept")
    with pytest.raises(SecopsError, match="due to user request"):
        ask(hardened, report)


def test_a_time_in_the_future_of_the_database_is_refused(hardened: Database) -> None:
    soon = hardened.value("SELECT now() + interval '1 minute'")
    with pytest.raises(UsageError, match="in the future"):
        ask(hardened, "failed-logins", as_of=soon)
    ask(hardened, "failed-logins", as_of=hardened.value("SELECT now()"))


BROKEN = [
    (
        "SELECT 1,\n       2 AS two,\n       nothing\nFROM users",
        3,
        'column "nothing" does not exist',
    ),
    ("SELECT email\n  FROM userz", 2, 'relation "userz" does not exist'),
    ("SELECT :since,\n  :since, :as_of, 1 +\n  nix", 3, 'column "nix" does not exist'),
    ('SELECT u.:"users_email",\n u.:"users_id"\nFRM :"users_table" u', 3, "syntax error"),
    ("SELECT 'é☃',\n nix(1)", 2, "function nix(integer) does not exist"),
    ("SELECT\n (SELECT 1", 2, "syntax error at end of input"),
    ("DROP\nTABLE users", 1, "syntax error"),
]


@pytest.mark.parametrize(("sql", "line", "said"), BROKEN)
def test_broken_sql_names_the_file_and_the_line(
    hardened: Database, tmp_path: Path, sql: str, line: int, said: str
) -> None:
    params = ["params:", "  since: {type: duration, default: 1h}"] if ":since" in sql else []
    report = own(tmp_path, sql, *params)
    with pytest.raises(SecopsError) as caught:
        ask(hardened, report, as_of=None)
    expected = line + 3 + len(params)
    assert caught.value.message.startswith(f"{report.path}:{expected}: ")
    assert said in caught.value.message


@pytest.mark.parametrize(
    ("sql", "said"),
    [
        ("SELECT 1 / (n - 1) AS x FROM generate_series(1, 2) n", "division by zero"),
        ("SELECT 1 AS a, 2 AS a", "two columns named 'a'"),
        ("SELECT 'infinity'::timestamptz AS until", "a value cannot be read"),
        (
            "SELECT 1 AS x, '{' AS severity, ('{' || n)::json AS j FROM generate_series(1, 2) n",
            "json",
        ),
    ],
)
def test_what_fails_while_it_runs_names_the_file(
    hardened: Database, tmp_path: Path, sql: str, said: str
) -> None:
    report = own(tmp_path, sql)
    with pytest.raises(SecopsError, match=said) as caught:
        ask(hardened, report)
    assert caught.value.message.startswith(str(report.path))


def test_a_severity_column_that_is_not_there_is_told(hardened: Database, tmp_path: Path) -> None:
    report = own(tmp_path, "SELECT 1 AS level", "severity: severity")
    with pytest.raises(
        SecopsError, match="a column 'severity' that the SQL does not return"
    ) as caught:
        ask(hardened, report)
    assert "level" in caught.value.hint


def test_columns_of_any_type_come_out(hardened: Database, tmp_path: Path) -> None:
    report = own(
        tmp_path,
        """SELECT '{a,b}'::text[] AS many, '{"k": [1]}'::jsonb AS json, '10.0.0.1'::inet AS ip,
                  int4range(1, 3) AS range, '(1,2)'::point AS point, 1.50::numeric AS number,
                  ARRAY['10.0.0.1'::inet] AS ips, ROW(1, 'x') AS record, B'101' AS bits,
                  '08:00:2b:01:02:03'::macaddr AS card, NULL AS nothing, 'public'::regnamespace AS space""",
    )
    (row,) = ask(hardened, report)
    assert row["many"] == ["a", "b"]
    assert row["json"] == {"k": [1]}
    assert (str(row["ip"]), row["point"], row["bits"], row["space"]) == (
        "10.0.0.1",
        "(1,2)",
        "101",
        "public",
    )


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT n FROM generate_series(1, 50) n LIMIT :limit",
        "SELECT n FROM generate_series(1, 50) n",
    ],
)
def test_rows_are_limited_and_it_is_known_whether_there_are_more(
    hardened: Database, conn: Connection, tmp_path: Path, sql: str
) -> None:
    report = own(tmp_path, sql)
    layout = detect(conn, hardened.settings())
    for limit, count, more in [(1, 1, 49), (49, 49, 1), (50, 50, 0), (51, 50, 0), (0, 50, 0)]:
        with running(conn, layout, report, {}, limit=limit) as answer:
            assert len(list(answer.rows)) == count
            assert (answer.more, answer.many_more) == (more, False)


@pytest.mark.parametrize("rows", [1001, 1002, 1003, 5000])
@pytest.mark.parametrize("bound", ["LIMIT :limit", ""])
def test_of_very_many_rows_only_so_many_are_counted(
    hardened: Database, conn: Connection, tmp_path: Path, rows: int, bound: str
) -> None:
    report = own(tmp_path, f"SELECT n FROM generate_series(1, {rows}) n {bound}")
    layout = detect(conn, hardened.settings())
    with running(conn, layout, report, {}, limit=2) as answer:
        assert list(answer.rows) == [(1,), (2,)]
        assert (answer.more, answer.many_more) == (min(rows - 2, 1000), rows > 1002)


def test_many_rows_need_little_memory(hardened: Database, conn: Connection, tmp_path: Path) -> None:
    report = own(tmp_path, "SELECT n, repeat('x', 500) AS body FROM generate_series(1, 100000) n")
    layout = detect(conn, hardened.settings())
    with running(conn, layout, report, {}) as answer:
        tracemalloc.start()
        count = sum(1 for _ in answer.rows)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
    assert count == 100_000
    assert peak < 8_000_000, "all rows together take more than 50 MB"


def test_leaving_a_report_early_leaves_the_connection_usable(
    hardened: Database, conn: Connection, tmp_path: Path
) -> None:
    report = own(tmp_path, "SELECT n FROM generate_series(1, 1000000) n")
    layout = detect(conn, hardened.settings())
    with running(conn, layout, report, {}) as answer:
        next(answer.rows)
    assert conn.execute("SELECT 1").fetchone() == (1,)


@pytest.fixture
def reader(hardened: Database) -> Iterator[str]:
    """A login that is a member of the reader role and nothing else."""
    hardened.execute(grants(detect_layout(hardened)))
    name = f"reads_{hardened.name}"
    hardened.execute(f"CREATE ROLE {name} LOGIN; GRANT secops_reader TO {name}")
    yield name
    hardened.execute(f"DROP OWNED BY {name}; DROP ROLE {name}")


def test_the_reader_can_run_every_report(hardened: Database, reader: str) -> None:
    with hardened.connect(user=reader) as conn:
        for name in open_catalogue().names():
            if shipped(name).requires is None:
                ask(hardened, name, conn=conn)


def test_reports_use_the_login_and_server_that_is_theirs(
    hardened: Database, reader: str, secops: Command, tmp_path: Path
) -> None:
    own(
        tmp_path,
        "SELECT current_user::text AS who, current_setting('application_name') AS app",
        name="who",
    )
    own(tmp_path, "SELECT password_hash FROM users", name="passwords")
    run = secops.on(
        hardened,
        SECOPS_REPORT_DATABASE_URL=hardened.server.url(hardened.name, reader),
        SECOPS_QUERIES=str(tmp_path),
    )
    (row,) = run("report", "who", "--json").json()
    assert row["who"] == reader
    assert row["app"].startswith("secops/")
    assert row["app"].endswith("report who")
    (row,) = run("report", "who", "--database-url", hardened.url, "--json").json()
    assert row["who"] == "postgres", "a flag outdoes the environment"
    refused = run("report", "passwords", "--json")
    assert refused.code == 1
    assert "permission denied for table users" in refused.error()["message"]
    assert "passwords.sql" in refused.error()["message"]


STRANGE = """
CREATE SCHEMA "the app";
CREATE TABLE "the app"."Users :x" (
    "Key" bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    "E-mail" text NOT NULL UNIQUE
);
INSERT INTO "the app"."Users :x" ("E-mail") VALUES ('one@x.org'), ('two@x.org');
"""


def test_every_report_works_whatever_the_users_table_is_called(
    database: Database, secops: Command, tmp_path: Path
) -> None:
    database.execute(STRANGE)
    (tmp_path / "secops.yaml").write_text(
        'users:\n  schema: the app\n  table: "Users :x"\n  id: Key\n  email: E-mail\n'
    )
    config = str(tmp_path / "secops.yaml")
    migrated = secops.on(database, SECOPS_CONFIG=config)("migrate", "--yes")
    assert migrated.code == 0, migrated.err
    found: dict[str, Any] = {}
    with database.connect() as conn:
        layout = detect(conn, load({"database_url": database.url}, config=Path(config), environ={}))
        for name in open_catalogue().names():
            report = shipped(name)
            if report.requires is None:
                with running(conn, layout, report, defaults(report)) as answer:
                    found[name] = [
                        dict(zip(answer.columns, row, strict=True)) for row in answer.rows
                    ]
    idle = [(row["email"], row["name"]) for row in found["never-logged-in-since"]]
    assert idle == [("one@x.org", None), ("two@x.org", None)]
    assert "the app.Users :x" in {row["table_name"] for row in found["table-size"]}


def defaults(report: Report) -> dict[str, Any]:
    return {
        each.name: None if each.default is None else each.read(each.default)
        for each in report.parameters
    }


def test_columns_are_as_the_headers_say(hardened: Database, conn: Connection) -> None:
    layout = detect(conn, hardened.settings())
    for name in open_catalogue().names():
        report = shipped(name)
        if report.requires is not None:
            continue
        with running(conn, layout, report, defaults(report)) as answer:
            assert tuple(report.columns) == answer.columns, name


@pytest.mark.skipif(not ATTACKS.is_dir(), reason=f"the attack log is not there: {ATTACKS}")
def test_real_attacks_are_counted_as_they_were_without_sql(
    hardened: Database, conn: Connection
) -> None:
    truth = json.loads((ATTACKS / "ssh-attacks.truth.json").read_text())
    lines = (ATTACKS / "ssh-attacks.events.jsonl").read_text().splitlines()
    log = [json.loads(line) for line in lines]
    insert(conn, [
        Event(each["event_type"], each["created_at"], each["email"], each["ip_address"])
        for each in log
    ])  # fmt: skip
    as_of = hardened.value("SELECT max(created_at) FROM security_events")
    rows = ask(hardened, "failed-logins", as_of=as_of, since="7d")
    assert len(rows) == truth["pairs_with_5_or_more"]
    pairs = Counter({(row["email"], row["ip_address"]): row["attempts"] for row in rows})
    for email, address, count in truth["top_pairs"]:
        assert pairs[email, address] == count
    assert [row["attempts"] for row in rows[:5]] == [count for _, _, count in truth["top_pairs"]]
    every = ask(hardened, "failed-logins", as_of=as_of, since="7d", min_attempts="1")
    assert sum(row["attempts"] for row in every) == truth["events"]
    assert len({row["ip_address"] for row in every}) == truth["failing_addresses"]
    sources = ask(hardened, "suspicious-ips", as_of=as_of, since="7d", min_attempts="1000000")
    assert len(sources) == truth["addresses_that_tried_5_or_more_names"]
    names = {row["ip_address"]: row["accounts"] for row in sources}
    for address, count in truth["most_names"]:
        assert names[address] == count
    last = ask(hardened, "failed-logins", as_of=as_of, since="1h", min_attempts="1")
    assert 0 < sum(row["attempts"] for row in last) < truth["events"]
