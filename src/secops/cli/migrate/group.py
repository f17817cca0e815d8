"""``secops migrate`` as a group: bare it applies, and behind it stand its sub-commands."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any, Final

import typer

from secops.cli.command import command as as_run
from secops.cli.migrate.apply import apply
from secops.cli.migrate.contract import contract
from secops.cli.migrate.down import down
from secops.cli.migrate.plan import plan
from secops.cli.migrate.status import check, status
from secops.cli.tree import CONTEXT, LazyGroup, as_command
from secops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable


_SUBCOMMANDS: Final[dict[str, Callable[..., None]]] = {
    "plan": as_run("migrate plan")(plan),
    "status": as_run("migrate status", rows=True)(status),
    "check": as_run("migrate check", rows=True)(check),
    "contract": as_run("migrate contract", changes=True)(contract),
    "down": as_run("migrate down", changes=True)(down),
}


def _make() -> LazyGroup:
    applying = as_run("migrate", changes=True)(apply)

    def bare(**given: Any) -> None:  # noqa: ANN401  what typer parsed
        context: typer.Context = given.pop("context")
        if context.invoked_subcommand is None:
            applying(**given)
            return
        for name, value in given.items():
            # `secops migrate --dry-run down` must not quietly be no dry run.
            if value not in (None, False):
                option = name.replace("_", "-")
                raise UsageError(
                    f"--{option} stands before `{context.invoked_subcommand}`, where it is "
                    "an option of bare `migrate`.",
                    hint=f"Put it behind: secops migrate {context.invoked_subcommand} --{option}",
                )

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.signature(applying)
    bare.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what typer reads
        parameters=[*signature.parameters.values(), context]
    )
    bare.__annotations__ = {**applying.__annotations__, "context": typer.Context}
    bare.__doc__ = applying.__doc__
    app = typer.Typer(
        name="migrate",
        cls=LazyGroup,
        rich_markup_mode=None,
        add_completion=False,
        pretty_exceptions_enable=False,
        invoke_without_command=True,
        context_settings=CONTEXT,
    )
    app.callback()(bare)
    group = typer.main.get_command(app)
    assert isinstance(group, LazyGroup)
    for name, function in _SUBCOMMANDS.items():
        group.add_command(as_command(function, name))
    return group


command = _make()
