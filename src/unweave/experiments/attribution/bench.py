"""`unweave bench attribution`: scorers x measures x seeds, each figure written the moment it is there, so that a killed bench goes on.

For each seed and scene a model is trained, with a record, and every scorer is asked once; measures look at these scores, and retrain where they have to.
What is there already, of the same rows, options and libraries, is not computed again.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

from unweave import progress
from unweave.data.dates import dated, recorded
from unweave.errors import ConfigError, MissingExtraError, MissingPackageError, nearest
from unweave.experiments.attribution.config import AttributionBenchConfig
from unweave.experiments.attribution.measure import Measure, Outcome
from unweave.experiments.attribution.page import write_results
from unweave.experiments.attribution.registry import MEASURES
from unweave.experiments.attribution.scorers import ways
from unweave.experiments.attribution.summary import Found, Table, outcome_of, outcome_to_json, summarise
from unweave.experiments.attribution.world import TrainedWorld
from unweave.models.holding import require_whole
from unweave.models.loading import ModelConfig, tokenizer_of
from unweave.registry import entry
from unweave.run.folder import RunFolder
from unweave.run.identity import identity_digest
from unweave.run.inputs import Input, of_path, together
from unweave.run.model_inputs import of_encoder, of_model
from unweave.temporary import remove_folder

SCOPE = "measures", "scorers", "peers", "seeds"
"""Options that say which figures are made, each having its own name."""
WORLDS = "worlds"
LEAST_ROWS = 36
LEAST_SUBSETS = 3


def bench_attribution(config: AttributionBenchConfig) -> Table:
    """Run the suite.

    Args:
        config: Base model, measures, scorers, seeds, sizes.

    Returns:
        The table, which is in `results.json`, `table.md` and `report.html` too.

    Raises:
        ConfigError: When there is no such scorer or measure, or too few rows to plant anything in.
    """
    bench = Bench(config)
    with bench.record.joined(identity_digest(bench.identity())):
        return bench.compare()


def bench_inputs(config: AttributionBenchConfig) -> dict[str, Input]:
    """What the suite reads.

    Args:
        config: Its config.

    Returns:
        Option to input.
    """
    return {
        **of_model(ModelConfig(model=config.model, adapter=config.adapter, revision=config.revision)),
        "date_lm_toxicity": of_path(config.date_lm_toxicity),
        "date_lm_factual": of_path(config.date_lm_factual),
        "encoder": together({"encoder": of_encoder(config.encoder)}),
    }


class Bench:
    """The worlds and figures of one run of the suite.

    Args:
        config: The suite's.

    Raises:
        ConfigError: When the options do not go together.
    """

    def __init__(self, config: AttributionBenchConfig):
        self.measures = [measure_of(name) for name in config.measures]
        for name in config.scorers:
            if name not in (found := ways()):
                raise ConfigError(f"'{name}' is no scorer.", where="`scorers`", remedy=nearest(name, tuple(found)))
        if both := sorted(set(config.peers or {}) & set(ways())):
            raise ConfigError(f"'{both[0]}' is a scorer already.", where="`peers`", remedy="call the peer otherwise")
        if config.rows < LEAST_ROWS:
            raise ConfigError(
                f"Nothing can be planted in {config.rows} rows.", where="`rows`", remedy=f"give {LEAST_ROWS} or more"
            )
        if "lds" in config.measures and config.subsets < LEAST_SUBSETS:
            raise ConfigError("A correlation needs models.", where="`subsets`", remedy=f"give {LEAST_SUBSETS} or more")
        require_whole(config, "Training")
        config = recorded(config, config.output_dir)
        model = ModelConfig(model=config.model, adapter=config.adapter, revision=config.revision)
        self.config = dated(config, tokenizer_of(model), config.model)
        self.record = RunFolder(config.output_dir, "bench attribution", self.config, inputs=bench_inputs(self.config))

    def identity(self) -> dict[str, Any]:
        """What every figure depends on: all that is read, and the options but for those that say which figures there are."""
        whole = self.record.identity()
        return {**whole, "config": {name: value for name, value in whole["config"].items() if name not in SCOPE}}

    def scorers(self) -> list[str]:
        """Scorers and peers by name."""
        return [*self.config.scorers, *(self.config.peers or {})]

    def scenes(self) -> Iterator[tuple[int, str, list[Measure]]]:
        """Seeds and scenes, with the measures of each."""
        for seed in self.config.seeds:
            for scene in dict.fromkeys(measure.scene for measure in self.measures):
                yield seed, scene, [measure for measure in self.measures if measure.scene == scene]

    def compare(self) -> Table:
        """Compute what is missing.

        Returns:
            The table.
        """
        found, identity = Found(), self.identity()
        table = summarise(found, self.measures, self.config)
        for seed, scene, measures in self.scenes():
            folder = self.config.output_dir / WORLDS / f"{scene}-{seed}"
            parts = self.config.output_dir / "parts" / f"{scene}-{seed}"
            world = TrainedWorld(self.config, scene, seed, folder=folder, parts=parts, identity=identity)
            for measure in measures:
                for name, outcome in self._references(world, measure).items():
                    found.references.setdefault((measure.name, name), {})[seed] = outcome
            for scorer in self.scorers():
                if (scored := self._scored(world, scorer, found, itself=measures[0].of_itself)) is None:
                    continue
                found.costs.setdefault(scorer, []).append(
                    {"scene": scene, **{k: v for k, v in scored.items() if k != "scores"}}
                )
                for measure in measures:
                    outcome = self._outcome(world, measure, scorer, np.array(scored["scores"]))
                    found.outcomes.setdefault((scorer, measure.name), {})[seed] = outcome
                table = summarise(found, self.measures, self.config)
                write_results(self.config.output_dir, table, page=False)
            remove_folder(folder)
            table = summarise(found, self.measures, self.config)
            write_results(self.config.output_dir, table)
        remove_folder(self.config.output_dir / WORLDS)
        return table

    def _scored(self, world: TrainedWorld, scorer: str, found: Found, *, itself: bool) -> dict[str, Any] | None:
        """A scorer's scores; `None` where it can't be asked here, which is said and tried again by another run."""
        try:
            return world.scored(scorer, itself=itself)
        except (MissingExtraError, MissingPackageError, ConfigError) as error:
            # One line: whole reports of another program's failure belong into its own log.
            found.skipped[scorer] = str(error).strip().partition("\n")[0]
            progress.say_once(f"{scorer} is skipped: {found.skipped[scorer]}")
            return None

    def _outcome(self, world: TrainedWorld, measure: Measure, scorer: str, scores: Any) -> Outcome:
        name = f"outcomes/{measure.name}-{scorer}{world.stamp(scorer)}"
        return outcome_of(world.part(name, lambda: outcome_to_json(measure(world, scores, scorer))))

    def _references(self, world: TrainedWorld, measure: Measure) -> dict[str, Outcome]:
        kept = world.part(
            f"references/{measure.name}",
            lambda: {name: outcome_to_json(outcome) for name, outcome in measure.references(world).items()},
        )
        return {name: outcome_of(own) for name, own in kept.items()}


def measure_of(name: str) -> Measure:
    """A measure by its name.

    Args:
        name: In `MEASURES`.

    Returns:
        The measure.

    Raises:
        ConfigError: When there is none of that name.
    """
    return entry(MEASURES, name, option="measures")()
