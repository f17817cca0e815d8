"""The steps that take an earlier layer over: expand, so that the old app and the new one both work."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.schema import catalogue, effects
from secops.schema.adoption import filling, following, operators, retyping, wanted
from secops.schema.adoption.earlier import AWARE, EVENTS, NAIVE, TOKENS, USERS, recall
from secops.schema.adoption.memory import Difference, remember
from secops.schema.adoption.reading import holders, odd_zones
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
        found: list[Difference] = []
        for taken in self.tables:
            found += retyping.obstacles(conn, taken)
            found += _held(conn, taken)
            found += _without(conn, taken, self._must_have(taken))
            if taken.label == TOKENS:
                found += _not_unique(conn, taken)
        return found + self._zones(conn)

    def _zones(self, conn: Connection) -> list[Difference]:
        """Find roles that would read the times that the old app writes as those of another zone."""
        times = any(
            plan.column.type == AWARE and there.get(plan.column.name) == NAIVE
            for taken in self.tables
            for there in [_types(conn, taken)]
            for plan in taken.going(Way.RETYPE)
        )
        if not times:
            return []
        found = []
        for role, zone in odd_zones(conn, self._schema, TOKENS):
            words = (
                f"sessions of {role} are in the zone {zone}, so that the times without a zone that "
                "they write would not be taken as UTC"
            )
            setting = sql.SQL("ALTER ROLE {} IN DATABASE {} SET TimeZone = 'UTC';").format(
                sql.Identifier(role), sql.Identifier(conn.info.dbname)
            )
            mend = f"{setting.as_string()}  -- if its times are UTC; then let the app connect anew"
            found.append((words, mend))
        return found


def _types(conn: Connection, taken: Taken) -> dict[str, str]:
    return {name: each.type for name, each in catalogue.columns(conn, *taken.table).items()}


def _filled(conn: Connection, taken: Taken) -> bool:
    return (taken.label, "") in recall(conn, "filled")


def _held(conn: Connection, taken: Taken) -> list[Difference]:
    """Find what holds on to a column that another is to replace."""
    there = dict(catalogue.columns(conn, *taken.table))
    names = [plan.column.name for plan in taken.going(Way.SWAP) if not swapped(plan, there)]
    if not names:
        return []
    shown = f"{taken.schema}.{taken.name}"
    return [
        (
            f"{each.what} holds on to {shown}.{each.column}, which is to be of another type",
            each.mend,
        )
        for each in holders(conn, taken.table, names, dropped=True)
    ]


def _without(conn: Connection, taken: Taken, columns: list[str]) -> list[Difference]:
    """Find rows that lack what every row must have."""
    if _filled(conn, taken):
        return []
    there = catalogue.columns(conn, *taken.table)
    found = []
    for name in columns:
        plan = taken.plans[name]
        source = plan.source if plan.filled else name
        parts = [sql.Identifier(each) for each in dict.fromkeys((name, source)) if each in there]
        if source not in there or there[source].not_null:
            continue
        where = sql.SQL(" AND ").join(sql.SQL("{} IS NULL").format(part) for part in parts)
        row = conn.execute(
            sql.SQL("SELECT EXISTS (SELECT FROM {} WHERE {})").format(taken.identifier, where)
        ).fetchone()
        if row == (True,):
            mend = sql.SQL("DELETE FROM {} WHERE {};  -- or give them one").format(
                taken.identifier, where
            )
            found.append(
                (f"rows of {taken.schema}.{taken.name} have no {source}", mend.as_string())
            )
    return found


def _not_unique(conn: Connection, taken: Taken) -> list[Difference]:
    there = catalogue.columns(conn, *taken.table)
    if "token" not in there or catalogue.unique_on(conn, *taken.table, "token"):
        return []
    mend = sql.SQL("CREATE UNIQUE INDEX CONCURRENTLY ON {} (token);").format(taken.identifier)
    return [(f"{taken.schema}.{taken.name}.token is not unique", mend.as_string())]


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
