"""Attribution through training on the LDS set of `lds.py`: unrolled, trajectory and segments beside one checkpoint's curvature; and what recording costs.

    python benchmarks/through_training.py                  benchmarks/results/through_training.json
    python benchmarks/through_training.py --parts recording
    python benchmarks/through_training.py --smoke          the same on a few rows, in two minutes; writes into the work folder alone

The model, rows, halves and queries are those of `lds.py`: a small Llama fine-tuned on 120 rows, all parameters, AdamW; 50 random halves, twice each in other
orders; 40 queries. Every estimator scores all queries. `unrolled`, `trajectory` and `segments` look at the training itself, whose steps are known; halves
are trained in other orders, so that besides the model's own order others are looked at too: "4 orders" is the mean of the scores of four trainings on all rows.
cg and EK-FAC look at the model that saw all rows, at several dampings.

LDS is Spearman's correlation over the halves, for each query; a seed's value is the mean over queries, with an interval over halves and queries (both by the
jackknife); over seeds, which make other models, rows, halves and queries, it is Student's. Differences are paired by seed. "ceiling" is one order of retraining
against the other; "attainable" is what scores that knew the expected loss of each half would reach against the mean of the orders (Spearman and Brown: the root
of 2 r / (1 + r)). Beside each: seconds for all queries, and the largest resident memory while it ran, both of one process with its threads.

Every part is written the moment it is there, into the work folder, and a run that is started again goes on behind it.
"""

import argparse
import contextlib
import json
import os
import random
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import load_file, save_file

from lds import AS_CG, make_model, make_tokenizer, query_losses, train
from unweave import progress
from unweave.attribution.caching import cache_rows
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.segments import make_segments, segments
from unweave.attribution.targets import AnswerLoss
from unweave.attribution.tracing import trace_rows
from unweave.attribution.trained import Trained, of_run
from unweave.attribution.trajectory import trajectory
from unweave.attribution.unrolled import unrolled
from unweave.curvature.cg import DAMPING
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.engines.config import CacheConfig
from unweave.experiments.generated import generate
from unweave.experiments.influence.lds import datamodelling_score
from unweave.files import write_json, write_jsonl
from unweave.models import packaged
from unweave.models.loading import Loaded
from unweave.replacing import replacing
from unweave.run.folder import environment
from unweave.stats.intervals import across_seeds, rank_correlations
from unweave.store.store import GradientStore
from unweave.train.config import TrainConfig
from unweave.train.record import RECORD, Options
from unweave.train.replay import Replay, Run
from unweave.train.sft import fine_tune
from unweave.train.states import State

EPOCHS, RATE, BATCH = 4, 1e-3, 12


@dataclass(frozen=True)
class Sizes:
    """How large the experiment is.

    Attributes:
        base_rows: That the base is trained on.
        base_epochs: How often.
        rows: That it is fine-tuned on.
        queries: Held out.
        halves: Of the rows, retrained on.
        orders: Of each half.
        runs: Orders of all rows that are looked at, the model's own first.
        snapshots: Of each of them.
    """

    base_rows: int = 600
    base_epochs: int = 15
    rows: int = 120
    queries: int = 40
    halves: int = 50
    orders: int = 2
    runs: int = 4
    snapshots: int = 8


SMOKE = Sizes(base_rows=60, base_epochs=1, rows=24, queries=4, halves=6, runs=2, snapshots=4)

Scores = Callable[[Trained, Sequence[AnswerLoss]], torch.Tensor]


def by_trajectory(at: Any) -> Scores:
    """Trajectory, with the queries' gradients at each snapshot or at the end."""
    return lambda trained, targets: trajectory(trained.run, targets, trained.snapshots, trained.factors, at=at)


def by_segments(count: int) -> Scores:
    """Segments, so many: neighbouring snapshots are taken together, with the gradients at the last of them."""

    def score(trained: Trained, targets: Sequence[AnswerLoss]) -> torch.Tensor:
        every = trained.snapshots
        chosen = [every[(number + 1) * len(every) // count - 1] for number in range(count)]
        few = of_run(trained.run, chosen)
        return segments(
            few.run, targets, make_segments(few.snapshots, few.factors, few.times), fit_rows=10**6, memory_gib=4.0
        )

    return score


def by_unrolling(**options: Any) -> Scores:
    """Unrolled, with options."""
    return lambda trained, targets: unrolled(trained.run, targets, memory_gib=2.0, **options)


THROUGH: dict[str, tuple[Scores, bool]] = {
    "unrolled": (by_unrolling(), False),
    "unrolled, weighted": (by_unrolling(denominator="weighted"), False),
    "unrolled, smoothed 0.01": (by_unrolling(smoothing=0.01), True),
    "unrolled, smoothed 0.1": (by_unrolling(smoothing=0.1), True),
    "trajectory": (by_trajectory("snapshot"), True),
    "trajectory, queries at the end": (by_trajectory("end"), True),
    "segments (2)": (by_segments(2), True),
    "segments (4)": (by_segments(4), True),
}
"""What is looked at of a run, and whether of all: names of results are these, and with "N orders" the mean over runs. Unrolling costs most."""

ONE_CHECKPOINT: dict[str, tuple[str, dict[str, Any]]] = {
    "none (TracIn)": ("none", {}),
    "none, by tensor (RapidIn)": ("tensor", {}),
    "adam": ("none", {"preconditioner": "adam"}),
    **{f"ekfac, damping {own:g}": ("none", {"preconditioner": "ekfac", "damping": own}) for own in (0.01, 0.1, 1.0)},
    "ekfac, damped as cg": ("none", {"preconditioner": "ekfac", "damping": AS_CG}),
    **{f"cg, damping {own:g}": ("none", {"preconditioner": "cg", "damping": own}) for own in (0.01, 0.1, 1.0)},
    "bm25": ("none", {"scorer": "bm25"}),
    "random": ("none", {"scorer": "random"}),
}
REFERENCE = "cg, damping 0.1"


class Folder:
    """Parts of the work, each a JSON file that is written once."""

    def __init__(self, place: Path):
        self.place = place

    def part(self, name: str, make: Callable[[], Any]) -> Any:
        """A part that is there, or is made and written now."""
        path = self.place / f"{name}.json"
        if not path.is_file():
            write_json(path, make())
        return json.loads(path.read_text())

    def there(self, name: str) -> Any:
        """A part, or `None`."""
        path = self.place / f"{name}.json"
        return json.loads(path.read_text()) if path.is_file() else None


def steps_of(rows: int, *, seed: int) -> list[list[int]]:
    """The batches of `lds.train`."""
    order, steps = random.Random(seed), []
    for _ in range(EPOCHS):
        shuffled = order.sample(range(rows), rows)
        steps += [shuffled[start : start + BATCH] for start in range(0, rows, BATCH)]
    return steps


def run_of(model: Any, examples: Sequence[Example], start: dict[str, torch.Tensor], *, seed: int) -> Run:
    """The training of `lds.train`, as a run that can be repeated."""
    model.requires_grad_(True)
    steps = steps_of(len(examples), seed=seed)
    rates = [RATE * (1 - step / len(steps)) for step in range(len(steps))]
    own = {name: start[name] for name, _ in model.named_parameters()}
    return Run(model, examples, steps, rates, State.at_start(own), Options(), 0, mean="rows")


class World:
    """A seed's base model, rows, halves and queries."""

    def __init__(self, seed: int, sizes: Sizes, folder: Folder):
        self.seed, self.sizes, self.folder = seed, sizes, folder
        count = sizes.base_rows + sizes.rows + sizes.queries
        data = generate(train_rows=count, seed=seed).train
        self.base_rows, self.rows = data[: sizes.base_rows], data[sizes.base_rows : sizes.base_rows + sizes.rows]
        self.queries = data[sizes.base_rows + sizes.rows :]
        self.tokenizer = make_tokenizer([f"{row.user_text} {row.completion}" for row in data])
        self.examples, self.held_out = self.encode(self.rows), self.encode(self.queries)
        self.model = make_model(len(self.tokenizer), seed)
        rng = random.Random(seed)
        self.halves = [sorted(rng.sample(range(sizes.rows), sizes.rows // 2)) for _ in range(sizes.halves)]
        self.start = self._base()

    def encode(self, rows: list[Row]) -> list[Example]:
        """Rows as tokens."""
        return encode_rows(rows, self.tokenizer, EncodingConfig()).examples

    def _base(self) -> dict[str, torch.Tensor]:
        path = self.folder.place / "base.safetensors"
        if not path.is_file():
            train(self.model, self.encode(self.base_rows), epochs=self.sizes.base_epochs, rate=3e-3, seed=self.seed)
            with replacing(path) as temporary:
                save_file({name: own.detach().clone() for name, own in self.model.named_parameters()}, temporary)
        return load_file(path)

    def back(self) -> None:
        """The model as its base was."""
        with torch.no_grad():
            for name, own in self.model.named_parameters():
                own.copy_(self.start[name])

    def trained(self, examples: Sequence[Example], seed: int) -> None:
        """The model trained on some rows."""
        self.back()
        train(self.model, examples, epochs=EPOCHS, rate=RATE, seed=seed)

    def measured(self) -> np.ndarray:
        """The queries' losses after each retraining, negated [orders, halves, queries]."""
        found = np.zeros((self.sizes.orders, self.sizes.halves, self.sizes.queries))
        with progress.task(f"seed {self.seed}: retrain", found.shape[0] * found.shape[1]) as advance:
            for turn in range(found.shape[0]):
                for number, half in enumerate(self.halves):

                    def retrain(turn: int = turn, number: int = number, half: list[int] = half) -> dict[str, Any]:
                        begun = time.perf_counter()
                        self.trained([self.examples[index] for index in half], 1000 * turn + number)
                        losses = query_losses(self.model, self.held_out).tolist()
                        return {"losses": losses, "seconds": time.perf_counter() - begun}

                    own = self.folder.part(f"retrained/{turn}-{number:03d}", retrain)
                    found[turn, number] = -np.array(own["losses"])
                    advance(1)
        return found

    def targets(self) -> list[AnswerLoss]:
        """The queries' losses."""
        return [AnswerLoss(example, 0) for example in self.held_out]

    def look_back(self, number: int) -> Trained:
        """One training on all rows, with its snapshots."""
        seed = self.seed if number == 0 else 5000 + number
        run = run_of(self.model, self.examples, self.start, seed=seed)
        total, replay, states, norms = len(run.steps), Replay(run), [], []
        due = {round(total * place / self.sizes.snapshots) for place in range(1, self.sizes.snapshots + 1)}
        while replay.step < total:
            replay.advance()
            if replay.step in due:
                states.append(replay.state())
        return of_run(run, states, norms=norms)

    def departure(self) -> float:
        """How far the repeated training ends from that of `lds.py`."""
        self.trained(self.examples, self.seed)
        plain = {name: own.detach().clone() for name, own in self.model.named_parameters()}
        end = Replay(run_of(self.model, self.examples, self.start, seed=self.seed)).until(
            len(steps_of(len(self.examples), seed=0))
        )
        return max(float((plain[name] - own).abs().max()) for name, own in end.parameters.items())


def measured_scores(make: Callable[[], Any]) -> dict[str, Any]:
    """Scores [queries, rows] with their seconds and memory."""
    reset_peak()
    begun = time.perf_counter()
    scores = np.asarray(make())
    return {"seconds": time.perf_counter() - begun, "peak_gib": peak(), "scores": scores.tolist()}


def reset_peak() -> None:
    """Begin anew with the largest resident memory, where Linux lets us."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def peak() -> float:
    """The largest resident memory since then, in GiB; NaN where it is not known."""
    try:
        lines = Path("/proc/self/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmHWM")) / 2**20
    except (OSError, StopIteration):
        return float("nan")


def score_one_checkpoint(world: World, advance: Callable[[int], None]) -> None:
    """Score by what looks at the finished model."""
    if all(world.folder.there(f"scores/{name}") is not None for name in ONE_CHECKPOINT):
        return
    world.trained(world.examples, world.seed)
    world.model.requires_grad_(False)
    loaded = Loaded(world.model, world.tokenizer, "lds", None)
    with tempfile.TemporaryDirectory() as name:
        place = Path(name)
        for normalize in ("none", "tensor"):
            options: dict[str, Any] = {
                "data": place,
                "parameters": "linear",
                "number_format": "float32",
                "token_budget": 2048,
            }
            cache_rows(
                CacheConfig(store=place / normalize, normalize=normalize, **options), loaded=loaded, rows=world.rows
            )
        size = sum(own.numel() for name, own in world.model.named_parameters() if own.ndim == 2 and "embed" not in name)
        for method, (store, options) in ONE_CHECKPOINT.items():
            if options.get("damping") == AS_CG:
                options = {**options, "damping": DAMPING * max(1.0, size / len(world.rows))}

            def score(store: str = store, options: dict[str, Any] = options) -> Any:
                config = RetrievalConfig(seed=world.seed, **options)
                found = trace_rows(GradientStore.open(place / store), loaded, world.queries, config)
                assert found.scores is not None
                column = {row_id: index for index, row_id in enumerate(found.row_ids)}
                return found.scores[:, [column[row.id] for row in world.rows]].numpy()

            world.folder.part(f"scores/{method}", lambda score=score: measured_scores(score))
            advance(1)


def score_through_training(world: World, advance: Callable[[int], None]) -> None:
    """Score by what looks at each training."""
    targets = world.targets()
    for number in range(world.sizes.runs):
        missing = [
            name
            for name, (_, every) in THROUGH.items()
            if (every or not number) and world.folder.there(f"scores/{name} @{number}") is None
        ]
        trained = world.look_back(number) if missing else None
        for name in missing:
            assert trained is not None
            make = lambda name=name, trained=trained: THROUGH[name][0](trained, targets).numpy()  # noqa: E731
            world.folder.part(f"scores/{name} @{number}", lambda make=make: measured_scores(make))
            advance(1)


def seed_summary(world: World, measured: np.ndarray) -> dict[str, Any]:
    """LDS of everything that is there."""
    target, halves = measured.mean(axis=0), world.halves
    summed: dict[str, tuple[np.ndarray, float, float]] = {}
    for name in ONE_CHECKPOINT:
        if (own := world.folder.there(f"scores/{name}")) is not None:
            summed[name] = np.array(own["scores"]), own["seconds"], own["peak_gib"]
    for name in THROUGH:
        runs = [own for number in range(world.sizes.runs) if (own := world.folder.there(f"scores/{name} @{number}"))]
        for count in {1, len(runs)} if runs else ():
            mean = np.mean([own["scores"] for own in runs[:count]], axis=0)
            label = name if count == 1 else f"{name}, {count} orders"
            summed[label] = mean, sum(own["seconds"] for own in runs[:count]), max(own["peak_gib"] for own in runs)
    found: dict[str, Any] = {}
    for name, (scores, seconds, memory) in summed.items():
        predicted = np.stack([scores[:, half].sum(axis=1) for half in halves])
        lds = datamodelling_score(predicted, target).to_json()
        found[name] = {"lds": lds, "each": rank_correlations(predicted, target), "seconds": seconds, "peak_gib": memory}
    if len(measured) > 1:
        ceiling = datamodelling_score(measured[0], measured[1]).to_json()
        each = rank_correlations(measured[0], measured[1])
        found["ceiling"] = {"lds": ceiling, "each": each}
        mean = max(float(np.mean(each)), 0.0)
        found["attainable"] = {"lds": {"value": (len(measured) * mean / (1 + (len(measured) - 1) * mean)) ** 0.5}}
    return found


def run_seed(seed: int, sizes: Sizes, work: Path) -> dict[str, Any]:
    """A seed, as far as it goes."""
    folder = Folder(work / f"seed-{seed}")
    folder.place.mkdir(parents=True, exist_ok=True)
    kept = folder.part("sizes", lambda: asdict(sizes))
    if kept != asdict(sizes):
        raise SystemExit(f"{folder.place} is of another size: choose another work folder")
    world = World(seed, sizes, folder)
    departure = folder.part("departure", world.departure)
    measured = world.measured()
    total = len(ONE_CHECKPOINT) + sum(sizes.runs if every else 1 for _, every in THROUGH.values())
    with progress.task(f"seed {seed}: score", total) as advance:
        score_through_training(world, advance)
        score_one_checkpoint(world, advance)
    retraining = [folder.there(f"retrained/0-{number:03d}")["seconds"] for number in range(sizes.halves)]
    return {
        "seed": seed,
        "departure": departure,
        "seconds_a_retraining": float(np.median(retraining)),
        "methods": seed_summary(world, measured),
    }


def summary(runs: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over seeds, and differences from cg, paired by seed."""
    names = [name for name in runs[0]["methods"] if all(name in run["methods"] for run in runs)]

    def values(name: str) -> np.ndarray:
        return np.array([run["methods"][name]["lds"]["value"] for run in runs])

    found = {}
    for name in names:
        own: dict[str, Any] = {"lds": across_seeds(values(name)).to_json()}
        if name not in ("ceiling", "attainable"):
            own["above_cg"] = across_seeds(values(name) - values(REFERENCE)).to_json()
            for key in ("seconds", "peak_gib"):
                own[key] = float(np.median([run["methods"][name][key] for run in runs]))
        found[name] = own
    return found


def recording(options: argparse.Namespace, folder: Folder) -> dict[str, Any]:
    """The same fine-tuning with and without a record, in pairs that begin with either in turn."""
    rows = [row.to_record() for row in generate(train_rows=options.recording_rows, seed=0).train]
    pairs = []
    for number in range(options.pairs):

        def pair(number: int = number) -> dict[str, float]:
            found = {}
            with tempfile.TemporaryDirectory() as name:
                place = Path(name)
                write_jsonl(place / "rows.jsonl", rows)
                for record in (True, False) if number % 2 else (False, True):
                    config = TrainConfig(
                        model=options.recording_model, data=place / "rows.jsonl", output_dir=place / str(record), epochs=options.recording_epochs,
                        batch_size=8, lora_dropout=0.0, record=record, dtype="bfloat16" if options.recording_model == packaged.NAME else "float32",
                    )  # fmt: skip
                    found["recorded" if record else "plain"] = fine_tune(config).seconds
                written = [path.stat().st_size for path in (place / "True" / RECORD).rglob("*") if path.is_file()]
                found["bytes"], found["files"] = sum(written), len(written)
            return found

        pairs.append(folder.part(f"pair-{number}", pair))
    shares = [own["recorded"] / own["plain"] - 1 for own in pairs]
    return {
        "model": options.recording_model, "rows": options.recording_rows, "epochs": options.recording_epochs, "pairs": pairs,
        "share_of_time": across_seeds(shares).to_json(), "bytes": pairs[0]["bytes"],
    }  # fmt: skip


def main() -> None:
    """Run what is not there yet, and write the result file after each seed."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--halves", type=int, default=None, help="more than 50 where the interval asks for it")
    parser.add_argument("--parts", nargs="+", choices=("lds", "recording"), default=["recording", "lds"])
    parser.add_argument("--recording-model", default=packaged.NAME)
    parser.add_argument("--recording-rows", type=int, default=160)
    parser.add_argument("--recording-epochs", type=float, default=2.0)
    parser.add_argument("--pairs", type=int, default=4)
    parser.add_argument("--work", type=Path, default=Path("build/through_training"))
    parser.add_argument("--smoke", action="store_true")
    options = parser.parse_args()
    sizes = SMOKE if options.smoke else Sizes() if options.halves is None else Sizes(halves=options.halves)
    work = options.work / "smoke" if options.smoke else options.work
    path = work / "result.json" if options.smoke else Path(__file__).parent / "results" / "through_training.json"
    result: dict[str, Any] = {
        "command": "python benchmarks/through_training.py",
        "environment": environment(),
        "threads": torch.get_num_threads(),
    }
    result |= {"sizes": asdict(sizes), "cores": os.cpu_count()}
    if "recording" in options.parts:
        result["recording"] = recording(options, Folder(work / "recording"))
        write_json(path, result)
    runs: list[dict[str, Any]] = []
    for seed in options.seeds if "lds" in options.parts else ():
        runs.append(run_seed(seed, sizes, work))
        result |= {"seeds": [run["seed"] for run in runs], "methods": summary(runs), "runs": runs}
        write_json(path, result)
    for name, own in sorted(result.get("methods", {}).items(), key=lambda item: -item[1]["lds"]["value"]):
        print(
            f"{name:<40} {own['lds']['value']:6.3f}  [{own['lds']['low']:.3f}, {own['lds']['high']:.3f}]  {own.get('seconds', float('nan')):8.1f} s"
        )
    if "recording" in result:
        print(
            f"recording: {100 * result['recording']['share_of_time']['value']:.1f} % of the time, {result['recording']['bytes']} bytes"
        )
    print(f"written: {path}")


if __name__ == "__main__":
    main()
