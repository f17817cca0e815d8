"""The backend's own tables, kept small: what counts still, or is locked, or waits, stays."""

from __future__ import annotations

from datetime import timedelta

import pytest

from secops.upkeep.pace import Pace
from secops.upkeep.sweep import OVER, Sweep
from support.databases import Database

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

ROWS = """
    INSERT INTO secops.login_attempts (identifier, failed, taken_at, locked_until) VALUES
        ('fresh', 3, now() - interval '7 days', NULL),
        ('locked', 5, now() - interval '9 days', now() + interval '1 hour'),
        ('over', 5, now() - interval '9 days', now() - interval '2 days'),
        ('old', 2, now() - interval '9 days', NULL);
    INSERT INTO secops.rate_limits VALUES ('a', now() - interval '1 s'), ('b', now() + interval '1 min');
    INSERT INTO secops.outbox (kind, address, sent_at, given_up_at, created_at) VALUES
        ('k', 'sent', now() - interval '31 days', NULL, now() - interval '31 days'),
        ('k', 'lost', NULL, now() - interval '31 days', now() - interval '40 days'),
        ('k', 'late', now() - interval '1 day', NULL, now() - interval '40 days'),
        ('k', 'open', NULL, NULL, now() - interval '40 days');
"""


def left(database: Database) -> list[str]:
    return [row[0] for row in database.execute(
        "SELECT encode(identifier, 'escape') FROM secops.login_attempts UNION ALL"
        " SELECT client FROM secops.rate_limits UNION ALL SELECT address FROM secops.outbox ORDER BY 1"
    )]  # fmt: skip


def test_what_is_over_goes_and_nothing_else(hardened: Database) -> None:
    for statement in filter(str.strip, ROWS.split(";")):
        hardened.execute(statement)
    expected = {"login_attempts": 2, "rate_limits": 1, "outbox": 2}
    with hardened.connect() as conn:
        assert Sweep(conn, lambda: None).count() == expected
        assert len(left(hardened)) == 10
        assert Sweep(conn, lambda: None).run() == expected
        assert left(hardened) == ["b", "fresh", "late", "locked", "open"]
        assert Sweep(conn, lambda: None).run() == dict.fromkeys(OVER, 0)


def test_it_goes_in_batches_and_waits_for_no_login(hardened: Database) -> None:
    hardened.execute(
        "INSERT INTO secops.login_attempts (identifier, taken_at) SELECT int4send(g), now() - interval '9 days'"
        " FROM generate_series(1, 1000) g"
    )
    with hardened.connect() as conn, hardened.connect() as login:
        sweep = Sweep(conn, lambda: None, pace=Pace(300, timedelta(0)))
        with login.transaction():
            login.execute(
                "SELECT FROM secops.login_attempts WHERE identifier = int4send(900) FOR UPDATE"
            )
            found = sweep.run()
            assert not sweep.complete
            assert found["login_attempts"] == 600
            login.execute(
                "UPDATE secops.login_attempts SET taken_at = now() WHERE identifier = int4send(900)"
            )
        again = Sweep(conn, lambda: None)
        assert again.run()["login_attempts"] == 399
        assert again.complete


def test_a_database_from_before_the_backend_has_nothing_to_sweep(app_db: Database) -> None:
    with app_db.connect() as conn:
        sweep = Sweep(conn, lambda: None)
        assert (sweep.count(), sweep.run(), sweep.complete) == ({}, {}, True)
