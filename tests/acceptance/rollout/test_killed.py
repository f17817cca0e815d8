"""The real command, killed with SIGKILL in the middle of a request, and the same command again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from secops.targets.target import MARKER
from support.databases import Database
from support.faults import die_at
from support.forked import Forked
from support.rollouts import BEFORE, Faked, make_world, worlds

from .conftest import Place

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

STAGES = """\
about: One step.
stages:
  - {id: tight, set: {JWT_EXPIRATION: 30m, MAX_LOGIN_ATTEMPTS: 5}, unset: [LOG_SUCCESSFUL_LOGINS]}
"""
HELD = {**BEFORE, "LOG_SUCCESSFUL_LOGINS": "yes, 'quoted'"}
FORWARD = ("rollout", "--stage", "tight", "--yes", "--reason", "r")
BACK = ("rollback", "--now")
KINDS = ("read", "write", "deploy", "status", "history")


class Scene:
    """A fake platform, a database, and the command."""

    def __init__(self, world: Faked, database: Database, folder: Path) -> None:
        self.fake = world.fake
        self.world = world
        self.folder = folder
        self.database = database
        (folder / "profiles" / "rollouts").mkdir(parents=True)
        (folder / "profiles" / "rollouts" / "steps.yaml").write_text(STAGES)
        place = self.fake.place("prod", timeout="5s")
        target = {"kind": place.kind, **place.options}
        # JSON is YAML.
        (folder / "secops.yaml").write_text(json.dumps({"targets": {"prod": target}}))
        self.run = Forked(folder).on(
            database, SECOPS_STATE_DIR=str(folder / "state"), **self.fake.environ
        )

    def begin(self) -> None:
        self.fake.reset(HELD)
        self.database.execute(
            "TRUNCATE secops.rollouts, secops.rollout_journal, secops.rollout_readings"
        )
        for each in (self.folder / "state" / "rollouts").glob("*"):
            each.unlink()

    def killed(self, words: tuple[str, ...], kind: str, nth: int, *, after: bool) -> bool:
        """Run the command and kill it at a request; say whether it came to that."""
        pids: list[int] = []

        def kill() -> None:
            os.kill(pids[0], signal.SIGKILL)

        when: dict[str, Any] = {"after": kill} if after else {"before": kill, "reply": _never()}
        self.fake.faults.add(kind, nth=nth, **when)
        process = self.run.start(*words)
        pids.append(process.pid)
        try:
            process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        self.fake.faults.clear()
        return process.returncode == -signal.SIGKILL

    def expect(self, wanted: dict[str, str | None]) -> None:
        held = self.fake.variables
        assert {name: held.get(name) for name in wanted} == wanted
        running = self.world.running
        assert running is not None
        assert {name: running.get(name) for name in wanted} == wanted


def _never() -> Any:
    from support.fakes.faults import Reply

    return Reply.NEVER


@pytest.fixture(params=[kind for kind in worlds() if kind != "dotenv"])
def scene(request: pytest.FixtureRequest, hardened: Database, tmp_path: Path) -> Iterator[Scene]:
    world = make_world(request.param)
    assert isinstance(world, Faked)
    yield Scene(world, hardened, tmp_path)
    world.close()


AFTER = {"JWT_EXPIRATION": "30m", "MAX_LOGIN_ATTEMPTS": "5", "LOG_SUCCESSFUL_LOGINS": None}
WAS: dict[str, str | None] = {**HELD, "MAX_LOGIN_ATTEMPTS": None}


def forward(scene: Scene, kind: str, nth: int, *, after: bool) -> bool:
    scene.begin()
    died = scene.killed(FORWARD, kind, nth, after=after)
    if died:
        again = scene.run(*FORWARD)
        assert again.code == 0, (kind, nth, after, again.err)
    scene.expect(AFTER)
    back = scene.run(*BACK)
    assert back.code == 0, (kind, nth, after, back.err)
    scene.expect(WAS)
    return died


def backward(scene: Scene, kind: str, nth: int, *, after: bool) -> bool:
    scene.begin()
    assert scene.run(*FORWARD).code == 0
    died = scene.killed(BACK, kind, nth, after=after)
    if died:
        again = scene.run(*BACK)
        assert again.code == 0, (kind, nth, after, again.err)
    scene.expect(WAS)
    return died


def test_killed_as_it_writes_the_same_command_finishes(scene: Scene) -> None:
    assert forward(scene, "write", 1, after=True)
    assert backward(scene, "write", 1, after=True)


@pytest.mark.chaos
def test_killed_at_any_request_the_same_command_finishes(scene: Scene) -> None:
    kills = 0
    for way in (forward, backward):
        for kind in KINDS:
            for after in (False, True):
                nth = 1
                while way(scene, kind, nth, after=after):
                    kills += 1
                    nth += 1
    print(f"{scene.world.kind}: {kills} kills, 0 wrong")
    assert kills >= 24


@pytest.mark.chaos
def test_killed_at_any_statement_the_same_command_finishes(place: Place) -> None:
    before = place.env
    kills = 0
    for words in (("rollout", "--stage", "first", "--yes", "--reason", "r"), BACK):
        number = 1
        while True:
            if words == BACK and place.value("JWT_EXPIRATION") == "30d":
                assert place("rollout", "--stage", "first", "--yes", "--reason", "r").code == 0
            died = place.run(*words, cwd=place.folder, hook=die_at(number))
            if died.code != 128 + signal.SIGKILL:
                assert died.code == 0, (words, number, died.err)
                break
            kills += 1
            number += 1
            again = place(*words)
            # It died when all was done already: there is nothing left to roll back.
            assert again.code in ((0, 4) if words == BACK else (0,)), (words, number, again.err)
            assert place.value("JWT_EXPIRATION") == ("30d" if words == BACK else "1h")
            if words != BACK:
                assert place("rollback", "--now").code == 0
            assert place("rollout", "history").code == 0
    marker = place.value(MARKER)
    assert place.env == before + f"{MARKER}={marker}\n"
    print(f"dotenv: {kills} kills, 0 wrong")
    assert kills >= 60
