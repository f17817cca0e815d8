"""What a target is: a place where a running service gets its environment variables from.

A target can be read, written in one call, made live, and asked how that goes. It knows names and values,
nothing of profiles, stages or databases; what is allowed and what is recorded is decided above.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Final, Protocol

MARKER: Final = "SECOPS_ROLLOUT_ID"
"""What each write carries: the operation that wrote. The service may echo it in its health page."""


@dataclass(frozen=True, slots=True)
class Variable:
    """One variable as the target holds it.

    Attributes:
        name: Its name.
        value: Its value with references unrendered (``${{shared.X}}`` stays as it is), or ``None`` where the
            target does not give it out.
        sealed: Whether the target never gives it out, so that it cannot be restored from what was read.
        reference: Whether the value refers to others, and is more than a text.
        changed_at: When it was changed last, where the target knows.
        changed_by: By whom, where the target knows.
    """

    name: str
    value: str | None
    sealed: bool = False
    reference: bool = False
    changed_at: datetime | None = None
    changed_by: str = ""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """All that a target held at one moment.

    Attributes:
        variables: By name. What the platform itself sets is not among them.
        version: What a compare-and-set write compares (an etag, a resource version, a digest of the
            file); empty where the target has none.
        pending: What somebody has staged and not committed, in words; empty where nothing is.
    """

    variables: Mapping[str, Variable]
    version: str = ""
    pending: str = ""


@dataclass(frozen=True, slots=True)
class Change:
    """What one write does: sets and deletes, as one call.

    Attributes:
        set: Names and their new values.
        unset: Names that are to be absent.
        note: What the target's own history should say, where it keeps one.
    """

    set: Mapping[str, str]
    unset: frozenset[str] = frozenset()
    note: str = ""


class Progress(enum.Enum):
    """How far a deployment is."""

    PENDING = "pending"
    """It is being built, started or drained."""
    LIVE = "live"
    """It serves, and the one before it is gone."""
    FAILED = "failed"
    """It will not serve: failed, crashed, skipped, removed."""
    HELD = "held"
    """It waits for a person."""


@dataclass(frozen=True, slots=True)
class Deployment:
    """One deployment of the service.

    Attributes:
        id: How the target calls it.
        progress: How far it is.
        detail: The target's own word for that, and why, for people.
        created_at: When it began, on the target's clock, where it says so.
    """

    id: str
    progress: Progress
    detail: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Edit:
    """A change that somebody made, as the target's history has it."""

    who: str
    at: datetime | None
    message: str = ""
    names: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Right:
    """Something that the credentials must allow: whether they do, and where to get it."""

    what: str
    allowed: bool | None
    """``None`` where it cannot be found out without doing it."""
    detail: str = ""
    mend: str = ""


@dataclass(frozen=True, slots=True)
class Traits:
    """What a kind of target can and cannot do.

    Attributes:
        compare_and_set: A write is refused by the target itself where somebody wrote since the read.
        deploys: A write or :meth:`Target.deploy` makes a deployment that can be watched. Without, the
            service reads its variables when it starts, and only an echo proves that it did.
        readable: Values can be read back.
        dated: The target keeps a history that names foreign edits.
    """

    compare_and_set: bool
    deploys: bool
    readable: bool = True
    dated: bool = False


class Target(Protocol):
    """A place where variables live. Errors are those of :mod:`secops.errors` (see ``targets.failures``)."""

    @property
    def name(self) -> str:
        """How ``secops.yaml`` calls it."""

    @property
    def kind(self) -> str:
        """Which module it is: ``dotenv``, ``railway`` ..."""

    @property
    def fingerprint(self) -> str:
        """What it points at, without a secret: two names for one place have one fingerprint."""

    @property
    def traits(self) -> Traits:
        """What it can do."""

    def read(self) -> Snapshot:
        """Return what it holds now."""

    def write(self, change: Change, expected: Snapshot) -> str:
        """Set and delete in one call, all or nothing as far as the target can.

        Args:
            change: What to do; the marker is among what it sets.
            expected: What was read just before, for targets that compare and set.

        Returns:
            The deployment that the write itself started, or an empty text.

        Raises:
            Conflict: Somebody wrote in between; nothing was written.
            OutcomeUnknown: The reply was lost: it may have been written, or half of it.
            Unreachable: It was not written.
            Refused: The credentials may not do that; says which right and where to get it.
        """

    def deploy(self, written: str) -> str:
        """Make what was written live: the same code with the new variables, exactly one deployment.

        Asked again after a lost reply it finds the deployment instead of starting a second one, where the
        target can tell. One that failed is tried again by a target that was opened anew.

        Args:
            written: What :meth:`write` returned; where it names a deployment nothing more is started.

        Returns:
            The deployment's id; an empty text where the target has none.
        """

    def status(self, deployment: str) -> Deployment:
        """Return how far a deployment is."""

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return the deployments since then, newest first: how an unknown outcome is settled.

        Those made before the last write are left out where the target can tell.
        """

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return what the target's history has since then, newest first; nothing where it keeps none."""

    def rights(self) -> Sequence[Right]:
        """Try what the credentials may do, harmlessly."""


@dataclass(frozen=True, slots=True)
class Place:
    """A target as ``secops.yaml`` describes it.

    Attributes:
        name: What it is called there.
        kind: Which module it is.
        options: The rest, for the kind to read: texts as they are written (numbers too), ``True`` and
            ``False``, lists and mappings of these.
        folder: The folder of ``secops.yaml``, to which paths are relative; ``None`` without a file.
    """

    name: str
    kind: str
    options: Mapping[str, object] = field(default_factory=dict)
    folder: Path | None = None
