"""Mails to people: what strangers chose in them is inert, and no header is theirs."""

from __future__ import annotations

from datetime import UTC, datetime
from email import message_from_bytes, policy
from pathlib import Path
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from secops.errors import ConfigurationError
from secops.settings import Secret
from secops.upkeep.letters import Notice, Sender, Undeliverable, compose, recipient
from secops.upkeep.smtp import MailServer

SENDER = Sender.read("Example <no-reply@example.com>")
FACTS = {
    "name": "Alice",
    "attempts": 5,
    "minutes": "30 minutes",
    "ip": "192.0.2.1",
    "agent": "Firefox 128 on Linux",
}


def notice(address: str = "alice@example.com", /, **facts: object) -> Notice:
    when = datetime(2026, 11, 24, 9, 0, tzinfo=UTC)
    return Notice(UUID(int=7), "account_locked", address, {**FACTS, **facts}, when)


def text(**facts: object) -> str:
    return str(compose(notice(**facts), SENDER).get_content())


def test_a_mail_says_what_happened_when_and_from_where() -> None:
    mail = compose(notice(), SENDER)
    assert mail["Subject"] == "Your account was locked"
    assert mail["From"] == "Example <no-reply@example.com>"
    assert mail["To"] == "alice@example.com"
    assert mail["Message-ID"] == f"<{UUID(int=7)}@example.com>"
    assert mail["Auto-Submitted"] == "auto-generated"
    body = mail.get_content()
    assert body.startswith("Hello Alice,\n")
    assert "locked for 30 minutes after 5 failed attempts" in body
    assert "from Firefox 128 on Linux at the address 192.0.2.1, on 2026-11-24 09:00 (UTC)" in body


@pytest.mark.parametrize(
    "name",
    [
        "http://evil.example",
        "Your prize: evil.example",
        "www",
        "a@b",
        "x" * 61,
        "",
        None,
        "tel:5",
        "a/b",
    ],
)
def test_a_name_in_which_a_link_could_hide_is_left_out(name: object) -> None:
    assert text(name=name).startswith("Hello,\n")


@given(st.dictionaries(st.sampled_from(sorted(FACTS)), st.text() | st.none() | st.integers()))
def test_no_fact_breaks_a_line_reaches_a_header_or_makes_a_link(facts: dict[str, object]) -> None:
    mail = compose(notice(**facts), SENDER)
    sent = message_from_bytes(mail.as_bytes(), policy=policy.default)
    plain = compose(notice(), SENDER)
    assert sent.keys() == plain.keys()
    headers = [
        (name, str(value)) for name, value in sent.items() if name != "Content-Transfer-Encoding"
    ]
    assert headers == [
        (name, str(value)) for name, value in plain.items() if name != "Content-Transfer-Encoding"
    ]
    body = sent.get_content().replace("\r\n", "\n")
    assert len(body.splitlines()) == len(plain.get_content().splitlines())
    assert not any(ord(letter) < ord(" ") and letter != "\n" for letter in body)
    assert "://" not in body


@given(st.text())
def test_an_address_is_one_or_the_mail_is_given_up(address: str) -> None:
    try:
        mail = compose(notice(address), SENDER)
    except Undeliverable:
        return
    sent = message_from_bytes(mail.as_bytes(policy=policy.SMTPUTF8), policy=policy.default)
    assert len(sent.get_all("To", [])) == 1
    assert "Bcc" not in sent


@pytest.mark.parametrize(
    "address",
    ["alice", "@example.com", "a@", "a b@example.com", "a@example.com\r\nBcc: b@example.com", "a@b, c@d",
     "a@b\x00", "<a@b>", "\ud800@b.c", "a@" + "x" * 80 + ".com"],
)  # fmt: skip
def test_what_is_no_address_gets_no_mail(address: str) -> None:
    with pytest.raises(Undeliverable):
        compose(notice(address), SENDER)


def test_hosts_beyond_ascii_are_written_in_it() -> None:
    assert recipient("a@münchen.example").addr_spec == "a@xn--mnchen-3ya.example"


def test_ones_own_words_replace_the_shipped_ones(tmp_path: Path) -> None:
    (tmp_path / "account_locked.txt").write_text("Subject: Gesperrt\n\nHallo$name, $minutes.\n")
    mail = compose(notice(), SENDER, tmp_path)
    assert (mail["Subject"], mail.get_content()) == ("Gesperrt", "Hallo Alice, 30 minutes.\n")
    for wrong in ("no subject\n\nx", "Subject: x\n\n$password", "Subject: x\n\n$"):
        (tmp_path / "account_locked.txt").write_text(wrong)
        with pytest.raises(ConfigurationError):
            compose(notice(), SENDER, tmp_path)


def test_a_kind_nobody_knows_is_no_path() -> None:
    with pytest.raises(Undeliverable):
        compose(Notice(UUID(int=1), "../../etc/passwd", "a@b.c", {}, datetime.now(UTC)), SENDER)


@pytest.mark.parametrize("sender", ["", "nobody", "a@b\nBcc: c@d", "Name <>"])
def test_a_sender_is_an_address(sender: str) -> None:
    with pytest.raises(ConfigurationError):
        Sender.read(sender)


def test_a_mail_servers_url_is_read_and_never_repeated() -> None:
    def at(url: str) -> tuple[object, ...]:
        found = MailServer.at(Secret(url))
        return found.host, found.port, found.tls, found.user, found.password.reveal()

    assert at("smtp://u%40x:p%2Fw@mail.example.com") == (
        "mail.example.com",
        587,
        "starttls",
        "u@x",
        "p/w",
    )
    assert at("smtps://mail.example.com") == ("mail.example.com", 465, "implicit", "", "")
    assert at("smtp://localhost:25?tls=off") == ("localhost", 25, "off", "", "")
    for wrong in ("mail", "http://hunter2@x", "smtp://", "smtp://u:hunter2@h?tls=off", "smtp://h?tls=x",
                  "smtps://h?tls=off", "smtp://h:99999999", "smtp://h/x", "smtp://h?hunter2"):  # fmt: skip
        with pytest.raises(ConfigurationError) as refused:
            at(wrong)
        assert "hunter2" not in refused.value.message
    assert "p/w" not in repr(MailServer.at(Secret("smtp://u:p%2Fw@h")))
