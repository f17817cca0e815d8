"""The steps that take an earlier layer over: expand, so that the old app and the new one both work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.adoption import filling, following, operators, refusing, retyping, wanted
from secops.schema.adoption.earlier import EVENTS, TOKENS, USERS
from secops.schema.adoption.memory import Difference, remember
from secops.schema.adoption.table import Taken
from secops.schema.adoption.ways import Way, swapped
from secops.schema.effects import Statement, together
from secops.schema.steps import ABSENT, DONE, Finding, Lock, State, Step
from secops.schema.tables import Before

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.schema.adoption.earlier import Earlier
    from secops.schema.adoption.ways import Plan
    from secops.schema.site import Site

_THERE: Final = "secops_there"
"""How the CHECKs begin that prove that a column has a value in every row."""
_UNIQUE: Final = f"{TOKENS}_token_hash_key"


class Taking:
    """What is taken over of an earlier layer."""

    def __init__(self, site: Site, *, begun: Earlier | None = None) -> None:
        """Gather it.

        Args:
            site: The database.
            begun: The earlier layer, where giving it up has begun and the site knows none.
        """
        earlier = begun or site.earlier
        users = site.layout.users
        schema = site.layout.schema
        self.tables: list[Taken] = []
        self._owner = site.owner
        self.earlier = earlier
        self._schema = schema
        if earlier is None:
            return
        # Of what later versions add, only what is there is changed; they add the rest themselves.
        had = earlier.had(TOKENS)
        later = [column for column in wanted.rotation() if column.name in had]
        known = [*wanted.tokens(site), *later]
        self.tables.append(Taken(earlier, TOKENS, schema, TOKENS, known))
        if EVENTS in earlier.tables:
            reserved = frozenset(wanted.RESERVED)
            columns = wanted.events(site)
            self.tables.append(Taken(earlier, EVENTS, schema, EVENTS, columns, reserved))
        old = earlier.had(USERS)
        there = [column for column in wanted.lockout() if column.name in old]
        if there:
            self.tables.append(Taken(earlier, USERS, users.schema, users.name, there, whole=False))

    def before(self, label: str) -> Before | None:
        """Return what the layer had of a table; ``None`` where the table is not taken over."""
        for taken in self.tables:
            if taken.label == label:
                plans = taken.plans.values()
                eased = (p.column.name for p in plans if p.way not in {Way.KEEP, Way.REFUSE})
                return Before(frozenset(taken.earlier.had(label)), frozenset(eased))
        return None

    def steps(self) -> list[Step]:
        """Return the steps, in order; none where there is no earlier layer."""
        if self.earlier is None:
            return []
        found = [remember(self.earlier, self._refused)]
        for taken in self.tables:
            if taken.going(Way.RETYPE):
                found.append(retyping.retype(taken))
            if taken.label == USERS:
                continue
            found += [filling.make_room(taken), following.follow(taken)]
            if filling.has_to_fill(taken):
                found.append(filling.fill(taken))
            if operators.needed(taken):
                found.append(operators.make(self._schema))
            if taken.going(Way.SWAP):
                found.append(_swap(taken))
            found += [step for name in self._must_have(taken) for step in _require(taken, name)]
            if taken.label == TOKENS:
                found += _keep_apart(taken)
        return found

    def _must_have(self, taken: Taken) -> list[str]:
        """Return the columns whose values are proven, for the earlier layer did not ask for one."""
        had = taken.earlier.had(taken.label)
        return [
            plan.column.name
            for plan in taken.plans.values()
            if plan.column.not_null
            and (plan.filled or (plan.way in {Way.KEEP, Way.RETYPE}
                                 and not had[plan.column.name].not_null))
        ]  # fmt: skip

    def _refused(self, conn: Connection) -> list[Difference]:
        found = [
            difference
            for taken in self.tables
            for difference in (
                *retyping.obstacles(conn, taken),
                *refusing.held(conn, taken),
                *refusing.without(conn, taken, self._must_have(taken)),
                *refusing.checked(conn, taken),
                *refusing.not_unique(conn, taken),
            )
        ]
        return [*found, *refusing.zones(conn, self.tables, (self._schema, TOKENS))]


def _swap(taken: Taken) -> Step:
    """Let the columns of the wanted types take the names of the old ones, at one stroke."""

    def probe(conn: Connection) -> Finding:
        there = dict(catalogue.columns(conn, *taken.table))
        waiting = [plan for plan in taken.going(Way.SWAP) if not swapped(plan, there)]
        if not waiting:
            return DONE
        return Finding(State.ABSENT, instead=(_swapping(taken, waiting, there),))

    there = {plan.column.name: catalogue.Column(plan.kind, False, None, False)
             for plan in taken.going(Way.SWAP)}  # fmt: skip
    return Step(
        title=f"Put columns of the right type in place in {taken.name}",
        do=_swapping(taken, taken.going(Way.SWAP), there),
        lock=Lock.SHORT,
        probe=probe,
        busy=taken.identifier,
    )


def _swapping(taken: Taken, waiting: list[Plan], there: dict[str, catalogue.Column]) -> Statement:
    alter = sql.SQL("ALTER TABLE {} {}")
    drops = sql.SQL(", ").join(
        sql.SQL("DROP COLUMN {}").format(sql.Identifier(plan.column.name)) for plan in waiting
    )
    text = following.body(taken, there, swapping=False)
    lock = sql.SQL("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE").format(taken.identifier)
    change = following.replace_function(taken, text) if text else following.drop_trigger(taken)
    renames = [
        alter.format(
            taken.identifier,
            sql.SQL("RENAME COLUMN {} TO {}").format(
                sql.Identifier(plan.place), sql.Identifier(plan.column.name)
            ),
        )
        for plan in waiting
    ]
    parts = [lock, change, alter.format(taken.identifier, drops), *renames]
    gone = effects.drops_columns(taken.table, [plan.column.name for plan in waiting])
    return together(parts, gone)


def _require(taken: Taken, column: str) -> list[Step]:
    """Have a value in every row, proven before the app is made to wait for it."""
    name = f"{_THERE}_{column}"
    plan = taken.plans[column]
    constraint, quoted = sql.Identifier(name), sql.Identifier(column)
    alter = sql.SQL("ALTER TABLE {} {}")

    def state(conn: Connection) -> tuple[bool, bool | None]:
        """Return whether the column must have a value, and whether a proof is there and valid."""
        there = catalogue.columns(conn, *taken.table)
        mine = [each for each in catalogue.constraints(conn, *taken.table) if each.name == name]
        must = column in there and there[column].not_null
        if plan.way is Way.SWAP and not swapped(plan, dict(there)):
            must = False  # of the one that is to go
        return must, mine[0].validated if mine else None

    def added(conn: Connection) -> Finding:
        must, proof = state(conn)
        return DONE if must or proof is not None else ABSENT

    def proven(conn: Connection) -> Finding:
        must, proof = state(conn)
        return DONE if must or proof else ABSENT

    def required(conn: Connection) -> Finding:
        must, proof = state(conn)
        if must and proof is None:
            return DONE
        return ABSENT

    drop = alter.format(taken.identifier, sql.SQL("DROP CONSTRAINT {}").format(constraint))
    return [
        Step(
            title=f"Let no row of {taken.name} in without {column}",
            do=Statement(
                alter.format(
                    taken.identifier,
                    sql.SQL("ADD CONSTRAINT {} CHECK ({} IS NOT NULL) NOT VALID").format(
                        constraint, quoted
                    ),
                ),
                effects.alters(taken.table),
            ),
            lock=Lock.SHORT,
            probe=added,
            busy=taken.identifier,
        ),
        Step(
            title=f"Check that every row of {taken.name} has {column}",
            do=Statement(
                alter.format(
                    taken.identifier, sql.SQL("VALIDATE CONSTRAINT {}").format(constraint)
                ),
                effects.validates_check(taken.table),
            ),
            lock=Lock.LONG,
            probe=proven,
        ),
        Step(
            title=f"Require {column} in {taken.name}",
            do=together(
                [
                    alter.format(
                        taken.identifier, sql.SQL("ALTER COLUMN {} SET NOT NULL").format(quoted)
                    ),
                    drop,
                ],
                effects.alters(taken.table),
            ),
            lock=Lock.SHORT,
            probe=required,
            busy=taken.identifier,
        ),
    ]


def _keep_apart(taken: Taken) -> list[Step]:
    """Make the hashes unique, as the tokens are."""
    index = sql.Identifier(taken.schema, _UNIQUE)
    build = Statement(
        sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY {} ON {} (token_hash)").format(
            sql.Identifier(_UNIQUE), taken.identifier
        ),
        effects.builds_index(taken.table),
    )
    drop = Statement(
        sql.SQL("DROP INDEX CONCURRENTLY {}").format(index), effects.drops_index(taken.table)
    )

    def built(conn: Connection) -> Finding:
        found = catalogue.index(conn, taken.schema, _UNIQUE)
        if found is None:
            kind = catalogue.kind_of(conn, taken.schema, _UNIQUE)
            if kind is None:
                return ABSENT
            shown = catalogue.KINDS.get(kind, "something else")
            return Finding(State.DIFFERENT, f"{taken.schema}.{_UNIQUE} is {shown}, not an index")
        if found.table != taken.table or not found.unique or "(token_hash)" not in found.definition:
            return Finding(
                State.DIFFERENT,
                f"the index {taken.schema}.{_UNIQUE} is {found.definition} on "
                f"{'.'.join(found.table)}, not unique on (token_hash)",
                mend=f"ALTER INDEX {index.as_string()} RENAME TO {_UNIQUE}_old",
            )
        if found.building:
            words = f"the index {taken.schema}.{_UNIQUE} is being built by another session"
            return Finding(State.PARTIAL, words, building=True)
        if not found.valid:
            words = f"the index {taken.schema}.{_UNIQUE} is invalid: its build was cut short"
            return Finding(State.PARTIAL, words, instead=(drop, build))
        return DONE

    def owned(conn: Connection) -> Finding:
        there = catalogue.constraints(conn, *taken.table)
        return DONE if any(each.name == _UNIQUE and each.kind == "u" for each in there) else ABSENT

    return [
        Step(title="Build the key of the hashes", do=build, lock=Lock.LONG, probe=built),
        Step(
            title="Keep the hashes apart",
            do=Statement(
                sql.SQL("ALTER TABLE {} ADD CONSTRAINT {} UNIQUE USING INDEX {}").format(
                    taken.identifier, sql.Identifier(_UNIQUE), sql.Identifier(_UNIQUE)
                ),
                effects.alters(taken.table),
            ),
            lock=Lock.SHORT,
            probe=owned,
            busy=taken.identifier,
        ),
    ]
