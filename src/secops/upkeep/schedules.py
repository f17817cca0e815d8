"""The schedule of ``secops cron cleanup`` in the words of those that run schedules."""

from __future__ import annotations

import json
import re
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from psycopg import sql

import secops
from secops.errors import UsageError

if TYPE_CHECKING:
    from secops.database.layout import Layout

WORDS: Final = "cron cleanup --quiet"
ENVIRONMENT: Final = "/etc/secops/environment"
"""Where the forms for one machine read SECOPS_DATABASE_URL from: a file that root alone may read."""


@dataclass(frozen=True, slots=True)
class At:
    """A time of day."""

    hour: int
    minute: int

    @classmethod
    def read(cls, text: str) -> At:
        """Read ``HH:MM``.

        Raises:
            UsageError: It is none.
        """
        found = re.fullmatch(r"([01]\d|2[0-3]):([0-5]\d)", text.strip(), re.ASCII)
        if not found:
            raise UsageError(f"{text!r} is no time of day.", hint="Write 03:17.")
        return cls(int(found[1]), int(found[2]))

    @property
    def cron(self) -> str:
        """The five fields of cron."""
        return f"{self.minute} {self.hour} * * *"


def crontab(at: At, program: str) -> str:
    """Return lines for ``crontab -e``."""
    command = f"set -a; . {ENVIRONMENT}; exec {shlex.quote(program)} {WORDS}"
    # An unescaped % ends the command and begins its input.
    escaped = command.replace("%", "\\%")
    return f"""\
# secops: all upkeep, once a day, by this machine's clock. {ENVIRONMENT} holds
# SECOPS_DATABASE_URL=... (mode 600) and, for a monitor, SECOPS_PING_URL=...
{at.cron} {escaped}
"""


def systemd(at: At, program: str) -> str:
    """Return a service and a timer, each under a comment with its file's name."""
    quoted = program.replace("%", "%%").replace("$", "$$").replace("\\", "\\\\").replace('"', '\\"')
    return f"""\
# /etc/systemd/system/secops-cleanup.service
[Unit]
Description=secops: prune, partitions ahead, statistics
Wants=network-online.target
After=network-online.target

[Service]
Type=oneshot
EnvironmentFile={ENVIRONMENT}
ExecStart="{quoted}" {WORDS}
DynamicUser=yes
# The one place it may write to; archive.dir can be /var/lib/secops/archive.
StateDirectory=secops
StateDirectoryMode=0700
NoNewPrivileges=yes
PrivateTmp=yes
ProtectSystem=strict
ProtectHome=read-only

# /etc/systemd/system/secops-cleanup.timer
[Unit]
Description=secops: all upkeep, once a day

[Timer]
OnCalendar=*-*-* {at.hour:02}:{at.minute:02}:00
RandomizedDelaySec=5min
Persistent=true

[Install]
WantedBy=timers.target
"""


def kubernetes(at: At, image: str | None) -> str:
    """Return a CronJob; its environment comes from a Secret called ``secops``."""
    image = image or f"registry.example.com/secops:{secops.__version__}"
    return f"""\
# kubectl create secret generic secops --from-literal=SECOPS_DATABASE_URL=...
apiVersion: batch/v1
kind: CronJob
metadata:
  name: secops-cleanup
spec:
  schedule: "{at.cron}"
  timeZone: Etc/UTC
  concurrencyPolicy: Forbid
  startingDeadlineSeconds: 3600
  successfulJobsHistoryLimit: 3
  failedJobsHistoryLimit: 3
  jobTemplate:
    spec:
      backoffLimit: 1
      activeDeadlineSeconds: 7200
      template:
        spec:
          restartPolicy: Never
          automountServiceAccountToken: false
          containers:
            - name: secops
              image: {json.dumps(image)}
              args: {json.dumps(["secops", *WORDS.split()])}
              envFrom:
                - secretRef:
                    name: secops
              securityContext:
                runAsNonRoot: true
                allowPrivilegeEscalation: false
                capabilities:
                  drop: ["ALL"]
"""


def railway(at: At) -> str:
    """Return a ``railway.json`` for a service of its own; Railway's schedules are in UTC."""
    form = {
        "$schema": "https://railway.com/railway.schema.json",
        "deploy": {
            "startCommand": f"secops {WORDS}",
            "cronSchedule": at.cron,
            "restartPolicyType": "NEVER",
        },
    }
    return json.dumps(form, indent=2) + "\n"


_PG_CRON: Final = """\
-- pg_cron runs SQL and no programs. This deletes expired tokens, 5,000 a minute at most, in the hour after
-- {clock} (GMT), keeps the evidence of theft, and records what it deleted. Events past their retention, legal
-- holds and partitions ahead need `secops cron cleanup`.
SELECT cron.schedule({name}, {schedule}, {job});
"""

_JOB: Final = """
WITH gone AS (
    DELETE FROM {tokens} t
    WHERE t.id IN (
        SELECT d.id FROM {tokens} d
        WHERE d.expires_at < now() - interval '7 days'
          AND NOT (d.used AND EXISTS (
              SELECT FROM {tokens} l
              WHERE coalesce(l.family_id, l.id) = coalesce(d.family_id, d.id)
                AND l.used IS NOT TRUE AND l.revoked IS NOT TRUE
                AND l.expires_at > now() - interval '5 minutes'))
        ORDER BY d.expires_at LIMIT 5000 FOR UPDATE SKIP LOCKED)
    RETURNING t.id)
INSERT INTO {events} (event_type, event_category, severity, success, user_agent, message, metadata)
SELECT 'tokens_pruned', 'operator', 'warning', true, {agent},
       count(*) || ' refresh tokens deleted that had expired a week before, by pg_cron',
       jsonb_build_object('actor', current_user, 'host', 'pg_cron', 'command', 'prune tokens',
                          'deleted', count(*))
FROM gone HAVING count(*) > 0
"""


def pg_cron(at: At, layout: Layout) -> str:
    """Return what schedules the part of upkeep that plain SQL can do."""
    job = sql.SQL(_JOB).format(
        tokens=layout.tokens,
        events=layout.events,
        agent=sql.Literal(f"secops/{secops.__version__}"),
    )
    return (
        sql.SQL(_PG_CRON)
        .format(
            clock=sql.SQL(f"{at.hour:02}:00"),
            name=sql.Literal("secops-prune-tokens"),
            schedule=sql.Literal(f"* {at.hour} * * *"),
            job=sql.Literal(job.as_string()),
        )
        .as_string()
    )
