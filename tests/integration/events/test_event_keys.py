"""Imports into apps whose users have keys of each type."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from support.accounts import KEY_TYPES, build, migrate
from support.databases import Command
from support.servers import Server

KEYS = {
    "uuid": ("1c8a3c1e-5f3d-4c7e-9a55-0123456789ab", "5"),
    "bigint": (9_000_000_000, 2**63),
    "integer": (7, 9_000_000_000),
    "text": ("user-1\t\\N", 7),
}


@pytest.mark.parametrize("key_type", KEY_TYPES)
def test_a_key_that_fits_is_taken_and_another_rejected(
    server: Server, secops: Command, tmp_path: Path, key_type: str
) -> None:
    database = build(server, key_type, f"events_{key_type}")
    migrate(database, secops.home)
    good, bad = KEYS[key_type]
    file = tmp_path / "events.jsonl"
    file.write_text(
        "".join(
            json.dumps({"event_type": "logout", "user_id": key}) + "\n" for key in (good, bad, None)
        )
    )
    done = secops.on(database)("import", "events", str(file), "--json")
    assert done.code == 3
    assert (done.json()["changed"], done.json()["rejected"]) == (2, 1)
    [line] = done.json()["rejected_lines"]
    assert line["line"] == 2
    assert line["reason"].startswith("user_id is no")
    found = database.execute(
        "SELECT user_id FROM security_events WHERE event_type = 'logout' ORDER BY user_id"
    )
    assert [None if row[0] is None else str(row[0]) for row in found] == [str(good), None]
    server.drop(database.name)
