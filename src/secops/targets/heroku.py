"""Variables of one app on Heroku.

One ``PATCH`` of the config vars sets and deletes (``null`` deletes, an empty text is a value) and makes one
release, with which the dynos restart. Heroku compares nothing: who calls reads again just before.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Final

from secops.errors import OutcomeUnknown, Refused, SecopsError
from secops.settings import Secret
from secops.targets.credentials import token
from secops.targets.failures import NoSuchPlace, NotAllowed
from secops.targets.http import Call, Http
from secops.targets.remote import Reading, fingerprint, granted, http_of, options_of
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
    Variable,
)

if TYPE_CHECKING:
    from collections.abc import Collection

API: Final = "https://api.heroku.com"
_ACCEPT: Final = "application/vnd.heroku+json; version=3"
_MEND: Final = (
    "Make a token with `heroku authorizations:create --scope read-protected,write-protected` for a user "
    "who may operate the app; on a team's app that is the operate permission."
)
_LOOKS: Final = (0.5, 1.0, 2.0)
"""Seconds between looks for the release that a write made."""
# What Heroku's own history says of a change of config vars.
_SAID: Final = re.compile(r"(?:Set|Remove) ([\w, ]+?) config vars?")


def make(place: Place, environ: Mapping[str, str]) -> HerokuTarget:
    """Make the target that a place describes.

    Args:
        place: ``app`` (name or id); ``token_env`` or ``keyring``.
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    options = options_of(place, {"app"})
    app = options.text("app", hint="It is the app's name on Heroku.")
    if not re.fullmatch(r"[A-Za-z0-9-]{1,64}", app):
        raise NoSuchPlace(
            f"The target {place.name} names an app that cannot be one.",
            hint="An app's name has small letters, digits and dashes.",
        )
    secret = token(place, options, environ, default="HEROKU_API_KEY", where=_MEND)
    headers: dict[str, str | Secret] = {
        "Authorization": Secret(f"Bearer {secret.reveal()}"),
        "Accept": _ACCEPT,
    }
    return HerokuTarget(place.name, app, http_of(options, "Heroku", API, headers))


class HerokuTarget:
    """One app."""

    kind = "heroku"

    def __init__(self, name: str, app: str, http: Http) -> None:
        self.name = name
        self.app = app
        self.http = http
        self._wrote = False

    def __repr__(self) -> str:
        return f"HerokuTarget({self.name!r}, {self.fingerprint!r})"

    @property
    def fingerprint(self) -> str:
        """The app."""
        return fingerprint(self.kind, self.http.base, API, self.app)

    @property
    def traits(self) -> Traits:
        """Releases are deployments and history in one; nothing compares and sets."""
        return Traits(compare_and_set=False, deploys=True, dated=True)

    def read(self) -> Snapshot:
        """Return the config vars."""
        values = self._asked("/config-vars", "read the config vars")
        return Snapshot(_variables(values))

    def write(self, change: Change, expected: Snapshot) -> str:  # noqa: ARG002  Heroku cannot compare
        """Set and delete in one call; returns the release that it made."""
        before = self.http.now()
        self._wrote = True
        body: dict[str, str | None] = {**change.set, **dict.fromkeys(sorted(change.unset))}
        what = "change the config vars"
        call = Call(
            "PATCH", self._path("/config-vars"), what, right=_MEND, changes=True, json=body,
            accept=(404, 422),
        )  # fmt: skip
        reply = self.http.send(call)
        if reply.status >= 400:  # noqa: PLR2004
            raise self._refusal(reply.status, self.http.said(reply))
        now = reply.body if isinstance(reply.body, Mapping) else {}
        if any(now.get(name) != value for name, value in change.set.items()) or any(
            name in now for name in change.unset
        ):
            raise OutcomeUnknown(
                "Heroku took the change, and its config vars are not what was written.",
                hint="Somebody may have changed them in the same moment. Run `secops rollout resume`.",
            )
        try:
            return self._release_of(MARKER in change.set, before)
        except SecopsError:
            # Heroku said yes to the write; which release it was can be asked again.
            return ""

    def deploy(self, written: str) -> str:
        """Return the release of the last write: Heroku makes it itself."""
        if written:
            return written
        for pause in (*_LOOKS, None):
            releases = self._releases()
            carrying = _since_marker(releases)
            if carrying and not self._wrote:
                # Nobody asks without having been told of it, so it is to be tried again.
                newest = self.status(carrying[0]["id"].text())
                if newest.progress is Progress.FAILED:
                    return self._released_again(releases)
            if carrying:
                return carrying[0]["id"].text()
            if pause is not None:
                self.http.sleep(pause)
        raise OutcomeUnknown(
            f"Heroku shows no release that set {MARKER}.",
            hint="Nothing was started. Run `secops rollout resume`; it looks again.",
        )

    def status(self, deployment: str) -> Deployment:
        """Return how far a release is: live once no dyno of an older one runs."""
        release = self._asked(f"/releases/{deployment}", "look at the release")
        dynos = self._asked("/dynos", "list the dynos")
        version = release["version"].number()
        running = [
            each for each in dynos if each["type"].found not in {"run", "scheduler", "release"}
        ]
        progress, detail = _progress(release["status"].text(), version, running)
        return Deployment(release["id"].text(), progress, detail, release["created_at"].time())

    def deployments(self, since: datetime) -> Sequence[Deployment]:
        """Return the releases since then that carry the last write; how far the dynos are, ``status`` tells."""
        found = []
        releases = self._releases()
        for each in _since_marker(releases) or releases:
            at = each["created_at"].time()
            if at is None or at >= since:
                state, detail = _progress(each["status"].text(), each["version"].number(), [])
                found.append(Deployment(each["id"].text(), state, detail, at))
        return found

    def edits(self, since: datetime) -> Sequence[Edit]:
        """Return who changed config vars since then, newest first."""
        found = []
        for each in self._releases():
            at = each["created_at"].time()
            names = _names(each)
            said = str(each.get("description").found or "")
            # A rollback of a release puts back its config vars as well, whichever those were.
            if (names or said.startswith("Rollback")) and (at is None or at >= since):
                who = each.get("user").found
                by = who.get("email") if isinstance(who, Mapping) else None
                found.append(Edit(str(by or "somebody"), at, said, frozenset(names)))
        return found

    def rights(self) -> Sequence[Right]:
        """Try what the token may read; what it may write shows at the first write."""
        asked: list[tuple[str, str]] = [
            ("", "see the app"),
            ("/config-vars", "read the config vars"),
            ("/releases", "list releases"),
            ("/dynos", "list dynos"),
        ]
        found: list[Right] = []
        for path, what in asked:
            error: SecopsError | None = None
            try:
                self._asked(path, what)
            except (NotAllowed, NoSuchPlace) as refusal:
                error = refusal
            found.append(granted(what, _MEND, error))
        write = Right(
            "change the config vars",
            allowed=None,
            detail="shows at the first write; a refused one writes nothing",
            mend=_MEND,
        )
        return [*found, write]

    def _released_again(self, releases: Sequence[Reading]) -> str:
        """Release the code that the newest good release has, with the config vars as they are now."""
        good = (each for each in releases if each["status"].found == "succeeded")
        slugs = (each.get("slug").found for each in good)
        slug = next(
            (each["id"] for each in slugs if isinstance(each, Mapping) and "id" in each), None
        )
        if slug is None:
            raise Refused(
                "Heroku has no release of this app that can be released again.",
                hint="The variables are written and not live. Deploy the app, then run "
                "`secops rollout resume`.",
            )
        call = Call(
            "POST", self._path("/releases"), "release the app again", right=_MEND, changes=True,
            json={"slug": slug, "description": "Release again for secops"},
        )  # fmt: skip
        made = self.http.send(call).body
        if isinstance(made, Mapping) and isinstance(made.get("id"), str):
            return str(made["id"])
        raise OutcomeUnknown(
            "Heroku took the release, and did not say which it is.",
            hint="Run `secops rollout resume`; it looks again.",
        )

    def _path(self, rest: str) -> str:
        return f"/apps/{self.app}{rest}"

    def _asked(self, rest: str, what: str, headers: Mapping[str, str] | None = None) -> Reading:
        call = Call("GET", self._path(rest), what, right=_MEND, headers=headers, accept=(404,))
        reply = self.http.send(call)
        if reply.status == 404:  # noqa: PLR2004
            raise self._refusal(404, self.http.said(reply))
        return Reading("Heroku", what, reply.body)

    def _refusal(self, status: int, said: str) -> SecopsError:
        if status == 404:  # noqa: PLR2004
            return NoSuchPlace(
                f"Heroku does not know what was asked for of the app {self.app}{said}.",
                hint="Nothing was changed. Mend app in secops.yaml, or let the token's user see it.",
            )
        return NoSuchPlace(
            f"Heroku takes the change for wrong{said}.",
            hint="Nothing was changed. Names of config vars have letters, digits and underscores.",
        )

    def _releases(self) -> list[Reading]:
        newest = {"Range": "version ..; order=desc,max=20"}
        return list(self._asked("/releases", "list releases", newest))

    def _release_of(self, marked: bool, before: datetime) -> str:
        """Find the release that the write just made; the newest that names the marker."""
        for pause in (*_LOOKS, None):
            for each in self._releases():
                names = _names(each)
                if MARKER in names if marked else names:
                    at = each["created_at"].time()
                    # The write's own clock is of whole seconds, and a release before it is another's.
                    if at is None or (before - at).total_seconds() < 2:  # noqa: PLR2004
                        return each["id"].text()
                    break
            if pause is not None:
                self.http.sleep(pause)
        return ""


def _variables(values: Reading) -> dict[str, Variable]:
    return {
        name: Variable(name, value if isinstance(value, str) else None, sealed=value is None)
        for name, value in sorted(values.mapping().items())
    }


def _since_marker(releases: Sequence[Reading]) -> Sequence[Reading]:
    """Return the releases from the newest on that set the marker: they carry what was written then."""
    for number, each in enumerate(releases):
        if MARKER in _names(each):
            return releases[: number + 1]
    return ()


def _names(release: Reading) -> Collection[str]:
    """Return the config vars that a release changed, from what Heroku says of it."""
    said = release.get("description").found
    found = _SAID.findall(said) if isinstance(said, str) else []
    return {name.strip() for names in found for name in names.split(",") if name.strip()}


def _progress(status: str, version: int, dynos: Sequence[Reading]) -> tuple[Progress, str]:
    name = f"v{version} {status}"
    if status == "failed":
        return (
            Progress.FAILED,
            f"{name}: the release phase failed, and the release before it serves",
        )
    if status == "pending":
        return Progress.PENDING, f"{name}: the release phase runs"
    if status != "succeeded":
        return Progress.HELD, f"{name}: a state that secops does not know"
    old = [each for each in dynos if each["release"]["version"].number() < version]
    new = [each["state"].text() for each in dynos if each["release"]["version"].number() >= version]
    if any(state == "crashed" for state in new):
        return Progress.FAILED, f"{name}: {new.count('crashed')} of {len(new)} dynos crashed"
    starting = [state for state in new if state not in {"up", "idle"}]
    if old or starting:
        waiting = len(old) + len(starting)
        return Progress.PENDING, f"{name}: {waiting} of {len(dynos)} dynos are still to come up"
    return Progress.LIVE, f"{name}: {len(new)} dynos run it" if new else name
