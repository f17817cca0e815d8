"""secops.try_inet: an address where the text is one, NULL where not, and never an error."""

from __future__ import annotations

import ipaddress
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

if TYPE_CHECKING:
    from support.databases import Database

# The database is made once for all examples of a test, which is what is wanted.
EXAMPLES = settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
TEXT = st.text(st.characters(exclude_characters="\x00", exclude_categories=["Cs"]), max_size=60)
LOOKS_LIKE_IT = st.text("0123456789abcdefABCDEF:./%-x ", max_size=45)


def ask(database: Database, text: str | None) -> str | None:
    return database.value("SELECT secops.try_inet(%s)::text", (text,))  # type: ignore[no-any-return]


@pytest.mark.parametrize(
    "text",
    ["", " ", "unknown", "10.0.0", "10.0.0.256", "1.2.3.4, 5.6.7.8", "1.2.3.4:443", "::g", "[::1]",
     "fe80::1%eth0", "10.0.0.1/33", "0x7f.1", "127.0.0.1\n", "١٢٧.0.0.1", "NULL"],
)  # fmt: skip
def test_what_is_no_address_is_null(hardened: Database, text: str) -> None:
    assert ask(hardened, text) is None


def test_null_is_null_and_ends_of_ranges_are_addresses(hardened: Database) -> None:
    assert ask(hardened, None) is None
    assert ask(hardened, "0.0.0.0") == "0.0.0.0/32"
    assert ask(hardened, "255.255.255.255") == "255.255.255.255/32"
    assert ask(hardened, "::ffff:1.2.3.4") == "::ffff:1.2.3.4/128"


def test_every_address_is_found_and_no_text_raises(hardened: Database) -> None:
    with hardened.connect() as conn:

        @EXAMPLES
        @given(st.one_of(st.ip_addresses().map(str), LOOKS_LIKE_IT, TEXT))
        def holds(text: str) -> None:
            row = conn.execute("SELECT host(secops.try_inet(%s))", (text,)).fetchone()
            assert row is not None
            try:
                wanted = ipaddress.ip_address(text)
            except ValueError:
                return
            if "%" not in text:  # a scope is no part of an address to PostgreSQL
                assert ipaddress.ip_address(str(row[0])) == wanted

        holds()


def test_it_can_be_indexed_and_used_in_a_parallel_query_where_it_says_so(
    hardened: Database,
) -> None:
    hardened.execute("CREATE INDEX ON security_events (secops.try_inet(ip_address))")
    with hardened.connect() as conn:
        conn.execute(
            """INSERT INTO security_events (event_type, event_category, severity, success, ip_address)
               SELECT 'x', 'y', 'z', true, CASE WHEN n % 3 = 0 THEN 'no' ELSE '10.0.0.' || n % 256 END
               FROM generate_series(1, 20000) AS n"""
        )
        conn.execute("ANALYZE security_events")
        for setting in (
            "parallel_setup_cost",
            "parallel_tuple_cost",
            "min_parallel_table_scan_size",
        ):
            conn.execute(f"SET {setting} = 0".encode())
        row = conn.execute(
            "SELECT count(*) FROM security_events WHERE secops.try_inet(ip_address) <<= '10.0.0.0/24'"
        ).fetchone()
    assert row == (13_334,)
