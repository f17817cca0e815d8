"""An app at work on security_events: sessions that insert and read, and remember how long each took."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from uuid import UUID, uuid4

import psycopg

from support.databases import Database

INSERT = """
    INSERT INTO security_events (id, event_type, event_category, severity, email, ip_address, success)
    VALUES (%s, 'login_failed', 'authentication', 'warning', %s, '203.0.113.7', false)
"""
READ = """
    SELECT count(*) FROM security_events
    WHERE event_type = 'login_failed' AND created_at > now() - interval '10 minutes' AND email = %s
"""


@dataclass
class App:
    """What the app did.

    Attributes:
        took: Seconds of each statement.
        failed: What went wrong.
        written: The ids of the events that it was told are written.
    """

    took: list[float] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    written: list[UUID] = field(default_factory=list)

    @property
    def longest(self) -> float:
        """Seconds of the longest statement."""
        return max(self.took)


@contextmanager
def at_work(database: Database, *, sessions: int = 4, rate: float = 200.0) -> Iterator[App]:
    """Let an app work beside the block.

    Args:
        database: Where.
        sessions: How many connections.
        rate: Statements a second, all together: half of them inserts, half of them reads.
    """
    app = App()
    over = threading.Event()
    threads = [
        threading.Thread(target=_work, args=(database, app, over, sessions / rate, number))
        for number in range(sessions)
    ]
    for thread in threads:
        thread.start()
    try:
        time.sleep(0.3)
        yield app
        time.sleep(0.3)
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _work(
    database: Database, app: App, over: threading.Event, interval: float, number: int
) -> None:
    email = f"app{number}@example.com"
    with database.connect() as conn:
        due = time.monotonic()
        while not over.is_set():
            event = uuid4()
            for query, values in ((INSERT, (event, email)), (READ, (email,))):
                begun = time.monotonic()
                try:
                    conn.execute(query.encode(), values)
                except psycopg.Error as error:
                    app.failed.append(str(error))
                else:
                    app.took.append(time.monotonic() - begun)
                    if query is INSERT:
                        app.written.append(event)
                due += interval
                # One that waited does not make up for it: that would be another load.
                due = max(due, time.monotonic() - interval)
                over.wait(max(0.0, due - time.monotonic()))
