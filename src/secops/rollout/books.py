"""Both journals of a target as one: PostgreSQL's, and the one on this machine.

A move forward needs both. A rollback does with the one on this machine where the database is down, and what
it wrote there is given to the database by whatever secops runs next with both at hand.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from datetime import UTC, datetime
from typing import TypeVar
from uuid import UUID

import psycopg

from secops.errors import OutcomeUnknown, Unreachable
from secops.rollout.entries import Entry, Standing, first, standings
from secops.rollout.journal import Closing, Journal
from secops.rollout.local_journal import LocalJournal
from secops.rollout.moves import Move
from secops.rollout.owners import Hold, Owner
from secops.rollout.states import FOLLOWS, State
from secops.rollout.telling import busy

T = TypeVar("T")

ROLLBACK = "rollback"
"""The command whose moves go on without the database."""


class Books:
    """The journals.

    Args:
        local: This machine's.
        owner: Who this process is.
        journal: The database's; ``None`` where it cannot be reached.
        why: Why it cannot.
        offline: Whether to go on without it where it goes away.
    """

    def __init__(
        self,
        local: LocalJournal,
        owner: Owner,
        journal: Journal | None,
        why: str = "",
        *,
        offline: bool = False,
    ) -> None:
        self.local = local
        self.owner = owner
        self.journal = journal
        self.why = why
        self._offline = offline
        self._epochs: dict[UUID, int] = {}
        self._alone = ExitStack()
        self._is_alone = False

    @property
    def online(self) -> bool:
        """Whether the database takes part."""
        return self.journal is not None

    def now(self) -> datetime:
        """Return the time: the database's, and this machine's only where there is none."""
        return self._asked(Journal.now, lambda: datetime.now(UTC))

    def standings(self) -> list[Standing]:
        """Return the target's moves, the oldest first."""
        return self._asked(Journal.standings, lambda: standings(self.local.entries()))

    def active(self) -> Standing | None:
        """Return the move that holds the target; the newest, where a rollback came over another."""
        undone = taken_back(found := self.standings())
        left = [each for each in found if not each.over and each.move.id not in undone]
        return left[-1] if left else None

    def hold(self, standing: Standing) -> Hold:
        """Return who is at a move right now."""
        return self._asked(
            lambda journal: journal.hold(standing.move.id),
            lambda: Hold(None, None, None, datetime.now(UTC), standing.last.epoch),
        )

    def close(self) -> None:
        """Let go of what this process holds on this machine."""
        self._alone.close()
        self._is_alone = False

    def _stay_alone(self, move: Move) -> None:
        """Be the only process on this machine that changes the target, where no database sees to that.

        Raises:
            Busy: Another is at it; names it.
        """
        if not self._is_alone:
            self._alone.enter_context(self.local.held(str(self.owner), move.title))
            self._is_alone = True

    def begin(self, move: Move, closing: Sequence[Closing] = ()) -> Standing:
        """Record what a move will write, in both journals.

        Raises:
            Busy: Another move holds the target.
            Unreachable: The database is away, and the move needs it.
        """
        standing: Standing | None = None
        if self.journal is not None:
            try:
                standing = self.journal.begin(move, self.owner, closing)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._lost(move, error, written=False)
        elif move.command != ROLLBACK:
            raise Unreachable(
                f"A move forward is recorded in the database, which cannot be reached: {self.why}",
                hint="Nothing was touched. `secops rollback` works without it.",
            )
        if standing is None:
            self._stay_alone(move)
            known = self.local.entries()
            previous = known[-1].hash if known else ""
            standing = first(move, {}, at=self.now(), previous=previous)
        self._epochs[move.id] = standing.last.epoch
        self._copy([standing.last])
        return standing

    def record(self, standing: Standing, state: State, **facts: object) -> Standing:
        """Record what a move came to, in both journals.

        Raises:
            Busy: Somebody took the move over.
            OutcomeUnknown: The database went away under a move forward.
        """
        if self.journal is not None:
            try:
                done = self._next(standing, state, facts, self.journal.now())
                self.journal.append(done, self._command(standing))
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._lost(standing.move, error, written=True)
                done = self._next(standing, state, facts, self.now())
        else:
            done = self._next(standing, state, facts, self.now())
        self._copy([done.last])
        return done

    def finish(self, standing: Standing, state: State, **facts: object) -> Standing:
        """Record the end of a rollback, and with it that of the moves that it took back.

        Raises:
            Busy: Somebody took the move over.
        """
        facts = {**facts, "over": True}
        if self.journal is not None:
            try:
                at = self.journal.now()
                done = self._next(standing, state, facts, at)
                also = self._undone(self.journal, done, at)
                self.journal.finish(done, also, self._command(standing))
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                self._lost(standing.move, error, written=True)
            else:
                self._copy([done.last, *(each.last for each in also)])
                return done
        done = self._next(standing, state, facts, self.now())
        self._copy([done.last])
        return done

    def take(self, standing: Standing, *, by_force: bool = False) -> Standing:
        """Become a move's owner.

        Args:
            standing: The move.
            by_force: Whether to take it from an owner who is still there.

        Returns:
            The move as it is now.

        Raises:
            Busy: Its owner is still there; names them.
        """
        move = standing.move.id

        def taking(journal: Journal) -> Standing:
            hold = journal.hold(move)
            if hold.alive and not by_force and hold.owner != self.owner:
                raise busy(standing, hold)
            self._epochs[move] = journal.take(move, self.owner, hold.epoch)
            return next(each for each in journal.standings() if each.move.id == move)

        def without() -> Standing:
            self._stay_alone(standing.move)
            self._epochs[move] = standing.last.epoch + 1
            return standing

        return self._asked(taking, without)

    def beat(self, standing: Standing) -> None:
        """Give a sign of life, and make sure that nobody took the move over.

        Raises:
            Busy: Somebody did.
        """
        if self.journal is None:
            return
        try:
            self.journal.beat(standing.move.id, self._epochs[standing.move.id])
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            self._lost(standing.move, error, written=standing.applied)

    def leave(self, standing: Standing) -> None:
        """Let go of a move for now."""
        epoch = self._epochs.pop(standing.move.id, None)
        if self.journal is None or standing.over or epoch is None:
            return
        try:
            self.journal.leave(standing.move.id, epoch)
        except (psycopg.OperationalError, psycopg.InterfaceError) as error:
            # Its heartbeat grows old by itself.
            self._lost(standing.move, error, written=standing.applied)

    def epoch(self, standing: Standing) -> int:
        """Return this process's epoch of a move."""
        return self._epochs[standing.move.id]

    def reconcile(self) -> list[str]:
        """Give the database what this machine recorded without it, and copy here what it has.

        Returns:
            What was done, in words; nothing where the two agree.
        """
        return self._asked(self._reconcile, list)

    def _reconcile(self, journal: Journal) -> list[str]:
        told: list[str] = []
        there = _by_move(journal.entries())
        here = _by_move(self.local.entries())
        for move, own in here.items():
            known = there.get(move, [])
            missing = _missing(own, known)
            if missing:
                self._replay(journal, missing, known)
                one = standings([*known, *missing])[0]
                told.append(
                    f"{len(missing)} entries of {one.move.title} on {one.move.target}, recorded here "
                    "while the database was away, are in it now."
                )
        entries = journal.entries()
        diverged = _diverged(entries, here)
        if diverged:
            self._rewrite(entries, diverged)
        known_here = {entry.place for own in here.values() for entry in own}
        self._copy([entry for entry in entries if entry.place not in known_here])
        return told

    def _asked(self, ask: Callable[[Journal], T], otherwise: Callable[[], T]) -> T:
        """Ask the database's journal; where it is away and one may go on without it, do otherwise."""
        if self.journal is not None:
            try:
                return ask(self.journal)
            except (psycopg.OperationalError, psycopg.InterfaceError) as error:
                if not self._offline:
                    raise
                self._away(error)
        return otherwise()

    def _away(self, error: Exception) -> None:
        text = str(error).strip()
        self.journal = None
        self.why = text.splitlines()[0] if text else "it went away"

    def _replay(self, journal: Journal, missing: list[Entry], known: list[Entry]) -> None:
        standing = standings([*known, *missing])[0]
        undone: list[Standing] = []
        if standing.over and standing.state is State.PASSED:
            undone = self._undone(journal, standing, standing.last.at)
        journal.replay(missing, known, undone)

    def _undone(self, journal: Journal, rollback: Standing, at: datetime) -> list[Standing]:
        """Return the moves that a rollback took back, with the entry that says so."""
        wanted = set(rollback.move.undoes)
        if not wanted:
            return []
        return [
            each.next(
                State.ROLLED_BACK,
                {"undone_by": str(rollback.move.id), "over": True},
                at=at, actor=self.owner.actor, host=self.owner.host, epoch=each.last.epoch,
            )
            for each in journal.standings()
            if each.move.id in wanted and State.ROLLED_BACK in FOLLOWS[each.state]
        ]  # fmt: skip

    def _next(
        self, standing: Standing, state: State, facts: Mapping[str, object], at: datetime
    ) -> Standing:
        return standing.next(
            state, facts, at=at, actor=self.owner.actor, host=self.owner.host,
            epoch=self._epochs[standing.move.id],
        )  # fmt: skip

    def _command(self, standing: Standing) -> str:
        return standing.move.command

    def _copy(self, entries: Sequence[Entry]) -> None:
        self.local.append(entries)

    def _lost(self, move: Move, error: Exception, *, written: bool) -> None:
        """Go on without the database where the move may; say how things are where it may not."""
        if move.command == ROLLBACK:
            self._away(error)
            return
        if written:
            raise OutcomeUnknown(
                f"The database went away in the middle of {move.title} on {move.target}.",
                hint="What was written stands. `secops rollout resume` finishes it when the database "
                "is back; `secops rollback` works without it.",
            ) from None
        raise Unreachable(
            f"The database went away before {move.title} was written to {move.target}.",
            hint="Nothing was touched. Run it again when the database is back.",
        ) from None

    def _rewrite(self, entries: Sequence[Entry], diverged: set[UUID]) -> None:
        """Keep the database's form of moves that both went on with; ours is set aside."""
        ours = self.local.entries()
        aside = self.local.path.with_suffix(".diverged.jsonl")
        kept = [entry for entry in ours if entry.move not in diverged]
        kept += [entry for entry in entries if entry.move in diverged]
        lines = [entry.as_text() for entry in ours if entry.move in diverged]
        file = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        with os.fdopen(file, "a", encoding="utf-8") as writer:
            writer.write("".join(f"{line}\n" for line in lines))
            writer.flush()
            os.fsync(file)
        self.local.replace(kept)


def taken_back(found: Sequence[Standing]) -> set[UUID]:
    """Return the moves that were taken back, also where only the rollback says so."""
    undone = {each.move.id for each in found if each.state is State.ROLLED_BACK}
    for each in found:
        if each.move.undoes and each.over and each.state is State.PASSED:
            undone |= set(each.move.undoes)
    return undone


def _by_move(entries: Sequence[Entry]) -> dict[UUID, list[Entry]]:
    found: dict[UUID, list[Entry]] = {}
    for entry in entries:
        found.setdefault(entry.move, []).append(entry)
    return {move: sorted(own, key=lambda each: each.number) for move, own in found.items()}


def _missing(own: list[Entry], known: list[Entry]) -> list[Entry]:
    """Return what the database lacks of a move's entries, fitted to what it has."""
    common = 0
    while common < min(len(own), len(known)) and own[common].hash == known[common].hash:
        common += 1
    if common == len(known):
        return own[common:]
    if common == len(own):
        return []
    # A reply to a commit was lost, or somebody else went on with the move: the database's entries stand,
    # and what only we know follows them, where it can.
    standing = standings(known)[0]
    said = {entry.state for entry in known[common:]}
    for entry in own[common:]:
        if entry.state not in said and entry.state in FOLLOWS[standing.state]:
            facts = {key: value for key, value in entry.facts.items() if key != "move"}
            standing = standing.next(
                entry.state, {**facts, "recorded_as": entry.place}, at=entry.at, actor=entry.actor,
                host=entry.host, epoch=standing.last.epoch,
            )  # fmt: skip
    return list(standing.entries[len(known) :])


def _diverged(entries: Sequence[Entry], here: dict[UUID, list[Entry]]) -> set[UUID]:
    there = {entry.place: entry.hash for entry in entries}
    return {
        entry.move
        for own in here.values()
        for entry in own
        if there.get(entry.place, entry.hash) != entry.hash
    }
