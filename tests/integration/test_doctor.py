"""The doctor's checks against real servers; where one says what mends it, that mends it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secops.database.connection import connect
from secops.doctor import activity, clock, connection, extensions, pooler, privileges, server, users
from secops.doctor.check import Check, Need, Patient, Result, Status, ok
from secops.doctor.examination import CHECKS, Examination, examine
from secops.settings import load
from support.databases import Database
from support.pgbouncer import pgbouncer
from support.schemas import REVISIONS


def patient(database: Database, user: str = "postgres", **environ: str) -> Patient:
    url = database.server.url(database.name, user)
    settings = load({"database_url": url}, environ=environ, folder=Path("/"))
    return Patient(settings, lambda use: connect(settings, "doctor", use=use))


def results(found: Examination) -> dict[str, Result]:
    return {check.id: result for check, result in found.results}


def looked(check: Check, who: Patient) -> Result:
    """Run one check, with those that it stands on before it."""
    found = examine(who, [connection.reachable, users.table, check])
    return results(found)[check.id]


@pytest.fixture
def stranger(hardened: Database) -> Iterator[str]:
    """A role that may connect and nothing else, gone afterwards, with a name that needs quotes."""
    name = 'str"anger'
    hardened.execute(f'CREATE ROLE "{name.replace(chr(34), chr(34) * 2)}" LOGIN')
    yield name
    quoted = f'"{name.replace(chr(34), chr(34) * 2)}"'
    hardened.execute(f"REASSIGN OWNED BY {quoted} TO postgres; DROP OWNED BY {quoted}")
    hardened.execute(f"DROP ROLE {quoted}")


def url_name(role: str) -> str:
    from urllib.parse import quote

    return quote(role, safe="")


def test_on_a_hardened_database_nothing_fails(hardened: Database) -> None:
    found = examine(patient(hardened))
    assert found.unreachable is None
    status = {check.id: result.status for check, result in found.results}
    assert {key for key, value in status.items() if value is Status.WARN} == {
        "role",
        "pg_stat_statements",
    }
    assert {key for key, value in status.items() if value is Status.SKIPPED} == {
        "reports-connection",
        "targets",
        "target-rights",
    }
    assert found.count(Status.FAIL) == 0


def test_before_the_first_migration_the_doctor_says_to_migrate(app_db: Database) -> None:
    told = results(examine(patient(app_db)))
    assert told["migrations"].status is Status.FAIL
    assert "secops migrate" in told["migrations"].mend
    assert told["vacuum"].status is Status.SKIPPED
    assert told["users-table"].status is Status.OK


def test_without_a_users_table_what_needs_it_is_skipped(database: Database) -> None:
    found = examine(patient(database))
    told = results(found)
    assert told["users-table"].status is Status.FAIL
    assert "no users table" in told["users-table"].evidence
    for check in CHECKS:
        if check.needs is Need.USERS:
            assert told[check.id].evidence == "the users table is not known"
    assert told["clock"].status is Status.OK
    assert found.unreachable is None


def test_nothing_that_the_doctor_does_writes(hardened: Database) -> None:
    hardened.execute(f'ALTER DATABASE "{hardened.name}" SET default_transaction_read_only = on')
    told = results(examine(patient(hardened)))
    assert not [key for key, result in told.items() if result.status is Status.FAIL]
    assert "default_transaction_read_only" in told["writable"].evidence


def test_a_check_could_not_write_if_it_tried(hardened: Database) -> None:
    def writes(who: Patient) -> Result:
        who.conn.execute("DELETE FROM users")
        return ok("deleted")

    writer = Check("writer", "Writer", Need.CONNECTION, writes)
    told = results(examine(patient(hardened), [connection.reachable, writer]))
    assert told["writer"].status is Status.FAIL
    assert "read-only" in told["writer"].evidence
    assert hardened.value("SELECT count(*) FROM users") == 8


def test_a_connection_that_is_lost_fails_one_check_and_skips_the_rest(hardened: Database) -> None:
    def ends_itself(who: Patient) -> Result:
        who.conn.execute("SELECT pg_terminate_backend(pg_backend_pid())")
        return ok("still there")

    killer = Check("killer", "Killer", Need.CONNECTION, ends_itself)
    found = examine(
        patient(hardened), [connection.reachable, killer, clock.difference, users.table]
    )
    told = results(found)
    assert told["killer"].status is Status.FAIL
    assert told["clock"] == told["users-table"] == Result(Status.SKIPPED, "there is no connection")
    assert found.unreachable is not None
    assert found.unreachable.exit_code == 10


def test_a_check_that_runs_too_long_fails_alone(
    hardened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    from secops.doctor import examination

    def sleeps(who: Patient) -> Result:
        who.conn.execute("SELECT pg_sleep(60)")
        return ok("awake")

    monkeypatch.setattr(examination, "_PATIENCE", timedelta(milliseconds=50))
    sleeper = Check("sleeper", "Sleeper", Need.CONNECTION, sleeps)
    told = results(examine(patient(hardened), [connection.reachable, sleeper, server.encoding]))
    assert told["sleeper"].status is Status.FAIL
    assert told["encoding"].status is Status.OK


def test_each_missing_privilege_is_named_and_the_grants_mend_it(
    hardened: Database, stranger: str
) -> None:
    who = url_name(stranger)
    for check in (privileges.reader, privileges.operator, privileges.migrator):
        before = looked(check, patient(hardened, who))
        assert before.status in {Status.FAIL, Status.WARN}
        assert before.mend.startswith(("GRANT ", "ALTER "))
        hardened.execute(before.mend)
        assert looked(check, patient(hardened, who)).status is Status.OK


def test_the_grants_of_a_database_that_is_not_migrated_can_be_run(app_db: Database) -> None:
    app_db.execute("CREATE ROLE newcomer LOGIN")
    try:
        for check in (privileges.reader, privileges.operator, privileges.migrator):
            before = looked(check, patient(app_db, "newcomer"))
            if before.status is not Status.OK:  # the operator's are the reader's, as yet
                app_db.execute(before.mend)
            assert looked(check, patient(app_db, "newcomer")).status is Status.OK
    finally:
        app_db.execute("DROP OWNED BY newcomer; DROP ROLE newcomer")


@pytest.mark.parametrize("owner", ["postgres", "app_owner"])
def test_who_does_not_own_the_users_table_is_told_how_to_migrate(
    app_db: Database, owner: str
) -> None:
    app_db.execute("CREATE ROLE app_owner LOGIN; CREATE ROLE deploy LOGIN")
    try:
        app_db.execute(f"ALTER TABLE users OWNER TO {owner}")
        before = looked(users.owner, patient(app_db, "deploy"))
        assert before.status is Status.FAIL
        assert before.evidence.startswith(f"{owner}; role deploy")
        assert ("GRANT" in before.mend) is (owner == "app_owner")
        app_db.execute(before.mend)
        assert looked(users.owner, patient(app_db, "deploy")).status is Status.OK
        kept = app_db.value(
            "SELECT tableowner = 'app_owner' FROM pg_tables WHERE tablename = 'users'"
        )
        assert kept is (owner == "app_owner"), "the app's role loses its table"
    finally:
        app_db.execute("ALTER TABLE users OWNER TO postgres")
        app_db.execute("DROP OWNED BY app_owner, deploy; DROP ROLE app_owner, deploy")


def test_after_the_migrations_another_owner_is_only_a_warning(
    hardened: Database, stranger: str
) -> None:
    assert looked(users.owner, patient(hardened, url_name(stranger))).status is Status.WARN


def test_a_superuser_is_warned_of_and_a_role_of_ours_is_named(
    hardened: Database, stranger: str
) -> None:
    assert "superuser" in looked(privileges.role, patient(hardened)).evidence
    plain = looked(privileges.role, patient(hardened, url_name(stranger)))
    assert plain == Result(Status.OK, stranger)


def test_a_version_that_the_database_does_not_share_with_us_is_told(hardened: Database) -> None:
    hardened.execute("UPDATE secops.alembic_version SET version_num = '0002'")
    behind = results(examine(patient(hardened)))["migrations"]
    pending = f"{len(REVISIONS) - 2} of {len(REVISIONS)} pending, from 0003"
    assert (behind.status, pending in behind.evidence) == (Status.FAIL, True)
    hardened.execute("UPDATE secops.alembic_version SET version_num = '9999'")
    ahead = results(examine(patient(hardened)))["migrations"]
    assert (ahead.status, "9999" in ahead.evidence) == (Status.FAIL, True)
    assert "--upgrade secops" in ahead.mend


def test_who_may_not_read_the_version_is_no_fault_of_the_database(
    hardened: Database, stranger: str
) -> None:
    from secops.doctor import migrations

    for check in (migrations.applied, migrations.drift):
        result = looked(check, patient(hardened, url_name(stranger)))
        assert result.status is Status.SKIPPED


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("DROP INDEX idx_security_events_login_failed", "idx_security_events_login_failed"),
        (
            "ALTER TABLE users ALTER COLUMN locked_until TYPE timestamp",
            "users.locked_until is timestamp",
        ),
        ("DROP TABLE secops.accounts", "accounts"),
    ],
)
def test_a_schema_that_somebody_changed_is_noticed(
    hardened: Database, harm: str, said: str
) -> None:
    from secops.doctor import migrations

    assert looked(migrations.drift, patient(hardened)).status is Status.OK
    hardened.execute(harm)
    found = looked(migrations.drift, patient(hardened))
    assert found.status is Status.FAIL
    assert said in found.evidence


def test_an_unfinished_index_is_found_and_the_mend_finishes_it(hardened: Database) -> None:
    from secops.doctor import migrations

    hardened.execute(
        "UPDATE pg_index SET indisvalid = false"
        " WHERE indexrelid = 'idx_security_events_user'::regclass"
    )
    before = looked(migrations.indexes, patient(hardened))
    assert before.status is Status.WARN
    assert before.mend == "REINDEX INDEX CONCURRENTLY public.idx_security_events_user;"
    hardened.execute(before.mend)
    assert looked(migrations.indexes, patient(hardened)).status is Status.OK


@pytest.mark.parametrize(("shift", "said"), [(60, "1 min ahead of"), (-7200, "2 h behind")])
def test_a_clock_that_is_wrong_is_noticed(hardened: Database, shift: float, said: str) -> None:
    who = patient(hardened)
    who.now = lambda: time.time() + shift
    result = looked(clock.difference, who)
    assert result.status is Status.WARN
    assert f"this machine is {said} the database's server" in result.evidence


def test_a_slow_way_is_no_difference_of_clocks(hardened: Database) -> None:
    who = patient(hardened)
    ticks = iter(range(1000))
    # 12 s there and back: half of it is the way there.
    who.now = lambda: time.time() + (-6 if next(ticks) % 2 == 0 else 6)
    assert looked(clock.difference, who).status is Status.OK


@pytest.mark.parametrize(
    ("supported", "status"),
    [(range(30, 40), Status.FAIL), (range(9, 12), Status.WARN), (range(14, 19), Status.OK)],
)
def test_a_version_out_of_range_is_noticed(
    hardened: Database, monkeypatch: pytest.MonkeyPatch, supported: range, status: Status
) -> None:
    monkeypatch.setattr(server, "SUPPORTED", supported)
    assert looked(server.version, patient(hardened)).status is status


def test_another_encoding_on_the_way_is_noticed(hardened: Database) -> None:
    who = patient(hardened)
    opened = who.open_connection

    def latin(use: str) -> Any:
        conn = opened(use)
        conn.execute("SET client_encoding = 'LATIN1'")
        return conn

    who.open_connection = latin
    assert "LATIN1 on the way" in looked(server.encoding, who).evidence


def test_a_pooler_in_between_is_found_and_a_way_around_it_checked(
    hardened: Database, database: Database
) -> None:
    with pgbouncer(hardened.server) as bouncer:
        through = bouncer.url(hardened)

        def told(direct: str = "") -> Result:
            environ = {"SECOPS_DIRECT_URL": direct} if direct else {}
            settings = load({"database_url": through}, environ=environ, folder=Path("/"))
            return looked(
                pooler.between, Patient(settings, lambda use: connect(settings, "x", use=use))
            )

        alone = told()
        assert (alone.status, "SECOPS_DIRECT_URL" in alone.mend) == (Status.WARN, True)
        assert told(hardened.url).status is Status.OK
        assert told(through).evidence.endswith("direct_url goes through one too")
        assert told(database.url).evidence.endswith("direct_url goes to another database")
        assert told("postgresql://127.0.0.1:1/x").status is Status.FAIL
    assert looked(pooler.between, patient(hardened)).status is Status.OK


def test_the_connection_for_reports_is_tried(hardened: Database, stranger: str) -> None:
    def told(url: str) -> Result:
        return looked(connection.for_reports, patient(hardened, SECOPS_REPORT_DATABASE_URL=url))

    role = hardened.server.url(hardened.name, url_name(stranger))
    assert told(role).status is Status.OK
    assert told(hardened.url).status is Status.WARN
    assert told("postgresql://127.0.0.1:1/x").status is Status.FAIL


def test_a_transaction_that_stays_open_is_named_without_its_statement(
    hardened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    from datetime import timedelta

    assert looked(activity.long_transactions, patient(hardened)).status is Status.OK
    monkeypatch.setattr(activity, "LONG", timedelta(0))
    with hardened.connect() as conn:
        conn.execute("BEGIN")
        conn.execute("SELECT 'somebody@example.com'")
        found = looked(activity.long_transactions, patient(hardened))
        assert found.status is Status.WARN
        pid = conn.info.backend_pid
        assert f"pid {pid} (unnamed, role postgres, idle in transaction)" in found.evidence
        assert f"SELECT pg_terminate_backend({pid});" in found.mend
        assert "somebody" not in str(found)


def test_sessions_that_the_role_cannot_look_into_are_counted(
    hardened: Database, stranger: str
) -> None:
    with hardened.connect() as conn:
        conn.execute("BEGIN")
        found = looked(activity.long_transactions, patient(hardened, url_name(stranger)))
    assert found.status is Status.SKIPPED
    assert "cannot look into 1 session of other roles" in found.evidence


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        ("ALTER TABLE security_events SET (autovacuum_enabled = false)", "autovacuum is off for"),
        (
            "ALTER TABLE security_events RESET (autovacuum_vacuum_insert_scale_factor)",
            "no settings",
        ),
        (
            "UPDATE pg_class SET (relpages, relallvisible) = (5000, 9) WHERE relname = 'security_events'",
            "0% of its pages",
        ),
    ],
)
def test_a_table_of_events_that_is_not_vacuumed_is_noticed(
    hardened: Database, harm: str, said: str
) -> None:
    assert looked(activity.vacuum, patient(hardened)).status is Status.OK
    hardened.execute(harm)
    found = looked(activity.vacuum, patient(hardened))
    assert found.status is Status.WARN
    assert said in found.evidence
    if found.mend.startswith(("ALTER", "VACUUM")):
        hardened.execute(found.mend)
        assert looked(activity.vacuum, patient(hardened)).status is Status.OK


def test_statistics_of_statements_are_looked_for(hardened: Database) -> None:
    available = hardened.value(
        "SELECT count(*) FROM pg_available_extensions WHERE name = 'pg_stat_statements'"
    )
    found = looked(extensions.statements, patient(hardened))
    assert found.status is Status.WARN
    if not available:
        assert "does not have it" in found.evidence
        return
    assert "shared_preload_libraries" in found.mend
    hardened.execute("CREATE EXTENSION pg_stat_statements")
    found = looked(extensions.statements, patient(hardened))
    assert found.evidence == "created, but the server has not loaded it"


def test_no_evidence_names_a_host_where_the_connection_works(hardened: Database) -> None:
    told = str(results(examine(patient(hardened))))
    assert "127.0.0.1" not in told
