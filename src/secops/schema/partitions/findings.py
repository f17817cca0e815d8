"""What should not stay as it is: months that run out, and work that was cut short."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

from psycopg import sql

from secops.schema.partitions.months import AHEAD, shown
from secops.schema.partitions.picture import TABLE

if TYPE_CHECKING:
    from secops.schema.partitions.picture import Partition, Picture


@dataclass(frozen=True, slots=True)
class Finding:
    """Something to mend.

    Attributes:
        what: In a sentence without a full stop.
        mend: What to run.
        urgent: Whether INSERTs fail, or soon will.
    """

    what: str
    mend: str
    urgent: bool = False


def findings(there: Picture, months: int = AHEAD) -> Iterator[Finding]:
    """Give what there is to mend.

    Args:
        there: What is there.
        months: How many whole months ahead there should be.
    """
    ahead = there.months_ahead
    if ahead is not None and ahead < months:
        words = f"only {ahead} of {months} months ahead have their partition"
        if ahead < 0:
            words = "no partition takes the events of now, so writing them fails"
        elif ahead == 0:
            words = "no whole month ahead has its partition"
        yield Finding(words, "secops partition ahead", urgent=ahead < 1)
    for each in there.partitions:
        if each.detaching:
            yield Finding(
                f"detaching {each.name} was cut short, and no other can be detached until it is finished",
                _detach(each) + " FINALIZE;",
            )
    if there.default is not None:
        yield Finding(
            f"there is a DEFAULT partition ({there.default.name}), which is locked and read whenever "
            "a month is made",
            _detach(there.default) + ";",
        )
    if there.cutoff is not None:
        words = f"a conversion has not ended: events dated {shown(there.cutoff.at)} or later are refused"
        mend = "secops partition convert   # or undo"
        yield Finding(words, mend, urgent=there.pressing)
    elif there.shadows:
        words = f"a conversion has not ended and left the empty table {', '.join(there.shadows)}"
        yield Finding(words, "secops partition convert   # or undo")
    if there.emptying:
        words = f"an undo has not ended: {len(there.emptying)} partitions are still to be emptied"
        yield Finding(words, "secops partition undo --yes")


def _detach(partition: Partition) -> str:
    words = sql.SQL("ALTER TABLE {} DETACH PARTITION {}")
    whole, part = (sql.Identifier(partition.schema, name) for name in (TABLE, partition.name))
    return words.format(whole, part).as_string()
