"""Bad input and faults: one clear sentence and what to do, the right exit code, and nothing given away.

Each case runs the real command twice: for a program (--json), and for a person who looks into it
(--debug). A password is planted in the URL and in PGPASSWORD of every run; it may come out nowhere.
"""

from __future__ import annotations

import json
import re
import subprocess
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from support.databases import Command, Database, Result
from support.pgbouncer import pgbouncer
from support.servers import Server

pytestmark = pytest.mark.own_process

CANARY = "c4n4ry-7f3a"
NOWHERE = f"postgresql://u:{CANARY}@127.0.0.1:1/d"
REASON = ("--reason", "drill-8841")


@dataclass(frozen=True)
class Fault:
    """One way to go wrong.

    Attributes:
        words: The command line.
        code: The exit code of the design's table.
        said: A pattern that the sentence must hold.
        hint: A pattern that the advice must hold.
        file: What ``secops.yaml`` holds, if there is one.
        env: More environment.
    """

    words: tuple[str, ...]
    code: int
    said: str
    hint: str
    file: str | None = None
    env: dict[str, str] = field(default_factory=dict)


def clean(result: Result, *, debug: bool = False) -> None:
    """Make sure that a failure tells no secret, and no traceback unless asked."""
    everything = result.out + result.err
    assert CANARY not in everything
    assert "defect of secops" not in everything
    assert ("Traceback (most recent call last)" in everything) is debug


def check(command: Command, fault: Fault, env: dict[str, str] | None = None) -> None:
    """Run a case for a program, and for a person who looks into it."""
    if fault.file is not None:
        (command.home / "secops.yaml").write_text(fault.file)
    env = {"PGPASSWORD": CANARY, **(env or {}), **fault.env}

    machine = command(*fault.words, "--json", env=env)
    assert machine.code == fault.code, machine.out + machine.err
    clean(machine)
    objects = [json.loads(line) for line in machine.err.splitlines()]
    assert sum("error" in each for each in objects) == 1
    error = next(each["error"] for each in objects if "error" in each)
    assert {"code", "exit", "message", "hint"} <= set(error)
    assert error["exit"] == fault.code
    assert re.search(fault.said, error["message"]), error["message"]
    assert re.search(fault.hint, error["hint"]), error["hint"]

    person = command(*fault.words, "--debug", env=env)
    assert person.code == fault.code
    clean(person, debug=True)
    # Where, in which file and line; never what the variables held.
    assert re.search(r'File ".*secops/.*\.py", line \d+', person.err)
    assert REASON[1] not in person.err
    lines = person.err.splitlines()
    told = [number for number, line in enumerate(lines) if line.startswith("Error: ")]
    assert len(told) == 1, person.err
    sentence, *advice = lines[told[0] :]
    assert re.search(fault.said, sentence), sentence
    assert advice, "there is no advice"
    assert all(line.startswith("  ") for line in advice), person.err


WORDS = (
    # A bad duration, a negative number, a moment to come.
    Fault(("report", "failed-logins", "--since", "yesterday"), 2, "'yesterday'", "24h|--help"),
    Fault(("report", "failed-logins", "--since", "5"), 2, "'5'", "24h|--help"),
    Fault(("report", "failed-logins", "--since", "-5h"), 2, "-5h", "24h|--help"),
    Fault(("report", "failed-logins", "--min-attempts", "-5"), 2, "-5", "."),
    Fault(("report", "failed-logins", "--limit", "-1"), 2, "-1", "--help"),
    Fault(("report", "failed-logins", "--as-of", "soon"), 2, "'soon'", "."),
    Fault(("report", "failed-logins", "--format", "xml"), 2, "'xml'", "--help"),
    Fault(("prune", "tokens", "--older-than", "a while"), 2, "'a while'", "24h"),
    Fault(("prune", "tokens", "--batch", "-100", "--yes"), 2, "-100", "--help"),
    Fault(("prune", "tokens", "--pause", "-1s", "--yes"), 2, "-1s", "24h"),
    Fault(("lock", "user", "alice", "--for", "2 hours", *REASON), 2, "'2 hours'", "24h"),
    Fault(("unlock", "user", "alice", "--expect", "-1", *REASON), 2, "-1", "--help"),
    Fault(("revoke", "sessions", "--idle-for", "1y", *REASON), 2, "'1y'", "24h"),
    Fault(
        ("revoke", "sessions", "--issued-before", "2026-13-01", *REASON), 2, "2026-13", "2026-11"
    ),
    Fault(("revoke", "sessions", "--ip", "300.1.1.1", *REASON), 2, "300.1.1.1", "."),
    # Words that nobody knows.
    Fault(("report", "failed-login"), 4, "failed-login'", "Did you mean failed-logins"),
    Fault(("unlok", "user", "alice"), 2, "unlok", "--help"),
    Fault(("unlock", "usr", "alice"), 2, "usr", "--help"),
    Fault(("lock", "user", "alice", "--resaon", "x"), 2, "--resaon", "--help"),
    Fault(("help", "exit"), 4, "'exit'", "Did you mean `secops help exit-codes`"),
    Fault(("lock", "user"), 2, ".", "."),
    Fault(("revoke", "sessions", *REASON), 2, ".", "."),
    # No reason for the audit trail.
    Fault(("lock", "user", "alice"), 2, "needs a reason", "--reason"),
    # A password where every user of the machine can read it.
    Fault(("doctor", "--database-url", NOWHERE), 2, "--database-url holds a password", "~/.pgpass"),
    Fault(
        ("show", "user", "alice", "--database-url", f"host=h password='{CANARY}'"),
        2,
        "--database-url holds a password",
        "~/.pgpass",
    ),
    # secops.yaml.
    Fault(
        ("report", "theft"),
        2,
        r"secops\.yaml:2: there is no setting 'lock_timout'",
        "Did you mean lock_timeout",
        file=f"database_url: {NOWHERE}\nlock_timout: 1s\n",
    ),
    Fault(
        ("show", "user", "alice"),
        2,
        r"secops\.yaml:3: there is no setting 'users\.tabel'",
        "Did you mean users.table",
        file=f"users:\n  id: id\n  tabel: people\ndatabase_url: {NOWHERE}\n",
    ),
    Fault(
        ("doctor",),
        2,
        r"secops\.yaml:2: this is not YAML",
        "secops init --print",
        file=f"database_url: '{NOWHERE}\n",
    ),
    Fault(("migrate", "status"), 2, "this is not YAML", "secops init", file=f"a: [\n{NOWHERE}"),
    Fault(
        ("report", "theft"),
        2,
        r"lock_timeout \(.*:1\): 'soon' is not a duration",
        "24h",
        file="lock_timeout: soon\n",
    ),
    Fault(
        ("report", "theft"),
        2,
        r"max_login_attempts \(MAX_LOGIN_ATTEMPTS\) must be",
        ".",
        env={"MAX_LOGIN_ATTEMPTS": "-3"},
    ),
    Fault(("doctor", "--config", "no.yaml"), 2, r"There is no file no\.yaml", "secops init"),
    # Strings that are no way to a database.
    *(
        Fault(("show", "user", "alice"), 2, said, hint, env={"SECOPS_DATABASE_URL": url})
        for url, said, hint in (
            (f"mysql://u:{CANARY}@h/d", "does not begin with postgresql://", "postgresql://USER"),
            (f"postgres//u:{CANARY}@h/d", "neither a URL nor", "postgresql://USER"),
            (f"postgresql://u:{CANARY}%@h/d", "a %", "%25"),
            (f"postgresql://u:x@{CANARY}@h/d", "an @ too many", "%40"),
            (f"postgresql://u:x/{CANARY}@h/d", "port cannot be read|a / before", "%2F"),
            (f"postgresql://u:{CANARY} x@h/d", "space", "%20"),
            (f"host=h password='{CANARY}", "cannot be read", "quotes"),
            (f"postgresql://u:{CANARY}@h/d?ssl_mode=x", "cannot be read", "Did you mean sslmode"),
        )
    ),
    Fault(("show", "user", "alice"), 2, "No database is configured", "SECOPS_DATABASE_URL"),
    # Nobody there.
    *(
        Fault(words, 10, said, hint, env={"SECOPS_DATABASE_URL": url})
        for words in (("show", "user", "alice"), ("migrate", "--yes"))
        for url, said, hint in (
            (NOWHERE, "Nothing answers there", "Is PostgreSQL running"),
            (f"postgresql://u:{CANARY}@/d?host=/nowhere", "Nothing answers there", "running"),
            (f"postgresql://u:{CANARY}@host.invalid/d", "cannot be resolved", "Check the host"),
        )
    ),
)


@pytest.mark.parametrize("fault", WORDS, ids=lambda fault: " ".join(fault.words)[:60])
def test_a_mistake_is_told_before_any_database_is_asked(secops: Command, fault: Fault) -> None:
    check(secops, fault)


@pytest.fixture
def on(secops: Command, hardened: Database) -> Command:
    """The command on a hardened database, with a password in its URL that the server ignores."""
    url = hardened.server.url(hardened.name, password=CANARY)
    return secops.on(hardened, SECOPS_DATABASE_URL=url)


@pytest.mark.parametrize(
    "fault",
    [
        Fault(("show", "user", "alicia@example.com"), 4, "alicia@example.com", "alice@example.com"),
        Fault(
            ("unlock", "user", "bobb@example.com", *REASON),
            4,
            "bobb@example.com",
            "bob@example.com",
        ),
        Fault(
            ("revoke", "sessions", "--issued-before", "2999-01-01", "--yes", *REASON),
            2,
            "2999|future|later",
            ".",
        ),
        Fault(
            ("report", "failed-logins", "--as-of", "2999-01-01T00:00:00Z"), 2, "2999|future", "."
        ),
        Fault(
            (
                "lock",
                "user",
                "bob@example.com",
                "alice@example.com",
                "--expect",
                "5",
                "--yes",
                *REASON,
            ),
            8,
            "--expect 5",
            "--dry-run",
        ),
        Fault(("migrate", "down", "7777", "--yes"), 2, "7777", "0001"),
        Fault(("import", "events", "no.jsonl"), 1, r"no\.jsonl", "."),
        Fault(("revoke", "sessions", "--everyone", *REASON), 4, "No live session", "."),
    ],
    ids=lambda fault: " ".join(fault.words)[:60],
)
def test_a_mistake_that_the_database_shows(on: Command, hardened: Database, fault: Fault) -> None:
    before = hardened.value("SELECT count(*) FROM security_events")
    check(on, fault)
    assert hardened.value("SELECT count(*) FROM security_events") == before
    assert hardened.value("SELECT count(*) FROM users WHERE locked_until IS NOT NULL") == 0


COMMANDS = (
    ("report", "failed-logins"),
    ("lock", "user", "alice@example.com", *REASON),
    ("migrate", "status"),
)


@pytest.mark.parametrize("words", COMMANDS, ids=" ".join)
def test_a_database_or_a_role_that_is_not_there(
    secops: Command, server: Server, words: tuple[str, ...]
) -> None:
    for url, said, hint in (
        (server.url("no_such_db", password=CANARY), "There is no such database", "psql -l"),
        (server.url("postgres", "nobody", CANARY), "There is no such role", "PGUSER"),
    ):
        check(secops, Fault(words, 10, said, hint), {"SECOPS_DATABASE_URL": url})


@pytest.fixture
def guarded(server: Server) -> Iterator[str]:
    """A role that must give its password, on a server that trusts everybody else."""
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all guarded 127.0.0.1/32 scram-sha-256\n{before}")
    with server.connect() as conn:
        conn.execute("CREATE ROLE guarded LOGIN PASSWORD 'the right one'")
    server.reload()
    yield "guarded"
    rules.write_text(before)
    server.reload()
    with server.connect() as conn:
        conn.execute("DROP ROLE guarded")


def test_a_wrong_password_and_none(secops: Command, server: Server, guarded: str) -> None:
    words = ("report", "failed-logins")
    wrong = server.url("postgres", guarded, CANARY)
    check(
        secops,
        Fault(words, 10, "The database refused the login", "~/.pgpass"),
        {"SECOPS_DATABASE_URL": wrong},
    )
    none = server.url("postgres", guarded)
    told = secops(*words, env={"SECOPS_DATABASE_URL": none})
    assert told.code == 10
    assert "refused the login" in told.err


def test_a_server_that_lets_nobody_in_from_here(secops: Command, server: Server) -> None:
    rules = server.data / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"host all unwelcome 127.0.0.1/32 reject\n{before}")
    try:
        server.reload()
        check(
            secops,
            Fault(("report", "theft"), 10, "does not let this user in", "pg_hba.conf"),
            {"SECOPS_DATABASE_URL": server.url("postgres", "unwelcome", CANARY)},
        )
    finally:
        rules.write_text(before)
        server.reload()


CHANGES = (
    ("report", "failed-logins"),
    ("lock", "user", "alice@example.com", *REASON),
    ("revoke", "sessions", "--everyone", "--yes", *REASON),
    ("prune", "tokens", "--yes"),
)


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_no_privilege(secops: Command, hardened: Database, words: tuple[str, ...]) -> None:
    hardened.execute("DROP ROLE IF EXISTS stranger; CREATE ROLE stranger LOGIN")
    try:
        check(
            secops,
            Fault(words, 1, "permission denied for table", "secops doctor"),
            {"SECOPS_DATABASE_URL": hardened.server.url(hardened.name, "stranger", CANARY)},
        )
    finally:
        hardened.execute("DROP ROLE stranger")


@pytest.mark.parametrize("words", [*COMMANDS, ("init", "--print")], ids=" ".join)
def test_no_users_table(secops: Command, database: Database, words: tuple[str, ...]) -> None:
    database.execute("CREATE TABLE people (id bigint PRIMARY KEY, e_mail text, email text)")
    check(
        secops.on(database),
        Fault(words, 1, "There is no users table", r"users\.table.*public\.people"),
    )


@pytest.mark.parametrize("words", [*COMMANDS, ("init", "--print")], ids=" ".join)
def test_a_view_called_users(secops: Command, database: Database, words: tuple[str, ...]) -> None:
    database.execute("CREATE TABLE people (id bigint PRIMARY KEY, email text)")
    database.execute("CREATE VIEW users AS SELECT * FROM people")
    check(
        secops.on(database),
        Fault(words, 1, r"public\.users is a view", r"It reads public\.people"),
    )


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_before_the_first_migration(
    secops: Command, app_db: Database, words: tuple[str, ...]
) -> None:
    check(secops.on(app_db), Fault(words, 1, "does not exist", "secops migrate"))


SLEEPING = (
    "SELECT pid FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname = current_database()"
)


def _asleep(database: Database) -> int:
    """Wait for a session that sleeps in the database, and return its process."""
    deadline = time.monotonic() + 30
    while not (found := database.execute(SLEEPING)):
        assert time.monotonic() < deadline, "it never ran"
        time.sleep(0.02)
    pid: int = found[0][0]
    return pid


def _slow_report(home: Path) -> dict[str, str]:
    folder = home / "queries"
    folder.mkdir()
    (folder / "slow.sql").write_text(
        "-- ---\n-- title: Slow\n-- description: Sleeps.\n-- columns:\n--   slept: nothing\n-- ---\n"
        "SELECT pg_sleep(60)::text AS slept\n"
    )
    return {"SECOPS_QUERIES": str(folder)}


def _ended(process: subprocess.Popen[str]) -> Result:
    out, err = process.communicate(timeout=30)
    return Result(process.returncode, out, err)


def _lost(result: Result, sentence: str) -> None:
    assert result.code == 10, result.err
    clean(result)
    assert re.search(sentence, result.err)
    assert "run the same command again" in result.err


def test_the_server_ends_the_session_in_the_middle_of_a_report(
    on: Command, hardened: Database
) -> None:
    process = on.start("report", "slow", env=_slow_report(on.home))
    hardened.execute("SELECT pg_terminate_backend(%s)", (_asleep(hardened),))
    _lost(_ended(process), "The database server ended the connection")


def test_the_network_goes_away_in_the_middle_of_a_report(on: Command, hardened: Database) -> None:
    with pgbouncer(hardened.server) as between:
        url = between.url(hardened)
        process = on.start(
            "report", "slow", "--json", env={**_slow_report(on.home), "SECOPS_DATABASE_URL": url}
        )
        _asleep(hardened)
    result = _ended(process)
    _lost(result, "The connection to the database was lost")
    assert result.error()["exit"] == 10


@pytest.mark.parametrize("json_too", [False, True])
def test_the_server_ends_the_session_in_the_middle_of_a_change_and_nothing_is_half_done(
    on: Command, hardened: Database, json_too: bool
) -> None:
    # The change waits in the middle: its event is about to be written when the session ends.
    hardened.execute(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS"
        " $$ BEGIN PERFORM pg_sleep(60); RETURN NEW; END $$;"
        " CREATE TRIGGER wait BEFORE INSERT ON security_events FOR EACH ROW EXECUTE FUNCTION wait()"
    )
    words = ("lock", "user", "alice@example.com", *REASON, *(["--json"] if json_too else []))
    process = on.start(*words)
    hardened.execute("SELECT pg_terminate_backend(%s)", (_asleep(hardened),))
    _lost(_ended(process), "The database server ended the connection")
    assert hardened.value("SELECT count(*) FROM users WHERE locked_until IS NOT NULL") == 0
    assert hardened.value("SELECT count(*) FROM secops.accounts") == 0
    hardened.execute("DROP TRIGGER wait ON security_events")
    again = on(*words)
    assert again.code == 0, again.err


def test_a_report_that_takes_too_long_is_ended_and_says_how_to_go_on(on: Command) -> None:
    check(
        on,
        Fault(("report", "slow"), 1, "took longer than 200ms", "SECOPS_REPORT_TIMEOUT"),
        {**_slow_report(on.home), "SECOPS_REPORT_TIMEOUT": "200ms"},
    )


def test_a_lock_of_the_app_is_waited_for_only_briefly(on: Command, hardened: Database) -> None:
    with hardened.connect() as app:
        app.execute("BEGIN; SELECT 1 FROM users WHERE email = 'alice@example.com' FOR UPDATE")
        began = time.monotonic()
        said = on("lock", "user", "alice@example.com", *REASON, "--json")
        assert said.code == 6, said.err
        assert time.monotonic() - began < 20
        clean(said)
        assert said.error()["code"] == "busy"


def test_an_interrupted_command_says_so_and_leaves_nothing(on: Command, hardened: Database) -> None:
    import signal

    for number in (signal.SIGINT, signal.SIGTERM):
        home = on.home / str(int(number))
        home.mkdir()
        process = on.start("report", "slow", env=_slow_report(home))
        _asleep(hardened)
        process.send_signal(number)
        result = _ended(process)
        assert result.code == 130, result.err
        clean(result)
        assert result.err.startswith("Error: Interrupted.")
        # The server was told to stop, too.
        deadline = time.monotonic() + 10
        while hardened.execute(SLEEPING):
            assert time.monotonic() < deadline
            time.sleep(0.05)
