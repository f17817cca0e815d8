"""``secops prune events``, the real command."""

from __future__ import annotations

import signal
import time

import pytest

from support.databases import Command, Database

FILL = """
    INSERT INTO security_events (event_type, event_category, severity, success, email, created_at)
    SELECT 'login_success', 'authentication', 'info', true, 'bob@example.com',
           now() - interval '100 days' - g * interval '1 s'
    FROM generate_series(1, %s) g
"""
LEFT = "SELECT count(*)::int FROM security_events WHERE event_type = 'login_success'"
TOLD = "SELECT metadata FROM security_events WHERE event_type = 'events_pruned' ORDER BY created_at"
DELETED = (
    "SELECT coalesce(sum(changed), 0)::int FROM secops.operations WHERE action = 'prune events'"
)
GDPR = {"SECOPS_RETENTION_PRESET": "gdpr"}


def test_with_nothing_configured_nothing_is_deleted(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (3,))
    for more in (["--yes"], ["--dry-run"], ["--class", "operator"]):
        said = secops.on(hardened)("prune", "events", "--json", *more)
        assert said.code == 8
        assert "retention." in said.error()["hint"]
    assert hardened.value(LEFT) == 3


def test_a_dry_run_says_what_the_run_then_does_and_the_run_is_told(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(FILL, (500,))
    run = secops.on(hardened, **GDPR)
    would = run("prune", "events", "--dry-run", "--json").json()
    assert hardened.value(LEFT) == 500
    assert would["by_class"] == {"information": 500, "security": 0, "operator": 0}
    did = run("prune", "events", "--yes", "--json", "--reason", "policy 7").json()
    assert (would["changed"], did["changed"], did["complete"]) == (500, 500, True)
    assert (would["dry_run"], did["dry_run"]) == (True, False)
    [(event,)] = hardened.execute(TOLD)
    assert (event["deleted"], event["reason"], event["command"]) == (
        500,
        "policy 7",
        "prune events",
    )
    assert event["information_before"] == did["information_before"]
    assert event["operation_id"] == did["operation_id"]
    # What it has just written is young, and nothing is left to do.
    again = run("prune", "events", "--yes")
    assert (again.code, again.err) == (0, "")
    assert again.out.startswith("Deleted 0 events past their retention (information before ")


def test_an_event_under_a_hold_stays(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (3,))
    run = secops.on(hardened)
    (run.home / "secops.yaml").write_text(
        "retention:\n  information: 90d\n  holds_file: holds.txt\n", "utf-8"
    )
    (run.home / "holds.txt").write_text("# case 12\nBob@example.com\ntypo@example.com\n", "utf-8")
    done = run("prune", "events", "--yes")
    assert done.code == 0
    assert "3 as old are under a legal hold." in done.out
    assert "typo@example.com" in done.err
    assert hardened.value(LEFT) == 3
    (run.home / "holds.txt").unlink()
    lost = run("prune", "events", "--yes")
    assert lost.code == 2
    assert "Nothing is deleted without it" in lost.err
    assert hardened.value(LEFT) == 3


def test_without_yes_and_without_a_terminal_it_refuses(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (3,))
    run = secops.on(hardened, **GDPR)
    said = run("prune", "events")
    assert said.code == 8
    assert "Delete 3 events past their retention" in said.err
    assert run("prune", "events", "--yes", "--expect", "4").code == 8
    assert hardened.value(LEFT) == 3


@pytest.mark.parametrize(
    "words", [("--class", "secret"), ("--batch", "0"), ("--pause", "-1s"), ("--max-duration", "x")]
)
def test_words_that_are_off_are_a_usage_error(
    secops: Command, hardened: Database, words: tuple[str, ...]
) -> None:
    said = secops.on(hardened, **GDPR)("prune", "events", "--yes", "--json", *words)
    assert (said.code, said.error()["code"]) == (2, "usage")


def test_killed_in_the_middle_the_next_run_finishes_it_and_one_runs_at_a_time(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(FILL, (2000,))
    run = secops.on(hardened, **GDPR)
    first = run.start("prune", "events", "--yes", "--batch", "50", "--pause", "50ms")
    deadline = time.monotonic() + 60
    while hardened.value(LEFT) > 1800:
        assert time.monotonic() < deadline
    second = run("prune", "events", "--yes", "--json")
    assert second.code == 6
    assert "prune events" in second.error()["message"]
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    while hardened.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"):
        assert time.monotonic() < deadline
    gone = 2000 - hardened.value(LEFT)
    assert 0 < gone < 2000
    assert hardened.value(DELETED) == gone
    assert sum(row[0]["deleted"] for row in hardened.execute(TOLD)) == gone
    assert run("prune", "events", "--yes").code == 0
    assert hardened.value(LEFT) == 0
    told = sum(row[0]["deleted"] for row in hardened.execute(TOLD))
    assert told == hardened.value(DELETED) == 2000
    ended = hardened.execute(
        "SELECT detail ->> 'complete' FROM secops.operations"
        " WHERE action = 'prune events' AND finished_at IS NOT NULL ORDER BY 1"
    )
    assert ended == [("false",), ("true",)]
