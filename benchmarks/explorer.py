"""The explorer on a real model: first paint, from selecting words to the ranked list, and the server's memory.

    python benchmarks/explorer.py RUN          benchmarks/results/explorer.json
    python benchmarks/explorer.py              on the small run that comes with unweave

RUN is a store or a run folder, such as the demo's `runs/demo`. A server of its own process, Chromium through Playwright. First paint:
`first-contentful-paint` of each screen, as the browser reports it, 5 visits each with an empty cache. Selecting: from the end of the drag to the ranked
list in the page, for spans of one to three words of one answer, each asked for the first time. Memory: resident set of the server after start, with the
model loaded, and at the end.
"""

import argparse
import tempfile
import time
from pathlib import Path
from statistics import median
from typing import Any

import psutil

from explorer_server import served
from result_files import RESULTS
from unweave.files import write_json
from unweave.run.folder import environment

SCREENS = {"Answer": "", "Rows": "rows", "Map": "map", "Review": "review", "Evidence": "evidence", "Runs": "runs"}
VISITS, SPANS = 5, 8
QUESTION = "What does a berth in Wick Harbour cost?"
PAINT = "performance.getEntriesByName('first-contentful-paint')[0]?.startTime"


def main() -> None:
    """Start the server, click, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, nargs="?")
    parser.add_argument("--question", default=QUESTION)
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    parser.add_argument("--result", type=Path, default=RESULTS / "explorer.json")
    options = parser.parse_args()
    words = "" if options.run is None else f" {options.run}"
    result: dict[str, Any] = {"command": f"python benchmarks/explorer.py{words}", "environment": environment()}
    place = None if options.run is None else options.run.resolve()
    with tempfile.TemporaryDirectory() as work:
        begun = time.monotonic()
        opened = [] if place is None else [str(place)]
        with served(*opened, "--work", f"{work}/explorer", folder=Path(work)) as (address, process):
            result["start_seconds"] = round(time.monotonic() - begun, 2)
            measure(address, options, result, psutil.Process(process))


def measure(address: str, options: argparse.Namespace, result: dict[str, Any], server: psutil.Process) -> None:
    """All parts, each written as soon as it is there."""
    from playwright.sync_api import sync_playwright

    def memory(name: str) -> None:
        result.setdefault("resident_mib", {})[name] = round(server.memory_info().rss / 2**20)
        write_json(options.result, result)

    memory("started")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=options.chromium, args=["--no-sandbox"])
        result["browser"] = browser.version
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.set_default_timeout(600_000)
        page.goto(address)
        page.fill("#prompt", options.question)
        begun = time.monotonic()
        page.click("#ask button.main")
        page.wait_for_selector(".hit")
        result["first_answer_seconds"] = round(time.monotonic() - begun, 2)
        page.wait_for_selector("#shaded:not([hidden])")
        result["shaded_seconds"] = round(time.monotonic() - begun, 2)
        result["rows"] = page.inner_text(".subject")
        memory("model loaded")
        count = page.locator("#answer [data-word]").count()
        spans = [(first, first + length) for length in range(3) for first in range(count - length)]
        taken = []
        for first, last in spans[:: max(1, len(spans) // SPANS)][:SPANS]:
            boxes = [page.locator(f"#word-{place}").bounding_box() for place in (first, last)]
            assert all(boxes)
            page.evaluate("delete document.querySelector('#hits').dataset.milliseconds")
            page.mouse.move(boxes[0]["x"] + 1, boxes[0]["y"] + 9)
            page.mouse.down()
            page.mouse.move(boxes[1]["x"] + boxes[1]["width"] - 1, boxes[1]["y"] + 9, steps=3)
            page.mouse.up()
            page.wait_for_selector("#hits[data-milliseconds]")
            taken.append(int(page.get_attribute("#hits", "data-milliseconds") or 0))
            result["select_to_ranked_ms"] = {"each": taken, "median": median(taken), "worst": max(taken)}
            write_json(options.result, result)
        for name, place in SCREENS.items():
            paints = []
            for _ in range(VISITS):
                fresh = browser.new_context().new_page()
                fresh.goto(address + place)
                fresh.wait_for_load_state("load")
                fresh.wait_for_timeout(200)
                paints.append(fresh.evaluate(PAINT))
                fresh.context.close()
            result.setdefault("first_paint_ms", {})[name] = {
                "median": round(median(paints)),
                "worst": round(max(paints)),
            }
            write_json(options.result, result)
        memory("at the end")
        browser.close()
    print(result)


if __name__ == "__main__":
    main()
