"""When people use the app, from where, and how often they mistype: everyday traffic."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from secops.demo.backend import MAX_ATTEMPTS, Account, Session
from secops.demo.people import DAY, roaming

if TYPE_CHECKING:
    from random import Random

    from secops.demo.people import Habit, Person

WINDOW: Final = 14 * DAY

EVENTS_PER_VISIT: Final = 7.4
"""Measured: what a visit comes to on average, with logins, refreshes and logouts."""

_MISTAKES: Final = (0, 1, 2, 3, 4, MAX_ATTEMPTS)
_MISTAKE_SHARES: Final = (9000, 740, 180, 45, 20, 8)


@dataclass(slots=True, eq=False)
class Visit:
    """Somebody uses the app for a while.

    Attributes:
        account: Whose.
        device: Its place among their devices.
        ip: Where from.
        begin: When.
        refreshes: How many more times the access token runs out meanwhile.
        mistakes: How many more wrong passwords they type, if they have to log in.
        leaves: Whether they log out at the end.
        calls: Whether they call the help desk when they lock themselves out.
        session: The session that it uses, once it has one.
    """

    account: Account
    device: int
    ip: str
    begin: float
    refreshes: int
    mistakes: int
    leaves: bool
    calls: bool
    session: Session | None = None

    @property
    def agent(self) -> str:
        """The device's user agent."""
        return self.account.person.devices[self.device].agent


def plan_visits(rng: Random, accounts: list[Account], until: float, wanted: int) -> Iterator[Visit]:
    """Plan the visits of two weeks, person by person.

    Args:
        rng: Chance.
        accounts: Everybody; those who never use the app have an activity of 0.
        until: The end of the two weeks, in seconds since 1970.
        wanted: About how many.
    """
    first = int((until - WINDOW) // DAY) - 1
    days = range(first, int(until // DAY) + 2)
    # A day of these counts only as far as it lies in the window, so the ends are weighed by the cut below.
    weight = {
        habit: 14 * (5 * habit.weekday + 2 * habit.weekend) / 7
        for habit in {account.person.habit for account in accounts}
    }
    total = sum(account.person.activity * weight[account.person.habit] for account in accounts)
    rate = wanted / total if total else 0.0
    for account in accounts:
        person = account.person
        if person.activity:
            for day in days:
                yield from _day(rng, account, day, until, rate * person.activity)


def _day(rng: Random, account: Account, day: int, until: float, rate: float) -> Iterator[Visit]:
    person = account.person
    # 1970-01-01 was a Thursday.
    weekend = (day + 3) % 7 >= 5
    expected = rate * (person.habit.weekend if weekend else person.habit.weekday)
    count = int(expected + rng.random())
    for _ in range(count):
        begin = day * DAY + (_hour(rng, person.habit) - person.offset) * 3_600
        if until - WINDOW <= begin < until:
            yield _visit(rng, account, begin, at_work=not weekend)


def _hour(rng: Random, habit: Habit) -> float:
    return rng.choice(habit.hours) + rng.gauss(0, habit.spread)


def _visit(rng: Random, account: Account, begin: float, *, at_work: bool) -> Visit:
    person = account.person
    choice = rng.randrange(len(person.devices))
    device = person.devices[choice]
    return Visit(
        account=account,
        device=choice,
        ip=_where(rng, person, mobile=device.mobile, at_work=at_work),
        begin=begin,
        refreshes=min(int(rng.expovariate(1 / 6.2)), 34),
        mistakes=rng.choices(_MISTAKES, _MISTAKE_SHARES)[0],
        leaves=not device.stays and rng.random() < 0.85,
        calls=rng.random() < 0.5,
    )


def _where(rng: Random, person: Person, *, mobile: bool, at_work: bool) -> str:
    kind = rng.random()
    if person.travels and kind < 0.3:
        return roaming(rng)
    if mobile and kind < 0.45:
        return roaming(rng)
    if person.exit and kind < 0.7:
        return person.exit
    if person.office and at_work and kind < 0.85:
        return person.office
    return person.home


def older_sessions(
    rng: Random, accounts: list[Account], until: float
) -> Iterator[tuple[Account, int, list[float]]]:
    """Yield sessions that began before the two weeks, on devices that are never logged out.

    Yields:
        The account, the device, and when each token so far was issued.
    """
    start = until - WINDOW
    for account in accounts:
        for place, device in enumerate(account.person.devices):
            if not device.stays or not account.person.activity or rng.random() > 0.4:
                continue
            moment = start - (0.2 + 14.8 * rng.random()) * DAY
            issued = []
            while moment < start:
                issued.append(moment)
                moment += (0.3 + rng.expovariate(0.9)) * DAY
            yield account, place, issued
