"""Variables of one service on Render.

Render replaces the list of variables as a whole and gives it out in pages. So a write reads every page again,
makes sure that nobody changed anything since, merges, and puts the whole list; a deploy of the same commit then
makes it live. Between the read and the put Render compares nothing.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from secops.errors import Conflict, OutcomeUnknown, SecopsError
from secops.settings import Secret
from secops.targets.credentials import token
from secops.targets.failures import Misunderstood, NoSuchPlace, NotAllowed
from secops.targets.http import Call, Http
from secops.targets.remote import Reading, fingerprint, granted, http_of, options_of
from secops.targets.target import (
    Change,
    Deployment,
    Edit,
    Place,
    Progress,
    Right,
    Snapshot,
    Traits,
    Variable,
)

if TYPE_CHECKING:
    from secops.targets.http import Reply

API: Final = "https://api.render.com"
_MEND: Final = (
    "Make an API key in Render's dashboard (Account Settings > API Keys) for a member of the workspace who may "
    "deploy the service; a key has all the rights of its owner."
)
_PAGE: Final = 100
_MOST: Final = 200
"""Pages that are read before a list counts as endless."""
_LOOKS: Final = (1.0, 2.0, 4.0, 8.0)

# The states of a deploy in Render's API reference.
_STATES: Final[Mapping[str, Progress]] = {
    "created": Progress.PENDING,
    "queued": Progress.PENDING,
    "build_in_progress": Progress.PENDING,
    "pre_deploy_in_progress": Progress.PENDING,
    "update_in_progress": Progress.PENDING,
    "live": Progress.LIVE,
    "deactivated": Progress.FAILED,
    "build_failed": Progress.FAILED,
    "pre_deploy_failed": Progress.FAILED,
    "update_failed": Progress.FAILED,
    "canceled": Progress.FAILED,
}


def make(place: Place, environ: Mapping[str, str]) -> RenderTarget:
    """Make the target that a place describes.

    Args:
        place: ``service`` (its id, ``srv-...``); ``token_env`` or ``keyring``.
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    options = options_of(place, {"service"})
    where = "It is the service's id, srv-..., in the address of its page in Render's dashboard."
    service = options.text("service", hint=where)
    if not re.fullmatch(r"[a-z]{3,4}-[A-Za-z0-9-]{1,60}", service):
        raise NoSuchPlace(
            f"The target {place.name} names a service that cannot be one.", hint=where
        )
    secret = token(place, options, environ, default="RENDER_API_KEY", where=_MEND)
    headers: dict[str, str | Secret] = {
        "Authorization": Secret(f"Bearer {secret.reveal()}"),
        "Accept": "application/json",
    }
    return RenderTarget(place.name, service, http_of(options, "Render", API, headers))


class RenderTarget:
    """One service."""

    kind = "render"

    def __init__(self, name: str, service: str, http: Http) -> None:
        self.name = name
        self.service = service
        self.http = http

    def __repr__(self) -> str:
        return f"RenderTarget({self.name!r}, {self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """The service."""
        return fingerprint(self.kind, self.http.base, API, self.service)

    @property
    def traits(self) -> Traits:
        """No compare-and-set, and no history of variables."""
        return Traits(compare_and_set=False, deploys=True)

    def read(self) -> Snapshot:
        """Return the service's own variables, of all pages; those of linked groups are not among them."""
        found: dict[str, Variable] = {}
        cursor = ""
        for _ in range(_MOST):
            params = {"limit": str(_PAGE), **({"cursor": cursor} if cursor else {})}
            page = list(self._asked("/env-vars", "read the variables", params))
            for each in page:
                held = each["envVar"]
                name = held["key"].text()
                value = held.get("value").found
                known = isinstance(value, str)
                found[name] = Variable(name, str(value) if known else None, sealed=not known)
            # A page shorter than what was asked for need not be the last: Render may give fewer.
            if not page or page[-1]["cursor"].found in {None, "", cursor}:
                return Snapshot(dict(sorted(found.items())))
            cursor = page[-1]["cursor"].text()
        raise Misunderstood(
            "Render's list of variables does not end.",
            hint="Nothing was changed. Update secops; if it is the newest, report this.",
        )

    def write(self, change: Change, expected: Snapshot) -> str:
        """Read again, merge, and put the whole list; starts no deploy."""
        live = self.read()
        if live.variables != expected.variables:
            names = sorted(
                name
                for name in {*live.variables, *expected.variables}
                if live.variables.get(name) != expected.variables.get(name)
            )
            raise Conflict(
                f"Somebody changed variables on Render since they were read: {', '.join(names[:5])}.",
                hint="Nothing was written. Look at what changed, then run the command again.",
            )
        hidden = sorted(name for name, each in live.variables.items() if each.value is None)
        if hidden:
            raise Conflict(
                f"Render does not give out the value of {', '.join(hidden[:5])}, and takes the list only "
                "as a whole.",
                hint="Nothing was written, for those would have been lost.",
            )
        values = {name: each.value for name, each in live.variables.items()} | dict(change.set)
        body = [
            {"key": name, "value": value}
            for name, value in sorted(values.items())
            if name not in change.unset
        ]
        call = Call(
            "PUT", self._path("/env-vars"), "write the variables", right=_MEND, changes=True,
            json=body, accept=(404,),
        )  # fmt: skip
        self._there(self.http.send(call))
        return ""

    def deploy(self, written: str) -> str:
        """Start one deploy of the commit or image that serves now."""
        if written:
            return written
        before = self._deploys()
        serving = next((each for each in before if each["status"].found == "live"), None)
        body: dict[str, object] = {"clearCache": "do_not_clear"}
        commit = serving.get("commit").found if serving is not None else None
        if isinstance(commit, Mapping) and isinstance(commit.get("id"), str):
            body["commitId"] = commit["id"]
        image = serving.get("image").found if serving is not None else None
        if isinstance(image, Mapping) and isinstance(image.get("ref"), str):
            body["imageUrl"] = image["ref"]
        what = "start a deploy"
        call = Call(
            "POST",
            self._path("/deploys"),
            what,
            right=_MEND,
            changes=True,
            json=body,
            accept=(404,),
        )
        reply = self._there(self.http.send(call))
        made = reply.body.get("id") if isinstance(reply.body, Mapping) else None
        if isinstance(made, str):
            return made
        return self._accepted({each["id"].text() for each in before})

    def status(self, deployment: str) -> Deployment:
        """Return how far a deploy is; of one that a newer one replaced, how far that is."""
        shown = _deployment(self._asked(f"/deploys/{deployment}", "look at the deploy"))
        if not shown.detail.startswith(("deactivated", "canceled")):
            return shown
        newest = next((_deployment(each) for each in self._deploys()), shown)
        newer = newest.created_at and shown.created_at and newest.created_at > shown.created_at
        if not newer:
            return shown
        detail = f"{newest.detail}; it replaced {shown.id}"
        return Deployment(newest.id, newest.progress, detail, newest.created_at)

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return the deploys since then, newest first."""
        found = [_deployment(each) for each in self._deploys()]
        return [each for each in found if each.created_at is None or each.created_at >= since]

    def edits(self, since: datetime) -> Sequence[Edit]:  # noqa: ARG002  the protocol's
        """Return nothing: Render keeps no history of variables."""
        return []

    def rights(self) -> Sequence[Right]:
        """Try what the key may read; what it may write shows at the first write."""
        found: list[Right] = []
        for rest, what in (
            ("", "see the service"),
            ("/env-vars", "read the variables"),
            ("/deploys", "list deploys"),
        ):
            error: SecopsError | None = None
            detail = ""
            try:
                answer = self._asked(rest, what)
                if not rest and answer.get("suspended").found not in {None, "not_suspended"}:
                    detail = "the service is suspended: a deploy of it does not start"
            except (NotAllowed, NoSuchPlace) as refusal:
                error = refusal
            right = granted(what, _MEND, error)
            found.append(Right(what, allowed=True, detail=detail) if detail else right)
        write = Right(
            "write the variables and deploy",
            allowed=None,
            detail="shows at the first write; a refused one writes nothing",
            mend=_MEND,
        )
        return [*found, write]

    def _path(self, rest: str) -> str:
        return f"/v1/services/{self.service}{rest}"

    def _asked(self, rest: str, what: str, params: Mapping[str, str] | None = None) -> Reading:
        call = Call("GET", self._path(rest), what, right=_MEND, params=params, accept=(404,))
        return Reading("Render", what, self._there(self.http.send(call)).body)

    def _there(self, reply: Reply) -> Reply:
        if reply.status == 404:  # noqa: PLR2004
            raise NoSuchPlace(
                f"Render does not know what was asked for of the service {self.service}.",
                hint="Nothing was changed. Mend service in secops.yaml, or let the key's owner see it.",
            )
        return reply

    def _deploys(self) -> list[Reading]:
        answer = self._asked("/deploys", "list deploys", {"limit": "20"})
        return [each["deploy"] for each in answer]

    def _accepted(self, before: set[str]) -> str:
        """Find the deploy that Render accepted without naming it: exactly one that was not there before."""
        for pause in (*_LOOKS, None):
            try:
                shown = [each["id"].text() for each in self._deploys()]
            except SecopsError:
                break
            new = [each for each in shown if each not in before]
            if new:
                return new[0]
            if pause is not None:
                self.http.sleep(pause)
        raise OutcomeUnknown(
            "Render accepted the deploy, and does not show it yet.",
            hint="Run `secops rollout resume` in a minute.",
        )


def _deployment(deploy: Reading) -> Deployment:
    state = deploy["status"].text()
    progress = _STATES.get(state, Progress.HELD)
    detail = state if state in _STATES else f"{state}: a state that secops does not know"
    return Deployment(deploy["id"].text(), progress, detail, deploy["createdAt"].time())
