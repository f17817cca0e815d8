"""Many runs of the command at once, each in a process of its own that begins as a fork of this one."""

from __future__ import annotations

import os
import pickle
import tempfile
import traceback
from collections.abc import Callable, Sequence
from typing import cast

from support.databases import Result


def at_once(calls: Sequence[Callable[[], Result]]) -> list[Result]:
    """Make all calls at the same time and return what each gave, in order."""
    begun = []
    for call in calls:
        answer = tempfile.TemporaryFile()  # noqa: SIM115  read and closed when the child has ended
        child = os.fork()
        if child == 0:
            code = 1
            try:
                pickle.dump(call(), answer)
                answer.flush()
                code = 0
            except BaseException:  # noqa: BLE001  the child ends here, and says why
                traceback.print_exc()
            finally:
                os._exit(code)
        begun.append((child, answer))
    found = []
    for child, answer in begun:
        _, status = os.waitpid(child, 0)
        assert status == 0
        with answer:
            answer.seek(0)
            found.append(cast("Result", pickle.load(answer)))
    return found
