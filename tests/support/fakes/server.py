"""A platform's API on this machine: real HTTP, a state in memory, and the faults of :mod:`.faults`.

Every fake has the same face, which is all that a harness needs::

    with FakeRailway(variables={"JWT_EXPIRATION": "1h"}) as fake:
        target = railway.make(fake.place("prod"), fake.environ)
        fake.running              # the variables of the process that serves
        fake.variables            # what the service's variables are now, name to value
        fake.edit(set={...}, unset={...}, who="mallory@example.com")   # behind our back, and it deploys
        fake.deployed             # how many deployments were started since the fake began
        fake.finish()             # let the deployments under way go live; finish("FAILED") and so on
        fake.requests             # every request: its kind, method and path
        fake.faults.add("write", reply=Reply.LOST)

``outcome`` says what becomes of new deployments by themselves: ``"live"`` (at once), ``"slow"`` (they stay
under way until ``finish()``), or a platform's own word for a failure. Construct with ``timeout="300ms"``
in ``place(...)`` where late replies are tested. ``reset(variables)`` begins anew without a new server.
"""

from __future__ import annotations

import json
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, ClassVar, Final, Self
from urllib.parse import parse_qs, urlsplit

from secops.targets.target import Place
from support.fakes.faults import Fault, Faults, Reply

CANARY: Final = "c4n4ry-7d1f9a52-token"
"""The token of every fake: what must never be seen anywhere."""


@dataclass(frozen=True)
class Request:
    """A request as it came."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: Any = None


@dataclass(frozen=True)
class Seen:
    """What is remembered of a request."""

    kind: str
    method: str
    path: str
    body: Any = None


@dataclass(frozen=True)
class Answer:
    """What is sent back."""

    status: int = 200
    body: Any = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Fake(ABC):
    """What the fakes have in common."""

    kind: ClassVar[str]
    token_env: ClassVar[str]

    def __init__(self, variables: Mapping[str, str] | None = None, **more: Any) -> None:
        self.lock = threading.RLock()
        self.token = CANARY
        self._released = threading.Event()
        self._begin(dict(variables or {}), more)
        self._server = _Server(self)
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True
        )
        self._thread.start()

    def _begin(self, variables: dict[str, str], more: Mapping[str, Any]) -> None:
        self.faults = Faults()
        self.requests: list[Seen] = []
        self.deployed = 0
        self.outcome: str = "live"
        self._clock = datetime.now(UTC)
        self.start(variables, **more)

    def reset(self, variables: Mapping[str, str] | None = None, **more: Any) -> None:
        """Begin anew: state, faults, counts."""
        with self.lock:
            self._begin(dict(variables or {}), more)

    @property
    def url(self) -> str:
        """Where it is."""
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def environ(self) -> dict[str, str]:
        """The environment that holds the token."""
        return {self.token_env: self.token}

    def place(self, name: str = "prod", **options: object) -> Place:
        """Return the target as ``secops.yaml`` would describe it; ``None`` takes an option out."""
        given = {"url": self.url, **self.options(), **options}
        return Place(
            name, self.kind, {key: each for key, each in given.items() if each is not None}
        )

    def now(self) -> datetime:
        """Return the time on the platform's clock: each call is later than the one before."""
        with self.lock:
            self._clock = max(datetime.now(UTC), self._clock + timedelta(microseconds=1000))
            return self._clock

    def count(self, *kinds: str) -> int:
        """Return how many requests of these kinds came; all where none is named."""
        with self.lock:
            return sum(not kinds or each.kind in kinds for each in self.requests)

    def close(self) -> None:
        """Stop."""
        self._released.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # What each fake adds.

    @abstractmethod
    def start(self, variables: dict[str, str], **more: Any) -> None:
        """Take on a state."""

    @abstractmethod
    def options(self) -> dict[str, object]:
        """Return the options of a target that points here."""

    @property
    @abstractmethod
    def variables(self) -> dict[str, str]:
        """What the service's own variables are now."""

    @property
    @abstractmethod
    def running(self) -> dict[str, str]:
        """The variables of the process that serves: those of the deployment that went live last."""

    @abstractmethod
    def edit(
        self,
        set: Mapping[str, str] | None = None,
        unset: Iterable[str] = (),
        who: str = "mallory@example.com",
    ) -> None:
        """Change variables as somebody else would."""

    @abstractmethod
    def finish(self, outcome: str = "live") -> None:
        """Let the deployments under way come to an end."""

    @abstractmethod
    def sort(self, request: Request) -> str:
        """Say what kind of request it is."""

    @abstractmethod
    def handle(self, request: Request, *, half: bool) -> Answer:
        """Carry out a request; where ``half``, only half of what it writes."""

    @abstractmethod
    def failure(self, status: int, message: str) -> Any:
        """Return the body of an error in the platform's own shape."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    # A client that gave up is no error of the fake's.
    block_on_close = False

    def __init__(self, fake: Fake) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.fake = fake

    def handle_error(self, request: Any, client_address: Any) -> None:
        import sys

        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    wbufsize = -1
    server: _Server

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._answer()

    do_POST = do_PUT = do_PATCH = do_DELETE = do_GET  # noqa: N815  http.server names them so

    def _answer(self) -> None:
        fake = self.server.fake
        parts = urlsplit(self.path)
        length = int(self.headers.get("Content-Length") or 0)
        raw = self.rfile.read(length) if length else b""
        body = json.loads(raw) if raw else None
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = {key: values[-1] for key, values in parse_qs(parts.query).items()}
        request = Request(self.command, parts.path, query, headers, body)
        with fake.lock:
            kind = fake.sort(request)
            fake.requests.append(Seen(kind, request.method, parts.path, body))
            fault = fake.faults.take(kind) or Fault(kind)
            if fault.before:
                fault.before()
            answer = Answer()
            if fault.status:
                answer = Answer(
                    fault.status, fake.failure(fault.status, fault.message), fault.headers
                )
            elif fault.reply.applied:
                answer = fake.handle(request, half=fault.reply is Reply.HALF)
            if fault.after:
                fault.after()
        self._reply(fault, answer)

    def _reply(self, fault: Fault, answer: Answer) -> None:
        if fault.reply in {Reply.LATE, Reply.STUCK}:
            self.server.fake._released.wait(_until_hung_up(self))
        if fault.reply in {Reply.LOST, Reply.NEVER, Reply.HALF, Reply.LATE, Reply.STUCK}:
            self.close_connection = True
            return
        content = b"<html>" if fault.reply is Reply.GARBAGE else b""
        if not content and answer.body is not None:
            content = json.dumps(answer.body, ensure_ascii=False).encode()
        self.send_response(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)
        self.wfile.flush()


def _until_hung_up(handler: _Handler) -> float:
    """Wait until the client has given up, and return how much longer to hold the connection: nothing."""
    handler.connection.settimeout(30)
    began = time.monotonic()
    try:
        while time.monotonic() - began < 30:
            if not handler.connection.recv(1):
                break
    except OSError:
        pass
    return 0.0


def timestamp(moment: datetime) -> str:
    """Write a time as the platforms do: ISO 8601 in UTC with milliseconds and a Z."""
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
