"""What the demo's people log in with: user agents as browsers and apps send them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from random import Random


@dataclass(frozen=True, slots=True)
class Device:
    """A browser or app on one machine.

    Attributes:
        agent: Its user agent.
        mobile: Whether it roams between networks.
        stays: Whether its user never logs out, so that its session lives as long as it is used.
    """

    agent: str
    mobile: bool
    stays: bool


_CHROME: Final = (137, 138, 139, 140, 141, 142)
_DESKTOPS: Final = (
    "Windows NT 10.0; Win64; x64",
    "Windows NT 10.0; Win64; x64",
    "Macintosh; Intel Mac OS X 10_15_7",
    "X11; Linux x86_64",
)
_IPHONE: Final = ("17_7", "18_5", "18_6_2", "26_0", "26_1")
_ANDROIDS: Final = ("10; K", "14; SM-S921B", "15; Pixel 9", "13; moto g84 5G", "16; SM-S931U")


def desktop(rng: Random) -> str:
    """Return the user agent of a browser on a computer."""
    system = rng.choice(_DESKTOPS)
    chrome = rng.choice(_CHROME)
    kind = rng.random()
    if kind < 0.58:
        return _chrome(system, chrome)
    if kind < 0.72:
        return f"{_chrome(_DESKTOPS[0], chrome)} Edg/{chrome}.0.0.0"
    if kind < 0.86:
        version = rng.choice((128, 140, 143, 144, 145))
        return f"Mozilla/5.0 ({system}; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
    return (
        "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) "
        f"Version/{rng.choice(('17.6', '18.5', '18.6', '26.0'))} Safari/605.1.15"
    )


def phone(rng: Random) -> str:
    """Return the user agent of a browser on a phone, or of the demo app itself."""
    kind = rng.random()
    system = rng.choice(_IPHONE)
    if kind < 0.40:
        return (
            f"Mozilla/5.0 (iPhone; CPU iPhone OS {system} like Mac OS X) AppleWebKit/605.1.15 "
            f"(KHTML, like Gecko) Version/{system.split('_')[0]}.0 Mobile/15E148 Safari/604.1"
        )
    if kind < 0.75:
        return _chrome(f"Linux; Android {rng.choice(_ANDROIDS)}", rng.choice(_CHROME), " Mobile")
    return f"ExampleCRM/5.{rng.randrange(3, 9)}.{rng.randrange(4)} (iOS {system.replace('_', '.')})"


def _chrome(system: str, version: int, mobile: str = "") -> str:
    return (
        f"Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) "
        f"Chrome/{version}.0.0.0{mobile} Safari/537.36"
    )
