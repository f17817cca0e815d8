"""The version files of ``migrations/``, and what the database lacks of them.

alembic applies them (:mod:`secops.schema.ledger`); to say what is there and what is missing, their steps
are enough, and alembic need not be imported.
"""

from __future__ import annotations

import importlib.util
import itertools
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Final

from psycopg import sql

from secops.database.layout import INTERNAL
from secops.errors import Conflict, SecopsError, UsageError
from secops.resources import shipped
from secops.schema import catalogue
from secops.schema.extras import create_schema
from secops.schema.steps import Finding, Lock, State, Step
from secops.schema.tables import Column, create_table

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from secops.database.connection import Connection
    from secops.schema.effects import Statement
    from secops.schema.site import Site

VERSION_TABLE: Final = "alembic_version"
BASE: Final = "base"
"""What alembic calls the state before the first version."""


@dataclass(frozen=True, slots=True)
class Version:
    """One version file.

    Attributes:
        revision: Its number, ``0001``.
        down_revision: The one before it.
        title: In a few words.
        steps: Returns its steps for a database.
    """

    revision: str
    down_revision: str | None
    title: str
    steps: Callable[[Site], list[Step]]


@dataclass(frozen=True, slots=True)
class Planned:
    """A step of a version and what the database has of it.

    Attributes:
        revision: The version's number; empty for what must be there before the first.
        step: The step.
        finding: What its probe found.
    """

    revision: str
    step: Step
    finding: Finding

    @property
    def statements(self) -> tuple[Statement, ...]:
        """What is left to run."""
        return self.step.statements(self.finding)

    @property
    def locks(self) -> tuple[Lock, ...]:
        """How each of these may wait."""
        return self.step.locks(self.finding)


@dataclass(frozen=True, slots=True)
class Plan:
    """What the database has, and what is left to do; the dry run and the real run share it.

    Attributes:
        current: The revision that the database records; ``None`` before the first.
        pending: The versions to be applied.
        steps: Every step of every version, in order.
    """

    current: str | None
    pending: tuple[Version, ...]
    steps: tuple[Planned, ...]

    @property
    def open(self) -> tuple[Planned, ...]:
        """The steps that are not done."""
        return tuple(each for each in self.steps if each.finding.state is not State.DONE)

    @property
    def drifted(self) -> tuple[Planned, ...]:
        """The steps of applied versions that are not done: somebody changed the schema since."""
        waiting = {version.revision for version in self.pending}
        return tuple(
            each for each in self.open if each.revision not in waiting and self.current is not None
        )

    @property
    def different(self) -> list[tuple[Step, Finding]]:
        """The steps that secops will not do over what is there."""
        return [
            (each.step, each.finding)
            for each in self.steps
            if each.finding.state is State.DIFFERENT
        ]

    @property
    def nothing_to_do(self) -> bool:
        """Whether the database is where it should be."""
        return not self.pending and not self.open


@cache
def versions() -> tuple[Version, ...]:
    """Return the version files, the first one first."""
    found = [_load(path) for path in sorted((shipped("migrations") / "versions").glob("*.py"))]
    for before, version in itertools.pairwise([None, *found]):
        assert version is not None
        if version.down_revision != (before.revision if before else None):
            raise SecopsError(
                f"The versions in migrations/ are no line: {version.revision} does not follow "
                f"{before.revision if before else BASE}.",
                hint="This installation of secops is damaged; install it again.",
            )
    return tuple(found)


def _load(path: Path) -> Version:
    spec = importlib.util.spec_from_file_location(f"secops_migration_{path.stem}", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return Version(module.revision, module.down_revision, module.title, module.steps)


def preamble() -> list[Step]:
    """Return the steps before the first version: the place where versions are recorded."""
    return [
        create_schema(INTERNAL),
        create_table(
            INTERNAL,
            VERSION_TABLE,
            [Column("version_num", "character varying(32)", not_null=True)],
            key="version_num",
            # alembic's own name for it
            key_name=f"{VERSION_TABLE}_pkc",
        ),
    ]


def current_revision(conn: Connection) -> str | None:
    """Return the revision that the database records, or ``None`` before the first.

    Raises:
        Conflict: It records one that this secops does not know, or several.
    """
    if catalogue.kind_of(conn, INTERNAL, VERSION_TABLE) is None:
        return None
    rows = conn.execute(
        sql.SQL("SELECT version_num FROM {}").format(sql.Identifier(INTERNAL, VERSION_TABLE))
    ).fetchall()
    found = [str(row[0]) for row in rows]
    if not found:
        return None
    if len(found) > 1 or found[0] not in {version.revision for version in versions()}:
        raise Conflict(
            f"The database is at revision {', '.join(found)}, which this secops does not know.",
            hint="A newer secops migrated it: use that one (pip install --upgrade secops).",
        )
    return found[0]


def plan(conn: Connection, site: Site) -> Plan:
    """Look at every step of every version."""
    current = current_revision(conn)
    known = [version.revision for version in versions()]
    applied = 0 if current is None else known.index(current) + 1
    steps = [Planned("", step, step.probe(conn)) for step in preamble()]
    for version in versions():
        steps += [Planned(version.revision, step, step.probe(conn)) for step in version.steps(site)]
    return Plan(current, versions()[applied:], tuple(steps))


def target_of(current: str | None, wanted: str | None) -> str | None:
    """Return the revision that ``down`` leads to; ``None`` is the state before the first.

    Args:
        current: Where the database is.
        wanted: A revision, ``base``, or ``None`` for the one before.

    Raises:
        UsageError: There is no such revision, or it is not below the current one.
    """
    known = [version.revision for version in versions()]
    place = -1 if current is None else known.index(current)
    if wanted is None:
        return known[place - 1] if place > 0 else None
    if wanted == BASE:
        return None
    if wanted not in known:
        raise UsageError(
            f"There is no revision {wanted!r}.", hint=f"There are: {BASE}, {', '.join(known)}."
        )
    if known.index(wanted) > place:
        raise UsageError(
            f"Revision {wanted} is above {current or BASE}, where the database is.",
            hint="`secops migrate` leads upwards; `secops migrate status` says what is applied.",
        )
    return wanted


def above(target: str | None, current: str | None) -> tuple[Version, ...]:
    """Return the applied versions above a revision, the last one first."""
    known = [version.revision for version in versions()]
    low = 0 if target is None else known.index(target) + 1
    high = 0 if current is None else known.index(current) + 1
    return tuple(reversed(versions()[low:high]))
