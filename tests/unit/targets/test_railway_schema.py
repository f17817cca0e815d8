"""What secops asks of Railway is what Railway's interface has, and so is what the fake stands for."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import pytest
from graphql import GraphQLSchema, build_schema, parse, validate

from secops.targets.railway_api import MUTATIONS, PARTS, document
from secops.targets.railway_words import _STATUSES
from support.fakes.railway import SDL, schema

PUBLISHED: Final = (
    Path(__file__).resolve().parents[3].parent / "shared" / "data" / "railway-schema.graphql"
)
BUILT_IN: Final = {"String", "Int", "Float", "Boolean", "ID"}


@pytest.fixture(scope="module")
def published() -> GraphQLSchema:
    if not PUBLISHED.exists():
        pytest.skip(f"Railway's published schema is not there: {PUBLISHED.name}")
    # Without assume_valid graphql-core refuses it: it has descriptions and defaults of its own.
    return build_schema(PUBLISHED.read_text(), assume_valid=True)


def differences(ours: GraphQLSchema, theirs: GraphQLSchema) -> list[str]:
    """Name each type, field, argument and value of ours that theirs has not, or has of another type."""
    found: list[str] = []
    for name, kind in ours.type_map.items():
        if name.startswith("__") or name in BUILT_IN:
            continue
        mine: Any = kind
        other: Any = theirs.type_map.get(name)
        if type(other) is not type(mine):
            found.append(name)
            continue
        if hasattr(mine, "values") and set(mine.values) != set(other.values):
            found.append(f"{name}: {set(mine.values) ^ set(other.values)}")
        found += fields(name, getattr(mine, "fields", {}), getattr(other, "fields", {}))
    return found


def fields(name: str, mine: Any, theirs: Any) -> list[str]:
    found: list[str] = []
    for field, held in mine.items():
        there = theirs.get(field)
        if there is None or str(there.type) != str(held.type):
            found.append(f"{name}.{field}: {there and there.type}")
            continue
        given, taken = getattr(held, "args", {}), getattr(there, "args", {})
        for argument in given:
            kind = taken[argument].type if argument in taken else None
            if str(kind) != str(given[argument].type):
                found.append(f"{name}.{field}({argument}): {kind}")
        lacking = [each for each in needed(taken) if each not in given]
        found += [f"{name}.{field} lacks {each}" for each in lacking]
    if name.endswith("Input"):
        found += [f"{name} lacks {each}" for each in needed(theirs) if each not in mine]
    return found


def needed(things: Any) -> list[str]:
    """What must be given: to add such a thing breaks who does not know of it."""
    return [name for name, each in things.items() if str(each.type).endswith("!")]


def test_each_part_of_our_interface_is_in_the_published_one(published: GraphQLSchema) -> None:
    assert differences(build_schema(SDL.read_text()), published) == []


@pytest.mark.parametrize(
    ("ours", "theirs", "said"),
    [
        ("type Query { a: Int! }", "type Query { b: Int! }", "Query.a: None"),
        ("type Query { a: Int! }", "type Query { a: Int }", "Query.a: Int"),
        ("type Query { a(x: Int): Int }", "type Query { a(x: ID): Int }", "Query.a(x): ID"),
        ("type Query { a: Int }", "type Query { a(x: Int!): Int }", "Query.a lacks x"),
        ("enum E { A B } type Query { a: E }", "enum E { A } type Query { a: E }", "E: {'B'}"),
        (
            "input XInput { a: Int } type Query { a(x: XInput): Int }",
            "input XInput { a: Int b: Int! } type Query { a(x: XInput): Int }",
            "XInput lacks b",
        ),
    ],
)
def test_a_changed_interface_is_noticed(ours: str, theirs: str, said: str) -> None:
    assert differences(build_schema(ours), build_schema(theirs)) == [said]


@pytest.mark.parametrize("part", sorted(PARTS))
def test_each_question_is_valid_in_both(part: str, published: GraphQLSchema) -> None:
    asked = parse(document("query", [PARTS[part]]))
    assert validate(published, asked) == validate(schema(), asked) == []


@pytest.mark.parametrize("mutation", sorted(MUTATIONS))
def test_each_change_is_valid_in_both(mutation: str, published: GraphQLSchema) -> None:
    asked = parse(document("mutation", [MUTATIONS[mutation]]))
    assert validate(published, asked) == validate(schema(), asked) == []


@pytest.mark.parametrize(
    "together",
    [
        ("variables", "environment", "environmentStagedChanges"),
        ("environmentPatches", "environment", "deployments"),
        ("environment", "deployments"),
        ("deployment", "serviceInstance"),
        ("deployments", "serviceInstance"),
        ("serviceInstance", "environment"),
    ],
)
def test_parts_are_valid_together(together: tuple[str, ...]) -> None:
    asked = parse(document("query", [PARTS[each] for each in together]))
    assert validate(schema(), asked) == []


def test_every_state_of_a_deployment_is_known(published: GraphQLSchema) -> None:
    states: Any = published.type_map["DeploymentStatus"]
    assert set(_STATUSES) == set(states.values)
    assert len(_STATUSES) == 13


def test_nothing_is_asked_that_renders_references_or_decrypts() -> None:
    assert "unrendered: true" in PARTS["variables"]
    assert not any(
        "decryptVariables: true" in each for each in [*PARTS.values(), *MUTATIONS.values()]
    )
    assert not any("replace" in each for each in MUTATIONS.values())
