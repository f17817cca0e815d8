"""``secops prune events --archive``: what goes is in the archive, to the letter, once."""

from __future__ import annotations

import json
import os
import random
import signal
import stat
from pathlib import Path
from typing import Any

import pytest

from support import archives
from support.databases import Command, Database
from support.forked import Forked
from support.servers import majors
from support.stories import settled

ONE = pytest.mark.parametrize("server", [max(majors())], indirect=True)

ENV = {
    "SECOPS_RETENTION_INFORMATION": "30d",
    "SECOPS_RETENTION_SECURITY": "60d",
    "SECOPS_RETENTION_OPERATOR": "90d",
}
PRUNE = ("prune", "events", "--yes", "--json", "--archive", "archive")


REPORTS = (
    ("failed-logins", "--since", "400d", "--min-attempts", "1"),
    ("suspicious-ips", "--since", "400d", "--min-accounts", "1"),
    ("login-activity", "--since", "400d", "--limit", "0"),
    ("never-logged-in-since", "--since", "10d"),
    ("failed-logins", "--since", "20d", "--min-attempts", "1"),
)


def said(run: Command, now: str, *words: str) -> list[object]:
    found = []
    for name, *more in REPORTS:
        done = run(*words, name, *more, "--as-of", now, "--json")
        assert done.code == 0, (name, done.err)
        found.append(done.json())
    return found


@pytest.mark.parametrize(
    ("server", "partitioned"),
    list(zip(sorted(majors()), [False, True], strict=False)),
    indirect=["server"],
)
def test_what_is_deleted_is_in_the_archive_to_the_letter_and_reports_find_it(
    secops: Command, hardened: Database, partitioned: bool
) -> None:
    run = secops.on(hardened, **ENV)
    if partitioned:
        archives.partition(hardened, run)
    archives.fill(hardened, 300)
    now = hardened.value(
        "SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')"
    )
    before, reports = archives.live(hardened), said(run, now, "report")
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
    for each in entries:
        assert Path(each["file"]).parts[0] == f"month={each['min_created_at'][:7]}"
    # Reports say of both what they said of the whole table.
    assert said(run, now, "report") != reports
    run = secops.on(hardened, SECOPS_ARCHIVE_DIR="archive", **ENV)
    assert said(run, now, "archive", "query") == reports
    near = run("report", "failed-logins", "--since", "20d", "--archive", "archive")
    assert "With 0 events of 0 months of the archive archive." in near.err
    assert hardened.value("SELECT count(*) FROM pg_class WHERE relname ~ 'secops_archive'") == 0
    counted = run(
        "archive", "query", "--json", "--sql",
        "SELECT count(*)::INT AS n, min(created_at) AS first FROM security_events"
        " WHERE metadata::JSON ->> 'n' > '0' OR metadata IS NULL",
    ).json()  # fmt: skip
    assert counted[0]["n"] == len(gone)


@pytest.fixture
def archive(secops: Command, hardened: Database) -> Path:
    """An archive of some months, and what made it."""
    archives.fill(hardened, 200)
    assert secops.on(hardened, **ENV)(*PRUNE).code == 0
    return secops.home / "archive"


@ONE
def test_what_was_changed_in_an_archive_is_named(secops: Command, archive: Path) -> None:
    run = secops
    files = sorted(archive.glob("month=*/*.parquet"))
    assert len(files) > 3

    def problems() -> dict[str, str]:
        done = run("archive", "verify", "archive", "--json")
        found = {each["file"]: each["problem"] for each in done.json()}
        assert done.code == (3 if found else 0)
        return found

    assert problems() == {}
    manifest = archive / "manifest.json"
    whole = manifest.read_bytes()
    chance = random.Random(7)
    for place in (0, len(whole) - 1, *chance.sample(range(len(whole)), 8)):
        manifest.write_bytes(whole[:place] + bytes([whole[place] ^ 1]) + whole[place + 1 :])
        assert list(problems()) == ["manifest.json"], (place, whole[place : place + 20])
    for other in (whole + b" ", whole[:-1], whole[: len(whole) // 2], b"", b"{}", b"null", b"\xff"):
        manifest.write_bytes(other)
        assert list(problems()) == ["manifest.json"], other
    manifest.write_bytes(whole)
    contents = [path.read_bytes() for path in files]
    names = [str(path.relative_to(archive)) for path in files]
    changed = bytearray(contents[0])
    changed[len(changed) // 2] ^= 1
    files[0].write_bytes(bytes(changed))
    files[1].write_bytes(contents[1][:-1])
    files[2].unlink()
    stray = files[3].with_name("stray.parquet")
    stray.write_bytes(contents[3])
    found = problems()
    assert "SHA-256" in found[names[0]]
    assert "bytes instead of" in found[names[1]]
    assert found[names[2]] == "is missing"
    assert found[str(stray.relative_to(archive))] == "is not in the manifest"
    assert len(found) == 4
    assert run("archive", "verify", "nowhere").code == 1
    assert run("archive", "verify").code == 2


@ONE
def test_beside_a_damaged_archive_nothing_is_deleted(
    secops: Command, hardened: Database, archive: Path
) -> None:
    archives.fill(hardened, 100)
    run = secops.on(hardened, **ENV)
    before = archives.live(hardened)
    manifest = archive / "manifest.json"
    whole = manifest.read_bytes()
    manifest.write_bytes(whole.replace(b"kept", b"Kept", 1))
    for words in (PRUNE, ("report", "theft", "--archive", "archive", "--json")):
        said_ = run(*words)
        assert said_.code == 5
        assert "manifest.json is not as secops wrote it" in said_.error()["message"]
    manifest.unlink()
    said_ = run(*PRUNE)
    assert said_.code == 5
    assert "and no manifest" in said_.error()["message"]
    manifest.write_bytes(whole)
    other = json.loads(whole)["source"]["database"]
    assert other == hardened.name
    copy = Database(hardened.server, hardened.server.create(hardened.name))
    said_ = secops.on(copy, **ENV)(*PRUNE)
    assert said_.code == 5
    assert "of another database" in said_.error()["message"]
    copy.server.drop(copy.name)
    assert archives.live(hardened) == before
    assert run(*PRUNE).code == 0


@ONE
def test_while_events_are_in_both_places_each_is_counted_once(
    secops: Command, hardened: Database
) -> None:
    archives.fill(hardened, 120)
    run = secops.on(hardened, **ENV)
    assert isinstance(run, Forked)
    words = ("failed-logins", "--since", "400d", "--min-attempts", "1", "--json")
    before = run("report", *words).json()

    def die(_: int, __: Any, text: str) -> None:
        if " ".join(text.split()).startswith("DELETE FROM"):
            os.kill(os.getpid(), signal.SIGKILL)

    assert run(*PRUNE, hook=die).code == 137
    settled(hardened)
    assert "are still being deleted" in run("archive", "verify", "archive").err
    assert run("report", *words, "--archive", "archive").json() == before
    assert run(*PRUNE).code == 0
    assert run("report", *words, "--archive", "archive").json() == before


@ONE
def test_events_that_a_restored_database_has_again_are_not_archived_twice(
    secops: Command, hardened: Database
) -> None:
    archives.fill(hardened, 150)
    before = archives.live(hardened)
    hardened.execute("CREATE TABLE backup AS SELECT * FROM security_events")
    run = secops.on(hardened, **ENV)
    assert run(*PRUNE).code == 0
    gone = archives.archived(hardened, run.home / "archive")
    hardened.execute(
        "INSERT INTO security_events SELECT * FROM backup b WHERE NOT EXISTS"
        " (SELECT FROM security_events e WHERE e.id = b.id)"
    )
    # One of them was changed since: what is archived of it is not what is there.
    hardened.execute(
        "UPDATE security_events SET message = 'anonymised' WHERE id = (SELECT id FROM security_events"
        " WHERE created_at < now() - interval '100 days' LIMIT 1)"
    )
    again = archives.live(hardened)
    done = run(*PRUNE).json()
    assert done["changed"] == len(gone)
    kept = archives.archived(hardened, run.home / "archive")
    assert sorted(kept + archives.live(hardened)) == sorted(again)
    assert len(set(again) - set(before)) == 1
    assert run("archive", "verify", "archive").code == 0


@ONE
def test_what_is_held_locked_or_young_stays_and_is_in_one_place(
    secops: Command, hardened: Database
) -> None:
    archives.fill(hardened, 150)
    before = archives.live(hardened)
    run = secops.on(hardened, **ENV)
    (run.home / "secops.yaml").write_text(
        "retention:\n  holds_file: holds.txt\narchive:\n  dir: archive\n", "utf-8"
    )
    (run.home / "holds.txt").write_text("p3@example.com\n", "utf-8")
    with hardened.connect() as conn:
        conn.execute("BEGIN")
        conn.execute(
            "SELECT FROM security_events WHERE created_at < now() - interval '100 days'"
            " AND email IS NULL LIMIT 3 FOR UPDATE"
        )
        done = run("prune", "events", "--yes", "--json").json()
        conn.execute("ROLLBACK")
    assert done["locked"] == 3
    assert done["held"] > 3
    folder = run.home / "archive"
    assert sorted(archives.archived(hardened, folder) + archives.live(hardened)) == sorted(before)
    more = run("prune", "events", "--yes", "--json").json()
    assert (more["changed"], more["locked"], more["held"]) == (3, 0, done["held"])
    kept = archives.archived(hardened, folder)
    assert sorted(kept + archives.live(hardened)) == sorted(before)
    assert not [line for line in kept if "p3@example.com" in line]


@ONE
def test_a_column_that_came_later_is_archived_and_read_with_the_others(
    secops: Command, hardened: Database
) -> None:
    archives.fill(hardened, 100)
    run = secops.on(hardened, **ENV)
    assert run(*PRUNE).code == 0
    hardened.execute(
        "ALTER TABLE security_events ADD COLUMN tenant inet NOT NULL DEFAULT '10.0.0.1'"
    )
    archives.fill(hardened, 60)
    assert run(*PRUNE).code == 0
    done = run(
        "archive", "query", "--archive", "archive", "--json", "--sql",
        "SELECT tenant, count(*)::INT AS n FROM security_events GROUP BY 1 ORDER BY n",
    )  # fmt: skip
    assert [each["tenant"] for each in done.json()] == ["10.0.0.1/32", None]
    own = run.home / "own"
    own.mkdir()
    (own / "tenants.sql").write_text(
        "-- ---\n-- title: Tenants\n-- ---\n"
        "SELECT tenant, count(*) AS n FROM security_events"
        " WHERE event_type LIKE 'login%' GROUP BY 1 ORDER BY n\n",
        "utf-8",
    )
    run = secops.on(hardened, SECOPS_QUERIES="own", SECOPS_ARCHIVE_DIR="archive")
    rows = run("archive", "query", "tenants", "--json").json()
    assert sum(each["n"] for each in rows) == 160
    (own / "tenants.sql").write_text(
        '-- ---\n-- title: Tenants\n-- ---\nSELECT count(*) AS n FROM :"schema".security_events\n',
        "utf-8",
    )
    refused = run("archive", "query", "tenants", "--json")
    assert refused.code == 2
    assert "names security_events with its schema" in refused.error()["message"]


@ONE
@pytest.mark.usefixtures("archive")
def test_a_query_reads_the_archive_and_nothing_else(secops: Command) -> None:
    (secops.home / "secret.csv").write_text("a,b\n1,2\n", "utf-8")
    for query in (
        "SELECT * FROM read_csv('secret.csv')",
        "SELECT * FROM read_text('/etc/passwd')",
        "COPY security_events TO 'out.csv'",
        "SET enable_external_access = true",
        "INSTALL httpfs",
        "SELECT no_such_column FROM security_events",
    ):
        done = secops("archive", "query", "--archive", "archive", "--json", "--sql", query)
        assert done.code == 1, query
        assert "DuckDB says" in done.error()["message"]
    assert not (secops.home / "out.csv").exists()
    assert secops("archive", "query").code == 2
