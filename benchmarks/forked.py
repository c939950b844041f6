"""A piece of work in a forked process, and the memory that it took there."""

import json
import os
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any


def forked_peak(work: Callable[[], Any]) -> tuple[Any, int]:
    """Do something in a forked process, and say how much memory it took there.

    Args:
        work: What to do; what it gives must be JSON.

    Returns:
        What it gave, and the most bytes that were resident while it ran, above those that were when it began, pages of libraries apart. Linux only.

    Raises:
        RuntimeError: When it failed.
    """
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        code = 1
        try:
            os.close(reader)
            # Puts the mark of the most memory resident back to what is resident now.
            Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
            before, mapped = _status("VmRSS"), _status("RssFile")
            found = work()
            # A forked process maps the libraries' pages anew, as it comes to them: they were there before.
            before += _status("RssFile") - mapped
            with os.fdopen(writer, "w") as pipe:
                json.dump([found, _status("VmHWM") - before], pipe)
            code = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    os.close(writer)
    with os.fdopen(reader) as pipe:
        read = pipe.read()
    os.waitpid(child, 0)
    if not read:
        raise RuntimeError("The forked process failed.")
    value, peak = json.loads(read)
    return value, peak


def resident() -> int:
    """What is resident of this process.

    Returns:
        Bytes.
    """
    return _status("VmRSS")


def _status(name: str) -> int:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(f"{name}:")))
