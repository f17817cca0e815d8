"""Account commands as the roles that `secops init --print-grants` makes: no more than they need."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from secops.schema.detect import detect
from secops.schema.grants import grants

if TYPE_CHECKING:
    from support.accounts import People
    from support.databases import Command


def _as(people: People, role: str) -> Command:
    """Return the command run by a login that is a member of the role."""
    with people.database.connect() as conn:
        conn.execute(grants(detect(conn, people.database.settings())).encode())
        name = f"{role}_login_{people.database.name}"
        conn.execute(f'CREATE ROLE "{name}" LOGIN IN ROLE {role}'.encode())
    url = people.database.server.url(people.database.name, name)
    return people.run.on(people.database, SECOPS_DATABASE_URL=url)


@pytest.fixture(autouse=True)
def _without_roles_left(people: People) -> object:
    """Roles belong to the server: drop what a test made, so that its database can be dropped."""
    yield
    people.database.execute(
        """DO $$ DECLARE r text; BEGIN
           FOR r IN SELECT rolname FROM pg_roles WHERE rolname LIKE 'secops_%' LOOP
               EXECUTE format('DROP OWNED BY %I CASCADE', r); EXECUTE format('DROP ROLE %I', r);
           END LOOP; END $$"""
    )


def test_an_operator_can_do_all_of_it_and_the_reader_can_only_look(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")
    people.token(bob)
    people.event("login_failed", user=bob)
    reader, operator = _as(people, "secops_reader"), _as(people, "secops_operator")

    shown = reader("show", "user", "bob@example.com", "--json")
    assert shown.code == 0, shown.err
    assert len(shown.json()["sessions"]) == 1
    for words in (
        ("unlock", "user", "bob@example.com"),
        ("lock", "user", "bob@example.com"),
        ("revoke", "sessions", "--user", "bob@example.com"),
    ):
        refused = reader(*words, "--reason", "r")
        assert refused.code == 1, words
        assert "may not do this" in refused.err
    assert people.user(bob)[0] == 5
    assert people.deeds() == []

    deeds: tuple[tuple[str, ...], ...] = (
        ("show", "user", "bob@example.com"),
        ("unlock", "user", "--locked-by-ip", "203.0.113.0/24", "--yes"),
        ("lock", "user", "bob@example.com", "--for", "1h"),
        ("unlock", "user", "bob@example.com"),
        ("revoke", "sessions", "--ip", "198.51.100.0/24", "--idle-for", "1m", "--issued-before", "1m",
         "--agent", "*", "--yes"),
        ("unlock", "user", "bbo@example.com"),
    )  # fmt: skip
    for each in deeds:
        done = operator(*each, *(() if each[0] == "show" else ("--reason", "r")))
        assert done.code == (4 if "bbo@example.com" in each else 0), (each, done.err)
    assert people.live(bob) == 0
    assert len(people.deeds()) == 4
