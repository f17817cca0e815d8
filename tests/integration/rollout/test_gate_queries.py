"""The gates that ask the app's own events, on a real database."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import psycopg
import pytest

from secops.database.connection import connect
from secops.errors import ConfigurationError
from secops.reports.statement import statement
from secops.rollout.gates.gate import Moment, Reading, Surroundings, Verdict, build
from secops.rollout.gates.sql_ratio import find, queries
from secops.schema.detect import detect
from secops.settings import Settings
from support.databases import Database
from support.gates import HOUR, MINUTE, Spec, Told, around

QUERIES = ("login-failures", "refresh-failures", "lockouts", "theft")
one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

CHANGED = timedelta(hours=6)
"""How long ago the change was made."""

# Two days, an event every 10 seconds: what each is depends on its number alone.
TRAFFIC = """
    INSERT INTO security_events (event_type, event_category, severity, email, ip_address, success, created_at)
    SELECT kind,
           CASE WHEN kind = 'account_locked' AND mod(n, 80) = 20 THEN 'operator' ELSE 'authentication' END,
           'info', 'u' || mod(n, 500) || '@x.org', '203.0.113.' || mod(n, 250), kind NOT LIKE '%failed', at
    FROM (
        SELECT n, now() - n * interval '10 seconds' AS at,
               CASE WHEN mod(n, 20) = 1 OR (mod(n, 20) IN (3, 5) AND n < {broken}) THEN 'login_failed'
                    WHEN mod(n, 40) = 20 THEN 'account_locked'
                    WHEN mod(n, 40) = 0 THEN 'refresh_token_theft_detected'
                    WHEN mod(n, 40) = 2 THEN 'token_refresh_failed'
                    WHEN mod(n, 2) = 0 THEN 'token_refresh'
                    ELSE 'login_success' END AS kind
        FROM generate_series(1, 17280) n
    ) events
    ORDER BY md5(n::text)  -- a table that is not in the order of time makes indexes matter
"""


@pytest.fixture
def conn(hardened: Database) -> Iterator[psycopg.Connection[Any]]:
    with connect(hardened.settings(), "test") as opened:
        yield opened


def fill(hardened: Database, *, broken: bool = False) -> None:
    hardened.execute(TRAFFIC.format(broken=CHANGED // timedelta(seconds=10) if broken else 0))
    hardened.execute("VACUUM ANALYZE security_events")


def ask(
    conn: psycopg.Connection[Any] | None,
    settings: Settings,
    query: str,
    *,
    now: datetime,
    previous: dict[str, Any] | None = None,
    soak: timedelta = CHANGED - MINUTE,
    **options: Any,
) -> Reading:
    began = now - CHANGED
    spec = Spec(query, "sql_ratio", {"query": query, "floor": "0.1%", **options})
    moment = Moment("op-1", "", began, began, began, now, began + soak, previous=previous or {})
    surroundings = Surroundings(around(Told()).target, settings, conn)
    return build(spec, settings).read(moment, surroundings)


def clock(hardened: Database) -> datetime:
    found = hardened.value("SELECT now()")
    assert isinstance(found, datetime)
    return found


def test_each_query_counts_what_it_says(hardened: Database, conn: psycopg.Connection[Any]) -> None:
    fill(hardened)
    now, settings = clock(hardened), hardened.settings()
    expected = {"login-failures": 0.1, "refresh-failures": 0.105, "lockouts": 0.024, "theft": 0.055}
    for query in QUERIES:
        found = ask(conn, settings, query, now=now, detect="3x")
        assert found.baseline == pytest.approx(expected[query], rel=0.1), query
        assert found.figures["share"] == pytest.approx(expected[query], rel=0.1), query
        assert found.verdict in {Verdict.PASS, Verdict.INCONCLUSIVE}, found.summary
    assert ask(conn, settings, "login-failures", now=now).verdict is Verdict.PASS


@one_major
def test_logins_that_fail_three_times_as_often_are_found(
    hardened: Database, conn: psycopg.Connection[Any]
) -> None:
    fill(hardened, broken=True)
    now, settings = clock(hardened), hardened.settings()
    assert ask(conn, settings, "login-failures", now=now).verdict is Verdict.FAIL
    assert ask(conn, settings, "theft", now=now).verdict is not Verdict.FAIL


def test_the_partial_indexes_serve_them(hardened: Database, conn: psycopg.Connection[Any]) -> None:
    fill(hardened)
    now, layout = clock(hardened), detect(conn, hardened.settings())
    wanted = {
        "login-failures": "idx_security_events_login_failed",
        "refresh-failures": "idx_security_events_token_refresh",
        "lockouts": "idx_security_events_rare",
        "theft": "idx_security_events_rare",
    }
    for query, index in wanted.items():
        values: dict[str, Any] = {
            "since": now - 6 * HOUR, "until": now, "window": timedelta(minutes=5),
        }  # fmt: skip
        ready = statement(find(query), layout, values)
        plan = psycopg.RawCursor(conn).execute(
            f"EXPLAIN (FORMAT JSON) {ready.rendered.text}".encode(), ready.values
        )
        shown = json.dumps(plan.fetchone())
        assert index in shown, query
        assert "Seq Scan" not in shown, query


OWN = """\
-- ---
-- title: My failures
-- params:
--   since: {{type: timestamp, help: From.}}
--   until: {{type: timestamp, help: To.}}
--   window: {{type: duration, help: Length.}}
{header}-- ---
{sql}
"""
FINE = (
    "SELECT date_bin(:window, created_at, :since) AS at, count(*) FILTER (WHERE NOT success) AS bad,\n"
    "       count(*) AS total FROM security_events\n"
    "WHERE created_at >= :since AND created_at < :until GROUP BY 1 ORDER BY 1"
)


def own(
    hardened: Database, folder: Path, sql: str, *, name: str = "mine", header: str = ""
) -> Settings:
    (folder / "gates").mkdir(exist_ok=True)
    (folder / "gates" / f"{name}.sql").write_text(OWN.format(header=header, sql=sql))
    return hardened.settings(queries=str(folder))


@one_major
def test_an_own_query_counts_too(
    hardened: Database, conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    fill(hardened)
    settings = own(hardened, tmp_path, FINE)
    found = ask(conn, settings, "mine", now=clock(hardened))
    assert found.verdict is Verdict.PASS
    assert "are my failures" in found.summary


BROKEN = [
    ("SELECT nothing, :since, :until, :window", "mine.sql:"),
    ("SELECT :since AS at, 1 AS bad WHERE :until > :since AND :window > '0'", "no column 'total'"),
    ("SELECT :since AS at, 1.5 AS bad, 2 AS total, :until, :window", "two whole numbers"),
    ("SELECT :since AS at, NULL::int AS bad, 2 AS total, :until, :window", "two whole numbers"),
    (
        "SELECT :since AS at, 3 AS bad, 2 AS total, :until, :window",
        "3 my failures among 2 attempts",
    ),
    (
        "SELECT :since AS at, 1 AS bad, 2 AS total, :until, :window FROM pg_sleep(3)",
        "took longer than 200ms",
    ),
    (
        "DELETE FROM security_events WHERE created_at BETWEEN :since AND :until - :window",
        "mine.sql:",
    ),
]


@one_major
def test_a_query_that_breaks_is_an_error_and_no_verdict_on_the_service(
    hardened: Database, conn: psycopg.Connection[Any], tmp_path: Path
) -> None:
    now, events = clock(hardened), hardened.value("SELECT count(*) FROM security_events")
    for sql, said in BROKEN:
        settings = own(hardened, tmp_path, sql)
        found = ask(conn, settings, "mine", now=now, timeout="200ms")
        assert found.verdict is Verdict.ERROR, sql
        assert said in found.summary
        assert conn.info.transaction_status is psycopg.pq.TransactionStatus.IDLE
    assert hardened.value("SELECT count(*) FROM security_events") == events > 0


@one_major
def test_without_a_database_it_is_an_error(hardened: Database) -> None:
    found = ask(None, hardened.settings(), "theft", now=clock(hardened))
    assert found.verdict is Verdict.ERROR
    assert "no database to ask" in found.summary


@one_major
def test_a_connection_that_is_lost_is_an_error(
    hardened: Database, conn: psycopg.Connection[Any]
) -> None:
    now = clock(hardened)
    hardened.execute("SELECT pg_terminate_backend(%s)", (conn.info.backend_pid,))
    kept = {"kept": "as it was"}
    found = ask(conn, hardened.settings(), "theft", now=now, previous=kept)
    assert found.verdict is Verdict.ERROR
    assert found.state == kept


@one_major
def test_without_the_tables_it_is_an_error(app_db: Database) -> None:
    with connect(app_db.settings(), "test") as conn:
        found = ask(conn, app_db.settings(), "theft", now=clock(app_db))
    assert found.verdict is Verdict.ERROR
    assert "security_events" in found.summary


@one_major
def test_an_empty_table_is_no_pass(hardened: Database, conn: psycopg.Connection[Any]) -> None:
    for query in QUERIES:
        found = ask(conn, hardened.settings(), query, now=clock(hardened))
        assert found.verdict is Verdict.INCONCLUSIVE, query


def test_what_ships_is_found_by_any_spelling() -> None:
    assert set(queries()) == set(QUERIES)
    assert find("login_failures.sql").name == find("login-failures").name == "login-failures"


@one_major
def test_a_query_of_a_shipped_name_says_so(hardened: Database, tmp_path: Path) -> None:
    settings = own(hardened, tmp_path, FINE, name="theft")
    with pytest.raises(ConfigurationError, match="already"):
        find("theft", settings)
    settings = own(hardened, tmp_path, FINE, name="theft", header="-- overrides: true\n")
    assert find("theft", settings).title == "My failures"


@one_major
def test_a_query_with_other_parameters_is_refused(hardened: Database, tmp_path: Path) -> None:
    (tmp_path / "gates").mkdir()
    (tmp_path / "gates" / "odd.sql").write_text("-- ---\n-- title: Odd\n-- ---\nSELECT 1\n")
    with pytest.raises(ConfigurationError, match="exactly the parameters since and until"):
        find("odd", hardened.settings(queries=str(tmp_path)))
