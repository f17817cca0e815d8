"""A move: what one stage, profile or rollback changes at one target, as it is recorded before it is written."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any
from uuid import UUID

from secops.targets.target import MARKER, Change


class Kind(enum.StrEnum):
    """Why a move is made."""

    STAGE = "stage"
    PROFILE = "profile"
    ROLLBACK = "rollback"


@dataclass(frozen=True, slots=True)
class Key:
    """One variable of a move.

    Attributes:
        before: Its value before, byte for byte as the target holds it; ``None`` where it is absent.
        after: Its value after; ``None`` where it is to be absent.
        hidden: Whether the target never gives its value out, so that only the marker tells what it is.
    """

    before: str | None
    after: str | None
    hidden: bool = False


@dataclass(frozen=True, slots=True)
class Watched:
    """A gate as its rollout described it when the move began: a file that changes later changes nothing."""

    name: str
    kind: str
    options: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Move:
    """One move; nothing of it changes once it is recorded.

    Attributes:
        id: Its number, which its write carries as the marker.
        kind: Why it is made.
        target: The target's name.
        fingerprint: What the target points at.
        rollout: The rollout's name; empty for what is none.
        stage: The stage's id, or the profile's name.
        keys: What it changes, by name; a variable that stays as it is is not among them.
        marker_before: The marker that the target held before.
        undoes: The moves that it takes back, for a rollback.
        actor: Who.
        host: On which machine.
        reason: Why, in the operator's words.
        ticket: The ticket it belongs to.
        command: The command's words.
        deployments: The deployments that were there shortly before, so that its own can be told.
        soak: How long it is watched once it is live; ``None`` where it is not watched.
        pure_after: How long after it is live nothing of the configuration before is left.
        gates: What watches it.
        on_fail: ``rollback`` or ``hold``.
        deadline: How long a deployment may take.
        relaxes: The variables that it makes looser.
        relaxed_for: How long that may stay; ``None`` where nothing is relaxed.
        digest: Of the plan that was confirmed.
        notes: What else was decided: what was forced, which foreign values are kept.
    """

    id: UUID
    kind: Kind
    target: str
    fingerprint: str
    rollout: str
    stage: str
    keys: Mapping[str, Key]
    marker_before: str | None
    actor: str
    host: str
    reason: str = ""
    ticket: str = ""
    command: str = "rollout"
    undoes: tuple[UUID, ...] = ()
    deployments: tuple[str, ...] = ()
    soak: timedelta | None = None
    pure_after: timedelta = timedelta(0)
    gates: tuple[Watched, ...] = ()
    on_fail: str = "rollback"
    deadline: timedelta = timedelta(minutes=15)
    relaxes: tuple[str, ...] = ()
    relaxed_for: timedelta | None = None
    digest: str = ""
    notes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def title(self) -> str:
        """In a few words, for people: ``jwt-ttl 30m``."""
        return f"{self.rollout} {self.stage}".strip() or str(self.kind)

    @property
    def change(self) -> Change:
        """The write: everything and the marker, in one call."""
        return Change(
            set={
                **{name: key.after for name, key in self.keys.items() if key.after is not None},
                MARKER: str(self.id),
            },
            unset=frozenset(name for name, key in self.keys.items() if key.after is None),
            note=f"secops op={self.id} {self.title}",
        )

    def as_dict(self) -> dict[str, Any]:
        """Return it as JSON holds it; :func:`restored` reads it back."""
        return {
            "id": str(self.id),
            "kind": self.kind.value,
            "target": self.target,
            "fingerprint": self.fingerprint,
            "rollout": self.rollout,
            "stage": self.stage,
            "keys": {
                name: {"before": key.before, "after": key.after, "hidden": key.hidden}
                for name, key in sorted(self.keys.items())
            },
            "marker_before": self.marker_before,
            "undoes": [str(each) for each in self.undoes],
            "actor": self.actor,
            "host": self.host,
            "reason": self.reason,
            "ticket": self.ticket,
            "command": self.command,
            "deployments": list(self.deployments),
            "soak": _seconds(self.soak),
            "pure_after": _seconds(self.pure_after),
            "gates": [
                {"name": gate.name, "kind": gate.kind, "options": dict(gate.options)}
                for gate in self.gates
            ],
            "on_fail": self.on_fail,
            "deadline": _seconds(self.deadline),
            "relaxes": list(self.relaxes),
            "relaxed_for": _seconds(self.relaxed_for),
            "digest": self.digest,
            "notes": dict(self.notes),
        }


def restored(found: Mapping[str, Any]) -> Move:
    """Read back what :meth:`Move.as_dict` gave."""
    return Move(
        id=UUID(found["id"]),
        kind=Kind(found["kind"]),
        target=found["target"],
        fingerprint=found["fingerprint"],
        rollout=found["rollout"],
        stage=found["stage"],
        keys={name: Key(**key) for name, key in found["keys"].items()},
        marker_before=found["marker_before"],
        undoes=tuple(UUID(each) for each in found["undoes"]),
        actor=found["actor"],
        host=found["host"],
        reason=found["reason"],
        ticket=found["ticket"],
        command=found["command"],
        deployments=tuple(found["deployments"]),
        soak=_span(found["soak"]),
        pure_after=_span(found["pure_after"]) or timedelta(0),
        gates=tuple(
            Watched(gate["name"], gate["kind"], gate["options"]) for gate in found["gates"]
        ),
        on_fail=found["on_fail"],
        deadline=_span(found["deadline"]) or timedelta(0),
        relaxes=tuple(found["relaxes"]),
        relaxed_for=_span(found["relaxed_for"]),
        digest=found["digest"],
        notes=found["notes"],
    )


def _seconds(span: timedelta | None) -> float | None:
    return None if span is None else span.total_seconds()


def _span(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
