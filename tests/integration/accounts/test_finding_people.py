"""Finding accounts by address or id, and what is suggested where there is none."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING

import pytest

from secops.accounts import users
from secops.errors import Conflict, NothingMatched
from secops.schema.detect import detect

if TYPE_CHECKING:
    from support.accounts import People

one_major = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


def test_an_exact_address_wins_then_the_id_then_any_case(people_of_any_key: People) -> None:
    people = people_of_any_key
    lower, mixed = people.add("bob@example.com"), people.add("Bob@example.com")
    carol = people.add("Carol@Example.com", name="Carol", active=False)
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())

        assert users.find(conn, layout, "bob@example.com").id == lower
        assert users.find(conn, layout, " Bob@example.com ").id == mixed
        assert users.find(conn, layout, str(mixed)).id == mixed
        found = users.find(conn, layout, "cAROL@example.COM")
        assert found == users.Account(carol, "Carol@Example.com", "Carol", active=False)
        with pytest.raises(Conflict, match="2 accounts that differ in case"):
            users.find(conn, layout, "BOB@example.com")
        both = users.find_all(conn, layout, ["CAROL@example.com", str(lower), "Carol@Example.com"])
        assert [account.id for account in both] == [carol, lower]


def test_what_cannot_be_an_id_is_nobody_and_never_an_error(people_of_any_key: People) -> None:
    people = people_of_any_key
    people.add("bob@example.com")
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())
        for who in (
            "99999999999999999999999",
            "9223372036854775808",
            "2147483648",
            "-1",
            "+0",
            "1e3",
            "٣",
            str(uuid.UUID(int=0)),
            "{bob}",
            "x' OR 1=1 --",
            "bob@example.com\x00",
            "\udcff",
            "İ@example.com",
            "%",
            "_@example.com",
            "\\",
            "a" * 10_000,
        ):
            with pytest.raises(NothingMatched):
                users.find(conn, layout, who)


@one_major
def test_ten_thousand_names_are_three_questions(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email) SELECT 'P' || n || '@example.com' FROM generate_series(1, 10000) n"
    )
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())
        before = people.database.value(
            "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
        )
        names = [f"p{number}@example.com" for number in range(1, 10_001)]
        assert len(users.find_all(conn, layout, names)) == 10_000
        conn.close()
    after = people.database.value(
        "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()"
    )
    assert after - before < 20


@one_major
def test_the_nearest_is_found_in_a_table_too_large_to_read(people: People) -> None:
    # Rows that stand before theirs and beside theirs, so that reading the first ones finds nobody.
    people.database.execute(
        "INSERT INTO users (email) SELECT md5(n::text) || '@example.net' FROM generate_series(1, 20000) n"
    )
    people.add("bob@example.com")
    people.add("marty.mcfly@hill-valley.org")
    people.database.execute("ANALYZE users")
    marty = ["marty.mcfly@hill-valley.org"]
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())
        for written, meant in {
            "bbo@example.com": ["bob@example.com"],
            "bob@exmaple.com": ["bob@example.com"],
            "bob": ["bob@example.com"],
            "Marty.McFly@Hill-Valey.org": marty,
            "xmarty.mcfly@hill-valley.org": marty,
            "nobody@example.com": [],
            "": [],
        }.items():
            assert users.suggest(conn, layout, written) == meant, written


@one_major
def test_suggesting_reads_a_bounded_part_of_the_table(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email) SELECT md5(n::text) || '@example.net' FROM generate_series(1, 30000) n"
    )
    people.database.execute("VACUUM ANALYZE users")

    def read() -> int:
        return int(
            people.database.value(
                "SELECT seq_tup_read + idx_tup_fetch FROM pg_stat_all_tables"
                " WHERE relid = 'users'::regclass"
            )
        )

    before = read()
    with people.database.connect() as conn:
        users.suggest(
            conn, detect(conn, people.database.settings()), "abcdef0123456789@example.net"
        )
        conn.execute(
            "SELECT pg_stat_force_next_flush()"
        ) if conn.info.server_version >= 150000 else None
    assert read() - before < 5_000


def test_an_exact_address_uses_the_apps_index(people: People) -> None:
    people.database.execute(
        "INSERT INTO users (email) SELECT md5(n::text) || '@example.net' FROM generate_series(1, 20000) n"
    )
    bob = people.add("bob@example.com")
    people.database.execute("VACUUM ANALYZE users")
    with people.database.connect() as conn:
        layout = detect(conn, people.database.settings())

    def scans_for(*names: str) -> int:
        count = "SELECT seq_scan FROM pg_stat_all_tables WHERE relid = 'users'::regclass"
        before = people.database.value(count)
        with people.database.connect() as conn:
            for name in names:
                assert users.find(conn, layout, name).id == bob
        return int(people.database.value(count) - before)

    assert scans_for("bob@example.com", str(bob)) == 0
    assert scans_for("BOB@example.com") == 1
