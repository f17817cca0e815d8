"""What a stage would change at a target: read live, against what is wanted and what was recorded."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from secops.errors import Conflict, Refused
from secops.rollout.books import taken_back
from secops.rollout.entries import Standing
from secops.rollout.moves import Key, Kind, Watched
from secops.rollout.recovery import value_of
from secops.rollout.soak import Soaking, soaking
from secops.rollout.states import State
from secops.targets.target import Edit, Snapshot, Target
from secops.variables.entry import Direction
from secops.variables.rules import Level

if TYPE_CHECKING:
    from secops.rollout.profiles import Assignment
    from secops.rollout.rollouts import GateSpec, Rollout, Stage
    from secops.variables.registry import Broken, Registry

RESTORE: Final = "SECOPS_RESTORE_"
"""How the environment variable begins that holds the value of a sealed one, for the way back."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """What the journal last had a variable be.

    Attributes:
        value: Its value; ``None`` where it was to be absent.
        standing: The move that left it so.
    """

    value: str | None
    standing: Standing


@dataclass(frozen=True, slots=True)
class Line:
    """One variable of a plan.

    Attributes:
        name: Which.
        live: What it is; ``None`` where it is absent or hidden.
        new: What it is to be; ``None`` where it is to be absent.
        direction: What that does to the security of the app.
        recorded: What the journal left it as, if it is something else now.
        changed: Who changed it since, and when, as far as the target knows.
        hidden: Whether its value is sealed.
        reference: Whether it refers to others, so that a literal takes a reference's place.
    """

    name: str
    live: str | None
    new: str | None
    direction: Direction
    recorded: Recorded | None = None
    changed: str = ""
    hidden: bool = False
    reference: bool = False


@dataclass(frozen=True, slots=True)
class Plan:
    """What a stage or a profile would change.

    Attributes:
        title: ``jwt-ttl 30m``.
        lines: Every variable that it speaks of.
        keys: What is to be written.
        snapshot: What was read.
        soaking: How long it is watched; ``None`` where it is not.
        gates: What watches it.
        warnings: What a person should know.
    """

    title: str
    lines: tuple[Line, ...]
    keys: Mapping[str, Key]
    snapshot: Snapshot
    soaking: Soaking | None = None
    gates: tuple[Watched, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def relaxes(self) -> tuple[str, ...]:
        """The variables that become looser."""
        return tuple(
            each.name
            for each in self.lines
            if each.direction is Direction.RELAX and each.name in self.keys
        )

    @property
    def drifted(self) -> tuple[Line, ...]:
        """The variables that somebody changed since the journal recorded them."""
        return tuple(each for each in self.lines if each.recorded is not None)

    @property
    def digest(self) -> str:
        """A digest of what would be written over what."""
        body = {name: [key.before, key.after] for name, key in sorted(self.keys.items())}
        return hashlib.sha256(json.dumps([self.title, body]).encode()).hexdigest()


def recorded(standings: Sequence[Standing]) -> dict[str, Recorded]:
    """Return what the journal last left each variable as."""
    found: dict[str, Recorded] = {}
    for each in standings:
        if not each.applied or (each.state is State.CONFLICT and not each.over):
            continue
        for name, key in each.move.keys.items():
            if not key.hidden:
                found[name] = Recorded(key.after, each)
    for each in standings:
        # What somebody else wrote and we left alone is not ours to expect.
        left = (*each.move.notes.get("kept", ()), *each.facts.get("kept_late", ()))
        for name in left:
            if name in found and found[name].standing.began <= each.began:
                del found[name]
    return found


def make(
    title: str,
    wanted: Assignment,
    *,
    snapshot: Snapshot,
    registry: Registry,
    standings: Sequence[Standing],
    edits: Sequence[Edit] = (),
    environ: Mapping[str, str],
    minimum: timedelta | None = None,
    gates: Sequence[GateSpec] = (),
) -> Plan:
    """Compare what is wanted with what is there.

    Args:
        title: What is planned.
        wanted: The variables as they are to be.
        snapshot: What the target holds.
        registry: What variables mean.
        standings: The target's moves.
        edits: The target's history, newest first, where it keeps one.
        environ: Where the values of sealed variables stand for the way back.
        minimum: How long the stage is to be watched at least; ``None`` where it is not watched.
        gates: What watches it.

    Raises:
        Refused: Somebody has staged changes, a variable is secret or sealed, or a rule would be broken.
    """
    if snapshot.pending:
        raise Refused(
            f"Somebody has changes staged and not committed there: {snapshot.pending}.",
            hint="Commit or discard them first: a deployment would take them along.",
        )
    known = recorded(standings)
    lines: list[Line] = []
    keys: dict[str, Key] = {}
    for name in sorted(wanted.names):
        if registry.is_secret(name):
            raise Refused(
                f"{name} is secret, and a rollout keeps what it changes in a journal.",
                hint="Set it where the app runs, by hand or from a vault.",
            )
        new = wanted.set.get(name)
        line, key = _line(
            name, new, snapshot=snapshot, registry=registry, known=known.get(name), edits=edits,
            environ=environ,
        )  # fmt: skip
        lines.append(line)
        if key is not None:
            keys[name] = key
    warnings = _rules(registry, wanted, snapshot)
    watched = tuple(Watched(each.name, each.kind, dict(each.options)) for each in gates)
    soak = None if minimum is None else soaking(registry, keys, minimum)
    return Plan(title, tuple(lines), keys, snapshot, soak, watched, tuple(warnings))


def _line(
    name: str,
    new: str | None,
    *,
    snapshot: Snapshot,
    registry: Registry,
    known: Recorded | None,
    edits: Sequence[Edit],
    environ: Mapping[str, str],
) -> tuple[Line, Key | None]:
    variable = snapshot.variables.get(name)
    live = None if variable is None else variable.value
    hidden = variable is not None and variable.value is None
    before = live
    if hidden:
        before = environ.get(f"{RESTORE}{name}")
        if before is None:
            raise Refused(
                f"{name} is sealed: nobody can read what it is, so nobody could put it back.",
                hint=f"Give the value for the way back in {RESTORE}{name}, or take the variable out.",
                details={"variable": name},
            )
    direction = registry.compare(name, before, new)
    drifted = known is not None and not hidden and known.value != live
    line = Line(
        name,
        live,
        new,
        direction,
        known if drifted else None,
        _changed_by(snapshot, name, edits) if drifted else "",
        hidden,
        variable is not None and variable.reference,
    )
    # `1800s` stays where `30m` is wanted: the app does the same.
    same = before == new or (direction is Direction.SAME and before is not None)
    return line, None if same and not hidden else Key(before, new, hidden)


def _changed_by(snapshot: Snapshot, name: str, edits: Sequence[Edit]) -> str:
    """Say who changed a variable last, as far as the target knows."""
    for edit in edits:
        if name in edit.names:
            at = f", {edit.at:%Y-%m-%d %H:%M}Z" if edit.at else ""
            return f"{edit.who or 'somebody'}{at}"
    variable = snapshot.variables.get(name)
    if variable is None:
        return ""
    at = f"{variable.changed_at:%Y-%m-%d %H:%M}Z" if variable.changed_at else ""
    return ", ".join(part for part in (variable.changed_by, at) if part)


def _rules(registry: Registry, wanted: Assignment, snapshot: Snapshot) -> list[str]:
    live = {name: each.value for name, each in snapshot.variables.items()}
    broken: Sequence[Broken] = registry.check(wanted.after(live), wanted.names)
    errors = [each.message for each in broken if each.level is Level.ERROR]
    if errors:
        raise Refused(
            f"The app would not work with that: {' '.join(errors)}",
            hint="Change the stage or the profile, or what is live.",
        )
    return [each.message for each in broken]


def passed(standings: Sequence[Standing], rollout: Rollout) -> list[str]:
    """Return the stages of a rollout that the target has passed, in the order of the rollout."""
    undone = taken_back(standings)
    found = {
        each.move.stage
        for each in standings
        if each.move.kind is Kind.STAGE
        and each.move.rollout == rollout.name
        and each.state is State.PASSED
        and each.move.id not in undone
    }
    return [each.id for each in rollout.stages if each.id in found]


def skipped(standings: Sequence[Standing], rollout: Rollout, stage: Stage) -> list[str]:
    """Return the stages between the last that was passed and the one that is wanted."""
    order = [each.id for each in rollout.stages]
    reached = max((order.index(name) for name in passed(standings, rollout)), default=-1)
    return order[reached + 1 : order.index(stage.id)]


def check_drift(plan: Plan) -> None:
    """Refuse a plan over values that somebody changed since they were recorded.

    Raises:
        Conflict: Somebody did.
    """
    if not plan.drifted:
        return
    words = "; ".join(drift_words(each) for each in plan.drifted)
    raise Conflict(
        f"What is live is not what was recorded: {words}.",
        hint="Nothing was touched. `secops drift` shows all of it; --force with a --reason goes over it.",
        details={"drifted": [each.name for each in plan.drifted]},
    )


def drift_words(line: Line) -> str:
    """Say what a variable was left as and what it is."""
    assert line.recorded is not None
    left = "absent" if line.recorded.value is None else line.recorded.value
    live = "absent" if line.live is None else line.live
    by = f" (changed by {line.changed})" if line.changed else ""
    return f"{line.name} was left as {left} and is {live}{by}"


def history(
    target: Target, standings: Sequence[Standing], snapshot: Snapshot, names: frozenset[str]
) -> Sequence[Edit]:
    """Return the target's history since the journal recorded what is no longer so; nothing where all is."""
    known = recorded(standings)
    drifted = [
        known[name].standing.began
        for name in names
        if name in known and value_of(snapshot, name) != known[name].value
    ]
    return target.edits(min(drifted)) if drifted and target.traits.dated else ()
