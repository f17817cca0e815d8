"""The attacks that secops exists for, each with a label.

Their sizes and rhythms are those that the usual detections look for: many failures of one address at one
account; one address at many accounts, a few tries each; many addresses at many accounts, mostly unknown
ones; many addresses at one account; a refresh token used by two; a token refreshed far too often.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from secops.demo.backend import LOCKED_FOR, MAX_ATTEMPTS
from secops.demo.names import CULTURES
from secops.demo.people import DAY, ipv6

if TYPE_CHECKING:
    from random import Random

    from secops.demo.backend import Account

BRUTE_FORCE: Final = "brute_force"
SPRAYING: Final = "password_spraying"
STUFFING: Final = "credential_stuffing"
DISTRIBUTED: Final = "distributed_guessing"
THEFT: Final = "refresh_token_theft"
STORM: Final = "refresh_storm"
HOSTILE: Final = "hostile_input"

ATTACKS: Final = (BRUTE_FORCE, SPRAYING, STUFFING, DISTRIBUTED, THEFT, STORM, HOSTILE)
"""Every label that ``metadata.demo_attack`` may hold."""

GUESSER: Final = "203.0.113.24"
SPRAYER: Final = "203.0.113.99"
PRANKSTER: Final = "203.0.113.66"
THIEF: Final = "203.0.113.177"
SCRIPT: Final = "python-requests/2.32.5"
STUFFERS: Final = "198.18.0.0/16"
"""The network of the credential stuffing; its few hits leave open sessions there."""

MINUTE: Final = 60.0
HOUR: Final = 3_600.0
_ROUND: Final = LOCKED_FOR + 75

HOSTILE_EMAILS: Final = (
    "\x1b[2J\x1b[31mowned@example.com",
    '=HYPERLINK("//x.example")@example.com',
    "<script>alert(1)</script>@example.org",
    "invoice\u202egpj.exe@example.net",
    "[red]admin[/]|\r\nroot@example.com",
)
HOSTILE_AGENTS: Final = (
    "Mozilla/5.0 \x1b]0;owned\x07\x1b[31m",
    "@SUM(1+1)*cmd|' /C calc'!A0",
    '"><img src=x onerror=alert(1)>',
    "\u009b2JMozilla [/bot]",
)
_TOOLS: Final = (
    "Mozilla/5.0 (Windows NT 10.0; Win64; x64) Chrome/91.0.4472.124 Safari/537.36",
    "Mozilla/5.0 (X11; Ubuntu; Linux x86_64; rv:88.0) Gecko/20100101 Firefox/88.0",
    "okhttp/4.9.3",
    "Go-http-client/2.0",
    SCRIPT,
)


@dataclass(frozen=True, slots=True, eq=False)
class Attempt:
    """A login that an attacker tries.

    Attributes:
        label: The attack that it belongs to.
        account: Whose address it names, or ``None``: nobody's.
        email: The address where it is nobody's.
        ip: Where from.
        agent: With what.
        right: Whether the password is.
        takes_over: Whether the attacker, once in, sets a password of their own.
    """

    label: str
    account: Account | None
    email: str
    ip: str
    agent: str
    right: bool = False
    takes_over: bool = False


def guesses_at_one(
    rng: Random, account: Account, until: float, *, ip: str, rounds: int, pause: float
) -> Iterator[tuple[float, Attempt]]:
    """Brute force: one address tries password after password on one account.

    Five tries lock it; the attacker goes on more slowly and begins anew when the lock is over. The last
    lock is eight minutes old at the end.
    """
    agent = rng.choice(_TOOLS)
    for place in range(rounds):
        begin = until - 9 * MINUTE - (rounds - 1 - place) * _ROUND
        moment = begin
        for _ in range(MAX_ATTEMPTS):
            yield moment, Attempt(BRUTE_FORCE, account, "", ip, agent)
            moment += 4 + 6 * rng.random()
        last = place == rounds - 1
        slower = 70 if last else pause
        while moment < min(begin + LOCKED_FOR, until - MINUTE):
            yield moment, Attempt(BRUTE_FORCE, account, "", ip, agent)
            moment += slower * (0.7 + 0.6 * rng.random())


def guesses_from_many(
    rng: Random, account: Account, until: float, *, addresses: int, lasts: float
) -> Iterator[tuple[float, Attempt]]:
    """A distributed attack: hundreds of addresses, one to three tries each, all at one account."""
    for number in range(addresses):
        v6 = number % 4 == 0
        ip = (
            ipv6(rng, "2001:db8:dead")
            if v6
            else f"198.19.{rng.randint(0, 255)}.{rng.randint(1, 254)}"
        )
        agent = rng.choice(_TOOLS)
        for _ in range(rng.randint(1, 3)):
            yield until - lasts * rng.random(), Attempt(DISTRIBUTED, account, "", ip, agent)
    # It has not stopped: whoever looks now finds the account locked.
    for second in range(5, 95, 10):
        yield until - second, Attempt(DISTRIBUTED, account, "", f"198.19.7.{second}", _TOOLS[0])


def sprays(
    rng: Random, accounts: list[Account], until: float, *, ip: str
) -> Iterator[tuple[float, Attempt]]:
    """Password spraying: one address tries three common passwords on each of many accounts.

    Three, so that nobody is locked; all within the hour.
    """
    hits = set(rng.sample(range(len(accounts)), 2))
    for passes in range(3):
        begin = until - 55 * MINUTE + passes * 18 * MINUTE
        for place, account in enumerate(accounts):
            moment = begin + 17 * MINUTE * (place + rng.random()) / len(accounts)
            right = passes == 2 and place in hits
            yield moment, Attempt(SPRAYING, account, "", ip, _TOOLS[1], right)


def stuffs(
    rng: Random, accounts: list[Account], taken: set[str], until: float, *, tries: int, lasts: float
) -> Iterator[tuple[float, Attempt]]:
    """Credential stuffing: pairs from a leak elsewhere, each tried once, from many addresses.

    Args:
        rng: Chance.
        accounts: Those whose addresses were in the leak.
        taken: Every address of the app in lower case; the others must not be among them.
        until: When it ends.
        tries: How many pairs.
        lasts: For how long.
    """
    pool = [
        (f"198.18.{rng.randint(0, 255)}.{rng.randint(1, 254)}", rng.choice(_TOOLS))
        for _ in range(max(tries // 4, 40))
    ]
    hits = rng.sample(range(len(accounts)), min(8, len(accounts) // 2))
    for place, account in enumerate(accounts):
        ip, agent = rng.choice(pool)
        yield (
            until - lasts * rng.random(),
            Attempt(STUFFING, account, "", ip, agent, place in hits, place in hits[:2]),
        )
    for _ in range(tries - len(accounts)):
        ip, agent = rng.choice(pool)
        yield until - lasts * rng.random(), Attempt(STUFFING, None, _leaked(rng, taken), ip, agent)
    # A few of the addresses are in more of a hurry than the rest.
    for ip, agent in pool[:3]:
        begin = until - lasts * (0.2 + 0.7 * rng.random())
        for number in range(60):
            moment = begin + number * 14 + rng.random() * 5
            yield moment, Attempt(STUFFING, None, _leaked(rng, taken), ip, agent)


def pranks(rng: Random, until: float) -> Iterator[tuple[float, Attempt]]:
    """Input that is meant for whoever reads the log: escapes, formulas, markup."""
    for place, email in enumerate(HOSTILE_EMAILS):
        begin = until - (2 + 3 * place) * HOUR
        for number in range(6 + place):
            agent = HOSTILE_AGENTS[(place + number) % len(HOSTILE_AGENTS)]
            moment = begin + number * (20 + 10 * rng.random())
            yield moment, Attempt(HOSTILE, None, email, PRANKSTER, agent)


def _leaked(rng: Random, taken: set[str]) -> str:
    culture = rng.choice(CULTURES)
    given, family = rng.choice(culture.given).ascii, rng.choice(culture.family).ascii
    while True:
        email = (
            f"{given}{family}{rng.randint(100, 9_999)}@example.{rng.choice(('com', 'net', 'org'))}"
        )
        if email not in taken:
            return email


@dataclass(frozen=True, slots=True, eq=False)
class Heist:
    """A refresh token that is stolen, used by the thief, and noticed when its owner comes back.

    Attributes:
        account: Whose.
        logs_in: When the owner logs in; the token is copied some time later.
        leaves: When they stop for now.
        thief: The thief's address.
        comes_back: When the owner's client sends the token that the thief has used since.
    """

    account: Account
    logs_in: float
    leaves: float
    thief: str
    comes_back: float


def heists(rng: Random, robbed: Account, others: list[Account], until: float) -> list[Heist]:
    """Plan the thefts: one today, the rest earlier in the two weeks."""
    found = [
        Heist(robbed, until - 5 * HOUR, until - 3 * HOUR, THIEF, until - 2 * HOUR - 10 * MINUTE)
    ]
    for account, days in zip(others, (3.3, 8.6), strict=False):
        begin = until - days * DAY
        found.append(
            Heist(
                account, begin, begin + HOUR, f"203.0.113.{rng.randint(180, 220)}", begin + 3 * HOUR
            )
        )
    return found
