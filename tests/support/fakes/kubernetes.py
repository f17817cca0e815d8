"""A Kubernetes API server with one Deployment, its ConfigMap and its Secret."""

from __future__ import annotations

import base64
import binascii
import copy
import re
from collections.abc import Iterable, Mapping
from typing import Any, ClassVar

from support.fakes.server import Answer, Fake, Request, timestamp

NAMESPACE = "shop"
_CORE = f"/api/v1/namespaces/{NAMESPACE}"
_APPS = f"/apis/apps/v1/namespaces/{NAMESPACE}"


class FakeKubernetes(Fake):
    """``FakeKubernetes(variables, secrets={...})``; without ``secrets`` the target has no Secret.

    ``denied`` holds ``"verb resource"`` (``"patch configmaps"``) that the service account may not do.
    A merge patch that carries ``metadata.resourceVersion`` is refused with 409 where that is not the
    object's; ``immutable`` makes the ConfigMap so.
    """

    kind: ClassVar[str] = "kubernetes"
    token_env: ClassVar[str] = "KUBERNETES_TOKEN"

    def start(
        self, variables: dict[str, str], *, secrets: Mapping[str, str] | None = None, **more: Any
    ) -> None:
        assert not more, more
        self.denied: set[str] = set()
        self._version = 100
        self.config_map = self._object("ConfigMap", "api-env", data=dict(variables))
        self.secret: dict[str, Any] | None = None
        if secrets is not None:
            encoded = {name: _encode(value) for name, value in secrets.items()}
            self.secret = self._object("Secret", "api-secrets", data=encoded)
        sources = [{"configMapRef": {"name": "api-env"}}, {"secretRef": {"name": "api-secrets"}}]
        self.deployment = self._object(
            "Deployment",
            "api",
            spec={
                "replicas": 2,
                "template": {
                    "metadata": {"annotations": {"theirs": "kept"}},
                    "spec": {"containers": [{"name": "api", "envFrom": sources}]},
                },
            },
        )
        self.deployment["metadata"]["generation"] = 1
        self._running = self.variables
        self._carries = self.variables
        self._rolled(good=True)

    def options(self) -> dict[str, object]:
        given: dict[str, object] = {
            "namespace": NAMESPACE, "deployment": "api", "config_map": "api-env",
            "token_env": self.token_env,
        }  # fmt: skip
        return given | ({"secret": "api-secrets"} if self.secret is not None else {})

    @property
    def variables(self) -> dict[str, str]:
        held = {
            name: _decode(value) for name, value in (self.secret or {"data": {}})["data"].items()
        }
        return {**held, **self.config_map["data"]}

    @property
    def running(self) -> dict[str, str]:
        return self._running

    def edit(
        self,
        set: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        who: str = "kubectl-edit",
    ) -> None:
        with self.lock:
            changes = {"data": {**(set or {}), **dict.fromkeys(unset)}}
            self._merge(self.config_map, changes, who)

    def finish(self, outcome: str = "live") -> None:
        with self.lock:
            self._rolled(good=outcome == "live")

    def sort(self, request: Request) -> str:
        if "/deployments/" in request.path:
            return "status" if request.method == "GET" else "deploy"
        if "/configmaps/" in request.path or "/secrets/" in request.path:
            return "read" if request.method == "GET" else "write"
        return "rights"

    def failure(self, status: int, message: str) -> Any:
        reasons = {401: "Unauthorized", 403: "Forbidden", 404: "NotFound", 409: "Conflict"}
        return {
            "kind": "Status", "status": "Failure", "code": status, "message": message,
            "reason": reasons.get(status, "Invalid"),
        }  # fmt: skip

    def handle(self, request: Request, *, half: bool) -> Answer:
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._no(401, "Unauthorized")
        if request.path == "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews":
            return self._reviewed(request.body)
        found = re.fullmatch(rf"(?:{_CORE}|{_APPS})/(\w+)/([\w.-]+)", request.path)
        resource, name = found.groups() if found else ("?", "?")
        held = {
            "configmaps": self.config_map, "secrets": self.secret, "deployments": self.deployment,
        }.get(resource)  # fmt: skip
        verb = {"GET": "get", "PATCH": "patch"}.get(request.method, "?")
        if f"{verb} {resource}" in self.denied or verb == "?":
            message = f'{resource} "{name}" is forbidden: User "ci" cannot {verb} resource'
            return self._no(403, message)
        if held is None or held["metadata"]["name"] != name:
            return self._no(404, f'{resource} "{name}" not found')
        return self._patched(held, request, half) if verb == "patch" else Answer(200, held)

    def _reviewed(self, body: Any) -> Answer:
        asked = body["spec"]["resourceAttributes"]
        assert asked["namespace"] == NAMESPACE
        allowed = f"{asked['verb']} {asked['resource']}" not in self.denied
        return Answer(201, {**body, "status": {"allowed": allowed}})

    def _wrong(
        self, held: Mapping[str, Any], request: Request, wanted: str | None
    ) -> Answer | None:
        data = request.body.get("data", {})
        if request.headers.get("content-type") != "application/merge-patch+json":
            return self._no(415, "the body of the request was in an unknown format")
        if wanted is not None and wanted != held["metadata"]["resourceVersion"]:
            name = held["metadata"]["name"]
            return self._no(409, f'Operation cannot be fulfilled on "{name}": object was modified')
        if held.get("immutable") and data:
            return self._no(422, "data: Forbidden: field is immutable when `immutable` is set")
        for name, value in data.items():
            if not re.fullmatch(r"[-._a-zA-Z0-9]+", name):
                return self._no(422, f"data[{name}]: Invalid value")
            if held["kind"] == "Secret" and not _is_base64(value):
                return self._no(400, "illegal base64 data")
        return None

    def _patched(self, held: dict[str, Any], request: Request, half: bool) -> Answer:
        patch = copy.deepcopy(request.body)
        wrong = self._wrong(held, request, patch.get("metadata", {}).pop("resourceVersion", None))
        if wrong is not None:
            return wrong
        if half and "data" in patch:
            patch["data"] = dict(sorted(patch["data"].items())[: len(patch["data"]) // 2])
        before = held["spec"]["template"] if held["kind"] == "Deployment" else None
        self._merge(held, patch, request.query.get("fieldManager", "unknown"))
        if held["kind"] == "Deployment" and held["spec"]["template"] != before:
            held["metadata"]["generation"] += 1
            self._carries = self.variables
            self.deployed += 1
            if self.outcome == "slow":
                held["status"] |= {"replicas": 3, "updatedReplicas": 1, "availableReplicas": 2}
                held["status"]["observedGeneration"] = held["metadata"]["generation"]
            elif self.outcome != "unseen":
                self._rolled(good=self.outcome == "live")
        return Answer(200, held)

    def _no(self, status: int, message: str) -> Answer:
        return Answer(status, self.failure(status, message))

    def _object(self, kind: str, name: str, **body: Any) -> dict[str, Any]:
        self._version += 1
        metadata = {
            "name": name, "namespace": NAMESPACE, "resourceVersion": str(self._version),
            "managedFields": [],
        }  # fmt: skip
        return {"kind": kind, "metadata": metadata, **body}

    def _merge(self, held: dict[str, Any], patch: Mapping[str, Any], manager: str) -> None:
        before = _merged(held, {})
        held.update(_merged(held, patch))
        if held["kind"] != "Deployment":
            held.setdefault("data", {})
        if held == before:
            return
        self._version += 1
        held["metadata"]["resourceVersion"] = str(self._version)
        fields: Any = {f"f:{key}": {f"f:{name}": {} for name in patch[key]} for key in patch}
        managed = held["metadata"]["managedFields"]
        managed[:] = [each for each in managed if each["manager"] != manager]
        moment = timestamp(self.now())[:19] + "Z"  # Kubernetes keeps whole seconds
        managed.append(
            {"manager": manager, "operation": "Update", "time": moment, "fieldsV1": fields}
        )

    def _rolled(self, *, good: bool) -> None:
        metadata, spec = self.deployment["metadata"], self.deployment["spec"]
        count = spec["replicas"]
        progressing = {
            "type": "Progressing", "status": "True" if good else "False",
            "reason": "NewReplicaSetAvailable" if good else "ProgressDeadlineExceeded",
            "message": "" if good else 'ReplicaSet "api-2" has timed out progressing.',
        }  # fmt: skip
        self.deployment["status"] = {
            "observedGeneration": metadata["generation"], "conditions": [progressing],
            "replicas": count if good else count + 1, "updatedReplicas": count if good else 1,
            "availableReplicas": count,
        }  # fmt: skip
        if good:
            self._running = self._carries


def _merged(held: Any, patch: Any) -> Any:
    """Apply a merge patch (RFC 7396)."""
    if not isinstance(patch, Mapping):
        return patch
    made = copy.deepcopy(held) if isinstance(held, dict) else {}
    for key, each in patch.items():
        if each is None:
            made.pop(key, None)
        else:
            made[key] = _merged(made.get(key), each)
    return made


def _is_base64(value: str | None) -> bool:
    try:
        base64.b64decode(value or "", validate=True)
    except (binascii.Error, ValueError):
        return False
    return True


def _encode(value: str) -> str:
    return base64.b64encode(value.encode()).decode()


def _decode(value: str) -> str:
    return base64.b64decode(value).decode(errors="surrogateescape")
