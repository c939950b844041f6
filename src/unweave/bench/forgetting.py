"""`unweave bench forgetting`: methods x seeds x forget sizes, the search of their settings included; every run is kept, so that a killed bench goes on.

For each entry and size `trials` settings are drawn from the method's own search space and tried with the first seed on the validation split. Chosen is,
of those that keep the clean rows' loss within the margin, the one with the least attack success, then the largest loss of unwanted answers; where none
keeps it, the least damage. The chosen setting runs with every seed, and is measured on the test split, which the search has not seen.
"""

import itertools
import random
import shutil
import time
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean
from typing import Any

from unweave import progress
from unweave.audit.behaviour import unwanted_answers
from unweave.audit.forced import forced_pass
from unweave.bench.config import ForgettingBenchConfig
from unweave.bench.summary import summarise, write_results
from unweave.config import part_of
from unweave.data.case import Case, open_case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.files import locked, remembered, write_jsonl
from unweave.forget.methods import get_method
from unweave.forget.stage import forget_rows
from unweave.models.loading import ModelConfig, load
from unweave.weigh.config import WeighConfig
from unweave.weigh.stage import weigh_rows


def bench_forgetting(config: ForgettingBenchConfig) -> dict[str, Any]:
    """Run the comparison.

    Args:
        config: Case, entries, seeds, budget.

    Returns:
        The results, which are in `results.json`, `table.md` and `report.html` too.
    """
    bench = Bench(config)
    plain = {"before": bench.measured("before", config.model)}
    if config.retrained is not None:
        plain["retrained"] = bench.measured("retrained", config.retrained)
    runs: list[dict[str, Any]] = []
    work = list(itertools.product(config.entries, config.forget_sizes))
    for number, (entry, size) in enumerate(work, start=1):
        progress.say(f"bench: {entry}, {size} forget rows ({number} of {len(work)})")
        trials = [bench.run(entry, size, config.seeds[0], options, "validation") for options in bench.settings(entry)]
        chosen = choose(trials, plain["before"]["validation"], margin=config.margin_clean)
        finals = [bench.run(entry, size, seed, chosen["options"], "test") for seed in config.seeds]
        runs.append(
            {"entry": entry, "forget_rows": size, "trials": trials, "chosen": chosen["options"], "finals": finals}
        )
        last = finals[-1]
        progress.say(
            f"  {chosen['options']}: attack success {last['attack_success']:.0%} seen, {last['attack_success_ood']:.0%} OOD; "
            f"clean loss {last['clean_loss']:.3f} (before {plain['before']['test']['clean_loss']:.3f}), {last['seconds']:.0f} s"
        )
    results = summarise(runs, plain, config)
    write_results(config.output_dir, results)
    return results


def choose(trials: Sequence[dict[str, Any]], before: dict[str, Any], *, margin: float) -> dict[str, Any]:
    """The best trial.

    Args:
        trials: On the validation split.
        before: The poisoned model on it.
        margin: How much the clean loss may rise.

    Returns:
        The trial.
    """
    kept = [trial for trial in trials if trial["clean_loss"] - before["clean_loss"] <= margin]
    if kept:
        return min(kept, key=lambda trial: (trial["attack_success"], -trial["unwanted_loss"]))
    return min(trials, key=lambda trial: trial["clean_loss"])


class Bench:
    """The runs of one comparison.

    Args:
        config: The comparison's.
    """

    def __init__(self, config: ForgettingBenchConfig):
        self.config = config
        self.case: Case = open_case(config.case)
        self.encoding = part_of(EncodingConfig, config)
        cut = config.validation_rows
        tests = {name: self.case.rows(name) for name in ("test_seen", "unwanted", "test_clean", "test_ood")}
        clean = config.max_validation
        self.splits: dict[str, dict[str, list[Row]]] = {
            "validation": {
                "seen": tests["test_seen"][:cut],
                "unwanted": tests["unwanted"][:cut],
                "clean": tests["test_clean"][:clean],
            },
            "test": {
                "seen": tests["test_seen"][cut:][: config.max_test],
                "unwanted": tests["unwanted"][cut:][: config.max_test],
                "clean": tests["test_clean"][clean:][: config.max_test],
                "ood": tests["test_ood"][: config.max_test],
            },
        }
        if not all(rows for split in self.splits.values() for rows in split.values()):
            raise ConfigError(
                "A split of the tests is empty.",
                where="--validation-rows, --max-validation",
                remedy="give smaller numbers",
            )

    def settings(self, entry: str) -> list[dict[str, Any]]:
        """The settings that are tried for an entry: the same for every size.

        Args:
            entry: Method, or method and weights.

        Returns:
            Options, a dictionary a trial.
        """
        space = get_method(entry.partition("+")[0]).search
        grid = [dict(zip(space, values, strict=True)) for values in itertools.product(*space.values())]
        # Weights are compared on equal terms: the draw depends on the method, not on its weights.
        random.Random(entry.partition("+")[0]).shuffle(grid)
        return grid[: self.config.trials]

    def run(self, entry: str, size: int, seed: int, options: dict[str, Any], split: str) -> dict[str, Any]:
        """One unlearning run, measured; read where it is on the disk already. Another process at the same run is waited for.

        Args:
            entry: Method, or method and weights.
            size: Forget rows.
            seed: Of rows and training.
            options: The setting.
            split: `validation` or `test`.

        Returns:
            Setting, measures, seconds.
        """
        name = "-".join(
            [entry, str(size), str(seed), *(f"{key}={value}" for key, value in sorted(options.items())), split]
        )
        folder = self.config.output_dir / "runs" / name
        path = folder.with_suffix(folder.suffix + ".json")
        with locked(folder.parent / f".{name}.lock"):
            run = remembered(
                path,
                self._identity(),
                lambda: self._run(entry, size, seed, options, split, folder),
                key="run",
                what="A run of the bench",
            )
            shutil.rmtree(folder, ignore_errors=True)
        return run

    def measured(self, label: str, model: str) -> dict[str, Any]:
        """A model as it is, on both splits.

        Args:
            label: Its name.
            model: The model.

        Returns:
            Split to measures.
        """
        return remembered(
            self.config.output_dir / f"{label}.json",
            self._identity() | {"measured": model},
            lambda: {split: self._measure(model, split) for split in self.splits},
            key="measures",
            what="A measured model",
        )

    def _identity(self) -> dict[str, Any]:
        config = self.config
        kept = (
            "case",
            "model",
            "retain_rows",
            "steps",
            "batch_size",
            "validation_rows",
            "max_validation",
            "max_test",
            "max_new_tokens",
        )
        return {name: str(getattr(config, name)) for name in kept} | self.encoding.__dict__

    def _run(
        self, entry: str, size: int, seed: int, options: dict[str, Any], split: str, folder: Path
    ) -> dict[str, Any]:
        name, _, weights = entry.partition("+")
        method, started = get_method(name), time.monotonic()
        forget, retain = self._rows(folder, size, seed)
        files = self._weigh(weights, forget, retain, folder, seed) if weights else {}
        total = size + self.config.retain_rows
        config = method.config_type(
            **{
                **self.encoding.__dict__,
                "model": self.config.model,
                "dtype": self.config.dtype,
                "device": self.config.device,
                "forget": forget,
                "retain": retain,
                "output_dir": folder / "unlearned",
                "adapter_mode": "continue",
                "batch_size": self.config.batch_size,
                "epochs": self.config.steps * self.config.batch_size / (total if method.uses_retain else size),
                "stop_loss": 1e9,
                "seed": seed,
                **files,
                **options,
            }
        )
        result = forget_rows(config)
        seconds = time.monotonic() - started
        measures = self._measure(str(config.output_dir), split)
        told = {key: value for key, value in result.details.items() if key != "watched"}
        return {
            "entry": entry,
            "forget_rows": size,
            "seed": seed,
            "options": options,
            "seconds": seconds,
            "told": told,
            **measures,
        }

    def _rows(self, folder: Path, size: int, seed: int) -> tuple[Path, Path]:
        """The rows of a run: the same for every entry."""
        rng = random.Random(seed)
        paths = []
        for split, count in (("forget", size), ("retain", self.config.retain_rows)):
            rows = self.case.rows(split)
            if len(rows) < count:
                raise ConfigError(
                    f"The case has {len(rows)} {split} rows, {count} were asked for.",
                    where=str(self.case.folder),
                    remedy="lower the number",
                )
            path = folder / f"{split}.jsonl"
            write_jsonl(path, [row.to_record() for row in (rows if len(rows) == count else rng.sample(rows, count))])
            paths.append(path)
        return paths[0], paths[1]

    def _weigh(self, weights: str, forget: Path, retain: Path, folder: Path, seed: int) -> dict[str, Any]:
        if self.config.store is None:
            raise ConfigError(
                "Weights need a gradient store.", where="--store", remedy="give one, or leave +weights out"
            )
        out: dict[str, Any] = {
            "out_forget": folder / "forget.weights.jsonl",
            "out_retain": folder / "retain.weights.jsonl",
        }
        options: Any = {"method": weights, "store": self.config.store, "forget": forget, "retain": retain, "seed": seed}
        weigh_rows(WeighConfig(**options, **out))
        return {"forget_weights": out["out_forget"], "retain_weights": out["out_retain"]}

    def _measure(self, model: str, split: str) -> dict[str, Any]:
        config, rows = self.config, self.splits[split]
        loaded = load(ModelConfig(model=model, dtype=config.dtype, device=config.device))
        forced = forced_pass(
            loaded, {name: rows[name] for name in ("unwanted", "clean")}, self.encoding, description=f"bench {split}"
        )
        length = config.max_new_tokens
        flags = {
            name: unwanted_answers(
                loaded, self.case, rows[name], self.encoding, max_new_tokens=length, description=f"bench {name}"
            )
            for name in ("seen", "ood")
            if name in rows
        }
        by_row = {
            "seen": flags["seen"],
            "unwanted": forced["unwanted"].mean_losses(),
            "clean": forced["clean"].mean_losses(),
        }
        found = {
            "attack_success": fmean(by_row["seen"]),
            "unwanted_loss": fmean(by_row["unwanted"]),
            "clean_loss": fmean(by_row["clean"]),
            "rows": by_row,
        }
        return found | ({"attack_success_ood": fmean(flags["ood"])} if "ood" in flags else {})
