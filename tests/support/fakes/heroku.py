"""Heroku's Platform API, version 3: config vars, releases, dynos."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from support.fakes.server import Answer, Fake, Request, timestamp

APP = "shop-api"


class FakeHeroku(Fake):
    """One app. ``denied`` holds ``"METHOD suffix"`` of paths that the token may not use; ``limit`` counts
    down to 429; ``dynos`` is how many web dynos run; a one-off dyno of an old release runs beside them.
    """

    kind: ClassVar[str] = "heroku"
    token_env: ClassVar[str] = "HEROKU_API_KEY"

    def start(self, variables: dict[str, str], **more: Any) -> None:
        assert not more, more
        self._config = dict(variables)
        self.denied: set[str] = set()
        self.limit: int | None = None
        self.dynos = 2
        self.releases: list[dict[str, Any]] = []
        self.states: dict[int, str] = {}
        self._release("Initial release", ours=False)

    def options(self) -> dict[str, object]:
        return {"app": APP}

    @property
    def variables(self) -> dict[str, str]:
        return dict(self._config)

    @property
    def running(self) -> dict[str, str]:
        """The variables of the dynos that serve."""
        good = [each for each in self.releases if self.states[each["version"]] == "up"]
        found: dict[str, str] = good[0]["carries"]
        return found

    def edit(
        self,
        set: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        who: str = "mallory@example.com",
    ) -> None:
        with self.lock:
            self._change({**(set or {}), **dict.fromkeys(unset)}, who, ours=False)

    def finish(self, outcome: str = "live") -> None:
        with self.lock:
            for each in self.releases:
                if self.states[each["version"]] == "starting":
                    self._settle(each, outcome)

    def sort(self, request: Request) -> str:
        path = request.path.removeprefix(f"/apps/{APP}")
        if path == "/config-vars":
            return "read" if request.method == "GET" else "write"
        if path == "/releases":
            return "history" if request.method == "GET" else "deploy"
        if path == "/dynos" or path.startswith("/releases/"):
            return "status"
        return "rights"

    def failure(self, status: int, message: str) -> Any:
        words = {401: "unauthorized", 403: "forbidden", 404: "not_found", 422: "invalid_params"}
        return {"id": words.get(status, "error"), "message": message}

    def handle(self, request: Request, *, half: bool) -> Answer:
        path = request.path.removeprefix(f"/apps/{APP}")
        refused = self._refused(request, path)
        if refused is not None:
            return refused
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/config-vars"): lambda: Answer(200, self._config),
            ("PATCH", "/config-vars"): lambda: self._patched(request.body, half),
            ("GET", "/releases"): lambda: self._listed(request),
            ("POST", "/releases"): lambda: self._released_again(request.body),
            ("GET", "/dynos"): lambda: Answer(200, self._dynos()),
            ("GET", ""): lambda: Answer(200, {"name": APP, "maintenance": False}),
        }
        for each in self.releases:
            for name in (each["id"], str(each["version"])):
                routes["GET", f"/releases/{name}"] = partial(Answer, 200, _shown(each))
        return routes.get(
            (request.method, path), lambda: self._no(404, "Couldn't find that app.")
        )()

    def _refused(self, request: Request, path: str) -> Answer | None:
        if request.headers.get("accept") != "application/vnd.heroku+json; version=3":
            return self._no(404, "The requested API endpoint was not found.")
        if self.limit is not None and self.limit <= 0:
            body = {"id": "rate_limit", "message": "Your account reached the API limit."}
            return Answer(429, body)
        self.limit = None if self.limit is None else self.limit - 1
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return self._no(401, "Invalid credentials provided.")
        if f"{request.method} {path}" in self.denied:
            return self._no(403, "You do not have access to the app.")
        return None

    def _no(self, status: int, message: str) -> Answer:
        return Answer(status, self.failure(status, message))

    def _patched(self, body: Any, half: bool) -> Answer:
        for name, value in body.items():
            if not re.fullmatch(r"\w+", name) or not (value is None or isinstance(value, str)):
                return self._no(422, f"{name} is not a valid config var.")
        wanted = dict(sorted(body.items())[: len(body) // 2]) if half else dict(body)
        self._change(wanted, "ci@example.com", ours=True)
        return Answer(200, self._config)

    def _released_again(self, body: Any) -> Answer:
        if body.get("slug") != "slug-1":
            return self._no(404, "Couldn't find that slug.")
        self._release(body["description"], ours=True)
        return Answer(201, _shown(self.releases[0]))

    def _change(self, wanted: Mapping[str, str | None], who: str, *, ours: bool) -> None:
        before = dict(self._config)
        for name, value in wanted.items():
            if value is None:
                self._config.pop(name, None)
            else:
                self._config[name] = value
        if self._config == before:
            return
        given = sorted(name for name, value in wanted.items() if value is not None)
        gone = sorted(name for name, value in wanted.items() if value is None)
        words = [f"Set {', '.join(given)} config vars"] if given else []
        words += [f"Remove {', '.join(gone)} config vars"] if gone else []
        self._release(", ".join(words), who, ours=ours)

    def _release(self, description: str, who: str = "ci@example.com", *, ours: bool) -> None:
        version = len(self.releases) + 1
        made = {
            "id": f"01234567-89ab-cdef-0123-{version:012d}", "version": version,
            "description": description, "created_at": timestamp(self.now()), "current": True,
            "status": "succeeded", "user": {"email": who, "id": "u"}, "carries": self.variables,
            "slug": {"id": "slug-1"},
        }  # fmt: skip
        for each in self.releases:
            each["current"] = False
        self.releases.insert(0, made)
        self.deployed += ours
        self.states[version] = "starting"
        if self.outcome != "slow":
            self._settle(made, self.outcome)

    def _settle(self, release: dict[str, Any], outcome: str) -> None:
        if outcome == "failed":
            release["status"] = "failed"
        self.states[release["version"]] = "up" if outcome == "live" else outcome

    def _listed(self, request: Request) -> Answer:
        found = re.fullmatch(
            r"version \.\.; order=desc,max=(\d+)", request.headers.get("range", "")
        )
        newest = self.releases if found else list(reversed(self.releases))
        return Answer(206, [_shown(each) for each in newest[: int(found[1]) if found else 200]])

    def _dynos(self) -> list[dict[str, Any]]:
        newest = self.releases[0]
        state = self.states[newest["version"]]
        shown = []
        for number in range(1, self.dynos + 1):
            version, what = newest["version"], state
            if state == "starting" and number > 1 and len(self.releases) > 1:
                version, what = self.releases[1]["version"], "up"
            shown.append(
                {
                    "type": "web",
                    "name": f"web.{number}",
                    "state": what,
                    "release": {"version": version},
                }
            )
        one_off = {"type": "run", "name": "run.1", "state": "up", "release": {"version": 1}}
        return [*shown, one_off]


def _shown(release: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in release.items() if key != "carries"}
