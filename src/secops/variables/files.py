"""Read a registry from its YAML file; ``docs/profiles.md`` describes the format for people."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Final

from pydantic import Field

from secops.documents import At, Document
from secops.documents import read as read_document
from secops.errors import UsageError
from secops.forms import Form, Prose, Several, fill
from secops.variables.entry import Entry, Stricter
from secops.variables.kinds import SPANS, Kind, Value
from secops.variables.rules import Level, Order, Rule

NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,127}", re.ASCII)
"""What every shell, platform and file takes for a variable's name."""
HINT: Final = "docs/profiles.md describes how variables are declared."


class _EntryForm(Form):
    type: Kind | None = None
    default: str | None = None
    absent: str = Field("default", pattern="^(default|unknown)$")
    min: str | None = None
    max: str | None = None
    choices: Several | None = None
    secret: bool = False
    stricter: Stricter = Stricter.NONE
    about: Prose = ""
    plan: str = ""


class _RuleForm(Form):
    because: Prose
    level: Level = Level.ERROR
    when: dict[str, str] = Field(default_factory=dict)
    need: dict[str, str] = Field(default_factory=dict)
    larger: str = ""
    no_smaller: str = ""
    than: str = ""


class _File(Form):
    variables: dict[str, object] = Field(default_factory=dict)
    rules: tuple[object, ...] = ()


def read_registry(
    path: Path, known: Mapping[str, Entry], *, own: bool
) -> tuple[dict[str, Entry], tuple[Rule, ...]]:
    """Read one file.

    Args:
        path: The file.
        known: The variables that it adds to; one of the same name is changed.
        own: Whether it is the user's.

    Returns:
        All variables, and the file's rules.

    Raises:
        ConfigurationError: It cannot be read so; names file and line.
    """
    document = read_document(path, HINT)
    if document.data is None:
        return dict(known), ()
    form = fill(_File, document, "a registry")
    found = dict(known)
    for name in form.variables:
        found[name] = _entry(document, name, known.get(name), own=own)
    return found, tuple(_rule(document, index, found) for index in range(len(form.rules)))


def _entry(document: Document, name: str, before: Entry | None, *, own: bool) -> Entry:
    at: At = ("variables", name)
    if not NAME.fullmatch(name):
        document.complain(
            at, "a variable's name has letters, digits and underscores, and no digit first"
        )
    form = fill(_EntryForm, document, f"the variable {name}", at=at)
    if before is None and form.type is None:
        document.complain(at, f"the variable {name} lacks a type", f"One of {', '.join(Kind)}.")
    made = _bounded(document, at, _described(form, name, before, own=own), form)
    if "default" in form.model_fields_set:
        text = form.default
        made = replace(made, default=None)
    else:
        text = made.default
    if text is not None:
        place = (*at, "default")
        made = replace(made, default=_canonical(document, place, made, text))
    _shape(document, at, made)
    return made


def _described(form: _EntryForm, name: str, before: Entry | None, *, own: bool) -> Entry:
    """Return the entry without bounds and default of its own; what the form leaves out stays."""
    made = before or Entry(name, form.type or Kind.TEXT)
    if form.type is not None and form.type is not made.type:
        # What was said of another kind of value does not hold for this one.
        made = Entry(name, form.type, about=made.about, plan=made.plan, secret=made.secret)
    given = form.model_fields_set
    return replace(
        made,
        secret=form.secret if "secret" in given else made.secret,
        stricter=form.stricter if "stricter" in given else made.stricter,
        about=form.about if "about" in given else made.about,
        plan=form.plan if "plan" in given else made.plan,
        choices=form.choices or () if "choices" in given else made.choices,
        absent_is_default=form.absent == "default" if "absent" in given else made.absent_is_default,
        own=own,
    )


def _bounded(document: Document, at: At, entry: Entry, form: _EntryForm) -> Entry:
    least, most = entry.minimum, entry.maximum
    if "min" in form.model_fields_set:
        least = _bound(document, (*at, "min"), entry, form.min)
    if "max" in form.model_fields_set:
        most = _bound(document, (*at, "max"), entry, form.max)
    if least is not None and most is not None and least > most:  # type: ignore[operator]  # one kind
        document.complain((*at, "min"), f"{entry.name}: min is larger than max")
    return replace(entry, minimum=least, maximum=most)


def _shape(document: Document, at: At, entry: Entry) -> None:
    """Refuse an entry whose parts do not fit one another."""
    if bool(entry.choices) != (entry.type is Kind.CHOICE):
        document.complain(at, f"{entry.name}: choices belong to the type choice, and only there")
    ways = {
        Kind.FLAG: {Stricter.TRUE, Stricter.FALSE},
        Kind.CHOICE: {Stricter.ORDER},
        Kind.TEXT: set[Stricter](),
    }.get(entry.type, {Stricter.SMALLER, Stricter.LARGER})
    if entry.stricter not in {*ways, Stricter.NONE}:
        allowed = ", ".join(sorted({*ways, Stricter.NONE}))
        document.complain(
            (*at, "stricter"), f"{entry.name}: a {entry.type} has no {entry.stricter} way",
            f"One of {allowed}.",
        )  # fmt: skip
    if entry.secret and entry.default is not None:
        document.complain(at, f"{entry.name}: a secret has no default")


def _bound(document: Document, at: At, entry: Entry, text: str | None) -> timedelta | int | None:
    if text is None:
        return None
    if entry.type in {Kind.FLAG, Kind.CHOICE}:
        document.complain(at, f"{entry.name}: a {entry.type} has no {at[-1]}")
    kind = Kind.COUNT if entry.type is Kind.TEXT else entry.type
    try:
        bound = Entry(entry.name, kind).read(text)
    except UsageError as error:
        document.complain(at, error.message.rstrip("."), error.hint)
    assert isinstance(bound, (timedelta, int))
    return bound


def _canonical(document: Document, at: At, entry: Entry, text: str) -> str:
    try:
        return entry.canonical(text)
    except UsageError as error:
        document.complain(at, error.message.rstrip("."), error.hint)


def _rule(document: Document, index: int, known: Mapping[str, Entry]) -> Rule:
    at: At = ("rules", index)
    form = fill(_RuleForm, document, "a rule", at=at)
    because = form.because.rstrip(".")
    compared = [each for each in (form.larger, form.no_smaller) if each]
    if form.when and form.need and not compared and not form.than:
        return Rule(
            because,
            form.level,
            when=_values(document, (*at, "when"), form.when, known),
            need=_values(document, (*at, "need"), form.need, known),
        )
    if len(compared) != 1 or not form.than or form.when or form.need:
        document.complain(
            at, "a rule has `when` and `need`, or `larger` (or `no_smaller`) and `than`"
        )
    first, second = (_known(document, at, name, known) for name in (compared[0], form.than))
    if (first.type in SPANS, first.type is Kind.COUNT) != (
        second.type in SPANS,
        second.type is Kind.COUNT,
    ) or first.type not in {*SPANS, Kind.COUNT}:
        document.complain(at, f"{first.name} and {second.name} cannot be compared")
    order = Order.LARGER if form.larger else Order.NO_SMALLER
    return Rule(because, form.level, first=first.name, order=order, second=second.name)


def _known(document: Document, at: At, name: str, known: Mapping[str, Entry]) -> Entry:
    if name not in known:
        from secops.variables.registry import Registry  # noqa: PLC0415  it imports this module

        document.complain(at, f"there is no variable {name!r}", Registry(known).nearest(name))
    return known[name]


def _values(
    document: Document, at: At, texts: Mapping[str, str], known: Mapping[str, Entry]
) -> dict[str, Value]:
    found: dict[str, Value] = {}
    for name, text in texts.items():
        entry = _known(document, (*at, name), name, known)
        try:
            found[name] = entry.read(text)
        except UsageError as error:
            document.complain((*at, name), error.message.rstrip("."), error.hint)
    return found
