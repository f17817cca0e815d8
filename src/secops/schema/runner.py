"""Running DDL on a live database: short locks are retried, long work waits for nobody's sake.

A statement that the app must wait behind runs in a transaction under the settings' lock timeout; after each
failure the whole transaction is tried again, following a pause ten times as long as the timeout, so that the
app has nine tenths of the time to itself. Whoever holds a lock for a minute, a report or a backup, is so
outlasted without the app's ever waiting longer than that one timeout. Only where it takes longer than
two minutes does the timeout grow, to ten times the first: then no transaction is long, but there is always
one. There is a budget for all waiting together, and no last try without a timeout.

CREATE INDEX CONCURRENTLY and VALIDATE CONSTRAINT block no reader and no writer, and a timeout would leave
an invalid index behind; they run without one.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Final, Protocol

import psycopg
from psycopg import errors as pg
from psycopg import sql

from secops.database.connection import commit_unknown, is_lost
from secops.database.locks import blockers
from secops.errors import Busy, Conflict, OutcomeUnknown, Refused, SecopsError
from secops.schema.messages import MORE_IS_LOST, guarded, message
from secops.schema.steps import Finding, Lock, Loss, State, Step

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from contextlib import AbstractContextManager

    from secops.database.connection import Connection
    from secops.database.locks import Holder
    from secops.database.locks import Runner as Held
    from secops.schema.effects import Statement
    from secops.schema.site import Site

# For how long a step is tried at the first lock timeout; then each try waits once more that long.
_PATIENT: Final = timedelta(minutes=2)
_GROWN: Final = 10
_PAUSE: Final = 10
_LONGEST_PAUSE: Final = timedelta(seconds=30)
_SLICE: Final = 1.0
_LONG_WAIT: Final = timedelta(seconds=2)
_LOOKING_LIMIT: Final = timedelta(seconds=5)

Steps = Callable[["Site"], list[Step]]


class Observer(Protocol):
    """Who is told what happens; domain code does not know who shows it."""

    def ran(self, step: Step, statement: str, took: timedelta) -> None:
        """A statement was run."""

    def waiting(self, why: str, holders: list[Holder]) -> None:
        """A step waits; the holders may be unknown."""


@dataclass
class Runner:
    """Runs steps on one connection.

    Attributes:
        site: The database.
        work: The connection, in autocommit mode and straight to the server.
        watch: Opens another, to see who is in the way; used only when somebody is.
        held: The lock that keeps other runners out.
        observer: Is told what happens.
        lock_timeout: The first lock timeout.
        budget: What is left of the time for waiting.
        accepted: How many of each kind of loss undoing may destroy.
        alone: Keeps alembic's own connection out of any transaction while steps run; alembic's
            environment sets it.
        ran: How many statements were run.
    """

    site: Site
    work: Connection
    watch: Callable[[], Connection]
    held: Held
    observer: Observer
    lock_timeout: timedelta
    budget: timedelta
    accepted: Counter[str] = field(default_factory=Counter)
    alone: Callable[[], AbstractContextManager[None]] | None = None
    ran: int = 0
    _timeout: timedelta = timedelta(0)
    _seen: list[Holder] = field(default_factory=list)

    def upgrade(self, steps: Steps) -> None:
        """Bring every step to done; called by a version file for alembic."""
        assert self.alone is not None
        with self.alone():
            for step in steps(self.site):
                self.do(step)

    def downgrade(self, steps: Steps) -> None:
        """Undo every step, the last one first; called by a version file for alembic."""
        assert self.alone is not None
        with self.alone():
            for step in reversed(steps(self.site)):
                self.undo(step)

    def do(self, step: Step) -> None:
        """Bring one step to done, from whatever state it is in.

        Raises:
            Busy: Others held its locks until the budget was spent.
            Conflict: What is there is not what secops would make, or rows forbid the step.
            OutcomeUnknown: Its statement ran, and the catalogue does not show it.
        """

        def once() -> bool:
            finding = self._look(step)
            if finding.state is State.DIFFERENT:
                raise different([(step, finding)], touched=self.ran > 0)
            if finding.building:
                return False
            for statement, lock in zip(step.statements(finding), step.locks(finding), strict=True):
                self._run(step, statement, lock)
            return True

        self._until_done(step, once)
        after = step.probe(self.work)
        if after.state is not State.DONE:
            raise OutcomeUnknown(
                f"{step.title}: the statement ran, but the step is {after.state}"
                + (f" ({after.difference})." if after.difference else "."),
                hint="Somebody may be changing the schema at the same time. Run it again.",
            )

    def undo(self, step: Step) -> None:
        """Undo one step, if anything of it is there.

        Raises:
            Busy: Others held its locks until the budget was spent.
        """

        def once() -> bool:
            finding = self._look(step)
            statement = step.undoing(finding)
            if statement is not None:
                lock = finding.undo_lock or step.lock
                self._run(step, statement, lock, step.lost(finding))
            return True

        self._until_done(step, once)

    def _look(self, step: Step) -> Finding:
        # Whoever holds a table against readers holds up who asks the catalogue for its defaults.
        with self._watching(step, _LONG_WAIT):
            return step.probe(self.work)

    def _until_done(self, step: Step, once: Callable[[], bool]) -> None:
        self._seen = []
        begun, times = time.monotonic(), 1
        while True:
            self.held.check()
            if time.monotonic() - begun > _PATIENT.total_seconds():
                times = min(times + 1, _GROWN)
            timeout = self.lock_timeout * times
            self._timeout = timeout
            started = time.monotonic()
            try:
                if once():
                    return
                why = f"{step.title}: another session is building it"
            except (pg.LockNotAvailable, pg.DeadlockDetected):
                why = f"{step.title}: another session holds a lock on the table"
            except pg.ForeignKeyViolation as error:
                raise _orphans(step, error) from None
            except psycopg.DatabaseError as error:
                if error.sqlstate == MORE_IS_LOST:
                    raise _more_is_lost(step, error) from None
                raise
            self._spend(started)
            self._pause(step, why, timeout)

    def _run(
        self, step: Step, statement: Statement, lock: Lock, losses: Iterable[Loss] = ()
    ) -> None:
        sent = message(
            step,
            statement,
            lock,
            timeout=self._timeout,
            budget=self.budget,
            first=guarded(statement, [(each, self.accepted[each.what]) for each in losses]),
            also=() if step.event is None else (step.event(self.work),),
        )
        started = time.monotonic()
        try:
            if lock is Lock.SHORT:
                with self._watching(step, self._timeout / 2):
                    self._transact(sent)
            else:
                with self._watching(step, _LONG_WAIT), self._unlimited():
                    self.work.execute(sent)
        except psycopg.OperationalError as error:
            if is_lost(error):
                raise commit_unknown(f"this was under way: {step.title}") from error
            raise
        self.ran += 1
        took = timedelta(seconds=time.monotonic() - started)
        self.observer.ran(step, statement.as_string(), took)

    @contextmanager
    def _unlimited(self) -> Iterator[None]:
        """Wait for locks without a limit: one would leave an invalid index, or half a detach."""
        self.work.execute("SET lock_timeout = 0")
        try:
            yield
        finally:
            if not self.work.closed:
                self.work.execute(limit_looking())

    def _transact(self, sent: sql.Composed) -> None:
        try:
            self.work.execute(sent)
        except BaseException:  # Ctrl-C too: what follows must find no transaction open
            if not self.work.closed:
                self.work.rollback()
            raise

    def _watching(self, step: Step, after: timedelta) -> Watch:
        begun = time.monotonic()

        def tell(holders: list[Holder]) -> None:
            self._seen = holders
            # A wait that a lock timeout ends is told of when it has ended.
            if time.monotonic() - begun >= _LONG_WAIT.total_seconds():
                self.observer.waiting(step.title, holders)

        return Watch(self.watch, self.work.info.backend_pid, after, tell)

    def _spend(self, since: float) -> None:
        self.budget -= timedelta(seconds=time.monotonic() - since)

    def _pause(self, step: Step, why: str, timeout: timedelta) -> None:
        jitter = random.uniform(0.5, 1.5)  # noqa: S311  so that two runs do not march in step
        pause = min(timeout * _PAUSE * jitter, _LONGEST_PAUSE)
        if pause > self.budget:
            raise busy(step.title, why, self._seen)
        self.observer.waiting(why, self._seen)
        self.budget -= pause
        left = pause.total_seconds()
        while left > 0:
            time.sleep(min(left, _SLICE))
            left -= _SLICE
            self.held.check()


def limit_looking() -> sql.Composed:
    """Return what keeps a look at the catalogue from waiting for ever, and unseen."""
    return sql.SQL("SET lock_timeout = {}").format(
        sql.Literal(_LOOKING_LIMIT // timedelta(milliseconds=1))
    )


class Watch:
    """Looks from another connection at who is in the way of a statement that takes its time."""

    def __init__(
        self,
        connect: Callable[[], Connection],
        pid: int,
        after: timedelta,
        tell: Callable[[list[Holder]], None],
    ) -> None:
        self._connect = connect
        self._pid = pid
        self._after = after.total_seconds()
        self._tell = tell
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, name="secops watch", daemon=True)

    def __enter__(self) -> None:
        self._thread.start()

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        if self._over.wait(self._after):
            return
        try:
            with self._connect() as conn:
                while not self._over.is_set():
                    holders = blockers(conn, self._pid)
                    if holders:
                        self._tell(holders)
                    self._over.wait(_SLICE)
        except (psycopg.Error, SecopsError):
            # Who is in the way is worth knowing and not worth failing for: the server may have no
            # connection left. What becomes of the step is told by the step.
            return


def different(found: list[tuple[Step, Finding]], *, touched: bool = False) -> Conflict:
    """Return the error for objects that are not what secops would make."""
    so_far = "what was done stands" if touched else "nothing was touched"
    words = "; ".join(finding.difference for _, finding in found)
    mends = "; ".join(finding.mend for _, finding in found if finding.mend)
    return Conflict(
        f"The database holds what secops would not make, and {so_far}: {words}.",
        hint=(f"Bring it in line ({mends}), " if mends else "Rename or remove it, ")
        + "then run it again.",
        details={
            "differences": [
                {"step": step.title, "difference": finding.difference, "mend": finding.mend}
                for step, finding in found
            ]
        },
    )


def busy(title: str, why: str, holders: list[Holder]) -> Busy:
    """Return the error for locks that others held until the budget was spent."""
    who = "; ".join(map(str, holders)) or "who, could not be seen (pg_read_all_stats would show it)"
    return Busy(
        f"{why}, and secops does not make the app wait for it: {who}.",
        hint="What was done stands. Wait for that session or end it with "
        "SELECT pg_terminate_backend(PID), or give a longer --lock-budget; then run it again.",
        details={"step": title, "blockers": [holder.as_dict() for holder in holders]},
    )


def _more_is_lost(step: Step, error: psycopg.DatabaseError) -> Refused:
    return Refused(
        f"{step.title}: undoing it would destroy {error.diag.message_primary}, for somebody wrote meanwhile.",
        hint="What was taken back stands, and `secops migrate` brings it again. Stop what writes there, then "
        "`secops migrate down --dry-run` says the number that holds.",
    )


def _orphans(step: Step, error: pg.ForeignKeyViolation) -> Conflict:
    table = f"{error.diag.schema_name}.{error.diag.table_name}"
    return Conflict(
        f"{step.title}: {table} has rows whose user is gone ({error.diag.message_detail}).",
        hint=f"What was done stands. Delete such rows of {table}, then run it again.",
    )
