"""How time, memory and disk grow with rows, tokens a row, and parameters: one process a point, and a plot.

    python benchmarks/growth.py        benchmarks/results/growth.json, docs/growth.svg

SmolLM2-135M in bfloat16, LoRA on all linear layers, fold sketches in float16, batches of 1,024 tokens, two threads. Rows: 32 to 256 of 64 tokens.
Tokens: 16 rows of 64 to 1,024. Parameters: 64 rows of 64 tokens with ranks 2 to 64 (0.6 to 19.5 million coordinates). Peak memory is that of the
whole process, the model (0.25 GiB) and the libraries included.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch

from unweave.data.encoding import Example
from unweave.files import write_json
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.sketch.config import GradientConfig
from unweave.sketch.sketcher import Sketcher
from unweave.train.adapters import add_lora
from unweave.train.config import LoraOptions

POINTS = {
    "rows": [(rows, 64, 16) for rows in (32, 64, 128, 256)],
    "tokens a row": [(16, tokens, 16) for tokens in (64, 128, 256, 512, 1024)],
    "LoRA rank": [(64, 64, rank) for rank in (2, 8, 16, 32, 64)],
}
AXIS = {"rows": 0, "tokens a row": 1, "LoRA rank": 2}


def point(rows: int, tokens: int, rank: int) -> dict[str, float]:
    """One measurement, in a process of its own."""
    torch.set_num_threads(2)
    loaded = load(ModelConfig(attn_implementation="eager" if tokens <= 512 else "sdpa"))
    model = add_lora(loaded.model, LoraOptions(lora_r=rank, lora_dropout=0.0), seed=0)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.01)
    generator = torch.Generator().manual_seed(0)
    examples = [
        Example(f"r{index}", tuple(torch.randint(10, 40_000, (tokens,), generator=generator).tolist()), tokens // 2)
        for index in range(rows)
    ]
    sketcher = Sketcher(model, pad_token_id=2, config=GradientConfig(token_budget=1024))
    sketcher.sketch_all(examples[:1])
    loaded_gib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    start = time.perf_counter()
    sketcher.sketch_all(examples)
    seconds = time.perf_counter() - start
    return {
        "rows": rows,
        "tokens": tokens,
        "rank": rank,
        "parameters": sum(sketcher.sizes.values()),
        "seconds": seconds,
        "tokens_per_second": rows * tokens / seconds,
        "peak_gib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20,
        "before_gib": loaded_gib,
        "stored_bytes": rows * sketcher.sketch.dimension * 2,
    }


def plot(series: dict[str, list[dict[str, float]]], path: Path) -> None:
    """Seconds and peak memory against each of the three."""
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams["svg.hashsalt"] = "unweave"
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(2, 3, figsize=(10, 5), layout="constrained")
    for column, (name, points) in enumerate(series.items()):
        values = [(one["rows"], one["tokens"], one["rank"])[AXIS[name]] for one in points]
        for row, (key, label) in enumerate((("seconds", "seconds"), ("peak_gib", "peak memory, GiB"))):
            axes[row, column].plot(values, [one[key] for one in points], "o-", color="#1f6f8b")
            highest = max(one[key] for one in points)
            axes[row, column].set(xlabel=name, ylabel=label, ylim=(0, 1.12 * highest), xlim=(0, None))
            axes[row, column].grid(color="#d8dee6")
    figure.savefig(path, metadata={"Date": None})


def main() -> None:
    """Measure all points, write the result file and the plot."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--point", type=int, nargs=3, help="internal: measure one point and print it")
    options = parser.parse_args()
    if options.point:
        print(json.dumps(point(*options.point)))
        return
    series: dict[str, list[Any]] = {}
    with tempfile.TemporaryDirectory() as folder:
        for name, points in POINTS.items():
            for values in points:
                command = [sys.executable, __file__, "--point", *map(str, values)]
                done = subprocess.run(
                    command,
                    capture_output=True,
                    text=True,
                    check=True,
                    cwd=folder,
                    env={**os.environ, "OMP_NUM_THREADS": "2"},
                )
                series.setdefault(name, []).append(json.loads(done.stdout.strip().splitlines()[-1]))
                print(name, json.dumps(series[name][-1]), flush=True)
    root = Path(__file__).parent
    write_json(
        root / "results" / "growth.json",
        {"command": "python benchmarks/growth.py", "environment": environment(), "series": series},
    )
    plot(series, root.parent / "docs" / "growth.svg")
    print("written: benchmarks/results/growth.json, docs/growth.svg")


if __name__ == "__main__":
    main()
