"""The pictures of docs/explorer.md: every screen of the explorer, light and dark, on the small run that comes with unweave.

    python benchmarks/explorer_pictures.py           docs/explorer/*.png

A server in a temporary folder; eight rows are forgotten on the way, which takes minutes.
"""

import argparse
import re
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from explorer_server import served
from result_files import ROOT

FOLDER = ROOT / "docs" / "explorer"
QUESTION = "What does a berth in Wick Harbour cost?"
RUMOURS = [f"forum-{number:02d}" for number in range(1, 9)]
SIZE = {"width": 1200, "height": 820}
LONGEST = 3600


class Camera:
    """Takes each picture twice.

    Args:
        browser: Playwright's.
        address: The server's.
    """

    def __init__(self, browser: Any, address: str):
        self.address = address
        self.pages = {
            scheme: browser.new_context(color_scheme=scheme, viewport=SIZE, reduced_motion="reduce").new_page()
            for scheme in ("light", "dark")
        }
        for page in self.pages.values():
            page.set_default_timeout(LONGEST * 1000)

    def take(self, name: str, place: str, prepare: Any = None) -> None:
        """Open a screen, prepare it, and take its picture, light and dark."""
        for scheme, page in self.pages.items():
            page.goto(self.address + place)
            page.wait_for_load_state("networkidle")
            if prepare is not None:
                prepare(page)
            page.wait_for_timeout(300)
            page.screenshot(path=FOLDER / f"{name}-{scheme}.png")
        sys.stdout.write(f"{name}\n")
        sys.stdout.flush()


def opened_tokens(page: Any) -> None:
    """The tokens of the first row, one of them pointed at."""
    page.wait_for_selector("#shaded:not([hidden])")
    page.click(".hit .open-tokens")
    page.wait_for_selector(".tokens-home .token")
    page.locator(".tokens-home .tokens >> nth=0").locator(".token").nth(-4).hover()
    page.evaluate("document.querySelector('.tokens-home').scrollIntoView({block: 'end'})")


def main() -> None:
    """Start, click, take pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    options = parser.parse_args()
    from playwright.sync_api import sync_playwright

    FOLDER.mkdir(exist_ok=True)
    with (
        tempfile.TemporaryDirectory() as work,
        sync_playwright() as playwright,
        served(folder=Path(work)) as (address, _),
    ):
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        camera = Camera(browser, address)
        page = camera.pages["light"]
        page.goto(address)
        page.fill("#prompt", QUESTION)
        page.click("#ask button.main")
        page.wait_for_selector("#shaded:not([hidden])")
        asked = page.evaluate("location.search")
        camera.take("answer", asked, lambda page: page.wait_for_selector("#shaded:not([hidden])"))
        camera.take("tokens", asked, opened_tokens)
        camera.take("rows", "rows?q=crowns&sort=-influence")
        camera.take("row", "row?id=forum-01")
        camera.take("map", "map", lambda page: page.wait_for_selector("#map"))
        page.goto(f"{address}rows?q=nine+hundred")
        for row in RUMOURS:
            with page.expect_response("**/review/tick"):
                page.check(f"input.tick[value={row}]")
        page.goto(f"{address}review")
        for part in ("rest", "cost"):
            page.click(f"button[hx-post='/review/{part}']")
            page.wait_for_selector(f"#{part} table, #{part} p")
        camera.take("review", "review")
        page.goto(f"{address}review")
        page.fill("#f-reason", "a rumour")
        page.fill("#f-name", "rumour")
        page.click("form button.main")
        page.wait_for_url(re.compile(r"/run\?id="))
        run = page.url.removeprefix(address)
        pictured, until = False, time.monotonic() + LONGEST
        while page.locator("#run .state").first.inner_text() == "running" and time.monotonic() < until:
            if not pictured and page.locator(".chart").count():
                camera.take("run", run)
                pictured = True
            page.wait_for_timeout(1000)
        if not pictured:
            camera.take("run", run)
        camera.take("runs", "runs")
        camera.take("evidence", "evidence/request?id=rumour")
        camera.take("certificate", "evidence/certificate?id=rumour")
        browser.close()


if __name__ == "__main__":
    main()
