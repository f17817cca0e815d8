"""Two weeks of logins that end now: everyday visits and attacks, played through the demo app's backend."""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from functools import partial
from operator import itemgetter
from random import Random
from typing import Final

from secops.demo import attacks
from secops.demo.attacks import HOUR, MINUTE, Attempt, Heist
from secops.demo.backend import ACCESS_LIFE, Account, Backend, Session
from secops.demo.people import BESIEGED, CAST, DAY, LOCKED_OUT, ROBBED, SCRIPTED, Person
from secops.demo.visits import EVENTS_PER_VISIT, Visit, older_sessions, plan_visits

Act = Callable[[float], None]
"""Something that happens; it is told when."""

_FULL: Final = 500_000
"""The number of events that the attacks' sizes are written for; fewer make them smaller."""


class Traffic:
    """Plays the two weeks; every run with the same arguments writes the same.

    Attributes:
        backend: The demo app's, with the state that the traffic left.
        accounts: In the order of the people.
    """

    def __init__(self, people: list[Person], *, until: float, events: int, seed: int) -> None:
        """Set the scene.

        Args:
            people: From :func:`secops.demo.people.make_people`.
            until: Now, in seconds since 1970, as the database's clock says.
            events: About how many events to make.
            seed: Any number.
        """
        self._rng = Random(f"{seed}:traffic")
        self._until = until
        self._events = events
        self._scale = min(events / _FULL, 1.0)
        self._later: list[tuple[float, int, Act]] = []
        self._scheduled = 0
        self._in_use: dict[tuple[Account, int], Session] = {}
        self.accounts = [Account(person) for person in people]
        self.backend = Backend(self._rng, until)

    def play(self, chunk: int = 1_000) -> Iterator[list[str]]:
        """Yield the events in the order of time, as lists of lines for ``COPY``."""
        for account, device, issued in older_sessions(self._rng, self.accounts, self._until):
            self._continue(account, device, issued)
        steps = list(self._attacks())
        wanted = round((self._events - len(steps)) / EVENTS_PER_VISIT)
        steps += (
            (visit.begin, partial(self._begin, visit))
            for visit in plan_visits(self._rng, self.accounts, self._until, wanted)
        )
        steps.sort(key=itemgetter(0))
        steps.append((self._until, lambda _: None))
        lines, later = self.backend.lines, self._later
        for moment, act in steps:
            while later and later[0][0] < moment:
                when, _, then = heapq.heappop(later)
                then(when)
            act(moment)
            if len(lines) >= chunk:
                yield lines[:]
                lines.clear()
        yield lines[:]
        lines.clear()

    def _at(self, moment: float, act: Act) -> None:
        """Do something later, in its turn; what would be after the end never happens."""
        self._scheduled += 1
        heapq.heappush(self._later, (moment, self._scheduled, act))

    # Everyday visits.

    def _continue(self, account: Account, device: int, issued: list[float]) -> None:
        person = account.person
        session = self.backend.open(issued[0], account, person.home, person.devices[device].agent)
        session.tokens += ((moment, person.home) for moment in issued[1:])
        self._in_use[account, device] = session

    def _begin(self, visit: Visit, moment: float) -> None:
        session = self._in_use.get((visit.account, visit.device))
        if session is None or not session.alive(moment):
            self._log_in(visit, moment)
            return
        visit.session = session
        self._use(visit, moment)

    def _log_in(self, visit: Visit, moment: float) -> None:
        account = visit.account
        right = visit.mistakes == 0
        session = self.backend.login(moment, account, visit.ip, visit.agent, right=right)
        if session is not None:
            visit.session = self._in_use[account, visit.device] = session
            self._stay(visit, moment)
        elif moment >= account.locked_until:
            visit.mistakes -= 1
            self._at(moment + 6 + 40 * self._rng.random(), partial(self._log_in, visit))
        elif visit.calls:
            visit.mistakes = 0
            self._at(moment + (4 + 16 * self._rng.random()) * MINUTE, partial(self._call, visit))

    def _call(self, visit: Visit, moment: float) -> None:
        """They call the help desk."""
        if moment < visit.account.locked_until:
            self.backend.unlock(moment, visit.account)
        self._at(moment + 20 + 60 * self._rng.random(), partial(self._log_in, visit))

    def _use(self, visit: Visit, moment: float) -> None:
        session = visit.session
        assert session is not None
        if not session.alive(moment):
            return
        # Another tab may have refreshed it; its access token is good for a while then.
        if moment - session.latest > ACCESS_LIFE - 60:
            self.backend.refresh(moment, session, visit.ip)
        self._stay(visit, moment)

    def _stay(self, visit: Visit, moment: float) -> None:
        if visit.refreshes:
            visit.refreshes -= 1
            # The client asks as soon as the access token is about to run out.
            pause = ACCESS_LIFE - 20 * self._rng.random()
            self._at(moment + pause, partial(self._use, visit))
        elif visit.leaves:
            self._at(moment + 600 * self._rng.random(), partial(self._leave, visit))
        if self._rng.random() < 0.0007:
            self._at(moment + 90, partial(self._change_password, visit))

    def _leave(self, visit: Visit, moment: float) -> None:
        session = visit.session
        if session is not None and session.alive(moment):
            self.backend.logout(moment, session, visit.ip)

    def _change_password(self, visit: Visit, moment: float) -> None:
        session = visit.session
        if session is not None and session.alive(moment):
            self.backend.change_password(moment, session, visit.ip)

    # Attacks.

    def _attacks(self) -> Iterator[tuple[float, Act]]:
        rng, until, scale = self._rng, self._until, self._scale
        cast = dict(zip(CAST, self.accounts, strict=False))
        others = [a for a in self.accounts[len(CAST) :] if a.person.activity]
        rng.shuffle(others)
        sprayed = [others.pop() for _ in range(max(40, round(600 * scale)))]
        sprayed_before = [others.pop() for _ in range(max(20, round(250 * scale)))]
        leaked = [others.pop() for _ in range(max(20, round(1_300 * scale)))]
        taken = {account.person.email.lower() for account in self.accounts}
        pause = 8 / max(scale, 0.4)
        for victim, ip, end, rounds in (
            (cast[LOCKED_OUT], attacks.GUESSER, until, 4),
            (others.pop(), "203.0.113.31", until - 9.2 * DAY, 2),
        ):
            yield from self._tries(
                attacks.guesses_at_one(rng, victim, end, ip=ip, rounds=rounds, pause=pause)
            )
        yield from self._tries(
            attacks.guesses_from_many(
                rng, cast[BESIEGED], until, addresses=max(60, round(420 * scale)), lasts=2.5 * HOUR
            )
        )
        yield from self._tries(attacks.sprays(rng, sprayed, until - 2 * HOUR, ip=attacks.SPRAYER))
        yield from self._tries(
            attacks.sprays(rng, sprayed_before, until - 5.6 * DAY, ip="203.0.113.140")
        )
        yield from self._tries(
            attacks.stuffs(
                rng, leaked, taken, until - 6 * HOUR, tries=max(240, round(9_000 * scale)),
                lasts=3 * HOUR,
            )
        )  # fmt: skip
        yield from self._tries(attacks.pranks(rng, until))
        for heist in attacks.heists(rng, cast[ROBBED], others, until):
            yield heist.logs_in, partial(self._heist, heist)
        yield from self._storm(cast[SCRIPTED])
        for account in self.accounts:
            if not account.person.active and rng.random() < 0.2:
                yield until - 14 * DAY * rng.random(), partial(self._knock, account)

    def _tries(self, plan: Iterator[tuple[float, Attempt]]) -> Iterator[tuple[float, Act]]:
        for moment, attempt in plan:
            yield moment, partial(self._attempt, attempt)

    def _attempt(self, attempt: Attempt, moment: float) -> None:
        session = self.backend.login(
            moment, attempt.account, attempt.ip, attempt.agent, right=attempt.right,
            email=attempt.email, label=attempt.label,
        )  # fmt: skip
        if session is None:
            return
        ip = attempt.ip
        for minutes in (15, 30):
            self._at(moment + minutes * MINUTE - 5, partial(self._refresh_if_alive, session, ip))
        if attempt.takes_over:
            self._at(moment + 11 * MINUTE, partial(self._take_over, session, attempt))

    def _refresh_if_alive(self, session: Session, ip: str, moment: float) -> None:
        if session.alive(moment):
            self.backend.refresh(moment, session, ip)

    def _take_over(self, session: Session, attempt: Attempt, moment: float) -> None:
        if session.alive(moment):
            self.backend.change_password(moment, session, attempt.ip, attempt.label)

    def _knock(self, account: Account, moment: float) -> None:
        """Somebody tries their account, which was disabled."""
        person = account.person
        self.backend.login(moment, account, person.home, person.devices[0].agent, right=True)

    def _heist(self, heist: Heist, moment: float) -> None:
        person = heist.account.person
        session = self.backend.login(
            moment, heist.account, person.home, person.devices[0].agent, right=True
        )
        if session is None:
            return
        for when in _every_quarter(moment, heist.leaves):
            self._at(when, partial(self._refresh_if_alive, session, person.home))
        for when in _every_quarter(heist.leaves, heist.comes_back):
            self._at(when, partial(self._steal, session, heist.thief))
        self._at(heist.comes_back, partial(self._notice, session))

    def _steal(self, session: Session, thief: str, moment: float) -> None:
        if session.alive(moment):
            self.backend.refresh_elsewhere(moment, session, thief, attacks.SCRIPT, attacks.THEFT)

    def _notice(self, session: Session, moment: float) -> None:
        """Their client sends the token that the thief has used; they have to log in again."""
        account = session.account
        home = account.person.home
        if not session.alive(moment):
            return
        self.backend.replay(moment, session, home, session.agent, attacks.THEFT)
        self._at(moment + 40, partial(self._return, account, session.agent))

    def _return(self, account: Account, agent: str, moment: float) -> None:
        home = account.person.home
        session = self.backend.login(moment, account, home, agent, right=True)
        if session is not None:
            for when in _every_quarter(moment, moment + HOUR):
                self._at(when, partial(self._refresh_if_alive, session, home))

    def _storm(self, account: Account) -> Iterator[tuple[float, Act]]:
        """A script refreshes its token with every request instead of when it runs out."""
        pause = 4.5 / max(self._scale, 0.2)
        begin = self._until - 62 * MINUTE

        def log_in(moment: float) -> None:
            session = self.backend.login(
                moment, account, account.person.home, attacks.SCRIPT, right=True,
                label=attacks.STORM,
            )  # fmt: skip
            when = moment + pause
            while session is not None and when < self._until:
                self._at(when, partial(self._refresh_if_alive, session, account.person.home))
                when += pause * (0.6 + 0.8 * self._rng.random())

        yield begin, log_in


def _every_quarter(begin: float, end: float) -> Iterator[float]:
    moment = begin + ACCESS_LIFE - 8
    while moment < end:
        yield moment
        moment += ACCESS_LIFE - 8
