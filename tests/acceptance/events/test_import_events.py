"""``secops import events``, the real command."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest

from support.databases import Command, Database

REAL = Path(__file__).resolve().parents[4] / "shared" / "data"
COUNT = "SELECT count(*) FROM security_events WHERE event_category <> 'operator'"
TOLD = (
    "SELECT metadata FROM security_events WHERE event_type = 'events_imported' ORDER BY created_at"
)
CHANGED = (
    "SELECT coalesce(sum(changed), 0)::int FROM secops.operations WHERE action = 'import events'"
)


def some(number: int) -> list[dict[str, Any]]:
    return [
        {
            "event_type": "login_failed",
            "email": f"person{n}@example.com",
            "ip_address": "203.0.113.9",
            "metadata": {"n": n},
            "created_at": f"2026-01-01T{n // 3600 % 24:02}:{n // 60 % 60:02}:{n % 60:02}Z",
        }
        for n in range(number)
    ]


def text(events: list[dict[str, Any]]) -> str:
    return "".join(json.dumps(event) + "\n" for event in events)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "events.jsonl"


@pytest.fixture
def real() -> Path:
    path = REAL / "ssh-attacks.events.jsonl"
    if not path.is_file():
        pytest.skip(f"real attack traffic is not there: {path.parent} is not part of the project")
    return path


def test_real_attacks_are_counted_as_the_log_has_them(
    secops: Command, hardened: Database, real: Path
) -> None:
    truth = json.loads((REAL / "ssh-attacks.truth.json").read_text())
    run = secops.on(hardened)
    would = run("import", "events", str(real), "--dry-run", "--json").json()
    assert (would["matched"], would["changed"]) == (truth["events"], truth["events"])
    assert hardened.value(COUNT) == 0
    done = run("import", "events", str(real), "--json").json()
    assert (done["matched"], done["changed"], done["rejected"]) == (truth["events"],) * 2 + (0,)
    first, last, addresses = hardened.execute(
        "SELECT min(created_at), max(created_at), count(DISTINCT ip_address)::int"
        " FROM security_events WHERE event_type = 'login_failed'"
    )[0]
    assert (first.isoformat(), last.isoformat()) == (truth["first"], truth["last"])
    assert addresses == truth["failing_addresses"]
    pairs = hardened.execute(
        "SELECT email, ip_address, count(*)::int FROM security_events"
        " WHERE event_type = 'login_failed' GROUP BY 1, 2 HAVING count(*) >= 5 ORDER BY 3 DESC"
    )
    assert len(pairs) == truth["pairs_with_5_or_more"]
    assert {tuple(pair) for pair in truth["top_pairs"]} <= set(pairs)
    again = run("import", "events", str(real), "--json").json()
    assert (again["changed"], again["already_there"]) == (0, truth["events"])
    assert run("import", "events", str(real), "--dry-run", "--json").json()["changed"] == 0


def test_people_read_what_was_done(secops: Command, hardened: Database, file: Path) -> None:
    file.write_text(text([*some(3), {"event_type": "logout"}]))
    run = secops.on(hardened)
    done = run("import", "events", str(file))
    assert (done.code, done.err) == (0, "")
    assert re.search(
        rf"Imported 4 events from {file} in .* s \([\d,]+ a second\)\. 1 event says no time and gets"
        " that of the import.",
        done.out,
    )
    again = run("import", "events", str(file))
    assert f"Imported 0 events from {file}. 4 events were there already." in again.out
    would = run("import", "events", str(file), "--dry-run")
    assert f"Would import 0 events from {file}. 4 events were there already." in would.out


@pytest.mark.parametrize("suffix", ["jsonl", "csv", "jsonl.gz", "csv.gz"])
@pytest.mark.parametrize("way", ["file", "stdin", "strict stdin"])
def test_a_file_may_be_packed_and_may_come_through_a_pipe(
    secops: Command, hardened: Database, tmp_path: Path, suffix: str, way: str
) -> None:
    path = tmp_path / f"events.{suffix}"
    events = some(50)
    if suffix.startswith("csv"):
        plain = tmp_path / "plain"
        with plain.open("w", newline="") as target:
            writer = csv.DictWriter(target, events[0])
            writer.writeheader()
            writer.writerows(
                [{**event, "metadata": json.dumps(event["metadata"])} for event in events]
            )
        data = plain.read_bytes()
    else:
        data = text(events).encode()
    path.write_bytes(gzip.compress(data) if suffix.endswith("gz") else data)
    command = secops.on(hardened)
    words = ["import", "events", str(path) if way == "file" else "-", "--json"]
    with path.open("rb") as source:
        done = subprocess.run(
            command.argv(*words, *(["--strict"] if way.startswith("strict") else [])),
            stdin=source, capture_output=True, text=True, env=command.environment(),
            cwd=command.home, check=False,
        )  # fmt: skip
    assert done.returncode == 0, done.stderr
    outcome = json.loads(done.stdout)
    assert (outcome["changed"], outcome["file"]) == (50, str(path) if way == "file" else "stdin")
    found = hardened.execute(
        "SELECT email, metadata, created_at FROM security_events WHERE event_type = 'login_failed'"
        " ORDER BY created_at LIMIT 1"
    )
    assert found[0][:2] == ("person0@example.com", {"n": 0})


def test_the_same_events_as_csv_are_there_already(
    secops: Command, hardened: Database, file: Path, tmp_path: Path
) -> None:
    file.write_text(text(some(5)))
    table = tmp_path / "events.csv"
    lines = ["created_at,event_type,ip_address,email,metadata"]
    lines += [
        f'{event["created_at"]},login_failed,203.0.113.9,{event["email"]},"{{""n"":{n}}}"'
        for n, event in enumerate(some(6))
    ]
    table.write_text("\n".join(lines))
    run = secops.on(hardened)
    assert run("import", "events", str(file), "--json").json()["changed"] == 5
    assert run("import", "events", str(table), "--json").json()["changed"] == 1


BAD = [
    '{"event_type": "logout"',
    '{"event_type": "logout", "message": "\x07\x1b[31m"}',
    '{"email": "\u202egro.x@eve"}',
    '{"event_type": "logout", "message": "\\u0000"}',
    '{"event_type": "logout", "created_at": "2999-01-01T00:00:00Z"}',
    '{"event_type": "logout", "request_method": "' + "x" * 5000 + '"}',
    '{"event_type": "logout", "emial": "x"}',
]


def test_each_rejected_line_is_named_and_the_others_are_imported(
    secops: Command, hardened: Database, file: Path, tmp_path: Path
) -> None:
    good = text(some(2)).splitlines()
    file.write_text("\n".join([good[0], *BAD, good[1]]) + "\n")
    rejects = tmp_path / "rejects.jsonl"
    done = secops.on(hardened)("import", "events", str(file), "--rejects", str(rejects))
    assert done.code == 3
    assert hardened.value(COUNT) == 2
    assert "line 2: this is not JSON" in done.err
    assert "line 4: event_type is missing" in done.err
    assert "line 5: message holds a NUL character" in done.err
    assert "line 6: created_at lies in the future" in done.err
    assert "line 7: request_method is longer than 10 characters" in done.err
    assert "line 8: there is no column 'emial' (did you mean email?)" in done.err
    assert "7 lines of 9 were rejected; the others are events." in done.err
    # What the lines hold reaches no terminal.
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", done.err)
    written = [json.loads(line) for line in rejects.read_text().splitlines()]
    assert [each["line"] for each in written] == [2, 3, 4, 5, 6, 7, 8]
    assert [each["text"] for each in written] == BAD
    assert not re.search(r"[\x00-\x09\x0b-\x1f\u202e]", rejects.read_text())


def test_twenty_rejected_lines_are_told_and_the_rest_counted(
    secops: Command, hardened: Database, file: Path
) -> None:
    file.write_text("no\n" * 50 + text(some(1)))
    done = secops.on(hardened)("import", "events", str(file), "--json")
    assert done.code == 3
    warnings = [json.loads(line) for line in done.err.splitlines()]
    assert len(warnings) == 22
    assert warnings[20] == {"warning": "... and 30 more"}
    assert warnings[21]["error"]["code"] == "findings"
    assert done.json()["rejected"] == 50
    assert len(done.json()["rejected_lines"]) == 20


@pytest.mark.parametrize("more", [[], ["--dry-run"]])
def test_strict_imports_nothing_if_a_line_is_rejected(
    secops: Command, hardened: Database, file: Path, more: list[str]
) -> None:
    file.write_text(text(some(3)) + "no\n")
    run = secops.on(hardened)
    said = run("import", "events", str(file), "--strict", *more)
    assert said.code == 3
    assert "1 line of 4 was rejected; nothing was imported." in said.err
    assert hardened.value(COUNT) == 0
    said = run("import", "events", "-", "--strict", *more, input=file.read_text())
    assert said.code == 3
    assert hardened.value(COUNT) == 0
    file.write_text(text(some(3)))
    assert run("import", "events", str(file), "--strict", *more).code == 0
    assert hardened.value(COUNT) == (0 if more else 3)


def test_times_without_a_zone_and_further_keys(
    secops: Command, hardened: Database, file: Path
) -> None:
    file.write_text(text([{"event_type": "logout", "created_at": "2026-07-01T12:00:00", "pod": 1}]))
    run = secops.on(hardened)
    assert run("import", "events", str(file)).code == 3
    done = run(
        "import", "events", str(file), "--timezone", "Europe/Berlin", "--extra-to-metadata",
        "--reason", "backfill", "--ticket", "T-9",
    )  # fmt: skip
    assert done.code == 0
    found = hardened.execute(
        "SELECT metadata, created_at = '2026-07-01T10:00:00Z' FROM security_events"
        " WHERE event_type = 'logout'"
    )
    assert found == [({"pod": 1}, True)]
    [event] = [row[0] for row in hardened.execute(TOLD)]
    assert (event["reason"], event["ticket"], event["file"]) == ("backfill", "T-9", str(file))
    assert run("import", "events", str(file), "--timezone", "Mars/Base").code == 2
    assert run("import", "events", str(file), "--timezone", "../../etc/passwd").code == 2


def test_a_file_that_cannot_be_read_says_so(
    secops: Command, hardened: Database, tmp_path: Path
) -> None:
    run = secops.on(hardened)
    missing = run("import", "events", str(tmp_path / "none.jsonl"), "--json")
    assert missing.code == 1
    assert "none.jsonl" in missing.error()["message"]
    folder = run("import", "events", str(tmp_path), "--json")
    assert folder.code == 1
    cut = tmp_path / "cut.jsonl.gz"
    cut.write_bytes(gzip.compress(text(some(5000)).encode())[:-2000])
    said = run("import", "events", str(cut), "--json")
    assert said.code == 1
    assert "damaged or cut off" in said.error()["message"]


def test_without_the_tables_it_says_to_migrate(
    secops: Command, app_db: Database, file: Path
) -> None:
    file.write_text(text(some(1)))
    said = secops.on(app_db)("import", "events", str(file), "--json")
    assert said.code == 1
    assert "secops migrate" in said.error()["hint"]


def test_in_production_it_asks(secops: Command, hardened: Database, file: Path) -> None:
    file.write_text(text(some(1)))
    run = secops.on(hardened, SECOPS_PRODUCTION="true")
    assert run("import", "events", str(file)).code == 8
    assert hardened.value(COUNT) == 0
    assert run("import", "events", str(file), "--yes").code == 0


def until(condition: object, seconds: float = 60) -> None:
    deadline = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < deadline
        time.sleep(0.02)


def feeding(command: Command, *more: str) -> subprocess.Popen[str]:
    """Start an import that reads from a pipe, so that the test decides how far it comes."""
    return subprocess.Popen(
        command.argv("import", "events", "-", *more),
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        cwd=command.home, env=command.environment(),
    )  # fmt: skip


def fed(process: subprocess.Popen[str], lines: str) -> None:
    assert process.stdin is not None
    process.stdin.write(lines)
    process.stdin.flush()


def test_killed_in_the_middle_the_same_command_finishes_it(
    secops: Command, hardened: Database, file: Path
) -> None:
    lines = text(some(60_000) + some(2))
    file.write_text(lines)
    run = secops.on(hardened)
    process = feeding(run)
    fed(process, lines[: len(lines) * 9 // 10])
    until(lambda: hardened.value(COUNT) > 0)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    there = hardened.value(COUNT)
    assert 0 < there < 60_000
    assert there == hardened.value(CHANGED)
    assert there == sum(row[0]["imported"] for row in hardened.execute(TOLD))
    done = run("import", "events", str(file), "--json")
    assert done.code == 0, done.err
    assert done.json()["changed"] == 60_002 - there
    assert hardened.value(COUNT) == 60_002 == hardened.value(CHANGED)
    assert sum(row[0]["imported"] for row in hardened.execute(TOLD)) == 60_002


def test_interrupted_it_says_what_stands(secops: Command, hardened: Database) -> None:
    process = feeding(secops.on(hardened))
    fed(process, text(some(30_000)))
    until(lambda: hardened.value(COUNT) == 25_000)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate()
    assert process.returncode == 130
    assert "Interrupted after 25,000 events were imported" in said
    assert "Traceback" not in said
    assert hardened.value(CHANGED) == 25_000


def test_a_second_import_ends_at_once_and_names_the_first(
    secops: Command, hardened: Database, file: Path
) -> None:
    file.write_text(text(some(3)))
    run = secops.on(hardened)
    process = feeding(run)
    held = "SELECT count(*) FROM pg_locks WHERE locktype = 'advisory'"
    until(lambda: hardened.value(held) == 1)
    second = run("import", "events", str(file), "--json")
    assert second.code == 6
    [holder] = second.error()["details"]["holders"]
    assert holder["application"].endswith("import events")
    process.communicate(text(some(3)))
    assert process.returncode == 0
    assert hardened.value(COUNT) == 3


def test_progress_goes_by_bytes_on_a_terminal(
    secops: Command, hardened: Database, file: Path
) -> None:
    file.write_text(text(some(60_000)))
    run = secops.on(hardened)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        run.argv("import", "events", str(file)),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=theirs,
        env=run.environment({"TERM": "xterm", "COLUMNS": "110"}), cwd=run.home,
    )  # fmt: skip
    os.close(theirs)
    shown = b""
    while True:
        try:
            shown += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    process.communicate()
    assert process.returncode == 0
    size = f"{file.stat().st_size:,}"
    assert re.search(rf"Importing events.*of {size} bytes", shown.decode())
