"""A .env file as a target: replaced whole or not at all, as it was in all but its content, under any death."""

from __future__ import annotations

import os
import random
import signal
import socket
import stat
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from secops.errors import Busy, ConfigurationError, Conflict, Refused
from secops.targets import own_file
from secops.targets.dotenv import Dotenv
from secops.targets.failures import NoSuchPlace
from secops.targets.open import open_target
from secops.targets.target import MARKER, Change, Place, Progress, Snapshot

TEXT = '# login\nJWT_EXPIRATION="1h"  # a day\nSECRET=s3cr3t-v4lue\nSITE=${{shared.SITE}}\n'
ENVIRON = {"PATH": os.environ["PATH"]}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / ".env"
    path.write_text(TEXT, encoding="utf-8")
    return path


def opened(file: Path, **options: object) -> Dotenv:
    place = Place("local", "dotenv", {"path": file.name, **options}, file.parent)
    target = open_target(place, ENVIRON)
    assert isinstance(target, Dotenv)
    return target


def names(folder: Path) -> list[str]:
    return sorted(each.name for each in folder.iterdir())


def test_it_is_read_unrendered_and_written_in_one_step(file: Path) -> None:
    target = opened(file)
    before = target.read()
    assert before.variables["SITE"].value == "${{shared.SITE}}"
    assert before.variables["SITE"].reference
    assert not before.variables["JWT_EXPIRATION"].reference
    started = target.write(Change({"JWT_EXPIRATION": "30m", MARKER: "op"}), before)
    assert started == ""
    assert file.read_text() == TEXT.replace("1h", "30m") + f"{MARKER}=op\n"
    target.write(Change({"JWT_EXPIRATION": "1h"}, frozenset({MARKER})), target.read())
    assert file.read_text() == TEXT
    assert names(file.parent) == [".env"]


def test_mode_and_link_and_times_of_untouched_files_stay(file: Path, tmp_path: Path) -> None:
    file.chmod(0o640)
    folder = tmp_path / "current"
    folder.mkdir()
    link = folder / ".env"
    link.symlink_to("../.env")
    target = opened(link)
    assert target.fingerprint == opened(file).fingerprint
    target.write(Change({"NEW": "1"}), target.read())
    assert link.is_symlink()
    assert link.readlink() == Path("../.env")
    assert "NEW=1" in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert names(folder) == [".env"]
    same = file.stat()
    target.write(Change({"NEW": "1"}), target.read())
    assert file.stat().st_mtime_ns == same.st_mtime_ns
    assert file.stat().st_ino == same.st_ino


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may give files away")
def test_owner_and_group_stay(file: Path) -> None:
    os.chown(file, 1234, 4321)
    target = opened(file)
    target.write(Change({"NEW": "1"}), target.read())
    assert (file.stat().st_uid, file.stat().st_gid) == (1234, 4321)


def test_attributes_stay(file: Path) -> None:
    try:
        os.setxattr(file, "user.origin", b"vault")
    except OSError:
        pytest.skip("this file system keeps no attributes")
    target = opened(file)
    target.write(Change({"NEW": "1"}), target.read())
    assert os.getxattr(file, "user.origin") == b"vault"


def test_bytes_that_are_no_text_stay_and_cannot_be_carried_elsewhere(file: Path) -> None:
    file.write_bytes(b"A=\xff\xfe\nB=1\n")
    target = opened(file)
    before = target.read()
    assert before.variables["A"].value is None
    assert before.variables["A"].sealed
    target.write(Change({"B": "2"}), before)
    assert file.read_bytes() == b"A=\xff\xfe\nB=2\n"


def test_what_somebody_saved_since_the_read_is_kept(file: Path) -> None:
    target = opened(file)
    before = target.read()
    file.write_text(TEXT + "COLLEAGUE=1\n")
    with pytest.raises(Conflict, match="changed since it was read"):
        target.write(Change({"JWT_EXPIRATION": "30m"}), before)
    assert file.read_text() == TEXT + "COLLEAGUE=1\n"
    with pytest.raises(Conflict):
        target.write(Change({"JWT_EXPIRATION": "30m"}), Snapshot({}))


def test_what_somebody_saves_while_the_new_file_is_made_is_kept(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = opened(file)
    before = target.read()
    real = own_file._as_before

    def editing(handle: int, content: own_file.Content) -> None:
        file.write_text(TEXT + "COLLEAGUE=1\n")
        real(handle, content)

    monkeypatch.setattr(own_file, "_as_before", editing)
    with pytest.raises(Conflict):
        target.write(Change({"JWT_EXPIRATION": "30m"}), before)
    assert file.read_text() == TEXT + "COLLEAGUE=1\n"
    assert names(file.parent) == [".env"]


def test_a_link_that_was_pointed_elsewhere_is_a_conflict(file: Path, tmp_path: Path) -> None:
    link, other = tmp_path / "link", tmp_path / "other"
    other.write_text("A=1\n")
    link.symlink_to(other)
    target = opened(link)
    before = target.read()
    link.unlink()
    link.symlink_to(file)
    with pytest.raises(Conflict):
        target.write(Change({"A": "2"}), before)
    assert other.read_text() == "A=1\n"
    assert file.read_text() == TEXT


@pytest.mark.parametrize("kind", ["missing", "folder", "pipe", "dangling"])
def test_what_is_no_file_is_refused_at_once(tmp_path: Path, kind: str) -> None:
    path = tmp_path / ".env"
    if kind == "folder":
        path.mkdir()
    elif kind == "pipe":
        os.mkfifo(path)
    elif kind == "dangling":
        path.symlink_to("nowhere")
    with pytest.raises((NoSuchPlace, Refused)):
        opened(path).read()


def test_a_file_with_two_names_is_refused_whole(file: Path) -> None:
    os.link(file, file.with_name("other"))
    target = opened(file)
    with pytest.raises(Refused, match="hard links"):
        target.write(Change({"A": "1"}), target.read())
    assert file.read_text() == TEXT
    assert [right.allowed for right in target.rights()][:2] == [True, False]


def test_a_broken_file_is_refused_whole(file: Path) -> None:
    file.write_text('A="1\nB=2\n')
    target = opened(file)
    with pytest.raises(Refused, match="Line 1"):
        target.write(Change({"B": "3"}), target.read())
    assert file.read_text() == 'A="1\nB=2\n'
    assert names(file.parent) == [".env"]
    assert target.rights()[2].allowed is False


@pytest.mark.skipif(os.geteuid() != 0, reason="a mount needs root")
def test_a_file_that_is_mounted_says_so(file: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.write_text("A=1\n")
    if subprocess.run(
        ["mount", "--bind", source, file], capture_output=True, check=False
    ).returncode:
        pytest.skip("nothing may be mounted here")
    try:
        target = opened(file)
        with pytest.raises(Refused) as caught:
            target.write(Change({"A": "2"}), target.read())
        assert "mount" in caught.value.hint
        assert source.read_text() == "A=1\n"
    finally:
        subprocess.run(["umount", file], check=True)


WRITER = """
import sys
from datetime import timedelta
from pathlib import Path
from secops.errors import Busy, Conflict
from secops.targets.dotenv import Dotenv
from secops.targets.target import Change
target = Dotenv("local", Path(sys.argv[1]), patience=timedelta(seconds=30))
name, many = sys.argv[2], int(sys.argv[3])
print("ready", flush=True)
for number in range(many):
    while True:
        try:
            target.write(Change({name: f"{number}-" + "x" * 2000, name + "_TOO": str(number)}), target.read())
            break
        except Conflict:
            pass
"""


def writer(file: Path, name: str, many: int) -> subprocess.Popen[str]:
    started = subprocess.Popen(
        [sys.executable, "-c", WRITER, file, name, str(many)], stdout=subprocess.PIPE, text=True
    )
    assert started.stdout is not None
    with started.stdout:
        assert started.stdout.readline() == "ready\n"
    return started


def test_two_writers_at_once_lose_nothing(file: Path) -> None:
    both = [writer(file, name, 60) for name in ("ONE", "TWO")]
    assert [each.wait(120) for each in both] == [0, 0]
    found = opened(file).read().variables
    for name in ("ONE", "TWO"):
        assert found[name].value == "59-" + "x" * 2000
        assert found[f"{name}_TOO"].value == "59"
    assert file.read_text().startswith(TEXT)
    assert names(file.parent) == [".env"]


def killed(file: Path, times: int) -> None:
    """Kill a writer at a random moment, again and again; the file is always one of its versions."""
    for _ in range(times):
        process = writer(file, "ONE", 1_000_000)
        time.sleep(random.uniform(0, 0.03))
        process.send_signal(signal.SIGKILL)
        process.wait()
        text = file.read_text()
        assert text.startswith(TEXT)
        found = opened(file).read().variables
        if "ONE" in found:
            value, number = found["ONE"].value, found["ONE_TOO"].value
            assert value == f"{number}-" + "x" * 2000
    # The next run finds the lock free, and takes away what the dead ones left.
    target = opened(file, patience="2s")
    target.write(Change({}, frozenset({"ONE", "ONE_TOO"})), target.read())
    assert file.read_text() == TEXT
    assert names(file.parent) == [".env"]


def test_a_writer_that_is_killed_leaves_a_whole_file(file: Path) -> None:
    killed(file, 6)


@pytest.mark.chaos
def test_a_hundred_writers_that_are_killed_leave_whole_files(file: Path) -> None:
    killed(file, 100)


def test_who_holds_the_file_is_named(file: Path) -> None:
    with own_file.locked(file, timedelta(0)):
        target = opened(file, patience="50ms")
        with pytest.raises(Busy) as caught:
            target.write(Change({"A": "1"}), target.read())
    assert f"process {os.getpid()} on {socket.gethostname()}" in caught.value.message
    assert file.read_text() == TEXT


@pytest.mark.parametrize("step", ["fsync", "fchmod", "replace"])
def test_a_full_disk_leaves_the_file_and_nothing_beside_it(
    file: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    target = opened(file)
    before = target.read()
    if step == "replace":
        monkeypatch.setattr(Path, "replace", full)
    else:
        monkeypatch.setattr(os, step, full)
    with pytest.raises(Refused, match="No space left"):
        target.write(Change({"A": "1"}), before)
    assert file.read_text() == TEXT
    assert names(file.parent) == [".env"]


def test_without_a_hook_nothing_is_deployed(file: Path) -> None:
    target = opened(file)
    assert not target.traits.deploys
    assert target.traits.compare_and_set
    assert target.deploy("") == ""
    assert target.status("").progress is Progress.LIVE
    assert target.deployments(datetime.now(UTC)) == ()


def test_a_hook_restarts_the_service_and_any_later_run_knows(file: Path) -> None:
    target = opened(file, restart=["sh", "-c", "cat .env > seen; echo $SECOPS_X"])
    assert target.traits.deploys
    identity = target.deploy("")
    found = opened(file).status(identity)
    assert found.progress is Progress.LIVE
    assert found.created_at is not None
    assert (file.parent / "seen").read_text() == TEXT


@pytest.mark.parametrize(
    ("restart", "words"),
    [
        (["sh", "-c", "echo no s3cr3t-v4lue here; exit 3"], "exit 3: no *** here"),
        (["sh", "-c", "kill -9 $$"], "signal 9"),
        (["no-such-program"], "not started"),
        (["sleep", "60"], "timeout"),
    ],
)
def test_a_hook_that_fails_says_how_and_no_value_of_the_file(
    file: Path, restart: list[str], words: str
) -> None:
    target = opened(file, restart=restart, restart_timeout="300ms")
    began = time.monotonic()
    found = target.status(target.deploy(""))
    assert found.progress is Progress.FAILED
    assert words in found.detail
    assert time.monotonic() - began < 10
    assert opened(file).status(found.id).progress is Progress.FAILED


def test_a_service_that_the_hook_leaves_running_is_not_waited_for(file: Path) -> None:
    target = opened(file, restart=["sh", "-c", "sleep 30 & echo $! > pid"])
    began = time.monotonic()
    assert target.status(target.deploy("")).progress is Progress.LIVE
    assert time.monotonic() - began < 5
    os.kill(int((file.parent / "pid").read_text()), signal.SIGKILL)


def test_a_signal_goes_to_the_process_of_the_pid_file(file: Path) -> None:
    process = subprocess.Popen(["sleep", "60"])
    (file.parent / "app.pid").write_text(f"{process.pid}\n")
    target = opened(file, pid_file="app.pid", signal="TERM")
    assert target.status(target.deploy("")).progress is Progress.LIVE
    assert process.wait(10) == -signal.SIGTERM
    for text in ("0\n", "-1\n", "what\n"):
        (file.parent / "app.pid").write_text(text)
        assert target.status(target.deploy("")).progress is Progress.FAILED


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"path": ""}, "path"),
        ({"pth": ".env"}, "no option 'pth'"),
        ({"form": "yaml"}, "dotenv, raw"),
        ({"restart": "systemctl restart app"}, "must be a list"),
        ({"restart": ["a"], "pid_file": "b"}, "both restart and pid_file"),
        ({"pid_file": "b", "signal": "NOPE"}, "must name a signal"),
        ({"patience": "soon"}, "patience"),
    ],
)
def test_options_that_are_off_are_named(file: Path, options: dict[str, object], words: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        opened(file, **options)
    assert words in caught.value.message
