"""Entries of the journal, the chain of their hashes, and what they add up to.

An entry says that a move came to a state, when, by whom, and what became known. Each holds the hash of the
one before it in its move; the first holds that of the newest entry of the target that its writer knew. So
an entry that is changed or taken out shows, and what one machine wrote while the database was away still
fits in later.
"""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from secops.errors import SecopsError
from secops.rollout.moves import Move, restored
from secops.rollout.states import FOLLOWS, State

_SEPARATORS: Final = (",", ":")


@dataclass(frozen=True, slots=True)
class Entry:
    """One line of the journal.

    Attributes:
        move: Whose.
        number: Its place in the move, from 0.
        state: What the move came to.
        at: When, by the database's clock where there was one.
        actor: Who brought it there.
        host: From which machine.
        epoch: The owner's, which fences off owners before.
        facts: What became known; the first entry's ``move`` is the move itself.
        previous: The hash of the entry before.
        hash: Its own.
    """

    move: UUID
    number: int
    state: State
    at: datetime
    actor: str
    host: str
    epoch: int
    facts: Mapping[str, Any]
    previous: str
    hash: str = ""

    @property
    def place(self) -> str:
        """Where it stands: no two entries have one place."""
        return f"{self.move}/{self.number}"

    def _body(self) -> dict[str, Any]:
        return {
            "move": str(self.move),
            "number": self.number,
            "state": self.state.value,
            "at": self.at.isoformat(),
            "actor": self.actor,
            "host": self.host,
            "epoch": self.epoch,
            "facts": dict(self.facts),
            "previous": self.previous,
        }

    def sealed(self) -> Entry:
        """Return it with its hash."""
        return replace(self, hash=self._digest())

    def _digest(self) -> str:
        text = json.dumps(self._body(), sort_keys=True, separators=_SEPARATORS, ensure_ascii=True)
        return hashlib.sha256(text.encode()).hexdigest()

    @property
    def genuine(self) -> bool:
        """Whether its hash is that of what it says."""
        return self.hash == self._digest()

    def as_text(self) -> str:
        """Return it as one line of JSON, ASCII only; :func:`read` reads it back."""
        return json.dumps(
            {**self._body(), "hash": self.hash}, sort_keys=True, separators=_SEPARATORS
        )


def read(text: str) -> Entry:
    """Read a line of the journal.

    Raises:
        SecopsError: It is none.
    """
    try:
        found = json.loads(text)
        return Entry(
            move=UUID(found["move"]),
            number=int(found["number"]),
            state=State(found["state"]),
            at=datetime.fromisoformat(found["at"]),
            actor=str(found["actor"]),
            host=str(found["host"]),
            epoch=int(found["epoch"]),
            facts=dict(found["facts"]),
            previous=str(found["previous"]),
            hash=str(found["hash"]),
        )
    except (ValueError, KeyError, TypeError):
        raise SecopsError(
            "A line of the rollout journal cannot be read.",
            hint="Somebody edited it. `secops rollout history` names what does not fit.",
        ) from None


@dataclass(frozen=True, slots=True)
class Standing:
    """A move and how far it is: what its entries add up to.

    Attributes:
        move: The move.
        entries: Its entries, in order.
        facts: What all of them say; later ones win.
    """

    move: Move
    entries: tuple[Entry, ...]
    facts: Mapping[str, Any]

    @property
    def state(self) -> State:
        """How far it is."""
        return self.last.state

    @property
    def last(self) -> Entry:
        """Its newest entry."""
        return self.entries[-1]

    @property
    def began(self) -> datetime:
        """When it was recorded."""
        return self.entries[0].at

    @property
    def over(self) -> bool:
        """Whether it no longer holds its target."""
        return bool(self.facts.get("over"))

    @property
    def applied(self) -> bool:
        """Whether something of it was written, as far as is known."""
        return bool(self.facts.get("applied"))

    def moment(self, fact: str) -> datetime | None:
        """Return a fact that is a time."""
        found = self.facts.get(fact)
        return None if found is None else datetime.fromisoformat(found)

    def text(self, fact: str) -> str:
        """Return a fact that is a text; empty where it is not known."""
        return str(self.facts.get(fact) or "")

    def next(
        self,
        state: State,
        facts: Mapping[str, Any],
        *,
        at: datetime,
        actor: str,
        host: str,
        epoch: int,
    ) -> Standing:
        """Return what it is with one more entry.

        Raises:
            SecopsError: That state cannot follow.
        """
        if state not in FOLLOWS[self.state]:
            raise SecopsError(
                f"Move {self.move.id} is {self.state}, which {state} cannot follow.",
                hint="This is a defect of secops; nothing was written.",
            )
        entry = Entry(
            self.move.id, self.last.number + 1, state, at, actor, host, epoch, dict(facts),
            self.last.hash,
        ).sealed()  # fmt: skip
        return fold([*self.entries, entry])


def first(move: Move, facts: Mapping[str, Any], *, at: datetime, previous: str) -> Standing:
    """Return a move with its first entry: INTENT."""
    entry = Entry(
        move.id, 0, State.INTENT, at, move.actor, move.host, 1,
        {"move": move.as_dict(), **facts}, previous,
    ).sealed()  # fmt: skip
    return fold([entry])


def fold(entries: Sequence[Entry]) -> Standing:
    """Add up the entries of one move, which are in order and begin with the first."""
    facts: dict[str, Any] = {}
    for entry in entries:
        facts |= entry.facts
    move = restored(facts.pop("move"))
    return Standing(move, tuple(entries), facts)


def standings(entries: Iterable[Entry]) -> list[Standing]:
    """Add up the entries of several moves; the oldest move first."""
    grouped: dict[UUID, list[Entry]] = {}
    for entry in entries:
        grouped.setdefault(entry.move, []).append(entry)
    found = [
        fold(sorted(each, key=lambda entry: entry.number))
        for each in grouped.values()
        if any(entry.number == 0 for entry in each)
    ]
    return sorted(found, key=lambda each: (each.began, str(each.move.id)))


def faults(entries: Iterable[Entry]) -> list[str]:
    """Say in words what does not fit in a journal; nothing where it is whole."""
    known = list(entries)
    hashes = {entry.hash for entry in known}
    grouped: dict[UUID, list[Entry]] = {}
    for entry in known:
        grouped.setdefault(entry.move, []).append(entry)
    found: list[str] = []
    for move, own in grouped.items():
        own.sort(key=lambda entry: entry.number)
        found += [f"{entry.place} was changed" for entry in own if not entry.genuine]
        numbers = [entry.number for entry in own]
        if numbers != list(range(len(numbers))):
            found.append(f"move {move} lacks entries: it has {numbers}")
            continue
        if own[0].previous and own[0].previous not in hashes:
            found.append(f"what stood before {own[0].place} is missing")
        found += [
            f"{entry.place} does not follow {before.place}"
            for before, entry in itertools.pairwise(own)
            if entry.previous != before.hash
        ]
    return found
