"""The targets of ``secops.yaml``: can they be opened, and what do their credentials allow?

Nothing is contacted where no target is described.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from secops.doctor.check import Need, Patient, Result, Status, check, ok, skipped
from secops.errors import SecopsError, Unreachable
from secops.targets.open import open_target, places

if TYPE_CHECKING:
    from collections.abc import Sequence

    from secops.targets.target import Place, Right, Target

_NONE: Final = "secops.yaml describes no target"
_PATIENCE: Final = timedelta(seconds=5)
"""How long to wait for a reply, and where a service asks to come back later; a rollout waits longer."""


@check("targets", "Targets", needs=Need.NOTHING)
def described(patient: Patient) -> Result:
    """Read what is said of each target, and find its token; nothing is contacted."""
    found = places(patient.settings)
    if not found:
        return skipped(_NONE)
    broken = [
        error for place in found for error in [_opened(patient, place)[1]] if error is not None
    ]
    if broken:
        mend = "\n".join(dict.fromkeys(each.hint for each in broken if each.hint))
        evidence = "; ".join(each.message.rstrip(".") for each in broken)
        return Result(Status.FAIL, evidence, mend)
    return ok(", ".join(f"{place.name} ({place.kind})" for place in found))


@check("target-rights", "Rights on the targets", needs=Need.NOTHING)
def allowed(patient: Patient) -> Result:
    """Ask each target what its credentials may do; that changes nothing there."""
    found = places(patient.settings)
    if not found:
        return skipped(_NONE)
    looked = [
        _looked(place, target)
        for place in found
        for target in [_opened(patient, place)[0]]
        if target is not None
    ]
    if not looked:
        return skipped("no target can be opened")
    worst = max((each.status for each in looked), key=_SEVERITY.index)
    mends = [line for each in looked for line in each.mend.splitlines()]
    return Result(
        worst, "; ".join(each.evidence for each in looked), "\n".join(dict.fromkeys(mends))
    )


_SEVERITY: Final = (Status.SKIPPED, Status.OK, Status.WARN, Status.FAIL)


def _opened(patient: Patient, place: Place) -> tuple[Target | None, SecopsError | None]:
    try:
        return open_target(place, patient.settings.environ), None
    except SecopsError as error:
        return None, error


def _looked(place: Place, target: Target) -> Result:
    http = getattr(target, "http", None)
    if http is not None:
        http.patience = min(http.patience, _PATIENCE)
        http.timeout = min(http.timeout, _PATIENCE)
    try:
        rights = target.rights()
    except Unreachable as error:
        # The hint names a host, and people paste this in public.
        mend = "Look whether the platform's API can be reached from here, and try again."
        return Result(Status.FAIL, f"{place.name}: {error.message.rstrip('.')}", mend)
    except SecopsError as error:
        return Result(Status.FAIL, f"{place.name}: {error.message.rstrip('.')}", error.hint)
    finally:
        if http is not None:
            http.close()
    return _judged(place, rights)


def _judged(place: Place, rights: Sequence[Right]) -> Result:
    lacking = [each for each in rights if each.allowed is False]
    unknown = [each for each in rights if each.allowed is None]
    noted = [
        f"{each.what}: {each.detail}" for each in rights if each.detail and each not in lacking
    ]
    if lacking:
        said = "; ".join(f"cannot {each.what}{_why(each)}" for each in lacking)
        mend = "\n".join(dict.fromkeys(each.mend for each in lacking if each.mend))
        # What comes first is what all else stands on: to be known, to read.
        first = rights[0].allowed is False
        return Result(Status.FAIL if first else Status.WARN, f"{place.name} {said}", mend)
    count = len(rights) - len(unknown)
    said = f"{place.name} may do {'all' if not unknown else count} of {len(rights)} things asked"
    return ok(f"{said} ({'; '.join(noted)})" if noted else said)


def _why(right: Right) -> str:
    return f" ({right.detail})" if right.detail else ""
