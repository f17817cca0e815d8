"""A group that does something bare, and has sub-commands behind it."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

import typer

from secops.cli.tree import LazyGroup, as_command, make_group
from secops.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


def with_bare(
    name: str, bare: Callable[..., None], subcommands: Mapping[str, Callable[..., None]]
) -> LazyGroup:
    """Make a group.

    Args:
        name: Its word.
        bare: What it does without a sub-command.
        subcommands: Those behind it.
    """
    usual = {key: each.default for key, each in inspect.signature(bare).parameters.items()}

    def run(**given: Any) -> None:  # noqa: ANN401  what typer parsed
        context: typer.Context = given.pop("context")
        if context.invoked_subcommand is None:
            bare(**given)
            return
        for key, value in given.items():
            # `secops rollout --dry-run abort` must not quietly be no dry run.
            if value != usual[key]:
                option = key.replace("_", "-")
                raise UsageError(
                    f"--{option} stands before `{context.invoked_subcommand}`, where it is "
                    f"an option of bare `{name}`.",
                    hint=f"Put it behind: secops {name} {context.invoked_subcommand} --{option}",
                )

    context = inspect.Parameter("context", inspect.Parameter.KEYWORD_ONLY, annotation=typer.Context)
    signature = inspect.signature(bare)
    run.__signature__ = signature.replace(  # type: ignore[attr-defined]  # what typer reads
        parameters=[*signature.parameters.values(), context]
    )
    run.__annotations__ = {**bare.__annotations__, "context": typer.Context}
    run.__doc__ = bare.__doc__
    group = make_group(name, run)
    for word, function in subcommands.items():
        group.add_command(as_command(function, word))
    return group
