"""The explorer's screens Rows and Map on a store of 100,000 rows: seconds of each step, peak memory, and frames a second of the map in a browser.

    python benchmarks/explorer_rows.py        benchmarks/results/explorer_rows.json

Random texts of 60 words in 12 files, sketches of K = 256 in float16 around 40 centres. Each step is 20 requests through Starlette's client, each another
one where that is possible, so that searching, rendering and the guard are all in it. Two threads; each number is written as soon as it is there.
"""

import argparse
import json
import os
import resource
import statistics
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

# The store's model is none, and nobody is asked for it.
os.environ["HF_HUB_OFFLINE"] = "1"

import torch
from starlette.testclient import TestClient

from result_files import RESULTS
from unweave.data.rows import Row
from unweave.explorer.app import make_app
from unweave.explorer.config import ServeConfig
from unweave.explorer.workspace import Workspace
from unweave.files import write_json
from unweave.run.folder import environment
from unweave.store.format import StoreSpec
from unweave.store.store import GradientStore

ROWS, K, SHARD, FILES, CENTRES, ROUNDS = 100_000, 256, 1_024, 12, 40, 20
ORIGIN = "http://127.0.0.1:8765"
SYLLABLES = "ka lo mi ten ra su vo el dar in qua ze pol te um".split()


def make_store(folder: Path, rows: int) -> None:
    """A store of random rows with texts."""
    spec = StoreSpec(
        model="/nowhere/random", adapter=None, model_fingerprint="", tokenizer_fingerprint="", encoding={}, parameters="lora", parameter_names="",
        sketch="fold", dimension=K, sketch_seed=42, normalize="tensor", reduction="mean", number_format="float16",
    )  # fmt: skip
    store = GradientStore.create(folder, spec)
    generator = torch.Generator().manual_seed(0)
    centres = 2 * torch.randn(CENTRES, K, generator=generator)
    vocabulary = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
    words = torch.randint(len(vocabulary), (rows, 60), generator=generator).tolist()
    texts = [[vocabulary[word] for word in own] for own in words]
    made = [
        Row(
            id=f"r{place}",
            instruction=" ".join(own[:20]),
            completion=" ".join(own[20:]),
            source=f"data/file{place % FILES}.jsonl",
            line=place + 1,
            meta={"topic": f"topic {place % 97}"},
        )
        for place, own in enumerate(texts)
    ]
    with store.writing():
        for start in range(0, rows, SHARD):
            ids = [row.id for row in made[start : start + SHARD]]
            near = centres[torch.randint(CENTRES, (len(ids),), generator=generator)]
            sketches = near + torch.randn(len(ids), K, generator=generator)
            losses = 3 * torch.rand(len(ids), generator=generator)
            store.commit(ids, sketches, sketches.norm(dim=1), losses)
        store.keep_texts(made, {})


def times(step: Callable[[int], Any]) -> dict[str, float]:
    """Median and worst milliseconds of a step, which is given the number of its round."""
    found = []
    for number in range(ROUNDS):
        start = time.perf_counter()
        step(number)
        found.append(1000 * (time.perf_counter() - start))
    return {"median_ms": statistics.median(found), "worst_ms": max(found)}


def peak() -> float:
    """The most memory that this process has held, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def steps(client: TestClient, vocabulary: list[str]) -> dict[str, Callable[[int], Any]]:
    """Name to a step."""

    def get(path: str, **query: str) -> Any:
        answer = client.get(path, params=query, headers={"hx-request": "true"} if path == "/rows" else {})
        assert answer.status_code == 200, answer.text
        return answer

    return {
        "first page": lambda _: client.get("/rows").raise_for_status(),
        "search for a word": lambda number: get("/rows", q=vocabulary[37 * number]),
        "search for three words": lambda number: get("/rows", q=" ".join(vocabulary[number : number + 3])),
        "filter by file": lambda number: get("/rows", source=f"data/file{number % FILES}.jsonl"),
        "filter by a column": lambda number: get("/rows", field="topic", equals=f"topic {number}"),
        "sort by loss": lambda number: get("/rows", sort="-loss" if number % 2 else "loss", page=str(number + 1)),
        "sort by prompt": lambda number: get("/rows", sort="-prompt" if number % 2 else "prompt", page=str(number + 1)),
        "SQL condition": lambda number: get("/rows", where=f"loss > {number / 10} AND prompt LIKE '%kalo%'"),
        "SQL condition, half of the rows": lambda number: get("/rows", where=f"loss > 1.5{number:02d}"),
        "SELECT": lambda number: get(
            "/rows", where=f"SELECT source, count(*), avg(loss + {number}) FROM rows GROUP BY source"
        ),
        "row": lambda number: get("/row", id=f"r{number}", list="sort=-loss"),
    }


def map_steps(client: TestClient) -> dict[str, Callable[[int], Any]]:
    """Name to a step, of the map."""
    colours = ("source", "loss", "norm", "field:topic")

    def lasso(number: int) -> str:
        low, high = -0.9 + 0.05 * number, 0.1 + 0.04 * number
        return f"{low},{low};{high},{low};{high},{high};0,{high + 0.1};{low},{high}"

    return {
        "map: points": lambda number: client.get(
            "/map/points", params={"colour": colours[number % 4]}
        ).raise_for_status(),
        "map: legend": lambda number: client.get(
            "/map/legend", params={"colour": colours[number % 4]}
        ).raise_for_status(),
        "map: a row pointed at": lambda number: client.get(f"/map/rows?places={number}").raise_for_status(),
        "filter by a region": lambda number: client.get("/rows", params={"lasso": lasso(number)}).raise_for_status(),
    }


def frames(workspace: Workspace) -> dict[str, float]:
    """Frames a second and milliseconds of a drawing while the map is dragged for two seconds, in Chromium without a graphics card."""
    import uvicorn
    from playwright.sync_api import sync_playwright

    server = uvicorn.Server(uvicorn.Config(make_app(workspace), port=8799, log_level="error"))
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.05)
    with sync_playwright() as playwright:
        path = os.environ.get("CHROMIUM", "/usr/bin/chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 1280, "height": 900})
        page.goto("http://127.0.0.1:8799/map")
        page.wait_for_selector("#legend h2")
        page.wait_for_timeout(500)
        found = page.evaluate(
            """async () => {
              const canvas = document.querySelector("#map");
              const box = canvas.getBoundingClientRect();
              const at = (name, x, y) => canvas.dispatchEvent(
                new PointerEvent(name, { clientX: box.left + x, clientY: box.top + y, pointerId: 1, bubbles: true }));
              canvas.setPointerCapture = () => {};
              performance.clearMeasures("map draw");
              let frames = 0;
              const start = performance.now();
              at("pointerdown", 300, 300);
              await new Promise((done) => {
                const step = (now) => {
                  frames += 1;
                  const turn = (now - start) / 200;
                  at("pointermove", 300 + 80 * Math.sin(turn), 300 + 80 * Math.cos(turn));
                  if (now - start < 2000) requestAnimationFrame(step); else done();
                };
                requestAnimationFrame(step);
              });
              at("pointerup", 300, 300);
              const seconds = (performance.now() - start) / 1000;
              const draws = performance.getEntriesByName("map draw").map((entry) => entry.duration);
              return { frames_per_second: frames / seconds, drawings_per_second: draws.length / seconds,
                       mean_draw_ms: draws.reduce((a, b) => a + b, 0) / draws.length, worst_draw_ms: Math.max(...draws) };
            }"""
        )
        browser.close()
    server.should_exit = True
    thread.join()
    return found


def main() -> None:
    """Measure, and write each number as it comes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=ROWS)
    parser.add_argument("--output", type=Path, default=RESULTS / "explorer_rows.json")
    options = parser.parse_args()
    torch.set_num_threads(2)
    result: dict[str, Any] = {
        "command": "python benchmarks/explorer_rows.py",
        "environment": environment(),
        "rows": options.rows,
        "dimension": K,
        "steps": {},
    }

    def note(**values: Any) -> None:
        result.update(values)
        write_json(options.output, result)
        print(json.dumps(values if "steps" not in values else list(values["steps"].items())[-1]), flush=True)

    with tempfile.TemporaryDirectory() as name:
        start = time.perf_counter()
        make_store(Path(name) / "store", options.rows)
        note(store_seconds=time.perf_counter() - start, before_gib=peak())
        workspace = Workspace(ServeConfig(path=Path(name) / "store", work=Path(name) / "work"))
        start = time.perf_counter()
        workspace.texts()
        note(texts_seconds=time.perf_counter() - start)
        start = time.perf_counter()
        table = workspace.table()
        note(table_seconds=time.perf_counter() - start, table_peak_gib=peak())
        start = time.perf_counter()
        table.set_influence("a question", {row_id: float(place % 1000) for place, row_id in enumerate(table.ids)})
        note(influence_seconds=time.perf_counter() - start)
        start = time.perf_counter()
        table.condition("loss > 1")
        note(sql_start_seconds=time.perf_counter() - start)
        vocabulary = [a + b + c for a in SYLLABLES for b in SYLLABLES for c in SYLLABLES]
        with TestClient(make_app(workspace), base_url=ORIGIN) as client:
            for step, run in steps(client, vocabulary).items():
                note(steps=result["steps"] | {step: times(run)})
            start = time.perf_counter()
            client.get("/row/near", params={"id": "r0"}).raise_for_status()
            note(near_duplicates_seconds=time.perf_counter() - start, steps_peak_gib=peak())
            start = time.perf_counter()
            placed = workspace.positions.get(wait=True)
            assert placed is not None
            note(map_seconds=time.perf_counter() - start, map_method=placed.method, map_peak_gib=peak())
            for step, run in map_steps(client).items():
                note(steps=result["steps"] | {step: times(run)})
        note(frames=frames(workspace))
        table.sandbox.close()
    print(f"written: {options.output}")


if __name__ == "__main__":
    main()
