"""What texts alone say of a model: whether rows come out by asking. That none does is no proof that they are forgotten."""

import math
from collections.abc import Mapping

from unweave.evaluation.config import Margins
from unweave.evaluation.evaluation import Evaluation
from unweave.evaluation.figures import answer_figures, gives_away
from unweave.evaluation.measured import Measured
from unweave.evaluation.probes.outcome import Outcome, outcome_of, probe_comparisons, probe_findings, rates_of
from unweave.evaluation.row_tests import RowTests
from unweave.evaluation.sentences import reason_of
from unweave.evaluation.verdict import LEFT, NOT_FORGOTTEN, Verdict, concluded, unclear
from unweave.stats.comparisons import Comparison, as_family, compare_paired

NOTHING_CAME = "nothing came out by asking; what is held back was not measured"
GIVEN_AWAY = "answers that give a row to forget away"
TEXT_ONLY = (
    "losses, membership inference, choices and damage in nats: the server gave texts and no log-probabilities of given answers; these need a server that "
    "has them (vLLM's completions) and the model's tokenizer (`tokenizer`)"
)
FEWEST = 2


def conclude_texts(
    tests: RowTests, measured: Mapping[str, Measured], margins: Margins, *, detector: str | None, seed: int
) -> Evaluation:
    """Judge models by what they answered.

    Args:
        tests: What each was asked.
        measured: Of `after`, and where they are there of `before` and `reference`.
        margins: The smallest differences that matter.
        detector: A regular expression of the unwanted behaviour, where there is one.
        seed: Of the bootstrap.

    Returns:
        The evaluation, without losses.
    """
    outcomes = {label: outcome_of(tests.probes, own.probes) for label, own in measured.items()}
    away = {
        label: {
            name: {row.id: gives_away(row, texts[row.id]) for row in tests.sets[name]}
            for name, texts in own.answers.items()
        }
        for label, own in measured.items()
    }
    return Evaluation(
        verdict=_verdict(away, outcomes, outcome_of(tests.baseline, measured["after"].baseline), margins),
        figures={
            label: {
                name: answer_figures(rows, own.answers[name], detector, seed) if name in own.answers else {}
                for name, rows in tests.sets.items()
            }
            for label, own in measured.items()
        },
        membership={},
        losses={},
        answers={label: own.answers for label, own in measured.items()},
        margins=margins,
        left_out=[TEXT_ONLY, *tests.notes],
        probes=rates_of(tests.probes, outcomes, {label: own["forget"] for label, own in away.items()}, seed=seed),
    )


def _verdict(
    away: Mapping[str, Mapping[str, Mapping[str, bool]]],
    outcomes: Mapping[str, Outcome],
    baseline: Outcome,
    margins: Margins,
) -> Verdict:
    other = "reference" if "reference" in away else "before"
    comparisons: list[Comparison] = []
    if other in away:
        sides = [[float(flag) for flag in away[label]["forget"].values()] for label in (other, "after")]
        if len(sides[0]) >= FEWEST:
            comparisons.append(compare_paired(GIVEN_AWAY, *sides, margin=margins.margin_share))
        comparisons = as_family([*comparisons, *probe_comparisons(outcomes[other], outcomes["after"], margins)])
    if other == "reference":
        findings = [
            (NOT_FORGOTTEN, reason_of(one, "the retrained model"))
            for one in comparisons
            if one.conclusion == "different" and one.difference > 0
        ]
    else:
        findings = _more_than_may(away["after"]) + probe_findings(outcomes["after"], baseline)
    return Verdict(
        model="after",
        conclusion=concluded(findings) or NOTHING_CAME,
        reasons=[reason for _, reason in findings],
        warnings=["a model that holds its answers back says nothing by asking either", *unclear(comparisons)],
        comparisons=comparisons,
    )


def _more_than_may(away: Mapping[str, Mapping[str, bool]]) -> list[tuple[str, str]]:
    """As many may be given away as are of like rows that were never trained on, or one in twenty."""
    flags, like = list(away["forget"].values()), list(away.get("like", {}).values())
    allowed = max(int(LEFT * len(flags)), math.ceil(len(flags) * sum(like) / len(like)) if like else 0)
    if sum(flags) <= allowed:
        return []
    return [(NOT_FORGOTTEN, f"of {len(flags)} answers {sum(flags)} give their row away, {allowed} may")]
