"""Turning a plain table of events into partitions beside an app, and letting go of a month.

Beside the copy that one would write by hand: a partitioned table, INSERT ... SELECT, two renames, in one
transaction and under one lock, for without that lock what the app writes meanwhile would be lost.
"""

from __future__ import annotations

import argparse
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.events import fill
from bench.measure import Section, milliseconds, tell
from support.busy_app import App, at_work, quantile
from support.databases import Command, Database, create_app
from support.servers import Connection, Server

RATE = 400.0
SESSIONS = 8
QUIET = 10.0
"""Seconds for which the app works before anything else happens."""
AFTER = 3.0
"""Seconds for which it works on afterwards."""

COPY = """
BEGIN;
LOCK TABLE security_events IN ACCESS EXCLUSIVE MODE;
CREATE TABLE security_events_new (LIKE security_events INCLUDING DEFAULTS) PARTITION BY RANGE (created_at);
ALTER TABLE security_events_new ADD PRIMARY KEY (id, created_at);
{months}
INSERT INTO security_events_new SELECT * FROM security_events;
{indexes}
ALTER TABLE security_events RENAME TO security_events_old;
ALTER TABLE security_events_new RENAME TO security_events;
COMMIT;
ANALYZE security_events
"""


@dataclass
class Held:
    """How long somebody held the table against every reader, at most: between the looks around it."""

    longest: float = 0.0


@contextmanager
def watching(database: Database) -> Iterator[Held]:
    """Look for ACCESS EXCLUSIVE locks on the table, every millisecond or so."""
    held = Held()
    over = threading.Event()
    oid = database.value("SELECT 'security_events'::regclass::oid")

    def look() -> None:
        query = (
            "SELECT EXISTS (SELECT FROM pg_locks WHERE granted AND mode = 'AccessExclusiveLock'"
            f" AND relation = {oid})"
        )
        free, seen = time.perf_counter(), False
        with database.connect() as conn:
            while not over.wait(0.0005):
                begun = time.perf_counter()
                row = conn.execute(query.encode()).fetchone()
                if row == (True,):
                    seen = True
                    continue
                if seen:
                    held.longest = max(held.longest, time.perf_counter() - free)
                free, seen = begun, False

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield held
    finally:
        over.set()
        thread.join()


@dataclass
class Conversion:
    """What a conversion cost."""

    seconds: float
    app: App
    held: Held
    wal: int
    begun: float
    ended: float

    @property
    def quiet(self) -> float:
        """Seconds of the app's longest statement before anything happened."""
        return max(self.app.between(0, self.begun))

    @property
    def beside(self) -> list[float]:
        """Seconds of each of the app's statements from then on."""
        return self.app.between(self.begun, self.ended + AFTER)


def beside_the_app(database: Database, work: Callable[[], object]) -> Conversion:
    """Convert beside an app, and see that no event is missing afterwards."""
    before = database.value(
        "SELECT count(*) FROM security_events WHERE ip_address <> '203.0.113.7'"
    )
    lsn = database.value("SELECT pg_current_wal_lsn()")
    with watching(database) as held, at_work(database, sessions=SESSIONS, rate=RATE) as app:
        time.sleep(QUIET)
        begun = time.monotonic()
        work()
        ended = time.monotonic()
        time.sleep(AFTER)
    wal = int(database.value("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", (lsn,)))
    assert database.value(
        "SELECT relkind = 'p' FROM pg_class WHERE oid = 'security_events'::regclass"
    )
    after = database.value("SELECT count(*) FROM security_events WHERE ip_address <> '203.0.113.7'")
    written = database.value("SELECT count(*) FROM security_events WHERE ip_address = '203.0.113.7'"
                             " AND created_at > now() - interval '1 hour' AND email ~ '^app'")  # fmt: skip
    assert after == before, (before, after)
    assert written >= len(app.written), (written, len(app.written))
    tell(f"  the generator was late by {milliseconds(app.late)} at most")
    return Conversion(ended - begun, app, held, wal, begun, ended)


def by_copy(database: Database) -> None:
    """Do it as one would by hand."""
    with database.connect() as conn:
        months = conn.execute(
            """SELECT string_agg(format('CREATE TABLE security_events_%s PARTITION OF security_events_new'
                                        ' FOR VALUES FROM (%L) TO (%L);',
                                        to_char(m, 'YYYY_MM'), m, m + interval '1 month'), E'\\n')
               FROM generate_series(date_trunc('month', now() - interval '100 days'),
                                    now() + interval '3 months', '1 month') AS m"""
        ).fetchone()
        indexes = conn.execute(
            """SELECT string_agg(format('CREATE INDEX ON security_events_new %s;',
                                        substring(pg_get_indexdef(indexrelid) FROM 'USING.*')), E'\\n')
               FROM pg_index WHERE indrelid = 'security_events'::regclass AND NOT indisprimary"""
        ).fetchone()
        assert months is not None
        assert indexes is not None
        for statement in COPY.format(months=months[0], indexes=indexes[0]).split(";\n"):
            conn.execute(statement.encode())


def built(server: Server, events: int) -> Database:
    """Make a hardened database with events."""
    database = Database(server, server.create())
    create_app(database)
    done = Command(Path(tempfile.mkdtemp(prefix="secops-bench-"))).on(database)("migrate", "--yes")
    assert done.code == 0, done.err
    with database.connect() as conn:
        fill(conn, events)
        conn.execute("CHECKPOINT")
    return database


def convert(database: Database) -> None:
    """Do it as secops does."""
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-"))).on(database)
    done = command("partition", "convert", "--yes", timeout=3600)
    assert done.code == 0, done.err


OLD = """
ALTER TABLE security_events DETACH PARTITION security_events_legacy;
CREATE TABLE security_events_old (LIKE security_events INCLUDING ALL);
INSERT INTO security_events_old SELECT * FROM security_events_legacy WHERE created_at < '{half}';
DROP TABLE security_events_legacy;
ALTER TABLE security_events ATTACH PARTITION security_events_old FOR VALUES FROM (MINVALUE) TO ('{half}');
CREATE TABLE security_events_recent (LIKE security_events INCLUDING ALL);
ALTER TABLE security_events ATTACH PARTITION security_events_recent FOR VALUES FROM ('{half}') TO ('{bound}');
VACUUM (ANALYZE) security_events_old
"""


@dataclass
class Gone:
    """What removing a partition's rows cost."""

    seconds: float
    wal: int
    given_back: int


def remove(database: Database, work: Callable[[Connection], object]) -> Gone:
    """Remove rows and see what that cost and gave back."""
    with database.connect() as conn:
        conn.execute("CHECKPOINT")
        size, lsn = _measures(conn)
        begun = time.perf_counter()
        work(conn)
        seconds = time.perf_counter() - begun
        wal = conn.execute("SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), %s)", (lsn,)).fetchone()
        assert wal is not None
        return Gone(seconds, int(str(wal[0])), int(str(size)) - int(str(_measures(conn)[0])))


def _measures(conn: Connection) -> tuple[object, object]:
    row = conn.execute(
        "SELECT sum(pg_total_relation_size(oid))::bigint, pg_current_wal_lsn()"
        " FROM pg_class WHERE relname ~ '^security_events' AND relkind = 'r'"
    ).fetchone()
    assert row is not None
    return row[0], row[1]


def saying(*statements: str) -> Callable[[Connection], None]:
    """Return what runs statements."""

    def run(conn: Connection) -> None:
        for statement in statements:
            conn.execute(statement.encode())

    return run


def with_an_old_partition(plain: Database, half: str) -> Database:
    """Copy a plain table of events and give the older half of them a partition, as months would."""
    database = Database(plain.server, plain.server.create(plain.name))
    convert(database)
    bound = database.value(
        """SELECT substring(pg_get_expr(relpartbound, oid) FROM 'TO \\(''(.*)''\\)')
           FROM pg_class WHERE relname = 'security_events_legacy'"""
    )
    with database.connect() as conn:
        saying(*OLD.format(half=half, bound=bound).split(";\n"))(conn)
    return database


def prune(database: Database) -> None:
    """Let go of what is older than 44 days, as cron does."""
    kept = {f"SECOPS_RETENTION_{name}": "44d" for name in ("INFORMATION", "SECURITY", "OPERATOR")}
    command = Command(Path(tempfile.mkdtemp(prefix="secops-bench-"))).on(database, **kept)
    done = command("prune", "events", "--yes", "--json", timeout=3600)
    assert done.code == 0, done.err
    assert not database.execute("SELECT FROM pg_class WHERE relname = 'security_events_old'")


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Convert the same table both ways, and remove half as many rows both ways."""
    total: int = options.events
    section = Section(
        "Partitions",
        ("what", "by hand", "secops", "ratio"),
        f"{total:,} events become partitions beside an app that inserts and reads {RATE:.0f} times a second in "
        f"{SESSIONS} sessions of a process of its own; by hand that is a copy under one lock. Then the older "
        f"half goes: by DELETE and VACUUM from a plain table, or as a partition of {total // 2:,} events: "
        "by the statements DETACH CONCURRENTLY and DROP, and by the command, its start and its count "
        "of the rows included.",
    )
    tell(f"partitions: {total:,} events ...")
    ours = built(server, total)
    theirs, plain = (Database(server, server.create(ours.name)) for _ in range(2))
    tell("  converting ...")
    mine = beside_the_app(ours, lambda: convert(ours))
    server.drop(ours.name)
    tell("  copying ...")
    copied = beside_the_app(theirs, lambda: by_copy(theirs))
    server.drop(theirs.name)
    for what, his, my in (
        ("convert: failed statements of the app", len(copied.app.failed), len(mine.app.failed)),
        ("convert: statements of the app", len(copied.beside), len(mine.beside)),
    ):
        section.add(what, f"{his:,}", f"{my:,}", "")
    for what, his_, my_ in (
        ("before: longest statement of the app", copied.quiet, mine.quiet),
        ("convert: longest statement of the app", max(copied.beside), max(mine.beside)),
        (
            "convert: 99.9 % of its statements within",
            quantile(copied.beside, 0.999),
            quantile(mine.beside, 0.999),
        ),
        ("convert: longest exclusive lock", copied.held.longest, mine.held.longest),
        ("convert: time in all", copied.seconds, mine.seconds),
    ):
        section.add(what, milliseconds(his_), milliseconds(my_), f"{my_ / his_:.4f}")
    section.add("convert: WAL", *_sizes(copied.wal, mine.wal))

    tell(f"partitions: removing {total // 2:,} events ...")
    half = plain.value("SELECT now() - interval '45 days'").isoformat()
    by_command = with_an_old_partition(plain, half)
    by_hand = Database(server, server.create(by_command.name))
    tell("  by DELETE and VACUUM ...")
    deleted = remove(
        plain,
        saying(
            f"DELETE FROM security_events WHERE created_at < '{half}'", "VACUUM security_events"
        ),
    )
    server.drop(plain.name)
    tell("  by DETACH and DROP ...")
    dropped = remove(
        by_hand,
        saying(
            "ALTER TABLE security_events DETACH PARTITION security_events_old CONCURRENTLY",
            "DROP TABLE security_events_old",
        ),
    )
    pruned = remove(by_command, lambda _: prune(by_command))
    server.drop(by_hand.name)
    server.drop(by_command.name)
    for what, mine_ in (("DETACH and DROP alone", dropped), ("`secops prune events`", pruned)):
        section.add(
            f"remove, {what}: time", milliseconds(deleted.seconds), milliseconds(mine_.seconds),
            f"{mine_.seconds / deleted.seconds:.4f}",
        )  # fmt: skip
        section.add(f"remove, {what}: WAL", *_sizes(deleted.wal, mine_.wal))
        section.add(
            f"remove, {what}: disk given back", *_sizes(deleted.given_back, mine_.given_back)
        )
    return section


def _sizes(theirs: int, ours: int) -> tuple[str, str, str]:
    ratio = f"{ours / theirs:.4f}" if theirs else ""
    return f"{theirs / 1e6:,.1f} MB", f"{ours / 1e6:,.1f} MB", ratio
