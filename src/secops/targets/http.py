"""Talking to a platform's API so that it is always known what a failure means for what was asked.

A request that reads may be repeated; one that changes is sent once. Where the connection never stood,
nothing was written (:class:`~secops.errors.Unreachable`); where the request was on its way and no reply came,
nobody knows (:class:`~secops.errors.OutcomeUnknown`). A service that counts requests turns one away before
it looks at it, so that a 429 may be repeated whatever was asked.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING, Final

import secops
from secops.durations import about
from secops.errors import ConfigurationError, OutcomeUnknown, Unreachable
from secops.settings import Secret
from secops.targets.address import checked_address, is_loopback, origin
from secops.targets.failures import Misunderstood, NotAllowed, TooManyRequests
from secops.targets.waiting import backoff, retry_after

if TYPE_CHECKING:
    import ssl
    from pathlib import Path

    from httpx2 import Client

_CONNECT: Final = 5.0
_READS: Final = 3
"""How often what reads is asked for before it counts as unreachable."""
_QUOTED: Final = 200
"""How much of a service's own words is repeated."""
_LARGEST: Final = 16 * 1024 * 1024


Header = str | Secret | Callable[[], Secret]


@dataclass(frozen=True, slots=True)
class Reply:
    """What the service answered.

    Attributes:
        status: The HTTP status.
        headers: By lower-case name.
        body: Parsed JSON; ``None`` where the body was empty.
    """

    status: int
    headers: Mapping[str, str]
    body: object


@dataclass(frozen=True, slots=True)
class Call:
    """One request.

    Attributes:
        method: ``GET``, ``PATCH`` ...
        path: Below the service's address.
        what: What it does, after "to": ``"read the variables of app x"``; stands in errors.
        right: The right that it needs, and where to get it; stands in the error where it is refused.
        changes: Whether it may change something; such a request is never sent a second time.
        json: The body.
        params: The query.
        headers: Beside those of every request.
        accept: Statuses from 400 on that the caller deals with.
    """

    method: str
    path: str
    what: str
    right: str = ""
    changes: bool = False
    json: object = None
    params: Mapping[str, str] | None = None
    headers: Mapping[str, str] | None = None
    accept: Collection[int] = ()


class Http:
    """One service's API, its credentials and the count of requests that were sent to it.

    Args:
        service: What people call the service.
        base: Where its API is; HTTPS, unless it is on this machine.
        headers: What each request carries; the secret ones are revealed when they are sent, and those that
            are functions are called then: a token may be renewed while we run.
        timeout: How long to wait for a reply.
        patience: How long to wait in all where the service asks to come back later.
        ca: A file with the authority that signed the service's certificate; the system's where ``None``.
        sleep: Waits so many seconds.
    """

    def __init__(
        self,
        service: str,
        base: str,
        *,
        headers: Mapping[str, Header],
        timeout: timedelta = timedelta(seconds=30),
        patience: timedelta = timedelta(seconds=60),
        ca: Path | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.service = service
        self.base = checked_address(base, service)
        self.timeout = timeout
        self.patience = patience
        self.sleep = sleep
        self.requests = 0
        self.waited = 0.0
        self._headers = dict(headers)
        self._ca = ca
        self._client: Client | None = None
        self._ahead = timedelta(0)

    def __repr__(self) -> str:
        return f"Http({self.service!r}, {self.base!r})"

    def now(self) -> datetime:
        """Return the time on the service's own clock, as its last reply told it."""
        return datetime.now(UTC) + self._ahead

    def header(self, name: str, value: Header) -> None:
        """Let each further request carry this."""
        self._headers[name] = value

    def drop(self, name: str) -> None:
        """Let no further request carry this."""
        self._headers.pop(name, None)

    def send(self, call: Call) -> Reply:
        """Send a request and return its reply.

        Raises:
            NotAllowed: 401 or 403.
            TooManyRequests: 429, and to wait for it would take longer than the patience.
            OutcomeUnknown: It changes something, and the reply was lost or is a 5xx.
            Unreachable: It was not sent; or it reads, and no attempt brought a reply.
            Misunderstood: Any other status that the caller does not accept, or no JSON.
        """
        deadline = time.monotonic() + self.patience.total_seconds()
        tries = turns = 0
        while True:
            reply, lost = self._once(call)
            if reply is not None and reply.status == 429:  # noqa: PLR2004
                turns += 1
                self._wait_for_turn(call, reply, deadline, turns)
                continue
            tries += 1
            if reply is not None and reply.status < 500:  # noqa: PLR2004
                return self._judged(call, reply)
            why = lost or _status(reply)
            if call.changes:
                raise OutcomeUnknown(
                    f"{self.service} did not say whether it managed to {call.what}: {why}.",
                    hint="It may have been done, or not, or by half; nothing is sent twice.",
                )
            if tries >= _READS:
                raise Unreachable(
                    f"{self.service} cannot be asked to {call.what}: {why}.",
                    hint="Nothing was changed. Try again when it answers.",
                )
            asked = retry_after(reply.headers, self.now()) if reply is not None else None
            self._pause(backoff(tries) if asked is None else asked, deadline)

    def _once(self, call: Call) -> tuple[Reply | None, str]:
        """Send it once; return the reply, or why there is none though it was sent."""
        import httpx2  # noqa: PLC0415  a tenth of a second, for who talks to a service

        failed: str | None = None
        unsent = False
        client = self._opened()
        try:
            self.requests += 1
            answer = client.request(
                call.method,
                self.base + call.path,
                content=None if call.json is None else json.dumps(call.json),
                params=call.params,
                headers=self._revealed(call),
            )
        except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
            failed, unsent = _connecting(error), True
        except (httpx2.UnsupportedProtocol, httpx2.LocalProtocolError):
            failed, unsent = "the request cannot be written", True
        except httpx2.ProxyError:
            failed, unsent = "the proxy refuses the connection", True
        except httpx2.TimeoutException:
            failed = f"no reply within {_seconds(self.timeout)}"
        except httpx2.TransportError:
            failed = "the connection was lost before the reply"
        except httpx2.DecodingError:
            failed = "the reply cannot be decoded"
        # Raised outside of the handlers: httpx's errors hold the request, and that the token.
        if failed is not None and unsent:
            raise Unreachable(
                f"{self.service} cannot be reached: {failed}.",
                hint=f"Nothing was changed. Is {origin(self.base)} reachable from here?",
            )
        if failed is not None:
            return None, failed
        return self._reply(answer.status_code, dict(answer.headers), answer.content)

    def _reply(
        self, status: int, headers: Mapping[str, str], content: bytes
    ) -> tuple[Reply | None, str]:
        self._learn_time(headers.get("date", ""))
        body: object = None
        if content.strip():
            if len(content) > _LARGEST:
                return None, "the reply is longer than any that it should give"
            try:
                body = json.loads(content)
            except (ValueError, RecursionError):
                if status < 400:  # noqa: PLR2004
                    return None, "the reply is not JSON"
        return Reply(status, {name.lower(): value for name, value in headers.items()}, body), ""

    def _judged(self, call: Call, reply: Reply) -> Reply:
        if reply.status < 300 or reply.status in call.accept:  # noqa: PLR2004
            return reply
        said = self.said(reply)
        if reply.status in {401, 403}:
            raise self.refused(call, said)
        if reply.status < 400:  # noqa: PLR2004
            raise Misunderstood(
                f"{self.service} sends the request to {call.what} elsewhere (HTTP {reply.status}).",
                hint="Nothing was changed. The address in secops.yaml is not that of its API.",
            )
        raise Misunderstood(
            f"{self.service} does not {call.what}: HTTP {reply.status}{said}.",
            hint="Nothing was changed.",
        )

    def refused(self, call: Call, said: str = "") -> NotAllowed:
        """Return the error for a request that the credentials do not allow."""
        return NotAllowed(
            f"The token may not {call.what}: {self.service} refuses it{said}.",
            hint=f"Nothing was changed. {call.right}".strip(),
            details={"needed": call.what},
        )

    def said(self, reply: Reply) -> str:
        """Return a service's own words for an error, behind a colon; empty where it has none."""
        body = reply.body
        if isinstance(body, dict):
            for key in ("message", "error", "id", "reason"):
                if isinstance(body.get(key), str) and body[key].strip():
                    return f": {self.harmless(body[key])}"
        return ""

    def harmless(self, text: str) -> str:
        """Return a service's own words without any credentials in them, and not too many."""
        for value in self._headers.values():
            if not isinstance(value, str):
                for part in _text(value).split():
                    if len(part) > 6:  # noqa: PLR2004  a scheme such as Bearer is no secret
                        text = text.replace(part, "***")
        text = " ".join(text.split()).rstrip(".")
        return text if len(text) <= _QUOTED else text[: _QUOTED - 1] + "…"

    def close(self) -> None:
        """Close the connections."""
        if self._client is not None:
            self._client.close()
            self._client = None

    def _opened(self) -> Client:
        if self._client is None:
            import httpx2  # noqa: PLC0415

            seconds = self.timeout.total_seconds()
            here = is_loopback(self.base)
            self._client = httpx2.Client(
                timeout=httpx2.Timeout(seconds, connect=min(_CONNECT, seconds)),
                # A proxy is for what is elsewhere.
                trust_env=not here,
                verify=self._trust(),
                # A connection that idled may have been closed at the other end, and then nobody
                # knows what became of the request that found out.
                limits=httpx2.Limits(keepalive_expiry=2.0),
            )
            # Who opens a target need not know that it has connections.
            weakref.finalize(self, self._client.close)
        return self._client

    def _trust(self) -> bool | ssl.SSLContext:
        if self.base.startswith("http://"):
            return False  # a context for TLS takes longer to make than a request on this machine
        if self._ca is None:
            return True
        import ssl  # noqa: PLC0415

        try:
            return ssl.create_default_context(cafile=str(self._ca))
        except (OSError, ssl.SSLError):
            raise ConfigurationError(
                f"The certificate authority in {self._ca} cannot be read.",
                hint="Mend the file, or `ca` in secops.yaml.",
            ) from None

    def _revealed(self, call: Call) -> dict[str, str]:
        kind = {} if call.json is None else {"Content-Type": "application/json"}
        own = {name: _text(value) for name, value in self._headers.items()}
        agent = {"User-Agent": f"secops/{secops.__version__}"}
        return {**agent, **kind, **own, **(call.headers or {})}

    def _wait_for_turn(self, call: Call, reply: Reply, deadline: float, turns: int) -> None:
        asked = retry_after(reply.headers, self.now())
        seconds = max(asked or 0.0, 0.0 if asked else backoff(min(turns, 6)))
        if time.monotonic() + seconds > deadline:
            when = f" for {about(timedelta(seconds=seconds))}" if asked is not None else ""
            raise TooManyRequests(
                f"{self.service} takes no more requests{when}, and was asked to {call.what}.",
                hint="Nothing was changed. Run the command again then.",
                details={} if asked is None else {"retry_after": round(asked)},
            )
        self._pause(seconds, deadline)

    def _pause(self, seconds: float, deadline: float) -> None:
        seconds = max(0.0, min(seconds, deadline - time.monotonic()))
        self.waited += seconds
        self.sleep(seconds)

    def _learn_time(self, date: str) -> None:
        try:
            told = parsedate_to_datetime(date)
        except (ValueError, OverflowError):
            return
        if told.tzinfo is not None:
            # The header has whole seconds, cut off.
            ahead = told - datetime.now(UTC)
            self._ahead = timedelta(0) if abs(ahead) < timedelta(seconds=2) else ahead


def _text(value: Header) -> str:
    if isinstance(value, str):
        return value
    return value.reveal() if isinstance(value, Secret) else value().reveal()


def _connecting(error: Exception) -> str:
    import ssl  # noqa: PLC0415

    text = str(error)
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate does not hold: {cause.verify_message or 'not trusted'}"
        cause = cause.__cause__ or cause.__context__
    if "refused" in text:
        return "the connection is refused"
    if "Name or service" in text or "name resolution" in text or "nodename" in text:
        return "its name is not known"
    return "no connection could be made" if text else "no connection in time"


def _status(reply: Reply | None) -> str:
    return f"HTTP {reply.status}" if reply is not None else "no reply"


def _seconds(span: timedelta) -> str:
    seconds = span.total_seconds()
    return f"{seconds:.0f} s" if seconds >= 1 else f"{seconds * 1000:.0f} ms"
