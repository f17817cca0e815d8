"""Kubernetes' objects in our words: ConfigMaps, Secrets, and how far a Deployment is."""

from __future__ import annotations

import base64
import binascii
import enum
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Final

from secops.targets.target import Deployment, Edit, Progress, Variable

if TYPE_CHECKING:
    from secops.targets.remote import Reading

ANNOTATION: Final = "secops.rollout/id"
"""Of the pods' template: the marker of the write that the pods were restarted for."""

AGAIN: Final = "secops.rollout/again"
"""Of the pods' template: the generation that did not come up and is tried again."""


class Kind(enum.Enum):
    """The objects that hold variables, by the name of their resource."""

    SECRET = "secrets"  # noqa: S105  the resource's name
    CONFIG_MAP = "configmaps"

    @property
    def option(self) -> str:
        """What ``secops.yaml`` calls it."""
        return "secret" if self is Kind.SECRET else "config_map"

    @property
    def word(self) -> str:
        """What people call it."""
        return "Secret" if self is Kind.SECRET else "ConfigMap"

    def encoded(self, value: str) -> str:
        """Return a value as the object holds it."""
        return base64.b64encode(value.encode()).decode() if self is Kind.SECRET else value

    def decoded(self, value: object) -> str | None:
        """Return the text that the object holds; ``None`` where it is no text."""
        if self is Kind.CONFIG_MAP or not isinstance(value, str):
            return value if isinstance(value, str) else None
        try:
            return base64.b64decode(value, validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return None


@dataclass(frozen=True, slots=True)
class Held:
    """What one object holds."""

    variables: Mapping[str, Variable]
    version: str
    immutable: bool


def held_of(kind: Kind, found: Reading) -> Held:
    """Read an object. Bytes that are no text cannot be a variable, and are never written."""
    data = found.get("data").found
    variables = {}
    for name, value in data.items() if isinstance(data, Mapping) else ():
        text = kind.decoded(value)
        variables[str(name)] = Variable(str(name), text, sealed=text is None)
    version = found["metadata"]["resourceVersion"].text()
    return Held(variables, version, found.get("immutable").found is True)


def version_of(held: Mapping[Kind, Held]) -> str:
    """Return the versions of all objects as one text."""
    return " ".join(f"{kind.value}={each.version}" for kind, each in held.items())


def versions_in(text: str) -> dict[Kind, str]:
    """Read what :func:`version_of` wrote."""
    parts = (each.partition("=") for each in text.split())
    return {Kind(name): version for name, _, version in parts}


def marked_with(found: Reading) -> str:
    """Return the marker that a Deployment's pods were restarted for last; empty where there is none."""
    annotations = found["spec"]["template"].get("metadata").get("annotations").found
    shown = annotations.get(ANNOTATION) if isinstance(annotations, Mapping) else None
    return shown if isinstance(shown, str) else ""


def progress(found: Reading, marker: str) -> Deployment:
    """Say how far a Deployment is with the restart for a marker.

    The conditions are those of ``kubectl rollout status``: the controller has seen the newest generation, all
    pods are of the new template and available, and none of an older one is left.
    """
    if marked_with(found) == marker:
        return Deployment(marker, *_rolled(found))
    why = "the pods' template was changed back, or to another rollout's"
    return Deployment(marker, Progress.FAILED, why)


def _rolled(found: Reading) -> tuple[Progress, str]:
    spec, status = found["spec"], found.get("status")
    wanted = _count(spec.get("replicas").found, 1)
    updated = _count(status.get("updatedReplicas").found)
    available = _count(status.get("availableReplicas").found)
    old = _count(status.get("replicas").found) - updated
    seen = _count(status.get("observedGeneration").found)
    stuck = _stuck(status)
    state, detail = Progress.PENDING, ""
    if spec.get("paused").found is True:
        state = Progress.HELD
        detail = "the Deployment is paused; `kubectl rollout resume` lets it go on"
    elif seen < found["metadata"]["generation"].number():
        detail = "the controller has not seen it yet"
    elif stuck:
        state, detail = Progress.FAILED, stuck
    elif wanted == 0:
        state, detail = Progress.LIVE, "scaled to no pods: the next one that starts has it"
    elif updated < wanted:
        detail = f"{updated} of {wanted} pods are new"
    elif old > 0:
        detail = f"{old} old pods are still ending"
    elif available < updated:
        detail = f"{available} of {updated} new pods are available"
    else:
        state, detail = Progress.LIVE, f"{available} of {wanted} pods are new and available"
    return state, detail


def edits_of(found: Reading, under: Collection[str]) -> list[Edit]:
    """Read the managed fields: which program wrote last to which keys of these parts, and when."""
    edits = []
    managed = found["metadata"].get("managedFields")
    for each in managed if managed.found is not None else ():
        fields = each.get("fieldsV1").found
        names: set[str] = set()
        touched = False
        for part in under:
            inner = fields.get(f"f:{part}") if isinstance(fields, Mapping) else None
            touched = touched or inner is not None
            if isinstance(inner, Mapping):
                names |= {key.removeprefix("f:") for key in inner if key.startswith("f:")}
        if touched:
            who = each["manager"].text()
            edits.append(Edit(who, each.get("time").time(), "", frozenset(names)))
    return sorted(edits, key=lambda each: _moment(each.at), reverse=True)


def _stuck(status: Reading) -> str:
    conditions = status.get("conditions")
    for each in conditions if conditions.found is not None else ():
        kind, reason = each.get("type").found, each.get("reason").found
        message = str(each.get("message").found or "")
        if kind == "Progressing" and reason == "ProgressDeadlineExceeded":
            return f"the new pods do not become available in time: {message}".rstrip(": .")
        if kind == "ReplicaFailure" and each.get("status").found == "True":
            return f"pods cannot be made: {message}".rstrip(": .")
    return ""


def _count(value: object, default: int = 0) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) else default


def _moment(at: datetime | None) -> float:
    return at.timestamp() if at else 0.0
