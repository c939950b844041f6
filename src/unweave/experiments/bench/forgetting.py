"""`unweave bench forgetting`: methods x seeds x forget sizes, the search of their options included; every run is kept, so that a killed bench goes on.

For each entry and size `trials` choices of options are sampled from the method's own search space, the values of its first option in turn from the strongest
down, and tried with the first seed on the validation split; the model under test says which one is taken: forgetting counts among those that keep what must
stay. What is chosen runs with every seed, and is measured on the test split, which the search has not seen.
"""

import itertools
import random
import shutil
import time
from pathlib import Path
from typing import Any, get_args

from unweave import progress
from unweave.config import part_of
from unweave.data.dates import dated, recorded
from unweave.data.encoding import EncodingConfig
from unweave.errors import ConfigError, nearest
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.files import write_results
from unweave.experiments.bench.summary import options_shown, shown, summarise
from unweave.experiments.bench.tofu import TofuModelUnderTest
from unweave.experiments.bench.triggers import TriggerModelUnderTest
from unweave.experiments.bench.under_test import ModelUnderTest
from unweave.files import remembered, write_jsonl
from unweave.jobs.forget import forget_rows
from unweave.jobs.weigh import weigh_rows
from unweave.locks import locked
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.run.folder import RunFolder
from unweave.run.identity import identity_digest
from unweave.run.inputs import Input, of_case, of_path, of_store
from unweave.run.model_inputs import of_named_model
from unweave.unlearning.config import config_of
from unweave.unlearning.methods import Objective, get_method
from unweave.unlearning.steps import epochs_of
from unweave.weights.config import InfluenceMethod, WeighConfig, WeightMethod

RANDOM_OF = "random-"
SCOPE = "entries", "forget_sizes", "seeds", "trials", "margin_clean"
"""Options that say which runs are made, each run having its own name."""


def bench_forgetting(config: ForgettingBenchConfig) -> dict[str, Any]:
    """Run the comparison.

    Args:
        config: Model under test, entries, seeds, budget.

    Returns:
        The results, which are in `results.json`, `table.md` and `report.html` too.
    """
    for entry in config.entries:
        require_entry(entry)
    bench = Bench(config)
    with bench.record.joined(identity_digest(bench.identity())):
        return _compare(config, bench)


def _compare(config: ForgettingBenchConfig, bench: "Bench") -> dict[str, Any]:
    under_test = bench.under_test
    plain = {
        size: {label: bench.measured(label, model, size) for label, model in bench.models()}
        for size in config.forget_sizes
    }
    runs: list[dict[str, Any]] = []
    work = list(itertools.product(config.entries, config.forget_sizes))
    for number, (entry, size) in enumerate(work, start=1):
        progress.say(f"bench: {entry}, {size} forget rows ({number} of {len(work)})")
        candidates, trials = bench.candidates(entry), []
        chosen = candidates[0]
        if len(candidates) > 1:
            trials = [bench.run(entry, size, config.seeds[0], options, "validation") for options in candidates]
            chosen = under_test.choose(trials, plain[size]["before"]["validation"], margin=config.margin_clean)[
                "options"
            ]
        finals = [bench.run(entry, size, seed, chosen, "test") for seed in config.seeds]
        runs.append({"entry": entry, "forget_rows": size, "trials": trials, "chosen": chosen, "finals": finals})
        last = finals[-1]
        figures = ", ".join(f"{one.title} {shown(one, last[one.name])}" for one in under_test.measures)
        progress.say(f"  {options_shown(chosen)}: {figures}; {last['seconds']:.0f} s")
    results = summarise(runs, plain, config, under_test)
    write_results(config.output_dir, results)
    return results


def require_entry(entry: str) -> None:
    """Refuse what is no method, or no method and weights, before anything is named after it.

    Args:
        entry: An entry of the comparison.

    Raises:
        ConfigError: When there is no such method, or no such weights.
    """
    name, plus, weights = entry.partition("+")
    get_method(name)
    choices = [*get_args(WeightMethod), *(f"{RANDOM_OF}{name}" for name in get_args(InfluenceMethod))]
    if plus and weights not in choices:
        raise ConfigError(f"There are no weights '{weights}'.", where="`entries`", remedy=nearest(weights, choices))


def bench_inputs(config: ForgettingBenchConfig) -> dict[str, Input]:
    """What a comparison reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {
        "case": of_case(config.case),
        "tofu": of_path(config.tofu),
        "model": of_named_model(config.model),
        "retrained": of_named_model(config.retrained),
        "store": of_store(config.store),
    }


class Bench:
    """The runs of one comparison.

    Args:
        config: The comparison's.

    Raises:
        ConfigError: When there is not one model under test.
    """

    def __init__(self, config: ForgettingBenchConfig):
        if (config.case is None) == (config.tofu is None):
            raise ConfigError(
                "A comparison is made on a case or on TOFU.", where="`case`, `tofu`", remedy="give one of the two"
            )
        config = recorded(config, config.output_dir)
        config = self.config = dated(config, tokenizer_of(ModelConfig(model=config.model)), config.model)
        self.encoding = part_of(EncodingConfig, config)
        self.record = RunFolder(config.output_dir, "bench forgetting", config, inputs=bench_inputs(config))
        self.under_test: ModelUnderTest = (
            TriggerModelUnderTest(config) if config.case is not None else TofuModelUnderTest(config, self.identity())
        )

    def models(self) -> list[tuple[str, str]]:
        """The models that are only measured: label and folder."""
        found = [("before", self.config.model)]
        return [*found, ("retrained", self.config.retrained)] if self.config.retrained is not None else found

    def candidates(self, entry: str) -> list[dict[str, Any]]:
        """The options that are tried for an entry: the same for every size.

        Args:
            entry: Method, or method and weights.

        Returns:
            Options, a dictionary a trial.
        """
        # Weights are compared on equal terms: the sample depends on the method, not on its weights.
        name = entry.partition("+")[0]
        method = get_method(name)
        space = method.search
        if not self.under_test.has_clean_answers and method.search_without_clean is not None:
            space = method.search_without_clean
        if not space:
            return [{}]
        (option, ladder), *others = space.items()
        rest = [dict(zip(dict(others), values, strict=True)) for values in itertools.product(*dict(others).values())]
        rng = random.Random(name)
        columns = [rng.sample(rest, len(rest)) for _ in ladder]
        grid = [
            {option: value, **column[turn]}
            for turn in range(len(rest))
            for value, column in zip(reversed(ladder), columns, strict=True)
        ]
        return grid[: self.config.trials]

    def run(self, entry: str, size: int, seed: int, options: dict[str, Any], split: str) -> dict[str, Any]:
        """One unlearning run, measured; read where it is on the disk already. Another process at the same run is waited for.

        Args:
            entry: Method, or method and weights.
            size: Forget rows.
            seed: Of rows and training.
            options: Its options.
            split: `validation` or `test`.

        Returns:
            Options, measures, seconds.
        """
        name = "-".join(
            [entry, str(size), str(seed), *(f"{key}={value}" for key, value in sorted(options.items())), split]
        )
        folder = self.config.output_dir / "runs" / name
        path = folder.with_suffix(folder.suffix + ".json")
        with locked(folder.parent / f".{name}.lock"):
            run = remembered(
                path,
                self.identity(),
                lambda: self._run(entry, size, seed, options, split, folder),
                key="run",
                what="A run of the bench",
            )
            shutil.rmtree(folder, ignore_errors=True)
        return run

    def measured(self, label: str, model: str, size: int) -> dict[str, Any]:
        """A model as it is, on both splits.

        Args:
            label: Its name.
            model: The model.
            size: Forget rows.

        Returns:
            Split to measures.
        """
        return remembered(
            self.config.output_dir / f"{label}-{size}.json",
            self.identity() | {"measured": of_named_model(model).content},
            lambda: {split: self.under_test.measure(model, split, size) for split in ("validation", "test")},
            key="measures",
            what="A measured model",
        )

    def identity(self) -> dict[str, Any]:
        """What every part of the comparison depends on: all that it reads, and the options but for those that say which parts there are."""
        whole = self.record.identity()
        return {**whole, "config": {name: value for name, value in whole["config"].items() if name not in SCOPE}}

    def _run(
        self, entry: str, size: int, seed: int, options: dict[str, Any], split: str, folder: Path
    ) -> dict[str, Any]:
        name, _, weights = entry.partition("+")
        # What a killed run has left would shorten this one, and its seconds are a result.
        shutil.rmtree(folder, ignore_errors=True)
        method, started = get_method(name), time.monotonic()
        forget, retain = folder / "forget.jsonl", folder / "retain.jsonl"
        for path, rows in zip((forget, retain), self.under_test.rows(size, seed), strict=True):
            write_jsonl(path, [row.to_record() for row in rows])
        files = self._weigh(weights, forget, retain, folder, seed) if weights else {}
        config = config_of(method)(
            **{
                **self.encoding.__dict__,
                "model": self.config.model,
                "dtype": self.config.dtype,
                "device": self.config.device,
                "forget": forget,
                "retain": retain,
                "output_dir": folder / "unlearned",
                "adapter_mode": "continue",
                # Methods are compared at like numbers of steps.
                "stop_at_base": False,
                "seed": seed,
                **(self._steps(method, size) if issubclass(method, Objective) else {}),
                **files,
                **options,
            }
        )
        result = forget_rows(config)
        seconds = time.monotonic() - started
        measures = self.under_test.measure(str(config.output_dir), split, size)
        details = {key: value for key, value in result.details.items() if key != "watched"}
        return {
            "entry": entry,
            "forget_rows": size,
            "seed": seed,
            "options": options,
            "seconds": seconds,
            "told": details,
            **measures,
        }

    def _steps(self, method: type[Objective], size: int) -> dict[str, Any]:
        """The options that give a method that trains its number of steps."""
        sizes = {"batch_size": self.config.batch_size, "forget": size, "retain": self.config.retain_rows}
        epochs = epochs_of(self.config.steps, method(), config_of(method).retain_ratio, **sizes)
        return {"batch_size": self.config.batch_size, "epochs": epochs, "stop_loss": 1e9}

    def _weigh(self, weights: str, forget: Path, retain: Path, folder: Path, seed: int) -> dict[str, Any]:
        if self.config.store is None:
            raise ConfigError(
                "Weights need a gradient store.", where="`store`", remedy="give one, or leave +weights out"
            )
        out: dict[str, Any] = {
            "output_forget": folder / "forget.weights.jsonl",
            "output_retain": folder / "retain.weights.jsonl",
        }
        method: dict[str, Any] = {"method": weights}
        if weights.startswith(RANDOM_OF):
            method = {"method": "random", "random_of": weights.removeprefix(RANDOM_OF)}
        files: dict[str, Any] = {"store": self.config.store, "forget": forget, "retain": retain}
        weigh_rows(WeighConfig(**method, **files, seed=seed, **out))
        return {"forget_weights": out["output_forget"], "retain_weights": out["output_retain"]}
