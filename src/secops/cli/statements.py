"""How the statements of a plan are shown: the lock on each table, what is read, how long it may take."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from typing import TypeAlias

    from secops.schema.effects import Effect, Statement, Table
    from secops.schema.estimate import Estimate, Size
    from secops.schema.versions import Planned

    Sizes: TypeAlias = Mapping[Table, Size]

_TIMES: Final = {1: "once", 2: "twice"}
_FEW: Final = 10.0


def locks(statement: Statement) -> str:
    """Return the lock on each table that others can see."""
    return "; ".join(
        f"{'.'.join(each.table)} {each.mode}" for each in statement.effects if not each.new
    )


def work(statement: Statement, sizes: Sizes) -> str:
    """Return what it reads and rewrites."""
    from secops.schema.estimate import known

    found = [words for each in known(statement.effects, sizes) for words in _work(each, sizes)]
    return "; ".join(found) or "changes the catalogue alone"


def _work(effect: Effect, sizes: Sizes) -> list[str]:
    table = ".".join(effect.table)
    size = sizes.get(effect.table)
    rows = f" (about {size.rows:,} rows)" if size is not None else ""
    found = [f"makes {table}"] if effect.new else []
    if effect.gone:
        found.append(f"drops {table}{rows}")
    if effect.columns:
        found.append(f"drops {', '.join(effect.columns)} of {table}")
    if effect.sorts:
        found.append(
            f"builds an index of {table}{rows}, reading it {_TIMES.get(effect.reads, effect.reads)}"
        )
    elif effect.reads:
        found.append(f"reads {table}{rows} {_TIMES.get(effect.reads, f'{effect.reads} times')}")
    if effect.rewrites:
        found.append(f"rewrites {table}{rows}")
    if effect.updates:
        found.append(f"updates {table}{rows} in batches")
    return found


def takes(statement: Statement, sizes: Sizes) -> str:
    """Return how long it may take, without waiting for locks."""
    from secops.schema.estimate import MOMENT, estimate

    least, most = estimate(statement.effects, sizes)
    if most <= MOMENT:
        return "moments"
    if least < MOMENT:
        return f"up to {_span(most)}"
    return f"{_span(least)} to {_span(most)}"


def _span(span: timedelta) -> str:
    from secops.durations import about

    seconds = span.total_seconds()
    return f"{seconds:.1f} s" if seconds < _FEW else about(span)


def comments(statement: Statement, sizes: Sizes) -> list[str]:
    """Return the same as comments of a script."""
    lines = [
        f"-- locks {'.'.join(each.table)}: {each.mode}; {each.mode.keeps_waiting} of the app "
        f"{'wait' if 'and' in each.mode.keeps_waiting else 'waits'}"
        for each in statement.effects
        if not each.new
    ]
    return [*lines, f"-- {work(statement, sizes)}; takes {takes(statement, sizes)}"]


def as_json(statement: Statement, lock: str, sizes: Sizes) -> dict[str, object]:
    """Return a statement and what it does, for ``--json``."""
    from secops.schema.estimate import estimate, known

    least, most = estimate(statement.effects, sizes)
    return {
        "sql": statement.as_string(),
        "lock": lock,
        "tables": [_table(each, sizes.get(each.table)) for each in known(statement.effects, sizes)],
        "seconds": _seconds((least, most)),
    }


def _table(effect: Effect, size: Size | None) -> dict[str, object]:
    return {
        "table": ".".join(effect.table),
        "lock": str(effect.mode),
        "waits": "nothing" if effect.new else effect.mode.keeps_waiting,
        "new": effect.new,
        "reads": effect.reads,
        "indexes": effect.sorts,
        "rewrites": effect.rewrites,
        "updates": effect.updates,
        "rows": None if size is None else size.rows,
        "bytes": None if size is None else size.bytes,
    }


def _seconds(span: Estimate) -> dict[str, float]:
    return {
        "at_least": round(span[0].total_seconds(), 3),
        "at_most": round(span[1].total_seconds(), 3),
    }


def items(planned: Iterable[Planned], sizes: Sizes) -> list[dict[str, object]]:
    """Return what a dry run lists: one item for each statement."""
    return [
        {
            "step": each.step.title,
            "lock": str(lock),
            "locks": locks(statement),
            "does": work(statement, sizes),
            "takes": takes(statement, sizes),
        }
        for each in planned
        for statement, lock in zip(each.statements, each.locks, strict=True)
    ]


def as_sql(planned: Iterable[Planned]) -> list[str]:
    """Return the statements themselves."""
    return [statement.as_string() for each in planned for statement in each.statements]
