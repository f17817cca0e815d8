"""Steps for foreign keys: added without a scan, validated beside a running app, or taken away."""

from __future__ import annotations

from typing import TYPE_CHECKING, LiteralString

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.effects import Statement
from secops.schema.steps import ABSENT, DONE, NOTHING_YET, Finding, Lock, State, Step

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import UsersTable


def reference_users(schema: str, table: str, users: UsersTable) -> tuple[Step, Step]:
    """Tie ``user_id`` to the users table, with ON DELETE CASCADE.

    Returns:
        The step that adds the foreign key unvalidated, under a short lock on both tables, and the one
        that validates it, which neither readers nor writers wait for.
    """
    name = f"{table}_user_id_fkey"
    owner = sql.Identifier(schema, table)
    both = (schema, table), (users.schema, users.name)
    adding = sql.SQL(
        "ALTER TABLE {} ADD CONSTRAINT {} FOREIGN KEY (user_id)\n"
        "    REFERENCES {} ({}) ON DELETE CASCADE NOT VALID"
    )
    add = Statement(
        adding.format(owner, sql.Identifier(name), users.table, sql.Identifier(users.id)),
        *effects.adds_foreign_key(*both),
    )

    def drop(constraint: str) -> Statement:
        return _alter(owner, "DROP", constraint, effects.drops_foreign_key(*both))

    def validate(constraint: str) -> Statement:
        return _alter(owner, "VALIDATE", constraint, effects.validates_foreign_key(*both))

    def probe_added(conn: Connection) -> Finding:
        found = catalogue.constraints(conn, schema, table)
        ours = _same(found, users)
        if ours is not None:
            return Finding(State.DONE, undo=drop(ours.name))
        for each in found:
            if each.kind == "f" and each.columns == ("user_id",):
                return Finding(
                    State.DIFFERENT,
                    f"{schema}.{table}.user_id has {each.definition}, not ON DELETE CASCADE to "
                    f"{users.schema}.{users.name} ({users.id})",
                    mend=drop(each.name).as_string(),
                )
            if each.name == name:
                return Finding(
                    State.DIFFERENT,
                    f"the constraint {name} of {schema}.{table} is {each.definition}",
                    mend=drop(name).as_string(),
                )
        return ABSENT

    def probe_validated(conn: Connection) -> Finding:
        found = _same(catalogue.constraints(conn, schema, table), users)
        if found is None:
            return ABSENT
        return DONE if found.validated else Finding(State.ABSENT, instead=(validate(found.name),))

    return (
        Step(
            title=f"Tie {table} to {users.name}, unchecked",
            do=add,
            lock=Lock.SHORT,
            probe=probe_added,
            undo=drop(name),
        ),
        Step(
            title=f"Check that every row of {table} has its user",
            do=validate(name),
            lock=Lock.LONG,
            probe=probe_validated,
        ),
    )


def _alter(
    table: sql.Identifier, verb: LiteralString, constraint: str, does: effects.Effects
) -> Statement:
    words = sql.SQL("ALTER TABLE {} {} CONSTRAINT {}")
    return Statement(words.format(table, sql.SQL(verb), sql.Identifier(constraint)), *does)


def _same(found: list[catalogue.Constraint], users: UsersTable) -> catalogue.Constraint | None:
    """Return the foreign key that does what ours would, whatever its name."""
    wanted = ("f", ("user_id",), (users.schema, users.name), (users.id,), "c")
    for each in found:
        if (each.kind, each.columns, each.target, each.target_columns, each.on_delete) == wanted:
            return each
    return None


def release_users(schema: str, table: str, users: UsersTable) -> Step:
    """Take away every foreign key to the users table.

    Evidence outlives the user whom it is about; and where a table with such a key is ever dropped or
    partitioned, the users table is locked against every reader.
    """
    owner = sql.Identifier(schema, table)

    def drop(names: list[str]) -> Statement:
        lines = [sql.SQL("DROP CONSTRAINT {}").format(sql.Identifier(name)) for name in names]
        return Statement(
            sql.SQL("ALTER TABLE {}\n    {}").format(owner, sql.SQL(",\n    ").join(lines)),
            *effects.drops_foreign_key((schema, table), (users.schema, users.name)),
        )

    def probe(conn: Connection) -> Finding:
        names = [
            each.name
            for each in catalogue.constraints(conn, schema, table)
            if each.kind == "f" and each.target == (users.schema, users.name)
        ]
        if names:
            return Finding(State.ABSENT, instead=(drop(names),))
        return NOTHING_YET if catalogue.kind_of(conn, schema, table) is None else DONE

    return Step(
        title=f"Let rows of {table} outlive their user",
        do=drop([f"{table}_user_id_fkey"]),
        lock=Lock.SHORT,
        probe=probe,
    )
