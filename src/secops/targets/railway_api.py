"""Asking Railway's GraphQL API: which questions secops has, and what a refusal means.

The interface is that of the published schema (``railwayapp/cli``, MIT); error texts are those that Railway's
own command line looks for. A query is put together of parts, so that a token which may not see one of
them still sees the others.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Final

from secops.errors import Conflict, OutcomeUnknown, SecopsError, Unreachable
from secops.targets.failures import Misunderstood, NoSuchPlace, NotAllowed
from secops.targets.http import Call

if TYPE_CHECKING:
    from secops.targets.http import Http

_DEPLOYMENT: Final = "id status createdAt canRedeploy"

PARTS: Final[Mapping[str, str]] = {
    "variables": (
        "variables(projectId: $project, environmentId: $environment, serviceId: $service, "
        "unrendered: true)"
    ),
    "environment": (
        "environment(id: $environment) { configEtag variables(first: 100, after: $after) { "
        "edges { node { name isSealed serviceId references updatedAt } } "
        "pageInfo { hasNextPage endCursor } } }"
    ),
    "environmentStagedChanges": (
        "environmentStagedChanges(environmentId: $environment) "
        "{ status patch(decryptVariables: false) }"
    ),
    "environmentPatches": (
        "environmentPatches(environmentId: $environment, first: 20) { edges { node { status message "
        "createdAt appliedAt lastAppliedError appliedBy { email name } "
        "patch(decryptVariables: false) } } }"
    ),
    "deployments": (
        "deployments(first: 20, input: {projectId: $project, environmentId: $environment, "
        f"serviceId: $service}}) {{ edges {{ node {{ {_DEPLOYMENT} }} }} }}"
    ),
    "deployment": f"deployment(id: $id) {{ {_DEPLOYMENT} }}",
    "serviceInstance": (
        "serviceInstance(environmentId: $environment, serviceId: $service) { serviceName "
        "healthcheckPath numReplicas overlapSeconds drainingSeconds "
        f"activeDeployments {{ id }} latestDeployment {{ {_DEPLOYMENT} }} }}"
    ),
    "projectToken": "projectToken { projectId environmentId }",
    "me": "me { id }",
    "httpMetricsGroupedByStatus": (
        "httpMetricsGroupedByStatus(environmentId: $environment, serviceId: $service, "
        "startDate: $since, endDate: $until, stepSeconds: $step, path: $path, method: $method) "
        "{ statusCode samples { ts value } }"
    ),
}
"""What can be asked, by the field that answers it."""

MUTATIONS: Final[Mapping[str, str]] = {
    "environmentPatchCommit": (
        "environmentPatchCommit(environmentId: $environment, patch: $patch, commitMessage: $message)"
    ),
    "environmentStageChanges": (
        "environmentStageChanges(environmentId: $environment, input: $staged, merge: true) "
        "{ patch(decryptVariables: false) }"
    ),
    "environmentPatchCommitStaged": (
        "environmentPatchCommitStaged(environmentId: $environment, commitMessage: $message, "
        "skipDeploys: true)"
    ),
    "environmentApplyChangeSet": (
        "environmentApplyChangeSet(environmentId: $environment, input: $changes, "
        "baseConfigEtag: $etag, commitMessage: $message, waitForCompletion: true) "
        "{ status deploymentId diagnostics }"
    ),
    "variableCollectionUpsert": "variableCollectionUpsert(input: $upsert)",
    "variableDelete": "variableDelete(input: $delete)",
    "deploymentRedeploy": "deploymentRedeploy(id: $id) { id }",
}
"""What can be changed, by the field that does it."""

_TYPES: Final = {
    "project": "String!", "environment": "String!", "service": "String!", "id": "String!",
    "after": "String", "message": "String", "etag": "String", "path": "String", "method": "String",
    "step": "Int", "since": "DateTime!", "until": "DateTime!", "changes": "JSON!",
    "patch": "EnvironmentConfig!", "staged": "EnvironmentConfig!", "upsert": "VariableCollectionUpsertInput!",
    "delete": "VariableDeleteInput!",
}  # fmt: skip

_REFUSALS: Final = ("not authorized", "unauthorized", "project token not found", "invalid token")
_TWO_FACTOR: Final = "two factor authentication required"

Answer = Mapping[str, object]


def document(kind: str, selections: Collection[str]) -> str:
    """Return a document that asks for these selections, declaring the variables that they use."""
    used = sorted({name for each in selections for name in re.findall(r"\$(\w+)", each)})
    declared = ", ".join(f"${name}: {_TYPES[name]}" for name in used)
    return f"{kind} Secops{f'({declared})' if declared else ''} {{ {' '.join(selections)} }}"


class Api:
    """Railway's API, with one place in it.

    Args:
        http: Where to send requests.
        place: The ids of project, environment and service, as variables of the documents.
        mend: Where to get a token that may do what was refused.
    """

    def __init__(self, http: Http, place: Mapping[str, str], mend: str) -> None:
        self.http = http
        self.place = dict(place)
        self.mend = mend
        self.refused: set[str] = set()
        """Parts that the token may not see."""

    def ask(
        self, *parts: str, what: str, optional: Collection[str] = (), **variables: object
    ) -> Answer:
        """Ask for parts in one request; where it is refused, for each alone.

        Args:
            parts: Keys of :data:`PARTS`.
            what: What is asked, after "to", for errors.
            optional: Those that may be refused; they are then missing from the answer, and are not
                asked for again.
            variables: Beside the ids of the place.

        Raises:
            NotAllowed: A part that is not optional was refused.
            NoSuchPlace: One of the ids names nothing.
            Unreachable: There was no answer.
            Misunderstood: The API is not the one that secops knows.
        """
        wanted = [each for each in parts if each not in self.refused or each not in optional]
        try:
            return self._sent("query", {each: PARTS[each] for each in wanted}, what, variables)
        except NotAllowed:
            if len(wanted) == 1:
                raise
        found: dict[str, object] = {}
        for each in wanted:
            try:
                found |= self._sent("query", {each: PARTS[each]}, what, variables)
            except NotAllowed:
                if each not in optional:
                    raise
                self.refused.add(each)
        return found

    def change(self, mutation: str, *, what: str, **variables: object) -> object:
        """Send a mutation, once, and return what its field answers.

        Raises:
            Conflict: The environment changed since the etag that it carries.
            NotAllowed: The token may not do that; nothing was written.
            OutcomeUnknown: There was no answer, or an error that does not say what was done.
            Unreachable: It was not sent.
            Misunderstood: The API does not know the mutation; nothing was written.
        """
        answer = self._sent("mutation", {mutation: MUTATIONS[mutation]}, what, variables)
        return answer[mutation]

    def _sent(
        self, kind: str, selections: Mapping[str, str], what: str, variables: Mapping[str, object]
    ) -> Answer:
        changes = kind == "mutation"
        text = document(kind, selections.values())
        known = {**self.place, **variables}
        used = {name: known.get(name) for name in re.findall(r"\$(\w+):", text)}
        call = Call(
            "POST",
            "",
            what,
            right=self.mend,
            changes=changes,
            json={"query": text, "variables": used, "operationName": "Secops"},
            accept=(400, 404),
        )
        reply = self.http.send(call)
        body = reply.body if isinstance(reply.body, dict) else {}
        errors = body.get("errors")
        if reply.status >= 400 or errors:  # noqa: PLR2004
            raise self._failure(call, reply.status, errors)
        data = body.get("data")
        if not isinstance(data, dict) or any(data.get(each) is None for each in selections):
            raise _unreadable(call)
        return data

    def _failure(self, call: Call, status: int, errors: object) -> SecopsError:
        first = errors[0] if isinstance(errors, list) and errors else {}
        first = first if isinstance(first, dict) else {}
        said = self.http.harmless(str(first.get("message") or f"HTTP {status}"))
        extensions = first.get("extensions")
        code = extensions.get("code") if isinstance(extensions, dict) else None
        if code == "STALE_ENVIRONMENT_BASE":
            return Conflict(
                "Somebody changed the environment on Railway since it was read.",
                hint="Nothing was written. Look at what changed, then run the command again.",
            )
        low = said.lower()
        if _TWO_FACTOR in low:
            return NotAllowed(
                f"The token may not {call.what}: the workspace asks for two-factor authentication.",
                hint="Nothing was changed. Switch it on for the account that made the token, at "
                "https://railway.com/account/security.",
            )
        if any(each in low for each in _REFUSALS):
            return self.http.refused(call)
        if status >= 400 or code == "GRAPHQL_VALIDATION_FAILED":  # noqa: PLR2004
            return _unknown(call, status, said)
        return _failed(call, said)


def _unknown(call: Call, status: int, said: str) -> SecopsError:
    if status == 404:  # noqa: PLR2004
        return Misunderstood(
            "There is no GraphQL API at the address of Railway.", hint="Mend url in secops.yaml."
        )
    return Misunderstood(
        f"Railway's API no longer knows how secops asks to {call.what}: {said}.",
        hint="Nothing was changed. Update secops; if it is the newest, report this.",
    )


def _failed(call: Call, said: str) -> SecopsError:
    """Say what an error means that came with HTTP 200: the request was understood, and tried."""
    if call.changes:
        return OutcomeUnknown(
            f"Railway reports an error on the request to {call.what}: {said}.",
            hint="It may have been done, or by half; nothing is sent twice.",
        )
    if "not found" in said.lower():
        return NoSuchPlace(
            f"Railway does not know what secops.yaml names: {said}.",
            hint="Copy the ids of project, environment and service from the service's address in "
            "Railway's dashboard; names do not work.",
        )
    return Unreachable(
        f"Railway cannot be asked to {call.what}: {said}.",
        hint="Nothing was changed. Try again; https://status.railway.com tells of outages.",
    )


def _unreadable(call: Call) -> SecopsError:
    if call.changes:
        return OutcomeUnknown(
            f"Railway's answer to the request to {call.what} cannot be understood.",
            hint="It may have been done; nothing is sent twice.",
        )
    return Misunderstood(
        f"Railway's answer to the request to {call.what} cannot be understood.",
        hint="Nothing was changed. Update secops; if it is the newest, report this.",
    )
