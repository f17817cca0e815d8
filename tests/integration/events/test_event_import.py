"""What an import leaves in the database."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC
from pathlib import Path
from typing import Any

import psycopg
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from secops.accounts import event_import
from secops.accounts.event_files import Source
from secops.accounts.event_import import Imported, Importer, Reading, Rejected
from secops.accounts.operations import Operation
from secops.accounts.patience import Patience
from secops.errors import Busy
from secops.schema.detect import detect
from support.databases import Database

COUNT = "SELECT count(*) FROM security_events WHERE event_category <> 'operator'"
TOLD = (
    "SELECT metadata FROM security_events WHERE event_type = 'events_imported' ORDER BY created_at"
)


def imported(
    database: Database, path: Path, *, dry_run: bool = False, **more: Any
) -> tuple[Imported, list[Rejected]]:
    """Import in this process."""
    rejected: list[Rejected] = []
    with database.connect() as conn, Source(str(path)) as source:
        layout = detect(conn, database.settings())
        rows = event_import.rows_of(conn, layout, timezone=UTC, extra_to_metadata=False)
        reading = Reading(source, rows, rejected.append)
        if dry_run:
            return event_import.check(conn, layout, reading), rejected
        operation = Operation.begin(
            actor="ann", host="here", reason="", ticket="", command="import events"
        )
        return Importer(conn, layout, operation, reading, Patience(), **more).run(), rejected


def write(path: Path, events: list[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(event) + "\n" for event in events), encoding="utf-8")
    return path


def some(number: int) -> list[dict[str, Any]]:
    return [
        {"event_type": "login_failed", "email": f"p{n}@x.org", "created_at": "2026-01-01T00:00:00Z"}
        for n in range(number)
    ]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


def test_every_column_arrives_as_it_was_stated(hardened: Database, file: Path) -> None:
    event = {
        "id": "0b8a3c1e-5f3d-4c7e-9a55-0123456789ab",
        "event_type": "login_failed",
        "event_category": "authentication",
        "severity": "warning",
        "user_id": "1c8a3c1e-5f3d-4c7e-9a55-0123456789ab",
        "email": "back\\slash\ttab@x.org",
        "ip_address": "2001:db8::1",
        "user_agent": "\x1b[31mred\u202e \\N \\. \u2028",
        "request_path": "/a\nb",
        "request_method": "POST",
        "success": False,
        "message": "{\"quoted\"}, 'x'; DROP TABLE users",
        "metadata": {"deep": [1, 2.5, None, {"ü": "\\u0000 is no NUL"}]},
        "created_at": "2014-11-30T08:42:04.123456+05:30",
    }
    done, rejected = imported(hardened, write(file, [event]))
    assert (done.new, rejected) == (1, [])
    [found] = hardened.execute(
        f"SELECT to_jsonb(e) || jsonb_build_object('created_at', created_at AT TIME ZONE 'UTC')"
        f" FROM security_events e WHERE id = '{event['id']}'"
    )
    assert found[0] == {**event, "created_at": "2014-11-30T03:12:04.123456"}


def test_importing_it_again_changes_nothing_at_all(hardened: Database, file: Path) -> None:
    write(file, some(100) + some(3) + [{"event_type": "logout"}] * 3)
    first, _ = imported(hardened, file)
    assert (first.valid, first.new, first.undated) == (106, 106, 3)
    before = hardened.execute("SELECT * FROM security_events ORDER BY id")
    operations = hardened.value("SELECT count(*) FROM secops.operations")
    again, _ = imported(hardened, file)
    assert (again.valid, again.new) == (106, 0)
    assert hardened.execute("SELECT * FROM security_events ORDER BY id") == before
    assert hardened.value("SELECT count(*) FROM secops.operations") == operations


def test_a_file_that_has_grown_adds_what_is_new(hardened: Database, file: Path) -> None:
    imported(hardened, write(file, some(10)))
    done, _ = imported(hardened, write(file, some(15)))
    assert (done.valid, done.new) == (15, 5)
    # A rotated log that overlaps, the other way round.
    done, _ = imported(hardened, write(file, list(reversed(some(17)))))
    assert (done.valid, done.new) == (17, 2)


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    first=st.lists(st.sampled_from("abc"), max_size=8),
    second=st.lists(st.sampled_from("abc"), max_size=8),
    batch=st.integers(1, 4),
)
def test_after_any_two_files_each_event_is_there_as_often_as_one_of_them_states_it(
    hardened: Database, file: Path, first: list[str], second: list[str], batch: int
) -> None:
    hardened.execute("TRUNCATE security_events")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(event_import, "BATCH", batch)
        for names in (first, second):
            events = [
                {"event_type": "logout", "email": name, "created_at": "2026-01-01T00:00:00Z"}
                for name in names
            ]
            would, _ = imported(hardened, write(file, events), dry_run=True)
            done, _ = imported(hardened, file)
            assert (would.valid, would.new) == (done.valid, done.new)
    found = dict(
        hardened.execute(
            "SELECT email, count(*)::int FROM security_events"
            " WHERE event_type = 'logout' GROUP BY email"
        )
    )
    both = set(first) | set(second)
    assert found == {name: max(first.count(name), second.count(name)) for name in both}


def test_a_dry_run_counts_an_id_once_and_writes_nothing(hardened: Database, file: Path) -> None:
    events = [
        {**event, "id": f"00000000-0000-4000-8000-{n % 7:012}"} for n, event in enumerate(some(20))
    ]
    would, _ = imported(hardened, write(file, events), dry_run=True)
    assert (would.valid, would.new) == (20, 7)
    assert hardened.value(COUNT) == 0
    done, _ = imported(hardened, file)
    assert (done.valid, done.new) == (20, 7)


def test_each_transaction_tells_of_its_events(
    hardened: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_import, "BATCH", 40)
    imported(hardened, write(file, [{"bad": 1}, *some(100)]))
    told = [row[0] for row in hardened.execute(TOLD)]
    assert [(each["first_line"], each["last_line"], each["imported"]) for each in told] == [
        (2, 41, 40), (42, 81, 40), (82, 101, 20),
    ]  # fmt: skip
    assert {each["actor"] for each in told} == {"ann"}
    [(number, changed, matched, finished)] = hardened.execute(
        "SELECT id::text, changed, matched, finished_at IS NOT NULL FROM secops.operations"
        " WHERE action = 'import events'"
    )
    assert {each["operation_id"] for each in told} == {number}
    assert (changed, matched, finished) == (100, 100, True)


def test_the_limit_of_the_future_is_by_the_servers_clock(hardened: Database, file: Path) -> None:
    near, far = hardened.execute(
        "SELECT to_char(now() AT TIME ZONE 'UTC' + i, 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
        " FROM unnest(ARRAY[interval '23 hours', '25 hours']) i"
    )
    events = [{"event_type": "logout", "created_at": each[0]} for each in (near, far)]
    done, rejected = imported(hardened, write(file, events))
    assert done.new == 1
    assert [(each.line, each.reason) for each in rejected] == [(2, "created_at lies in the future")]


@contextmanager
def holding(database: Database, statement: str) -> Iterator[psycopg.Connection[Any]]:
    with database.connect() as conn:
        conn.execute("BEGIN")
        conn.execute(statement.encode())
        yield conn
        conn.execute("ROLLBACK")


def test_a_table_that_is_locked_for_a_moment_is_waited_for(hardened: Database, file: Path) -> None:
    write(file, some(10))
    with holding(hardened, "LOCK TABLE security_events IN ACCESS EXCLUSIVE MODE") as conn:
        timer = threading.Timer(0.3, lambda: conn.execute("COMMIT"))
        timer.start()
        done, _ = imported(hardened, file)
        timer.join()
    assert done.new == 10


def test_an_event_that_somebody_else_puts_in_at_the_same_moment_is_there_once(
    hardened: Database, file: Path
) -> None:
    number = "8c5ad4a2-1d6a-4f5e-9b80-0d6f0a5a6b1c"
    events = some(30)
    events[17]["id"] = number
    write(file, events)
    insert = (
        "INSERT INTO security_events (id, event_type, event_category, severity, success)"
        f" VALUES ('{number}', 'logout', 'session', 'info', true)"
    )
    with holding(hardened, insert) as conn:
        timer = threading.Timer(0.3, lambda: conn.execute("COMMIT"))
        timer.start()
        done, _ = imported(hardened, file)
        timer.join()
    assert done.new == 29
    assert hardened.value(COUNT) == 30
    kind = "SELECT event_type FROM security_events WHERE id = %s"
    assert hardened.value(kind, (number,)) == "logout"


def test_of_an_event_that_a_file_holds_twice_the_first_line_counts(
    hardened: Database, file: Path
) -> None:
    number = "8c5ad4a2-1d6a-4f5e-9b80-0d6f0a5a6b1c"
    write(file, [{**event, "id": number} for event in some(3)])
    done, _ = imported(hardened, file)
    assert (done.valid, done.new) == (3, 1)
    assert (
        hardened.value("SELECT email FROM security_events WHERE id = %s", (number,)) == "p0@x.org"
    )


def test_a_table_that_stays_locked_is_named_with_its_holder(hardened: Database, file: Path) -> None:
    write(file, some(10))
    with (
        holding(hardened, "LOCK TABLE security_events IN ACCESS EXCLUSIVE MODE"),
        pytest.raises(Busy),
    ):
        imported(hardened, file)
    assert hardened.value(COUNT) == 0


def test_a_run_that_loses_its_lock_stops_and_keeps_what_it_did(
    hardened: Database, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(event_import, "BATCH", 10)
    calls = 0

    def alive() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise Busy("lost")

    with pytest.raises(Busy):
        imported(hardened, write(file, some(100)), alive=alive)
    assert hardened.value(COUNT) == 20
    assert (
        hardened.value("SELECT changed FROM secops.operations WHERE action = 'import events'") == 20
    )
    done, _ = imported(hardened, file)
    assert done.new == 80


def test_an_error_in_the_database_reaches_the_caller(hardened: Database, file: Path) -> None:
    hardened.execute("ALTER TABLE security_events ADD CHECK (email <> 'p55@x.org')")
    with pytest.raises(psycopg.errors.CheckViolation):
        imported(hardened, write(file, some(100)))
    assert hardened.value(COUNT) == 0


def test_a_partitioned_table_takes_events_and_takes_none_twice(
    hardened: Database, file: Path
) -> None:
    hardened.execute(
        """
        ALTER TABLE security_events RENAME TO old;
        CREATE TABLE security_events (LIKE old INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
        ALTER TABLE security_events ADD PRIMARY KEY (id, created_at);
        CREATE TABLE p1 PARTITION OF security_events FOR VALUES FROM (MINVALUE) TO ('2026-01-01');
        CREATE TABLE p2 PARTITION OF security_events FOR VALUES FROM ('2026-01-01') TO (MAXVALUE);
        """
    )
    write(file, [*some(5), {"event_type": "logout"}, {"event_type": "logout"}])
    assert imported(hardened, file)[0].new == 7
    assert imported(hardened, file)[0].new == 0
    assert hardened.value(COUNT) == 7
