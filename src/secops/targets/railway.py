"""Variables of one service on Railway, in one of its environments.

A write is one ``environmentPatchCommit``, which sets and deletes at once and starts one deployment. Where the
token may not do that, or ``write: upsert`` says so, it is ``variableCollectionUpsert`` without a deployment,
and then exactly one ``deploymentRedeploy``: the same code with the new variables. Which deployment carries a
write is told by the time at which the marker was written, on Railway's own clock; so asking again after a
lost reply starts no second one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Final

from secops.targets.credentials import token
from secops.targets.railway_api import Api
from secops.targets.railway_reads import Reads
from secops.targets.railway_rights import examined
from secops.targets.railway_words import (
    MEND,
    Count,
    Served,
    counts_of,
    deployments_of,
    edits_of,
    identified,
    pending_of,
    progress,
    variables_of,
)
from secops.targets.railway_write import Writes
from secops.targets.remote import fingerprint, http_of, options_of
from secops.targets.target import Change, Deployment, Edit, Place, Right, Snapshot, Traits

if TYPE_CHECKING:
    from secops.settings import Secret
    from secops.targets.http import Http

API: Final = "https://backboard.railway.com/graphql/v2"
_PATH: Final = "/graphql/v2"
_OWN: Final = {
    "project", "environment", "service", "token_kind", "write", "compare_and_set",
}  # fmt: skip
_KINDS: Final = ("project", "account")
_TIMEOUT: Final = timedelta(seconds=90)
"""What Railway's own command line waits for a reply (railwayapp/cli, client.rs)."""


def make(place: Place, environ: Mapping[str, str]) -> RailwayTarget:
    """Make the target that a place describes.

    Args:
        place: ``project``, ``environment`` and ``service`` (ids); ``token_env`` or ``keyring``;
            ``token_kind`` (``project`` or ``account``; told from the variable's name);
            ``write`` (``auto``, ``commit`` or ``upsert``); ``compare_and_set`` (experimental).
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    options = options_of(place, _OWN | {"services"})
    where = {name: identified(options, name) for name in ("project", "environment", "service")}
    usual = "RAILWAY_TOKEN"
    secret = token(place, options, environ, default=usual, where=MEND)
    # The names are those of Railway's own command line: RAILWAY_API_TOKEN is an account's or workspace's.
    guess = "account" if options.text("token_env", usual).endswith("API_TOKEN") else "project"
    kind = options.choice("token_kind", _KINDS, guess)
    base = API.removesuffix(_PATH)
    http = http_of(options, "Railway", base, authorised(kind, secret), timeout=_TIMEOUT)
    http.base += "" if http.base.endswith(_PATH) else _PATH
    return RailwayTarget(
        place.name,
        Api(http, where, MEND),
        secret,
        kind,
        write=options.choice("write", ("auto", "commit", "upsert"), "auto"),
        compare_and_set=options.flag("compare_and_set"),
    )


def authorised(kind: str, secret: Secret) -> dict[str, str | Secret]:
    """Return the header that carries a token of this kind."""
    if kind == "project":
        return {"Project-Access-Token": secret}
    return {"Authorization": type(secret)(f"Bearer {secret.reveal()}")}


class RailwayTarget:
    """One service in one environment of one project."""

    kind = "railway"

    def __init__(
        self,
        name: str,
        api: Api,
        secret: Secret,
        token_kind: str,
        *,
        write: str,
        compare_and_set: bool,
    ) -> None:
        self.name = name
        self.api = api
        self.token_kind = token_kind
        self._secret = secret
        self._compare = compare_and_set
        self._reads = Reads(api)
        self._writes = Writes(self._reads, way=write, compare=compare_and_set)

    def __repr__(self) -> str:
        return f"RailwayTarget({self.name!r}, {self.fingerprint!r})"

    @property
    def http(self) -> Http:
        """The way to Railway, with the count of requests."""
        return self.api.http

    @property
    def fingerprint(self) -> str:
        """The ids of project, environment and service."""
        place = self.api.place
        parts = (place["project"], place["environment"], place["service"])
        return fingerprint(self.kind, self.http.base, API, *parts)

    @property
    def traits(self) -> Traits:
        """Compare-and-set is experimental at Railway, and on where the options say so."""
        return Traits(compare_and_set=self._compare, deploys=True, dated=True)

    def read(self) -> Snapshot:
        """Return the service's variables, unrendered, with what is known of each."""
        what = "read the variables"
        answer = self._reads.ask(
            "variables", "environment", "environmentStagedChanges", what=what,
            optional=("environment", "environmentStagedChanges"),
        )  # fmt: skip
        known = self._reads.known(answer, what)
        values = answer["variables"].mapping()
        etag = answer["environment"]["configEtag"].text() if "environment" in answer else ""
        staged = answer.get("environmentStagedChanges")
        return Snapshot(
            variables_of(values, known), etag, pending_of(staged) if staged is not None else ""
        )

    def write(self, change: Change, expected: Snapshot) -> str:
        """Set and delete in one call; returns the deployment that it started, where it shows already."""
        return self._writes.write(change, expected)

    def deploy(self, written: str) -> str:
        """Return the deployment that carries the last write; start one where the write did not."""
        return written or self._writes.deploy()

    def status(self, deployment: str) -> Deployment:
        """Return how far a deployment is; of one that a newer one replaced, how far that is."""
        what = "look at the deployment"
        answer = self._reads.ask("deployment", "serviceInstance", what=what, id=deployment)
        served = Served.read(answer["serviceInstance"])
        shown = deployments_of([answer["deployment"]])[0]
        return progress(shown, served)

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return the deployments since then that carry the last write, newest first."""
        answer = self._reads.ask(
            "deployments", "serviceInstance", "environment", what="list the deployments",
            optional=("environment",),
        )  # fmt: skip
        served = Served.read(answer["serviceInstance"])
        written = self._reads.marked(answer) or since
        carrying = self._reads.carrying(answer, max(since, written))
        return [progress(each, served, follow=False) for each in carrying]

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return who committed changes to the service's or the shared variables, newest first."""
        answer = self._reads.ask("environmentPatches", what="read the history of the environment")
        return edits_of(answer["environmentPatches"], self.api.place["service"], since)

    def rights(self) -> Sequence[Right]:
        """Try what the token may see; what it may write shows at the first write."""
        return examined(self.api, self.token_kind, self._secret)

    def requests(
        self, since: datetime, until: datetime, window: timedelta, *, path: str, method: str = ""
    ) -> Sequence[Count]:
        """Return how many requests Railway's edge answered, by time and status.

        Args:
            since: From when.
            until: Until when.
            window: The distance of the samples, in whole seconds.
            path: Of which path; empty for all.
            method: Of which HTTP method; empty for all.
        """
        answer = self._reads.ask(
            "httpMetricsGroupedByStatus", what="read the counts of requests",
            since=_iso(since), until=_iso(until), step=max(1, round(window.total_seconds())),
            path=path or None, method=method or None,
        )  # fmt: skip
        return counts_of(answer["httpMetricsGroupedByStatus"])

    def status_counts(self, path: str, since: datetime, until: datetime) -> Mapping[int, int]:
        """Return how many requests of a path were answered with each status between two times."""
        found: dict[int, int] = {}
        for each in self.requests(since, until, timedelta(minutes=1), path=path):
            found[each.status] = found.get(each.status, 0) + each.count
        return found


def _iso(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="seconds").replace("+00:00", "Z")
