"""`unweave serve` in a process of its own, for what clicks in it."""

import contextlib
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

PROGRAM = "import sys; from unweave.cli.main import main; sys.exit(main())"


@contextlib.contextmanager
def served(*words: str, folder: Path) -> Iterator[tuple[str, int]]:
    """Serve on a free port for as long as the block lasts.

    Args:
        *words: What follows `unweave serve`.
        folder: Where it is typed.

    Yields:
        The server's address, once it says it, and the number of its process.
    """
    server = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "serve", *words, "--port", "0"],
        cwd=folder,
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ,
    )
    try:
        assert server.stdout is not None
        address = re.search(r"http://\S+", server.stdout.readline())
        assert address is not None, "the server says where it is"
        yield address[0], server.pid
    finally:
        server.kill()
