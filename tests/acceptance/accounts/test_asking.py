"""On a terminal: what is asked for, what is not, and what counts as yes."""

from __future__ import annotations

import os
import pty
import shlex
import subprocess
import threading
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.accounts import People

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")


def typed(people: People, answer: str, *words: str) -> tuple[int, str]:
    """Run the command on a terminal where somebody types the answer; return exit code and screen."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        people.run.argv(*words, "--reason", "r"),
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
        cwd=people.run.home,
        env=people.run.environment({"TERM": "dumb"}),
    )
    os.close(theirs)
    os.write(ours, answer.encode())
    screen = bytearray()

    def read() -> None:
        while True:
            try:
                part = os.read(ours, 65_536)
            except OSError:  # how Linux says that nobody is at the other end any more
                return
            if not part:
                return
            screen.extend(part)

    reader = threading.Thread(target=read)
    reader.start()
    code = process.wait(60)
    reader.join(10)
    os.close(ours)
    return code, screen.decode()


def test_bulk_is_asked_for_and_only_yes_is_yes(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    for answer in ("\n", "n\n", "sure\n", "\x04"):
        code, screen = typed(people, answer, "unlock", "user", "--all-locked")
        assert code == 8, screen
        assert "Unlock 1 account? [y/N]" in screen
        assert people.user(bob)[0] == 5

    code, screen = typed(people, "y\n", "unlock", "user", "--all-locked")
    assert code == 0, screen
    assert people.user(bob) == (0, None)


def test_everyone_takes_the_word_itself(people: People) -> None:
    bob = people.add("bob@example.com")
    people.token(bob)

    code, screen = typed(people, "y\n", "revoke", "sessions", "--everyone")
    assert code == 8, screen
    assert "End 1 session of 1 account?" in screen
    assert "everyone" in screen
    assert people.live(bob) == 1

    code, screen = typed(people, "everyone\n", "revoke", "sessions", "--everyone")
    assert code == 0, screen
    assert people.live(bob) == 0


def test_one_name_is_not_asked_for(people: People) -> None:
    bob = people.add("bob@example.com", failed=5, locked_for="1 hour")

    code, screen = typed(people, "", "unlock", "user", "bob@example.com")

    assert code == 0, screen
    assert "?" not in screen
    assert people.user(bob) == (0, None)


def test_the_undo_line_reaches_the_same_database(people: People) -> None:
    people.add("bob@example.com")
    config = people.run.home / "elsewhere" / "staging.yaml"
    config.parent.mkdir()
    config.write_text("max_login_attempts: 7\n")

    done = people.do(
        "lock", "user", "bob@example.com", "--database-url", people.database.url,
        "--config", str(config), "--json", env={"SECOPS_DATABASE_URL": ""},
    )  # fmt: skip

    assert done.code == 0, done.err
    words = shlex.split(done.json()["undo"])[1:]
    again = people.run(*words, env={"SECOPS_DATABASE_URL": ""})
    assert again.code == 0, again.err
    assert "Unlocked bob@example.com" in again.out
