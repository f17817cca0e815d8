"""Writing to Railway, and finding the deployment that carries what was written."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from secops.errors import Conflict, OutcomeUnknown, Refused, SecopsError
from secops.targets.failures import NotAllowed
from secops.targets.railway_words import MEND, Shown, commits, patch_of, pending_of
from secops.targets.remote import Reading, note_of
from secops.targets.target import MARKER, Change, Snapshot

if TYPE_CHECKING:
    from secops.targets.railway_reads import Reads

_APPEARS: Final = (1.0, 2.0, 4.0, 8.0, 15.0)
"""Seconds between looks for what a write has begun."""
_OVERDUE: Final = timedelta(minutes=2)
"""After so long without a deployment a write has none."""


class Writes:
    """Writes to one service.

    Args:
        reads: Reading from the same place.
        way: ``commit``, ``upsert``, or ``auto`` for the first and, where the token may not, the second.
        compare: Whether Railway is to compare the environment with what was read.
    """

    def __init__(self, reads: Reads, *, way: str, compare: bool) -> None:
        self._reads = reads
        self._api = reads.api
        self._http = reads.api.http
        self._way = way
        self._compare = compare
        self._upserts = way == "upsert"
        self._wrote_at: datetime | None = None

    def write(self, change: Change, expected: Snapshot) -> str:
        """Set and delete in one call; returns the deployment that it started, where it shows already."""
        own = sorted(name for name in {*change.set, *change.unset} if name.startswith("RAILWAY_"))
        if own:
            raise Refused(
                f"{own[0]} belongs to Railway, which sets it itself.",
                hint="Nothing was written. Leave RAILWAY_ variables out.",
            )
        self._wrote_at = self._http.now()
        message = note_of(change.note, change.set.get(MARKER, ""))
        if self._compare:
            return self._write_compared(change, expected, message)
        if not self._upserts:
            try:
                return self._commit(change, message)
            except NotAllowed:
                if self._way == "commit":
                    raise
                self._upserts = True
        self._upsert(change, message)
        return ""

    def deploy(self) -> str:
        """Return the deployment that carries the last write; start one where the write did not."""
        for pause in (*_APPEARS, None):
            answer = self._reads.ask(
                "environment", "deployments", what="find the deployment", optional=("environment",)
            )
            carrying = self._carrying(answer)
            if carrying and carrying[0].failed and self._wrote_at is None:
                # Nobody asks without having been told of it, so it is to be tried again.
                return self._redeployed(self._reads.listed(answer))
            if carrying:
                return carrying[0].id
            if self._upserts or self._http.now() - self._since(answer) > _OVERDUE:
                return self._redeployed(self._reads.listed(answer))
            if pause is not None:
                self._http.sleep(pause)
        raise OutcomeUnknown(
            "The change is committed on Railway, and no deployment of it shows yet.",
            hint="Run `secops rollout resume`: it looks again, and starts one where none came.",
        )

    def _commit(self, change: Change, message: str) -> str:
        """Commit a patch, and wait until it is applied; return its deployment where that shows at once."""
        self._api.change(
            "environmentPatchCommit",
            what="commit a change of variables",
            patch=patch_of(change, self._api.place["service"]),
            message=message,
        )
        for pause in (*_APPEARS, None):
            try:
                answer = self._reads.ask(
                    "environmentPatches", "environment", "deployments", what="look at the commit",
                    optional=("environmentPatches", "environment"),
                )  # fmt: skip
                found = commits(answer.get("environmentPatches"), message)
                carrying = self._carrying(answer)
            except SecopsError:
                # Railway said yes to the write; that it does not say more is no reason to doubt it.
                return ""
            if found is None or found.applied:
                return carrying[0].id if carrying else ""
            if found.failed:
                raise OutcomeUnknown(
                    f"Railway could not apply the committed change: {self._http.harmless(found.failed)}.",
                    hint="It may be there by half. Run `secops rollout resume`.",
                )
            if pause is not None:
                self._http.sleep(pause)
        raise OutcomeUnknown(
            "Railway took the change and is still applying it.",
            hint="Run `secops rollout resume` in a minute.",
        )

    def _upsert(self, change: Change, message: str) -> None:
        """Write without a deployment, where that can be had."""
        if change.unset and self._stage(change, message):
            return
        place = self._api.place
        where = {"projectId": place["project"], "environmentId": place["environment"]}
        where |= {"serviceId": place["service"]}
        written = False
        try:
            if change.set:
                self._api.change(
                    "variableCollectionUpsert",
                    what="set variables",
                    upsert={**where, "variables": dict(change.set), "skipDeploys": True},
                )
                written = True
            for name in sorted(change.unset):
                self._api.change(
                    "variableDelete", what=f"delete {name}", delete={**where, "name": name}
                )
                written = True
        except SecopsError as error:
            if not written or isinstance(error, OutcomeUnknown):
                raise
            raise OutcomeUnknown(
                f"Part of the change is written, the rest is not: {error.message}",
                hint="Run `secops rollout resume`, or roll back.",
            ) from None

    def _stage(self, change: Change, message: str) -> bool:
        """Delete without a deployment: stage and commit, where nobody else has staged anything."""
        ours = patch_of(change, self._api.place["service"])
        what = "stage a change of variables"
        try:
            answer = self._reads.ask("environmentStagedChanges", what="see what is staged")
            if pending_of(answer["environmentStagedChanges"]):
                raise Conflict(
                    "Somebody has staged changes on Railway, and committing would ship them too.",
                    hint="Nothing was written. Commit or discard them in Railway's dashboard first.",
                )
            staged = Reading(
                "Railway", what, self._api.change("environmentStageChanges", what=what, staged=ours)
            )
            if staged["patch"].found != ours:
                raise OutcomeUnknown(
                    "Somebody staged changes on Railway in the same moment; nothing was committed.",
                    hint="Discard what is staged in Railway's dashboard, then run the command again.",
                )
        except NotAllowed:
            return False
        try:
            self._api.change(
                "environmentPatchCommitStaged", what="commit what is staged", message=message
            )
        except OutcomeUnknown:
            raise
        except SecopsError as error:
            raise OutcomeUnknown(
                f"The change is staged on Railway and not committed: {error.message}",
                hint="Discard it in Railway's dashboard, or commit it there.",
            ) from None
        return True

    def _write_compared(self, change: Change, expected: Snapshot, message: str) -> str:
        """Let Railway compare the environment with what was read (experimental at Railway)."""
        answer = self._reads.ask("serviceInstance", "environment", what="name the service")
        if answer["environment"]["configEtag"].text() != expected.version:
            raise Conflict(
                "Somebody changed the environment on Railway since it was read.",
                hint="Nothing was written. Look at what changed, then run the command again.",
            )
        if any("${{" in value for value in change.set.values()):
            # How a change set carries a reference is not documented; a patch keeps it as it is.
            return self._commit(change, message)
        name = answer["serviceInstance"]["serviceName"].text()
        address = "service." + re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
        changes: list[dict[str, object]] = [
            _changed("variable.set", address, each, after={"type": "literal", "value": value})
            for each, value in change.set.items()
        ]
        changes += [_changed("variable.delete", address, each) for each in sorted(change.unset)]
        what = "apply a change set"
        made = self._api.change(
            "environmentApplyChangeSet",
            what=what,
            changes={"version": 1, "changes": changes, "diagnostics": []},
            etag=expected.version,
            message=message,
        )
        return str(Reading("Railway", what, made).get("deploymentId").found or "")

    def _carrying(self, answer: Mapping[str, Reading]) -> Sequence[Shown]:
        """Return the deployments that carry the last write, newest first."""
        return self._reads.carrying(answer, self._since(answer))

    def _since(self, answer: Mapping[str, Reading]) -> datetime:
        """Return when the last write was, on Railway's clock."""
        since = self._reads.marked(answer) or self._wrote_at
        if since is None:
            raise OutcomeUnknown(
                "The token does not show when variables were changed, so it cannot be told which "
                "deployment carries them.",
                hint=f"Nothing was started. {MEND}",
            )
        return since

    def _redeployed(self, found: Sequence[Shown]) -> str:
        for each in found:
            if each.status in {"SUCCESS", "SLEEPING"}:
                if not each.can_redeploy:
                    break
                made = self._api.change(
                    "deploymentRedeploy", what="redeploy the service", id=each.id
                )
                return Reading("Railway", "redeploy the service", made)["id"].text()
        raise Refused(
            "Railway has no deployment of this service that it can start again.",
            hint="The variables are written and not live. Deploy the service in Railway's dashboard, "
            "then run `secops rollout resume`.",
        )


def _changed(kind: str, address: str, name: str, **more: object) -> dict[str, object]:
    return {
        "kind": kind, "address": address, "variable": name, "severity": "safe",
        "deployEffect": "deploy", "path": f"resources.{address}.variables.{name}",
        "summary": f"{name} by secops", **more,
    }  # fmt: skip
