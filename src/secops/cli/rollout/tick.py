"""``secops rollout tick``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli.command import Run
from secops.cli.rollout.options import Target, at
from secops.errors import SecopsError

if TYPE_CHECKING:
    from secops.rollout.ticking import Ticked


def tick(run: Run, *, target: Target = None) -> None:
    r"""Go on with what is on its way: look at deployments, ask gates, pass, or roll back. For cron.

    Quiet where nothing is on its way and with --quiet. A gate that fails rolls the stage back and exits 3;
    one that cannot tell holds it and exits 9; a stage that merely soaks on exits 0.

    \b
    Examples:
      secops rollout tick
      secops rollout tick --target prod --json
    """
    from secops.cli.rollout.shown import trouble
    from secops.output.formats import JSON_FORMATS
    from secops.rollout.opening import named_places
    from secops.rollout.ticking import tick as go_on

    troubles: list[SecopsError] = []
    documents: list[dict[str, object]] = []
    for place in named_places(run.settings, target):
        wrong: SecopsError | None = None
        try:
            with at(run, place) as desk:
                done = go_on(desk)
                if done is None:
                    run.output.note(f"{place.name}: nothing is on its way.")
                    continue
                documents.append(_document(done))
                if run.output.format not in JSON_FORMATS and not run.output.quiet:
                    for line in _lines(run, done, desk.books.now()):
                        run.output.line(line)
                wrong = trouble(done)
        except SecopsError as failure:
            wrong = failure
        if wrong is not None:
            troubles.append(wrong)
    if run.output.format in JSON_FORMATS:
        run.output.document(documents, ())
    for error in troubles[1:]:
        run.output.error(error)
    if troubles:
        raise troubles[0]


def _lines(run: Run, done: Ticked, now: object) -> list[str]:
    from datetime import datetime

    from secops.cli.rollout.shown import headline, next_words

    assert isinstance(now, datetime)
    lines = [headline(done.standing, now)]
    if done.verdicts:
        lines += [
            f"  {each.gate}: {each.verdict.value.upper()}. {each.summary}"
            for each in done.verdicts.readings
        ]
    after = next_words(run, done.standing, now) if done.rollback is None else ""
    return [*lines, f"  Next: {after}"] if after else lines


def _document(done: Ticked) -> dict[str, object]:
    from secops.cli.rollout.shown import as_dict

    return {
        "move": as_dict(done.standing),
        "gates": [each.as_dict() for each in done.verdicts.readings] if done.verdicts else [],
        "rollback": as_dict(done.rollback) if done.rollback else None,
    }
