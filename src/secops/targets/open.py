"""The targets of ``secops.yaml``: which there are, which one is meant, and opening it.

Each kind is a module of this package with a function ``make(place, environ)``; it is imported when a target
of its kind is opened.
"""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final, cast

from secops.errors import ConfigurationError, NothingMatched, UsageError
from secops.targets.target import Place

if TYPE_CHECKING:
    from collections.abc import Callable

    from secops.documents import Document
    from secops.settings import Settings
    from secops.targets.target import Target

KINDS: Final = {
    "dotenv": "a .env file",
    "railway": "a service on Railway",
    "heroku": "an app on Heroku",
    "kubernetes": "a ConfigMap or Secret",
    "render": "a service on Render",
    "shell": "lines for a shell, printed",
}
"""The kinds of targets, and what each is."""

DEFAULT: Final = "default"
"""The name of the target that is meant where several are there and none is named."""

_EXAMPLE: Final = (
    "In secops.yaml, for example:\ntargets:\n  local:\n    kind: dotenv\n    path: .env"
)


def places(settings: Settings) -> list[Place]:
    """Return the targets that ``secops.yaml`` describes, in its order; none is opened.

    Raises:
        ConfigurationError: One has no kind, or one that there is not; names file and line.
    """
    document = settings.structured.get("targets")
    if document is None or document.data is None:
        return []
    if not isinstance(document.data, dict):
        document.complain((), "targets takes a name for each target, indented under it", _EXAMPLE)
    return [_place(document, name, settings) for name in document.data]


def chosen(settings: Settings, name: str | None = None) -> Place:
    """Return the target that is meant.

    Args:
        settings: Whose ``secops.yaml`` describes targets.
        name: What ``--target`` says; ``None`` means the only one, or the one that is called ``default``.

    Raises:
        ConfigurationError: There is none at all, or one cannot be read.
        NothingMatched: There is none of that name; names the nearest.
        UsageError: There are several, and none is named.
    """
    found = {place.name: place for place in places(settings)}
    if not found:
        raise ConfigurationError("secops.yaml describes no target.", hint=_EXAMPLE)
    if name is not None:
        if name not in found:
            near = difflib.get_close_matches(name, found, n=1, cutoff=0.5)
            hint = f"Did you mean {near[0]}? " if near else ""
            raise NothingMatched(
                f"There is no target {name!r}.",
                hint=f"{hint}There are: {', '.join(found)}.",
                details={"known": list(found)},
            )
        return found[name]
    if len(found) == 1:
        return next(iter(found.values()))
    if DEFAULT in found:
        return found[DEFAULT]
    raise UsageError(
        f"There are {len(found)} targets, and none is named: {', '.join(found)}.",
        hint=f"Add --target {next(iter(found))}, or call one of them {DEFAULT} in secops.yaml.",
    )


def open_target(place: Place, environ: Mapping[str, str]) -> Target:
    """Open a target.

    Args:
        place: What ``secops.yaml`` says of it.
        environ: The environment, where tokens are.

    Raises:
        ConfigurationError: An option is missing or cannot be understood, or there is no token.
    """
    module = importlib.import_module(f"secops.targets.{place.kind}")
    make = cast("Callable[[Place, Mapping[str, str]], Target]", module.make)
    return make(place, environ)


def _place(document: Document, name: str, settings: Settings) -> Place:
    assert isinstance(document.data, dict)
    written = document.data[name]
    if not isinstance(written, dict):
        document.complain((name,), f"the target {name!r} takes `key: value` lines", _EXAMPLE)
    kind = written.get("kind")
    listed = f"The kinds are: {', '.join(KINDS)}."
    if not isinstance(kind, str):
        document.complain((name,), f"the target {name!r} lacks a kind", listed)
    if kind not in KINDS:
        near = difflib.get_close_matches(kind, KINDS, n=1, cutoff=0.5)
        document.complain(
            (name, "kind"), f"there is no kind of target {kind!r}",
            f"Did you mean {near[0]}?" if near else listed,
        )  # fmt: skip
    options = {key: _plain(value) for key, value in written.items() if key != "kind"}
    folder = settings.config.parent if settings.config else None
    return Place(name, kind, options, folder)


def _plain(value: object) -> object:
    """Make ``true`` and ``false`` what they say; all else stays the text that it is."""
    if isinstance(value, dict):
        return {key: _plain(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return {"true": True, "false": False}.get(value, value) if isinstance(value, str) else value
