"""The doctor's protocol: one check that breaks is one failed check, and nothing is shown that is secret."""

from __future__ import annotations

import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from secops.doctor import connection, own
from secops.doctor.check import Check, Need, Patient, Result, Status, check, ok, warn
from secops.doctor.examination import CHECKS, examine
from secops.errors import ConfigurationError, SecopsError, Unreachable
from secops.settings import CONFIG_NAME, load

CANARY = "c4n4ry"


def no_connection(_: str) -> Any:
    raise Unreachable("Nothing answers there.", hint="Start it.")


def patient(folder: Path = Path("/"), **environ: str) -> Patient:
    return Patient(load(environ=environ, folder=folder), no_connection)


def run(look: Any, folder: Path = Path("/"), **environ: str) -> Result:
    found = examine(patient(folder, **environ), [Check("x", "X", Need.NOTHING, look)])
    return found.results[0][1]


def test_each_check_has_an_id_and_a_title_of_its_own() -> None:
    assert len({each.id for each in CHECKS}) == len({each.title for each in CHECKS}) == len(CHECKS)


def test_a_declaration_stands_beside_its_function() -> None:
    @check("some-id", "A title", needs=Need.USERS)
    def looks(_: Patient) -> Result:
        return ok("fine")

    assert (looks.id, looks.title, looks.needs) == ("some-id", "A title", Need.USERS)


def test_a_check_that_breaks_is_a_failed_check_that_names_the_error_and_the_others_go_on() -> None:
    def breaks(_: Patient) -> Result:
        raise ZeroDivisionError(f"of postgresql://u:{CANARY}@h/d")

    def works(_: Patient) -> Result:
        return ok("fine")

    found = examine(
        patient(), [Check("a", "A", Need.NOTHING, breaks), Check("b", "B", Need.NOTHING, works)]
    )
    (_, first), (_, second) = found.results
    assert first.status is Status.FAIL
    assert "ZeroDivisionError" in first.evidence
    assert CANARY not in first.evidence
    assert second.status is Status.OK
    assert found.unreachable is None


def test_an_error_that_is_known_becomes_evidence_and_mend() -> None:
    def refuses(_: Patient) -> Result:
        raise SecopsError("It is so.", hint="Do this.")

    assert run(refuses) == Result(Status.FAIL, "It is so", "Do this.")


def test_without_a_connection_what_needs_none_is_still_checked_and_the_rest_is_skipped() -> None:
    found = examine(patient())
    assert isinstance(found.unreachable, Unreachable)
    status = {check.id: result.status for check, result in found.results}
    assert status["connection"] is Status.FAIL
    assert {status[each.id] for each in CHECKS if each.needs is not Need.NOTHING} == {
        Status.SKIPPED
    }
    assert status["settings-file"] is status["folders"] is status["patience"] is Status.OK


def test_counts_add_up_in_the_document() -> None:
    found = examine(patient()).as_dict()
    checks = found["checks"]
    assert isinstance(checks, list)
    assert sum(int(str(found[status.value])) for status in Status) == len(checks) == len(CHECKS)
    assert all(set(each) == {"id", "title", "status", "evidence", "mend"} for each in checks)


def looked(look: Check, folder: Path = Path("/"), **environ: str) -> Result:
    return look.look(patient(folder, **environ))


@pytest.mark.parametrize(
    ("mode", "text", "status", "said"),
    [
        (0o600, "schema: a\n", Status.OK, "only its owner may write it"),
        (0o644, "schema: a\n", Status.OK, "only its owner may write it"),
        (0o664, "schema: a\n", Status.WARN, "others may write"),
        (0o646, "schema: a\n", Status.WARN, "others may write"),
        (0o644, f"database_url: postgresql://u:{CANARY}@h/d\n", Status.WARN, "holds a password"),
        (0o600, f"database_url: postgresql://u:{CANARY}@h/d\n", Status.OK, "only its owner"),
        (0o644, "database_url: postgresql://u@h/d\n", Status.OK, "only its owner"),
    ],
)
def test_a_file_that_others_can_write_or_whose_password_they_can_read_is_noticed(
    tmp_path: Path, mode: int, text: str, status: Status, said: str
) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text(text)
    path.chmod(mode)
    result = looked(own.config_file, tmp_path)
    assert result.status is status
    assert said in result.evidence
    assert CANARY not in f"{result}"
    assert bool(result.mend) is (status is Status.WARN)
    assert stat.S_IMODE(path.stat().st_mode) == mode


def test_a_file_of_another_user_is_noticed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / CONFIG_NAME).write_text("schema: a\n")
    (tmp_path / CONFIG_NAME).chmod(0o600)
    monkeypatch.setattr("os.geteuid", lambda: 4321)
    monkeypatch.setattr(
        Path, "stat", lambda *_, **__: type("S", (), {"st_uid": 1234, "st_mode": 0o100600})
    )
    assert "belongs to another user" in looked(own.config_file, tmp_path).evidence


def test_a_named_folder_must_be_there(tmp_path: Path) -> None:
    (tmp_path / CONFIG_NAME).write_text("operator: alice\nqueries: ours\n")
    result = looked(own.folders, tmp_path)
    assert result.status is Status.FAIL
    assert f"queries ({tmp_path / CONFIG_NAME}:2)" in result.evidence
    assert result.mend == f"mkdir -p {tmp_path / 'ours'}"
    (tmp_path / "ours").mkdir()
    assert looked(own.folders, tmp_path).status is Status.OK


def test_a_report_that_cannot_be_read_is_named_with_its_line(tmp_path: Path) -> None:
    assert looked(own.reports, tmp_path).status is Status.OK
    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "mine.sql").write_text("-- ---\n-- titel: Mine\n-- ---\nSELECT 1 AS one\n")
    (tmp_path / CONFIG_NAME).write_text("queries: ours\n")
    result = looked(own.reports, tmp_path)
    assert result.status is Status.WARN
    assert "mine.sql:2: " in result.evidence
    assert result.mend


@pytest.mark.parametrize(
    ("limit", "status"),
    [("1ms", Status.OK), ("1s", Status.OK), ("2s", Status.WARN), ("0", Status.WARN)],
)
def test_a_limit_that_makes_the_app_wait_is_noticed(limit: str, status: Status) -> None:
    result = looked(own.patience, SECOPS_LOCK_TIMEOUT=limit)
    assert result.status is status
    assert ("SECOPS_LOCK_TIMEOUT" in result.evidence) is (status is Status.WARN)


def test_every_setting_is_told_with_its_origin_and_no_secret(tmp_path: Path) -> None:
    path = tmp_path / CONFIG_NAME
    path.write_text(
        f"direct_url: postgresql://u:{CANARY}@h/d\noperator: postgresql://u:{CANARY}@h/d\n"
        "lock_timeout: 90s\nproduction: yes\n"
    )
    told = {
        row[0]: row
        for row in own.rows(
            load(
                {"database_url": "postgresql://h/d"},
                folder=tmp_path,
                environ={"SECOPS_REPORT_DATABASE_URL": f"host=h password={CANARY}"},
            )
        )
    }
    assert CANARY not in str(told)
    assert told["database_url"][1:3] == ("postgresql://h/d", "--database-url")
    assert told["report_database_url"][1:3] == (
        "postgresql://:***@h/",
        "SECOPS_REPORT_DATABASE_URL",
    )
    assert told["direct_url"][1:3] == ("postgresql://u:***@h/d", f"{path}:1")
    assert told["lock_timeout"][1:3] == ("1m30s", f"{path}:3")
    assert told["production"][1:3] == (True, f"{path}:4")
    assert told["users.table"][1:3] == (None, "default")
    assert told["max_login_attempts"][1] == 5


def test_configuration_errors_end_the_connection_check_too() -> None:
    def unknown(_: str) -> Any:
        raise ConfigurationError("No database is configured.", hint="Configure.")

    found = examine(Patient(load(environ={}, folder=Path("/")), unknown))
    assert isinstance(found.unreachable, ConfigurationError)


def test_a_warning_is_told_with_its_mend() -> None:
    assert warn("seen", "do") == Result(Status.WARN, "seen", "do")


class Wire:
    """A connection as far as one can tell what happens on the way."""

    closed = False

    def __init__(self, host: str, address: str, *, tls: bool, sslmode: str | None) -> None:
        parameters = {"sslmode": sslmode} if sslmode else {}
        self.info = SimpleNamespace(
            host=host, hostaddr=address, port=5432, get_parameters=lambda: parameters
        )
        self.pgconn = SimpleNamespace(ssl_in_use=tls)

    def execute(self, _: str) -> Any:
        return SimpleNamespace(fetchone=lambda: ("TLSv1.3", "TLS_AES_256_GCM_SHA384"))


@pytest.mark.parametrize(
    ("host", "address", "tls", "sslmode", "status", "said"),
    [
        ("/run/postgresql", "", False, None, Status.OK, "over a Unix socket"),
        ("@abstract", "", False, None, Status.OK, "over a Unix socket"),
        ("localhost", "127.0.0.1", False, None, Status.OK, "on this machine"),
        ("localhost", "::1", False, None, Status.OK, "on this machine"),
        ("127.9.9.9", "127.9.9.9", False, None, Status.OK, "on this machine"),
        ("db", "10.0.0.5", False, None, Status.WARN, "plain TCP"),
        ("db", "10.0.0.5", False, "disable", Status.WARN, "plain TCP"),
        ("localhost", "10.0.0.5", False, None, Status.WARN, "plain TCP"),
        ("db", "10.0.0.5", True, None, Status.WARN, "sslmode=prefer would go on without"),
        ("db", "10.0.0.5", True, "allow", Status.WARN, "sslmode=allow would go on without"),
        ("db", "10.0.0.5", True, "require", Status.OK, "certificate is not checked"),
        ("db", "10.0.0.5", True, "verify-ca", Status.OK, "its name is not"),
        ("db", "2001:db8::5", True, "verify-full", Status.OK, "TLSv1.3, TLS_AES_256_GCM_SHA384"),
    ],
)
def test_what_can_be_read_on_the_way_is_warned_of(
    *, host: str, address: str, tls: bool, sslmode: str | None, status: Status, said: str
) -> None:
    who = patient()
    wire: Any = Wire(host, address, tls=tls, sslmode=sslmode)
    who.open_connection = lambda _: wire
    who.connect()
    result = connection.encrypted.look(who)
    assert result.status is status
    assert said in result.evidence
    assert ("sslmode=verify-full" in result.mend) is (status is Status.WARN)
    assert "10.0.0.5" not in str(result)
