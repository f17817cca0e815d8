"""``secops profile list``."""

from __future__ import annotations

from secops.cli.command import Run
from secops.cli.command import command as declare


@declare("profile list", database=False, rows=True)
def command(run: Run) -> None:
    r"""List the profiles and the rollouts there are.

    A profile is a set of environment variables; a rollout moves a service through stages of them. Each is one
    YAML file. Your own join from the folder that `profiles` in secops.yaml names, or from `profiles` beside
    it.

    \b
    Examples:
      secops profile list
      secops profile list --json
    """
    from secops.rollout.profiles import load_profiles
    from secops.rollout.rollouts import load_rollouts

    profiles = load_profiles(run.settings)
    rollouts = load_rollouts(run.settings, profiles)
    found, problems = profiles.load()
    moving, more = rollouts.load()
    rows: list[tuple[object, ...]] = [
        (
            "profile",
            each.name,
            len(profiles.resolve(each.name).names),
            "",
            ", ".join(each.extends),
            profiles.max_age(each.name),
            str(each.path) if profiles.is_own(each.name) else "secops",
            each.about,
        )
        for each in found
    ]
    rows += [
        (
            "rollout",
            each.name,
            len({name for stage in each.stages for name in stage.assignment.names}),
            ", ".join(stage.id for stage in each.stages),
            "",
            None,
            str(each.path) if rollouts.is_own(each.name) else "secops",
            each.about,
        )
        for each in moving
    ]
    run.output.rows(
        ("kind", "name", "variables", "stages", "extends", "max_age", "source", "about"), rows
    )
    for problem in [*problems, *more]:
        run.output.warn(f"{problem.message} {problem.hint}".strip())
