"""What changing one account imports: at three in the morning the start-up is what one waits for."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.accounts import People

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

HEAVY = {"sqlalchemy", "alembic", "jinja2", "fastapi", "pydantic", "rich", "tabulate", "yaml"}

PROBE = """
import json, sys
sys.argv = ["secops", *sys.argv[1:]]
from secops.cli.main import run
code = run(sys.argv[1:])
print()
print(json.dumps([code, sorted({name.split(".")[0] for name in sys.modules})]))
"""


@pytest.mark.parametrize(
    "words",
    [
        ("unlock", "user", "bob@example.com"),
        ("lock", "user", "bob@example.com", "--for", "2h"),
        ("revoke", "sessions", "--user", "bob@example.com"),
    ],
)
def test_a_change_of_one_account_imports_nothing_heavy(
    people: People, words: tuple[str, ...]
) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    people.token(bob)

    done = subprocess.run(
        [sys.executable, "-c", PROBE, *words, "--reason", "r"],
        capture_output=True,
        text=True,
        check=True,
        env=people.run.environment(),
        cwd=people.run.home,
    )

    code, modules = json.loads(done.stdout.splitlines()[-1])
    assert code == 0, done.stderr
    assert len(people.deeds()) == 1
    assert "psycopg" in modules
    assert not HEAVY & set(modules)
