"""Times without a zone become times with one, and short texts longer ones, without a row being written.

PostgreSQL changes such a type in the catalogue alone where the session's zone is UTC. What would make it
read or sort the whole table while the app waits is taken care of: indexes that depend on the column are
dropped with the change and built again beside the running app, CHECKs come back unvalidated and are
validated after.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.adoption.earlier import AWARE, recall
from secops.schema.adoption.memory import forgetting, remembering
from secops.schema.adoption.reading import concurrently, holders, indexes
from secops.schema.adoption.ways import Way
from secops.schema.effects import Statement, together
from secops.schema.indexes import as_sql
from secops.schema.steps import DONE, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.memory import Difference
    from secops.schema.adoption.reading import Index
    from secops.schema.adoption.table import Taken
    from secops.schema.adoption.ways import Plan

_NOW: Final = frozenset(
    {
        "now()", "CURRENT_TIMESTAMP", "LOCALTIMESTAMP", "transaction_timestamp()",
        "statement_timestamp()", "clock_timestamp()", "(now() AT TIME ZONE 'utc'::text)",
        "(now() AT TIME ZONE 'UTC'::text)", "timezone('utc'::text, now())",
        "timezone('UTC'::text, now())", "(CURRENT_TIMESTAMP AT TIME ZONE 'UTC'::text)",
        "(CURRENT_TIMESTAMP AT TIME ZONE 'utc'::text)", "(now())::timestamp without time zone",
        "(CURRENT_TIMESTAMP)::timestamp without time zone",
    }
)  # fmt: skip
"""Defaults that mean the moment; with a zone all of them are ``now()``."""


def retype(taken: Taken) -> Step:
    """Change the types of a table's columns that can change in place."""
    label = taken.label

    def probe(conn: Connection) -> Finding:
        changing = pending(conn, taken)
        remade = {
            name: definition for name, definition in recall(conn, "index") if _of(name, label)
        }
        checks = [name for name, _ in recall(conn, "check") if _of(name, label)]
        todo: list[tuple[Statement, Lock]] = []
        if changing:
            gone = _to_drop(conn, taken, changing)
            suspended = _suspended(conn, taken, changing)
            todo.append((_change(conn, taken, changing, gone, suspended), Lock.SHORT))
            remade |= {f"{label}.{each.name}": each.definition for each in gone}
            checks += [f"{label}.{each.name}" for each in suspended]
        elif not recall_any(conn, label):
            return DONE
        else:
            gone = []
        again = {f"{label}.{each.name}" for each in gone}
        for name, definition in remade.items():
            index = name.removeprefix(f"{label}.")
            found = None if name in again else catalogue.index(conn, taken.schema, index)
            if found is not None and found.building:
                words = f"the index {taken.schema}.{index} is being built by another session"
                return Finding(State.PARTIAL, words, building=True)
            if found is not None and not found.valid:
                dropping = sql.SQL("DROP INDEX CONCURRENTLY {}").format(
                    sql.Identifier(taken.schema, index)
                )
                todo.append((Statement(dropping, effects.drops_index(taken.table)), Lock.LONG))
            if found is None or not found.valid:
                build = Statement(
                    as_sql(concurrently(definition)), effects.builds_index(taken.table)
                )
                todo.append((build, Lock.LONG))
        for name in checks:
            validate = sql.SQL("ALTER TABLE {} VALIDATE CONSTRAINT {}").format(
                taken.identifier, sql.Identifier(name.removeprefix(f"{label}."))
            )
            todo.append((Statement(validate, effects.validates_check(taken.table)), Lock.LONG))
        # A column of another type has lost its statistics.
        analyze = sql.SQL("ANALYZE {}").format(taken.identifier)
        todo.append((Statement(analyze, *effects.analyzes(taken.table, ())), Lock.LONG))
        todo.append((forgetting(("index", "check", "analyze"), label), Lock.SHORT))
        return Finding(
            State.ABSENT if changing else State.PARTIAL,
            "" if changing else f"{taken.schema}.{taken.name} lacks indexes that it had",
            instead=tuple(statement for statement, _ in todo),
            locks=tuple(lock for _, lock in todo),
        )

    return Step(
        title=f"Change types of {taken.name} in place",
        do=Statement(sql.SQL("SELECT")),  # the probe says what is to be done
        lock=Lock.SHORT,
        probe=probe,
        busy=taken.identifier,
    )


def obstacles(conn: Connection, taken: Taken) -> list[Difference]:
    """Find what keeps columns of a table from changing their types in place."""
    changing = pending(conn, taken)
    if not changing:
        return []
    names = [plan.column.name for plan in changing]
    shown = f"{taken.schema}.{taken.name}"
    found = [
        (f"{each.what} holds on to {shown}.{each.column}, whose type is to change", each.mend)
        for each in holders(conn, taken.table, names, dropped=False)
        if not each.what.startswith("constraint ") or _is_time(changing, each.column)
    ]
    times = [name for name in names if _is_time(changing, name)]
    for index in _depending(conn, taken, changing):
        if index.constraint:
            continue  # a holder, above
        # Unique is unique only as long as somebody enforces it.
        if index.unique or index.computes_with(times):
            why = "is unique" if index.unique else "computes with a time"
            mend = sql.SQL("DROP INDEX CONCURRENTLY {};").format(
                sql.Identifier(index.schema, index.name)
            )
            found.append(
                (
                    f"the index {index.schema}.{index.name} of {shown} {why} that is to get a zone",
                    f"{mend.as_string()}  -- and afterwards: {index.definition}",
                )
            )
    there = catalogue.columns(conn, *taken.table)
    for name in times:
        default = there[name].default
        if default is not None and default not in _NOW and "ZONE" in default.upper():
            column = sql.Identifier(name).as_string()
            table = taken.identifier.as_string()
            found.append(
                (
                    f"{shown}.{name} has the default {default}, which takes its zone away",
                    f"ALTER TABLE {table} ALTER COLUMN {column} SET DEFAULT now();",
                )
            )
    return found


def recall_any(conn: Connection, label: str) -> bool:
    """Say whether a table waits for an index, a validation or statistics since its types changed."""
    kinds = ("index", "check", "analyze")
    return any(_of(name, label) for kind in kinds for name, _ in recall(conn, kind))


def _of(name: str, label: str) -> bool:
    return name.startswith(f"{label}.")


def _is_time(changing: list[Plan], name: str) -> bool:
    return any(plan.column.name == name and plan.column.type == AWARE for plan in changing)


def pending(conn: Connection, taken: Taken) -> list[Plan]:
    """Return the columns whose types are still to be changed in place."""
    there = catalogue.columns(conn, *taken.table)
    return [
        plan
        for plan in taken.going(Way.RETYPE)
        if plan.column.name in there and not plan.column.holds(there[plan.column.name].type)
    ]


def _depending(conn: Connection, taken: Taken, changing: list[Plan]) -> list[Index]:
    """Return the indexes that PostgreSQL would build again while it changes the types.

    One whose key is a text that grows longer stays as it is, unless it computes with it.
    """
    times = {plan.column.name for plan in changing if plan.column.type == AWARE}
    texts = {plan.column.name for plan in changing} - times
    return [
        each
        for each in indexes(conn, *taken.table)
        if each.columns & times or (each.columns & texts and (each.expressions or each.predicate))
    ]


def _to_drop(conn: Connection, taken: Taken, changing: list[Plan]) -> list[Index]:
    return [each for each in _depending(conn, taken, changing) if not each.constraint]


def _suspended(conn: Connection, taken: Taken, changing: list[Plan]) -> list[catalogue.Constraint]:
    """Return the CHECKs that PostgreSQL would read all rows for; those on reserved columns go anyway."""
    names = {plan.column.name for plan in changing}
    return [
        each
        for each in catalogue.constraints(conn, *taken.table)
        if each.kind == "c" and names.intersection(each.columns)
        and not taken.reserved.intersection(each.columns)
    ]  # fmt: skip


def _change(
    conn: Connection,
    taken: Taken,
    changing: list[Plan],
    gone: list[Index],
    suspended: list[catalogue.Constraint],
) -> Statement:
    label = taken.label
    there = catalogue.columns(conn, *taken.table)
    lines: list[sql.Composable] = [
        sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(each.name))
        for each in catalogue.constraints(conn, *taken.table)
        if each in suspended or (each.kind == "c" and taken.reserved.intersection(each.columns))
    ]
    for plan in changing:
        column = sql.Identifier(plan.column.name)
        lines.append(sql.SQL("ALTER COLUMN {} TYPE {}").format(column, sql.SQL(plan.column.type)))
        if plan.column.type == AWARE and there[plan.column.name].default in _NOW:
            lines.append(sql.SQL("ALTER COLUMN {} SET DEFAULT now()").format(column))
    for each in suspended:
        definition = each.definition.removesuffix(" NOT VALID")
        lines.append(
            sql.SQL("ADD CONSTRAINT {} {} NOT VALID").format(
                sql.Identifier(each.name), as_sql(definition)
            )
        )
    notes = [("index", f"{label}.{each.name}", each.definition) for each in gone]
    notes += [("check", f"{label}.{each.name}", "") for each in suspended if each.validated]
    notes.append(("analyze", f"{label}.", ""))
    parts: list[sql.Composable] = [
        # Without this, every row would be written anew, its times moved by the session's zone.
        sql.SQL("SET LOCAL TimeZone = 'UTC'"),
        remembering(notes),
    ]
    parts += [
        sql.SQL("DROP INDEX {}").format(sql.Identifier(each.schema, each.name)) for each in gone
    ]
    parts.append(
        sql.SQL("ALTER TABLE {}\n    {}").format(taken.identifier, sql.SQL(",\n    ").join(lines))
    )
    return together(parts, effects.alters(taken.table))
