"""A folder with a target that is a file, and rollouts of its own that soak for seconds."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from support.databases import Database, Result
from support.forked import Forked

ENV = """\
# The app's settings.
APP_NAME="Demo app"   # shown on top
JWT_EXPIRATION=30d
export LEGACY='kept $HOME as it is'
EMPTY=
"""

SECOPS_YAML = """\
targets:
  prod:
    kind: dotenv
    path: .env
"""

STEPS = """\
about: Shorter tokens, step by step.
stages:
  - {id: first, set: {JWT_EXPIRATION: 1h}}
  - {id: second, set: {JWT_EXPIRATION: 30m, MAX_LOGIN_ATTEMPTS: 5}}
  - {id: third, set: {JWT_EXPIRATION: 15m}, soak: {min: 1h}, gates: [probe]}
gates:
  probe: {kind: http, url: "http://127.0.0.1:9/healthz"}
"""


@dataclass
class Place:
    """The folder, the command in it, and its database."""

    run: Forked
    folder: Path
    database: Database

    def __call__(self, *words: str, **more: Any) -> Result:
        return self.run(*words, cwd=self.folder, **more)

    @property
    def env(self) -> str:
        return (self.folder / ".env").read_text()

    def value(self, name: str) -> str | None:
        for line in self.env.splitlines():
            if line.startswith(f"{name}="):
                return line.partition("=")[2]
        return None

    def status(self) -> dict[str, Any]:
        found: list[dict[str, Any]] = json.loads(self("rollout", "status", "--json").out)
        return found[0]


@pytest.fixture
def place(hardened: Database, tmp_path: Path) -> Place:
    folder = tmp_path / "app"
    (folder / "profiles" / "rollouts").mkdir(parents=True)
    (folder / ".env").write_text(ENV)
    (folder / "secops.yaml").write_text(SECOPS_YAML)
    (folder / "profiles" / "rollouts" / "steps.yaml").write_text(STEPS)
    home = tmp_path / "home"
    home.mkdir()
    run = Forked(home).on(
        hardened, SECOPS_OPERATOR="alice", SECOPS_STATE_DIR=str(tmp_path / "state")
    )
    return Place(run, folder, hardened)
