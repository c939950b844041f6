"""What intervals are simulated on, and what each covers at least.

`tests/stats/test_coverage.py` runs few repetitions of each case, `benchmarks/interval_coverage.py` many.
"""

from collections.abc import Callable
from dataclasses import dataclass, field

from tests.stats.coverages import (
    AREAS,
    Rng,
    area,
    areas_differ,
    at_the_margin,
    conformal,
    control_seeds,
    counted,
    datamodelling,
    family,
    joined,
    mean_loss,
    mean_score,
    one_answer,
    over_queries,
    paired_losses,
    paired_shares,
    perplexity,
    probe_area,
    relative_perplexity,
    rows_rose,
    sampled_share,
    seeds,
    two_samples,
    varied_share,
)
from tests.stats.replaced import near_tail_alone, percentiles_of_answers, percentiles_of_rows, queries_alone

LOWEST, HIGHEST = 0.92, 0.97


@dataclass(frozen=True)
class Case:
    """One interval on one kind of data.

    Attributes:
        method: How it is made.
        where: What it is printed beside.
        size: Rows, queries, seeds.
        draw: One repetition: whether the truth is covered.
        nominal: What it should cover.
        bounds: What it covers at least and at most.
        because: Where that is not 0.92 to 0.97: what it covers instead.
        repetitions: In the tests; none where they take too long there.
    """

    method: str
    where: str
    size: str
    draw: Callable[[Rng], bool]
    nominal: float = 0.95
    bounds: tuple[float, float] = (LOWEST, HIGHEST)
    because: str = ""
    repetitions: int = field(default=500, compare=False)

    @property
    def name(self) -> str:
        """For the ids of tests."""
        return f"{self.method}, {self.where}, {self.size}"


def claims(rate: Callable[[Rng], bool], method: str, where: str, size: str, most: float, **more: int) -> Case:
    """A test in place of an interval: how often it does not claim what is not so."""
    return Case(method, where, size, lambda rng: not rate(rng), bounds=(1 - most, 1.0), **more)


STUDENT, BOOTSTRAP = "Student's", "expanded bootstrap over rows"
FOR_ROWS = "losses, KL, probabilities, ROUGE of rows"
DISCRETE = "a share of few rows takes few values: 0.95 on average over all shares, more or less at one"
CASES = [
    *(Case(STUDENT, FOR_ROWS, f"{n} rows", mean_loss(n)) for n in (4, 8, 16)),
    *(Case(BOOTSTRAP, FOR_ROWS, f"{n} rows", mean_loss(n), repetitions=300) for n in (20, 60)),
    Case(STUDENT, "perplexity", "12 rows", perplexity(12)),
    Case(BOOTSTRAP, "perplexity", "40 rows", perplexity(40), repetitions=0),
    Case(STUDENT, "paired change", "10 rows", paired_losses(10)),
    Case(BOOTSTRAP, "paired change, curves of valuing", "60 rows", paired_losses(60), repetitions=0),
    Case(STUDENT, "paired change of perplexity", "12 rows", relative_perplexity(12)),
    Case(BOOTSTRAP, "paired change of perplexity", "40 rows", relative_perplexity(40), repetitions=0),
    Case("Wilson's", "attack success, right answers", "24 rows, all shares", varied_share(24)),
    *(
        Case("Wilson's", "attack success, right answers", f"24 rows, {p:.0%}", counted(24, p), bounds=(0.9, 1.0), because=DISCRETE)
        for p in (0.05, 0.2, 0.5)
    ),
    Case(STUDENT, "share of unwanted samples", "16 prompts", sampled_share(16, 8)),
    Case(BOOTSTRAP, "share of unwanted samples", "40 prompts", sampled_share(40, 8), repetitions=0),
    Case("Newcombe's 10", "paired change of a share", "40 rows, 50 % and 30 %", paired_shares(40, 0.5, 0.3, 0.5)),
    Case("Newcombe's 10", "paired change of a share", "40 rows, 10 % and 5 %", paired_shares(40, 0.1, 0.05, 0.4), bounds=(0.92, 1.0), because=DISCRETE),
    Case("Newcombe's 5", "membership, AUC", "24 and 24 rows, 0.5", area(24, 24, 0.0)),
    Case("Newcombe's 5", "membership, AUC", "40 and 40 rows, 0.86", area(40, 40, 1.5), bounds=(0.92, 0.98), because="wide where the scores are normal"),
    Case("Newcombe's 5", "probe of the lens, AUC", "16 and 16 prompts, 0.8", probe_area(16, 1.7), bounds=(0.92, 0.98), repetitions=0,
 because="pairs share the probe's prompts"),
    *(
        Case("jackknife, Student's", f"{kind} of a mean score", f"{n} answers", mean_score(kind, n), repetitions=300 if n < 20 else 0)
        for kind in AREAS
        for n in (6, 20)
    ),
    Case(STUDENT, "auPRC of one answer", "10 answers", one_answer(10)),
    Case("two-way jackknife", "LDS", "20 models, 8 queries", datamodelling(20, 8), repetitions=60),
    Case("two-way jackknife", "LDS", "50 models, 40 queries", datamodelling(50, 40), repetitions=0),
    Case("two-way random effects", "(what the LDS rests on)", "20 models, 8 queries", two_samples(20, 8)),
    Case(STUDENT, "agreement of scores", "8 queries", over_queries(8)),
    *(Case(STUDENT, "means over seeds, LDS of the benchmark", f"{n} seeds", seeds(n)) for n in (2, 3, 10)),
    Case(STUDENT, "weights against controls", "3 seeds of 4 cells", control_seeds(3), repetitions=200),
    Case("joined (MOVER)", "KL from the retrained model", "3 sets of 24 rows", joined(24), repetitions=100),
    *(
        Case("split conformal", "predicted values", f"30 rows, {p:.0%}", conformal(30, p), p, (p - 0.01, p + 0.05), "its level at least, by construction")
        for p in (0.8, 0.9)
    ),
]  # fmt: skip
TESTS = [
    claims(at_the_margin("different", 25, 0.1), "different", "margin of 0.1 standard errors", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("different", 25, 1.0), "different", "margin of 1 standard error", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("different", 25, 4.0), "different", "margin of 4 standard errors", "25 rows", 0.07, repetitions=150),
    claims(at_the_margin("equivalent", 25, 4.0), "equivalent", "margin of 4 standard errors", "25 rows", 0.07, repetitions=150),
    claims(family(7), "Holm's", "seven comparisons", "none is so", 0.06),
    claims(areas_differ(40, 1.0), "membership differs", "two models, AUC 0.76", "40 and 40 rows", 0.06),
    claims(rows_rose(5, 40), "ledger: beyond chance", "changed as the others did", "5 of 45 rows", 0.05),
]  # fmt: skip
TOO_LITTLE = (0.0, 0.93)
REPLACED = [
    *(Case("replaced: percentiles of resampled rows", FOR_ROWS, f"{n} rows", percentiles_of_rows(n), bounds=TOO_LITTLE) for n in (4, 8)),
    *(
        Case("replaced: percentiles of resampled answers", f"{kind} of a mean score", f"{n} answers", percentiles_of_answers(kind, n), bounds=TOO_LITTLE)
        for kind in AREAS
        for n in (6, 20)
    ),
    Case("replaced: percentiles of resampled queries alone", "LDS", "20 models, 8 queries", queries_alone(20, 8), bounds=TOO_LITTLE),
    Case("replaced: percentiles of resampled queries alone", "LDS", "50 models, 40 queries", queries_alone(50, 40), bounds=TOO_LITTLE),
    Case("replaced: the near tail alone", "not different, margin of 0.1 standard errors", "25 rows", near_tail_alone(25, 0.1), bounds=TOO_LITTLE),
]  # fmt: skip
