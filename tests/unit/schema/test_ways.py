"""How each column of an earlier layer becomes the one that is wanted."""

from __future__ import annotations

import pytest
from psycopg import sql

from secops.schema.adoption.earlier import EVENTS, TOKENS, Was
from secops.schema.adoption.reading import Index, concurrently
from secops.schema.adoption.ways import Way, conversion, ways, widens
from secops.schema.tables import Column

NAIVE, AWARE = "timestamp without time zone", "timestamp with time zone"


def way(table: str, had: dict[str, str], column: Column) -> tuple[Way, str]:
    found = ways(table, {name: Was(kind, False) for name, kind in had.items()}, [column])
    return found[column.name].way, found[column.name].source


@pytest.mark.parametrize(
    ("had", "column", "expected"),
    [
        ({"created_at": NAIVE}, Column("created_at", AWARE), (Way.RETYPE, "")),
        ({"created_at": AWARE}, Column("created_at", AWARE), (Way.KEEP, "")),
        ({"created_at": "date"}, Column("created_at", AWARE), (Way.REFUSE, "")),
        ({"occurred_at": NAIVE}, Column("created_at", AWARE), (Way.FILL, "occurred_at")),
        ({"severity": "character varying(10)"}, Column("severity", "character varying(20)"),
         (Way.RETYPE, "")),
        ({"severity": "character varying(40)"}, Column("severity", "character varying(20)"),
         (Way.KEEP, "")),
        ({"severity": "enum"}, Column("severity", "character varying(20)"), (Way.SWAP, "severity")),
        ({"level": "integer"}, Column("severity", "character varying(20)", not_null=True),
         (Way.STAND_IN, "")),
        ({"ip_address": "inet"}, Column("ip_address", "character varying(45)"),
         (Way.SWAP, "ip_address")),
        ({"ip": "inet"}, Column("ip_address", "character varying(45)"), (Way.FILL, "ip")),
        ({"details": "json"}, Column("metadata", "jsonb"), (Way.FILL, "details")),
        ({"details": "bytea"}, Column("metadata", "jsonb"), (Way.ADD, "")),
        ({"id": "bigint"}, Column("id", "uuid", not_null=True), (Way.REFUSE, "")),
        ({}, Column("event_type", "character varying(50)", not_null=True), (Way.REFUSE, "")),
        ({"action": "text"}, Column("event_type", "character varying(50)", not_null=True),
         (Way.FILL, "action")),
    ],
)  # fmt: skip
def test_each_column_of_events_has_its_way(
    had: dict[str, str], column: Column, expected: tuple[Way, str]
) -> None:
    assert way(EVENTS, had, column) == expected


def test_a_hash_comes_from_the_token_and_nothing_else_is_guessed_of_tokens() -> None:
    hashed = Column("token_hash", "character varying(255)", not_null=True)
    had = {"token": "character varying(255)", "ip": "inet"}
    assert way(TOKENS, had, hashed) == (Way.FILL, "token")
    assert way(TOKENS, had, Column("ip_address", "character varying(45)")) == (Way.ADD, "")
    assert way(TOKENS, had, Column("expires_at", AWARE, not_null=True)) == (Way.REFUSE, "")


def test_only_what_changes_in_the_catalogue_alone_changes_in_place() -> None:
    assert widens(NAIVE, AWARE)
    assert widens("character varying(30)", "text")
    assert widens("character varying(30)", "character varying(50)")
    assert not widens(AWARE, NAIVE)
    assert not widens("text", "character varying(50)")
    assert not widens("character varying(50)", "character varying(30)")
    assert not widens("json", "jsonb")


def test_a_value_fits_the_column_that_it_goes_to() -> None:
    made = conversion("text", "character varying(20)", sql.Identifier("level")).as_string()
    assert made == 'left("level"::text, 20)'
    assert conversion(NAIVE, AWARE, sql.SQL("x")).as_string() == "(x AT TIME ZONE 'UTC')"


@pytest.mark.parametrize(
    ("expressions", "predicate", "computes"),
    [
        ("", "", False),
        ("", "(revoked_at IS NULL)", False),
        ("", "((revoked_at IS NOT NULL) AND (user_id IS NOT NULL))", False),
        ("", "(revoked_at > '2020-01-01 00:00:00'::timestamp without time zone)", True),
        ("date_trunc('day'::text, revoked_at)", "", True),
        ("lower(email)", "", False),
    ],
)
def test_an_index_that_only_asks_for_null_need_not_go_for_good(
    expressions: str, predicate: str, computes: bool
) -> None:
    index = Index("s", "i", "", False, False, expressions, predicate, frozenset({"revoked_at"}))
    assert index.computes_with(["revoked_at"]) is computes


def test_an_index_is_built_again_beside_the_app() -> None:
    made = 'CREATE UNIQUE INDEX "CREATE INDEX" ON s.t USING btree (a)'
    assert concurrently(made).startswith('CREATE UNIQUE INDEX CONCURRENTLY "CREATE INDEX" ON')
