"""Rollouts: the stages that a service is moved through, and the gates that each must pass.

A rollout is a YAML file in ``profiles/rollouts/``; gates that all rollouts share stand in
``profiles/gates.yaml``. What the kinds of gates take as options is for the gates to say.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from secops.documents import At, Document
from secops.documents import read as read_document
from secops.errors import ConfigurationError, NothingMatched, SecopsError, UsageError
from secops.forms import Form, Prose, Several, Span, fill, nearest
from secops.resources import shipped
from secops.rollout.profiles import (
    GATES_FILE,
    HINT,
    Assignment,
    Catalogue,
    assignment,
    load_profiles,
    yaml_files,
)

if TYPE_CHECKING:
    from secops.settings import Settings

FOLDER: Final = "rollouts"
"""The folder inside of a folder of profiles where rollouts are."""


class Then(enum.StrEnum):
    """What follows a verdict that is no pass."""

    ROLLBACK = "rollback"
    HOLD = "hold"


@dataclass(frozen=True, slots=True)
class GateSpec:
    """A gate as a file declares it.

    Attributes:
        name: What stages call it.
        kind: Which kind of gate it is.
        options: The rest, for the kind to read: texts, lists and mappings as they are written.
        document: What was written; ``options`` stand at its top, with the lines for complaints.
    """

    name: str
    kind: str
    options: Mapping[str, object] = field(default_factory=dict)
    document: Document = field(default=Document(Path(), {}), repr=False, compare=False)


@dataclass(frozen=True, slots=True)
class Soak:
    """How long a stage is watched.

    Attributes:
        minimum: The least; what the old tokens' lifetime demands may be longer.
    """

    minimum: timedelta = timedelta(0)


@dataclass(frozen=True, slots=True)
class Stage:
    """One stage.

    Attributes:
        id: What ``--stage`` calls it.
        assignment: What its variables are to be, with what its profile says.
        soak: How long it is watched.
        gates: The names of the gates that it must pass.
        about: What it is for.
        plan: The section of the security plan that it is.
    """

    id: str
    assignment: Assignment
    soak: Soak = Soak()
    gates: tuple[str, ...] = ()
    about: str = ""
    plan: str = ""


@dataclass(frozen=True, slots=True)
class Rollout:
    """One rollout.

    Attributes:
        name: The file's name without its suffix.
        about: What it is for, in a sentence.
        stages: In order.
        gates: What its stages' gates are, by name.
        on_fail: What follows where a gate fails.
        on_inconclusive: What follows where a gate cannot tell; never more than a wait.
        path: The file.
        document: What was written, for complaints.
    """

    name: str
    about: str
    stages: tuple[Stage, ...]
    gates: Mapping[str, GateSpec] = field(default_factory=dict)
    on_fail: Then = Then.ROLLBACK
    on_inconclusive: Then = Then.HOLD
    path: Path = Path()
    document: Document = field(default=Document(Path(), None), repr=False, compare=False)

    def stage(self, stage_id: str) -> Stage:
        """Return a stage.

        Raises:
            NothingMatched: There is none of that name; lists them.
        """
        for each in self.stages:
            if each.id == stage_id:
                return each
        names = [each.id for each in self.stages]
        raise NothingMatched(
            f"The rollout {self.name} has no stage {stage_id!r}.",
            hint=f"Its stages are, in order: {', '.join(names)}.",
            details={"rollout": self.name, "stages": names},
        )

    def before(self, stage_id: str) -> tuple[Stage, ...]:
        """Return the stages that come before one, in order."""
        found = self.stage(stage_id)
        return self.stages[: self.stages.index(found)]

    def gates_of(self, stage: Stage) -> tuple[GateSpec, ...]:
        """Return the gates that a stage must pass."""
        return tuple(self.gates[name] for name in stage.gates)


@dataclass(frozen=True, slots=True)
class Rollouts:
    """All rollouts by name; each is read when it is asked for. Made by :func:`load_rollouts`."""

    profiles: Catalogue
    shipped: Mapping[str, Path]
    own: Mapping[str, Path] = field(default_factory=dict)
    _read: dict[str, Rollout] = field(default_factory=dict, repr=False, compare=False)

    def names(self) -> list[str]:
        """Return the names of all rollouts, without reading any."""
        return sorted({*self.shipped, *self.own})

    def is_own(self, name: str) -> bool:
        """Say whether a rollout is the user's."""
        return name in self.own

    def find(self, name: str) -> Rollout:
        """Read one rollout.

        Raises:
            NothingMatched: There is none of that name; names the nearest.
            ConfigurationError: Its file, or one that it stands on, cannot be read; names file and line.
        """
        if name not in self._read:
            path = self.own.get(name) or self.shipped.get(name)
            if path is None:
                raise NothingMatched(
                    f"There is no rollout {name!r}.",
                    hint=nearest(name, self.names(), "There are"),
                    details={"known": self.names()},
                )
            self._read[name] = self._rollout(name, path)
        return self._read[name]

    def load(self) -> tuple[list[Rollout], list[SecopsError]]:
        """Read every rollout: those that hold together, and what is wrong with the others."""
        found: list[Rollout] = []
        problems: list[SecopsError] = []
        for name in self.names():
            try:
                found.append(self.find(name))
            except (ConfigurationError, NothingMatched) as error:
                problems.append(error)
        return found, problems

    def find_stage(self, stage_id: str, rollout: str | None = None) -> tuple[Rollout, Stage]:
        """Return a stage and the rollout that it belongs to.

        Args:
            stage_id: What ``--stage`` says.
            rollout: What ``--rollout`` says; ``None`` finds the only rollout that has the stage.

        Raises:
            NothingMatched: No rollout has such a stage; lists all.
            UsageError: Several have; says which.
            ConfigurationError: A file cannot be read.
        """
        if rollout is not None:
            found = self.find(rollout)
            return found, found.stage(stage_id)
        everything = [self.find(name) for name in self.names()]
        having = [each for each in everything if stage_id in {stage.id for stage in each.stages}]
        if not having:
            listed = [
                f"{each.name}: {', '.join(stage.id for stage in each.stages)}"
                for each in everything
            ]
            raise NothingMatched(
                f"No rollout has a stage {stage_id!r}.",
                hint="There are, in order:\n" + "\n".join(listed),
            )
        if len(having) > 1:
            names = ", ".join(each.name for each in having)
            raise UsageError(
                f"Several rollouts have a stage {stage_id!r}: {names}.",
                hint=f"Name one: --rollout {having[0].name}.",
            )
        return having[0], having[0].stage(stage_id)

    def _rollout(self, name: str, path: Path) -> Rollout:
        document = read_document(path, HINT)
        form = fill(_RolloutForm, document, "a rollout")
        if name in self.own and name in self.shipped and not form.overrides:
            document.complain(
                (), f"secops has a rollout {name!r} already",
                "Give the file another name, or write `overrides: true` into it.",
            )  # fmt: skip
        shared = shared_gates(self.profiles.folder)
        gates = {**shared, **_gates(document, ("gates",), form.gates)}
        stages: list[Stage] = []
        for index in range(len(form.stages)):
            stage = self._stage(document, ("stages", index), gates)
            if stage.id in {each.id for each in stages}:
                document.complain(("stages", index, "id"), f"the stage {stage.id!r} stands twice")
            stages.append(stage)
        used = {gate for stage in stages for gate in stage.gates}
        return Rollout(
            name=name,
            about=form.about,
            stages=tuple(stages),
            gates={key: gate for key, gate in gates.items() if key in used},
            on_fail=form.on_fail,
            on_inconclusive=form.on_inconclusive,
            path=path,
            document=document,
        )

    def _stage(self, document: Document, at: At, gates: Mapping[str, GateSpec]) -> Stage:
        form = fill(_StageForm, document, "a stage", at=at)
        found = assignment(document, at, form.set, form.unset, self.profiles.registry)
        if form.profile:
            if form.profile not in self.profiles.names():
                document.complain(
                    (*at, "profile"), f"there is no profile {form.profile!r}",
                    nearest(form.profile, self.profiles.names(), "There are"),
                )  # fmt: skip
            found = found.over(self.profiles.resolve(form.profile))
        if not found.names:
            document.complain(at, f"the stage {form.id!r} changes nothing", "Give it a `set`.")
        for index, gate in enumerate(form.gates):
            if gate not in gates:
                document.complain(
                    (*at, "gates", index), f"there is no gate {gate!r}",
                    nearest(gate, sorted(gates), "There are"),
                )  # fmt: skip
        soak = Soak(form.soak.min)
        return Stage(form.id, found, soak, form.gates, form.about, form.plan)


class _SoakForm(Form):
    min: Span = timedelta(0)


class _StageForm(Form):
    id: str = Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$")
    about: Prose = ""
    plan: str = ""
    profile: str = ""
    set: dict[str, str] = Field(default_factory=dict)
    unset: Several = ()
    soak: _SoakForm = _SoakForm()
    gates: Several = ()


class _RolloutForm(Form):
    about: Prose
    stages: tuple[object, ...] = Field(min_length=1)
    gates: dict[str, object] = Field(default_factory=dict)
    on_fail: Then = Then.ROLLBACK
    on_inconclusive: Then = Then.HOLD
    overrides: bool = False


class _GatesFile(Form):
    gates: dict[str, object] = Field(default_factory=dict)


def load_rollouts(settings: Settings | None = None, profiles: Catalogue | None = None) -> Rollouts:
    """Find all rollouts.

    Args:
        settings: Name the user's folder; without them, only what ships is found.
        profiles: The profiles, where they are loaded already.

    Raises:
        ConfigurationError: A ``registry.yaml`` cannot be read.
    """
    profiles = profiles or load_profiles(settings)
    found = yaml_files(shipped("profiles") / FOLDER)
    own = profiles.folder / FOLDER if profiles.folder is not None else None
    if own is None or not own.is_dir():
        return Rollouts(profiles, found)
    return Rollouts(profiles, found, yaml_files(own))


def shared_gates(folder: Path | None) -> dict[str, GateSpec]:
    """Return the gates that every rollout may name: those that ship, and the user's, which win."""
    found: dict[str, GateSpec] = {}
    for home in (shipped("profiles"), folder):
        path = home / GATES_FILE if home is not None else None
        if path is not None and path.is_file():
            document = read_document(path, HINT)
            form = fill(_GatesFile, document, "a file of gates")
            found |= _gates(document, ("gates",), form.gates)
    return found


def _gates(document: Document, at: At, given: Mapping[str, object]) -> dict[str, GateSpec]:
    found: dict[str, GateSpec] = {}
    for name, written in given.items():
        if not isinstance(written, dict):
            document.complain((*at, name), f"the gate {name!r} takes `key: value` lines")
        kind = written.get("kind")
        if not isinstance(kind, str):
            document.complain((*at, name), f"the gate {name!r} lacks a kind")
        options = {key: value for key, value in written.items() if key != "kind"}
        part = document.part(*at, name)
        whole = Document(part.path, options, part.lines, part.hint)
        found[name] = GateSpec(name, kind, options, whole)
    return found
