"""Reports on many events, beside the plan's own queries on the plan's own indexes."""

from __future__ import annotations

import argparse
import statistics
import tempfile
from pathlib import Path

from bench.events import fill, people
from bench.measure import Section, milliseconds, tell, timed
from secops.reports.catalogue import open_catalogue
from secops.reports.run import running
from secops.schema.detect import detect
from support.databases import Command, Database, create_app
from support.servers import Connection, Server

PLAN = (Path(__file__).resolve().parents[1] / "support" / "plan.sql").read_text()

# The plan's monitoring queries (its section 5.1), to the letter.
QUERIES = {
    "failed-logins": """
        SELECT email, ip_address, COUNT(*) as attempts, MAX(created_at) as last_attempt
        FROM security_events
        WHERE event_type = 'login_failed' AND created_at > NOW() - INTERVAL '24 hours'
        GROUP BY email, ip_address HAVING COUNT(*) >= 5 ORDER BY attempts DESC""",
    "lockouts": """
        SELECT email, ip_address, message, created_at FROM security_events
        WHERE event_type = 'account_locked' AND created_at > NOW() - INTERVAL '7 days'
        ORDER BY created_at DESC""",
    "token-refreshes": """
        SELECT user_id, COUNT(*) as refresh_count, ARRAY_AGG(DISTINCT ip_address) as ip_addresses
        FROM security_events
        WHERE event_type = 'token_refresh' AND created_at > NOW() - INTERVAL '1 hour'
        GROUP BY user_id HAVING COUNT(*) > 10 ORDER BY refresh_count DESC""",
    "theft": """
        SELECT email, ip_address, metadata, created_at FROM security_events
        WHERE event_type = 'refresh_token_theft_detected' ORDER BY created_at DESC LIMIT 20""",
    "table-size": """
        SELECT pg_size_pretty(pg_total_relation_size('security_events')) as total_size,
               COUNT(*) as row_count FROM security_events""",
    "index-usage": """
        SELECT indexrelname, idx_scan, idx_tup_read, idx_tup_fetch FROM pg_stat_user_indexes
        WHERE schemaname = 'public' AND indexrelname LIKE '%security%' ORDER BY idx_scan DESC""",
}
ROUNDS = 7


def measure(server: Server, options: argparse.Namespace) -> Section:
    """Fill two databases with the same events and time each report in the database."""
    total: int = options.events
    tell(f"reports: {total:,} events in each of two databases ...")
    hardened = Database(server, server.create())
    create_app(hardened)
    migrated = Command(Path(tempfile.mkdtemp(prefix="secops-bench-"))).on(hardened)(
        "migrate", "--yes"
    )
    assert migrated.code == 0, migrated.err
    planned = Database(server, server.create())
    create_app(planned)
    planned.execute(PLAN)
    # Checking ten million references would be most of what filling takes.
    planned.execute("ALTER TABLE security_events DROP CONSTRAINT security_events_user_id_fkey")
    section = Section(
        "Reports",
        ("report", "secops", "the plan's query on the plan's indexes", "ratio"),
        f"Time in the database for {total:,} events over ninety days, warm cache, median of {ROUNDS}.",
    )
    with hardened.connect() as ours, planned.connect() as theirs:
        people(ours)
        people(theirs)
        fill(ours, total)
        fill(theirs, total)
        catalogue = open_catalogue()
        for name in catalogue.names():
            taken = _report(ours, hardened, name)
            if name not in QUERIES:
                section.add(f"`{name}`", milliseconds(taken), "", "")
                continue
            beside = _median(theirs, QUERIES[name])
            section.add(
                f"`{name}`", milliseconds(taken), milliseconds(beside), f"{taken / beside:.3f}"
            )
    for database in (hardened, planned):
        server.drop(database.name)
    return section


def _report(conn: Connection, database: Database, name: str) -> float:
    settings = database.settings()
    layout = detect(conn, settings)
    report = open_catalogue().find(name)
    if report.requires is not None:
        return 0.0
    values = {
        each.name: each.read(each.default) if each.default is not None else None
        for each in report.parameters
    }
    taken = []
    for _ in range(ROUNDS + 1):
        with running(conn, layout, report, values) as answer:
            for _row in answer.rows:
                pass
            taken.append(answer.elapsed.total_seconds())
    return statistics.median(taken[1:])


def _median(conn: Connection, query: str) -> float:
    taken = [timed(lambda: conn.execute(query.encode()).fetchall()) for _ in range(ROUNDS + 1)]
    return statistics.median(taken[1:])
