"""Railway's answers in our words: variables, deployments, patches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Final, Self

from secops.errors import ConfigurationError
from secops.targets.target import Change, Deployment, Edit, Progress, Variable

if TYPE_CHECKING:
    from secops.targets.options import Options
    from secops.targets.remote import Reading

MEND: Final = (
    "Make a project token for this environment in the project's settings on Railway (Settings > Tokens), "
    "or an account or workspace token at https://railway.com/account/tokens, and set token_kind to match."
)

# All values of Railway's enum DeploymentStatus. SLEEPING is a live service that is scaled to zero.
_STATUSES: Final[Mapping[str, Progress]] = {
    "BUILDING": Progress.PENDING,
    "CRASHED": Progress.FAILED,
    "DEPLOYING": Progress.PENDING,
    "FAILED": Progress.FAILED,
    "INITIALIZING": Progress.PENDING,
    "NEEDS_APPROVAL": Progress.HELD,
    "QUEUED": Progress.PENDING,
    "REMOVED": Progress.FAILED,
    "REMOVING": Progress.FAILED,
    "SKIPPED": Progress.FAILED,
    "SLEEPING": Progress.LIVE,
    "SUCCESS": Progress.LIVE,
    "WAITING": Progress.HELD,
}
_WHY: Final[Mapping[str, str]] = {
    "CRASHED": "the app started and ended",
    "FAILED": "the build, the start or the health check failed",
    "NEEDS_APPROVAL": "approve it in Railway's dashboard",
    "REMOVED": "it was taken down",
    "REMOVING": "it is being taken down",
    "SKIPPED": "Railway skipped it",
    "WAITING": "it waits for checks or for another deployment",
}


@dataclass(frozen=True, slots=True)
class Shown:
    """A deployment as Railway lists it."""

    id: str
    status: str
    at: datetime | None
    can_redeploy: bool

    @property
    def failed(self) -> bool:
        """Whether it will not serve."""
        return _STATUSES.get(self.status) is Progress.FAILED


@dataclass(frozen=True, slots=True)
class Served:
    """What serves, and how the service is set up."""

    active: frozenset[str]
    latest: Shown | None
    healthcheck: str
    replicas: int | None
    overlap: int
    draining: int

    @classmethod
    def read(cls, instance: Reading) -> Self:
        """Read a service instance."""
        latest = instance.get("latestDeployment")
        count = instance.get("numReplicas").found
        return cls(
            active=frozenset(each["id"].text() for each in instance["activeDeployments"]),
            latest=deployments_of([latest])[0] if latest.found is not None else None,
            healthcheck=str(instance.get("healthcheckPath").found or ""),
            replicas=count if isinstance(count, int) else None,
            overlap=_seconds(instance.get("overlapSeconds").found),
            draining=_seconds(instance.get("drainingSeconds").found),
        )


@dataclass(frozen=True, slots=True)
class Commit:
    """How far a patch is."""

    applied: bool
    failed: str


@dataclass(frozen=True, slots=True)
class Count:
    """How many requests were answered with one status, in one sample."""

    at: datetime
    status: int
    count: int


def identified(options: Options, name: str) -> str:
    """Return the id of the project, environment or service; ``services`` with one of them will do."""
    several = options.names("services") if name == "service" else []
    if len(several) > 1:
        raise ConfigurationError(
            "A target on Railway is one service, and services names several.",
            hint="Make a target of each; or put the variables among the environment's shared ones, and "
            "let the services refer to those.",
        )
    if several:
        return several[0]
    return options.text(
        name,
        hint=f"It is the {name}'s id: open the service in Railway's dashboard and copy it from the address.",
    )


def variables_of(
    values: Mapping[str, object], known: Mapping[str, Variable]
) -> dict[str, Variable]:
    """Put values and what else is known together; without Railway's own (``RAILWAY_...``).

    A sealed variable has no value, or is missing among the values altogether.
    """
    found: dict[str, Variable] = {}
    for name in sorted({*values, *(each for each, about in known.items() if about.sealed)}):
        if name.startswith("RAILWAY_"):
            continue
        value = values.get(name)
        about = known.get(name, Variable(name, None))
        text = value if isinstance(value, str) and not about.sealed else None
        found[name] = Variable(
            name,
            text,
            sealed=text is None,
            reference=about.reference or "${{" in (text or ""),
            changed_at=about.changed_at,
        )
    return found


def patch_of(change: Change, service: str) -> dict[str, object]:
    """Return the patch of an environment that a change is: ``null`` deletes."""
    variables: dict[str, object] = {
        name: {"value": value} for name, value in sorted(change.set.items())
    }
    variables |= dict.fromkeys(sorted(change.unset))
    return {"services": {service: {"variables": variables}}}


def pending_of(staged: Reading) -> str:
    """Say what is staged and not committed; empty where nothing is. Values stay out."""
    patch = staged["patch"].mapping()
    services = _part(patch, "services")
    names = {
        name for config in services.values() for name in _part(config, "variables")
    } | {f"shared.{name}" for name in _part(patch, "sharedVariables")}  # fmt: skip
    if staged["status"].found == "COMMITTED" or not any(patch.values()):
        return ""
    listed = f": {', '.join(sorted(names)[:5])}{' ...' if len(names) > 5 else ''}" if names else ""  # noqa: PLR2004
    count = len(services)
    return f"staged on Railway for {count} {'service' if count == 1 else 'services'}{listed}"


def deployments_of(nodes: Sequence[Reading]) -> list[Shown]:
    """Read deployments."""
    return [
        Shown(
            node["id"].text(),
            node["status"].text(),
            node["createdAt"].time(),
            bool(node.get("canRedeploy").found),
        )
        for node in nodes
    ]


def progress(shown: Shown, served: Served, *, follow: bool = True) -> Deployment:
    """Say how far a deployment is.

    One that was replaced is as far as the one that replaced it: that was made later, so it carries the same
    variables. One that serves beside the one before it is still under way.
    """
    latest = served.latest
    gone = shown.status in {"REMOVED", "REMOVING"}
    if follow and gone and latest and latest.id != shown.id and _later(latest, shown):
        newer = progress(latest, served, follow=False)
        return Deployment(
            newer.id,
            newer.progress,
            f"{newer.detail}; it replaced {shown.id}",
            newer.created_at,
        )
    state = _STATUSES.get(shown.status, Progress.HELD)
    detail = shown.status
    if shown.status not in _STATUSES:
        detail += ": a state that secops does not know; look in Railway's dashboard"
    elif shown.status in _WHY:
        detail += f": {_WHY[shown.status]}"
    if state is Progress.LIVE and served.active - {shown.id}:
        state = Progress.PENDING
        detail += ", and the one before it still serves"
    return Deployment(shown.id, state, detail, shown.at)


def commits(patches: Reading | None, message: str) -> Commit | None:
    """Find the newest patch with this message; ``None`` where the history has none or is not shown."""
    if patches is None:
        return None
    for edge in patches["edges"]:
        node = edge["node"]
        if node.get("message").found == message:
            return Commit(
                node["status"].found == "COMMITTED", str(node.get("lastAppliedError").found or "")
            )
    return None


def edits_of(patches: Reading, service: str, since: datetime) -> list[Edit]:
    """Read who changed variables of a service, or shared ones (``shared.NAME``), since then."""
    found: list[Edit] = []
    for edge in patches["edges"]:
        node = edge["node"]
        at = node["appliedAt"].time() or node["createdAt"].time()
        patch = node["patch"].mapping()
        own = _part(_part(patch, "services").get(service), "variables")
        names = {*own, *(f"shared.{name}" for name in _part(patch, "sharedVariables"))}
        if node["status"].found == "STAGED" or not names or (at is not None and at < since):
            continue
        who = node.get("appliedBy").found
        by = who if isinstance(who, Mapping) else {}
        found.append(
            Edit(
                str(by.get("email") or by.get("name") or "somebody"),
                at,
                str(node.get("message").found or ""),
                frozenset(names),
            )
        )
    return sorted(found, key=lambda each: each.at.timestamp() if each.at else 0, reverse=True)


def counts_of(results: Reading) -> list[Count]:
    """Read counts of requests by status."""
    return [
        Count(
            datetime.fromtimestamp(sample["ts"].number(), UTC),
            each["statusCode"].number(),
            sample["value"].number(),
        )
        for each in results
        for sample in each["samples"]
    ]


def _part(value: object, key: str) -> Mapping[str, object]:
    found = value.get(key) if isinstance(value, Mapping) else None
    return found if isinstance(found, Mapping) else {}


def _later(one: Shown, other: Shown) -> bool:
    return one.at is not None and other.at is not None and one.at > other.at


def _seconds(value: object) -> int:
    return value if isinstance(value, int) else 0
