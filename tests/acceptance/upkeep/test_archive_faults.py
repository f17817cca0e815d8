"""A full disk, a folder that takes no writes, a clock that is a year ahead: nothing is lost, and it is said."""

from __future__ import annotations

import os
import re
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from support import archives
from support.databases import Command, Database
from support.forked import Forked
from support.servers import majors

ENV = {
    "SECOPS_RETENTION_INFORMATION": "30d",
    "SECOPS_RETENTION_SECURITY": "60d",
    "SECOPS_RETENTION_OPERATOR": "90d",
}
PRUNE = ("prune", "events", "--yes", "--json", "--archive", "archive")
pytestmark = pytest.mark.parametrize("server", [max(majors())], indirect=True)


@pytest.fixture
def run(secops: Command, hardened: Database) -> Forked:
    archives.fill(hardened, 400)
    found = secops.on(hardened, **ENV)
    assert isinstance(found, Forked)
    return found


@pytest.fixture
def small(run: Forked) -> Iterator[Path]:
    """A file system of 48 KiB where the archive is to be."""
    folder = run.home / "archive"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48k,mode=700", "tmpfs", str(folder)],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def nothing_lost(database: Database, before: list[str], folder: Path) -> int:
    kept = archives.archived(database, folder)
    assert sorted(kept + archives.live(database)) == sorted(before)
    return len(kept)


def test_a_full_disk_is_told_and_nothing_is_deleted_that_is_not_archived(
    run: Forked, hardened: Database, small: Path
) -> None:
    before = archives.live(hardened)
    done = run(*PRUNE)
    assert done.code == 1
    assert "No space left on device" in done.error()["message"]
    assert "Make room" in done.error()["hint"]
    some = nothing_lost(hardened, before, small)
    assert run("archive", "verify", "archive").code == (0 if some else 1)
    again = run(*PRUNE)
    assert again.code == 1
    assert nothing_lost(hardened, before, small) >= some
    subprocess.run(["mount", "-o", "remount,size=8m", str(small)], check=True)
    assert run(*PRUNE).code == 0
    assert nothing_lost(hardened, before, small) > 200
    assert run("archive", "verify", "archive").code == 0
    assert [path for path in small.rglob(".*") if path.name != ".lock"] == []


def test_a_file_system_that_takes_no_writes_is_told(
    run: Forked, hardened: Database, small: Path
) -> None:
    before = archives.live(hardened)
    subprocess.run(["mount", "-o", "remount,ro", str(small)], check=True)
    done = run(*PRUNE)
    assert done.code == 1
    assert "Read-only file system" in done.error()["message"]
    assert archives.live(hardened) == before


@pytest.mark.parametrize("size", [200, 3000])
def test_files_that_may_not_grow_are_told(run: Forked, hardened: Database, size: int) -> None:
    """The same as a full disk, at sizes where other writes fail, and without a mount."""
    before = archives.live(hardened)

    def limit(number: int, _: Any, __: str) -> None:
        if number == 1:
            from secops.archive import files

            write = files.write

            def limited(path: Path, content: bytes) -> None:
                # Only for as long as this: what the test itself writes is beyond it.
                resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))
                try:
                    write(path, content)
                finally:
                    unlimited = (resource.RLIM_INFINITY, resource.RLIM_INFINITY)
                    resource.setrlimit(resource.RLIMIT_FSIZE, unlimited)

            files.write = limited  # type: ignore[assignment]  # only in this child

    done = run(*PRUNE, hook=limit)
    assert done.code == 1
    assert "File too large" in done.error()["message"]
    assert nothing_lost(hardened, before, run.home / "archive") < len(before)
    assert run(*PRUNE).code == 0
    assert nothing_lost(hardened, before, run.home / "archive") > 200
    assert run("archive", "verify", "archive").code == 0


@pytest.mark.parametrize("kind", [".parquet.new", "json.new"])
def test_a_disk_that_gives_back_something_else_is_noticed(
    run: Forked, hardened: Database, kind: str
) -> None:
    before = archives.live(hardened)

    def corrupt(number: int, _: Any, __: str) -> None:
        if number == 1:
            from secops.archive import files

            write = files.write

            def other(path: Path, content: bytes) -> None:
                changed = bytearray(content)
                if path.name.endswith(kind):
                    changed[len(changed) // 2] ^= 1
                write(path, bytes(changed))

            files.write = other  # type: ignore[assignment]  # only in this child

    done = run(*PRUNE, hook=corrupt)
    assert done.code in {1, 5}
    assert re.search(r"read back from .* is not what was written", done.error()["message"])
    assert archives.live(hardened) == before


def test_what_is_no_folder_is_told(run: Forked, hardened: Database) -> None:
    before = archives.live(hardened)
    (run.home / "archive").write_text("a file", "utf-8")
    done = run(*PRUNE)
    assert done.code == 1
    assert "The archive archive cannot be used" in done.error()["message"]
    if os.geteuid():
        (run.home / "shut").mkdir(0o500)
        shut = run("prune", "events", "--yes", "--json", "--archive", "shut")
        assert "Permission denied" in shut.error()["message"]
    assert archives.live(hardened) == before


def test_without_its_libraries_it_says_what_to_install(run: Forked, hardened: Database) -> None:
    before = archives.live(hardened)
    assert run(*PRUNE).code == 0
    after = archives.live(hardened)
    assert after != before
    for missing, words in (
        ("pyarrow", PRUNE),
        ("pyarrow", ("archive", "verify", "archive", "--json")),
        (
            "pyarrow",
            ("report", "failed-logins", "--since", "400d", "--archive", "archive", "--json"),
        ),
        ("duckdb", ("archive", "query", "--archive", "archive", "--json", "--sql", "SELECT 1")),
    ):
        hidden = (
            f"import sys\nsys.modules.update({{'{missing}': None}})\n"
            "from secops.cli.main import run\nsys.exit(run(sys.argv[1:]))"
        )
        done = subprocess.run(
            [sys.executable, "-c", hidden, *words],
            capture_output=True, text=True, check=False, env=run.environment(), cwd=run.home,
        )  # fmt: skip
        assert done.returncode == 2, (words, done)
        assert f"Archives need {missing}" in done.stderr
        assert 'pip install \\"secops[archive]\\"' in done.stderr
    assert archives.live(hardened) == after


def test_a_clock_that_is_a_year_ahead_changes_nothing(secops: Command, hardened: Database) -> None:
    """The database's clock decides: the machine's own is set ahead in all that Python asks."""
    archives.fill(hardened, 400)
    hardened.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT (SELECT id FROM users LIMIT 1), g::text, now() + g * interval '10 days'"
        " FROM generate_series(-10, 30) g"
    )
    twin = Database(hardened.server, hardened.server.create(hardened.name))
    real = time.time

    class AnyMoment(type):
        def __instancecheck__(cls, instance: object) -> bool:
            return isinstance(instance, datetime)

    class Ahead(datetime, metaclass=AnyMoment):
        """The clock of a machine that is a year ahead."""

        @classmethod
        def now(cls, tz: Any = None) -> Any:
            return datetime.fromtimestamp(real(), tz) + timedelta(days=366)

        @classmethod
        def utcnow(cls) -> Any:
            return cls.now(UTC).replace(tzinfo=None)

    def ahead(number: int, _: Any, __: str) -> None:
        if number == 1:
            time.time = lambda: real() + 366 * 86400
            for name, module in list(sys.modules.items()):
                if name.startswith("secops") and getattr(module, "datetime", None) is datetime:
                    module.datetime = Ahead  # type: ignore[attr-defined]

    words = ("cron", "cleanup", "--json")
    right = secops.on(hardened, SECOPS_ARCHIVE_DIR="right", **ENV)(*words)
    wrong = Forked(secops.home).on(twin, SECOPS_ARCHIVE_DIR="wrong", **ENV)(*words, hook=ahead)
    assert (right.code, wrong.code) == (0, 0)
    assert [part["changed"] for part in wrong.json()["parts"]] == [
        part["changed"] for part in right.json()["parts"]
    ]
    assert archives.live(twin) == archives.live(hardened)
    tokens = "SELECT count(*)::int FROM refresh_tokens"
    assert twin.value(tokens) == hardened.value(tokens) == 31
    said = (secops.home / "wrong" / "manifest.json").read_text("utf-8")
    years = set(re.findall(r'"archived_at": "(\d{4})', said))
    assert years == {hardened.value("SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY')")}
    twin.server.drop(twin.name)
