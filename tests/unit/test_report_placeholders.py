"""``:name`` and ``:"name"`` are found where psql finds them, and nowhere else."""

from __future__ import annotations

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.reports.placeholders import Placeholder, SqlShapeError, find, render


def names(sql: str) -> list[str]:
    return [each.name for each in find(sql)]


@pytest.mark.parametrize(
    ("sql", "expected"),
    [
        ("SELECT :a", ["a"]),
        ("SELECT :a::text", ["a"]),
        ("SELECT x::int, :a", ["a"]),
        ("SELECT x:::a", ["a"]),
        ("SELECT ':a', ':b'':c', :d", ["d"]),
        (r"SELECT E'\':a', :b", ["b"]),
        (r"SELECT e'it\\', :b, ':c'", ["b"]),
        ("SELECT E'a'\n  '\\':b', :c", ["c"]),
        (r"SELECT '\', :b, ' '", ["b"]),  # standard strings: a backslash is a backslash
        ("SELECT note':a', :b", ["b"]),  # no escape string: the e belongs to a word
        ('SELECT ":a", "x"":b", :c', ["c"]),
        ("SELECT $$:a$$, $t$ :b $$ :c $t$, :d", ["d"]),
        ("SELECT a$b$c, :d, e$f", ["d"]),  # dollars inside a name open nothing
        ("SELECT 1 -- :a\n, :b", ["b"]),
        ("SELECT 1 /* :a /* :b */ :c */, :d", ["d"]),
        ("SELECT /*/ :a */ :b", ["b"]),
        ("SELECT 1--:a", []),
        ("SELECT f(x := 1, y => :a)", ["a"]),
        ("SELECT a[1:2], a[:n : 3], '12:30'::time", ["n"]),
        ("SELECT :a+:a-:b", ["a", "a", "b"]),
        ("SELECT ä:b", ["b"]),
        ('SELECT u.:"users_email" FROM :"users_schema".:"users_table" u',
         ["users_email", "users_schema", "users_table"]),
        ("SELECT 1; -- :a\n /* :b */ ", []),
        ("", []),
    ],
)  # fmt: skip
def test_finds_placeholders_where_psql_does(sql: str, expected: list[str]) -> None:
    assert names(sql) == expected


@pytest.mark.parametrize(
    ("sql", "at", "message"),
    [
        ("SELECT 'a", 7, "string literal"),
        ("SELECT 'a''", 7, "string literal"),
        (r"SELECT E'a\'", 7, "string literal"),
        ('SELECT "a', 7, "quoted name"),
        ("SELECT /* /* */", 7, "comment"),
        ("SELECT $x$ $$ ", 7, r"a \$x\$ quote"),
        ("SELECT $1", 7, "not \\$1"),
        ("SELECT :'a'", 7, "without quotes"),
        ("SELECT 1; DROP TABLE x", 10, "second statement"),
        ("SELECT 1; ;", 10, "second statement"),
        ("SELECT 1;\n-- fine\nSELECT :a", 18, "second statement"),
        ("SELECT 1\x00", 8, "NUL"),
    ],
)
def test_refuses_what_it_cannot_read_and_says_where(sql: str, at: int, message: str) -> None:
    with pytest.raises(SqlShapeError, match=message) as caught:
        find(sql)
    assert caught.value.offset == at


def test_a_semicolon_inside_a_literal_ends_nothing() -> None:
    assert names("SELECT ';', \";\", $$;$$, :a /* ; */ -- ;\n;") == ["a"]


def test_only_a_touching_qualifier_belongs_to_a_name() -> None:
    (near,) = find('SELECT u.:"users_name"')
    (far,) = find('SELECT u . :"users_name"')
    (quoted,) = find('SELECT "a b".:"users_name"')
    assert near.qualifier == 7
    assert far.qualifier == far.start
    assert quoted.qualifier == 7


WORD = st.sampled_from(["since", "a", "min_attempts", "x1", "_y"])
INSIDE = st.text(st.sampled_from([*"ab :;$-*\n1\\é"]), max_size=8).map(lambda s: s + ":no")
PLAIN = st.sampled_from(
    ["SELECT", "x", "1.5", "::text", "<=", "a$b", "(", ")", ",", ":=", "a[1:2]", "->>", "ü"]
)


def hidden(inside: str) -> st.SearchStrategy[tuple[str, str | None]]:
    """A piece of SQL inside which nothing counts."""
    return st.sampled_from(
        [
            ("'" + inside.replace("'", "''") + "'", None),
            ("E'" + inside.replace("\\", "\\\\").replace("b", "\\'") + "'", None),
            ('"' + inside.replace('"', '""') + '"', None),
            (f"$q${inside}$q$", None),
            ("--" + inside.replace("\n", " ") + "\n", None),
            ("/*" + inside.replace("*", "+") + "/* :no */*/", None),
        ]
    )


def pieces() -> st.SearchStrategy[tuple[str, str | None]]:
    """A piece of SQL, and the name of the placeholder that it is, if it is one."""
    return st.one_of(
        PLAIN.map(lambda text: (text, None)),
        WORD.map(lambda word: (f":{word}", word)),
        WORD.map(lambda word: (f':"{word}"', word)),
        INSIDE.flatmap(hidden),
    )


@given(st.lists(pieces(), max_size=12))
def test_every_placeholder_and_only_those_are_found(parts: list[tuple[str, str | None]]) -> None:
    sql, expected = "", []
    for text, name in parts:
        if name is not None:
            expected.append((name, len(sql), len(sql) + len(text)))
        sql += text + " "
    assert [(each.name, each.start, each.end) for each in find(sql)] == expected


@given(st.lists(pieces(), max_size=12), st.text(st.characters(codec="ascii"), max_size=9))
def test_every_character_of_rendered_sql_is_traced_to_where_it_came_from(
    parts: list[tuple[str, str | None]], new: str
) -> None:
    sql = " ".join(text for text, _ in parts)
    placeholders = find(sql)
    rendered = render(sql, placeholders, lambda _: (new, False))
    inside = {offset for each in placeholders for offset in range(each.start, each.end)}
    copied = [sql[offset] for offset in range(len(sql)) if offset not in inside]
    assert len(rendered.text) == len(copied) + len(new) * len(placeholders)
    traced = [rendered.origin(offset) for offset in range(len(rendered.text))]
    assert traced == sorted(traced)
    kept = [
        (character, sql[origin])
        for character, origin in zip(rendered.text, traced, strict=True)
        if origin not in inside
    ]
    assert [one for one, _ in kept] == [other for _, other in kept] == copied


@given(st.text(st.characters(codec="utf-8"), max_size=60))
def test_any_text_at_all_is_read_or_refused(text: str) -> None:
    with contextlib.suppress(SqlShapeError):
        assert all(text[each.start] == ":" for each in find(text))


def test_a_name_can_take_the_place_of_its_qualifier() -> None:
    sql = 'SELECT u.:"users_name" AS name, 1'

    def put(_: Placeholder) -> tuple[str, bool]:
        return "NULL::text", True

    rendered = render(sql, find(sql), put)
    assert rendered.text == "SELECT NULL::text AS name, 1"
    assert rendered.origin(rendered.text.index("1")) == sql.index("1")
    assert rendered.origin(rendered.text.index("NULL") + 3) == sql.index("u.")
