"""Steps that make tables and columns, and that recognise what a person made before."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final, LiteralString

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.effects import Statement
from secops.schema.steps import ABSENT, DONE, Finding, Lock, Loss, State, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from secops.database.connection import Connection

_VARCHAR: Final = re.compile(r"character varying\((\d+)\)")

# What PostgreSQL makes of the defaults that the plan writes, and what does the same.
_SAME_DEFAULT: Final[dict[str, tuple[str, ...]]] = {
    "now()": ("now()", "CURRENT_TIMESTAMP", "transaction_timestamp()", "clock_timestamp()"),
}


@dataclass(frozen=True, slots=True)
class Column:
    """A column as it should be.

    Attributes:
        name: Its name.
        type: Its type, as ``format_type`` writes it.
        not_null: Whether it must have a value.
        default: An expression. A constant, wherever the table may have rows: PostgreSQL then adds the
            column without rewriting the table.
        also: Another type that serves as well.
    """

    name: str
    type: LiteralString
    not_null: bool = False
    default: LiteralString | None = None
    also: str = ""

    def declaration(self) -> sql.Composed:
        """Return what stands in CREATE TABLE or ADD COLUMN."""
        parts = [sql.Identifier(self.name), sql.SQL(self.type)]
        if self.default is not None:
            parts.append(sql.SQL("DEFAULT {}").format(sql.SQL(self.default)))
        if self.not_null:
            parts.append(sql.SQL("NOT NULL"))
        return sql.SQL(" ").join(parts)

    def holds(self, found: str) -> bool:
        """Say whether a column of another type takes every value that this one would be given."""
        if found in {self.type, self.also}:
            return True
        wanted, had = _VARCHAR.fullmatch(self.type), _VARCHAR.fullmatch(found)
        if wanted:
            return found in {"text", "character varying"} or (
                had is not None and int(had[1]) >= int(wanted[1])
            )
        return (self.type, found) in {("text", "character varying"), ("integer", "bigint")}


@dataclass(frozen=True, slots=True)
class Before:
    """What an earlier layer had of a table; see :mod:`secops.schema.adoption`.

    Attributes:
        columns: The columns that it had, which stay when migrations are taken back.
        eased: Those that other steps bring to what they should be.
    """

    columns: frozenset[str]
    eased: frozenset[str]


@dataclass(frozen=True, slots=True)
class Check:
    """What comparing a column, or a table, with what it should be has found."""

    differences: tuple[tuple[str, str], ...] = ()
    """Pairs: in words, and SQL that would mend it."""
    defaults: tuple[Statement, ...] = ()
    """ALTER COLUMN … SET DEFAULT, where a default is missing."""


def create_table(
    schema: str,
    name: str,
    columns: Sequence[Column],
    *,
    key: str,
    unique: Sequence[str] = (),
    key_name: str | None = None,
    reserved: Iterable[str] = (),
    before: Before | None = None,
    unlogged: bool = False,
) -> Step:
    """Make a table, without foreign keys: those would lock what they refer to.

    Args:
        schema: Its schema.
        name: Its name.
        columns: Its columns.
        key: Its primary key column.
        unique: Columns whose values must differ.
        key_name: The name of the primary key's constraint, ``NAME_pkey`` where ``None``.
        reserved: Columns that no CHECK of somebody's may restrict, for secops writes new values.
        before: What an earlier layer had of it, where other steps take that over; then the table is
            the app's, and stays when migrations are taken back.
        unlogged: Whether it may be empty after a crash, and is quicker to write for it.
    """
    table = sql.Identifier(schema, name)
    lines = [column.declaration() for column in columns]
    lines.append(
        sql.SQL("CONSTRAINT {} PRIMARY KEY ({})").format(
            sql.Identifier(key_name or f"{name}_pkey"), sql.Identifier(key)
        )
    )
    lines += [
        sql.SQL("CONSTRAINT {} UNIQUE ({})").format(
            sql.Identifier(f"{name}_{column}_key"), sql.Identifier(column)
        )
        for column in unique
    ]
    do = Statement(
        sql.SQL("CREATE {}TABLE {} (\n    {}\n)").format(
            sql.SQL("UNLOGGED " if unlogged else ""), table, sql.SQL(",\n    ").join(lines)
        ),
        effects.creates((schema, name)),
    )

    def probe(conn: Connection) -> Finding:
        kind = catalogue.kind_of(conn, schema, name)
        if kind is None:
            return ABSENT
        if kind not in {"r", "p"}:
            shown = catalogue.KINDS.get(kind, "something else")
            return Finding(State.DIFFERENT, f"{schema}.{name} is {shown}, not a table")
        eased = before.eased if before else frozenset[str]()
        check = _merge(
            _compare(conn, schema, name, columns, missing_too=True, before=before),
            _keys(conn, schema, name, key, [each for each in unique if each not in eased]),
            _strangers(conn, schema, name, set() if before else set(reserved)),
        )
        return _finding(check, f"{schema}.{name}")

    return Step(
        title=f"Create table {name}",
        do=do,
        lock=Lock.SHORT,
        probe=probe,
        undo=None
        if before
        else Statement(sql.SQL("DROP TABLE {}").format(table), effects.drops((schema, name))),
        losses=(Loss(f"rows of {name}", sql.SQL("SELECT count(*) FROM {}").format(table)),),
    )


def add_columns(
    schema: str, name: str, columns: Sequence[Column], *, before: Before | None = None
) -> Step:
    """Add columns to a table that has rows, in one statement that rewrites nothing.

    Args:
        schema: The table's schema.
        name: The table.
        columns: The columns.
        before: What an earlier layer had of it, where other steps take that over.
    """
    table = sql.Identifier(schema, name)
    kept = before.columns if before else frozenset[str]()

    def altering(lines: list[sql.Composed], does: effects.Effect) -> Statement:
        text = sql.SQL("ALTER TABLE {}\n    {}").format(table, sql.SQL(",\n    ").join(lines))
        return Statement(text, does)

    def adding(wanted: Iterable[Column]) -> Statement:
        lines = [sql.SQL("ADD COLUMN {}").format(each.declaration()) for each in wanted]
        return altering(lines, effects.alters((schema, name)))

    def dropping(wanted: Iterable[Column]) -> Statement:
        names = [each.name for each in wanted]
        lines = [sql.SQL("DROP COLUMN {}").format(sql.Identifier(each)) for each in names]
        return altering(lines, effects.drops_columns((schema, name), names))

    def mine(found: Iterable[Column]) -> list[Column]:
        return [column for column in found if column.name not in kept]

    def taking_back(found: Iterable[Column]) -> tuple[Statement | None, tuple[Loss, ...]]:
        ours = mine(found)
        losses = tuple(_values_lost(table, name, column) for column in ours)
        return (dropping(ours) if ours else None), losses

    def probe(conn: Connection) -> Finding:
        there = catalogue.columns(conn, schema, name)
        present = [column for column in columns if column.name in there]
        absent = [column for column in columns if column.name not in there]
        if not present:
            return ABSENT
        check = _compare(conn, schema, name, present, missing_too=False, before=before)
        finding = _finding(check, f"{schema}.{name}")
        if finding.state is State.DIFFERENT or not absent:
            return finding
        names = ", ".join(column.name for column in absent)
        if not mine(present):  # what is there is the earlier layer's
            return Finding(State.ABSENT, instead=(adding(absent), *finding.instead))
        undo, losses = taking_back(present)
        return Finding(
            State.PARTIAL,
            f"{schema}.{name} lacks {names}",
            instead=(adding(absent), *finding.instead),
            undo=undo,
            losses=losses,
        )

    undo, losses = taking_back(columns)
    return Step(
        title=f"Add {_some(columns)} to {name}",
        do=adding(columns),
        lock=Lock.SHORT,
        probe=probe,
        undo=undo,
        losses=losses,
    )


def _some(columns: Sequence[Column]) -> str:
    names = [column.name for column in columns]
    return ", ".join(names) if len(names) <= 3 else f"{len(names)} columns"  # noqa: PLR2004  a line


def _values_lost(table: sql.Identifier, name: str, column: Column) -> Loss:
    # A row that an older app wrote may hold the default, or nothing: both say the same.
    where = sql.SQL("{0} IS NOT NULL AND {0} IS DISTINCT FROM {1}").format(
        sql.Identifier(column.name), sql.SQL(column.default or "NULL")
    )
    return Loss(
        f"values of {name}.{column.name}",
        sql.SQL("SELECT count(*) FROM {} WHERE {}").format(table, where),
    )


def _compare(
    conn: Connection,
    schema: str,
    name: str,
    wanted: Iterable[Column],
    *,
    missing_too: bool,
    before: Before | None = None,
) -> Check:
    there = catalogue.columns(conn, schema, name)
    table = sql.Identifier(schema, name).as_string()
    differences: list[tuple[str, str]] = []
    defaults: list[Statement] = []
    for column in wanted:
        if before and column.name in before.eased:
            continue
        quoted = sql.Identifier(column.name)
        shown = f"{schema}.{name}.{column.name}"
        alter = f"ALTER TABLE {table} ALTER COLUMN {quoted.as_string()}"
        found = there.get(column.name)
        if found is None:
            if missing_too:
                adding = f"ALTER TABLE {table} ADD COLUMN {column.declaration().as_string()}"
                differences.append((f"{shown} is missing", adding))
            continue
        if not column.holds(found.type):
            differences.append(
                (f"{shown} is {found.type}, not {column.type}", f"{alter} TYPE {column.type}")
            )
            continue
        # An earlier layer may ask for more and for less; the steps that take it over see to both.
        if not before:
            differences += _demands(column, found, shown, alter)
        if column.default is None:
            continue
        if not found.filled:
            words = sql.SQL("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {}")
            setting = words.format(sql.Identifier(schema, name), quoted, sql.SQL(column.default))
            defaults.append(Statement(setting, effects.alters((schema, name))))
        elif not _same_default(column, found.default):
            differences.append(
                (
                    f"{shown} has the default {found.default}, not {column.default}",
                    f"{alter} SET DEFAULT {column.default}",
                )
            )
    return Check(tuple(differences), tuple(defaults))


def _demands(
    column: Column, found: catalogue.Column, shown: str, alter: str
) -> list[tuple[str, str]]:
    """Compare whether a column must have a value."""
    if column.not_null and not found.not_null:
        return [(f"{shown} may be NULL", f"{alter} SET NOT NULL")]
    # An INSERT that leaves the column away, as the plan allows, must not fail.
    if found.not_null and not column.not_null and not found.filled:
        return [(f"{shown} is NOT NULL", f"{alter} DROP NOT NULL")]
    return []


def _same_default(column: Column, found: str | None) -> bool:
    assert column.default is not None
    if column.type == "uuid":  # whoever makes the identifiers, one is as good as another
        return True
    return found in _SAME_DEFAULT.get(column.default, (column.default,))


def _keys(conn: Connection, schema: str, name: str, key: str, unique: Sequence[str]) -> Check:
    table = sql.Identifier(schema, name).as_string()
    differences: list[tuple[str, str]] = []
    primary = [each for each in catalogue.constraints(conn, schema, name) if each.kind == "p"]
    # On a partitioned table every key must hold what it is partitioned by.
    wanted = (key, *catalogue.partition_key(conn, schema, name))
    if [each.columns for each in primary] != [wanted]:
        shown = ", ".join(primary[0].columns) if primary else "missing"
        differences.append(
            (
                f"the primary key of {schema}.{name} is {shown}, not {key}",
                f"ALTER TABLE {table} ADD PRIMARY KEY ({sql.Identifier(key).as_string()})",
            )
        )
    for column in unique:
        if not catalogue.unique_on(conn, schema, name, column):
            quoted = sql.Identifier(column).as_string()
            differences.append(
                (
                    f"{schema}.{name}.{column} is not unique",
                    f"CREATE UNIQUE INDEX CONCURRENTLY ON {table} ({quoted})",
                )
            )
    return Check(tuple(differences))


def _strangers(conn: Connection, schema: str, name: str, reserved: set[str]) -> Check:
    """Find CHECK constraints that could refuse what secops writes."""
    table = sql.Identifier(schema, name).as_string()
    return Check(
        tuple(
            (
                f"{schema}.{name} has {each.definition}, which may refuse what secops writes",
                f"ALTER TABLE {table} DROP CONSTRAINT {sql.Identifier(each.name).as_string()}",
            )
            for each in catalogue.constraints(conn, schema, name)
            if each.kind == "c" and reserved.intersection(each.columns)
        )
    )


def _merge(*checks: Check) -> Check:
    return Check(
        tuple(pair for check in checks for pair in check.differences),
        tuple(each for check in checks for each in check.defaults),
    )


def _finding(check: Check, shown: str) -> Finding:
    if check.differences:
        return Finding(
            State.DIFFERENT,
            "; ".join(words for words, _ in check.differences),
            mend="; ".join(mend for _, mend in check.differences),
        )
    if check.defaults:
        return Finding(State.PARTIAL, f"{shown} lacks a default", instead=check.defaults)
    return DONE
