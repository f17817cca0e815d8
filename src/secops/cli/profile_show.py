"""``secops profile show``."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.profiles import complete_profile

if TYPE_CHECKING:
    from secops.rollout.profiles import Assignment


class Form(StrEnum):
    """What the variables are printed as."""

    TABLE = "table"
    DOTENV = "dotenv"
    SHELL = "shell"


@declare("profile show", database=False, rows=True)
def command(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_profile)],
    *,
    form: Annotated[
        Form, typer.Option("--as", help="A table, lines of a .env file, or lines for a shell.")
    ] = Form.TABLE,
) -> None:
    r"""Show what a profile sets, with all that it builds on.

    Which way is stricter says how `secops rollout` tells a tightening from a relaxation.

    \b
    Examples:
      secops profile show owasp-2024
      secops profile show relaxed --json
      secops profile show quick-win --as dotenv
      eval "$(secops profile show quick-win --as shell)"
    """
    from secops.rollout.profiles import load_profiles

    profiles = load_profiles(run.settings)
    wanted = profiles.resolve(name)
    if form is not Form.TABLE:
        lines = _lines(wanted, form)
        run.output.document({"profile": name, "as": form.value, "lines": lines}, lines)
        return
    found, sources = profiles.find(name), profiles.sources(name)
    entries = [each for each in profiles.registry.entries.values() if each.name in wanted.names]
    rows = [
        (
            each.name,
            wanted.set.get(each.name, "(absent)"),
            sources[each.name],
            each.stricter.value,
            each.plan,
            each.about,
        )
        for each in entries
    ]
    run.output.rows(("variable", "value", "from", "stricter", "plan", "about"), rows)
    run.output.note(found.about)
    age = profiles.max_age(name)
    if age is not None:
        from secops.durations import format_duration

        run.output.note(f"It is for {format_duration(age)} at most.")
    for broken in profiles.registry.check(dict(wanted.set), touched=wanted.names):
        run.output.warn(broken.message)


def _lines(wanted: Assignment, form: Form) -> list[str]:
    from secops.targets.target import Change

    change = Change(wanted.set, wanted.unset)
    if form is Form.SHELL:
        from secops.targets.shell import lines

        return lines(change)
    from secops.targets.dotenv_text import changed

    return changed("", Change(wanted.set)).splitlines()
