"""``secops quickstart``: a database to play with, and a guided tour of it."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from secops.cli.command import Run
from secops.cli.command import command as declare
from secops.errors import EXIT_CODES, NothingMatched, NotYet
from secops.output import Format

if TYPE_CHECKING:
    from secops.database.connection import Connection
    from secops.demo.crowd import Crowd
    from secops.demo.home import Home
    from secops.demo.load import Demo, Size
    from secops.demo.story import Stop

_EVENTS_EACH: Final = 25
_FRESH: Final = timedelta(hours=12)
# The service starts so many commands before it is needed: by then there is something to compare with.
_AHEAD: Final = 3
_VISITS: Final = 450
_LOOKS: Final = 5


@declare("quickstart", database=False)
def command(
    run: Run,
    *,
    folder: Annotated[
        Path, typer.Argument(metavar="[DIR]", help="Where the demo lives.", show_default=False)
    ] = Path(),
    people: Annotated[
        int, typer.Option(help="How many people; fewer make a smaller demo.", min=200, max=200_000)
    ] = 20_000,
    events: Annotated[
        int | None,
        typer.Option(
            help=f"About how many events; {_EVENTS_EACH} for each of the people where not given.",
            min=5_000,
            max=5_000_000,
            show_default=False,
        ),
    ] = None,
    reset: Annotated[
        bool, typer.Option("--reset", help="Drop the demo and build it anew.")
    ] = False,
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask before --reset.")] = False,
    keep: Annotated[
        bool, typer.Option("--keep/--no-keep", help="Leave the server running afterwards.")
    ] = True,
    stop: Annotated[
        bool, typer.Option("--stop", help="Stop the demo's server; do no more.")
    ] = False,
) -> None:
    r"""See it all work on a database that comes with it.

    Starts a PostgreSQL of its own in DIR/.secops (the current folder if no DIR is given), makes a demo
    app's 20,000 users, simulates two weeks of their logins with attacks among them, writes
    DIR/secops.yaml, and then runs the real commands one after another, showing each. In the end a small
    app runs there for some seconds, and is moved through a rollout. It takes about a minute and 700 MB;
    nothing leaves this machine. A second run reuses what is there.

    \b
    Examples:
      secops quickstart demo
      secops quickstart demo --reset --yes
      secops quickstart demo --stop
    """
    from secops.database import embedded
    from secops.demo.home import Home, leads_elsewhere
    from secops.demo.load import Size

    home = Home(folder.expanduser().resolve())
    if stop:
        _stop(run, home)
        return
    home.check()
    run.yes = yes
    if reset and home.data.exists():
        run.confirm(f"Drop the demo in {home.folder} and build it anew?")
    before = dict(os.environ)
    # libpq and the commands of the tour read the environment, and it may name another database.
    for name in filter(leads_elsewhere, before):
        del os.environ[name]
    if "--no-color" in sys.argv:
        os.environ["NO_COLOR"] = "1"
    begun = time.monotonic()
    try:
        size = Size(people, events or people * _EVENTS_EACH)
        found, shown = _tour(run, home, size, reset=reset)
    finally:
        if not keep:
            embedded.stop(home.data)
    _close(run, home, found, shown, before, seconds=time.monotonic() - begun)


def _tour(run: Run, home: Home, size: Size, *, reset: bool) -> tuple[Demo, list[Stop]]:
    """Make or find the demo and run the commands on it."""
    from secops.database.locks import one_runner
    from secops.demo import load, service
    from secops.demo.story import MIGRATE, TOUR

    _say_what_root_does(run, home)
    server_url = home.start(reset=reset)

    def open_server() -> Connection:
        return _open(home, server_url)

    with one_runner(open_server, "quickstart"), open_server() as server:
        found = load.find(server)
        again = found is not None and not reset
        if found is None or reset:
            if found is None and load.exists(server):
                run.output.note("The demo here was never finished; building it anew.")
            load.create(server)
            home.write(server_url)
            found = _build(run, home, size)
        else:
            home.write(server_url)
            _say_what_is_there(run, home, found, load.age(server, found))
            _show(run, home, MIGRATE)
        service.write(home, anew=not again)
        for stop in TOUR[:-_AHEAD]:
            _show(run, home, stop, again=again)
        with _open(home) as conn, service.running(home, service.people(conn)) as crowd:
            for stop in TOUR[-_AHEAD:]:
                _show(run, home, stop, again=again)
            rolled_out = _roll_out(run, home, conn, crowd, again=again)
    return found, [MIGRATE, *TOUR, *rolled_out]


def _roll_out(run: Run, home: Home, conn: Connection, crowd: Crowd, *, again: bool) -> list[Stop]:
    """Move the running app through its rollout; return what was typed for it."""
    from secops.demo import service
    from secops.demo.story import AGAIN, ROLLOUT, drawn

    crowd.wait_for(_VISITS, seconds=10)
    run.output.line()
    run.output.line(
        f"A small app runs on this database now ({service.env_file(home)}), and people log in."
    )
    shown: list[Stop] = []
    for stop in ROLLOUT:
        shown.append(stop)
        code = _show(run, home, stop, again=again, also=NotYet.exit_code)
        looks = 0
        while code == NotYet.exit_code and looks < _LOOKS:
            looks += 1
            time.sleep(1)
            shown.append(AGAIN)
            code = _show(run, home, AGAIN, also=NotYet.exit_code if looks < _LOOKS else 0)
    if failed := service.latest_failure(conn):
        shown.append(drawn(failed))
        _show(run, home, shown[-1])
    return shown


def _say_what_root_does(run: Run, home: Home) -> None:
    from secops.database import embedded

    if embedded.needs_system_user() and not embedded.is_running(home.data):
        run.output.warn(
            f"You are root, and PostgreSQL refuses to run as root: its package adds the system user "
            f"{embedded.SYSTEM_USER!r}, if it is not there, runs the server as that user, and makes the "
            f"folders above {home.data} readable to everybody."
        )


def _open(home: Home, url: str | None = None) -> Connection:
    from secops.database.connection import connect
    from secops.settings import load

    return connect(load({"database_url": url}, environ={}, folder=home.folder), "quickstart")


def _build(run: Run, home: Home, size: Size) -> Demo:
    from secops.demo import load
    from secops.demo.story import MIGRATE

    run.output.line(f"A demo app with {size.people:,} people, in {home.folder}.")
    with _open(home) as conn:
        people = load.add_people(conn, size)
        _show(run, home, MIGRATE)
        run.output.line()
        run.output.line("Two weeks of their logins that end now, with attacks among them ...")
        with run.output.progress("Logins", round(size.events * 1.39)) as progress:
            found = load.add_traffic(conn, people, size, progress)
    run.output.line(f"{found.events:,} events and {found.tokens:,} refresh tokens.")
    return found


def _say_what_is_there(run: Run, home: Home, found: Demo, age: timedelta) -> None:
    from secops.durations import about

    run.output.note(
        f"There is a demo in {home.folder} already: {found.people:,} people, {found.events:,} events, "
        f"made {about(age)} ago. Using it; --reset builds it anew."
    )
    if age > _FRESH:
        run.output.note(
            "Its traffic ended then, and reports look back from now: the shorter ones find little."
        )


def _show(run: Run, home: Home, stop: Stop, *, again: bool = False, also: int = 0) -> int:
    """Show a command line and run it.

    Args:
        run: This run.
        home: Where to run it.
        stop: The command.
        again: Whether an earlier tour may have done it already, so that nothing is left to do.
        also: An exit code beside the command's own with which the tour goes on.

    Returns:
        The exit code.
    """
    run.output.line()
    run.output.line(f"# {stop.why}")
    run.output.line(f"$ {stop}")
    done = subprocess.run(  # noqa: S603  secops itself
        # -P: the demo's folder is no place to import from.
        [sys.executable, "-P", "-m", "secops", *stop.words],
        cwd=home.folder,
        stdin=subprocess.DEVNULL,
        stdout=sys.stderr if run.output.format is Format.JSON else None,
        check=False,
    )
    if done.returncode == NothingMatched.exit_code and again:
        run.output.note("The tour has done this here before; `--reset` brings it back.")
    elif done.returncode not in {0, stop.code, also}:
        code = done.returncode if done.returncode in EXIT_CODES else 1
        run.output.warn(f"`{stop}` ended with exit code {done.returncode}; the tour stops here.")
        raise typer.Exit(code=code)
    return done.returncode


def _stop(run: Run, home: Home) -> None:
    from secops.database import embedded

    stopped = embedded.stop(home.data)
    text = (
        f"Stopped the demo's server in {home.folder}." if stopped else "No demo server runs there."
    )
    run.output.document({"stopped": stopped, "folder": str(home.folder)}, [text])


def _close(
    run: Run, home: Home, found: Demo, shown: list[Stop], before: dict[str, str], *, seconds: float
) -> None:
    """Say what is there now and what to try next."""
    from secops.demo.home import outranking

    facts = {
        "folder": str(home.folder),
        "config": str(home.config),
        "people": found.people,
        "events": found.events,
        "tokens": found.tokens,
        "until": found.until,
        "commands": [str(stop) for stop in shown],
        "seconds": round(seconds, 1),
    }
    run.output.document(facts, _what_next(home, seconds))
    if names := outranking(before):
        run.output.warn(
            f"{' and '.join(names)} in your environment outrank secops.yaml: before you type commands "
            f"here, `unset {' '.join(names)}`, or they work on another database than the demo's."
        )


def _what_next(home: Home, seconds: float) -> list[str]:
    from secops.database import embedded
    from secops.demo.story import NEXT

    lines = ["", f"That was secops, in {seconds:.0f} seconds. Try next:", ""]
    if home.folder != Path.cwd():
        lines.append(f"  cd {shlex.quote(str(home.folder))}")
    if shutil.which("secops") is None:
        # Not resolved: in a virtual environment that would be another Python's folder.
        lines.append(f"  export PATH={shlex.quote(str(Path(sys.executable).parent))}:$PATH")
    steps = list(NEXT)
    if embedded.is_running(home.data):
        steps.append(
            ("stop the server; without --stop it starts again", "secops quickstart --stop")
        )
    else:
        steps.insert(0, ("start the server again", "secops quickstart"))
    width = max(len(typed) for _, typed in steps)
    lines += [f"  {typed:<{width}}  # {why}" for why, typed in steps]
    return [
        *lines,
        "",
        "With a database of your own: `secops init`, `secops doctor`, `secops migrate plan`.",
    ]
