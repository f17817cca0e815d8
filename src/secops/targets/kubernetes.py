"""Variables of one Deployment in Kubernetes, in its ConfigMap, its Secret or both.

A write is a merge patch that carries the object's ``resourceVersion``: the server itself refuses it where
somebody wrote since. Pods read their environment once, when they start; so a write is made live by an
annotation of the pods' template, whose value is the marker: to set it twice starts nothing twice.

Where a change touches both objects it is two patches, the Secret first: the marker is in the ConfigMap, so
it is written last.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Final

from secops.errors import ConfigurationError, Conflict, OutcomeUnknown, Refused, SecopsError
from secops.settings import Secret
from secops.targets.credentials import token, usable
from secops.targets.failures import MissingToken, NoSuchPlace
from secops.targets.http import Call
from secops.targets.kubernetes_words import (
    AGAIN,
    ANNOTATION,
    Held,
    Kind,
    edits_of,
    held_of,
    marked_with,
    progress,
    version_of,
    versions_in,
)
from secops.targets.remote import Reading, fingerprint, http_of, options_of
from secops.targets.target import (
    MARKER,
    Change,
    Deployment,
    Edit,
    Place,
    Progress,
    Right,
    Snapshot,
    Traits,
)

if TYPE_CHECKING:
    from secops.targets.http import Header, Http, Reply
    from secops.targets.options import Options

_MOUNT: Final = "/var/run/secrets/kubernetes.io/serviceaccount"
_MANAGER: Final = "secops"
_PATCH: Final = {"Content-Type": "application/merge-patch+json"}
_MEND: Final = (
    "Bind a Role to the service account that allows get and patch on the Deployment and on the ConfigMap or "
    "Secret; docs/targets.md has one."
)


def make(place: Place, environ: Mapping[str, str]) -> KubernetesTarget:
    """Make the target that a place describes.

    Args:
        place: ``deployment``; ``config_map``, ``secret`` or both; ``secret_names`` (new variables that go to
            the Secret where there are both); ``namespace``. Outside of a cluster ``url`` (the API
            server), ``ca`` (its certificate authority's file) and ``token_env`` or ``keyring``; inside
            the service account of the pod is used.
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    own = {
        "deployment",
        "config_map",
        "secret",
        "secret_names",
        "namespace",
        "ca",
        "service_account",
    }
    options = options_of(place, own)
    deployment = options.text(
        "deployment", hint="It is the name of the Deployment that is restarted."
    )
    names = {kind: options.optional(kind.option) for kind in Kind}
    if not any(names.values()):
        raise ConfigurationError(
            f"The target {place.name} needs config_map, secret or both.",
            hint="They name the objects that hold the variables.",
        )
    mount = Path(options.text("service_account", _MOUNT))
    inside = options.optional("url") is None
    namespace = options.text("namespace", _mounted(mount / "namespace", "default"))
    for each in (deployment, namespace, *(name for name in names.values() if name)):
        if not all(part.isalnum() or part in "-." for part in each) or not each.isascii():
            raise NoSuchPlace(
                f"The target {place.name} names an object that cannot be one: {each!r}.",
                hint="Names in Kubernetes have small letters, digits, dashes and dots.",
            )
    ca = options.optional("ca")
    authority = (place.folder or Path()) / ca if ca else None
    bearer: Header
    if inside:
        base, bearer, authority = _inside(place, options, environ, mount, authority)
    else:
        base = options.text("url")
        bearer = _bearer(token(place, options, environ, default="KUBERNETES_TOKEN", where=_MEND))
    headers: dict[str, Header] = {"Authorization": bearer, "Accept": "application/json"}
    http = http_of(options, "Kubernetes", base, headers, ca=authority)
    objects = {kind: name for kind, name in names.items() if name}
    return KubernetesTarget(
        place.name,
        http,
        namespace=namespace,
        deployment=deployment,
        objects=objects,
        secrets=frozenset(options.names("secret_names")),
    )


class KubernetesTarget:
    """One Deployment and the objects that hold its variables."""

    kind = "kubernetes"

    def __init__(
        self,
        name: str,
        http: Http,
        *,
        namespace: str,
        deployment: str,
        objects: Mapping[Kind, str],
        secrets: frozenset[str],
    ) -> None:
        self.name = name
        self.http = http
        self.namespace = namespace
        self.deployment = deployment
        self.objects = objects
        self._secrets = secrets
        self._last: dict[Kind, Held] | None = None
        self._wrote = False

    def __repr__(self) -> str:
        return f"KubernetesTarget({self.name!r}, {self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """The API server, the namespace and the objects."""
        parts = [f"{kind.value}:{name}" for kind, name in self.objects.items()]
        place = (self.namespace, f"deployments:{self.deployment}", *parts)
        return fingerprint(self.kind, self.http.base, "", *place)

    @property
    def traits(self) -> Traits:
        """The server compares; its managed fields tell who changed which variable last."""
        return Traits(compare_and_set=True, deploys=True, dated=True)

    def read(self) -> Snapshot:
        """Return what the objects hold; what is in the ConfigMap wins over the Secret."""
        held = self._last = self._held()
        variables = {
            name: each
            for kind in (Kind.SECRET, Kind.CONFIG_MAP)
            if kind in held
            for name, each in held[kind].variables.items()
        }
        return Snapshot(dict(sorted(variables.items())), version_of(held))

    def write(self, change: Change, expected: Snapshot) -> str:
        """Patch each object that the change touches, where it is still what was read."""
        versions = versions_in(expected.version)
        self._wrote = True
        # What was read just now need not be read again: the server compares the versions.
        held = (
            self._last
            if self._last and version_of(self._last) == expected.version
            else self._held()
        )
        if set(versions) != set(held):
            raise _changed("the objects that hold the variables")
        patches = self._patches(change, held)
        for kind in patches:
            if held[kind].immutable:
                raise Refused(
                    f"The {kind.word} {self.objects[kind]} is immutable.",
                    hint="Nothing was written. Make one without `immutable: true`, and let the Deployment "
                    "and secops.yaml name that.",
                )
            if held[kind].version != versions[kind]:
                raise _changed(f"the {kind.word} {self.objects[kind]}")
        written = False
        for kind, data in patches.items():
            body = {"metadata": {"resourceVersion": versions[kind]}, "data": data}
            try:
                self._patch(kind.value, self.objects[kind], f"patch the {kind.word}", body)
            except SecopsError as error:
                if not written or isinstance(error, OutcomeUnknown):
                    raise
                raise OutcomeUnknown(
                    f"The Secret is written and the ConfigMap is not: {error.message}",
                    hint="Run `secops rollout resume`, or roll back.",
                ) from None
            written = True
        return ""

    def deploy(self, written: str) -> str:
        """Let the Deployment replace its pods, once for each marker; returns the marker."""
        if written:
            return written
        marker = self._marker()
        annotations = {ANNOTATION: marker}
        if not self._wrote:
            shown = self._get("deployments", self.deployment)
            before = progress(shown, marker)
            if marked_with(shown) == marker and before.progress is Progress.FAILED:
                # Nobody asks without having been told of it, so it is to be tried again.
                annotations[AGAIN] = str(shown["metadata"]["generation"].number())
        body = {"spec": {"template": {"metadata": {"annotations": annotations}}}}
        self._patch("deployments", self.deployment, "restart the Deployment", body)
        return marker

    def status(self, deployment: str) -> Deployment:
        """Return how far the Deployment has replaced its pods."""
        return progress(self._get("deployments", self.deployment), deployment)

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return the restart that secops asked for last, where that was since then."""
        found = self._get("deployments", self.deployment)
        marker = marked_with(found)
        for edit in edits_of(found, ("spec",)):
            recent = edit.at is None or edit.at >= since.replace(microsecond=0)
            if marker and edit.who == _MANAGER and recent:
                shown = progress(found, marker)
                return [Deployment(shown.id, shown.progress, shown.detail, edit.at)]
        return []

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return which programs changed which variables last, newest first, to whole seconds."""
        found = [
            edit
            for kind, name in self.objects.items()
            for edit in edits_of(self._get(kind.value, name), ("data", "stringData"))
            if edit.names and (edit.at is None or edit.at >= since.replace(microsecond=0))
        ]
        return sorted(found, key=lambda each: each.at.timestamp() if each.at else 0, reverse=True)

    def rights(self) -> Sequence[Right]:
        """Ask the server itself what the service account may do, and look at what the pods read."""
        asked = [("deployments", self.deployment, "apps")]
        asked += [(kind.value, name, "") for kind, name in self.objects.items()]
        found = [
            self._right(verb, resource, name, group)
            for resource, name, group in asked
            for verb in ("get", "patch")
        ]
        if all(right.allowed for right in found):
            found.append(self._wired())
        return found

    def _right(self, verb: str, resource: str, name: str, group: str) -> Right:
        what = f"{verb} {resource}/{name}"
        attributes = {
            "namespace": self.namespace, "verb": verb, "resource": resource, "name": name,
            "group": group,
        }  # fmt: skip
        body = {
            "kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1",
            "spec": {"resourceAttributes": attributes},
        }  # fmt: skip
        path = "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews"
        # It is a POST, and it changes nothing: it asks.
        call = Call("POST", path, "ask what the service account may do", right=_MEND, json=body)
        answer = Reading("Kubernetes", call.what, self.http.send(call).body)
        if answer["status"]["allowed"].found is True:
            return Right(what, allowed=True)
        return Right(what, allowed=False, detail="the service account may not", mend=_MEND)

    def _wired(self) -> Right:
        """Say whether the pods read their environment from the objects."""
        what = "reach the pods through these objects"
        spec = self._get("deployments", self.deployment)["spec"]["template"]["spec"]
        text = repr(spec.get("containers").found) + repr(spec.get("initContainers").found)
        missing = [
            f"{kind.word} {name}"
            for kind, name in self.objects.items()
            if f"'name': '{name}'" not in text
        ]
        if not missing:
            return Right(what, allowed=True)
        return Right(
            what,
            allowed=False,
            detail=f"no container of the Deployment takes its environment from the {' and the '.join(missing)}",
            mend="Add envFrom with a configMapRef or secretRef to the container.",
        )

    def _patches(self, change: Change, held: Mapping[Kind, Held]) -> dict[Kind, dict[str, object]]:
        """Sort a change by object: what is there stays where it is."""
        found: dict[Kind, dict[str, object]] = {}
        for name in sorted({*change.set, *change.unset}):
            places = [kind for kind in held if name in held[kind].variables]
            if len(places) > 1:
                raise Refused(
                    f"{name} stands in the Secret and in the ConfigMap, and secops would have to guess.",
                    hint="Nothing was written. Take it out of one of the two.",
                )
            if name not in change.unset:
                kind = places[0] if places else self._home(name)
                found.setdefault(kind, {})[name] = kind.encoded(change.set[name])
            elif places:
                home = self._home(name)
                if places[0] is not home:
                    raise Refused(
                        f"{name} is in the {places[0].word}, and once deleted would come back in the "
                        f"{home.word}.",
                        hint="Nothing was written. In secops.yaml, secret_names lists what belongs into the "
                        "Secret.",
                    )
                found.setdefault(places[0], {})[name] = None
        return {kind: found[kind] for kind in (Kind.SECRET, Kind.CONFIG_MAP) if kind in found}

    def _home(self, name: str) -> Kind:
        if Kind.CONFIG_MAP not in self.objects:
            return Kind.SECRET
        if Kind.SECRET in self.objects and name in self._secrets:
            return Kind.SECRET
        return Kind.CONFIG_MAP

    def _marker(self) -> str:
        for kind in (Kind.CONFIG_MAP, Kind.SECRET):
            if kind in self.objects:
                found = held_of(kind, self._get(kind.value, self.objects[kind])).variables.get(
                    MARKER
                )
                if found is not None and found.value:
                    return found.value
        raise OutcomeUnknown(
            f"There is no {MARKER} among the variables, so nothing that could be made live.",
            hint="Nothing was started. Run `secops rollout resume`.",
        )

    def _held(self) -> dict[Kind, Held]:
        return {
            kind: held_of(kind, self._get(kind.value, self.objects[kind]))
            for kind in (Kind.SECRET, Kind.CONFIG_MAP)
            if kind in self.objects
        }

    def _path(self, resource: str, name: str) -> str:
        api = "/apis/apps/v1" if resource == "deployments" else "/api/v1"
        return f"{api}/namespaces/{self.namespace}/{resource}/{name}"

    def _get(self, resource: str, name: str) -> Reading:
        what = f"read {resource}/{name}"
        call = Call("GET", self._path(resource, name), what, right=_MEND, accept=(404,))
        return Reading("Kubernetes", what, self._there(resource, name, self.http.send(call)).body)

    def _patch(self, resource: str, name: str, what: str, body: object) -> Reply:
        call = Call(
            "PATCH", self._path(resource, name), what, right=_MEND, changes=True, json=body,
            params={"fieldManager": _MANAGER}, headers=_PATCH, accept=(404, 409, 422),
        )  # fmt: skip
        reply = self.http.send(call)
        if reply.status == 409:  # noqa: PLR2004
            raise _changed(f"{resource}/{name}")
        if reply.status == 422:  # noqa: PLR2004
            raise Refused(
                f"Kubernetes takes the patch of {resource}/{name} for wrong{self.http.said(reply)}.",
                hint="Nothing was written.",
            )
        return self._there(resource, name, reply)

    def _there(self, resource: str, name: str, reply: Reply) -> Reply:
        if reply.status == 404:  # noqa: PLR2004
            raise NoSuchPlace(
                f"There is no {resource}/{name} in the namespace {self.namespace}.",
                hint="Nothing was changed. Mend the target in secops.yaml, or make the object first.",
            )
        return reply


def _changed(what: str) -> Conflict:
    return Conflict(
        f"Somebody changed {what} since it was read.",
        hint="Nothing was written. Look at what changed, then run the command again.",
    )


def _mounted(path: Path, default: str = "") -> str:
    try:
        return path.read_text(encoding="utf-8").strip() or default
    except (OSError, UnicodeDecodeError):
        return default


def _bearer(secret: Secret) -> Secret:
    return Secret(f"Bearer {secret.reveal()}")


def _inside(
    place: Place,
    options: Options,
    environ: Mapping[str, str],
    mount: Path,
    authority: Path | None,
) -> tuple[str, Header, Path | None]:
    """Return the API server, the token and the certificate authority that a pod is given."""
    host = environ.get("KUBERNETES_SERVICE_HOST", "")
    port = environ.get("KUBERNETES_SERVICE_PORT", "443")
    if not host:
        raise ConfigurationError(
            f"The target {place.name} needs url: this is no pod of a cluster.",
            hint="`kubectl config view --minify` shows the server; token_env names the variable with a "
            "token.",
        )
    shown = f"[{host}]" if ":" in host else host
    base, authority = f"https://{shown}:{port}", authority or mount / "ca.crt"
    if options.optional("token_env") or options.optional("keyring"):
        secret = token(place, options, environ, default="KUBERNETES_TOKEN", where=_MEND)
        return base, _bearer(secret), authority

    def current() -> Secret:
        # The cluster replaces the file long before the token in it expires.
        given = _mounted(mount / "token")
        if not given:
            raise MissingToken(
                f"There is no token for the target {place.name}: {mount} has none.",
                hint="Let the pod mount its service account's token, or name a variable with token_env.",
            )
        return _bearer(usable(place, given, str(mount / "token")))

    current()
    return base, current, authority
