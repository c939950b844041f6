"""Comparisons on TOFU (arXiv 2401.06121): forgotten authors beside authors, real people and facts of the world that must stay.

The model may have been trained on a part of TOFU's authors: the folder then holds the files of that part, in TOFU's layout.
"""

import random
from collections.abc import Sequence
from statistics import fmean
from typing import Any

from unweave.config import part_of
from unweave.data.config import read_own
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.tofu.evaluate import measure_tofu
from unweave.evaluation.tofu.files import TofuItem, read_test
from unweave.evaluation.tofu.logs import TESTS, TofuLog, log_of
from unweave.evaluation.tofu.scores import forget_quality, model_utility, three_numbers
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.under_test import Axis, Measure, within_margin
from unweave.files import remembered
from unweave.locks import locked
from unweave.models.loading import ModelConfig, load

SPLIT_OF = {40: ("forget01", "retain99"), 200: ("forget05", "retain95"), 400: ("forget10", "retain90")}
"""Forget rows to TOFU's files."""


class TofuModelUnderTest:
    """TOFU's four tests. The forget rows are what is unlearned, so validation and test differ in which of them are measured.

    Args:
        config: The comparison's.
        identity: What its measures depend on, as JSON holds it.

    Raises:
        ConfigError: Without a retrained model, or with other than one of TOFU's forget sizes.
    """

    has_clean_answers = False
    measures = (
        Measure("forget_quality", "log10 forget quality", "log10 FQ", "number", 2),
        Measure("forget_probability", "probability, forgotten", "P", "share", 1),
        Measure("forget_rouge", "ROUGE-L, forgotten", "ROUGE", "share", 1),
        Measure("forget_loss", "loss, forgotten", "forgotten", "number", 2, "forget", 0.5),
        Measure("retain_loss", "loss, kept authors", "kept", "number", 3, "retain", 0.1),
        Measure("model_utility", "model utility (geometric)", "utility", "number", 3),
    )
    forgetting = Axis("forget_quality", "high")
    utility = Axis("model_utility", "high")

    def __init__(self, config: ForgettingBenchConfig, identity: dict[str, Any]):
        assert config.tofu is not None, "a comparison on TOFU has its folder"
        if config.retrained is None:
            raise ConfigError(
                "Forget quality compares with a model trained on the retain rows.",
                where="`retrained`",
                remedy="train one with `unweave train --data retain99.jsonl`",
            )
        if len(config.forget_sizes) != 1 or config.forget_sizes[0] not in SPLIT_OF:
            raise ConfigError(
                f"TOFU has forget sets of {', '.join(map(str, SPLIT_OF))} rows, each with a retrained model of its own.",
                where="`forget_sizes`",
                remedy="give one of them",
            )
        self.config, self.folder, self.retrained = config, config.tofu, config.retrained
        self.identity = identity
        self.forget, self.retain = SPLIT_OF[config.forget_sizes[0]]
        self.name = f"TOFU {self.forget} ({config.tofu})"
        self.encoding = part_of(EncodingConfig, config)

    def rows(self, size: int, seed: int) -> tuple[list[Row], list[Row]]:
        """See `ModelUnderTest.rows`.

        Args:
            size: Forget rows: the whole of the split.
            seed: Of the sample of retain rows.

        Returns:
            Both.

        Raises:
            ConfigError: When the folder's files are of other sizes.
        """
        forget, retain = (read_own(self.folder / f"{name}.jsonl").rows for name in (self.forget, self.retain))
        if len(forget) != size or len(retain) < self.config.retain_rows:
            raise ConfigError(
                f"{self.forget} has {len(forget)} rows, {self.retain} {len(retain)}; {size} and {self.config.retain_rows} were asked for.",
                where=str(self.folder),
                remedy="give TOFU's own files, or fewer rows to keep",
            )
        return forget, random.Random(seed).sample(retain, self.config.retain_rows)

    def measure(self, model: str, split: str, size: int) -> dict[str, Any]:
        """See `ModelUnderTest.measure`. On the validation split nothing is generated.

        Args:
            model: The model.
            split: `validation` or `test`.
            size: Forget rows.

        Returns:
            The measures.
        """
        del size
        log, reference = self._log(model, split), self._reference(split)
        own = log.test("forget")
        numbers = three_numbers(own, "forget")
        by_row = {name: log.test(name).answer_losses for name in ("forget", "retain")}
        found = {
            "forget_quality": forget_quality(own, reference.test("forget"))[1],
            "forget_probability": numbers["probability"],
            **{f"{name}_loss": fmean(values) for name, values in by_row.items()},
            "rows": by_row,
        }
        if split == "test":
            found |= {"forget_rouge": numbers["rouge"], "model_utility": model_utility(log)}
        return found

    def choose(self, trials: Sequence[dict[str, Any]], before: dict[str, Any], *, margin: float) -> dict[str, Any]:
        """See `ModelUnderTest.choose`: of those that keep the other authors, the one with the highest forget quality.

        Args:
            trials: Their measures.
            before: Those of the model before.
            margin: In nats a token.

        Returns:
            The trial.
        """
        kept = within_margin(trials, before, ("retain_loss",), margin=margin)
        return max(kept, key=lambda trial: (trial["forget_quality"], trial["forget_loss"]))

    def _reference(self, split: str) -> TofuLog:
        path = self.config.output_dir / f"reference-{split}.json"
        with locked(path.with_suffix(".lock")):
            identity = {**self.identity, "forget": self.forget}
            log = remembered(
                path,
                identity,
                lambda: self._log(self.retrained, split).to_json(),
                key="log",
                what="A retrained model's log",
            )
        return log_of(log, str(path))

    def _log(self, model: str, split: str) -> TofuLog:
        config = self.config
        loaded = load(ModelConfig(model=model, dtype=config.dtype, device=config.device))
        names = TESTS if split == "test" else ("forget", "retain")
        tests = {name: self._items(name, split) for name in names}
        tokens = config.max_new_tokens if split == "test" else 0
        return measure_tofu(loaded, tests, self.encoding, max_new_tokens=tokens)

    def _items(self, name: str, split: str) -> list[TofuItem]:
        cut, most = self.config.validation_rows, self.config.max_test
        items = read_test(self.folder, name, forget=self.forget, rows=cut + most)
        return items[:cut] if split == "validation" else items[cut:]
