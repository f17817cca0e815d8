"""Worlds that rollouts are made in, and what goes wrong in them: crashes, lost replies, foreign edits."""

from __future__ import annotations

import itertools
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final, Protocol

from secops.database.layout import Layout
from secops.errors import Conflict, OutcomeUnknown, SecopsError
from secops.rollout import rolling_back, starting, ticking
from secops.rollout.books import Books
from secops.rollout.desk import Desk
from secops.rollout.entries import Entry, Standing, faults
from secops.rollout.journal import Journal
from secops.rollout.local_journal import LocalJournal
from secops.rollout.moves import Key, Kind
from secops.rollout.owners import Owner
from secops.rollout.plan import Plan
from secops.rollout.states import State
from secops.settings import load
from secops.targets import dotenv, heroku, kubernetes, railway
from secops.targets.target import (
    MARKER,
    Change,
    Deployment,
    Edit,
    Place,
    Progress,
    Right,
    Snapshot,
    Target,
    Traits,
    Variable,
)
from support.fakes.faults import Reply
from support.fakes.heroku import FakeHeroku
from support.fakes.kubernetes import FakeKubernetes
from support.fakes.railway import FakeRailway
from support.fakes.server import Fake
from support.servers import Connection

BEFORE: Final = {
    "JWT_EXPIRATION": "1h",
    "LEGACY": 'it\'s "quoted" $HOME \\n',
    "KEPT": "bystander",
    "EMPTY": "",
}
KEYS: Final = {
    "JWT_EXPIRATION": Key("1h", "30m"),
    "LEGACY": Key(BEFORE["LEGACY"], None),
    "FRESH": Key(None, "new value"),
}
FOREIGN: Final = "foreign"


class Crash(BaseException):
    """The process died; nothing it owns does anything more."""


class World(Protocol):
    """A platform with one service on it."""

    kind: str

    def target(self) -> Target: ...
    @property
    def variables(self) -> dict[str, str]: ...
    @property
    def running(self) -> dict[str, str] | None: ...
    @property
    def deployed(self) -> int: ...
    def edit(self, set: Mapping[str, str]) -> None: ...
    def lose(self, reply: Reply) -> None: ...
    def reset(self) -> None: ...
    def close(self) -> None: ...


class Faked:
    """A platform that a fake plays."""

    def __init__(self, kind: str, fake: Fake, make: Callable[..., Target]) -> None:
        self.kind = kind
        self.fake = fake
        self._make = make
        self._made: list[Any] = []

    def target(self) -> Target:
        made = self._make(self.fake.place("prod", timeout="2s"), self.fake.environ)
        self._made.append(made)
        return made

    @property
    def variables(self) -> dict[str, str]:
        return self.fake.variables

    @property
    def running(self) -> dict[str, str] | None:
        found: dict[str, str] = self.fake.running
        return found

    @property
    def deployed(self) -> int:
        return self.fake.deployed

    def edit(self, set: Mapping[str, str]) -> None:
        self.fake.edit(set=set)

    def lose(self, reply: Reply) -> None:
        self.fake.faults.add("write", reply=reply)

    def reset(self) -> None:
        self._hang_up()
        self.fake.reset(BEFORE)

    def close(self) -> None:
        self._hang_up()
        self.fake.close()

    def _hang_up(self) -> None:
        for each in self._made:
            each.http.close()
        self._made.clear()


class File:
    """A ``.env`` file, which nothing deploys."""

    kind = "dotenv"
    running = None
    deployed = 0

    def __init__(self) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="secops-dotenv-"))
        self.path = self.folder / ".env"
        self._lose: Reply | None = None

    def target(self) -> Target:
        return _Losing(dotenv.make(Place("prod", "dotenv", {"path": str(self.path)}), {}), self)

    def _plain(self) -> Target:
        return dotenv.make(Place("prod", "dotenv", {"path": str(self.path)}), {})

    @property
    def variables(self) -> dict[str, str]:
        return {
            name: each.value
            for name, each in self._plain().read().variables.items()
            if each.value is not None
        }

    def edit(self, set: Mapping[str, str]) -> None:
        target = self._plain()
        target.write(Change(set), target.read())

    def lose(self, reply: Reply) -> None:
        self._lose = reply

    def take_loss(self) -> Reply | None:
        lost, self._lose = self._lose, None
        return lost

    def reset(self) -> None:
        self._lose = None
        self.path.write_text("# the app's\n")
        self.edit(BEFORE)

    def close(self) -> None:
        shutil.rmtree(self.folder)


class _Losing:
    """A target whose writes are cut off as a network's would be."""

    def __init__(self, inner: Target, world: File) -> None:
        self._inner = inner
        self._world = world

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def write(self, change: Change, expected: Snapshot) -> str:
        reply = self._world.take_loss()
        if reply is None:
            return self._inner.write(change, expected)
        if reply is Reply.HALF:
            named = sorted([*change.set, *change.unset])
            half = set(named[: len(named) // 2])
            change = Change(
                {name: value for name, value in change.set.items() if name in half},
                change.unset & half,
            )
        if reply.applied:
            self._inner.write(change, expected)
        raise OutcomeUnknown("The reply was lost.")


def worlds() -> list[str]:
    """Return the kinds of worlds that there are."""
    return ["railway", "dotenv", "heroku", "kubernetes"]


def make_world(kind: str) -> World:
    """Make a world; close it after use."""
    if kind == "dotenv":
        return File()
    if kind == "railway":
        return Faked(kind, FakeRailway(BEFORE), railway.make)
    if kind == "heroku":
        return Faked(kind, FakeHeroku(BEFORE), heroku.make)
    return Faked(kind, FakeKubernetes(BEFORE), kubernetes.make)


@dataclass
class Boundaries:
    """Counts the places where a process can die, and dies at one of them."""

    die_at: int = 0
    passed: int = 0
    dead: bool = False
    named: list[str] = field(default_factory=list)

    def at(self, name: str) -> None:
        """Pass a place, or die there."""
        if self.dead:
            raise Crash
        self.passed += 1
        self.named.append(name)
        if self.passed == self.die_at:
            self.dead = True
            raise Crash


class Mortal:
    """An object at whose calls the process can die: before each, and after it before anybody knows."""

    def __init__(self, inner: object, boundaries: Boundaries, methods: tuple[str, ...]) -> None:
        self._inner = inner
        self._boundaries = boundaries
        self._methods = methods

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._inner, name)
        if name not in self._methods:
            return found

        def call(*args: Any, **kwargs: Any) -> Any:
            self._boundaries.at(f"before {name}")
            done = found(*args, **kwargs)
            self._boundaries.at(f"after {name}")
            return done

        return call


_TARGET = ("read", "write", "deploy", "status", "deployments", "edits")
_JOURNAL = ("begin", "append", "finish", "take", "beat", "leave", "now")


class MortalFile(LocalJournal):
    """A local journal that the process can die in the middle of."""

    boundaries: Boundaries

    def append(self, entries: Any) -> None:
        self.boundaries.at("before local")
        given = list(entries)
        if self.boundaries.passed + 1 == self.boundaries.die_at and given:
            # The line is cut off in its middle.
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("a") as file:
                file.write(given[0].as_text()[: len(given[0].as_text()) // 2])
        self.boundaries.at("in local")
        super().append(given)
        self.boundaries.at("after local")


@dataclass
class Meddler:
    """Somebody else, who edits a variable at one moment.

    Attributes:
        when: ``before`` our second look, ``at`` the write (after the look), ``after`` it, or empty.
        name: The variable.
    """

    world: World
    when: str
    name: str
    done: bool = False

    def act(self) -> None:
        if not self.done:
            self.done = True
            self.world.edit({self.name: FOREIGN})


class Met:
    """A target that somebody else edits behind our back."""

    def __init__(self, inner: Target, fingerprint: str, meddler: Meddler) -> None:
        self._inner = inner
        self.fingerprint = fingerprint
        self._meddler = meddler
        self.armed = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)

    def read(self) -> Snapshot:
        if self.armed and self._meddler.when == "before":
            self._meddler.act()
        return self._inner.read()

    def write(self, change: Change, expected: Snapshot) -> str:
        if self._meddler.when == "at":
            self._meddler.act()
        try:
            return self._inner.write(change, expected)
        finally:
            if self._meddler.when == "after":
                self._meddler.act()


@dataclass
class Case:
    """One run of the harness."""

    kind: str
    phase: str
    die_at: int
    reply: Reply | None
    when: str
    name: str
    meddled: bool = False

    def __str__(self) -> str:
        reply = self.reply.value if self.reply else "no"
        return f"{self.kind}/{self.phase}/{self.die_at}/{reply}/{self.when or 'none'}/{self.name}"


class Stage:
    """A database, a folder and a world: what one run after another is made in."""

    def __init__(self, world: World, conn: Connection, layout: Layout, folder: Path) -> None:
        self.world = world
        self.conn = conn
        self.layout = layout
        self.folder = folder
        self._runs = itertools.count()
        self.fingerprint = ""

    def begin(self) -> None:
        """Begin a run: the world as it was, a target that nobody knows."""
        self.world.reset()
        self.fingerprint = f"{self.world.kind}:run-{next(self._runs)}-{id(self)}"

    def desk(
        self, boundaries: Boundaries | None = None, meddler: Meddler | None = None, **more: Any
    ) -> Desk:
        """Return the desk of a new process."""
        meddler = meddler or Meddler(self.world, "", "KEPT", done=True)
        target: Any = Met(self.world.target(), self.fingerprint, meddler)
        local = LocalJournal(self.folder, "prod", self.fingerprint)
        journal: Any = Journal(self.conn, self.layout, self.fingerprint, timedelta(seconds=1))
        if boundaries is not None:
            target = Mortal(target, boundaries, _TARGET)
            journal = Mortal(journal, boundaries, _JOURNAL)
            local = MortalFile(self.folder, "prod", self.fingerprint)
            local.boundaries = boundaries
        owner = Owner("alice", "laptop", 1 + next(self._runs), "elsewhere")
        books = Books(local, owner, journal, **more)
        return Desk(target, books, load(environ={}, read_file=False), sleep=lambda _: None)

    def plan(self, desk: Desk, keys: Mapping[str, Key] = KEYS) -> Plan:
        """Return the plan of the stage."""
        return Plan("jwt-ttl 30m", (), keys, desk.target.read())

    def entries(self) -> list[Entry]:
        """Return what the database has of the run."""
        return Journal(self.conn, self.layout, self.fingerprint, timedelta(seconds=1)).entries()

    def standings(self) -> list[Standing]:
        """Return the moves of the run."""
        return Journal(self.conn, self.layout, self.fingerprint, timedelta(seconds=1)).standings()


ORDER: Final = starting.Order(Kind.STAGE, "jwt-ttl", "30m", reason="harness")


def roll_out(stage: Stage, desk: Desk) -> ticking.Ticked:
    """Roll the stage out, as the command would."""
    plan = stage.plan(desk)
    _arm(desk)
    return ticking.start(desk, plan, ORDER)


def roll_back(desk: Desk) -> None:
    """Roll back whatever can be, as the command would: what was begun is finished first."""
    active = desk.books.active()
    if active is not None and active.move.kind is Kind.ROLLBACK:
        ticking.resume(desk, active, by_force=True)
        return
    undone = rolling_back.choose(desk.books.standings())
    undoing = rolling_back.plan(desk, undone)
    _arm(desk)
    back = rolling_back.begin(desk, undoing, reason="harness")
    try:
        rolling_back.finish(desk, back, undoing)
    finally:
        desk.books.leave(back)


def _arm(desk: Desk) -> None:
    target: Any = desk.target
    while not isinstance(target, Met):
        target = target._inner
    target.armed = True


def recover(stage: Stage) -> None:
    """Do what a person does after a crash: resume until nothing is left to resume."""
    for _ in range(4):
        desk = stage.desk()
        desk.books.reconcile()
        active = desk.books.active()
        if active is None:
            return
        try:
            ticking.resume(desk, active, by_force=True)
        except Conflict:
            return
        except OutcomeUnknown:
            continue


def run(stage: Stage, case: Case) -> int:
    """Make one run, and hold what is left to what must be left.

    Returns:
        How many places to die it passed in its phase.
    """
    stage.begin()
    boundaries = Boundaries(die_at=case.die_at)
    meddler = Meddler(stage.world, case.when, case.name)
    if case.phase == "forward":
        desk = stage.desk(boundaries, meddler)
        if case.reply is not None:
            stage.world.lose(case.reply)
        _swallow(lambda: roll_out(stage, desk))
        recover(stage)
        _check_forward(stage, case)
        desk = stage.desk()
        _swallow(lambda: roll_back(desk), nothing=True)
    else:
        roll_out(stage, stage.desk())
        desk = stage.desk(boundaries, meddler)
        if case.reply is not None:
            stage.world.lose(case.reply)
        _swallow(lambda: roll_back(desk))
        recover(stage)
        if not stage.desk().books.active() and stage.standings()[-1].move.kind is Kind.STAGE:
            roll_back(stage.desk())  # it died before it had begun
    case.meddled = meddler.done
    _check_end(stage, case)
    return boundaries.passed


def _swallow(work: Callable[[], object], *, nothing: bool = False) -> None:
    try:
        work()
    except (Crash, SecopsError) as error:
        if nothing and not isinstance(error, Crash) and error.exit_code != 4:
            raise


def _check_forward(stage: Stage, case: Case) -> None:
    found = stage.standings()
    live = stage.world.variables
    touched = {case.name} if case.when and live.get(case.name) == FOREIGN else set()
    last = found[-1] if found else None
    if last is None or (last.over and not last.applied):
        expected = {name: key.before for name, key in KEYS.items()}
    elif last.state is State.PASSED:
        expected = {name: key.after for name, key in KEYS.items()}
        running = stage.world.running
        if running is not None and not touched:
            assert {n: running.get(n) for n in KEYS} == expected, f"{case}: not deployed"
        assert live.get(MARKER) == str(last.move.id), f"{case}: no marker"
    else:
        assert last.state is State.CONFLICT, f"{case}: {last.state} {last.facts}"
        assert touched & set(KEYS), f"{case}: a conflict with nobody"
        assert case.when != "before", f"{case}: seen before the write, and written all the same"
        return
    for name, value in expected.items():
        if name not in touched:
            assert live.get(name) == value, f"{case}: {name} is {live.get(name)!r}, not {value!r}"


def _check_end(stage: Stage, case: Case) -> None:
    live = stage.world.variables
    found = stage.standings()
    assert all(each.over for each in found), f"{case}: {[str(e.state) for e in found]} left open"
    reported = any(each.facts.get("overwritten") for each in found)
    for name, value in BEFORE.items() | {"FRESH": None}.items():
        now = live.get(name)
        if case.meddled and name == case.name:
            if now == FOREIGN:
                continue
            windowed = case.when == "at" and not stage.world.target().traits.compare_and_set
            assert windowed, f"{case}: the foreign {name} was lost, and is {now!r}"
            assert reported, f"{case}: the foreign {name} was lost and nobody told"
            assert now in {value, None if name == "LEGACY" else now}, f"{case}: {name} is {now!r}"
        else:
            assert now == value, f"{case}: {name} is {now!r}, not {value!r}"
    extra = set(live) - set(BEFORE) - {"FRESH", MARKER}
    assert not extra, f"{case}: {extra} appeared"
    running = stage.world.running
    if running is not None:
        # Not every platform deploys what somebody else edits.
        ours = [name for name in KEYS if not (case.meddled and name == case.name)]
        shown = {name: running.get(name) for name in ours}
        assert shown == {name: live.get(name) for name in ours}, f"{case}: what runs is {shown}"
    entries = stage.entries()
    assert faults(entries) == [], f"{case}: {faults(entries)}"
    stage.desk().books.reconcile()
    local = LocalJournal(stage.folder, "prod", stage.fingerprint).entries()
    assert {each.hash for each in local} == {each.hash for each in entries}, f"{case}: two journals"


@contextmanager
def stage_of(kind: str, conn: Connection, layout: Layout, folder: Path) -> Iterator[Stage]:
    """Make a stage for many runs."""
    world = make_world(kind)
    try:
        yield Stage(world, conn, layout, folder)
    finally:
        world.close()


class Memory:
    """A platform in memory that compares and sets; every write deploys."""

    kind = "memory"

    def __init__(self) -> None:
        self.held: dict[str, str] = dict(BEFORE)
        self.version = 0
        self.deployments: list[tuple[str, dict[str, str]]] = []
        self._lose: Reply | None = None

    def target(self) -> Any:
        return _MemoryTarget(self)

    @property
    def variables(self) -> dict[str, str]:
        return dict(self.held)

    @property
    def running(self) -> dict[str, str] | None:
        return self.deployments[-1][1] if self.deployments else None

    @property
    def deployed(self) -> int:
        return len(self.deployments)

    def edit(self, set: Mapping[str, str]) -> None:
        self.held |= set
        self.version += 1

    def lose(self, reply: Reply) -> None:
        self._lose = reply

    def take_loss(self) -> Reply | None:
        lost, self._lose = self._lose, None
        return lost

    def reset(self) -> None:
        self.__init__()  # type: ignore[misc]  # as new

    def close(self) -> None:
        pass


class _MemoryTarget:
    name = "prod"
    kind = "memory"
    fingerprint = "memory"
    traits = Traits(compare_and_set=True, deploys=True)

    def __init__(self, world: Memory) -> None:
        self._world = world

    def read(self) -> Snapshot:
        world = self._world
        found = {name: Variable(name, value) for name, value in world.held.items()}
        return Snapshot(found, str(world.version))

    def write(self, change: Change, expected: Snapshot) -> str:
        world = self._world
        if expected.version != str(world.version):
            raise Conflict("Somebody wrote.")
        reply = world.take_loss()
        names = sorted([*change.set, *change.unset])
        if reply is Reply.NEVER:
            raise OutcomeUnknown("The reply was lost.")
        for name in names[: len(names) // 2] if reply is Reply.HALF else names:
            if name in change.set:
                world.held[name] = change.set[name]
            else:
                world.held.pop(name, None)
        world.version += 1
        if reply is not None:
            raise OutcomeUnknown("The reply was lost.")
        return ""

    def deploy(self, written: str) -> str:
        del written
        name = f"d{len(self._world.deployments)}"
        self._world.deployments.append((name, dict(self._world.held)))
        return name

    def status(self, deployment: str) -> Deployment:
        return Deployment(deployment, Progress.LIVE)

    def deployments(self, since: datetime) -> list[Deployment]:
        del since
        return [Deployment(name, Progress.LIVE) for name, _ in reversed(self._world.deployments)]

    def edits(self, since: datetime) -> list[Edit]:
        del since
        return []

    def rights(self) -> list[Right]:
        return []
