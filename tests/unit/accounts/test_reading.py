"""What operators write and what attackers wrote, read."""

from __future__ import annotations

import fnmatch
import ipaddress
import re
import shlex
from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.accounts.agents import describe
from secops.accounts.criteria import Criteria, _like, where
from secops.accounts.networks import read_networks
from secops.accounts.operations import storable
from secops.accounts.revoking import BATCH, _parts
from secops.accounts.users import Account, _variants, key_from_text
from secops.cli.times import read_past
from secops.database.layout import Layout, UsersTable
from secops.errors import UsageError

WINDOWS, MAC = "(Windows NT 10.0; Win64; x64", "(Macintosh; Intel Mac OS X 10_15_7)"
WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("agent", "words"),
    [
        (None, "unknown device"),
        ("  ", "unknown device"),
        (
            f"Mozilla/5.0 {WINDOWS}; rv:128.0) Gecko/20100101 Firefox/128.0",
            "Firefox 128 on Windows",
        ),
        (
            f"Mozilla/5.0 {WINDOWS}) {WEBKIT} Chrome/126.0.0.0 Safari/537.36 Edg/126.0.0.0",
            "Edge 126 on Windows",
        ),
        (f"Mozilla/5.0 {MAC} {WEBKIT} Chrome/126.0.0.0 Safari/537.36", "Chrome 126 on macOS"),
        (f"Mozilla/5.0 {MAC} {WEBKIT} Version/17.5 Safari/605.1.15", "Safari 17 on macOS"),
        (
            (
                f"Mozilla/5.0 (iPhone; CPU iPhone OS 17_5 like Mac OS X) {WEBKIT} CriOS/126.0.6478.35 "
                "Mobile/15E148 Safari/604.1"
            ),
            "Chrome 126 on iPhone",
        ),
        (
            (
                f"Mozilla/5.0 (Linux; Android 14; SM-S921B) {WEBKIT} SamsungBrowser/25.0 "
                "Chrome/121.0.0.0 Mobile Safari/537.36"
            ),
            "Samsung Internet 25 on Android",
        ),
        (
            f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/126.0.0.0 Safari/537.36",
            "headless Chrome 126 on Linux",
        ),
        ("curl/8.5.0", "curl 8"),
        ("python-requests/2.32.3", "Python requests 2"),
        ("okhttp/4.12.0", "an Android app (okhttp)"),
        ("node", "Node.js"),
        ("Evil/1.0 " + "x" * 50, "Evil/1.0 " + "x" * 30 + "…"),
    ],
)
def test_user_agents_are_told_in_a_few_words(agent: str | None, words: str) -> None:
    assert describe(agent) == words


@given(st.text(max_size=3000))
def test_any_user_agent_is_told_shortly(agent: str) -> None:
    assert 0 < len(describe(agent)) <= 60


def test_a_very_long_user_agent_takes_no_time() -> None:
    assert describe("Version/1" + "1" * 10_000_000 + " Safari/").startswith("Version/1")


@given(st.text("ab*?%_\\[]^X", max_size=12), st.text("ab*?%_\\[]^x", max_size=12))
def test_a_glob_means_in_like_what_it_means_in_a_shell(glob: str, text: str) -> None:
    # fnmatch knows [...] too, which this does not: there it stands for itself.
    plain = re.sub(r"[\[]", "[[]", glob)
    wanted = re.match(fnmatch.translate(plain.lower()), text.lower(), re.DOTALL) is not None

    regex, like, position = "", _like(glob), 0
    while position < len(like):  # how PostgreSQL reads LIKE
        character = like[position]
        if character == "\\":
            position += 1
            regex += re.escape(like[position])
        else:
            regex += {"%": ".*", "_": "."}.get(character, re.escape(character))
        position += 1

    assert (re.fullmatch(regex, text, re.DOTALL | re.IGNORECASE) is not None) == wanted


def test_networks_match_a_client_in_either_of_its_forms() -> None:
    assert read_networks(["203.0.113.7"]) == ["203.0.113.7/32", "::ffff:203.0.113.7/128"]
    assert read_networks(["203.0.113.9/24"]) == ["203.0.113.0/24", "::ffff:203.0.113.0/120"]
    assert read_networks(["::ffff:203.0.113.0/120"])[1] == "203.0.113.0/24"
    assert read_networks(["2001:db8::/32"]) == ["2001:db8::/32"]
    assert read_networks(["::/0"]) == ["::/0"]
    for bad in (
        "",
        "office",
        "203.0.113",
        "203.0.113.7/33",
        "fe80::1%eth0",
        "10.0.0.0/8/8",
        "1.2.3.4;",
    ):
        with pytest.raises(UsageError):
            read_networks([bad])


@given(st.one_of(st.ip_addresses(v=4), st.ip_addresses(v=6)), st.integers(0, 32))
def test_every_network_holds_the_address_that_it_was_made_of(
    address: ipaddress.IPv4Address | ipaddress.IPv6Address, prefix: int
) -> None:
    networks = [ipaddress.ip_network(each) for each in read_networks([f"{address}/{prefix}"])]
    assert any(address in network for network in networks)


def test_moments_of_the_past_are_read() -> None:
    assert read_past("2026-11-24") == datetime(2026, 11, 24, tzinfo=UTC)
    assert read_past("2026-11-24T09:00Z") == datetime(2026, 11, 24, 9, tzinfo=UTC)
    assert read_past(" 2026-11-24 09:00+01:00 ") == datetime(
        2026, 11, 24, 9, tzinfo=timezone(timedelta(hours=1))
    )
    for text in ("3d", "3d ago", "3d-ago", "3D AGO", "2d24h"):
        assert read_past(text) == timedelta(days=3)
    for bad in ("", "ago", "yesterday", "-3d", "2026-13-01", "3", "1e3d"):
        with pytest.raises(UsageError):
            read_past(bad)
    with pytest.raises(UsageError, match="100 years"):
        read_past("99999999d")


@given(st.one_of(st.none(), st.text(), st.emails()), st.uuids())
def test_an_account_as_an_argument_survives_any_shell(email: str | None, key: UUID) -> None:
    argument = Account(key, email).argument

    assert shlex.split(argument) == [argument]
    assert not argument.startswith("-")
    assert argument in {email, str(key)}


@given(st.text())
def test_any_text_can_be_stored(text: str) -> None:
    stored = storable(text + "\x00\udc80")
    stored.encode()
    assert "\x00" not in stored


@pytest.mark.parametrize(
    ("text", "kind", "key"),
    [
        ("8B1F6A30-5C1E-4A53-9D0F-2F6F8A0C4E11", "uuid", UUID("8b1f6a305c1e4a539d0f2f6f8a0c4e11")),
        ("8b1f", "uuid", None),
        ("007", "integer", 7),
        ("2147483648", "integer", None),
        ("-2147483648", "integer", -2147483648),
        ("9223372036854775807", "bigint", 9223372036854775807),
        ("9223372036854775808", "bigint", None),
        ("٣", "bigint", None),
        ("1_000", "bigint", None),
        ("", "bigint", None),
        ("anything at all", "text", "anything at all"),
    ],
)  # fmt: skip
def test_ids_are_read_or_are_none(text: str, kind: str, key: object) -> None:
    assert key_from_text(text, kind) == key  # type: ignore[arg-type]  # one of KEY_TYPES


@given(st.text("abc@.", min_size=1, max_size=12), st.data())
def test_every_single_slip_is_among_the_variants(text: str, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(text) - 1))
    letter = data.draw(st.sampled_from("az0@"))
    slips = {
        text[:at] + text[at + 1 :],
        text[:at] + letter + text[at + 1 :],
        text[:at] + letter + text[at:],
        text[:at] + text[at : at + 2][::-1] + text[at + 2 :],
    }
    assert slips - {text} <= _variants(text)


@given(st.lists(st.integers(1, 3000), max_size=40))
def test_accounts_are_cut_into_parts_that_one_transaction_takes(counts: list[int]) -> None:
    parts = list(_parts(dict(enumerate(counts))))

    assert [key for part in parts for key in part] == list(range(len(counts)))
    for part in parts:
        held = sum(counts[int(str(key))] for key in part)
        assert len(part) == 1 or held <= BATCH


def test_no_criteria_never_mean_everyone() -> None:
    layout = Layout(UsersTable("public", "users", "id", "uuid", "email"), "public")
    with pytest.raises(AssertionError):
        where(Criteria(), layout)
    where(Criteria(everyone=True), layout)
