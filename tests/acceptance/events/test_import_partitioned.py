"""Imports of one file into partitions, one after the other and at once: each event is there once."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta

import pytest

from support import archives
from support.databases import Command, Database
from support.servers import majors

COUNT = (
    "SELECT count(*)::int, count(DISTINCT id)::int FROM security_events WHERE user_agent = 'file'"
)


@pytest.mark.own_process
@pytest.mark.parametrize("server", [max(majors())], indirect=True)
def test_the_same_file_many_times_and_at_once_adds_nothing(
    secops: Command, hardened: Database
) -> None:
    archives.partition(hardened, secops.on(hardened))
    now: datetime = hardened.value("SELECT now()")
    lines: list[dict[str, object]] = [
        {
            "event_type": "login_failed",
            "email": f"p{n % 9}@example.com",
            "user_agent": "file",
            "created_at": (now - timedelta(hours=n)).astimezone(UTC).isoformat(),
        }
        for n in range(1500)
    ]
    # The same event twice, events without a time, and some with an id of their own.
    lines += lines[:20]
    lines += [{"event_type": "logout", "user_agent": "file"}] * 30
    lines += [
        {**lines[n], "id": f"00000000-0000-4000-8000-{n:012d}", "message": "with an id"}
        for n in range(40)
    ]
    file = secops.home / "app.jsonl"
    file.write_text("".join(json.dumps(each) + "\n" for each in lines), "utf-8")
    run = secops.on(hardened)
    words = ("import", "events", str(file), "--yes", "--json")
    at_once = [run.start(*words) for _ in range(3)]
    codes = []
    for each in at_once:
        each.communicate(timeout=120)
        codes.append(each.returncode)
    # One imports, the others are told that it does, or come when it is done.
    assert set(codes) <= {0, 6}
    assert 0 in codes
    there = [(len(lines), len(lines))]
    assert hardened.execute(COUNT) == there
    again = run(*words).json()
    assert (again["changed"], hardened.execute(COUNT)) == (0, there)
    told = hardened.value(
        "SELECT sum((metadata ->> 'imported')::int)::int FROM security_events"
        " WHERE event_type = 'events_imported'"
    )
    assert told == len(lines)
