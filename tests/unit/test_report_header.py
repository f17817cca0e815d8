"""A report's file: what its header says, and what is said of a broken one, with file and line."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from secops.durations import format_duration
from secops.errors import ConfigurationError
from secops.reports.catalogue import open_catalogue
from secops.reports.header import Report, parse

GOOD = """\
-- A remark before the header.
-- ---
-- title: Busy accounts
-- description: |
--   First line.
--
--   Second paragraph.
-- params:
--   since: {type: duration, default: 24h, min: 1m, max: 30d, help: How far back.}
--   who:
--     type: text
--     default: null
--     help: >
--       Only this
--       account.
--   per: {type: choice, choices: [hour, day], default: hour}
--   least: {type: int}
-- columns:
--   email: the account
-- severity: severity
-- order: most first
-- limit: 30
-- every: 15m
-- requires: citext
-- examples: [secops report busy --least 3]
-- sparkline: [n]
-- ---
SELECT email, 'low' AS severity, count(*) AS n FROM security_events
WHERE created_at > :as_of - :since AND (:who IS NULL OR email = :who) AND :per = 'hour'
GROUP BY 1 HAVING count(*) > :least;
"""


def written(folder: Path, text: str, name: str = "busy.sql") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def complaint(path: Path) -> tuple[int, str, str]:
    with pytest.raises(ConfigurationError) as caught:
        parse(path)
    line = caught.value.details["line"]
    assert isinstance(line, int)
    assert caught.value.message.startswith(f"{path}:{line}: ")
    return line, caught.value.message, caught.value.hint


def test_reads_everything_that_a_header_says(tmp_path: Path) -> None:
    report = parse(written(tmp_path, GOOD))
    assert (report.name, report.title, report.severity) == ("busy", "Busy accounts", "severity")
    assert report.description == "First line.\n\nSecond paragraph."
    assert report.every == timedelta(minutes=15)
    assert report.requires is not None
    assert report.requires.extension == "citext"
    assert report.examples == ("secops report busy --least 3",)
    assert report.sparkline == ("n",)
    assert report.limit == 30
    assert parse(written(tmp_path, header("title: x"), "plain.sql")).limit == 1000
    assert report.columns == {"email": "the account"}
    since, who, per, least = report.parameters
    assert (since.default, since.bounds, since.help) == ("24h", "1m to 30d", "How far back.")
    assert (who.default, who.required, who.help) == (None, False, "Only this account.")
    assert per.choices == ("hour", "day")
    assert least.required
    assert report.uses("as_of")
    assert not report.uses("limit")
    assert report.sql.startswith("SELECT email")
    assert (
        report.first_line
        == GOOD.split("\n").index(
            "SELECT email, 'low' AS severity, count(*) AS n FROM security_events"
        )
        + 1
    )


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_files_of_any_editor_are_read(tmp_path: Path, newline: str, mark: str) -> None:
    path = tmp_path / "busy.sql"
    path.write_bytes((mark + GOOD).replace("\n", newline).encode())
    assert parse(path).title == "Busy accounts"


def header(*lines: str, sql: str = "SELECT 1") -> str:
    return "\n".join(["-- ---", *(f"-- {line}" for line in lines), "-- ---", sql, ""])


@pytest.mark.parametrize(
    ("text", "line", "said", "hint"),
    [
        ("SELECT 1\n", 1, "must begin with a header", "docs/reports.md"),
        ("-- just a remark\nSELECT 1\n", 2, "must begin with a header", ""),
        ("", 1, "must begin with a header", ""),
        ("-- ---\n-- title: x\nSELECT 1\n", 1, "not closed", "Every line"),
        (header("title: [x"), 3, "not YAML", ""),
        (header("title: x", "  bad: y"), 3, "not YAML", ""),
        (header("- x"), 1, "must hold `key: value`", ""),
        (header("description: x"), 2, "lacks a title", ""),
        (header("title: x", "serverity: y"), 3, "no 'serverity'", "Did you mean severity?"),
        (header("title: x", "title: y"), 3, "'title' stands twice; first on line 2", ""),
        (header("title: x", "every: often"), 3, "not a duration", "Write a number"),
        (header("title: x", "overrides: maybe"), 3, "true or false", ""),
        (header("title: x", "limit: a few"), 3, "a number of rows, not 'a few'", ""),
        (header("title: x", "limit: -1"), 3, "a number of rows, not '-1'", ""),
        (header("title: x", "columns: [a]"), 3, "`name: value` lines", ""),
        (header("title: x", "params:", "  n: {type: number}"), 4, "a type 'number'", "The types are"),
        (header("title: x", "params:", "  n: {type: durations}"), 4, "a type", "Did you mean duration?"),
        (header("title: x", "params:", "  n: {typ: int}"), 4, "no 'typ'", "Did you mean type?"),
        (header("title: x", "params:", "  n: {help: x}"), 4, "lacks a type", ""),
        (header("title: x", "params:", "  Bad-Name: {type: int}"), 4, "cannot be a parameter's name", ""),
        (header("title: x", "params:", "  limit: {type: int}"), 4, "already", ""),
        (header("title: x", "params:", "  n: {type: choice, default: a}"), 4, "choices belong", ""),
        (header("title: x", "params:", "  n: {type: int, choices: [a]}"), 4, "choices belong", ""),
        (header("title: x", "params:", "  n:", "    type: int", "    default: 9", "    max: 8",
                sql="SELECT :n"), 6, "out of bounds", "at most 8"),
        (header("title: x", "params:", "  n: {type: int, min: few}", sql="SELECT :n"),
         4, "not a whole number", ""),
        (header("title: x", "params:", "  n: {type: inet, min: 1}", sql="SELECT :n"), 4, "inet has no min", ""),
        (header("title: x", "params:", "  n: {type: int}"), 4, "does not use :n", ""),
        (header("title: x", sql="SELECT 1,\n  :since"), 5, ":since is not declared", "There are"),
        (header("title: x", sql="SELECT :as_off"), 4, ":as_off is not declared", "Did you mean as_of?"),
        (header("title: x", sql='SELECT\n\n:"users_tabel"'), 6, "is no name", "Did you mean users_table?"),
        (header("title: x", sql="SELECT 'a\nb"), 4, "a string literal begins here", ""),
        (header("title: x", sql="SELECT 1;\n\nDROP TABLE users"), 6, "a second statement", ""),
        (header("title: x", sql=""), 4, "no SQL follows", ""),
        (header("title: x", sql="-- nothing\n"), 4, "no SQL follows", ""),
        (header("title: x", "requires: {extension: x}"), 3, "lacks a hint", ""),
    ],
)  # fmt: skip
def test_a_broken_file_is_named_with_its_line(
    tmp_path: Path, text: str, line: int, said: str, hint: str
) -> None:
    where, message, advice = complaint(written(tmp_path, text))
    assert said in message
    assert where == line
    assert hint in advice


def test_bytes_that_are_no_text_are_named_with_their_line(tmp_path: Path) -> None:
    path = tmp_path / "busy.sql"
    path.write_bytes(header("title: x").encode() + b"-- \xff\n")
    assert complaint(path)[:2] == (5, f"{path}:5: this is not UTF-8.")


@pytest.mark.parametrize("name", ["Busy.sql", "busy_ones.sql", "-busy.sql", "busy report.sql"])
def test_a_name_that_no_command_could_have_is_refused(tmp_path: Path, name: str) -> None:
    assert "cannot be a report's name" in complaint(written(tmp_path, GOOD, name))[1]


def shipped() -> list[Report]:
    reports, problems = open_catalogue().load()
    assert not problems
    return reports


def test_every_report_of_the_plan_and_of_the_issue_ships() -> None:
    assert {report.name for report in shipped()} >= {
        "failed-logins", "lockouts", "token-refreshes", "theft", "table-size", "index-usage",
        "slow-queries", "locked-users", "sessions", "login-activity", "suspicious-ips",
        "never-logged-in-since",
    }  # fmt: skip


@pytest.mark.parametrize("report", shipped(), ids=lambda report: report.name)
def test_a_shipped_report_explains_itself(report: Report) -> None:
    assert report.description
    assert report.columns
    assert report.order
    assert report.every
    assert report.examples
    assert format_duration(report.every)
    assert all(each.help for each in report.parameters)
    assert all(each.startswith(f"secops report {report.name}") for each in report.examples)
    for each in report.parameters:
        assert each.least or each.type in {"choice", "inet"}, "a number without bounds"


@pytest.mark.parametrize("report", shipped(), ids=lambda report: report.name)
def test_a_shipped_report_names_event_types_as_literals_and_bounds_its_time(report: Report) -> None:
    if "security_events" not in report.sql or "created_at" not in report.sql:
        return
    assert report.sql.count("event_type = '") == report.sql.count("event_type"), (
        "a bound event type"
    )
    assert report.uses("as_of")
    assert report.uses("since")


def test_a_header_that_is_nested_without_end_is_refused_before_it_is_read(tmp_path: Path) -> None:
    path = written(tmp_path, f"-- ---\n-- title: {'[' * 50_000}\n-- ---\nSELECT 1\n")
    assert "longer than 10,000 characters" in complaint(path)[1]
