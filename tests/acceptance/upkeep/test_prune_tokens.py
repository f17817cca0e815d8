"""``secops prune tokens``, the real command."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import time

import pytest

from support.databases import Command, Database

FILL = """
    INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), 'expired-' || g, now() - interval '8 days' - g * interval '1 s'
    FROM generate_series(1, %s) g
"""
# One live session with two used tokens that expired long ago, one dead session with two, one live token.
SESSIONS = """
    INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, revoked, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), f || '-' || n, md5(f)::uuid, n < 3, f = 'dead',
           now() + CASE WHEN n < 3 THEN interval '-9 days' ELSE interval '1 day' END
    FROM unnest('{live,dead}'::text[]) f, generate_series(1, 3) n
"""
EVENTS = (
    "SELECT metadata FROM security_events WHERE event_type = 'tokens_pruned' ORDER BY created_at"
)
LEFT = "SELECT count(*) FROM refresh_tokens WHERE token_hash LIKE 'expired-%'"
DELETED = (
    "SELECT coalesce(sum(changed), 0)::int FROM secops.operations WHERE action = 'prune tokens'"
)


def facts(database: Database) -> list[dict[str, object]]:
    return [row[0] for row in database.execute(EVENTS)]


def test_a_dry_run_says_what_the_run_then_does(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (500,))
    hardened.execute(SESSIONS)
    run = secops.on(hardened)
    before = hardened.execute("SELECT * FROM refresh_tokens ORDER BY id")
    would = run("prune", "tokens", "--dry-run", "--json").json()
    assert hardened.execute("SELECT * FROM refresh_tokens ORDER BY id") == before
    assert facts(hardened) == []
    did = run("prune", "tokens", "--yes", "--json").json()
    assert (would["dry_run"], did["dry_run"]) == (True, False)
    for key in ("action", "matched", "changed", "items", "kept_as_evidence"):
        assert would[key] == did[key], key
    assert (did["matched"], did["changed"], did["kept_as_evidence"]) == (502, 502, 2)
    assert did["items"] == []
    assert did["rows_per_second"] > 0
    left = hardened.execute("SELECT token_hash FROM refresh_tokens ORDER BY 1")
    assert [row[0] for row in left] == ["dead-3", "live-1", "live-2", "live-3"]


def test_a_run_is_told_in_one_event(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (100,))
    done = secops.on(hardened)(
        "prune", "tokens", "--yes", "--json", "--reason", "cron", "--ticket", "T-1", "--batch", "9"
    ).json()
    assert done["batches"] == 12
    assert [event["deleted"] for event in facts(hardened)] == [9] * 11 + [1]
    event = facts(hardened)[0]
    assert (event["reason"], event["ticket"], event["command"]) == ("cron", "T-1", "prune tokens")
    assert event["operation_id"] == done["operation_id"]
    assert event["expired_before"] == done["expired_before"]
    row = hardened.execute(
        "SELECT id::text, changed, matched, finished_at IS NOT NULL FROM secops.operations"
        " WHERE action = 'prune tokens'"
    )
    assert row == [(done["operation_id"], 100, 100, True)]


def test_with_nothing_to_do_nothing_is_recorded(secops: Command, hardened: Database) -> None:
    for more in ([], ["--yes"], ["--dry-run"]):
        done = secops.on(hardened)("prune", "tokens", "--json", *more)
        assert done.code == 0
        assert done.json()["changed"] == 0
    assert facts(hardened) == []


def test_people_read_numbers_and_a_speed(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (1500,))
    hardened.execute(SESSIONS)
    done = secops.on(hardened)("prune", "tokens", "--yes")
    assert re.search(
        r"Deleted 1,502 refresh tokens that expired before \d{4}-\d\d-\d\d \d\d:\d\d:\d\dZ in .* s"
        r" \([\d,]+ a second, \d+ batch(es)?\)\. Kept 2 used ones of live sessions, as evidence\.",
        done.out,
    )
    assert done.err == ""


def test_without_yes_and_without_a_terminal_it_refuses(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (3,))
    said = secops.on(hardened)("prune", "tokens")
    assert said.code == 8
    assert "Delete 3 refresh tokens" in said.err
    assert hardened.value(LEFT) == 3


def test_expect_is_held(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (3,))
    run = secops.on(hardened)
    assert run("prune", "tokens", "--yes", "--expect", "4").code == 8
    assert hardened.value(LEFT) == 3
    assert run("prune", "tokens", "--yes", "--expect", "3").code == 0
    assert hardened.value(LEFT) == 0


@pytest.mark.parametrize(
    "words",
    [
        ("--older-than", "7"),
        ("--older-than", "-7d"),
        ("--older-than=-7d",),
        ("--older-than", "2999-01-01"),
        ("--older-than", ""),
        ("--older-than", "101y"),
        ("--batch", "-5"),
        ("--batch", "0"),
        ("--batch", "many"),
        ("--pause", "-1s"),
        ("--max-duration", "soon"),
    ],
)
def test_words_that_are_off_are_a_usage_error(
    secops: Command, hardened: Database, words: tuple[str, ...]
) -> None:
    hardened.execute(FILL, (3,))
    said = secops.on(hardened)("prune", "tokens", "--yes", "--json", *words)
    assert said.code == 2
    assert said.error()["code"] == "usage"
    assert hardened.value(LEFT) == 3


def test_without_the_tables_it_says_to_migrate(secops: Command, app_db: Database) -> None:
    said = secops.on(app_db)("prune", "tokens", "--yes", "--json")
    assert said.code == 1
    assert "secops migrate" in said.error()["hint"]


def until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def slow(command: Command) -> subprocess.Popen[str]:
    return command.start("prune", "tokens", "--yes", "--batch", "50", "--pause", "50ms")


def test_a_second_run_ends_at_once_and_names_the_first(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (2000,))
    run = secops.on(hardened)
    first = slow(run)
    until(lambda: hardened.value(LEFT) < 2000)
    second = run("prune", "tokens", "--yes", "--json")
    assert second.code == 6
    assert "prune tokens" in second.error()["message"]
    [holder] = second.error()["details"]["holders"]
    assert holder["application"].endswith("prune tokens")
    first.communicate(timeout=60)
    assert first.returncode == 0
    assert hardened.value(LEFT) == 0
    assert sum(int(str(event["deleted"])) for event in facts(hardened)) == 2000


def test_killed_in_the_middle_the_next_run_finishes_it(secops: Command, hardened: Database) -> None:
    hardened.execute(FILL, (2000,))
    hardened.execute(SESSIONS)
    run = secops.on(hardened)
    first = slow(run)
    until(lambda: hardened.value(LEFT) < 1800)
    first.send_signal(signal.SIGKILL)
    first.communicate(timeout=60)
    until(lambda: not hardened.value("SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"))
    gone = 2000 - hardened.value(LEFT)
    # The dead session's used tokens are older than all others.
    assert hardened.value(DELETED) - gone in {0, 2}
    assert sum(int(str(event["deleted"])) for event in facts(hardened)) == hardened.value(DELETED)
    assert run("prune", "tokens", "--yes").code == 0
    assert hardened.value(LEFT) == 0
    assert hardened.value(DELETED) == 2002
    assert sum(int(str(event["deleted"])) for event in facts(hardened)) == 2002
    ended = hardened.execute(
        "SELECT detail ->> 'complete' FROM secops.operations"
        " WHERE action = 'prune tokens' AND finished_at IS NOT NULL ORDER BY 1"
    )
    assert ended == [("false",), ("true",)]
    assert hardened.value("SELECT count(*) FROM refresh_tokens WHERE token_hash LIKE 'live-%'") == 3


def test_interrupted_it_says_what_stands_and_records_it(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(FILL, (2000,))
    first = slow(secops.on(hardened))
    until(lambda: hardened.value(LEFT) < 1900)
    first.send_signal(signal.SIGINT)
    _, said = first.communicate(timeout=60)
    gone = 2000 - hardened.value(LEFT)
    assert first.returncode == 130
    assert f"Interrupted after {gone:,} refresh tokens were deleted" in said
    assert sum(int(str(event["deleted"])) for event in facts(hardened)) == gone
    assert hardened.value(DELETED) == gone
    ended = "SELECT detail ->> 'complete' FROM secops.operations WHERE action = 'prune tokens'"
    assert hardened.value(ended) == "false"


def test_progress_shows_rate_and_time_left_on_a_terminal(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(FILL, (3000,))
    hardened.execute("ANALYZE refresh_tokens")
    run = secops.on(hardened)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        run.argv("prune", "tokens", "--yes", "--batch", "100", "--pause", "60ms"),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        env=run.environment({"TERM": "xterm", "COLUMNS": "100"}), cwd=run.home,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            data = os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
        if not data:
            break
        shown += data
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown.decode())
    assert re.search(r"Deleting expired tokens.*of 3,000 tokens, [\d,.]+/s, \d+ s left", text)
