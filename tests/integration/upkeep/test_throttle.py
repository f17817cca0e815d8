"""What makes a run wait, and that it goes on when the reason is gone."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from secops.accounts.operations import Operation
from secops.errors import Refused, UsageError
from secops.schema.detect import detect
from secops.upkeep import expired
from secops.upkeep.pace import Pace
from secops.upkeep.prune import Pruned, Pruner
from secops.upkeep.throttle import Throttle
from support.databases import Command, Database
from support.servers import Server, free_port, majors

FILL = """
    INSERT INTO refresh_tokens (user_id, token_hash, expires_at)
    SELECT (SELECT id FROM users LIMIT 1), g::text, now() - interval '30 days'
    FROM generate_series(1, 200) g
"""
LEFT = "SELECT count(*)::int FROM refresh_tokens"


def pruned(database: Database, throttle: Throttle, *, limit: timedelta | None = None) -> Pruned:
    with database.connect() as conn:
        layout = detect(conn, database.settings())
        operation = Operation.begin(
            actor="ann", host="here", reason="", ticket="", command="prune tokens"
        )
        bounds = expired.bounds(conn, timedelta(days=7))
        throttle.check(conn)
        pruner = Pruner(conn, layout, operation, bounds, Pace(), throttle=throttle)
        return pruner.run(expired=200, max_duration=limit)


def waits_until(database: Database, throttle: Throttle, end: Callable[[], object]) -> None:
    """Prune; while the reason stands nothing goes, and once it is gone all does."""
    notes: list[str] = []
    throttle.note = notes.append
    seen: list[int] = []

    def later() -> None:
        seen.append(database.value(LEFT))
        end()

    timer = threading.Timer(1.5, later)
    timer.start()
    done = pruned(database, throttle)
    timer.join()
    assert seen == [200]
    assert (done.deleted, done.complete) == (200, True)
    assert len(notes) == 1


def test_it_waits_while_a_file_is_there(hardened: Database, tmp_path: Path) -> None:
    hardened.execute(FILL)
    flag = tmp_path / "pause"
    flag.touch()
    waits_until(hardened, Throttle(pause_file=flag), flag.unlink)


@pytest.mark.parametrize("value", ["true", "3", "0.5::numeric", "1e-3::float8"])
def test_it_waits_while_a_query_says_so(hardened: Database, value: str) -> None:
    hardened.execute(FILL)
    hardened.execute("CREATE TABLE load (here int)")
    hardened.execute("INSERT INTO load VALUES (1)")
    waits_until(
        hardened,
        Throttle(pause_query=f"SELECT {value} FROM load"),
        lambda: hardened.execute("TRUNCATE load"),
    )


@pytest.mark.parametrize("value", ["false", "0", "-1", "NULL", "0.0::numeric"])
def test_a_query_that_does_not_say_so_makes_nobody_wait(hardened: Database, value: str) -> None:
    hardened.execute(FILL)
    begun = time.monotonic()
    assert pruned(hardened, Throttle(pause_query=f"SELECT {value}")).deleted == 200
    assert time.monotonic() - begun < 5


def test_a_query_can_change_nothing_and_must_be_one(hardened: Database) -> None:
    hardened.execute(FILL)
    for query in ("DELETE FROM users RETURNING 1", "SELECT 0; COMMIT; DELETE FROM users"):
        with pytest.raises(Exception, match=r"read-only|multiple commands"):
            pruned(hardened, Throttle(pause_query=query))
    with pytest.raises(UsageError):
        pruned(hardened, Throttle(pause_query="SELECT 'much'"))
    assert hardened.value("SELECT count(*) FROM users") > 0
    assert hardened.value(LEFT) == 200


def test_when_time_is_up_it_waits_no_longer(hardened: Database) -> None:
    hardened.execute(FILL)
    begun = time.monotonic()
    done = pruned(hardened, Throttle(pause_query="SELECT 1"), limit=timedelta(milliseconds=300))
    assert time.monotonic() - begun < 5
    assert (done.deleted, done.complete) == (0, False)


@pytest.fixture
def replica(server: Server) -> Iterator[Server]:
    """A hot standby that streams from the server."""
    standby: Server = object.__new__(Server)
    standby.binaries, standby.user, standby.port = server.binaries, server.user, free_port()
    standby.folder = Path(tempfile.mkdtemp(prefix="secops-pg-"))
    if server.user is not None:
        os.chown(standby.folder, server.user.pw_uid, server.user.pw_gid)
    server._run(
        "pg_basebackup", "-d", server.url(), "-D", str(standby.data), "-R", "-X", "stream", "-c", "fast",
    )  # fmt: skip
    with (standby.data / "postgresql.conf").open("a") as conf:
        conf.write(f"unix_socket_directories='{standby.folder}'\n")
    standby.start()
    yield standby
    standby.stop("immediate")
    shutil.rmtree(standby.folder, ignore_errors=True)


def test_it_waits_while_a_replica_is_behind(hardened: Database, replica: Server) -> None:
    with replica.connect("postgres") as standby:
        standby.execute("SELECT pg_wal_replay_pause()")
        hardened.execute(FILL)
        behind = "SELECT max(replay_lag) > interval '2 s' FROM pg_stat_replication"
        deadline = time.monotonic() + 60
        while hardened.value(behind) is not True:
            assert time.monotonic() < deadline
            hardened.execute("SELECT pg_current_xact_id()")
            time.sleep(0.2)
        waits_until(
            hardened,
            Throttle(max_lag=timedelta(seconds=2)),
            lambda: standby.execute("SELECT pg_wal_replay_resume()"),
        )


def test_a_role_that_may_not_see_lag_is_told(hardened: Database) -> None:
    hardened.execute('CREATE ROLE "blind" LOGIN')
    try:
        with hardened.connect("blind") as conn, pytest.raises(Refused, match="--max-lag"):
            Throttle(max_lag=timedelta(seconds=1)).check(conn)
    finally:
        hardened.execute('DROP ROLE "blind"')


def test_the_command_says_why_it_waits(hardened: Database, secops: Command, tmp_path: Path) -> None:
    hardened.execute(FILL)
    flag = tmp_path / "pause"
    flag.touch()
    done = secops.on(hardened)(
        "prune", "tokens", "--yes", "--pause-file", str(flag), "--max-duration", "1s"
    )
    assert done.code == 0
    assert f"Waiting: {flag} is there." in done.err
    assert hardened.value(LEFT) == 200


RUN = ("prune", "tokens", "--yes", "--batch", "10", "--pause", "0")


def until(condition: Callable[[], object], seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.own_process
@pytest.mark.parametrize("server", [max(majors())], indirect=True)
def test_what_makes_it_wait_can_be_changed_while_it_runs(
    hardened: Database, secops: Command
) -> None:
    """Each change of the settings file is followed, whatever the command line said."""
    hardened.execute(FILL)
    config, flag, heard = secops.home / "secops.yaml", secops.home / "flag", secops.home / "heard"
    flag.touch()
    run = secops.on(hardened)
    with heard.open("w") as err:
        process = subprocess.Popen(
            run.argv(*RUN, "--pause-file", str(flag)),
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=err,
            env=run.environment(), cwd=run.home,
        )  # fmt: skip

    def said(text: str) -> Callable[[], bool]:
        return lambda: text in heard.read_text("utf-8")

    try:
        until(said(f"Waiting: {flag} is there."))
        # Another file takes the place of the flag's, which is still there; a query joins it.
        config.write_text(
            "throttle:\n  pause_file: other\n  pause_query: SELECT count(*) FROM users\n", "utf-8"
        )
        until(said("What makes the run wait was changed: the file"))
        until(said("Waiting: the pause query says so."))
        # What cannot work is told, and nothing changes.
        config.write_text("throttle:\n  pause_query: SELECT nonsense\n", "utf-8")
        until(said("What makes the run wait stays as it was: column"))
        config.write_text("throttle: [\n", "utf-8")
        until(lambda: heard.read_text("utf-8").count("stays as it was") == 2)
        assert hardened.value(LEFT) == 200
        # Nothing is left in the file: the flag's word counts again, then nothing does.
        config.write_text("throttle:\n  pause_query: SELECT 0\n", "utf-8")
        until(lambda: heard.read_text("utf-8").count("was changed") >= 2)
        assert hardened.value(LEFT) == 200
        flag.unlink()
        assert process.wait(60) == 0
    finally:
        process.kill()
        process.wait()
    assert hardened.value(LEFT) == 0


def test_settings_and_flags_say_the_same_of_waiting(hardened: Database, secops: Command) -> None:
    hardened.execute(FILL)
    (secops.home / "secops.yaml").write_text("throttle:\n  pause_file: here\n", "utf-8")
    (secops.home / "here").touch()
    run = secops.on(hardened)
    for words in (("prune", "tokens", "--yes"), ("cron", "cleanup")):
        done = run(*words, "--max-duration", "1s")
        assert done.code == 0
        assert "here is there." in done.err
        assert hardened.value(LEFT) == 200
    wins = run("prune", "tokens", "--yes", "--pause-file", "elsewhere")
    assert (wins.code, hardened.value(LEFT)) == (0, 0)
