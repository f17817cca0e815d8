"""secops as people get it: built as a wheel, installed elsewhere, run from an empty folder."""

from __future__ import annotations

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest

import secops as package
from support.databases import Command, Database

pytestmark = pytest.mark.own_process

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run(
        [
            sys.executable,
            "-m",
            "pip",
            "wheel",
            "--quiet",
            "--no-deps",
            "-w",
            str(folder),
            str(ROOT),
        ],
        check=True,
    )
    [made] = folder.glob("*.whl")
    return made


@pytest.fixture(scope="session")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fresh environment with the wheel and its dependencies, without the extras."""
    folder = tmp_path_factory.mktemp("installed") / "venv"
    venv.create(folder, with_pip=True)
    subprocess.run(
        [
            *(folder / "bin/python", "-m", "pip", "install", "--quiet"),
            *("--disable-pip-version-check", wheel),
        ],
        check=True,
    )
    return folder / "bin" / "secops"


def test_the_wheel_carries_migrations_queries_and_types(wheel: Path) -> None:
    names = set(zipfile.ZipFile(wheel).namelist())
    for folder in ("migrations/versions", "queries"):
        files = [path for path in (ROOT / folder).glob("*.*") if path.suffix in {".py", ".sql"}]
        assert files
        for path in files:
            assert f"secops/_data/{folder}/{path.name}" in names
    assert "secops/_data/migrations/env.py" in names
    assert "secops/py.typed" in names
    assert not [name for name in names if name.startswith(("tests/", "docs/"))]


def test_the_installed_command_hardens_reports_and_prunes_from_an_empty_folder(
    installed: Path, app_db: Database, secops: Command, tmp_path: Path
) -> None:
    empty = tmp_path / "empty"
    empty.mkdir()
    env = secops.on(app_db).environment()

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [installed, *arguments], cwd=empty, env=env, capture_output=True, text=True, check=False
        )

    assert run("--version").stdout == f"secops {package.__version__}\n"
    migrated = run("migrate", "--yes")
    assert migrated.returncode == 0, migrated.stderr
    assert app_db.value("SELECT count(*) FROM refresh_tokens") == 0
    app_db.execute(
        "INSERT INTO refresh_tokens (user_id, token_hash, expires_at)"
        " SELECT id, md5(email), now() - interval '30 days' FROM users"
    )
    assert run("report", "failed-logins", "--json").stdout.strip() == "[]"
    pruned = run("prune", "tokens", "--older-than", "7d", "--yes", "--json")
    assert pruned.returncode == 0, pruned.stderr
    assert app_db.value("SELECT count(*) FROM refresh_tokens") == 0
    assert list(empty.iterdir()) == []
