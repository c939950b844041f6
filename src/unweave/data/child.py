"""A process of one's own that answers questions over its pipes, where what is asked must not be answered in this one."""

import os
import select
import subprocess
import sys
import time
from typing import Any

from unweave.data.pipes import receive


def start_child(module: str, **environment: str) -> "subprocess.Popen[bytes]":
    """Start one.

    Args:
        module: Its program is `serve` of this module.
        **environment: Variables that it has besides this process's.

    Returns:
        The process.
    """
    path = os.pathsep.join(place or os.getcwd() for place in sys.path)  # noqa: PTH109
    # -P: nothing is imported from wherever the command was typed. A session of its own: it ends with this process, and not at a key.
    return subprocess.Popen(
        [sys.executable, "-P", "-c", f"from {module} import serve; serve()"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": path, **environment},
        start_new_session=True,
    )


def answer_of(process: "subprocess.Popen[bytes]", seconds: float) -> dict[str, Any] | None:
    """Wait for the answer to what was asked; a process that takes too long is killed.

    Args:
        process: The process.
        seconds: How long, by the clock.

    Returns:
        The answer; `None` where there is none.
    """
    assert process.stdout is not None
    poll, end = select.poll(), time.monotonic() + seconds
    poll.register(process.stdout, select.POLLIN)
    # An answer that has begun is written without a pause.
    if not poll.poll(1000 * max(0.0, end - time.monotonic())):
        process.kill()
        return None
    return receive(process.stdout)
