"""Mails of the outbox, sent to a real SMTP server from a real database."""

from __future__ import annotations

import datetime as dt
import ssl
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from secops.accounts.login.attempts import Locked
from secops.errors import Unreachable
from secops.settings import Secret
from secops.upkeep.letters import Sender
from secops.upkeep.outbox import Delivery, Fate, Handled
from secops.upkeep.smtp import MailServer
from support.databases import Database
from support.logins import HOME, Backend
from support.mailbox import Mailbox, mailbox
from support.servers import free_port

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

SENDER = Sender.read("Example <no-reply@example.com>")
LATER = "UPDATE secops.outbox SET due_at = clock_timestamp() WHERE sent_at IS NULL"


@pytest.fixture
def box() -> Iterator[Mailbox]:
    with mailbox() as found:
        yield found


def post(database: Database, *addresses: str, kind: str = "account_locked", age: str = "0") -> None:
    database.execute(
        """INSERT INTO secops.outbox (kind, address, created_at, due_at, facts)
           SELECT %s, unnest(%s::text[]), now() - %s::interval, now() - %s::interval,
                  '{"name": "Alice", "attempts": 5, "minutes": "30 minutes"}'""",
        (kind, list(addresses), age, age),
    )


def deliver(database: Database, box: Mailbox, claim: timedelta | None = None) -> list[Handled]:
    server = MailServer.at(Secret(f"smtp://127.0.0.1:{box.port}?tls=off"))
    with database.connect() as conn:
        made = Delivery(conn, server, SENDER)
        if claim is not None:
            made.claim = claim
        return made.run()


def test_whoever_is_locked_out_is_told_once(hardened: Database, box: Mailbox) -> None:
    backend = Backend.on(hardened)
    backend.person()
    logins = replace(backend.logins, attempts=replace(backend.logins.attempts, notices=True))
    for _ in range(6):
        last = logins.login("alice@example.com", "wrong", HOME)
    assert isinstance(last, Locked)
    backend.close()
    assert [each.fate for each in deliver(hardened, box)] == [Fate.SENT]
    assert deliver(hardened, box) == []
    [mail] = box.mails
    assert box.recipients == [["alice@example.com"]]
    body = mail.get_content()
    assert "locked for 30 minutes after 5 failed attempts" in body
    assert "from Firefox 128 on Linux at the address 203.0.113.7" in body
    assert "wrong" not in body


def test_two_senders_at_once_send_nothing_twice(hardened: Database, box: Mailbox) -> None:
    everybody = [f"p{number}@example.com" for number in range(40)]
    post(hardened, *everybody)
    found: list[Handled] = []
    threads = [
        threading.Thread(target=lambda: found.extend(deliver(hardened, box))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(each for [each] in box.recipients) == sorted(everybody)
    assert len(found) == len(everybody)
    assert len({mail["Message-ID"] for mail in box.mails}) == len(everybody)


def test_what_is_refused_for_now_is_tried_again_and_at_last_given_up(
    hardened: Database, box: Mailbox
) -> None:
    post(hardened, "full@example.com", "fine@example.com")
    box.answer = lambda address: "452 4.2.2 Mailbox full" if address.startswith("full") else None
    fates = sorted((each.address, each.fate) for each in deliver(hardened, box))
    assert fates == [("fine@example.com", Fate.SENT), ("full@example.com", Fate.PUT_OFF)]
    pauses = []
    for _ in range(7):
        assert deliver(hardened, box) == []
        pauses.append(
            hardened.value("SELECT round(extract(epoch FROM due_at - now()) / 60)::int FROM secops.outbox"
                           " WHERE sent_at IS NULL")
        )  # fmt: skip
        hardened.execute(LATER)
        [tried] = deliver(hardened, box)
    assert pauses == [2, 4, 8, 16, 32, 60, 60]
    assert (tried.fate, tried.why) == (Fate.GIVEN_UP, "452 4.2.2 Mailbox full")
    hardened.execute(LATER)
    assert deliver(hardened, box) == []
    assert (
        hardened.value("SELECT error FROM secops.outbox WHERE given_up_at IS NOT NULL") == tried.why
    )


def test_what_can_never_arrive_is_given_up_at_once(hardened: Database, box: Mailbox) -> None:
    post(hardened, "gone@example.com", "no address", "a@b.c\r\nBcc: d@e.f")
    post(hardened, "late@example.com", age="25 hours")
    post(hardened, "x@example.com", kind="../secret")
    box.answer = lambda _: "550 5.1.1 No such\x1b[31m user"
    found = {each.address: (each.fate, each.why) for each in deliver(hardened, box)}
    assert {fate for fate, _ in found.values()} == {Fate.GIVEN_UP}
    assert found["gone@example.com"][1] == r"550 5.1.1 No such\x1b[31m user"
    assert found["late@example.com"][1] == "it came too late to be of use"
    assert found["no address"][1] == "that is no address for mail"
    assert box.mails == []


def test_a_sender_that_dies_after_the_server_took_it_leaves_it_to_be_sent_once_more(
    hardened: Database, box: Mailbox
) -> None:
    post(hardened, "a@example.com")

    class Killed(BaseException):
        pass

    server = MailServer.at(Secret(f"smtp://127.0.0.1:{box.port}?tls=off"))
    with hardened.connect() as conn:
        dying = Delivery(conn, server, SENDER)

        def settle(*_: object) -> None:
            raise Killed

        dying._settle = settle  # type: ignore[method-assign,assignment]  # as if it were killed there
        with pytest.raises(Killed):
            dying.run()
    assert deliver(hardened, box) == []  # the claim holds
    assert hardened.value(
        "SELECT due_at - claimed_at BETWEEN '9 min' AND '11 min' FROM secops.outbox"
    )
    hardened.execute(LATER)
    assert [each.fate for each in deliver(hardened, box)] == [Fate.SENT]
    hardened.execute(LATER)
    assert deliver(hardened, box) == []
    assert len(box.mails) == 2
    assert len({mail["Message-ID"] for mail in box.mails}) == 1
    assert len({mail["Date"] for mail in box.mails}) == 1


def test_a_slow_sender_whose_claim_ran_out_undoes_nothing_of_the_next_ones(
    hardened: Database, box: Mailbox
) -> None:
    post(hardened, "a@example.com")
    box.after = lambda: (
        hardened.execute("UPDATE secops.outbox SET claimed_at = now() - interval '1 h'"),
        None,
    )[1]
    deliver(hardened, box)
    assert hardened.value("SELECT sent_at IS NULL FROM secops.outbox")


def test_with_the_mail_server_away_nothing_is_lost(hardened: Database) -> None:
    post(hardened, "a@example.com")
    nobody = Mailbox(free_port())
    with pytest.raises(Unreachable, match="cannot be used"):
        deliver(hardened, nobody)
    assert hardened.execute("SELECT attempts, claimed_at, error FROM secops.outbox") == [
        (0, None, None)
    ]
    with mailbox(port=nobody.port) as box:
        assert [each.fate for each in deliver(hardened, box)] == [Fate.SENT]


def test_without_anything_to_send_the_server_is_not_asked(hardened: Database) -> None:
    assert deliver(hardened, Mailbox(free_port())) == []


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[ssl.SSLContext, Path]:
    """A server's context, and the file that makes a client trust it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = dt.datetime.now(dt.UTC)
    made = (
        x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key())
        .serial_number(1).not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )  # fmt: skip
    path = tmp_path / "server.pem"
    path.write_bytes(
        made.public_bytes(serialization.Encoding.PEM)
        + key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        )
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(path)
    return context, path


def test_a_login_goes_over_tls_to_a_server_whose_certificate_is_good(
    hardened: Database,
    certificate: tuple[ssl.SSLContext, Path],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    context, path = certificate
    post(hardened, "a@example.com")

    def through(port: int, user: str = "app:right@") -> list[Handled]:
        server = MailServer.at(Secret(f"smtp://{user}localhost:{port}"))
        with hardened.connect() as conn:
            return Delivery(conn, server, SENDER).run()

    with mailbox(context) as box:
        with pytest.raises(Unreachable, match="certificate is not good"):
            through(box.port)
        assert box.logins == []
        monkeypatch.setenv("SSL_CERT_FILE", str(path))
        with pytest.raises(Unreachable, match="refuses the login") as refused:
            through(box.port, "app:hunter2@")
        assert "hunter2" not in str(refused.value)
        assert [each.fate for each in through(box.port)] == [Fate.SENT]
    post(hardened, "b@example.com")
    with mailbox() as plain, pytest.raises(Unreachable, match="STARTTLS"):
        through(plain.port)
