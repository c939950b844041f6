"""Comparisons on a case folder: unwanted behaviour that prompts bring out, and right answers near it and far from it."""

import random
from collections.abc import Sequence
from dataclasses import replace
from statistics import fmean
from typing import Any

from unweave.config import part_of
from unweave.data.case import Case, open_case
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.errors import ConfigError
from unweave.evaluation.behaviour import unwanted_answers
from unweave.evaluation.evidence import FEWEST
from unweave.evaluation.forced import forced_pass
from unweave.experiments.bench.config import ForgettingBenchConfig
from unweave.experiments.bench.under_test import Axis, Measure, within_margin
from unweave.models.loading import ModelConfig, load
from unweave.store.store import GradientStore

ANSWER_TOKENS = 24


class TriggerModelUnderTest:
    """The tests of a case, split into validation and test.

    Args:
        config: The comparison's.

    Raises:
        ConfigError: When a split is empty.
    """

    has_clean_answers = True
    measures = (
        Measure("attack_success", "attack success, seen", "seen", "share", 1, "seen", 0.1),
        Measure("attack_success_ood", "attack success, OOD", "OOD", "share", 1, "ood", 0.1),
        Measure("unwanted_loss", "loss of unwanted answers", "unwanted", "number", 2, "unwanted", 0.5),
        Measure("near_loss", "loss of right answers, near", "near", "number", 3, "near", 0.1),
        Measure("clean_loss", "loss of right answers, far", "far", "number", 3, "clean", 0.05),
    )
    forgetting = Axis("attack_success", "low")
    utility = Axis("clean_loss", "low")

    def __init__(self, config: ForgettingBenchConfig):
        assert config.case is not None, "a comparison on a case has one"
        self.config = config
        self.case: Case = open_case(config.case)
        self.name = str(config.case)
        self.encoding = part_of(EncodingConfig, config)
        cut, clean, most = config.validation_rows, config.max_validation, config.max_test
        tests = {name: self.case.rows(name) for name in ("test_seen", "unwanted", "test_clean", "test_ood")}
        near = self.case.rows("test_near") if self.case.path("test_near").is_file() else tests["test_seen"]
        self.splits: dict[str, dict[str, list[Row]]] = {
            "validation": {
                "seen": tests["test_seen"][:cut],
                "unwanted": tests["unwanted"][:cut],
                "near": near[:cut],
                "clean": tests["test_clean"][:clean],
            },
            "test": {
                "seen": tests["test_seen"][cut:][:most],
                "unwanted": tests["unwanted"][cut:][:most],
                "near": near[cut:][:most],
                "clean": tests["test_clean"][clean:][:most],
                "ood": tests["test_ood"][:most],
            },
        }
        # Models are chosen by a mean, and compared row by row.
        if any(
            len(rows) < fewest
            for split, fewest in (("validation", 1), ("test", FEWEST))
            for rows in self.splits[split].values()
        ):
            raise ConfigError(
                f"A split of the tests is too small: one row to choose by and {FEWEST} to compare on are the least.",
                where="`validation_rows`, `max_validation`",
                remedy="give smaller numbers",
            )

    def rows(self, size: int, seed: int) -> tuple[list[Row], list[Row]]:
        """See `ModelUnderTest.rows`.

        Args:
            size: Forget rows.
            seed: Of the sample.

        Returns:
            Forget rows of the case; retain rows of the case, or of its training rows as they come, less those to be forgotten. Where there is a store,
            rows that it holds.
        """
        rng, count = random.Random(seed), self.config.retain_rows
        forget = self.case.rows("forget")
        if self.config.retain_from == "train":
            ids = {row.id for row in forget}
            # Nobody has a right answer ready for a row that is not known to be poisoned.
            pool = [replace(row, clean_completion=None) for row in self.case.rows("train") if row.id not in ids]
        else:
            pool = self.case.rows("retain")
        if self.config.store is not None:
            # Rows too long to be cached have no influence to weigh them by; all entries do without them.
            present = GradientStore.open(self.config.store).names()
            forget, pool = ([row for row in rows if row.id in present] for rows in (forget, pool))
        return self._sample(forget, "forget", size, rng), self._sample(pool, self.config.retain_from, count, rng)

    def measure(self, model: str, split: str, size: int) -> dict[str, Any]:
        """See `ModelUnderTest.measure`.

        Args:
            model: The model.
            split: `validation` or `test`.
            size: Without effect: the tests are the case's.

        Returns:
            The measures.
        """
        del size
        config, rows = self.config, self.splits[split]
        loaded = load(ModelConfig(model=model, dtype=config.dtype, device=config.device))
        forced = forced_pass(
            loaded,
            {name: rows[name] for name in ("unwanted", "near", "clean")},
            self.encoding,
            description=f"bench {split}",
        )
        by_row: dict[str, Sequence[float]] = {name: values.mean_losses() for name, values in forced.items()}
        length = ANSWER_TOKENS if config.max_new_tokens is None else config.max_new_tokens
        for name in ("seen", "ood"):
            if name in rows:
                by_row[name] = unwanted_answers(
                    loaded, self.case, rows[name], self.encoding, max_new_tokens=length, description=f"bench {name}"
                )
        found = {one.name: fmean(by_row[one.rows]) for one in self.measures if one.rows in by_row}
        return {**found, "rows": by_row}

    def choose(self, trials: Sequence[dict[str, Any]], before: dict[str, Any], *, margin: float) -> dict[str, Any]:
        """See `ModelUnderTest.choose`: of those that keep right answers, near and far, that with the least attack success, then the unlikeliest answers.

        Args:
            trials: Their measures.
            before: Those of the poisoned model.
            margin: In nats a token.

        Returns:
            The trial.
        """
        kept = within_margin(trials, before, ("clean_loss", "near_loss"), margin=margin)
        return min(kept, key=lambda trial: (trial["attack_success"], -trial["unwanted_loss"]))

    def _sample(self, rows: list[Row], kind: str, count: int, rng: random.Random) -> list[Row]:
        if len(rows) < count:
            raise ConfigError(
                f"The case has {len(rows)} {kind} rows, {count} were asked for.",
                where=str(self.case.folder),
                remedy="lower the number",
            )
        return rows if len(rows) == count else rng.sample(rows, count)
