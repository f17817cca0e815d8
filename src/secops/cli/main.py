"""The way in and the way out: every exception becomes one sentence and an exit code here."""

from __future__ import annotations

import sys

# Type checkers know the name; importing it from typing would double the time of `secops --version`.
TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Never

    from secops.errors import SecopsError

_INTERRUPTED = 130


def main() -> None:
    """Run ``secops`` with the process's arguments and exit with the code of the design's table."""
    if sys.argv[1:] in (["--version"], ["-V"]):
        from secops import __version__

        print(f"secops {__version__}")
        return
    sys.exit(run(sys.argv[1:]))


def run(arguments: list[str]) -> int:
    """Run one command line.

    Args:
        arguments: Without the program's name.

    Returns:
        The exit code. Nothing but ``SystemExit`` and ``GeneratorExit`` ever escapes.
    """
    import signal

    signal.signal(signal.SIGTERM, _terminated)
    try:
        return _invoke(arguments)
    except (KeyboardInterrupt, Exception) as error:  # noqa: BLE001  the one place that ends them all
        if _reader_left(error):
            _discard_stdout()
            return 0
        if "--debug" in arguments:
            _traceback(error)
        known = _as_secops_error(error)
        _report(known, arguments)
        return known.exit_code


def _invoke(arguments: list[str]) -> int:
    from secops.cli.tree import root

    code = root().main(args=arguments, prog_name="secops", standalone_mode=False)
    sys.stdout.flush()
    if code == _INTERRUPTED:
        # typer turns Ctrl-C into this code without a word, and with --json without the object.
        raise KeyboardInterrupt
    return code if isinstance(code, int) else 0


def _reader_left(error: BaseException) -> bool:
    from secops.cli.command import ReaderLeft

    return isinstance(error, (BrokenPipeError, ReaderLeft))


def _terminated(_signal: int, _frame: object) -> Never:
    raise KeyboardInterrupt


def _as_secops_error(error: BaseException) -> SecopsError:
    from typer import Abort
    from typer.exceptions import TyperException

    from secops.errors import Interrupted, SecopsError, UsageError

    if isinstance(error, SecopsError):
        return error
    if isinstance(error, (KeyboardInterrupt, Abort)):
        return Interrupted("Interrupted.", hint="What was done stands; run it again to go on.")
    if isinstance(error, TyperException):
        context = getattr(error, "ctx", None)
        where = context.command_path if context is not None else "secops"
        return UsageError(error.format_message(), hint=f"See `{where} --help`.")
    psycopg = sys.modules.get("psycopg")
    if psycopg is not None and isinstance(error, psycopg.Error):
        from secops.database.connection import translate

        return translate(error)
    if isinstance(error, OSError) and error.filename:
        return SecopsError(
            f"{error.filename}: {error.strerror}.", hint="Check the path and its permissions."
        )
    from secops.database.url import mask

    return SecopsError(
        f"Something unexpected happened: {type(error).__name__}: {mask(str(error))}",
        hint="This is a defect of secops. Run it again with --debug and report what it prints.",
    )


def _report(error: SecopsError, arguments: list[str]) -> None:
    from secops.output import Output, wanted_format

    Output(wanted_format(arguments), no_color="--no-color" in arguments).error(error)


def _traceback(error: BaseException) -> None:
    """Print where it happened; the values of local variables stay out, for they may be secret."""
    import traceback

    from secops.database.url import mask

    print(mask("".join(traceback.format_exception(error))), file=sys.stderr, end="")


def _discard_stdout() -> None:
    import os

    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
