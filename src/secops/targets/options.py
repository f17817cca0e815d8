"""Reading what ``secops.yaml`` says of a target, with a clear word about each thing that is off."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from datetime import timedelta
from typing import TYPE_CHECKING, Final

from secops.durations import parse_duration
from secops.errors import ConfigurationError, UsageError

if TYPE_CHECKING:
    from secops.targets.target import Place

COMMON: Final = frozenset({"type", "kind", "name", "probe", "description"})
"""What any target may have; it is read elsewhere."""

HTTP: Final = frozenset({"url", "token_env", "keyring", "timeout", "patience"})
"""What any target behind HTTP may have."""

_SECRETS: Final = frozenset(
    {
        "token", "api_key", "apikey", "api_token", "key", "password", "secret", "bearer",
        "access_token", "credentials", "authorization",
    }
)  # fmt: skip


class Options:
    """The options of one target.

    Args:
        place: The target as ``secops.yaml`` has it.
        known: The options that its kind reads, beside :data:`COMMON`.

    Raises:
        ConfigurationError: There is an option that nobody reads, or one that holds credentials.
    """

    def __init__(self, place: Place, known: Collection[str]) -> None:
        self._place = place
        self._known = sorted({*known})
        for name in place.options:
            if name in known or name in COMMON:
                continue
            if name.lower().replace("-", "_") in _SECRETS:
                raise ConfigurationError(
                    f"The target {place.name} has its credentials in secops.yaml ({name}).",
                    hint="Take them out, and renew them if the file was shared. Name the environment "
                    "variable that holds them with token_env, or a keyring's entry with keyring.",
                )
            near = difflib.get_close_matches(name, self._known, n=1, cutoff=0.5)
            raise ConfigurationError(
                f"The target {place.name} ({place.kind}) has no option {name!r}.",
                hint=f"Did you mean {near[0]}?"
                if near
                else f"Its options are: {', '.join(self._known)}.",
            )

    def text(self, name: str, default: str | None = None, *, hint: str = "") -> str:
        """Return an option that is text; one without a default must be there."""
        value = self._place.options.get(name)
        if value is None:
            if default is None:
                raise ConfigurationError(f"The target {self._place.name} needs {name}.", hint=hint)
            return default
        if isinstance(value, bool) or not isinstance(value, str | int):
            raise self._wrong(name, "text")
        text = str(value).strip()
        if not text or any(ord(each) < 32 for each in text):  # noqa: PLR2004  control characters
            raise self._wrong(name, "text in one line")
        return text

    def optional(self, name: str) -> str | None:
        """Return an option that is text, or ``None``."""
        return None if self._place.options.get(name) is None else self.text(name)

    def choice(self, name: str, among: Collection[str], default: str) -> str:
        """Return an option that is one of several words."""
        value = self.text(name, default)
        if value not in among:
            raise self._wrong(name, f"one of {', '.join(among)}")
        return value

    def flag(self, name: str, *, default: bool = False) -> bool:
        """Return an option that is yes or no."""
        value = self._place.options.get(name, default)
        if not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return value

    def span(self, name: str, default: timedelta) -> timedelta:
        """Return an option that is a span of time."""
        if self._place.options.get(name) is None:
            return default
        try:
            span = parse_duration(self.text(name))
        except UsageError as error:
            raise ConfigurationError(
                f"{name} of the target {self._place.name}: {error.message}", hint=error.hint
            ) from None
        if not span:
            raise self._wrong(name, "longer than nothing")
        return span

    def names(self, name: str) -> list[str]:
        """Return an option that is one text or a list of them."""
        value = self._place.options.get(name)
        if value is None:
            return []
        given = value if isinstance(value, list | tuple) else [value]
        if not all(isinstance(each, str) and each.strip() for each in given):
            raise self._wrong(name, "a list of names")
        return [str(each).strip() for each in given]

    def mapping(self, name: str) -> Mapping[str, object]:
        """Return an option that has settings of its own."""
        value = self._place.options.get(name)
        if value is None:
            return {}
        if not isinstance(value, Mapping):
            raise self._wrong(name, "a mapping")
        return {str(key): each for key, each in value.items()}

    def _wrong(self, name: str, what: str) -> ConfigurationError:
        # The value is not repeated: somebody may have put a token where it does not belong.
        return ConfigurationError(
            f"{name} of the target {self._place.name} must be {what}.", hint="See docs/targets.md."
        )
