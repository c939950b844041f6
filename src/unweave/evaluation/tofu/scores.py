"""Forget quality and model utility from per-sample values (TOFU, arXiv 2401.06121, sections 2.2.2 and 2.2.3)."""

import math
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from unweave.errors import DataError
from unweave.evaluation.measures.likelihood import (
    Averaging,
    choice_probability,
    truth_ratio,
    truth_ratio_forget,
    truth_ratio_retain,
)
from unweave.evaluation.tofu.logs import TofuLog, TofuTest, read_log

UTILITY_TESTS = "retain", "real_authors", "world_facts"
FORMULAS = {
    "model_utility": "geometric mean of the wrong answers' probabilities (TOFU's leaderboard, open-unlearning)",
    "model_utility_arithmetic": "arithmetic mean of the wrong answers' probabilities (TOFU's paper, utils.py)",
}
"""What differs between the two model utilities."""


@dataclass(frozen=True)
class TofuScores:
    """What a log says of a model.

    Attributes:
        forget_quality: p of the two-sample Kolmogorov-Smirnov test between the truth ratios of the forget rows and those of the reference.
        log10_forget_quality: Its decimal logarithm, since p spans dozens of orders.
        ks_statistic: Of the test.
        model_utility: Harmonic mean of the nine numbers, truth ratios with the geometric mean of the wrong answers' probabilities, as in TOFU's
            leaderboard and in open-unlearning; `None` where the log lacks a test.
        model_utility_arithmetic: The same with their arithmetic mean, as in TOFU's paper and its `utils.py`.
        reference_model_utility: `model_utility` of the reference.
        reference_model_utility_arithmetic: `model_utility_arithmetic` of the reference.
        utility: The nine numbers of `model_utility`.
        forget: Probability, ROUGE-L recall and truth ratio of the forget rows.
        samples: Forget rows of the model and of the reference.
        formulas: What differs between the two model utilities.
    """

    forget_quality: float
    log10_forget_quality: float
    ks_statistic: float
    model_utility: float | None
    model_utility_arithmetic: float | None
    reference_model_utility: float | None
    reference_model_utility_arithmetic: float | None
    utility: dict[str, float]
    forget: dict[str, float]
    samples: tuple[int, int]
    formulas: dict[str, str] = field(default_factory=lambda: dict(FORMULAS))


def score_logs(log: Path | TofuLog, reference: Path | TofuLog) -> TofuScores:
    """Score a model's log against that of a model trained on the retain rows only.

    Args:
        log: The unlearned model's.
        reference: The retained model's.

    Returns:
        The scores.
    """
    own = log if isinstance(log, TofuLog) else read_log(log)
    other = reference if isinstance(reference, TofuLog) else read_log(reference)
    p, log10_p, statistic = forget_quality(own.test("forget"), other.test("forget"))
    own_utility, other_utility = utilities(own), utilities(other)
    return TofuScores(
        forget_quality=p,
        log10_forget_quality=log10_p,
        ks_statistic=statistic,
        model_utility=own_utility["model_utility"],
        model_utility_arithmetic=own_utility["model_utility_arithmetic"],
        reference_model_utility=other_utility["model_utility"],
        reference_model_utility_arithmetic=other_utility["model_utility_arithmetic"],
        utility=nine_numbers(own) if _has_utility(own) else {},
        forget=three_numbers(own.test("forget"), "forget"),
        samples=(len(own.test("forget").row_ids), len(other.test("forget").row_ids)),
    )


def truth_ratios(test: TofuTest, *, averaging: Averaging = "geometric") -> list[float]:
    """The truth ratio of each sample.

    Args:
        test: The values.
        averaging: Of the wrong answers' probabilities.

    Returns:
        P(perturbed)/P(paraphrased), a token.
    """
    pairs = zip(test.paraphrased_losses, test.perturbed_losses, strict=True)
    return [truth_ratio(own, wrong, averaging=averaging) for own, wrong in pairs]


def forget_quality(test: TofuTest, reference: TofuTest) -> tuple[float, float, float]:
    """Can the unlearned model's truth ratios be told from the retained one's? A p near 1 means they can't.

    Args:
        test: The forget rows under the unlearned model.
        reference: The same under the model trained without them.

    Returns:
        p, its decimal logarithm, and the statistic; NaN where a truth ratio is.
    """
    from scipy.stats import ks_2samp

    own, other = truth_ratios(test), truth_ratios(reference)
    if any(math.isnan(value) for value in (*own, *other)):
        return math.nan, math.nan, math.nan
    result = ks_2samp(own, other)
    p = float(result.pvalue)  # type: ignore[attr-defined]
    return p, math.log10(p) if p > 0 else -math.inf, float(result.statistic)  # type: ignore[attr-defined]


def utilities(log: TofuLog) -> dict[str, float | None]:
    """The model utility by both official formulas.

    Args:
        log: The model's log.

    Returns:
        `model_utility` and `model_utility_arithmetic`; `None` where the log lacks a test or its ROUGE.
    """
    complete = _has_utility(log)
    return {
        "model_utility": model_utility(log) if complete else None,
        "model_utility_arithmetic": model_utility(log, averaging="arithmetic") if complete else None,
    }


def model_utility(log: TofuLog, *, averaging: Averaging = "geometric") -> float:
    """Harmonic mean of probability, ROUGE-L recall and truth ratio on the retain rows, real authors and world facts.

    Args:
        log: The model's log.
        averaging: Of the wrong answers' probabilities in the truth ratio: see `truth_ratio` for where each is official.

    Returns:
        In [0, 1]; 0 as soon as one of the nine is.

    Raises:
        DataError: When the log lacks one of the three tests or its ROUGE.
    """
    numbers = list(nine_numbers(log, averaging=averaging).values())
    if any(math.isnan(value) for value in numbers):
        return math.nan
    return 0.0 if min(numbers) <= 0 else len(numbers) / sum(1 / value for value in numbers)


def nine_numbers(log: TofuLog, *, averaging: Averaging = "geometric") -> dict[str, float]:
    """What the model utility is the mean of.

    Args:
        log: The model's log.
        averaging: As in `model_utility`.

    Returns:
        `retain.probability`, `retain.rouge`, ... `world_facts.truth_ratio`.
    """
    return {
        f"{name}.{key}": value
        for name in UTILITY_TESTS
        for key, value in three_numbers(log.test(name), name, averaging=averaging).items()
    }


def three_numbers(test: TofuTest, name: str, *, averaging: Averaging = "geometric") -> dict[str, float]:
    """Probability, ROUGE-L recall and truth ratio of a test.

    Args:
        test: Its values.
        name: Which test: the forget rows have another form of the truth ratio, and tests with options another probability.
        averaging: As in `model_utility`.

    Returns:
        The means over samples; no `rouge` for forget rows whose log has none.

    Raises:
        DataError: When the log of another test has no ROUGE.
    """
    if not test.rouge and name != "forget":
        raise DataError(f"The log has no ROUGE for '{name}'.", remedy="evaluate with generated answers")
    if name in ("real_authors", "world_facts"):
        chances = [
            choice_probability(own, wrong) for own, wrong in zip(test.answer_losses, test.perturbed_losses, strict=True)
        ]
    else:
        chances = [math.exp(-loss) for loss in test.answer_losses]
    form = truth_ratio_forget if name == "forget" else truth_ratio_retain
    rouge = {"rouge": float(np.mean(test.rouge))} if test.rouge else {}
    ratios = float(np.mean([form(ratio) for ratio in truth_ratios(test, averaging=averaging)]))
    return {"probability": float(np.mean(chances)), **rouge, "truth_ratio": ratios}


def _has_utility(log: TofuLog) -> bool:
    return all(name in log.tests and log.tests[name].rouge for name in UTILITY_TESTS)
