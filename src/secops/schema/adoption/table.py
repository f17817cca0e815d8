"""One table of an earlier layer, and what is wanted of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from secops.schema.adoption.ways import Way, ways

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.schema.adoption.earlier import Earlier
    from secops.schema.adoption.ways import Plan
    from secops.schema.tables import Column


@dataclass(frozen=True, slots=True)
class Taken:
    """A table that is taken over.

    Attributes:
        earlier: The layer that it belongs to.
        label: ``refresh_tokens``, ``security_events`` or ``users``.
        schema: Its schema.
        name: Its name.
        wanted: The columns that it should have.
        reserved: Those that no CHECK may restrict, for secops writes new values into them.
        whole: Whether rows are to be written with the wanted columns alone.
    """

    earlier: Earlier
    label: str
    schema: str
    name: str
    wanted: Sequence[Column]
    reserved: frozenset[str] = frozenset()
    whole: bool = True

    @property
    def table(self) -> tuple[str, str]:
        """Schema and name."""
        return self.schema, self.name

    @property
    def identifier(self) -> sql.Identifier:
        """The quoted, qualified name."""
        return sql.Identifier(self.schema, self.name)

    @property
    def plans(self) -> dict[str, Plan]:
        """How each wanted column comes to be."""
        return ways(self.label, self.earlier.had(self.label), self.wanted)

    def going(self, *chosen: Way) -> list[Plan]:
        """Return the plans that go one of some ways."""
        return [plan for plan in self.plans.values() if plan.way in chosen]
