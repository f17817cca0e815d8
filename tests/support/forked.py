"""The command in a fork of this process: a tenth of what a start of Python costs, for tests of many calls."""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psycopg

from support.databases import Command, Database, Result

Hook = Callable[[int, "psycopg.Connection[Any]", str], None]
"""Called before each statement, COMMITs and the like included: its number from 1, where it goes, its text."""

_thread = threading.local()


@contextmanager
def unheard() -> Iterator[None]:
    """Let this thread speak to the server without any hook's hearing it."""
    before = getattr(_thread, "unheard", False)
    _thread.unheard = True
    try:
        yield
    finally:
        _thread.unheard = before


def _warm() -> None:
    """Import before the first fork what each child would import again."""
    for name in (
        "secops.cli.tree", "secops.cli.migrate.group", "secops.schema.migrate", "secops.schema.ledger",
        "sqlalchemy.dialects.postgresql.psycopg", "alembic.ddl.postgresql",
        "secops.output.as_table", "secops.output.as_json", "secops.output.outcome",
        "secops.rollout.lint", "secops.variables.files", "secops.targets.dotenv",
    ):  # fmt: skip
        importlib.import_module(name)


class Forked(Command):
    """As :class:`Command`; its exit code is 128 + N where signal N ended it."""

    def on(self, database: Database, **env: str) -> Forked:
        """Return the command with a database configured through the environment."""
        return Forked(self.home, {**self.env, "SECOPS_DATABASE_URL": database.url, **env})

    def __call__(
        self,
        *arguments: str,
        env: Mapping[str, str] | None = None,
        input: str | None = None,
        cwd: Path | None = None,
        timeout: float = 120,
        hook: Hook | None = None,
    ) -> Result:
        """Run the command; ``timeout`` is pytest's own here."""
        del timeout
        with (
            tempfile.TemporaryFile("w+") as given,
            tempfile.TemporaryFile("w+", errors="replace") as out,
            tempfile.TemporaryFile("w+", errors="replace") as err,
        ):
            given.write(input or "")
            given.seek(0)
            _warm()
            with warnings.catch_warnings():
                # A test runner's threads (Python 3.12 warns of them) hold nothing that the child uses.
                warnings.simplefilter("ignore", DeprecationWarning)
                child = os.fork()
            if child == 0:
                files = (given.fileno(), out.fileno(), err.fileno())
                self._run(list(arguments), self.environment(env), cwd or self.home, files, hook)
            _, status = os.waitpid(child, 0)
            code = os.waitstatus_to_exitcode(status)
            out.seek(0)
            err.seek(0)
            return Result(code if code >= 0 else 128 - code, out.read(), err.read())

    def _run(
        self,
        arguments: list[str],
        environment: dict[str, str],
        folder: Path,
        files: tuple[int, int, int],
        hook: Hook | None,
    ) -> None:
        code = 70
        try:
            for target, source in enumerate(files):
                os.dup2(source, target)
            sys.stdin = os.fdopen(0, "r", closefd=False)
            sys.stdout = os.fdopen(1, "w", closefd=False)
            sys.stderr = os.fdopen(2, "w", closefd=False)
            os.environ.clear()
            os.environ.update(environment)
            os.chdir(folder)
            if hook is not None:
                _install(hook)
            from secops.cli.main import run

            try:
                code = run(arguments)
            except SystemExit as leaving:  # completion leaves so
                code = leaving.code if isinstance(leaving.code, int) else 0
            sys.stdout.flush()
        except BaseException:  # noqa: BLE001  the child ends here, and says why
            traceback.print_exc()
        finally:
            sys.stderr.flush()
            os._exit(code)


def _install(hook: Hook) -> None:
    """Call the hook before every statement, and before each BEGIN and COMMIT that psycopg sends."""
    said = 0
    execute = psycopg.Cursor.execute
    command = psycopg.Connection._exec_command

    def hear(conn: psycopg.Connection[Any], query: Any) -> None:
        nonlocal said
        if getattr(_thread, "unheard", False):
            return
        said += 1
        with unheard():
            hook(said, conn, _text(query))

    def counting_execute(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        hear(self.connection, query)
        return execute(self, query, *args, **kwargs)

    def counting_command(self: Any, query: Any, *args: Any, **kwargs: Any) -> Any:
        hear(self, query)
        return command(self, query, *args, **kwargs)

    psycopg.Cursor.execute = counting_execute  # type: ignore[method-assign]  # only in this child
    psycopg.Connection._exec_command = counting_command  # type: ignore[method-assign, assignment]


def _text(query: Any) -> str:
    if isinstance(query, bytes):
        return query.decode()
    return query if isinstance(query, str) else str(query.as_string())
