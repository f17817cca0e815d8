"""Profiles: named sets of environment variables, those that ship with secops and the user's own.

A profile is a YAML file in ``profiles/``; its name is the file's. It says what is set and what is to be
absent, and may build on others.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Final

from pydantic import Field

from secops.documents import At, Document
from secops.documents import read as read_document
from secops.errors import ConfigurationError, NothingMatched, SecopsError, UsageError
from secops.forms import Form, Prose, Several, Span, fill, nearest
from secops.resources import shipped
from secops.variables.registry import FILE, RESERVED, Registry, registry

if TYPE_CHECKING:
    from secops.settings import Settings

HINT: Final = "docs/profiles.md describes how profiles and rollouts are written."
GATES_FILE: Final = "gates.yaml"
"""The file of a folder of profiles that declares gates for all rollouts."""
_NOT_PROFILES: Final = frozenset({FILE, GATES_FILE})
_SUFFIXES: Final = frozenset({".yaml", ".yml"})


@dataclass(frozen=True, slots=True)
class Assignment:
    """What variables are to be: resolved, with all that a profile builds on.

    Attributes:
        set: Names and values, in canonical form.
        unset: Names that are to be absent.
    """

    set: Mapping[str, str] = field(default_factory=dict)
    unset: frozenset[str] = frozenset()

    @property
    def names(self) -> frozenset[str]:
        """All that it speaks of."""
        return frozenset(self.set) | self.unset

    def over(self, below: Assignment) -> Assignment:
        """Lay it over another one; where both speak of a variable, this one wins."""
        kept = {name: value for name, value in below.set.items() if name not in self.unset}
        return Assignment(
            {**kept, **self.set},
            frozenset(name for name in below.unset | self.unset if name not in self.set),
        )

    def after(self, live: Mapping[str, str | None]) -> dict[str, str | None]:
        """Return what an environment is once it is applied."""
        left = {name: value for name, value in live.items() if name not in self.unset}
        return {**left, **self.set}


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile, as its file has it.

    Attributes:
        name: The file's name without its suffix.
        about: What it is for, in a sentence.
        own: What it says itself, without what it builds on; values in canonical form.
        extends: What it builds on; a later one wins over an earlier one.
        max_age: How long it may stay, for one that relaxes; ``None`` where it says nothing.
        plan: The section of the security plan that it is.
        path: The file.
        overrides: Whether it takes the place of one that ships with secops.
        document: What was written, for complaints.
    """

    name: str
    about: str
    own: Assignment
    extends: tuple[str, ...] = ()
    max_age: timedelta | None = None
    plan: str = ""
    path: Path = Path()
    overrides: bool = False
    document: Document = field(default=Document(Path(), None), repr=False, compare=False)

    @property
    def set(self) -> Mapping[str, str]:
        """What it sets itself."""
        return self.own.set

    @property
    def unset(self) -> frozenset[str]:
        """What it wants absent itself."""
        return self.own.unset


class _File(Form):
    about: Prose
    extends: Several = ()
    set: dict[str, str] = Field(default_factory=dict)
    unset: Several = ()
    max_age: Span | None = None
    plan: str = ""
    overrides: bool = False


@dataclass(frozen=True, slots=True)
class Catalogue:
    """All profiles by name; each is read when it is asked for. Made by :func:`load_profiles`.

    Attributes:
        registry: The variables that they may speak of.
        shipped: Files that ship with secops.
        own: Files in the user's folder.
        folder: That folder, if there is one.
        problem: Why it cannot be read, if it cannot.
    """

    registry: Registry
    shipped: Mapping[str, Path]
    own: Mapping[str, Path] = field(default_factory=dict)
    folder: Path | None = None
    problem: ConfigurationError | None = None
    _read: dict[str, Profile] = field(default_factory=dict, repr=False, compare=False)

    def names(self) -> list[str]:
        """Return the names of all profiles, without reading any."""
        return sorted({*self.shipped, *self.own})

    def is_own(self, name: str) -> bool:
        """Say whether a profile is the user's."""
        return name in self.own

    def find(self, name: str) -> Profile:
        """Read one profile.

        Raises:
            NothingMatched: There is none of that name; names the nearest.
            ConfigurationError: Its file cannot be read as one; names file and line.
        """
        if name not in self._read:
            path = self.own.get(name) or self.shipped.get(name)
            if path is None:
                raise self._unknown(name)
            found = read_profile(path, self.registry)
            if name in self.own and name in self.shipped and not found.overrides:
                found.document.complain(
                    (), f"secops has a profile {name!r} already",
                    "Give the file another name, or write `overrides: true` into it.",
                )  # fmt: skip
            self._read[name] = found
        return self._read[name]

    def load(self) -> tuple[list[Profile], list[SecopsError]]:
        """Read every profile and resolve it.

        Returns:
            Those that hold together, by name, and what is wrong with the others.
        """
        profiles: list[Profile] = []
        problems: list[SecopsError] = [self.problem] if self.problem else []
        for name in self.names():
            try:
                self.resolve(name)
                profiles.append(self.find(name))
            except (ConfigurationError, NothingMatched) as error:
                problems.append(error)
        return profiles, problems

    def resolve(self, name: str) -> Assignment:
        """Return what a profile sets and unsets, with all that it builds on.

        Raises:
            NothingMatched: There is no such profile.
            ConfigurationError: A file cannot be read, names a profile that there is not, or builds on
                itself; the message shows the cycle.
        """
        return self._resolve(name, ())

    def sources(self, name: str) -> dict[str, str]:
        """Return for each variable of a profile the profile that says what it is.

        Raises:
            NothingMatched: There is no such profile.
            ConfigurationError: As :meth:`resolve`.
        """
        self.resolve(name)
        found: dict[str, str] = {}
        profile = self.find(name)
        for each in profile.extends:
            found |= self.sources(each)
        return found | dict.fromkeys(profile.own.names, name)

    def max_age(self, name: str) -> timedelta | None:
        """Return how long a profile may stay: its own word, or the shortest of what it builds on."""
        found = self.find(name)
        if found.max_age is not None:
            return found.max_age
        self.resolve(name)
        ages = [age for each in found.extends if (age := self.max_age(each)) is not None]
        return min(ages, default=None)

    def _resolve(self, name: str, above: tuple[str, ...]) -> Assignment:
        profile = self.find(name)
        if name in above:
            cycle = " extends ".join((*above[above.index(name) :], name))
            profile.document.complain(
                ("extends",), f"profiles build on one another in a circle: {cycle}",
                "Take one of these `extends` away.",
            )  # fmt: skip
        found = Assignment()
        for each in profile.extends:
            if each not in self.names():
                profile.document.complain(
                    ("extends",), f"there is no profile {each!r}",
                    nearest(each, self.names(), "There are"),
                )  # fmt: skip
            found = self._resolve(each, (*above, name)).over(found)
        return profile.own.over(found)

    def _unknown(self, name: str) -> NothingMatched:
        hint = nearest(name, self.names(), "There are")
        if self.problem:
            hint += f" {self.problem.message}"
        return NothingMatched(
            f"There is no profile {name!r}.",
            hint=f"{hint} `secops profile list` lists them.",
            details={"known": self.names()},
        )


def load_profiles(settings: Settings | None = None) -> Catalogue:
    """Find all profiles, and read the registry.

    Args:
        settings: Name the user's folder; without them, only what ships is found.

    Raises:
        ConfigurationError: A ``registry.yaml`` cannot be read.
    """
    found = yaml_files(shipped("profiles"))
    folder, problem = own_folder(settings)
    if folder is None:
        return Catalogue(registry(), found, problem=problem)
    return Catalogue(registry(folder), found, yaml_files(folder), folder, problem)


def own_folder(settings: Settings | None) -> tuple[Path | None, ConfigurationError | None]:
    """Return the user's folder of profiles, or why the one that is set cannot be read.

    It is what ``profiles`` in ``secops.yaml`` names, or a folder of that name beside the file.
    """
    if settings is None:
        return None, None
    folder = settings.folder("profiles")
    if folder is None:
        beside = settings.config.parent / "profiles" if settings.config else None
        usable = beside is not None and beside.is_dir()
        same = usable and beside is not None and beside.resolve() == shipped("profiles").resolve()
        return (beside if usable and not same else None), None
    try:
        next(iter(folder.iterdir()), None)
    except OSError as error:
        return None, ConfigurationError(
            f"The folder of your own profiles, {folder}, cannot be read: {error.strerror}.",
            hint=f"It is set by {settings.origins['profiles']}.",
        )
    return folder, None


def yaml_files(folder: Path) -> dict[str, Path]:
    """Return the files of a folder that are profiles or rollouts, by their names without suffix."""
    # Editors leave files such as `.#name.yaml` beside the one that is open.
    return {
        path.stem: path
        for path in sorted(folder.iterdir())
        if path.suffix in _SUFFIXES
        and path.name not in _NOT_PROFILES
        and not path.name.startswith(".")
        and path.is_file()
    }


def read_profile(path: Path, known: Registry) -> Profile:
    """Read a profile's file.

    Raises:
        ConfigurationError: It cannot be read as one; names file, line and the nearest known word.
    """
    document = read_document(path, HINT)
    form = fill(_File, document, "a profile")
    return Profile(
        name=path.stem,
        about=form.about,
        own=assignment(document, (), form.set, form.unset, known),
        extends=form.extends,
        max_age=form.max_age,
        plan=form.plan,
        path=path,
        overrides=form.overrides,
        document=document,
    )


def assignment(
    document: Document, at: At, given: Mapping[str, str], unset: Sequence[str], known: Registry
) -> Assignment:
    """Check what a file sets and unsets against the registry, and bring it into canonical form.

    Args:
        document: The file.
        at: Where in it ``set`` and ``unset`` stand.
        given: What is set.
        unset: What is to be absent.
        known: The registry.

    Raises:
        ConfigurationError: A name is unknown, secret or reserved, or a value is no value of it.
    """
    _allowed(document, (*at, "set"), given, known)
    _allowed(document, (*at, "unset"), unset, known)
    both = sorted(set(given) & set(unset))
    if both:
        document.complain((*at, "unset"), f"{both[0]} is set and unset at once")
    values: dict[str, str] = {}
    for name, text in given.items():
        try:
            values[name] = known.canonical(name, text)
        except UsageError as error:
            document.complain((*at, "set", name), error.message.rstrip("."), error.hint)
    return Assignment(values, frozenset(unset))


def _allowed(document: Document, at: At, names: Iterable[str], known: Registry) -> None:
    for index, name in enumerate(names):
        place: At = (*at, name) if (*at, name) in document.lines else (*at, index)
        if name.startswith(RESERVED):
            document.complain(
                place, f"{name} is not for a profile to speak of",
                f"Names that begin with {' or '.join(RESERVED)} are set by secops or the platform.",
            )  # fmt: skip
        if name not in known:
            document.complain(place, f"there is no variable {name!r}", known.nearest(name))
        if known.entry(name).secret:
            document.complain(
                place, f"{name} is a secret, and a profile is a file that people share",
                "Set it where the app runs, by hand or from a vault.",
            )  # fmt: skip
