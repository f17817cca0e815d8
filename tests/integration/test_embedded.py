"""The embedded server starts in any folder, whatever the environment says, and stops."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from secops.database import embedded
from secops.errors import SecopsError
from support.folders import outside


@pytest.fixture
def data(request: pytest.FixtureRequest) -> Iterator[Path]:
    with outside() as folder:
        data = folder / getattr(request, "param", "plain") / "postgres"
        data.parent.mkdir(parents=True)
        yield data
        embedded.stop(data)


def value(url: str, query: str) -> object:
    with psycopg.connect(url) as conn:
        row = conn.execute(query.encode()).fetchone()
        assert row is not None
        return row[0]


@pytest.mark.parametrize(
    "data", ["with space", "it's", "x" * 150, "ünïcode; echo"], indirect=True, ids=ascii
)
def test_it_starts_in_a_folder_with_any_name(data: Path) -> None:
    url = embedded.start(data)
    assert Path(str(value(url, "SHOW data_directory"))) == data.resolve()
    assert embedded.is_running(data)


def test_it_is_found_running_stops_once_and_starts_again_with_its_data(data: Path) -> None:
    url = embedded.start(data)
    with psycopg.connect(url, autocommit=True) as conn:
        conn.execute("CREATE TABLE kept (id int)")
    assert embedded.start(data) == url
    assert embedded.stop(data) is True
    assert embedded.stop(data) is False
    assert not embedded.is_running(data)
    assert value(embedded.start(data), "SELECT count(*) FROM kept") == 0


def test_variables_of_postgresql_lead_it_nowhere_else(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, text in {"PGPORT": "7777", "PGDATA": "/nowhere", "PGHOST": "192.0.2.1"}.items():
        monkeypatch.setenv(name, text)
    assert value(embedded.start(data), "SHOW port") == "5432"


def test_a_process_that_has_an_old_servers_number_is_not_the_server(data: Path) -> None:
    embedded.start(data)
    pid_file = data / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    embedded.stop(data)
    lines[0] = str(os.getppid())
    pid_file.write_text("\n".join(lines) + "\n")
    assert not embedded.is_running(data)
    assert embedded.stop(data) is False


def test_a_folder_that_a_shell_would_misread_is_refused(tmp_path: Path) -> None:
    folder = tmp_path / "$HOME"
    with pytest.raises(SecopsError, match="pg_ctl"):
        embedded.start(folder / "postgres")
    assert not folder.exists()


def test_a_server_that_does_not_start_says_why_and_keeps_the_environment_to_itself(
    data: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("DATABASE_URL", "postgresql://app:canary@db/app")
    embedded.start(data)
    embedded.stop(data)
    (data / "global" / "pg_control").unlink()
    with pytest.raises(SecopsError, match="pg_control") as caught:
        embedded.start(data)
    assert str(data / "log") in caught.value.hint
    assert "canary" not in f"{caught.value.message}{caplog.text}"


MAKING = """
import sys
from pathlib import Path
from secops.database import embedded
embedded.start(Path(sys.argv[1]))
"""


def test_killed_while_the_cluster_is_made_it_makes_it_anew(data: Path) -> None:
    making = subprocess.Popen([sys.executable, "-c", MAKING, str(data)], stderr=subprocess.DEVNULL)
    while not (data / "global").is_dir():
        assert making.poll() is None
        time.sleep(0.005)
    # initdb itself, which is a child, is left running without its parent.
    making.kill()
    making.wait()
    assert value(embedded.start(data), "SELECT 1") == 1


def test_a_cluster_whose_making_was_cut_short_is_made_anew(data: Path) -> None:
    embedded.start(data)
    embedded.stop(data)
    (data / "log").unlink()
    (data / "global" / "pg_control").unlink()
    assert value(embedded.start(data), "SELECT 1") == 1
