"""Render's API: a list of variables in pages, replaced as a whole, and deploys apart from it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from functools import partial
from typing import Any, ClassVar

from support.fakes.server import Answer, Fake, Request, timestamp

SERVICE = "srv-0123456789abcdefghij"
UNDER_WAY = {
    "created",
    "queued",
    "build_in_progress",
    "pre_deploy_in_progress",
    "update_in_progress",
}


class FakeRender(Fake):
    """One service. ``denied`` holds ``"METHOD suffix"``; ``largest`` is the longest page it gives;
    ``accepts_only`` lets a new deploy be accepted (202) without naming it.
    """

    kind: ClassVar[str] = "render"
    token_env: ClassVar[str] = "RENDER_API_KEY"

    def start(self, variables: dict[str, str], **more: Any) -> None:
        assert not more, more
        self._env = dict(variables)
        self.denied: set[str] = set()
        self.limit: int | None = None
        self.largest = 100
        self.accepts_only = False
        self.suspended = "not_suspended"
        self.deploys: list[dict[str, Any]] = []
        self._deploy("live")

    def options(self) -> dict[str, object]:
        return {"service": SERVICE}

    @property
    def variables(self) -> dict[str, str]:
        return dict(self._env)

    @property
    def running(self) -> dict[str, str]:
        """The variables of the instances that serve."""
        found: dict[str, str] = next(
            each["carries"] for each in self.deploys if each["status"] == "live"
        )
        return found

    def edit(
        self,
        set: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        who: str = "mallory@example.com",  # noqa: ARG002  Render does not remember who
    ) -> None:
        with self.lock:
            self._env |= set or {}
            for name in unset:
                self._env.pop(name, None)

    def finish(self, outcome: str = "live") -> None:
        with self.lock:
            for each in self.deploys:
                if each["status"] in UNDER_WAY:
                    self._settle(each, outcome)

    def sort(self, request: Request) -> str:
        path = request.path.removeprefix(f"/v1/services/{SERVICE}")
        if path == "/env-vars":
            return "read" if request.method == "GET" else "write"
        if path.startswith("/deploys"):
            return "deploy" if request.method == "POST" else "status"
        return "rights"

    def failure(self, status: int, message: str) -> Any:  # noqa: ARG002  only its words
        return {"id": "x", "message": message}

    def handle(self, request: Request, *, half: bool) -> Answer:
        path = request.path.removeprefix(f"/v1/services/{SERVICE}")
        refused = self._refused(request, path)
        if refused is not None:
            return refused
        limit = int(request.query.get("limit", "20"))
        listed = [{"deploy": _shown(each), "cursor": each["id"]} for each in self.deploys]
        about = {
            "id": SERVICE, "name": "api", "suspended": self.suspended,
            "serviceDetails": {"healthCheckPath": "/healthz"},
        }  # fmt: skip
        routes: dict[tuple[str, str], Callable[[], Answer]] = {
            ("GET", "/env-vars"): lambda: self._page(request.query),
            ("PUT", "/env-vars"): lambda: self._put(request.body, half),
            ("GET", ""): lambda: Answer(200, about),
            ("GET", "/deploys"): lambda: Answer(200, listed[:limit]),
            ("POST", "/deploys"): lambda: self._posted(request.body),
        }
        for each in self.deploys:
            routes["GET", f"/deploys/{each['id']}"] = partial(Answer, 200, _shown(each))
        missing = Answer(404, self.failure(404, "not found"))
        return routes.get((request.method, path), lambda: missing)()

    def _refused(self, request: Request, path: str) -> Answer | None:
        if self.limit is not None and self.limit <= 0:
            return Answer(429, self.failure(429, "too many requests"), {"Ratelimit-Reset": "2"})
        self.limit = None if self.limit is None else self.limit - 1
        if request.headers.get("authorization") != f"Bearer {self.token}":
            return Answer(401, self.failure(401, "Unauthorized"))
        if f"{request.method} {path}" in self.denied:
            return Answer(403, self.failure(403, "forbidden"))
        return None

    def _page(self, query: Mapping[str, str]) -> Answer:
        names = sorted(self._env)
        limit = min(int(query.get("limit", "20")), self.largest)
        begin = names.index(query["cursor"]) + 1 if "cursor" in query else 0
        return Answer(
            200,
            [
                {"envVar": {"key": name, "value": self._env[name]}, "cursor": name}
                for name in names[begin : begin + limit]
            ],
        )

    def _put(self, body: Any, half: bool) -> Answer:
        given = {each["key"]: each["value"] for each in body if set(each) == {"key", "value"}}
        if len(given) != len(body) or not all(isinstance(each, str) for each in given.values()):
            return Answer(400, self.failure(400, "invalid env vars"))
        if half:
            changed = sorted(
                name for name in {*given, *self._env} if given.get(name) != self._env.get(name)
            )
            for name in changed[: len(changed) // 2]:
                self._env.pop(name, None)
                self._env |= {name: given[name]} if name in given else {}
        else:
            self._env = given
        shown = [
            {"envVar": {"key": key, "value": each}, "cursor": key} for key, each in given.items()
        ]
        return Answer(200, shown[:20])

    def _posted(self, body: Any) -> Answer:
        if body.get("clearCache") not in {None, "clear", "do_not_clear"}:
            return Answer(400, self.failure(400, "invalid clearCache"))
        if body.get("commitId") not in {None, "c0ffee"}:
            return Answer(400, self.failure(400, "unknown commit"))
        made = self._deploy(self.outcome)
        self.deployed += 1
        return Answer(202) if self.accepts_only else Answer(201, _shown(made))

    def _deploy(self, outcome: str) -> dict[str, Any]:
        made = {
            "id": f"dep-{len(self.deploys) + 1:020d}", "status": "build_in_progress",
            "createdAt": timestamp(self.now()), "trigger": "api", "carries": self.variables,
            "commit": {"id": "c0ffee", "message": "a commit"},
        }  # fmt: skip
        self.deploys.insert(0, made)
        if outcome != "slow":
            self._settle(made, outcome)
        return made

    def _settle(self, deploy: dict[str, Any], outcome: str) -> None:
        if outcome == "live":
            for each in self.deploys:
                if each["status"] == "live":
                    each["status"] = "deactivated"
        deploy["status"] = outcome


def _shown(deploy: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in deploy.items() if key != "carries"}
