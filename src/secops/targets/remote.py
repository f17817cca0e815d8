"""What the targets behind HTTP have in common: how they are made, and reading what a service answers."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final
from urllib.parse import urlsplit

from secops.errors import SecopsError
from secops.targets.failures import Misunderstood
from secops.targets.http import Http
from secops.targets.options import HTTP, Options

if TYPE_CHECKING:
    from collections.abc import Collection

    from secops.targets.http import Header
    from secops.targets.target import Place, Right

_TIMEOUT: Final = timedelta(seconds=30)
_PATIENCE: Final = timedelta(seconds=60)


def options_of(place: Place, own: Collection[str]) -> Options:
    """Return a target's options, once it is known that each of them is read."""
    return Options(place, {*HTTP, *own})


def http_of(
    options: Options,
    service: str,
    base: str,
    headers: Mapping[str, Header],
    *,
    ca: Path | None = None,
    timeout: timedelta = _TIMEOUT,
) -> Http:
    """Return the way to a service: ``url``, ``timeout`` and ``patience`` of the options, or the usual."""
    return Http(
        service,
        options.text("url", base),
        headers=headers,
        timeout=options.span("timeout", timeout),
        patience=options.span("patience", _PATIENCE),
        ca=ca,
    )


def fingerprint(kind: str, base: str, usual: str, *parts: str) -> str:
    """Return what a target points at, without a secret; the address is part of it where it is not the usual."""
    host = urlsplit(base).netloc
    elsewhere = [] if host == urlsplit(usual).netloc else [host]
    return f"{kind}:{'/'.join([*elsewhere, *parts])}"


class Reading:
    """Reads a value out of a reply, or says that the reply is not the one that secops knows.

    Args:
        service: Whose reply it is.
        what: What was asked, after "to".
        found: The value here.
    """

    def __init__(self, service: str, what: str, found: object) -> None:
        self._service = service
        self._what = what
        self.found = found

    def __getitem__(self, key: str) -> Reading:
        if isinstance(self.found, Mapping) and key in self.found:
            return self._at(self.found[key])
        raise self.wrong(f"no {key}")

    def get(self, key: str) -> Reading:
        """Return what is under a key; ``None`` where nothing is."""
        if isinstance(self.found, Mapping):
            return self._at(self.found.get(key))
        raise self.wrong(f"no {key}")

    def __iter__(self) -> Iterator[Reading]:
        if not isinstance(self.found, list):
            raise self.wrong("no list")
        return (self._at(each) for each in self.found)

    def text(self) -> str:
        """Return a text."""
        if not isinstance(self.found, str):
            raise self.wrong("no text")
        return self.found

    def number(self) -> int:
        """Return a number, as a whole one."""
        if isinstance(self.found, bool) or not isinstance(self.found, int | float):
            raise self.wrong("no number")
        return round(self.found)

    def mapping(self) -> Mapping[str, object]:
        """Return a map."""
        if not isinstance(self.found, Mapping):
            raise self.wrong("no map")
        return self.found

    def time(self) -> datetime | None:
        """Return a time with its zone; ``None`` where there is none."""
        if self.found is None:
            return None
        try:
            moment = datetime.fromisoformat(self.text())
        except ValueError:
            raise self.wrong("no time") from None
        return moment if moment.tzinfo else moment.replace(tzinfo=UTC)

    def wrong(self, why: str) -> Misunderstood:
        """Return the error for a reply that cannot be understood."""
        return Misunderstood(
            f"{self._service}'s answer to the request to {self._what} cannot be understood: {why}.",
            hint="Update secops; if it is the newest, report this.",
        )

    def _at(self, found: object) -> Reading:
        return Reading(self._service, self._what, found)


def short(error: SecopsError) -> str:
    """Return an error's sentence without its full stop."""
    return error.message.rstrip(".")


def note_of(note: str, marker: str) -> str:
    """Return what a platform's history is to say of a write."""
    return note or f"secops {marker}".strip()


def granted(what: str, mend: str, error: SecopsError | None) -> Right:
    """Return a right that was tried: given where there is no error."""
    from secops.targets.target import Right  # noqa: PLC0415  types alone at import

    if error is None:
        return Right(what, allowed=True)
    return Right(what, allowed=False, detail=short(error), mend=error.hint or mend)
