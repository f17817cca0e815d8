"""``secops cron mail``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from secops.cli.command import Run
from secops.cli.command import command as declare

if TYPE_CHECKING:
    from secops.upkeep.outbox import Handled


@declare("cron mail", changes=True)
def command(run: Run) -> None:
    r"""Send the mails that the backend wrote down, for cron: who was locked out.

    Where ENABLE_EMAIL_LOGIN_NOTIFICATIONS is set, `secops serve` writes a mail down with each lock, in
    the lock's own transaction. This sends what is due through SECOPS_SMTP_URL, from SECOPS_MAIL_FROM.

    It prints one line, or nothing where there was nothing to send. Two runs at once send nothing twice.
    What the mail server refuses for now is tried again after 2 minutes, then 4, 8, up to an hour, eight
    times; what it refuses for good, and what is older than a day, is given up. A run that is killed in
    the middle of a mail leaves it to be tried once more after 10 minutes, under the same Message-ID.

    \b
    Examples:
      secops cron mail --dry-run
      SECOPS_SMTP_URL=smtp://user:...@mail.example.com secops cron mail --quiet
    """
    from secops.upkeep.letters import Sender
    from secops.upkeep.outbox import Delivery, due
    from secops.upkeep.smtp import MailServer

    url, sender = run.settings.secret("mail.smtp_url"), run.settings.text("mail.from")
    if url is None or not sender:
        from secops.errors import ConfigurationError

        raise ConfigurationError(
            f"{'mail.smtp_url' if url is None else 'mail.from'} is not set, so no mail can be sent.",
            hint="Set SECOPS_SMTP_URL=smtp://USER:PASSWORD@HOST:587 and SECOPS_MAIL_FROM=no-reply@example.com.",
        )
    server, whom = MailServer.at(url), Sender.read(sender)
    with run.connect() as conn:
        if run.dry_run:
            found = due(conn)
            _finish(run, found, f"Would send {_mails(len(found))}." if found else "")
            return
        delivery = Delivery(conn, server, whom, run.settings.folder("mail.templates"))
        try:
            delivery.run()
        finally:
            _finish(run, delivery.handled, _said(delivery.handled))


def _said(handled: list[Handled]) -> str:
    from secops.upkeep.outbox import Fate

    counts = {fate: sum(each.fate is fate for each in handled) for fate in Fate}
    said = "; ".join(f"{_mails(count)} {fate.value}" for fate, count in counts.items() if count)
    return f"cron mail: {said}." if said else ""


def _mails(count: int) -> str:
    return "1 mail" if count == 1 else f"{count:,} mails"


def _finish(run: Run, handled: list[Handled], summary: str) -> None:
    from secops.output.outcome import Outcome
    from secops.upkeep.outbox import Fate

    outcome = Outcome(
        action=run.name,
        dry_run=run.dry_run,
        matched=len(handled),
        changed=0 if run.dry_run else sum(each.fate is Fate.SENT for each in handled),
        summary=summary or "cron mail: nothing to send.",
        items=[each.as_item() for each in handled],
    )
    run.output.document(outcome.as_dict(), [summary] if summary else [])
    for each in handled:
        if each.fate is Fate.GIVEN_UP:
            run.output.warn(f"The mail to {each.address} was given up: {each.why}.")
