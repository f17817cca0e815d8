"""``secops prune events --archive``: what goes is in the archive, to the letter, once."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from support import archives
from support.databases import Command, Database

ENV = {
    "SECOPS_RETENTION_INFORMATION": "30d",
    "SECOPS_RETENTION_SECURITY": "60d",
    "SECOPS_RETENTION_OPERATOR": "90d",
}
PRUNE = ("prune", "events", "--yes", "--json", "--archive", "archive")


@pytest.mark.parametrize("partitioned", [False, True])
def test_what_is_deleted_is_in_the_archive_to_the_letter(
    secops: Command, hardened: Database, partitioned: bool
) -> None:
    run = secops.on(hardened, **ENV)
    if partitioned:
        archives.partition(hardened, run)
    archives.fill(hardened, 300)
    before = archives.live(hardened)
    would = run("prune", "events", "--dry-run", "--json", "--archive", "archive").json()
    assert not (run.home / "archive").exists()
    assert archives.live(hardened) == before
    done = run(*PRUNE)
    assert done.code == 0, done.err
    did = done.json()
    folder = run.home / "archive"
    gone = archives.archived(hardened, folder)
    assert sorted(gone + archives.live(hardened)) == sorted(before)
    assert did["changed"] == would["changed"] == len(gone) == did["archive"]["events"] > 150
    assert [each["partition"] for each in would["partitions"]] == [
        each["partition"] for each in did["partitions"]
    ]
    assert bool(did["partitions"]) is partitioned
    told = hardened.value(
        "SELECT sum((metadata ->> 'deleted')::int)::int FROM security_events"
        " WHERE event_type = 'events_pruned'"
    )
    assert told == len(gone)
    # Once more: nothing to do, and nothing changes.
    manifest = (folder / "manifest.json").read_bytes()
    assert run(*PRUNE).json()["changed"] == 0
    assert (folder / "manifest.json").read_bytes() == manifest
    for path in folder.rglob("*"):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path
    entries = json.loads(manifest)["entries"]
    assert {each["state"] for each in entries} == {"kept"}
    assert sum(each["rows"] for each in entries) == len(gone)
    assert all(
        Path(each["file"]).parts[0] == f"month={each['min_created_at'][:7]}" for each in entries
    )


REPORTS = (
    ("failed-logins", "--since", "400d", "--min-attempts", "1"),
    ("suspicious-ips", "--since", "400d", "--min-accounts", "1"),
    ("attacked-accounts", "--since", "400d", "--min-addresses", "1"),
    ("login-activity", "--since", "400d", "--limit", "0"),
    ("never-logged-in-since", "--since", "10d"),
    ("theft", "--since", "400d"),
    ("sessions",),
    ("failed-logins", "--since", "20d", "--min-attempts", "1"),
)


@pytest.mark.parametrize("partitioned", [False, True])
def test_a_report_says_the_same_of_both_as_it_said_of_the_whole_table(
    secops: Command, hardened: Database, partitioned: bool
) -> None:
    run = secops.on(hardened, **ENV)
    if partitioned:
        archives.partition(hardened, run)
    archives.fill(hardened, 300)
    now = hardened.value(
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )

    def said(*words: str) -> list[object]:
        found = []
        for name, *more in REPORTS:
            at = ["--as-of", now] if name not in {"sessions"} else []
            done = run(*words, name, *more, *at, "--json")
            assert done.code == 0, (name, done.err)
            found.append(done.json())
        return found

    before = said("report")
    assert run(*PRUNE).code == 0
    assert said("report") != before
    run = secops.on(hardened, SECOPS_ARCHIVE_DIR="archive", **ENV)
    assert said("archive", "query") == before
    near = run("report", "failed-logins", "--since", "20d", "--archive", "archive")
    assert "With 0 events of 0 months of the archive archive." in near.err
    assert hardened.value("SELECT count(*) FROM pg_class WHERE relname ~ 'secops_archive'") == 0
