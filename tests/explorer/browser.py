"""A server of its own process and a browser that counts what it asks for, for tests that click."""

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import time

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), None
)
START = "import sys; from unweave.cli.main import main; sys.exit(main())"
CALLS = """
window.hacked = false;
"""


class Server:
    """`unweave serve` in a process, which can be killed and started again at the same address.

    Args:
        folder: The world.
        work: The explorer's own folder.
        options: More of the command line.
    """

    def __init__(self, folder, work, *options, port=0):
        self._words = ["serve", str(folder / "store"), "--work", str(work), "--device", "cpu", *map(str, options)]
        self._port = port
        self.address = ""
        self.start()

    def start(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, *self._words, "--port", str(self._port)],
            stdout=subprocess.PIPE, text=True, env=os.environ | {"OMP_NUM_THREADS": "1"},
        )  # fmt: skip
        line = self.process.stdout.readline()
        self.address = re.search(r"http://\S+", line)[0]
        self._port = int(self.address.rstrip("/").rpartition(":")[2])

    def kill(self):
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()
        self.process.stdout.close()

    def stop(self):
        if self.process.poll() is None:
            self.kill()


@contextlib.contextmanager
def browsing(**options):
    """A browser without a network: what it asks for is written down.

    Yields:
        A function that opens a page in a context of its own; each page has the list `asked` of addresses, and `errors` of its console.
    """
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-dev-shm-usage"])

        def open_page(**more):
            page = browser.new_context(**{"viewport": {"width": 1280, "height": 900}, **options, **more}).new_page()
            page.asked, page.errors = [], []
            page.on("request", lambda request: page.asked.append(request.url))
            page.on("pageerror", lambda error: page.errors.append(str(error)))
            page.on("console", lambda message: page.errors.append(message.text) if message.type == "error" else None)
            page.set_default_timeout(60_000)
            return page

        yield open_page
        browser.close()


def wait_until(condition, *, seconds=90):
    """Wait for something that no page shows."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.2)
