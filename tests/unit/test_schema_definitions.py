"""Recognising what PostgreSQL wrote back: index definitions and column types."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.schema.indexes import normal
from secops.schema.tables import Column

# As written, and as pg_get_indexdef shows them for a varchar and for a text column.
SAME = [
    ("btree (created_at DESC)", "btree (created_at DESC)"),
    ("btree (coalesce(family_id, id))", "btree (COALESCE(family_id, id))"),
    (
        "btree (lower(email), created_at DESC) WHERE user_id IS NULL",
        "btree (lower((email)::text), created_at DESC) WHERE (user_id IS NULL)",
    ),
    (
        "btree (created_at DESC) INCLUDE (email, ip_address) WHERE event_type = 'login_failed'",
        (
            "btree (created_at DESC) INCLUDE (email, ip_address) "
            "WHERE ((event_type)::text = 'login_failed'::text)"
        ),
    ),
    (
        "btree (event_type, created_at DESC) WHERE event_type IN ('a', 'b')",
        (
            "btree (event_type, created_at DESC) WHERE ((event_type)::text = ANY "
            "((ARRAY['a'::character varying, 'b'::character varying])::text[]))"
        ),
    ),
    (
        "btree (event_type, created_at DESC) WHERE event_type IN ('a', 'b')",
        "btree (event_type, created_at DESC) WHERE (event_type = ANY (ARRAY['a'::text, 'b'::text]))",
    ),
    (
        "btree (locked_until) WHERE locked_until IS NOT NULL",
        "btree (locked_until) WITH (fillfactor='90') WHERE (locked_until IS NOT NULL)",
    ),
]

APART = [
    "btree (created_at)",
    "btree (created_at DESC)",
    "btree (created_at DESC NULLS LAST)",
    "brin (created_at)",
    "hash (created_at)",
    "btree (created_at DESC, id)",
    "btree (id, created_at DESC)",
    "btree (created_at DESC) INCLUDE (id)",
    "btree (created_at DESC) WHERE (user_id IS NULL)",
    "btree (created_at DESC) WHERE (user_id IS NOT NULL)",
    "btree (created_at DESC) WHERE ((event_type)::text = 'login_failed'::text)",
    "btree (created_at DESC) WHERE ((event_type)::text <> 'login_failed'::text)",
    "btree (lower((email)::text))",
    "btree (email)",
    "btree (email text_pattern_ops)",
    'btree (email COLLATE "C")',
    "btree (event_type) WHERE event_type IN ('a', 'b')",
    "btree (event_type) WHERE event_type IN ('a', 'c')",
]


@pytest.mark.parametrize(("written", "shown"), SAME)
def test_a_definition_is_recognised_as_postgresql_shows_it(written: str, shown: str) -> None:
    assert normal(written) == normal(shown)


def test_different_definitions_stay_apart() -> None:
    assert len({normal(each) for each in APART}) == len(APART)


@pytest.mark.parametrize(
    ("wanted", "found", "fits"),
    [
        ("character varying(50)", "character varying(50)", True),
        ("character varying(50)", "character varying(51)", True),
        ("character varying(50)", "character varying(49)", False),
        ("character varying(50)", "character varying", True),
        ("character varying(50)", "text", True),
        ("text", "character varying", True),
        ("text", "character varying(5000)", False),
        ("integer", "bigint", True),
        ("integer", "smallint", False),
        ("bigint", "integer", False),
        ("timestamp with time zone", "timestamp without time zone", False),
        ("uuid", "text", False),
        ("jsonb", "json", False),
    ],
)
def test_a_column_fits_if_it_takes_every_value(wanted: str, found: str, fits: bool) -> None:
    assert Column("c", wanted).holds(found) is fits


def test_the_keys_own_declared_type_fits_a_reference_to_it() -> None:
    assert Column("user_id", "text", also="character varying(36)").holds("character varying(36)")
    assert not Column("user_id", "text", also="character varying(36)").holds(
        "character varying(35)"
    )


@given(st.integers(1, 10_000), st.integers(1, 10_000))
def test_a_longer_column_takes_what_a_shorter_one_does(wanted: int, found: int) -> None:
    column = Column("c", f"character varying({wanted})")
    assert column.holds(f"character varying({found})") is (found >= wanted)
