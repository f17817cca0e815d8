"""The demo app's people: who they are, where and when they work, on what.

All of it is made up: names are combined at random, addresses are of the example domains (RFC 2606) and
of address ranges that no network on the internet has (RFC 5737, 3849, 6598), and the password hashes
are well-formed noise that no password fits.
"""

from __future__ import annotations

import base64
import string
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING, Final

from secops.demo.devices import Device, desktop, phone
from secops.demo.names import CULTURES, Name

if TYPE_CHECKING:
    from collections.abc import Callable

DAY: Final = 86_400.0

_DOMAINS: Final = (
    "example.com",
    "example.net",
    "example.org",
    "mail.example.com",
    "corp.example.net",
)
_DOMAIN_SHARES: Final = (45, 25, 15, 8, 7)
_VPN_EXITS: Final = 40
_BCRYPT: Final = str.maketrans(
    string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/",
    "./" + string.ascii_uppercase + string.ascii_lowercase + string.digits,
)


@dataclass(frozen=True, slots=True)
class Habit:
    """When somebody uses the app.

    Attributes:
        weekday: Visits on a working day, relative to other habits.
        weekend: The same for Saturday and Sunday.
        hours: Local hours around which visits gather.
        spread: By how many hours they stray.
    """

    weekday: float
    weekend: float
    hours: tuple[float, ...]
    spread: float


OFFICE: Final = Habit(1.3, 0.06, (8.8, 9.5, 11.0, 13.6, 15.2), 1.1)
EVENING: Final = Habit(0.6, 0.9, (12.4, 19.3, 20.6), 1.4)
MIXED: Final = Habit(0.9, 0.5, (9.5, 14.0, 20.0), 2.2)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody with an account.

    Attributes:
        id: Key in the app's users table, a UUID.
        email: Unique, also when case is ignored.
        name: As they write it.
        password_hash: Looks like one of argon2id or bcrypt.
        active: Whether the account may log in.
        age: Seconds since the account was made.
        offset: Hours from UTC where they live.
        habit: When they use the app.
        activity: How much, relative to others; 0 for those who never do.
        home: Address at home, IPv4 or IPv6.
        office: The address that they share with their colleagues at work, or ``""``.
        exit: That of the VPN that they use, or ``""``.
        travels: Whether some of their visits come from elsewhere.
        devices: At least one.
    """

    id: str
    email: str
    name: str
    password_hash: str
    active: bool
    age: float
    offset: float
    habit: Habit
    activity: float
    home: str
    office: str
    exit: str
    travels: bool
    devices: tuple[Device, ...]


@dataclass(frozen=True, slots=True)
class Role:
    """Somebody whom the tour meets by name."""

    email: str
    name: str
    offset: float


LOCKED_OUT: Final = Role("amelie.laurent@example.com", "Amélie Laurent", 1)
"""Her account is guessed at from one address, and locked for it."""

BESIEGED: Final = Role("tomasz.zielinski@example.org", "Tomasz Zieliński", 1)
"""His account is guessed at from hundreds of addresses."""

ROBBED: Final = Role("priya.raman@example.net", "Priya Raman", 5.5)
"""One of her refresh tokens is stolen."""

SCRIPTED: Final = Role("jonas.sjoberg@example.com", "Jonas Sjöberg", 1)
"""A script of his refreshes its token every few seconds."""

CAST: Final = (LOCKED_OUT, BESIEGED, ROBBED, SCRIPTED)


def make_people(count: int, seed: int) -> list[Person]:
    """Make people; the same ones for the same count and seed.

    Args:
        count: How many, :data:`CAST` among them and first.
        seed: Any number.
    """
    rng = Random(f"{seed}:people")
    taken: set[str] = set()
    people = [_member(rng, role, taken) for role in CAST]
    cultures = rng.choices(CULTURES, [culture.share for culture in CULTURES], k=count - len(CAST))
    for culture in cultures:
        given, family = rng.choice(culture.given), rng.choice(culture.family)
        names = (family, given) if culture.family_first else (given, family)
        people.append(
            _person(
                rng,
                email=_email(rng, given, family, taken),
                name=culture.joint.join(name.written for name in names),
                offset=rng.choice(culture.offsets),
            )
        )
    return people


def _member(rng: Random, role: Role, taken: set[str]) -> Person:
    taken.add(role.email)
    phone_and_laptop = (Device(desktop(rng), False, True), Device(phone(rng), True, True))
    made = _person(rng, email=role.email, name=role.name, offset=role.offset)
    return Person(
        made.id, made.email, made.name, made.password_hash, True, max(made.age, 400 * DAY),
        made.offset, OFFICE, 1.5, made.home, made.office, "", False, phone_and_laptop,
    )  # fmt: skip


def _person(rng: Random, *, email: str, name: str, offset: float) -> Person:
    active = rng.random() > 0.03
    habit = rng.choices((OFFICE, EVENING, MIXED), (60, 22, 18))[0]
    works_in_office = habit is OFFICE and rng.random() < 0.5
    return Person(
        id=uuid(rng),
        email=email,
        name=name,
        password_hash=_argon2(rng) if rng.random() < 2 / 3 else _bcrypt(rng),
        active=active,
        # Most accounts are young: the app grew. None is younger than the oldest session.
        age=45 * DAY + 2_100 * DAY * rng.random() ** 2,
        offset=offset,
        habit=habit,
        activity=0.0 if not active or rng.random() < 0.08 else 0.25 + rng.expovariate(1.0),
        home=_home(rng),
        office=_office(rng, offset) if works_in_office else "",
        exit=f"192.0.2.{rng.randint(1, _VPN_EXITS)}" if rng.random() < 0.06 else "",
        travels=rng.random() < 0.05,
        devices=_devices(rng),
    )


def _devices(rng: Random) -> tuple[Device, ...]:
    made = [Device(desktop(rng), False, rng.random() < 0.15)]
    if rng.random() < 0.6:
        made.append(Device(phone(rng), True, rng.random() < 0.25))
    if rng.random() < 0.15:
        made.append(Device(desktop(rng), False, rng.random() < 0.1))
    return tuple(made)


def _home(rng: Random) -> str:
    if rng.random() < 0.22:
        return ipv6(rng, "2001:db8")
    return f"100.{rng.randint(64, 95)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


def _office(rng: Random, offset: float) -> str:
    """Return the address of one of the five offices in a time zone."""
    return f"198.51.100.{round(offset * 2 + 20) * 5 + rng.randint(1, 5)}"


def roaming(rng: Random) -> str:
    """Return an address that a phone, a hotel or a train gives for a while."""
    return f"100.{rng.randint(96, 127)}.{rng.randint(0, 255)}.{rng.randint(1, 254)}"


def ipv6(rng: Random, prefix: str) -> str:
    """Return an address of a prefix, in canonical form."""
    return (
        f"{prefix}:{rng.randint(1, 0xFFF):x}:{rng.randint(1, 0xFFF):x}::{rng.randint(1, 0xFFF):x}"
    )


_STYLES: Final[tuple[tuple[int, Callable[[str, str], str]], ...]] = (
    (46, lambda given, family: f"{given}.{family}"),
    (14, lambda given, family: f"{given[0]}{family}"),
    (10, lambda given, family: f"{given}{family}"),
    (8, lambda given, family: f"{given}_{family}"),
    (7, lambda given, family: f"{given.title()}.{family.title()}"),
    (6, lambda given, family: f"{given}.{family[0]}"),
    (5, lambda given, family: f"{given}.{family}+crm"),
    (4, lambda given, family: f"{family}-{given}"),
)


def _email(rng: Random, given: Name, family: Name, taken: set[str]) -> str:
    style = rng.choices([make for _, make in _STYLES], [share for share, _ in _STYLES])[0]
    local = style(given.ascii, family.ascii)
    domain = rng.choices(_DOMAINS, _DOMAIN_SHARES)[0]
    head, plus, tag = local.partition("+")
    email, number = f"{local}@{domain}", 1
    while email.lower() in taken:
        number += rng.randint(1, 9)
        email = f"{head}{number}{plus}{tag}@{domain}"
    taken.add(email.lower())
    return email


def uuid(rng: Random) -> str:
    """Return a random UUID (version 4) in its usual form."""
    text = f"{rng.getrandbits(128):032x}"
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-a{text[17:20]}-{text[20:]}"


def _argon2(rng: Random) -> str:
    salt = base64.b64encode(rng.randbytes(16)).decode().rstrip("=")
    digest = base64.b64encode(rng.randbytes(32)).decode().rstrip("=")
    return f"$argon2id$v=19$m=19456,t=2,p=1${salt}${digest}"


def _bcrypt(rng: Random) -> str:
    """Return noise in bcrypt's form: 16 bytes of salt and 23 of digest in its own base 64."""
    salt, digest = (
        base64.b64encode(rng.randbytes(size)).decode().rstrip("=").translate(_BCRYPT)
        for size in (16, 23)
    )
    return f"$2b$12${salt}{digest}"
