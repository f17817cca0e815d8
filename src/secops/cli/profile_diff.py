"""``secops profile diff``."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.cli.profiles import complete_profile, complete_target
from secops.errors import Findings, Refused, UsageError

if TYPE_CHECKING:
    from secops.rollout.differences import Difference
    from secops.rollout.profiles import Catalogue
    from secops.variables.registry import Registry


@declare("profile diff", database=False, rows=True)
def command(
    run: Run,
    name: Annotated[str, typer.Argument(metavar="NAME", autocompletion=complete_profile)],
    other: Annotated[
        str | None, typer.Argument(metavar="OTHER", autocompletion=complete_profile)
    ] = None,
    *,
    target: Annotated[
        str | None,
        typer.Option(
            "--target",
            metavar="TARGET",
            help="Whose live variables; as secops.yaml calls it.",
            autocompletion=complete_target,
        ),
    ] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Also the variables that are alike.")
    ] = False,
    exit_code: Annotated[
        bool, typer.Option("--exit-code", help="Exit 3 where anything differs.")
    ] = False,
) -> None:
    r"""Say how a profile differs from what is live, or from another.

    With one name: what applying it would change at the target. With two: what the way from the first to the
    second changes. Nothing is written. A change that tightens, relaxes or does neither is told apart by the
    registry; two spellings of one value (30m, 1800s) are the same.

    \b
    Examples:
      secops profile diff owasp-2024 --target prod
      secops profile diff quick-win owasp-2024
      secops profile diff owasp-2024 --exit-code --quiet
    """
    from secops.rollout.profiles import load_profiles

    profiles = load_profiles(run.settings)
    if other is not None and target is not None:
        raise UsageError(
            "Two profiles are compared with one another, without a target.",
            hint=f"Leave --target away, or one of {name} and {other}.",
        )
    if other is None:
        found, columns = _from_live(run, profiles, name, target)
    else:
        from secops.rollout.differences import between

        found = between(profiles.registry, profiles.resolve(name), profiles.resolve(other))
        columns = (name, other)
    differing = [each for each in found if each.differs]
    run.output.rows(
        ("variable", *columns, "change"),
        [_row(each, profiles.registry) for each in (found if everything else differing)],
        empty="Nothing differs.",
    )
    if exit_code and differing:
        count = len(differing)
        raise Findings(
            f"{count} variables differ." if count > 1 else f"{differing[0].name} differs.",
            hint="--exit-code asked for exit code 3.",
            details={"variables": [each.name for each in differing]},
        )


def _from_live(
    run: Run, profiles: Catalogue, name: str, target: str | None
) -> tuple[list[Difference], tuple[str, str]]:
    from secops.rollout.differences import from_live, rules_broken
    from secops.targets.open import chosen, open_target

    wanted = profiles.resolve(name)
    opened = open_target(chosen(run.settings, target), run.settings.environ)
    if not opened.traits.readable:
        raise Refused(
            f"The target {opened.name} ({opened.kind}) cannot be read back.",
            hint=f"Compare with another profile: secops profile diff OTHER {name}",
        )
    live = opened.read()
    for broken in rules_broken(profiles.registry, live.variables, wanted):
        run.output.warn(broken.message)
    if live.pending:
        run.output.warn(f"Somebody has staged changes there: {live.pending}.")
    return from_live(profiles.registry, live.variables, wanted), ("live", "profile")


def _row(each: Difference, known: Registry) -> tuple[object, ...]:
    def shown(value: str | None) -> str | None:
        return known.shown(each.name, value)

    before = "(sealed)" if each.hidden else shown(each.before)
    return each.name, before, shown(each.after), each.direction.value if each.direction else None
