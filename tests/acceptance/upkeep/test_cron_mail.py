"""``secops cron mail``, the real command, against a real SMTP server."""

from __future__ import annotations

import threading

import pytest

from support.databases import Command, Database
from support.mailbox import mailbox
from support.servers import free_port

pytestmark = pytest.mark.parametrize("server", ["pg18"], indirect=True, scope="session")

POST = "INSERT INTO secops.outbox (kind, address) VALUES ('account_locked', %s)"


def test_one_line_says_what_was_sent_and_nothing_is_said_of_nothing(
    secops: Command, hardened: Database
) -> None:
    with mailbox() as box:
        run = secops.on(
            hardened,
            SECOPS_SMTP_URL=f"smtp://127.0.0.1:{box.port}?tls=off",
            SECOPS_MAIL_FROM="Example <no-reply@example.com>",
        )
        nothing = run("cron", "mail")
        assert (nothing.code, nothing.out, nothing.err) == (0, "", "")
        for address in ("alice@example.com", "bob@example.com", "evil\x1b[2J"):
            hardened.execute(POST, (address,))
        assert run("cron", "mail", "--dry-run").out == "Would send 3 mails.\n"
        assert box.mails == []
        done = run("cron", "mail", "--quiet")
        assert (done.code, done.out) == (0, "cron mail: 2 mails sent; 1 mail given up.\n")
        assert r"evil\x1b[2J was given up: that is no address for mail" in done.err
        assert len(box.mails) == 2
        machine = run("cron", "mail", "--json").json()
        assert (machine["action"], machine["changed"], machine["items"]) == ("cron mail", 0, [])


def test_what_is_not_set_or_away_is_said_without_its_password(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(POST, ("alice@example.com",))
    run = secops.on(hardened)
    unset = run("cron", "mail")
    assert unset.code == 2
    assert "mail.smtp_url is not set" in unset.err
    url = f"smtp://u:hunter2@127.0.0.1:{free_port()}"
    away = run("cron", "mail", env={"SECOPS_SMTP_URL": url, "SECOPS_MAIL_FROM": "a@example.com"})
    assert away.code == 10
    assert "hunter2" not in away.out + away.err
    assert hardened.value("SELECT attempts FROM secops.outbox") == 0


@pytest.mark.own_process
def test_a_run_that_is_killed_in_the_middle_of_a_mail_leaves_it_for_once_more(
    secops: Command, hardened: Database
) -> None:
    hardened.execute(POST, ("alice@example.com",))
    taken, go_on = threading.Event(), threading.Event()

    def slowly() -> None:
        taken.set()
        go_on.wait(20)

    with mailbox() as box:
        box.after = slowly
        run = secops.on(
            hardened,
            SECOPS_SMTP_URL=f"smtp://127.0.0.1:{box.port}?tls=off",
            SECOPS_MAIL_FROM="no-reply@example.com",
        )
        process = run.start("cron", "mail")
        assert taken.wait(20)
        process.kill()
        process.communicate()
        go_on.set()
        assert run("cron", "mail").out == ""  # its claim holds
        hardened.execute("UPDATE secops.outbox SET due_at = clock_timestamp()")
        assert run("cron", "mail").out == "cron mail: 1 mail sent.\n"
        assert run("cron", "mail").out == ""
    assert [mail["Message-ID"] for mail in box.mails] == [box.mails[0]["Message-ID"]] * 2
