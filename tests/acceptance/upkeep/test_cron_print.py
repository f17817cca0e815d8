"""``secops cron print``: each form is read by who is to run it, or as strictly as they would."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from support.databases import Command, Database

UNIT = re.compile(r"^# /etc/systemd/system/(\S+)\n(.*?)(?=^# /etc/|\Z)", re.DOTALL | re.MULTILINE)
FIELDS = re.compile(r"([0-5]?\d) ([01]?\d|2[0-3]) \* \* \* (\S.*)")


def test_a_crontab_has_one_line_that_cron_can_read_and_sh_can_run(
    secops: Command, tmp_path: Path
) -> None:
    done = secops("cron", "print", "--as", "crontab", "--at", "02:40")
    assert (done.code, done.err) == (0, "")
    [line] = [line for line in done.out.splitlines() if not line.startswith("#")]
    found = FIELDS.fullmatch(line)
    assert found is not None
    assert (found[1], found[2]) == ("40", "2")
    assert not re.search(r"(?<!\\)%", found[3])  # an unescaped % would end the command
    # Run as cron does, with another file in the place of /etc's and another program in that of secops.
    (tmp_path / "environment").write_text("SECOPS_DATABASE_URL=postgresql://here/d\n", "utf-8")
    program = tmp_path / "secops"
    program.write_text('#!/bin/sh\necho "$SECOPS_DATABASE_URL $*"\n', "utf-8")
    program.chmod(0o755)
    words = found[3].replace("/etc/secops/environment", str(tmp_path / "environment"))
    words = re.sub(r"exec \S+", f"exec {program}", words)
    ran = subprocess.run(["/bin/sh", "-c", words], capture_output=True, text=True, check=True)
    assert ran.stdout == "postgresql://here/d cron cleanup --quiet\n"
    if shutil.which("crontab"):
        (tmp_path / "crontab").write_text(done.out, "utf-8")
        checked = subprocess.run(
            ["crontab", "-T", str(tmp_path / "crontab")],
            capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert checked.returncode == 0 or "invalid option" in checked.stderr, checked.stderr


def test_systemd_takes_its_units(secops: Command, tmp_path: Path) -> None:
    done = secops("cron", "print", "--as", "systemd", "--at", "02:40")
    units = dict(UNIT.findall(done.out))
    assert set(units) == {"secops-cleanup.service", "secops-cleanup.timer"}
    assert "OnCalendar=*-*-* 02:40:00" in units["secops-cleanup.timer"]
    assert "cron cleanup --quiet" in units["secops-cleanup.service"]
    for name, text in units.items():
        for line in text.splitlines():
            assert re.fullmatch(r"|#.*|\[[A-Z]\w+\]|[A-Z]\w+=\S.*", line), (name, line)
    if not shutil.which("systemd-analyze"):
        return
    # Verified beside a program that is there, for systemd looks; a wrong word must be noticed.
    for name, text in units.items():
        here = re.sub(r'ExecStart="[^"]*"', 'ExecStart="/bin/true"', text)
        (tmp_path / name).write_text(here, "utf-8")
    assert verify(tmp_path) == ""
    broken = tmp_path / "secops-cleanup.timer"
    broken.write_text(
        broken.read_text("utf-8").replace("OnCalendar=*-*-* 02", "OnCalendar=x"), "utf-8"
    )
    assert "calendar specification" in verify(tmp_path)


def verify(folder: Path) -> str:
    """Return what systemd says of the units in a folder, and of no others."""
    paths = sorted(map(str, folder.glob("secops-cleanup.*")))
    done = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *paths],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    lines = (done.stdout + done.stderr).splitlines()
    return "\n".join(line for line in lines if "secops-cleanup" in line)


def test_kubernetes_gets_a_cron_job(secops: Command) -> None:
    image = 'r.example.com/a "b":1'
    done = secops("cron", "print", "--as", "kubernetes", "--image", image)
    job = yaml.safe_load(done.out)
    assert (job["apiVersion"], job["kind"]) == ("batch/v1", "CronJob")
    spec = job["spec"]
    assert (spec["schedule"], spec["concurrencyPolicy"]) == ("17 3 * * *", "Forbid")
    pod = spec["jobTemplate"]["spec"]["template"]["spec"]
    [container] = pod["containers"]
    assert pod["restartPolicy"] == "Never"
    assert container["image"] == image
    assert container["args"] == ["secops", "cron", "cleanup", "--quiet"]
    assert container["envFrom"] == [{"secretRef": {"name": "secops"}}]


def test_railway_gets_its_json(secops: Command) -> None:
    done = secops("cron", "print", "--as", "railway")
    assert json.loads(done.out)["deploy"] == {
        "startCommand": "secops cron cleanup --quiet",
        "cronSchedule": "17 3 * * *",
        "restartPolicyType": "NEVER",
    }


def test_what_pg_cron_is_to_run_does_what_pruning_does(secops: Command, hardened: Database) -> None:
    """The extension is played by a function that takes the job and keeps it."""
    hardened.execute(
        """
        INSERT INTO refresh_tokens (user_id, token_hash, family_id, used, revoked, expires_at)
        SELECT (SELECT id FROM users LIMIT 1), f || '-' || n, md5(f)::uuid, n < 3, f = 'dead',
               now() + CASE WHEN n < 3 THEN interval '-9 days' ELSE interval '1 day' END
        FROM unnest('{live,dead}'::text[]) f, generate_series(1, 3) n
        """
    )
    done = secops.on(hardened)("cron", "print", "--as", "pg_cron", "--at", "02:40")
    assert done.code == 0
    with hardened.connect() as conn:
        conn.execute(
            "CREATE SCHEMA cron; CREATE TABLE cron.job (name text, schedule text, command text);"
            "CREATE FUNCTION cron.schedule(text, text, text) RETURNS void LANGUAGE sql"
            " AS 'INSERT INTO cron.job VALUES ($1, $2, $3)'"
        )
        conn.execute(done.out.encode())
        rows = conn.execute("SELECT name, schedule, command FROM cron.job").fetchall()
        [(name, schedule, job)] = rows
        assert (name, schedule) == ("secops-prune-tokens", "* 2 * * *")
        for _ in range(2):
            conn.execute(str(job).encode())
    left = hardened.execute("SELECT token_hash FROM refresh_tokens ORDER BY 1")
    assert [row[0] for row in left] == ["dead-3", "live-1", "live-2", "live-3"]
    told = hardened.execute(
        "SELECT metadata ->> 'deleted' FROM security_events WHERE event_type = 'tokens_pruned'"
    )
    assert told == [("2",)]


@pytest.mark.parametrize("words", [("--as", "at"), ("--at", "24:00"), ("--at", "3"), ("--at", "")])
def test_words_that_are_off_are_a_usage_error(secops: Command, words: tuple[str, ...]) -> None:
    said = secops("cron", "print", "--json", *words)
    assert (said.code, said.error()["code"]) == (2, "usage")


def test_no_form_but_one_asks_the_database_and_none_shows_its_url(secops: Command) -> None:
    env = {"SECOPS_DATABASE_URL": "postgresql://u:c4n4ry@127.0.0.1:1/d"}
    for form in ("crontab", "systemd", "kubernetes", "railway"):
        done = secops("cron", "print", "--as", form, env=env)
        assert done.code == 0
        assert "c4n4ry" not in done.out + done.err
    assert secops("cron", "print", "--as", "pg_cron", env=env).code == 10
