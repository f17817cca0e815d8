"""``secops report`` as people, cron and shells use it."""

from __future__ import annotations

import csv
import io
import json
import shutil
import subprocess
from pathlib import Path

import pytest

from secops.reports.catalogue import open_catalogue
from support.databases import Command, Database, create_app
from support.screens import HOSTILE, steering
from support.servers import Server, installed_binaries

FAILED = """
    INSERT INTO security_events (event_type, event_category, severity, email, ip_address, success, created_at)
    SELECT 'login_failed', 'authentication', 'warning', 'alice@example.com', '203.0.113.7', false,
           now() - n * interval '1 minute'
    FROM generate_series(1, 12) n
"""


@pytest.fixture
def attacked(hardened: Database) -> Database:
    """The demo app after twelve failed logins."""
    hardened.execute(FAILED)
    return hardened


def write(folder: Path, name: str, sql: str, *header: str) -> Path:
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}.sql"
    lines = [
        "-- ---",
        f"-- title: {name.title()}",
        *(f"-- {line}" for line in header),
        "-- ---",
        sql,
    ]
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def test_without_a_name_the_reports_are_listed_and_no_database_is_needed(secops: Command) -> None:
    shown = secops("report")
    assert shown.code == 0
    names = [line.split()[0] for line in shown.out.splitlines()[2:]]
    assert names == open_catalogue().names()
    listed = secops("report", "--json").json()
    assert {"name": "failed-logins", "title": "Failed logins by account and address", "every": "15m",
            "source": "secops"} in listed  # fmt: skip


def test_help_tells_parameters_with_bounds_and_defaults_columns_and_examples(
    secops: Command,
) -> None:
    shown = secops("report", "failed-logins", "--help")
    assert shown.code == 0
    text = " ".join(shown.out.split())
    for part in (
        "--since DURATION How far back to look. (1m to 7300d) [default: 24h]",
        "--min-attempts N",
        "(1 to 1000000) [default: 5]",
        "--as-of TIME",
        "ip_address where the attempts came from",
        "secops report failed-logins --since 1h --min-attempts 20 --fail-on-rows",
        "Worth running every 15m",
    ):
        assert part in text
    assert "--as-of" not in secops("report", "table-size", "--help").out


def test_the_issues_own_command_line_works(secops: Command, attacked: Database) -> None:
    shown = secops.on(attacked)(
        "report", "failed-logins", "--since", "24h", "--min-attempts", "5", "--format", "json"
    )
    assert shown.code == 0
    (row,) = shown.json()
    assert (row["email"], row["ip_address"], row["attempts"]) == (
        "alice@example.com",
        "203.0.113.7",
        12,
    )
    assert row["last_attempt"].endswith("+00:00")


@pytest.mark.parametrize("arguments", [("--json",), ("-f", "json"), ("--format=json",)])
def test_options_before_the_name_mean_the_same(
    secops: Command, attacked: Database, arguments: tuple[str, ...]
) -> None:
    shown = secops.on(attacked)("report", *arguments, "failed-logins")
    assert [row["attempts"] for row in shown.json()] == [12]


def test_results_go_to_stdout_and_one_line_about_the_run_to_stderr(
    secops: Command, attacked: Database
) -> None:
    run = secops.on(attacked)
    shown = run("report", "failed-logins", "--format", "csv")
    assert next(csv.DictReader(io.StringIO(shown.out)))["attempts"] == "12"
    assert "1 row, " in shown.err
    assert "ms in the database" in shown.err
    assert run("report", "failed-logins", "-q").err == ""


def test_a_table_has_its_lines_drawn_by_hour(secops: Command, attacked: Database) -> None:
    shown = secops.on(attacked)("report", "login-activity")
    lines = shown.out.splitlines()
    assert lines[-2].startswith("succeeded  ▁▁▁")
    assert lines[-1].startswith("failed     ▁▁▁")
    assert "█" in lines[-1]
    rows = secops.on(attacked)("report", "login-activity", "--json").json()
    assert sum(row["failed"] for row in rows) == 12


def test_an_unknown_report_exits_4_and_suggests(secops: Command) -> None:
    shown = secops("report", "faild-logins", "--json")
    assert shown.code == 4
    assert "Did you mean failed-logins?" in shown.error()["hint"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("failed-logins", "--since", "1 fortnight"), "--since: '1 fortnight' is not a duration."),
        (("failed-logins", "--since", "0"), "--since: '0' is out of bounds."),
        (("failed-logins", "--min-attempts", "-1"), "--min-attempts: '-1' is out of bounds."),
        (("failed-logins", "--as-of", "tomorrow"), "--as-of: 'tomorrow' is no point in time."),
        (("index-usage", "--table", "user"), "--table: 'user' is none of the choices."),
        (("sessions", "--ip", "300.1.1.1"), "--ip: '300.1.1.1' is no IP address or network."),
        (("failed-logins", "--limit", "-1"), "Invalid value for '--limit': -1 is not in the range x>=0."),
        (("failed-logins", "--sinse", "1h"), "No such option: --sinse (Possible options: --json, --since)"),
    ],
)  # fmt: skip
def test_what_cannot_be_meant_exits_2_before_anybody_connects(
    secops: Command, arguments: tuple[str, ...], said: str
) -> None:
    shown = secops("report", *arguments, "--json")
    assert (shown.code, shown.out) == (2, "")
    assert shown.error()["message"] == said


def test_a_time_to_come_exits_2(secops: Command, attacked: Database) -> None:
    shown = secops.on(attacked)("report", "failed-logins", "--as-of", "2999-01-01", "--json")
    assert (shown.code, shown.out) == (2, "")
    assert shown.error()["message"] == "--as-of is in the future."


def test_rows_can_be_a_failure_for_cron(secops: Command, attacked: Database) -> None:
    run = secops.on(attacked)
    found = run("report", "failed-logins", "--fail-on-rows", "--json")
    assert found.code == 3
    assert [row["attempts"] for row in found.json()] == [12]
    assert found.error()["details"] == {"report": "failed-logins", "rows": 1}
    assert run("report", "failed-logins", "--min-attempts", "13", "--fail-on-rows").code == 0
    assert run("report", "failed-logins").code == 0


def test_rows_left_out_are_never_left_out_silently(secops: Command, attacked: Database) -> None:
    attacked.execute(FAILED.replace("alice@", "bob@"))
    run = secops.on(attacked)
    shown = run("report", "failed-logins", "--limit", "1", "-q", "--json")
    assert len(shown.json()) == 1
    warning = json.loads(shown.err)["warning"]
    assert warning == "Only the first row is shown; 1 more is there. --limit 0 shows all."
    assert run("report", "failed-logins", "--limit", "2", "-q").err == ""
    assert len(run("report", "failed-logins", "--limit", "0", "--json").json()) == 2


@pytest.mark.parametrize("format", ["table", "json", "jsonl", "csv", "markdown", "html"])
def test_what_attackers_wrote_is_inert_in_every_format(
    secops: Command,
    hardened: Database,
    format: str,
) -> None:
    storable = {
        name: text.replace("\0", "").encode(errors="ignore").decode()[:200]
        for name, text in HOSTILE.items()
    }
    with hardened.connect() as conn:
        for text in storable.values():
            conn.execute(
                """INSERT INTO security_events (event_type, event_category, severity, email, ip_address,
                       user_agent, success, message, metadata)
                   VALUES ('account_locked', 'authentication', %s, %s, %s, %s, false, %s,
                           jsonb_build_object('actor', %s::text))""",
                (text[:20], text, text[:45], text, text, text),
            )
    run = secops.on(hardened)
    for name in ("lockouts", "theft"):
        shown = run("report", name, "--format", format)
        hardened.execute(
            "UPDATE security_events SET event_type = 'refresh_token_theft_detected'"
            " WHERE event_type = 'account_locked'"
        )
        assert shown.code == 0, shown.err
        assert not steering(shown.out.replace("\r\n", "\n"))
        assert not steering(shown.err)
    if format == "json":
        assert {row["email"] for row in shown.json()} == set(storable.values())
    if format == "html":
        assert "<script>" not in shown.out
        assert "<img" not in shown.out
    if format == "csv":
        cells = [cell for row in csv.reader(io.StringIO(shown.out)) for cell in row]
        assert not [cell for cell in cells if cell.startswith(("=", "+", "-", "@", "\t"))]


def test_a_users_own_report_joins_with_its_options_and_help(
    secops: Command, attacked: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "site"
    folder.mkdir()
    write(
        folder / "reports", "who",
        'SELECT u.:"users_email" AS email, :many AS many FROM :"users_schema".:"users_table" u'
        " WHERE u.:\"users_email\" LIKE :begins || '%' ORDER BY 1",
        "params:",
        "  begins: {type: text, default: a, help: How it begins.}",
        "  many: {type: int}",
    )  # fmt: skip
    (folder / "secops.yaml").write_text("queries: reports\n")
    run = secops.on(attacked)
    shown = run("report", "who", "--many", "3", "--json", cwd=folder)
    assert shown.json() == [{"email": "alice@example.com", "many": 3}]
    assert "How it begins." in run("report", "who", "--help", cwd=folder).out
    missing = run("report", "who", "--json", cwd=folder)
    assert (missing.code, missing.error()["message"]) == (2, "Missing option '--many'.")
    sources = {row["name"]: row["source"] for row in run("report", "--json", cwd=folder).json()}
    assert sources["who"].endswith("who.sql")
    assert sources["theft"] == "secops"
    assert run("report", "who").code == 4
    for config in (
        ["--config", str(folder / "secops.yaml")],
        [f"--config={folder / 'secops.yaml'}"],
    ):
        assert run("report", "who", "--many", "3", *config).code == 0
        assert run("report", *config, "who", "--many", "3").code == 0


def test_one_broken_file_is_named_and_the_others_work(
    secops: Command, attacked: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    header = write(folder, "broken-header", "SELECT 1", "serverity: x")
    sql = write(folder, "broken-sql", "SELECT 1,\n  nothing")
    write(folder, "fine", "SELECT 7 AS seven")
    (folder / "no-header.sql").write_text("SELECT 1")
    (folder / ".#fine.sql").write_text("an editor's")
    run = secops.on(attacked, SECOPS_QUERIES=str(folder))
    listed = run("report")
    assert listed.code == 0
    assert "fine" in listed.out
    assert "broken-header" not in listed.out
    assert f"{header}:3: a report's header has no 'serverity'. Did you mean severity?" in listed.err
    assert f"{folder / 'no-header.sql'}:1: " in listed.err
    assert len(listed.err.splitlines()) == 2
    assert run("report", "fine", "--json").json() == [{"seven": 7}]
    assert run("report", "failed-logins", "--json").json()[0]["attempts"] == 12
    broken = run("report", "broken-header", "--json")
    assert (broken.code, broken.error()["details"]["line"]) == (2, 3)
    failed = run("report", "broken-sql", "--json")
    assert failed.code == 1
    assert failed.error()["message"] == f'{sql}:5: column "nothing" does not exist.'


def test_a_shipped_reports_name_is_taken_only_by_who_says_so(
    secops: Command, attacked: Database, tmp_path: Path
) -> None:
    folder = tmp_path / "reports"
    run = secops.on(attacked, SECOPS_QUERIES=str(folder))
    write(folder, "theft", "SELECT 1 AS mine")
    refused = run("report", "theft", "--json")
    assert refused.code == 2
    assert "overrides: true" in refused.error()["hint"]
    assert run("report").err.count("secops has a report 'theft' already") == 1
    write(folder, "theft", "SELECT 1 AS mine", "overrides: true")
    assert run("report", "theft", "--json").json() == [{"mine": 1}]


def test_a_folder_that_is_not_there_is_told_and_stops_nothing_else(
    secops: Command, attacked: Database, tmp_path: Path
) -> None:
    run = secops.on(attacked, SECOPS_QUERIES=str(tmp_path / "nowhere"))
    listed = run("report")
    assert listed.code == 0
    assert "nowhere, cannot be read" in listed.err
    assert "SECOPS_QUERIES" in listed.err
    assert run("report", "failed-logins").code == 0
    assert "nowhere" in run("report", "mine", "--json").error()["hint"]


def test_help_works_whatever_the_configuration(secops: Command, tmp_path: Path) -> None:
    (tmp_path / "secops.yaml").write_text("databse_url: x\n")
    assert "failed-logins" in secops("report", "--help", cwd=tmp_path).out
    assert "--since" in secops("report", "failed-logins", "--help", cwd=tmp_path).out
    assert secops("report", "failed-logins", cwd=tmp_path).code == 2
    assert secops("report", cwd=tmp_path).code == 2


def complete(secops: Command, words: str, **env: str) -> list[str]:
    shown = secops(env={"_SECOPS_COMPLETE": "complete_bash", "COMP_WORDS": f"secops {words}",
                        "COMP_CWORD": str(len(words.split(" "))), **env})  # fmt: skip
    assert shown.err == ""
    return shown.out.split()


def test_completion_knows_names_options_and_choices(secops: Command, tmp_path: Path) -> None:
    write(tmp_path, "lock-summary", "SELECT :per AS per", "params:",
          "  per: {type: choice, choices: [hour, day], default: hour}")  # fmt: skip
    write(tmp_path, "broken", "SELECT 1", "nonsense: x")
    own = {"SECOPS_QUERIES": str(tmp_path)}
    assert complete(secops, "report lock") == ["locked-users", "lockouts"]
    assert complete(secops, "report lock", **own) == ["lock-summary", "locked-users", "lockouts"]
    assert complete(secops, "report bro", **own) == []
    assert {"--since", "--min-attempts", "--as-of", "--format"} <= set(
        complete(secops, "report failed-logins --")
    )
    assert complete(secops, "report index-usage --table ") == [
        "all",
        "security_events",
        "refresh_tokens",
        "users",
    ]
    assert complete(secops, "report lock-summary --per d", **own) == ["day"]
    assert complete(secops, "report failed-logins --format j") == ["json", "jsonl"]


def test_the_report_timeout_is_a_setting(
    secops: Command, hardened: Database, tmp_path: Path
) -> None:
    write(tmp_path, "slow", "SELECT pg_sleep(60)::text AS slept")
    run = secops.on(hardened, SECOPS_QUERIES=str(tmp_path), SECOPS_REPORT_TIMEOUT="300ms")
    shown = run("report", "slow", "--json", timeout=20)
    assert shown.code == 1
    assert shown.error()["message"] == "The report slow took longer than 300ms."


def test_before_migrating_it_is_said_what_is_missing(secops: Command, app_db: Database) -> None:
    shown = secops.on(app_db)("report", "failed-logins", "--json")
    assert shown.code == 1
    assert "failed-logins.sql:" in shown.error()["message"]
    assert 'relation "security_events" does not exist' in shown.error()["message"]
    assert "secops migrate" in shown.error()["hint"]


def test_slow_queries_says_how_to_enable_what_it_stands_on(
    secops: Command, hardened: Database
) -> None:
    run = secops.on(hardened)
    shown = run("report", "slow-queries", "--json", "--fail-on-rows")
    assert (shown.code, shown.json()) == (0, [])
    assert "shared_preload_libraries" in json.loads(shown.err)["warning"]
    table = run("report", "slow-queries")
    assert (table.code, "pg_stat_statements is not there" in table.out) == (0, True)
    assert run("report", "slow-queries", "--format", "csv").out.startswith(
        "query,mean_exec_time,calls"
    )
    if (installed_binaries() or Path()) == hardened.server.binaries:
        hardened.execute("CREATE EXTENSION pg_stat_statements")  # there, but not preloaded
        shown = run("report", "slow-queries", "--json")
        assert (shown.code, shown.json()) == (0, [])
        assert "shared_preload_libraries" in json.loads(shown.err)["warning"]


def test_slow_queries_lists_statements_where_the_extension_is(secops: Command) -> None:
    binaries = installed_binaries()
    if binaries is None:
        pytest.skip("only the embedded PostgreSQL is there, which has no pg_stat_statements")
    server = Server(binaries)
    try:
        server.stop()
        with (server.data / "postgresql.conf").open("a") as conf:
            conf.write("shared_preload_libraries = 'pg_stat_statements'\n")
        server.start()
        database = Database(server, server.create())
        create_app(database)
        run = secops.on(database)
        assert run("migrate", "--yes").code == 0
        database.execute("CREATE SCHEMA stats; CREATE EXTENSION pg_stat_statements SCHEMA stats")
        database.execute("SELECT pg_sleep(0.05), count(*) FROM security_events WHERE email = 'x'")
        database.execute("SELECT pg_sleep(0.06) AS unrelated")
        rows = run("report", "slow-queries", "--json").json()
        assert (
            rows[0]["query"]
            == "SELECT pg_sleep($1), count(*) FROM security_events WHERE email = $2"
        )
        assert rows[0]["calls"] == 1
        assert rows[0]["mean_exec_time"] >= 50
        assert not [row for row in rows if "unrelated" in row["query"]]
        every = run("report", "slow-queries", "--scope", "all", "--json").json()
        assert [row for row in every if "unrelated" in row["query"]]
        assert run("report", "slow-queries", "--min-calls", "1000000", "--json").json() == []
    finally:
        server.destroy()


PSQL = shutil.which("psql")


@pytest.mark.skipif(PSQL is None, reason="psql is not installed")
@pytest.mark.parametrize(
    "name", ["failed-logins", "token-refreshes", "sessions", "never-logged-in-since"]
)
def test_what_show_sql_prints_gives_the_same_rows_in_psql(
    secops: Command, attacked: Database, name: str
) -> None:
    as_of = str(attacked.value("SELECT to_char(now(), 'YYYY-MM-DD\"T\"HH24:MI:SSOF')"))
    given = ["--as-of", as_of] if open_catalogue().find(name).uses("as_of") else []
    given += ["--user", "Alice@example.com", "--ip", "203.0.113.0/24"] if name == "sessions" else []
    run = secops.on(attacked)
    script = run("report", name, *given, "--show-sql")
    assert script.code == 0, script.err
    assert PSQL is not None
    done = subprocess.run(
        [PSQL, attacked.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "--csv"],
        input=script.out, capture_output=True, text=True, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    mine = run("report", name, *given, "--format", "csv")
    theirs = list(csv.reader(io.StringIO(done.stdout)))
    ours = list(csv.reader(io.StringIO(mine.out)))
    assert ours[0] == theirs[0]
    assert len(ours) == len(theirs)
    if name == "failed-logins":
        assert ours[1][:3] == theirs[1][:3] == ["alice@example.com", "203.0.113.7", "12"]


def test_hostile_values_stay_values_in_what_show_sql_prints(
    secops: Command, hardened: Database, tmp_path: Path
) -> None:
    if PSQL is None:
        pytest.skip("psql is not installed")
    given = {
        "ends": "'; DROP TABLE users; --",
        "backslash": "a\\'b",
        "shell": "\\! touch gone",
        "variable": ":ends",
        "backquotes": "`touch gone`",
        "newline": "a\nb\r\nc",
        "quotes": "x''y",
    }
    write(
        tmp_path, "echo", "SELECT " + ", ".join(f":{name} AS {name}" for name in given) + ";",
        "params:", *(f"  {name}: {{type: text}}" for name in given),
    )  # fmt: skip
    options = [word for name, value in given.items() for word in (f"--{name}", value)]
    run = secops.on(hardened, SECOPS_QUERIES=str(tmp_path))
    script = run("report", "echo", *options, "--show-sql")
    assert script.code == 0, script.err
    done = subprocess.run(
        [PSQL, hardened.url, "-X", "-q", "-v", "ON_ERROR_STOP=1", "--csv"], cwd=tmp_path,
        input=script.out.encode(), capture_output=True, check=False, env={"PATH": "/usr/bin:/bin"},
    )  # fmt: skip
    (row,) = csv.DictReader(io.StringIO(done.stdout.decode(), newline=""))
    assert row == given, done.stderr
    assert not (tmp_path / "gone").exists()
    assert hardened.value("SELECT to_regclass('users')::text") == "users"


def test_the_guides_own_report_works(secops: Command, attacked: Database, tmp_path: Path) -> None:
    guide = Path(__file__).resolve().parents[2] / "docs" / "reports.md"
    text = guide.read_text(encoding="utf-8").split("```sql\n")[1].split("```")[0]
    (tmp_path / "new-browsers.sql").write_text(text)
    attacked.execute(
        """INSERT INTO security_events (event_type, event_category, severity, user_id, user_agent, success,
               created_at)
           SELECT 'login_success', 'authentication', 'info', u.id, agent, true, now() - age::interval
           FROM users u, (VALUES ('Firefox', '5 days'), ('Firefox', '1 hour'), ('Chrome', '2 hours'))
               AS seen (agent, age)
           WHERE u.email = 'bob@example.com'"""
    )
    run = secops.on(attacked, SECOPS_QUERIES=str(tmp_path))
    (row,) = run("report", "new-browsers", "--json").json()
    assert (row["email"], row["user_agent"]) == ("bob@example.com", "Chrome")
    listed = guide.read_text(encoding="utf-8")
    for name in open_catalogue().names():
        assert f"| `{name}` | " in listed
