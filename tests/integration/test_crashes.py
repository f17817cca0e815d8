"""Killed, or cut off from its server, at any statement or in the middle of one: the same command finishes.

The boundaries are found by a run that nothing happens to. ``make test`` hurts each command at a few of them,
``make chaos`` at all.
"""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from support.databases import Database
from support.faults import (
    SNAPSHOT,
    WRITER,
    Fault,
    changing,
    cut_midway,
    die_at,
    killed_midway,
    lose_all_at,
    lose_at,
    lose_others_at,
    waiting,
)
from support.servers import Server, majors
from support.stories import STORIES, Whole, settled, whole

BETWEEN: dict[str, Fault] = {
    "killed": die_at,
    "all connections ended": lose_all_at,
    "its connection ended": lose_at,
    "the lock's connection ended": lose_others_at,
}
IN_THE_MIDDLE: dict[str, Fault] = {
    "killed behind a writer": killed_midway(WRITER),
    "cut off behind a writer": cut_midway(WRITER),
    "killed behind a backup": killed_midway(SNAPSHOT),
    "cut off behind a backup": cut_midway(SNAPSHOT),
}
# Done, outcome unknown, unreachable, and what a signal leaves.
ENDS = {0, 7, 10, 137}
CAMPAIGN = 300
"""So many points there must be at least, of a command's death and of its connections' end."""

_WHOLES: dict[tuple[Path, str], Whole] = {}


@pytest.fixture(params=sorted(STORIES))
def story(
    request: pytest.FixtureRequest, server: Server, hardened: Database, tmp_path: Path
) -> Whole:
    """A command's whole run; made once for each server."""
    key = (server.folder, str(request.param))
    if key not in _WHOLES:
        found = STORIES[key[1]]
        base = hardened if found.hardened else None
        _WHOLES[key] = whole(found, server, base, tmp_path)
    return _WHOLES[key]


def boundaries(said: list[str]) -> list[int]:
    """Return where to hurt a run: around every change, and now and then between two reads.

    Between two changes one moment is as another; a few of them for the connection's sake.
    """
    return sorted({*changing(said), *range(1, len(said) + 1, 10)})


def hurt(story: Whole, number: int, fault: Fault, home: Path, *, back: bool = False) -> bool:
    """Hurt a run at a statement, run it again, and look; return whether the fault met it."""
    database = story.copy()
    run = story.story
    met = run.run(database, home, fault(number, database))
    where = f"statement {number}: {story.statements[number - 1]}"
    assert met.code in ENDS, (where, met)
    assert "Traceback" not in met.err, (where, met)
    if not run.patient:
        settled(database)
        run.meanwhile(database, story.before)
    again = run.run(database, home, back=back)
    assert again.code == 0, (where, met, again)
    try:
        story.holds(database, home, back=back)
    except AssertionError as error:
        error.add_note(f"{where}\nhurt: {met}\nagain: {again}")
        raise
    database.server.drop(database.name)
    return met.code != 0


MAJORS = sorted(majors())
# Each on one major, in turn; `make chaos` has each on all.
SAMPLE = [(MAJORS[number % len(MAJORS)], name) for number, name in enumerate(sorted(STORIES))]


@pytest.mark.parametrize(("server", "story"), SAMPLE, indirect=True)
def test_at_some_statements(story: Whole, tmp_path: Path) -> None:
    chance = random.Random(len(story.statements))
    points = chance.sample(changing(story.statements), 2)
    assert hurt(story, points[0], die_at, tmp_path / "killed")
    name = chance.choice(sorted(BETWEEN.keys() - {"killed"}))
    hurt(story, points[1], BETWEEN[name], tmp_path / name)
    may_wait = waiting(story.statements)
    if may_wait:
        name = chance.choice(list(IN_THE_MIDDLE))
        hurt(story, chance.choice(may_wait), IN_THE_MIDDLE[name], tmp_path / name)
    if story.story.back is not None:
        hurt(story, points[1], die_at, tmp_path / "back", back=True)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("fault", ["killed", "all connections ended"])
def test_at_every_statement(story: Whole, tmp_path: Path, fault: str) -> None:
    met = 0
    points = boundaries(story.statements)
    for number in points:
        back = story.story.back is not None and number % 3 == 2
        met += hurt(story, number, BETWEEN[fault], tmp_path / str(number), back=back)
    # A connection that has done its part may be lost without harm; a dead process never goes unnoticed.
    assert met > len(points) * (0.9 if fault == "killed" else 0.5)


@pytest.mark.chaos
@pytest.mark.timeout(3600)
def test_at_every_change_one_connection_is_lost(story: Whole, tmp_path: Path) -> None:
    for turn, number in enumerate(changing(story.statements)):
        hurt(story, number, (lose_at, lose_others_at)[turn % 2], tmp_path / str(number))


@pytest.mark.chaos
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("turn", [0, 1])
def test_in_the_middle_of_every_statement_that_waits(
    story: Whole, tmp_path: Path, turn: int
) -> None:
    """Each statement meets two of the four faults, in turn."""
    faults = list(IN_THE_MIDDLE.values())
    for place, number in enumerate(waiting(story.statements)):
        fault = faults[(place + 2 * turn) % len(faults)]
        back = story.story.back is not None and number % 3 == 2
        hurt(story, number, fault, tmp_path / str(number), back=back)


@pytest.mark.chaos
@pytest.mark.timeout(600)
def test_the_campaign_has_points_enough(server: Server, hardened: Database, tmp_path: Path) -> None:
    """Of each kind: a command's death, and its connections' end."""
    counts = {}
    for name, each in STORIES.items():
        home = tmp_path / name
        home.mkdir()
        found = whole(each, server, hardened if each.hardened else None, home)
        counts[name] = len(boundaries(found.statements))
        server.drop(found.template.name)
    print(counts)
    assert sum(counts.values()) >= CAMPAIGN, counts
