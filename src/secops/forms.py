"""What a YAML document must look like, said as a pydantic model; complaints name file, line and key.

Values reach the model as text (see :mod:`secops.documents`), so a model reads them in pydantic's lax mode
or through the types here. What was written is never repeated in a complaint: it may be secret.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any, Final, NoReturn, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, ValidationError

from secops.documents import At, Document
from secops.durations import parse_duration
from secops.errors import UsageError

if TYPE_CHECKING:
    from pydantic_core import ErrorDetails


class Form(BaseModel):
    """What every form is: no key beyond its own, and nothing changes it afterwards."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)


_Form = TypeVar("_Form", bound=Form)


def _span(value: object) -> object:
    if isinstance(value, timedelta):
        return value
    try:
        return parse_duration(str(value))
    except UsageError as error:
        raise ValueError(f"{error.message.rstrip('.')}. {error.hint}".rstrip(". ")) from None


def _several(value: object) -> object:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else value


def _flat(value: object) -> object:
    return " ".join(value.split()) if isinstance(value, str) else value


Span = Annotated[timedelta, BeforeValidator(_span)]
"""A duration: ``90s``, ``15m``, ``24h``."""
Several = Annotated[tuple[str, ...], BeforeValidator(_several)]
"""A list of words; a single one stands for a list of one."""
Prose = Annotated[str, BeforeValidator(_flat)]
"""A sentence, which may run over several lines."""


def fill(form: type[_Form], document: Document, what: str, *, at: At = ()) -> _Form:
    """Read a document as a form.

    Args:
        form: The model.
        document: What was written.
        what: What it is, for complaints: ``"a profile"``, ``"the target 'prod'"``.
        at: What leads to it in the document.

    Raises:
        ConfigurationError: It does not fit; the first fault is named with its line, all are in the details.
    """
    data: Any = document.data
    for key in at:
        data = data[key]
    if not isinstance(data, dict):
        document.complain(at, f"{what} takes `key: value` lines, indented under it")
    try:
        return form.model_validate(data)
    except ValidationError as error:
        faults = sorted(
            error.errors(include_url=False, include_input=False, include_context=True),
            key=lambda each: document.line((*at, *each["loc"])),
        )
        _complain(form, document, what, at, faults)


def nearest(word: str, known: Sequence[str], otherwise: str) -> str:
    """Return a hint: the known word that a mistyped one is nearest to, or all of them."""
    near = difflib.get_close_matches(word, known, n=1, cutoff=0.5)
    if not near:  # case alone keeps difflib from seeing it
        near = [each for each in known if each.lower() == word.lower()]
    return f"Did you mean {near[0]}?" if near else f"{otherwise} {', '.join(known)}."


_SHAPES: Final = {
    "string_type": "takes one value",
    "dict_type": "takes `key: value` lines, indented under it",
    "mapping_type": "takes `key: value` lines, indented under it",
    "model_type": "takes `key: value` lines, indented under it",
    "tuple_type": "takes a list",
    "list_type": "takes a list",
    "frozen_set_type": "takes a list",
    "bool_parsing": "must be true or false",
    "bool_type": "must be true or false",
    "int_parsing": "must be a whole number",
    "int_type": "must be a whole number",
    "float_parsing": "must be a number",
    "float_type": "must be a number",
}


def _complain(
    form: type[Form], document: Document, what: str, at: At, faults: Sequence[ErrorDetails]
) -> NoReturn:
    first = faults[0]
    place: At = (*at, *first["loc"])
    key = ".".join(str(each) for each in first["loc"] if each != "__root__")
    kind, context = first["type"], first.get("ctx", {})
    hint = ""
    if kind == "extra_forbidden":
        known = _keys(form, first["loc"][:-1])
        message = f"{what} has no {str(first['loc'][-1])!r}"
        hint = nearest(str(first["loc"][-1]), known, "It may hold")
    elif kind == "missing":
        message = f"{what} lacks {key!r}"
    elif kind in {"literal_error", "enum"}:
        message = f"{key} must be one of {context['expected']}".replace("'", "")
    elif kind == "value_error":
        message, _, hint = str(context["error"]).partition("\n")
        message = f"{key}: {message}" if key else f"{what}: {message}"
    else:
        message = f"{key} {_SHAPES.get(kind) or 'is off: ' + first['msg']}"
    if len(faults) > 1:
        hint = f"{hint} {len(faults) - 1} more stand below it.".strip()
    document.complain(place, message, hint)


def _keys(form: type[Form], location: tuple[int | str, ...]) -> list[str]:
    """Return the keys of the form that a fault's location leads to."""
    found: Any = form
    for key in location:
        field = found.model_fields.get(key) if hasattr(found, "model_fields") else None
        found = _inner(field.annotation) if field is not None else found
    return list(getattr(found, "model_fields", {}))


def _inner(annotation: Any) -> Any:  # noqa: ANN401  a type, as Python has it
    """Return the form inside of ``list[Form]``, ``dict[str, Form]``, ``Form | None``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for argument in getattr(annotation, "__args__", ()):
        found = _inner(argument)
        if found is not None:
            return found
    return None
