"""The real command on each platform: what each failure says, its exit code, and that no token shows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from secops.targets.target import MARKER
from support.databases import Result
from support.fakes.faults import Reply
from support.fakes.heroku import FakeHeroku
from support.fakes.kubernetes import FakeKubernetes
from support.fakes.railway import FakeRailway
from support.fakes.render import FakeRender
from support.fakes.server import CANARY, Fake

from .conftest import Place

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

BEFORE = {"JWT_EXPIRATION": "30d", "KEPT": "as it was"}
STAGE = ("rollout", "--stage", "first", "--yes", "--reason", "day 1")


PLATFORMS: list[type[Fake]] = [FakeRailway, FakeHeroku, FakeKubernetes, FakeRender]
# All four are held to each failure below the command, in tests/integration/targets; it is the same for each.
ONE = [
    pytest.param(each, marks=[] if each is FakeRailway else [pytest.mark.chaos])
    for each in PLATFORMS
]


@pytest.fixture(params=PLATFORMS)
def fake(request: pytest.FixtureRequest) -> Iterator[Fake]:
    with request.param(BEFORE) as running:
        yield running


def at(place: Place, fake: Fake, *words: str, token: str | None = CANARY, **options: Any) -> Result:
    """Run the command with a secops.yaml that names the fake."""
    described = {
        "kind": fake.kind,
        **fake.place("x", timeout="2s", patience="1s", **options).options,
    }
    (place.folder / "secops.yaml").write_text(yaml.safe_dump({"targets": {"prod": described}}))
    env = {fake.token_env: token} if token is not None else {}
    return place(*words, env=env)


def everything(place: Place, *results: Result) -> str:
    """All that was printed, written to disk and stored."""
    texts = [result.out + result.err for result in results]
    home: Path = place.folder.parent
    texts += [
        path.read_text(errors="replace")
        for path in home.rglob("*")
        if path.is_file() and path.name != "secops.yaml"
    ]
    for table in ("secops.rollouts", "secops.rollout_journal", "security_events"):
        rows: Any = place.database.execute(f"SELECT coalesce(json_agg(t)::text, '') FROM {table} t")
        texts.append(rows[0][0])
    return "\n".join(texts)


def test_a_stage_and_its_way_back_are_one_deployment_each(place: Place, fake: Fake) -> None:
    done = at(place, fake, *STAGE)
    assert done.code == 0, done.err
    assert fake.running["JWT_EXPIRATION"] == "1h"
    assert fake.deployed == 1
    assert fake.count() <= 20
    requests = fake.count()
    back = at(place, fake, "rollback", "--now")
    assert back.code == 0, back.err
    assert {key: each for key, each in fake.running.items() if key != MARKER} == BEFORE
    assert fake.deployed == 2
    wrote = next(
        number for number, each in enumerate(fake.requests[requests:], 1) if each.kind == "write"
    )
    assert wrote <= {"render": 5}.get(fake.kind, 4), fake.requests[requests:]
    assert CANARY not in everything(place, done, back)


@pytest.mark.parametrize("fake", ONE, indirect=True)
def test_each_failure_has_its_sentence_and_its_code_and_harms_nothing(
    place: Place, fake: Fake
) -> None:
    refused = {"write": {"status": 403, "times": 2}}
    situations: list[tuple[int, str, Callable[[], Result]]] = [
        (2, "is not set", lambda: at(place, fake, *STAGE, token=None)),
        (2, "has its credentials in secops.yaml", lambda: at(place, fake, *STAGE, api_key=CANARY)),
        (8, "token may not", lambda: at(place, fake, *STAGE, token="another-one")),
        (8, "token may not", lambda: faulty("write", **refused["write"])),
        (10, "takes no more requests", lambda: faulty("read", status=429, times=9)),
        (10, "HTTP 503", lambda: faulty("read", status=503, times=99)),
        (1, "HTTP 418", lambda: faulty("read", status=418, times=9)),
        (10, "cannot be asked", lambda: faulty("read", reply=Reply.GARBAGE, times=99)),
        (10, "connection is refused", lambda: at(place, fake, *STAGE, url="http://127.0.0.1:9")),
        (2, "plain HTTP", lambda: at(place, fake, *STAGE, url="http://api.example.com")),
    ]  # fmt: skip

    def faulty(on: str, **fault: Any) -> Result:
        fake.faults.add(on, message=f"no, {CANARY}", headers={"Retry-After": "9"}, **fault)
        return at(place, fake, *STAGE)

    results = []
    for code, said, run in situations:
        result = run()
        results.append(result)
        assert result.code == code, (said, result.out, result.err)
        assert said in result.err, result.err
        assert result.err.count("\n") <= 8, result.err
        assert "Traceback" not in result.err
        assert fake.variables == BEFORE, said
        assert fake.deployed == 0, said
        fake.faults.clear()
    assert CANARY not in everything(place, *results)
    # Nothing of it stands in the way.
    assert at(place, fake, *STAGE).code == 0


def test_a_lost_reply_is_settled_in_the_same_run(place: Place, fake: Fake) -> None:
    fake.faults.add("write", reply=Reply.LOST)
    done = at(place, fake, *STAGE)
    assert done.code == 0, done.err
    assert fake.running["JWT_EXPIRATION"] == "1h"
    assert fake.deployed == 1


def test_a_deployment_that_fails_is_undone(place: Place, fake: Fake) -> None:
    outcomes = {"railway": "FAILED", "render": "build_failed"}
    fake.outcome = outcomes.get(fake.kind, "failed")
    fake.faults.add("write", nth=2, after=lambda: setattr(fake, "outcome", "live"))
    done = at(place, fake, *STAGE)
    assert done.code in {3, 7}, (done.out, done.err)
    assert {key: each for key, each in fake.variables.items() if key != MARKER} == BEFORE
