"""The database is down; somebody else is at it; somebody died at it."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from typing import Any

import pytest

from support.servers import Server, majors

from .conftest import ENV, Place

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

YES = ("--yes", "--reason", "day 1")
NOWHERE = {"SECOPS_DATABASE_URL": "postgresql://postgres@127.0.0.1:9/nothing"}


def test_a_rollback_works_while_the_database_is_down_and_is_replayed_later(place: Place) -> None:
    assert place("rollout", "--stage", "first", *YES).code == 0
    forward = place("rollout", "--stage", "second", *YES, env=NOWHERE)
    assert forward.code == 10
    before = place.env

    back = place("rollback", "--now", env=NOWHERE)
    assert back.code == 0, back.err
    assert "The database is away" in back.err
    assert place.value("JWT_EXPIRATION") == "30d"
    assert place.env != before
    known = place("rollout", "history", "--json", env=NOWHERE)
    assert [row["what"] for row in known.json()] == ["steps back from first", "steps first"]

    # The database has heard nothing, until any command has both at hand.
    assert place.database.value("SELECT count(*) FROM secops.rollouts") == 1
    status = place("rollout", "status")
    assert status.code == 0, status.err
    assert "are in it now" in status.err
    rows = place.database.execute(
        "SELECT kind, state, holds FROM secops.rollouts ORDER BY started_at"
    )
    assert rows == [("stage", "rolled_back", None), ("rollback", "passed", None)]
    entries = place.database.execute("SELECT place FROM secops.rollout_journal ORDER BY 1")
    events = place.database.execute(
        "SELECT metadata ->> 'entry' FROM security_events WHERE event_type LIKE 'roll%' ORDER BY 1"
    )
    assert entries == events
    assert place("rollout", "history").code == 0
    # The journal goes on as if nothing had been.
    assert place("rollout", "--stage", "first", *YES).code == 0
    assert place("rollback", "--now").code == 0


def test_without_a_database_too_one_process_at_a_time_rolls_back(place: Place) -> None:
    assert place("rollout", "--stage", "first", *YES).code == 0
    from secops.rollout.local_journal import LocalJournal
    from secops.targets.dotenv import Dotenv

    fingerprint = Dotenv("prod", place.folder / ".env").fingerprint
    state = place.folder.parent / "state" / "rollouts"
    with LocalJournal(state, "prod", fingerprint).held("bob@here, pid 7", "a rollback"):
        busy = place("rollback", "--now", env=NOWHERE)
    assert busy.code == 6, busy.err
    assert "bob@here, pid 7" in busy.err
    assert place.value("JWT_EXPIRATION") == "1h"
    assert place("rollback", "--now", env=NOWHERE).code == 0


def test_the_database_goes_away_in_the_middle_of_a_rollback(place: Place) -> None:
    assert place("rollout", "--stage", "first", *YES).code == 0
    name = place.database.name

    def cut(number: int) -> Any:
        def hook(now: int, _: object, __: str) -> None:
            if now == number:
                with place.database.server.connect() as conn:
                    conn.execute(
                        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = %s",
                        (name,),
                    )

        return hook

    for number in (7, 12, 18, 26, 29, 34):
        done = place.run("rollback", "--now", cwd=place.folder, hook=cut(number))
        assert done.code == 0, (number, done.err)
        assert place.value("JWT_EXPIRATION") == "30d", number
        again = place("rollout", "status")
        assert again.code == 0, (number, again.err)
        rows = place.database.execute(
            "SELECT state, holds FROM secops.rollouts ORDER BY started_at DESC"
        )
        assert rows[0] == ("passed", None), (number, rows)
        assert place("rollout", "history").code == 0, number
        assert place("rollout", "--stage", "first", *YES).code == 0, number


def test_of_two_operators_one_wins_and_the_other_learns_who(place: Place) -> None:
    place.database.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(0.5); RETURN NEW; END $$;"
        " CREATE TRIGGER wait AFTER INSERT ON secops.rollout_journal"
        " FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    running = [
        subprocess.Popen(
            place.run.argv("rollout", "--stage", "first", "--yes", "--json", "--reason", f"r{number}"),
            cwd=place.folder, env=place.run.environment({"SECOPS_OPERATOR": f"operator{number}"}),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        )
        for number in (1, 2)
    ]  # fmt: skip
    ended = [(each, *each.communicate(timeout=60)) for each in running]
    codes = sorted(each.returncode for each, _, _ in ended)
    assert codes == [0, 6], ended
    loser = next(err for each, _, err in ended if each.returncode == 6)
    winner = next(number for number, (each, _, _) in enumerate(ended, 1) if each.returncode == 0)
    assert f"operator{winner}@" in loser, loser
    assert place.env.count("JWT_EXPIRATION=1h") == 1


def test_a_dead_holder_is_taken_over_in_one_command(place: Place) -> None:
    # It dies in the transaction after the one that recorded what it will write.
    place.database.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN"
        " IF NEW.state = 'applied' THEN PERFORM pg_sleep(60); END IF; RETURN NEW; END $$;"
        " CREATE TRIGGER wait AFTER INSERT ON secops.rollout_journal"
        " FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    process = subprocess.Popen(
        place.run.argv("rollout", "--stage", "first", *YES), cwd=place.folder,
        env=place.run.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    deadline = time.monotonic() + 30
    while "JWT_EXPIRATION=1h" not in place.env:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    held = place("rollout", "--stage", "second", *YES)
    assert held.code == 6, held.err
    assert "alice@" in held.err
    back = place("rollback", "--now")
    assert back.code == 6, back.err
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    place.database.execute(
        "DROP TRIGGER wait ON secops.rollout_journal;"
        " SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    )
    unfinished = place("rollout", "--stage", "second", *YES)
    assert unfinished.code == 7, unfinished.err
    done = place("rollout", "resume")
    assert done.code == 0, done.err
    assert "steps first has passed" in done.out
    assert place.env.count("JWT_EXPIRATION=1h") == 1


def test_an_entry_that_somebody_changed_shows(place: Place) -> None:
    assert place("rollout", "--stage", "first", *YES).code == 0
    assert place("rollout", "history").code == 0
    place.database.execute(
        "UPDATE secops.rollout_journal SET entry = replace(entry, '30d', '31d') WHERE number = 0"
    )
    told = place("rollout", "history")
    assert told.code == 5
    assert "/0 was changed" in told.err


def test_a_server_that_is_stopped(place: Place) -> None:
    own = Server(majors()["pg18"])
    try:
        url = own.url("postgres")
        with own.connect() as conn:
            conn.execute(
                "CREATE TABLE users (id uuid PRIMARY KEY DEFAULT gen_random_uuid(), email text,"
                " password_hash text)"
            )
        env = {"SECOPS_DATABASE_URL": url}
        assert place("migrate", "--yes", env=env).code == 0
        assert place("rollout", "--stage", "first", *YES, env=env).code == 0
        own.stop()
        done = place("rollback", "--now", "--json", env=env)
        assert done.code == 0, done.err
        assert place.value("JWT_EXPIRATION") == "30d"
        assert place.env.startswith(ENV)
        own.start()
        assert place("rollout", "status", env=env).code == 0
        with own.connect() as conn:
            states = conn.execute(
                "SELECT state FROM secops.rollouts ORDER BY started_at"
            ).fetchall()
        assert states == [("rolled_back",), ("passed",)]
    finally:
        own.destroy()
