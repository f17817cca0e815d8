"""``secops cron cleanup``, the real command, with a monitor that really listens."""

from __future__ import annotations

import re
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from support import archives
from support.databases import Command, Database
from support.servers import majors

TOKENS = """
    INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), 'expired-' || g, now() - interval '8 days' - g * interval '1 s'
    FROM generate_series(1, %s) g
"""
EVENTS = """
    INSERT INTO security_events (event_type, event_category, severity, success, created_at)
    SELECT 'login_success', 'authentication', 'info', true, now() - interval '100 days'
    FROM generate_series(1, %s) g
"""
LEFT = "SELECT count(*)::int FROM refresh_tokens"
OLD = "SELECT count(*)::int FROM security_events WHERE event_type = 'login_success'"


@dataclass
class Monitor:
    """What a monitor was told."""

    url: str
    told: list[tuple[str, str]] = field(default_factory=list)

    @property
    def paths(self) -> list[str]:
        return [path for path, _ in self.told]


@contextmanager
def monitor(status: int = 200) -> Iterator[Monitor]:
    """Listen as a healthchecks-style monitor does."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["Content-Length"])).decode()
            found.told.append((self.path, body))
            self.send_response(status)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    found = Monitor(f"http://127.0.0.1:{server.server_address[1]}/s3cr3t-uuid")
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_one_line_says_what_was_done_and_nothing_is_said_of_nothing(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(TOKENS, (2000,))
    hardened.execute(EVENTS, (30,))
    run = secops.on(hardened, SECOPS_RETENTION_PRESET="gdpr")
    would = run("cron", "cleanup", "--dry-run")
    assert "Would do: 2,000 refresh tokens deleted; 30 events deleted" in would.out
    assert (hardened.value(LEFT), hardened.value(OLD)) == (2000, 30)
    with monitor() as told:
        did = run("cron", "cleanup", "--quiet", "--ping", told.url)
    assert (did.code, did.err) == (0, "")
    line = "cron cleanup: 2,000 refresh tokens deleted; 30 events deleted; refresh_tokens analyzed."
    assert did.out == line + "\n"
    assert told.told == [("/s3cr3t-uuid/start", ""), ("/s3cr3t-uuid", line)]
    assert (hardened.value(LEFT), hardened.value(OLD)) == (0, 0)
    commands = hardened.execute(
        "SELECT metadata ->> 'command', count(*)::int FROM security_events"
        " WHERE event_category = 'operator' AND event_type LIKE '%%pruned' GROUP BY 1 ORDER BY 1"
    )
    assert commands == [("prune events", 1), ("prune tokens", 1)]
    again = run("cron", "cleanup")
    assert (again.code, again.out, again.err) == (0, "", "")
    machine = run("cron", "cleanup", "--json").json()
    assert (machine["action"], machine["changed"]) == ("cron cleanup", 0)
    assert [part["part"] for part in machine["parts"]] == [
        "partitions ahead", "prune tokens", "prune events", "sweep", "analyze",
    ]  # fmt: skip


def test_without_a_retention_no_event_is_deleted(secops: Command, hardened: Database) -> None:
    hardened.execute(EVENTS, (3,))
    done = secops.on(hardened)("cron", "cleanup")
    assert (done.code, done.out) == (0, "")
    assert hardened.value(OLD) == 3


def test_a_part_that_fails_fails_the_run_and_keeps_no_other_from_running(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(TOKENS, (3,))
    hardened.execute(EVENTS, (3,))
    run = secops.on(
        hardened,
        SECOPS_RETENTION_PRESET="gdpr",
        SECOPS_RETENTION_HOLDS_FILE="/nowhere/holds",
    )
    with monitor() as told:
        done = run("cron", "cleanup", env={"SECOPS_PING_URL": told.url})
    assert done.code == 2
    assert done.out.startswith("cron cleanup: 3 refresh tokens deleted")
    assert "/nowhere/holds cannot be read" in done.err
    assert told.paths == ["/s3cr3t-uuid/start", "/s3cr3t-uuid/fail"]
    assert "nowhere" not in told.told[1][1]
    assert (hardened.value(LEFT), hardened.value(OLD)) == (0, 3)


def test_a_monitor_that_fails_fails_nothing_and_its_url_is_not_shown(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(TOKENS, (3,))
    run = secops.on(hardened)
    with monitor(status=503) as told:
        done = run("cron", "cleanup", "--ping", told.url)
    assert done.code == 0
    assert done.err.count("The heartbeat was not delivered: 127.0.0.1 answered 503") == 2
    assert "s3cr3t" not in done.err
    nobody = run("cron", "cleanup", "--ping", told.url)
    assert nobody.code == 0
    assert "cannot be reached" in nobody.err
    assert hardened.value(LEFT) == 0


def test_a_monitor_that_does_not_answer_holds_nothing_up_for_long(
    secops: Command, hardened: Database
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}/x"
        begun = time.monotonic()
        done = secops.on(hardened)("cron", "cleanup", "--ping", url)
        assert time.monotonic() - begun < 30
    assert done.code == 0
    assert "did not answer" in done.err or "cannot be reached" in done.err


MONTHLY = """
    ALTER TABLE security_events RENAME TO plain;
    CREATE TABLE security_events (LIKE plain INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
    ALTER TABLE security_events ADD PRIMARY KEY (id, created_at);
    DO $$ BEGIN
        SET LOCAL TimeZone = 'UTC';
        EXECUTE format('CREATE TABLE past PARTITION OF security_events FOR VALUES FROM (MINVALUE) TO (%L)',
                       date_trunc('month', now()) + interval '1 month');
    END $$
"""
PARTITIONS = "SELECT count(*)::int FROM pg_inherits WHERE inhparent = 'security_events'::regclass"


def test_the_months_to_come_get_their_partitions(secops: Command, hardened: Database) -> None:
    with hardened.connect() as conn:
        conn.execute(MONTHLY)
    hardened.execute(EVENTS, (3,))
    run = secops.on(hardened, SECOPS_RETENTION_PRESET="gdpr")
    would = run("cron", "cleanup", "--dry-run")
    assert "3 partitions made" in would.out
    assert hardened.value(PARTITIONS) == 1
    did = run("cron", "cleanup")
    assert (did.code, did.err) == (0, "")
    assert did.out == (
        "cron cleanup: 3 partitions made; 3 events deleted; security_events analyzed.\n"
    )
    assert hardened.value(PARTITIONS) == 4
    assert run("cron", "cleanup").out == ""


def test_what_is_no_url_is_refused_before_anything_is_done(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(TOKENS, (3,))
    for url in ("file:///etc/passwd", "ftp://x/s3cr3t", "s3cr3t", "http://", "http://[::s3cr3t"):
        said = secops.on(hardened)("cron", "cleanup", "--json", "--ping", url)
        assert (said.code, said.error()["code"]) == (2, "usage")
        assert "s3cr3t" not in said.err
    assert hardened.value(LEFT) == 3


def test_a_database_that_is_away_is_told_to_the_monitor(secops: Command) -> None:
    with monitor() as told:
        done = secops(
            "cron", "cleanup",
            env={"SECOPS_DATABASE_URL": "postgresql://u@127.0.0.1:1/d", "SECOPS_PING_URL": told.url},
        )  # fmt: skip
    assert done.code == 10
    assert told.paths[-1] == "/s3cr3t-uuid/fail"


def test_killed_in_the_middle_the_next_run_finishes_it_and_one_runs_at_a_time(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(TOKENS, (20_000,))
    run = secops.on(hardened)
    with hardened.connect() as conn:
        # The last of them is in other hands, so that the run lasts as long as its sweeps.
        conn.execute("BEGIN")
        conn.execute("SELECT FROM refresh_tokens WHERE token_hash = 'expired-1' FOR UPDATE")
        first = run.start("cron", "cleanup")
        deadline = time.monotonic() + 60
        while hardened.value(LEFT) > 1:
            assert time.monotonic() < deadline
        second = run("cron", "cleanup", "--json")
        first.send_signal(signal.SIGKILL)
        first.communicate(timeout=60)
        conn.execute("ROLLBACK")
    assert second.code == 6
    assert "cron cleanup" in second.error()["message"]
    while hardened.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
        assert time.monotonic() < deadline
    assert run("cron", "cleanup").code == 0
    assert hardened.value(LEFT) == 0
    told = hardened.value(
        "SELECT sum((metadata ->> 'deleted')::int)::int FROM security_events"
        " WHERE event_type = 'tokens_pruned'"
    )
    assert told == 20_000


@pytest.mark.parametrize("server", [max(majors())], indirect=True)
def test_months_and_the_archive_are_part_of_the_one_line(
    secops: Command, hardened: Database
) -> None:
    run = secops.on(
        hardened, SECOPS_RETENTION_INFORMATION="30d", SECOPS_RETENTION_SECURITY="60d",
        SECOPS_RETENTION_OPERATOR="70d", SECOPS_ARCHIVE_DIR="archive",
    )  # fmt: skip
    archives.partition(hardened, run)
    archives.fill(hardened, 300)
    before = archives.live(hardened)
    would = run("cron", "cleanup", "--dry-run")
    found = re.search(r"(\d+) events deleted with (\d) partitions", would.out)
    assert found is not None
    assert not (run.home / "archive").exists()
    did = run("cron", "cleanup", "--quiet")
    assert (did.code, did.err) == (0, "")
    assert f"{found[0]}, {found[1]} archived" in did.out
    assert did.out.count("\n") == 1
    kept = archives.archived(hardened, run.home / "archive")
    assert sorted(kept + archives.live(hardened)) == sorted(before)
    assert len(kept) == int(found[1])
    again = run("cron", "cleanup")
    assert (again.code, again.out, again.err) == (0, "", "")
