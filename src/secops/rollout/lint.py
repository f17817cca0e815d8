"""What is wrong, or hardly meant so, in profiles, rollouts and the registry."""

from __future__ import annotations

import enum
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from secops.documents import shown
from secops.errors import ConfigurationError, SecopsError
from secops.rollout.profiles import Catalogue, Profile, load_profiles
from secops.rollout.rollouts import Rollout, load_rollouts
from secops.variables.entry import Direction
from secops.variables.rules import Level

if TYPE_CHECKING:
    from secops.settings import Settings


class Severity(enum.StrEnum):
    """How bad a finding is."""

    ERROR = "error"
    WARNING = "warning"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that is off.

    Attributes:
        severity: How bad it is.
        kind: ``profile``, ``rollout`` or ``registry``.
        name: Of which; empty for the registry.
        where: File and line.
        message: What, in a sentence.
        hint: What to do about it.
    """

    severity: Severity
    kind: str
    name: str
    where: str
    message: str
    hint: str = ""


def lint(settings: Settings | None, names: frozenset[str] = frozenset()) -> list[Finding]:
    """Examine profiles and rollouts, and all that they stand on.

    Args:
        settings: Name the user's folder; without them, only what ships is examined.
        names: Only these; all where empty.

    Returns:
        What is off, errors first; empty where all is well.
    """
    try:
        profiles = load_profiles(settings)
    except ConfigurationError as error:
        return [_fault("registry", "", error)]
    rollouts = load_rollouts(settings, profiles)
    found = [] if profiles.problem is None else [_fault("profile", "", profiles.problem)]
    for name in profiles.names():
        if not names or name in names:
            found += _profile_findings(profiles, name)
    for name in rollouts.names():
        if names and name not in names:
            continue
        try:
            found += _of_rollout(profiles, rollouts.find(name))
        except SecopsError as error:
            found.append(_fault("rollout", name, error))
    return sorted(found, key=lambda each: each.severity is not Severity.ERROR)


def _profile_findings(profiles: Catalogue, name: str) -> list[Finding]:
    try:
        profiles.resolve(name)
        return list(_of_profile(profiles, profiles.find(name)))
    except SecopsError as error:
        return [_fault("profile", name, error)]


def _of_profile(profiles: Catalogue, profile: Profile) -> Iterator[Finding]:
    wanted = profiles.resolve(profile.name)
    where = profile.document.where()
    if not wanted.names:
        yield Finding(
            Severity.WARNING, "profile", profile.name, where, "It says nothing of any variable.",
            "Give it a `set`.",
        )  # fmt: skip
    for broken in profiles.registry.check(dict(wanted.set), touched=wanted.names):
        severity = Severity.ERROR if broken.level is Level.ERROR else Severity.WARNING
        yield Finding(severity, "profile", profile.name, where, broken.message)
    relaxed = [
        name
        for name in sorted(wanted.names)
        if profiles.registry.compare(name, None, wanted.set.get(name)) is Direction.RELAX
    ]
    if relaxed and profiles.max_age(profile.name) is None:
        yield Finding(
            Severity.WARNING, "profile", profile.name, where,
            f"It is laxer than the defaults ({', '.join(relaxed)}) and may stay for ever.",
            "Give it a max_age, after which `secops rollout status` reports it.",
        )  # fmt: skip


def _of_rollout(profiles: Catalogue, rollout: Rollout) -> Iterator[Finding]:
    for index, stage in enumerate(rollout.stages):
        where = rollout.document.where(("stages", index))
        for broken in profiles.registry.check(
            dict(stage.assignment.set), touched=stage.assignment.names
        ):
            severity = Severity.ERROR if broken.level is Level.ERROR else Severity.WARNING
            yield Finding(severity, "rollout", rollout.name, where, broken.message)
        if not stage.gates:
            yield Finding(
                Severity.WARNING, "rollout", rollout.name, where,
                f"Nothing watches the stage {stage.id}: it has no gates.",
                "Give it gates; `live` at least.",
            )  # fmt: skip
        before = rollout.stages[index - 1].assignment if index else None
        relaxed = [
            name
            for name in sorted(stage.assignment.names)
            if before is not None
            and name in before.names
            and profiles.registry.compare(
                name, before.set.get(name), stage.assignment.set.get(name)
            )
            is Direction.RELAX
        ]
        if relaxed:
            yield Finding(
                Severity.WARNING, "rollout", rollout.name, where,
                f"The stage {stage.id} is laxer than the one before it: {', '.join(relaxed)}.",
                "Is the order of the stages right?",
            )  # fmt: skip


def _fault(kind: str, name: str, error: SecopsError) -> Finding:
    file, line = error.details.get("file"), error.details.get("line")
    message = error.message
    where = ""
    if isinstance(file, str):
        where = f"{shown(Path(file))}:{line}"
        message = message.removeprefix(f"{where}: ")
        message = message[:1].upper() + message[1:]
    return Finding(Severity.ERROR, kind, name, where, message, error.hint)
