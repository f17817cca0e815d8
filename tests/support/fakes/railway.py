"""Railway's GraphQL API: documents and variables are validated against the interface's own types."""

# ruff: noqa: N802, N803  the interface's own names
from __future__ import annotations

import copy
import itertools
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Final

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLScalarType,
    GraphQLSchema,
    OperationDefinitionNode,
    build_schema,
    execute_sync,
    parse,
    validate,
)

from support.fakes.server import Answer, Fake, Request, timestamp

SDL: Final = Path(__file__).with_name("railway.graphql")
PROJECT: Final = "11111111-0000-4000-8000-00000000p001"
ENVIRONMENT: Final = "11111111-0000-4000-8000-00000000e001"
SERVICE: Final = "11111111-0000-4000-8000-00000000s001"
OTHER: Final = "11111111-0000-4000-8000-00000000s002"
UNDER_WAY: Final = {"BUILDING", "DEPLOYING", "INITIALIZING", "QUEUED", "WAITING", "NEEDS_APPROVAL"}
_KINDS: Final = {
    "variables": "read",
    "environment": "read",
    "environmentStagedChanges": "read",
    "environmentPatchCommit": "write",
    "environmentPatchCommitStaged": "write",
    "environmentStageChanges": "write",
    "environmentApplyChangeSet": "write",
    "variableCollectionUpsert": "write",
    "variableDelete": "write",
    "deploymentRedeploy": "deploy",
    "deployment": "status",
    "deployments": "status",
    "serviceInstance": "status",
    "environmentPatches": "history",
}


def _environment_variables(value: Any) -> Any:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise GraphQLError("EnvironmentVariables must be a map of text to text")
    return value


def _environment_config(value: Any) -> Any:
    """The part of the configuration that secops writes; anything else is refused here."""
    if not isinstance(value, dict) or set(value) - {"services", "sharedVariables"}:
        raise GraphQLError("EnvironmentConfig must hold services or sharedVariables")
    for service, config in value.get("services", {}).items():
        if not re.fullmatch(r"[0-9a-z-]{36}", service):
            raise GraphQLError(f"{service} is no id of a service")
        if not isinstance(config, dict) or set(config) != {"variables"}:
            raise GraphQLError("a service's configuration must hold variables")
        _variables(config["variables"])
    _variables(value.get("sharedVariables", {}))
    return value


def _variables(value: Any) -> None:
    if not isinstance(value, dict):
        raise GraphQLError("variables must be a map")
    for name, held in value.items():
        right = held is None or (
            isinstance(held, dict) and set(held) == {"value"} and isinstance(held["value"], str)
        )
        if not right:
            raise GraphQLError(f"the variable {name} must be {{value: text}} or null")


def _date_time(value: Any) -> Any:
    if not isinstance(value, str) or datetime.fromisoformat(value).tzinfo is None:
        raise GraphQLError("DateTime must be ISO 8601 with a time zone")
    return value


@cache
def schema() -> GraphQLSchema:
    built = build_schema(SDL.read_text())
    for name, check in {
        "EnvironmentVariables": _environment_variables,
        "EnvironmentConfig": _environment_config,
        "DateTime": _date_time,
    }.items():
        scalar = built.type_map[name]
        assert isinstance(scalar, GraphQLScalarType)
        scalar.parse_value = check  # type: ignore[method-assign]  # a built schema gets its scalars so
    return built


@cache
def checked(document: str) -> tuple[DocumentNode | None, tuple[str, ...], tuple[str, ...]]:
    """Parse and validate a document: it, the complaints, its root fields."""
    try:
        parsed = parse(document)
    except GraphQLError as error:
        return None, (error.message,), ()
    errors = tuple(each.message for each in validate(schema(), parsed))
    roots = tuple(
        selected.name.value
        for definition in parsed.definitions
        if isinstance(definition, OperationDefinitionNode)
        for selected in definition.selection_set.selections
        if isinstance(selected, FieldNode)
    )
    return parsed, errors, roots


@dataclass
class Held:
    value: str
    updated: datetime
    sealed: bool = False
    id: str = ""


@dataclass
class Deployed:
    id: str
    status: str
    created: datetime
    carries: dict[str, str]
    replaces: list[Deployed] = field(default_factory=list)
    hidden: int = 0


class FakeRailway(Fake):
    """One project, one environment, two services, of which the first is ours.

    ``FakeRailway(variables, shared=..., sealed=..., token_kind="project"|"account")``; ``denied`` holds
    names of GraphQL fields that the token may not use; ``limit`` is how many requests are still allowed
    before 429; ``appears_after`` hides a new deployment from so many looks; ``overlap`` keeps the old
    deployment serving beside a new one until
    ``drain()``; ``asynchronous`` leaves patches APPLYING for one look.
    """

    kind: ClassVar[str] = "railway"
    token_env: ClassVar[str] = "RAILWAY_TOKEN"

    def start(
        self,
        variables: dict[str, str],
        *,
        shared: Mapping[str, str] | None = None,
        sealed: Mapping[str, str] | None = None,
        token_kind: str = "project",
        **more: Any,
    ) -> None:
        assert not more, more
        self._ids = itertools.count(1)
        moment = self.now()
        self.services: dict[str, dict[str, Held]] = {
            SERVICE: {name: Held(value, moment) for name, value in variables.items()},
            OTHER: {"OTHERS": Held("untouched", moment)},
        }
        for name, value in (sealed or {}).items():
            self.services[SERVICE][name] = Held(value, moment, sealed=True)
        self.shared = {name: Held(value, moment) for name, value in (shared or {}).items()}
        self.token_kind = token_kind
        self.denied: set[str] = set()
        self.limit: int | None = None
        self.appears_after = 0
        self.overlap = False
        self.asynchronous = False
        self.applying: dict[str, Any] | None = None
        self.can_redeploy = True
        self.healthcheck: str | None = "/healthz"
        self.statuses: dict[str, dict[int, int]] = {}
        self.version = 1
        self.patches: list[dict[str, Any]] = []
        self.staged: dict[str, Any] = {}
        self.deployments: list[Deployed] = [
            Deployed(self._id("d"), "SUCCESS", moment, self.variables)
        ]
        self.writes: list[dict[str, Any]] = []

    def options(self) -> dict[str, object]:
        return {
            "project": PROJECT, "environment": ENVIRONMENT, "service": SERVICE,
            "token_kind": self.token_kind,
        }  # fmt: skip

    @property
    def variables(self) -> dict[str, str]:
        return {name: held.value for name, held in self.services[SERVICE].items()}

    @property
    def running(self) -> dict[str, str]:
        """The variables of the process that serves: those of the newest deployment that went live."""
        return next(each.carries for each in self.deployments if each.status == "SUCCESS")

    def edit(
        self,
        set: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        who: str = "mallory@example.com",
        message: str = "",
    ) -> None:
        variables: dict[str, Any] = {name: {"value": value} for name, value in (set or {}).items()}
        variables |= dict.fromkeys(unset)
        with self.lock:
            patch = {"services": {SERVICE: {"variables": variables}}}
            self._apply(patch, who=who, message=message)
            self._deploy(ours=False)

    def stage(self, service: str = OTHER, **variables: str) -> None:
        """Stage an edit as a colleague would, without committing it."""
        changes = {name: {"value": value} for name, value in variables.items()}
        self.staged = {"services": {service: {"variables": changes}}}

    def finish(self, outcome: str = "live") -> None:
        with self.lock:
            for each in reversed(self.deployments):
                if each.status in UNDER_WAY:
                    self._settle(each, "SUCCESS" if outcome == "live" else outcome)

    def drain(self) -> None:
        """Let the deployments that newer ones replaced go."""
        newest = next(each for each in self.deployments if each.status == "SUCCESS")
        for old in newest.replaces:
            old.status = "REMOVED"

    def sort(self, request: Request) -> str:
        _, _, roots = checked(str((request.body or {}).get("query", "")))
        kinds = [_KINDS.get(each, "rights") for each in roots]
        return "read" if "variables" in roots else (kinds or ["rights"])[0]

    def failure(self, status: int, message: str) -> Any:  # noqa: ARG002  only its words
        return {"errors": [{"message": message}]}

    def handle(self, request: Request, *, half: bool) -> Answer:
        if request.path != "/graphql/v2" or request.method != "POST":
            return Answer(404, self.failure(404, "Not Found"))
        if self.limit is not None:
            if self.limit <= 0:
                headers = {"Retry-After": "3", "X-RateLimit-Remaining": "0"}
                return Answer(429, self.failure(429, "Rate limited"), headers)
            self.limit -= 1
        body = request.body
        document, errors, roots = checked(body.get("query", ""))
        if document is None or errors:
            return Answer(400, {"errors": [{"message": each} for each in errors]})
        kind = "account" if "authorization" in request.headers else "project"
        given = request.headers.get("project-access-token") or request.headers.get(
            "authorization", ""
        ).removeprefix("Bearer ")
        if given != self.token or kind != self.token_kind:
            return Answer(200, self.failure(200, "Not Authorized"))
        if refused := [each for each in roots if each in self.denied or self._hers(each)]:
            return Answer(
                200, {"data": None, "errors": [{"message": "Not Authorized", "path": refused}]}
            )
        result = execute_sync(
            schema(),
            document,
            {name: _called(getattr(self, f"on_{name}"), half) for name in roots},
            variable_values=body.get("variables"),
            operation_name=body.get("operationName"),
        )
        answer: dict[str, Any] = {"data": result.data}
        if result.errors:
            answer["errors"] = [
                {"message": each.message, "extensions": each.extensions or {}}
                for each in result.errors
            ]
        return Answer(200, answer)

    def _hers(self, root: str) -> bool:
        return root == ("me" if self.token_kind == "project" else "projectToken")

    # Queries.

    def on_projectToken(self, **_: Any) -> Any:
        return {"id": "t1", "projectId": PROJECT, "environmentId": ENVIRONMENT}

    def on_me(self, **_: Any) -> Any:
        return {"id": "u1"}

    def on_variables(
        self, serviceId: str | None = None, unrendered: bool = False, **where: str
    ) -> Any:
        self._there(serviceId, **where)
        held = self.shared if serviceId is None else self.services[serviceId]
        own: dict[str, str | None] = {
            name: None if each.sealed else each.value if unrendered else self._rendered(each.value)
            for name, each in held.items()
        }
        system = {"RAILWAY_ENVIRONMENT_ID": ENVIRONMENT, "RAILWAY_SERVICE_NAME": "api"}
        return {**own, **(system if serviceId else {})}

    def on_environment(self, id: str, **_: Any) -> Any:
        self._there(None, environmentId=id)
        return {
            "id": id, "name": "production", "configEtag": f"etag-{self.version}",
            "variables": self._listed,
        }  # fmt: skip

    def _listed(self, _: Any, first: int = 100, after: str | None = None) -> Any:
        everything = [
            {
                "id": f"v-{service}-{name}", "name": name, "isSealed": each.sealed,
                "serviceId": service, "updatedAt": timestamp(each.updated),
                "references": re.findall(r"\$\{\{\s*([^}]+?)\s*\}\}", each.value),
            }
            for service, held in [(None, self.shared), *self.services.items()]
            for name, each in sorted(held.items())
        ]  # fmt: skip
        begin = int(after) if after else 0
        page = everything[begin : begin + min(first, 100)]
        end = begin + len(page)
        return {
            "edges": [{"node": each} for each in page],
            "pageInfo": {"hasNextPage": end < len(everything), "endCursor": str(end)},
        }

    def on_environmentStagedChanges(self, environmentId: str) -> Any:
        self._there(None, environmentId=environmentId)
        return self._patch(self.staged, "STAGED", "", None)

    def on_environmentPatches(self, environmentId: str, first: int = 50) -> Any:
        self._there(None, environmentId=environmentId)
        if self.applying is not None:
            now, self.applying = self.applying, None
            now["status"], now["appliedAt"] = "COMMITTED", timestamp(self.now())
        return {"edges": [{"node": each} for each in self.patches[:first]]}

    def on_deployment(self, id: str) -> Any:
        for each in self.deployments:
            if each.id == id:
                return self._shown(each)
        raise GraphQLError("Deployment not found")

    def on_deployments(self, input: Mapping[str, Any], first: int = 20, **_: Any) -> Any:
        wanted = (input.get("status") or {}).get("in")
        seen = []
        for each in self.deployments:
            if each.hidden > 0:
                each.hidden -= 1
            elif wanted is None or each.status in wanted:
                seen.append(each)
        return {"edges": [{"node": self._shown(each)} for each in seen[:first]]}

    def on_serviceInstance(self, serviceId: str, environmentId: str) -> Any:
        self._there(serviceId, environmentId=environmentId)
        shown = [each for each in self.deployments if each.hidden <= 0]
        return {
            "id": "i1", "serviceName": "api", "healthcheckPath": self.healthcheck, "numReplicas": 2,
            "overlapSeconds": 10, "drainingSeconds": 5, "latestDeployment": self._shown(shown[0]),
            "activeDeployments": [self._shown(each) for each in shown if each.status == "SUCCESS"],
        }  # fmt: skip

    def on_httpMetricsGroupedByStatus(
        self,
        startDate: str,
        endDate: str,
        stepSeconds: int = 60,
        path: str | None = None,
        **_: Any,
    ) -> Any:
        """Spread each count evenly over the samples between the two times."""
        begin = int(datetime.fromisoformat(startDate).timestamp())
        until = int(datetime.fromisoformat(endDate).timestamp())
        times = range(begin, until, stepSeconds) or [begin]
        return [
            {
                "statusCode": status,
                "samples": [
                    {"ts": ts, "value": count // len(times) + (n < count % len(times))}
                    for n, ts in enumerate(times)
                ],
            }
            for status, count in self.statuses.get(path or "", {}).items()
        ]

    # Mutations.

    def on_environmentPatchCommit(
        self,
        environmentId: str,
        patch: dict[str, Any],
        commitMessage: str = "",
        half: bool = False,
    ) -> Any:
        self._there(None, environmentId=environmentId)
        self.writes.append(copy.deepcopy(patch))
        self._apply(patch, message=commitMessage, half=half)
        if not half:
            self._deploy()
        return self._id("workflow")

    def on_environmentStageChanges(
        self, environmentId: str, input: dict[str, Any], merge: bool = False, **_: Any
    ) -> Any:
        self._there(None, environmentId=environmentId)
        assert merge, "without merge it would throw away what a colleague staged"
        staged = copy.deepcopy(self.staged)
        for service, config in input.get("services", {}).items():
            staged.setdefault("services", {}).setdefault(service, {"variables": {}})[
                "variables"
            ] |= config["variables"]
        self.staged = staged
        return self._patch(staged, "STAGED", "", None)

    def on_environmentPatchCommitStaged(
        self,
        environmentId: str,
        commitMessage: str = "",
        skipDeploys: bool = False,
        half: bool = False,
    ) -> Any:
        self._there(None, environmentId=environmentId)
        patch, self.staged = self.staged, {}
        self.writes.append(copy.deepcopy(patch))
        self._apply(patch, message=commitMessage, half=half)
        if not skipDeploys and not half:
            self._deploy()
        return self._id("workflow")

    def on_environmentApplyChangeSet(
        self,
        environmentId: str,
        input: Mapping[str, Any],
        baseConfigEtag: str | None = None,
        commitMessage: str = "",
        half: bool = False,
        **_: Any,
    ) -> Any:
        self._there(None, environmentId=environmentId)
        if input.get("version") != 1:
            raise GraphQLError(f"Unsupported RailwayChangeSet version: {input.get('version')}")
        if baseConfigEtag is not None and baseConfigEtag != f"etag-{self.version}":
            raise GraphQLError(
                "The environment changed since this plan was computed.",
                extensions={"code": "STALE_ENVIRONMENT_BASE"},
            )
        variables: dict[str, Any] = {}
        for each in input["changes"]:
            if each["address"] != "service.api":
                raise GraphQLError(f"Unknown resource {each['address']}")
            if each["kind"] == "variable.set":
                assert set(each["after"]) == {"type", "value"}, each
                assert each["after"]["type"] == "literal", each
                variables[each["variable"]] = {"value": each["after"]["value"]}
            elif each["kind"] == "variable.delete":
                variables[each["variable"]] = None
            else:
                raise GraphQLError(f"Unknown change {each['kind']}")
        patch = {"services": {SERVICE: {"variables": variables}}}
        self.writes.append(patch)
        self._apply(patch, message=commitMessage, half=half)
        made = None if half else self._deploy()
        return {
            "id": "op", "status": "applied", "diagnostics": [],
            "deploymentId": made.id if made else None,
        }  # fmt: skip

    def on_variableCollectionUpsert(self, input: Mapping[str, Any], half: bool = False) -> Any:
        self._there(input.get("serviceId"), input["environmentId"], input["projectId"])
        assert not input.get("replace"), "replace removes what was not sent, sealed variables too"
        variables = {name: {"value": value} for name, value in input["variables"].items()}
        patch = {"services": {input["serviceId"]: {"variables": variables}}}
        self.writes.append(patch)
        self._apply(patch, half=half)
        if not input.get("skipDeploys") and not half:
            self._deploy()
        return True

    def on_variableDelete(self, input: Mapping[str, Any], **_: Any) -> Any:
        self._there(input.get("serviceId"), input["environmentId"], input["projectId"])
        patch = {"services": {input["serviceId"]: {"variables": {input["name"]: None}}}}
        self.writes.append(patch)
        self._apply(patch)
        self._deploy()
        return True

    def on_deploymentRedeploy(self, id: str, **_: Any) -> Any:
        if not self.can_redeploy or all(each.id != id for each in self.deployments):
            raise GraphQLError("Deployment cannot be redeployed")
        return self._shown(self._deploy())

    # State.

    def _there(
        self,
        serviceId: str | None,
        environmentId: str = ENVIRONMENT,
        projectId: str = PROJECT,
    ) -> None:
        if (environmentId, projectId) != (ENVIRONMENT, PROJECT):
            raise GraphQLError("Not Authorized")
        if serviceId is not None and serviceId not in self.services:
            raise GraphQLError("Service not found")

    def _apply(
        self,
        patch: Mapping[str, Any],
        *,
        who: str = "ci@example.com",
        message: str | None = "",
        half: bool = False,
    ) -> None:
        moment = self.now()
        for service, config in patch.get("services", {}).items():
            wanted = sorted(config["variables"].items())
            for name, change in wanted[: len(wanted) // 2] if half else wanted:
                held = self.services[service]
                if change is None:
                    held.pop(name, None)
                else:
                    sealed = name in held and held[name].sealed
                    held[name] = Held(change["value"], moment, sealed)
        for name, change in patch.get("sharedVariables", {}).items():
            self.shared[name] = Held(change["value"], moment)
        self.version += 1
        record = self._patch(dict(patch), "COMMITTED", message or "", who)
        if self.asynchronous:
            record["status"], record["appliedAt"] = "APPLYING", None
            self.applying = record
        self.patches.insert(0, record)

    def _patch(self, patch: dict[str, Any], status: str, message: str, who: str | None) -> Any:
        moment = timestamp(self.now())
        return {
            "id": self._id("p"), "status": status, "message": message, "createdAt": moment,
            "appliedAt": moment if who else None, "lastAppliedError": None, "patch": patch,
            "appliedBy": {"id": "u", "email": who, "name": who.partition("@")[0]} if who else None,
        }  # fmt: skip

    def _deploy(self, *, ours: bool = True) -> Deployed:
        made = Deployed(self._id("d"), "BUILDING", self.now(), self.variables)
        made.hidden = self.appears_after if ours else 0
        self.deployments.insert(0, made)
        if ours:
            self.deployed += 1
        if self.outcome != "slow":
            self._settle(made, "SUCCESS" if self.outcome == "live" else self.outcome)
        return made

    def _settle(self, made: Deployed, status: str) -> None:
        made.status = status
        if status != "SUCCESS":
            return
        older = self.deployments[self.deployments.index(made) + 1 :]
        for old in older:
            if old.status == "SUCCESS":
                made.replaces.append(old)
                if not self.overlap:
                    old.status = "REMOVED"

    def _shown(self, each: Deployed) -> Any:
        return {
            "id": each.id, "status": each.status, "createdAt": timestamp(each.created),
            "canRedeploy": self.can_redeploy,
        }  # fmt: skip

    def _rendered(self, value: str) -> str:
        return re.sub(
            r"\$\{\{\s*shared\.(\w+)\s*\}\}",
            lambda found: self.shared[found[1]].value if found[1] in self.shared else "",
            value,
        )

    def _id(self, prefix: str) -> str:
        return f"{prefix}-{next(self._ids):04d}"


def _called(method: Callable[..., Any], half: bool) -> Callable[..., Any]:
    def resolve(_: Any, **arguments: Any) -> Any:
        if half and "half" in method.__code__.co_varnames:
            arguments["half"] = True
        return method(**arguments)

    return resolve
