"""What a gate's description may hold, read from text: shares, factors, spans, addresses."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, TypeVar
from urllib.parse import urlsplit

from pydantic import BeforeValidator, Field, ValidationError

from secops.errors import ConfigurationError
from secops.forms import Form, nearest

if TYPE_CHECKING:
    from secops.rollout.gates.gate import GateSpec

_PERCENT: Final = re.compile(r"(\d+(?:\.\d+)?)\s*%")
_FACTOR: Final = re.compile(r"(\d+(?:\.\d+)?)\s*[xX\u00d7]")
_FAULTS: Final = {
    "greater_than": "must be more than {gt:g}",
    "greater_than_equal": "must be at least {ge:g}",
    "less_than": "must be less than {lt:g}",
    "less_than_equal": "must be at most {le:g}",
    "int_parsing": "must be a whole number",
    "float_parsing": "must be a number",
    "string_type": "takes one value",
    "missing": "is needed",
}


def _share(value: object) -> object:
    if isinstance(value, str):
        found = _PERCENT.fullmatch(value.strip())
        return float(found[1]) / 100 if found else value
    return value


def _factor(value: object) -> object:
    if isinstance(value, str):
        found = _FACTOR.fullmatch(value.strip())
        return float(found[1]) if found else value
    return value


def _address(value: object) -> object:
    text = str(value or "").strip()
    try:
        parts = urlsplit(text)
        _ = parts.port
    except ValueError:
        parts = urlsplit("")
    if text and (
        parts.scheme not in {"http", "https"} or not parts.hostname or "@" in parts.netloc
    ):
        raise ValueError(
            "takes an address such as https://app.example.com/healthz, without credentials"
        )
    return text


Share = Annotated[float, BeforeValidator(_share), Field(ge=0, lt=1)]
"""A share: ``5%`` or ``0.05``."""
Factor = Annotated[float, BeforeValidator(_factor), Field(ge=1, le=100)]
"""A multiple: ``1.25x``."""
Address = Annotated[str, BeforeValidator(_address)]
"""Where a service answers, or nothing."""

_Options = TypeVar("_Options", bound=Form)


def read(form: type[_Options], spec: GateSpec) -> _Options:
    """Read the options of a gate.

    Args:
        form: What the kind takes.
        spec: The description.

    Raises:
        ConfigurationError: One is unknown, missing or out of bounds; the first is named.
    """
    try:
        return form.model_validate(dict(spec.options))
    except ValidationError as error:
        fault = error.errors(include_url=False, include_input=False)[0]
    key = str(fault["loc"][0]) if fault["loc"] else ""
    context: Mapping[str, Any] = fault.get("ctx", {})
    where = f"The gate {spec.name} ({spec.kind})"
    if fault["type"] == "extra_forbidden":
        raise ConfigurationError(
            f"{where} has no option {key!r}.",
            hint=nearest(key, tuple(form.model_fields), "It may hold"),
        )
    if fault["type"] == "value_error":
        said = str(context["error"])
    else:
        said = _FAULTS.get(fault["type"], fault["msg"]).format(**context)
    raise ConfigurationError(
        f"{where}: {key} {said}." if key else f"{where}: {said}.",
        hint="docs/gates.md says what each option means.",
        details={"gate": spec.name, "option": key},
    )
