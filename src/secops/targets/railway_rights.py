"""What a Railway token may do, found out without doing anything."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Final

from secops.durations import format_duration
from secops.errors import SecopsError
from secops.settings import Secret
from secops.targets.failures import NotAllowed
from secops.targets.railway_words import MEND, Served, deployments_of, pending_of, variables_of
from secops.targets.remote import Reading, granted
from secops.targets.target import Right, Variable

if TYPE_CHECKING:
    from secops.targets.railway_api import Api

_SEEN: Final = {
    "variables": "read the variables",
    "environment": "see which variables are sealed",
    "environmentStagedChanges": "see what is staged",
    "environmentPatches": "read who changed what",
    "deployments": "list deployments",
    "serviceInstance": "see what serves",
}
_WITHOUT: Final = {
    "environment": "A sealed variable is then known by its missing value alone, and a deployment is found by "
    "this machine's own record of when it wrote.",
    "environmentStagedChanges": "What a colleague has staged is then not seen.",
    "environmentPatches": "Who changed a variable is then not known.",
}


def examined(api: Api, kind: str, secret: Secret) -> list[Right]:
    """Ask for each thing that secops reads, and say what the answers mean.

    Args:
        api: Railway's API.
        kind: ``project`` or ``account``: how the token is sent.
        secret: The token, to try it the other way where it is refused.
    """
    found = [_token(api, kind, secret)]
    if found[0].allowed is False:
        return found
    answers: dict[str, Reading] = {}
    for part, what in _SEEN.items():
        error: SecopsError | None = None
        try:
            answers[part] = Reading("Railway", what, api.ask(part, what=what)[part])
        except NotAllowed as refusal:
            error = refusal
        right = granted(what, MEND, error)
        if error is not None and part in _WITHOUT:
            right = Right(
                what, allowed=False, detail=f"{right.detail}. {_WITHOUT[part]}", mend=MEND
            )
        found.append(right)
    return [*found, *_writes(answers), *_setup(api, answers)]


def _token(api: Api, kind: str, secret: Secret) -> Right:
    what = "be known to Railway"
    part = "projectToken" if kind == "project" else "me"
    try:
        answer = api.ask(part, what="say which token it is")
    except NotAllowed as error:
        return _other_way(api, kind, secret, error)
    if kind == "account":
        return Right(
            what, allowed=True, detail="an account's token, which may do what its owner may"
        )
    bound = Reading("Railway", what, answer["projectToken"])
    for key, name in (("projectId", "project"), ("environmentId", "environment")):
        if bound[key].text() != api.place[name]:
            return Right(
                what,
                allowed=False,
                detail=f"the token belongs to another {name} than the one that secops.yaml names",
                mend=f"Make a token in the {name} {api.place[name]}, or mend {name} in secops.yaml.",
            )
    return Right(what, allowed=True, detail="a project token, bound to this environment")


def _other_way(api: Api, kind: str, secret: Secret, error: SecopsError) -> Right:
    """Send the token as the other kind, once: the two need different headers."""
    what = "be known to Railway"
    if kind == "account":
        # A workspace's token is none of a person's: it may not ask who it is, and may do the rest.
        try:
            api.ask("variables", what="read the variables")
        except NotAllowed:
            pass
        else:
            return Right(what, allowed=True, detail="a workspace's token")
    other = "account" if kind == "project" else "project"
    names = {"project": "Project-Access-Token", "account": "Authorization"}
    held: dict[str, str | Secret] = {
        "project": secret,
        "account": Secret(f"Bearer {secret.reveal()}"),
    }
    api.http.drop(names[kind])
    api.http.header(names[other], held[other])
    try:
        api.ask("variables", what="read the variables")
    except SecopsError:
        return granted(what, MEND, error)
    finally:
        api.http.drop(names[other])
        api.http.header(names[kind], held[kind])
    article = "an account or workspace" if other == "account" else "a project"
    return Right(
        what,
        allowed=False,
        detail=f"it is {article} token, and is sent as a token of the other kind",
        mend=f"Set token_kind: {other} in secops.yaml.",
    )


def _writes(answers: dict[str, Reading]) -> list[Right]:
    """Writing cannot be tried without writing; what stands in its way can be seen."""
    found = [
        Right(
            "commit changes of variables",
            allowed=None,
            detail="shows at the first write; a refused one writes nothing",
            mend=MEND,
        )
    ]
    if "deployments" in answers:
        listed = deployments_of([edge["node"] for edge in answers["deployments"]["edges"]])
        good = [each for each in listed if each.status in {"SUCCESS", "SLEEPING"}]
        can = bool(good) and good[0].can_redeploy
        found.append(
            Right(
                "redeploy the service",
                allowed=None if can else False,
                detail="" if can else "there is no deployment that Railway can start again",
                mend="" if can else "Deploy the service once in Railway's dashboard.",
            )
        )
    if "environmentStagedChanges" in answers:
        pending = pending_of(answers["environmentStagedChanges"])
        if pending:
            found.append(
                Right(
                    "write without shipping what others staged",
                    allowed=False,
                    detail=pending,
                    mend="Commit or discard what is staged in Railway's dashboard.",
                )
            )
    return found


def _setup(api: Api, answers: dict[str, Reading]) -> list[Right]:
    """Say of the service's own settings what a rollout leans on."""
    found = [_restorable(api, answers)] if "variables" in answers else []
    if "serviceInstance" not in answers:
        return found
    served = Served.read(answers["serviceInstance"])
    found.append(
        Right(
            "tell a healthy deployment", allowed=True, detail=f"health check {served.healthcheck}"
        )
        if served.healthcheck
        else Right(
            "tell a healthy deployment",
            allowed=False,
            detail="the service has no health check: a deployment counts as live once it runs",
            mend="Set a health check path in the service's settings (Deploy > Healthcheck Path).",
        )
    )
    quiet = served.overlap > 0
    spans = f"overlap {_span(served.overlap)}, draining {_span(served.draining)}"
    found.append(
        Right(
            "replace a deployment without a gap",
            allowed=quiet,
            detail=spans if quiet else f"{spans}: the old one ends when the new one starts",
            mend=""
            if quiet
            else "Set RAILWAY_DEPLOYMENT_OVERLAP_SECONDS on the service, to 20 for example.",
        )
    )
    return found


def _restorable(api: Api, answers: dict[str, Reading]) -> Right:
    known = {
        node["name"].text(): Variable(
            node["name"].text(), None, sealed=bool(node["isSealed"].found)
        )
        for edge in (
            answers["environment"]["variables"]["edges"] if "environment" in answers else ()
        )
        for node in [edge["node"]]
        if node["serviceId"].found == api.place["service"]
    }
    values = variables_of(answers["variables"].mapping(), known)
    sealed = sorted(name for name, each in values.items() if each.sealed)
    what = "read each variable back"
    if not sealed:
        return Right(what, allowed=True, detail=f"{len(values)} variables, none sealed")
    return Right(
        what,
        allowed=None,
        detail=f"{len(sealed)} of {len(values)} are sealed: {', '.join(sealed)}",
        mend="Leave sealed variables out of profiles, or give the value to restore.",
    )


def _span(seconds: float) -> str:
    return format_duration(timedelta(seconds=seconds))
