"""Training in shards on TOFU: what it costs in utility, what a request then costs, and whether an exact certificate repeats bit for bit.

    python benchmarks/shards.py [--data FOLDER] [--place FOLDER] [--shapes 8x4 4x4 2x2 8x1 1x4]      benchmarks/results/shards.json
    python benchmarks/shards.py --smoke --model TINY                                                a check of the script; runs/bench/shards.smoke.json

SmolLM2-135M learns 240 rows about 12 authors (LoRA of rank 16, 8 epochs of batches of 8, 1e-3), once plainly and once in each shape of shards and slices, with
as many passes over rows. Measured under each model: loss and beginnings of the answers of the rows, of the same asked in other words (TOFU's paraphrases, never
trained on), of rows about other authors, and of real authors and facts; differences from the plain training are paired by row. The adapters of the first shape
are combined by their sum and by PEFT's rules too, from the same stages. About the first shape two ledgers get requests: one row, then an author's 20 rows after
it; an author's rows alone. The first certificate is replayed: all of it is trained from nothing. Each part is written when it is there, and not made again.
"""

import argparse
import json
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any, get_args

from result_files import ROOT
from unweave.config import to_plain
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.files import read_json, write_json, write_jsonl
from unweave.ledger.adding import add_request
from unweave.ledger.config import AddConfig, RunConfig
from unweave.ledger.measure import measure
from unweave.ledger.run import run_request
from unweave.models import packaged
from unweave.models.loading import ModelConfig, load
from unweave.run.folder import environment
from unweave.stats.intervals import mean
from unweave.train.config import Combination, TrainConfig
from unweave.train.sft import fine_tune
from unweave.train.shard_cost import expected_share
from unweave.train.stages import Elsewhere

ROWS, AUTHOR = 240, 20
SETS = ("trained", "paraphrased", "other authors", "real authors", "world facts")


def rows_of(data: Path, count: int) -> dict[str, list[Row]]:
    """The rows that are trained on, and those that models are measured on."""
    folder = data / "tofu"

    def read(name: str) -> list[dict[str, Any]]:
        return [json.loads(line) for line in (folder / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()]

    own = read("forget10_perturbed")[:count]
    sets = {
        "trained": [(one["question"], one["answer"]) for one in own],
        "paraphrased": [(one["paraphrased_question"], one["answer"]) for one in own],
        "other authors": [(one["question"], one["answer"]) for one in read("retain_perturbed")[:count]],
        "real authors": [(one["question"], one["answer"]) for one in read("real_authors")[:count]],
        "world facts": [(one["question"], one["answer"]) for one in read("world_facts")[:count]],
    }
    return {
        name: [Row(id=f"r{i:03d}", instruction=prompt, completion=answer) for i, (prompt, answer) in enumerate(pairs)]
        for name, pairs in sets.items()
    }


def figures(model: Path, sets: dict[str, list[Row]]) -> dict[str, Any]:
    """Losses of all sets under a model in float32, and how many answers begin as the row's does."""
    found = measure(load(ModelConfig(model=str(model), dtype="float32")), sets, EncodingConfig())["sets"]
    return {
        name: {
            "loss": fmean(own["losses"].values()), "losses": own["losses"], "begins": len(own["begins"]),
            "exact_memorisation": own["exact_memorisation"], "rows": own["rows"],
        }
        for name, own in found.items()
    }  # fmt: skip


def against(one: dict[str, Any], plain: dict[str, Any]) -> dict[str, Any]:
    """By how much losses are higher than under the plain training, with 95 % intervals over rows."""
    differences = {
        name: [one[name]["losses"][row] - loss for row, loss in plain[name]["losses"].items()] for name in SETS
    }
    return {name: to_plain(mean(values)) for name, values in differences.items()}


class Benchmark:
    """The parts, and the file that they go to.

    Args:
        options: Of the command line.
    """

    def __init__(self, options: argparse.Namespace):
        self.place: Path = (options.place / ("smoke" if options.smoke else "tofu")).resolve()
        self.place.mkdir(parents=True, exist_ok=True)
        self.path = ROOT / ("runs/bench/shards.smoke.json" if options.smoke else "benchmarks/results/shards.json")
        self.found: dict[str, Any] = read_json(self.path, what="Results") if self.path.is_file() else {}
        self.found |= {"command": "python benchmarks/shards.py", "environment": environment()}
        self.sets = rows_of(options.data, 24 if options.smoke else ROWS)
        self.rows = self.sets["trained"]
        self.data = self.place / "rows.jsonl"
        write_jsonl(self.data, [row.to_record() for row in self.rows])
        self.recipe = TrainConfig(
            model=options.model, data=self.data, output_dir=self.place, epochs=1.0 if options.smoke else 8.0, batch_size=8, learning_rate=1e-3, lora_alpha=32
        )  # fmt: skip

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """A part of the results, made if it is not there."""
        if name not in self.found:
            self.found[name] = make()
            self.path.parent.mkdir(parents=True, exist_ok=True)
            write_json(self.path, self.found)
            print(name, {key: value for key, value in self.found[name].items() if key != "figures"}, flush=True)
        return self.found[name]

    def trained(self, name: str, elsewhere: Elsewhere | None = None, **options: Any) -> dict[str, Any]:
        """A training, what it took and what its model does."""
        result = fine_tune(replace(self.recipe, output_dir=self.place / name, **options), elsewhere=elsewhere)
        return {
            "seconds": result.seconds, "steps": result.steps, "tokens": result.tokens, "final_loss": result.final_loss,
            "megabytes": sum(path.stat().st_size for path in (self.place / name).rglob("*.safetensors")) / 1e6,
            "figures": figures(self.place / name, self.sets),
        }  # fmt: skip

    def shape(self, shards: int, slices: int, name: str, elsewhere: Elsewhere | None = None, **options: Any) -> None:
        """A training in shards, against the plain one."""
        plain = self.found["plain"]["figures"]

        def make() -> dict[str, Any]:
            made = self.trained(name, elsewhere, shards=shards, slices=slices, **options)
            shares = {
                str(rows): expected_share(rows, shards=shards, slices=slices) for rows in (1, 5, AUTHOR, 2 * AUTHOR)
            }
            found = {**made, "against plain": against(made["figures"], plain), "expected share": shares}
            for own in made["figures"].values():
                # Row by row they are kept of the plain training only.
                del own["losses"]
            return found

        self.part(name, make)

    def request(self, ledger: str, model: str, name: str, row_ids: Sequence[str]) -> dict[str, Any]:
        """An exact request, and what it took."""
        folder = self.place / ledger
        new = {"data": self.data, "model": str(self.place / model)} if not folder.exists() else {}
        add_request(AddConfig(ledger=folder, row_ids=tuple(row_ids), request_id=name, **new))
        begun = time.monotonic()
        certificate = run_request(RunConfig(request=name, ledger=folder, method="exact", margin=9.0))
        seconds = time.monotonic() - begun
        adapter = folder / "requests" / name / "adapter"
        stages = {
            f"{path.parent.parent.name}.{path.parent.name}": read_json(path, what="A stage")
            for path in sorted(adapter.glob("shards/*/*/stage.json"))
        }
        again = [stages[stage] for stage in certificate["method"]["stages"]["trained"]]
        return {
            "class": certificate["class"], "rows": len(row_ids), "seconds": seconds, "stages trained again": len(again), "stages": len(stages),
            "training seconds": sum(one["seconds"] for one in again),
            "share of tokens": sum(one["tokens"] for one in again) / sum(one["tokens"] for one in stages.values()),
            "loss before and after": [fmean(certificate["measured"][side]["sets"]["forget"]["losses"].values()) for side in ("before", "after")],
        }  # fmt: skip

    def replay(self, ledger: str, name: str) -> dict[str, Any]:
        """A certificate's training from nothing, compared bit for bit."""
        begun = time.monotonic()
        found = run_request(RunConfig(request=name, ledger=self.place / ledger, replay=self.place / f"replay-{name}"))
        return {"same": found["same"], "seconds": time.monotonic() - begun}


def main() -> None:
    """Make the parts that are missing."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default=packaged.NAME)
    parser.add_argument("--data", type=Path, default=ROOT.parent / "shared" / "data")
    parser.add_argument("--place", type=Path, default=ROOT / "runs" / "shards")
    parser.add_argument("--shapes", nargs="+", default=["8x4", "4x4", "2x2", "8x1", "1x4"])
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    if options.smoke and options.shapes == parser.get_default("shapes"):
        options.shapes = ["2x2", "1x2"]
    run = Benchmark(options)
    run.part("plain", lambda: run.trained("plain"))
    shapes = [tuple(map(int, shape.split("x"))) for shape in options.shapes]
    for shards, slices in shapes:
        run.shape(shards, slices, f"{shards}x{slices}")
    first = f"{shapes[0][0]}x{shapes[0][1]}"
    for rule in get_args(Combination):
        if rule != "mean":
            run.shape(*shapes[0], f"{first} {rule}", Elsewhere((run.place / first,)), combination=rule)
    ids = [row.id for row in run.rows]
    author = ids[AUTHOR : 2 * AUTHOR] if not options.smoke else ids[4:6]
    run.part("request of a row", lambda: run.request("ledger", first, "row", ids[:1]))
    run.part("replay", lambda: run.replay("ledger", "row"))
    run.part("request of an author after it", lambda: run.request("ledger", first, "author", author))
    run.part("request of an author", lambda: run.request("ledger-author", first, "author", author))


if __name__ == "__main__":
    main()
