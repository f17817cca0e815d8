"""squawk, which knows what hurts a live database, finds nothing in a plan that is not waived with a reason."""

from __future__ import annotations

import json
import subprocess
import sys
import tomllib
from pathlib import Path
from typing import TYPE_CHECKING

from support.databases import Database
from support.layouts import LAYOUTS

if TYPE_CHECKING:
    from support.databases import Command
    from support.servers import Server

ALSO = {
    "earlier layer": {
        # In one transaction with the change of types that would build them again while the app waits; they
        # are built concurrently right after it.
        "require-concurrent-index-deletion",
        # Each is one that PostgreSQL makes in the catalogue alone: test_plan_truth.py sees no file change.
        "changing-column-type",
        # So that rows come in without what only the old app writes.
        "ban-drop-not-null",
        # Its values stand in the column that takes its name, in the same transaction.
        "ban-drop-column",
        "renaming-column",
    }
}
"""What is waived for one layout alone."""
RULES = Path(__file__).parents[2] / ".squawk.toml"


def findings(script: Path, server: Server, rules: Path) -> list[str]:
    """Return the rules that a script breaks."""
    done = subprocess.run(
        [
            Path(sys.executable).with_name("squawk"),
            "--reporter=json",
            f"--config={rules}",
            f"--pg-version={server.version().split()[-1]}",
            script,
        ],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.stdout, done.stderr
    return [each["rule_name"] for each in json.loads(done.stdout)]


def test_squawk_has_nothing_to_say_of_a_plan_but_what_is_waived(
    secops: Command, server: Server, tmp_path: Path
) -> None:
    rules = tomllib.loads(RULES.read_text(encoding="utf-8"))
    none = tmp_path / "none.toml"
    none.write_text(f"included_rules = {json.dumps(rules['included_rules'])}\n", encoding="utf-8")
    said: set[str] = set()
    for name, layout in LAYOUTS.items():
        database = Database(server, server.create())
        layout(database)
        script = tmp_path / f"{name}.sql"
        done = secops.on(database)("migrate", "plan", "--format", "sql")
        script.write_text(done.out, encoding="utf-8")
        assert set(findings(script, server, RULES)) == ALSO.get(name, set())
        said |= set(findings(script, server, none)) - ALSO.get(name, set())
        server.drop(database.name)
    # A rule that nothing breaks needs no waiver.
    assert said == set(rules["excluded_rules"])
    # And squawk does see what is wrong.
    script.write_text("CREATE INDEX i ON users (email);", encoding="utf-8")
    assert "require-concurrent-index-creation" in findings(script, server, RULES)
