"""What a check is: a function that looks at one thing, with its declaration beside it.

A new check is one function in the module of its subject and one line in
:data:`secops.doctor.examination.CHECKS`.
"""

from __future__ import annotations

import enum
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.database.layout import Layout
    from secops.settings import Settings


class Status(enum.StrEnum):
    """How a check went."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Result:
    """What a check found.

    Attributes:
        status: How it went.
        evidence: What was seen, in a sentence without a full stop; never a secret.
        mend: Commands or SQL to run, one a line, or advice; empty where there is nothing to mend.
    """

    status: Status
    evidence: str
    mend: str = ""


def ok(evidence: str) -> Result:
    """Return a result: all is well."""
    return Result(Status.OK, evidence)


def warn(evidence: str, mend: str) -> Result:
    """Return a result: it works, and should be better."""
    return Result(Status.WARN, evidence, mend)


def fail(evidence: str, mend: str) -> Result:
    """Return a result: something of secops does not work like this."""
    return Result(Status.FAIL, evidence, mend)


def skipped(evidence: str) -> Result:
    """Return a result: it could not be looked at, or there is nothing to look at."""
    return Result(Status.SKIPPED, evidence)


class Need(enum.StrEnum):
    """What must be there before a check can look."""

    NOTHING = "nothing"
    CONNECTION = "connection"
    USERS = "users"


@dataclass
class Patient:
    """What is looked at.

    Attributes:
        settings: The settings of the run.
        open_connection: Opens a connection to the server that a setting names.
        now: The clock of this machine, in seconds since 1970.
    """

    settings: Settings
    open_connection: Callable[[str], Connection]
    now: Callable[[], float] = time.time

    def __post_init__(self) -> None:
        self._conn: Connection | None = None
        self._layout: Layout | None = None

    @property
    def conn(self) -> Connection:
        """The connection to ``database_url``; a check that needs one is skipped where there is none."""
        assert self._conn is not None
        return self._conn

    @property
    def layout(self) -> Layout:
        """What the tables are called; a check that needs it is skipped where nobody knows."""
        assert self._layout is not None
        return self._layout

    def connect(self) -> Connection:
        """Open the connection that the checks share."""
        self._conn = self.open_connection("database_url")
        return self._conn

    def know(self, layout: Layout) -> None:
        """Remember what the tables are called."""
        self._layout = layout

    def has(self, need: Need) -> bool:
        """Say whether what a check needs is there."""
        if need is Need.USERS:
            return self._layout is not None and self.has(Need.CONNECTION)
        if need is Need.CONNECTION:
            return self._conn is not None and not self._conn.closed
        return True

    def close(self) -> None:
        """Close the shared connection."""
        if self._conn is not None:
            self._conn.close()


@dataclass(frozen=True, slots=True)
class Check:
    """A check and its declaration.

    Attributes:
        id: What ``--json`` calls it; never changes.
        title: What people read.
        needs: What must be there before it can look.
        look: Looks, changing nothing.
    """

    id: str
    title: str
    needs: Need
    look: Callable[[Patient], Result]


def check(
    id: str,  # noqa: A002  what it is
    title: str,
    *,
    needs: Need = Need.CONNECTION,
) -> Callable[[Callable[[Patient], Result]], Check]:
    """Declare a function as a check."""

    def declared(look: Callable[[Patient], Result]) -> Check:
        return Check(id, title, needs, look)

    return declared
