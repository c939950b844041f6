"""How long a command takes until its first batch, the loading of weights apart.

    python benchmarks/startup.py        benchmarks/results/startup.json

`unweave cache` on one generated row with SmolLM2-135M (all linear weights), five times, each in a new process. Measured from the start of the process
to the moment the first batch begins; what it takes to load the same model again in the same process, when everything is imported, is the loading of
weights and is taken off. Files are in the page cache.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from figures import spread
from unweave.experiments.generated import generate
from unweave.files import write_json, write_jsonl
from unweave.run.folder import environment

RUNS = 5
PROBE = """
import json, sys, time
from pathlib import Path
import unweave.cli.main as command

def uptime():
    fields = Path("/proc/self/stat").read_text().rpartition(")")[2].split()
    return float(Path("/proc/uptime").read_text().split()[0]) - int(fields[19]) / 100

class FirstBatch(BaseException):
    pass

def stop(*_, **__):
    raise FirstBatch

import unweave.sketch.sketcher as sketching
sketching.Sketcher.sketch_batch = stop
try:
    import unweave.engines.run as engine
    from unweave.cli.common import parse
    from unweave.engines.config import CacheConfig
    config, _ = parse(CacheConfig, sys.argv[1:], command="cache", description="")
    engine.cache(config)
except FirstBatch:
    pass
first = uptime()
from unweave.models.loading import load
start = time.perf_counter()
load(config)
print(json.dumps({"to_first_batch": first, "loading_weights": time.perf_counter() - start}))
"""


def main() -> None:
    """Measure, and write the result file."""
    argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter).parse_args()
    runs = []
    with tempfile.TemporaryDirectory() as name:
        write_jsonl(Path(name) / "rows.jsonl", [row.to_record() for row in generate(train_rows=18).train[:1]])
        for number in range(RUNS):
            options = [
                "--data",
                f"{name}/rows.jsonl",
                "--store",
                f"{name}/store-{number}",
                "--parameters",
                "linear",
                "--quiet",
            ]
            done = subprocess.run(
                [sys.executable, "-c", PROBE, *options],
                capture_output=True,
                text=True,
                check=True,
                env={**os.environ, "OMP_NUM_THREADS": "2"},
            )
            runs.append(json.loads(done.stdout.splitlines()[-1]))
    values = [run["to_first_batch"] - run["loading_weights"] for run in runs]
    result = {
        "command": "python benchmarks/startup.py",
        "environment": environment(),
        "seconds_without_loading": spread(values),
        "runs": runs,
    }
    path = Path(__file__).parent / "results" / "startup.json"
    write_json(path, result)
    print(json.dumps(result["seconds_without_loading"]), json.dumps(runs[0]))
    print(f"written: {path}")


if __name__ == "__main__":
    main()
