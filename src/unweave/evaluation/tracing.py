"""How well a trace finds the poisoned rows, beside scorers that know nothing of gradients."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from jaxtyping import Float

from unweave.attribution.config import ENCODER
from unweave.attribution.result import TraceResult
from unweave.attribution.scorers import Corpus, baseline_scores
from unweave.data.case import Case
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.evaluation.behaviour import Behaviour
from unweave.stats.intervals import Estimate, jackknife, mean
from unweave.stats.ranking import average_precision, precision_recall_curve, roc_auc
from unweave.store.store import GradientStore

BASELINES = "bm25", "gradnorm", "random"


@dataclass(frozen=True)
class TraceQuality:
    """Areas under the curves of each scorer: of the mean score over all bad answers, and of one answer alone.

    Attributes:
        auprc: Scorer to auPRC of the mean score; the interval is for what as many other answers would give (the jackknife), and has no width where no
            answer changes the area.
        auroc: Scorer to auROC of the same.
        single: Scorer to auPRC of one answer's scores, averaged over answers.
        curve: Scorer to the precision-recall curve of the mean score.
        queries: Bad answers that were traced.
        poisoned: Rows to be found.
        rows: Rows searched.
    """

    auprc: dict[str, Estimate]
    auroc: dict[str, Estimate]
    single: dict[str, Estimate]
    curve: dict[str, tuple[list[float], list[float]]]
    queries: int
    poisoned: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The trace's own numbers on top, each baseline's beside them."""
        value: dict[str, Any] = {"queries": self.queries, "poisoned_rows": self.poisoned, "rows": self.rows}
        for scorer in self.auprc:
            own: dict[str, Any] = {}
            for name, estimates in (("auprc", self.auprc), ("auroc", self.auroc), ("auprc_one_answer", self.single)):
                own[name] = estimates[scorer].value
                own[f"{name}_interval"] = [estimates[scorer].low, estimates[scorer].high]
            value |= own if scorer == "trace" else {scorer: own}
        return value


def bad_generations(behaviour: Behaviour, case: Case, *, count: int) -> list[Row]:
    """The first prompts of the seen test that the model answered in the unwanted way, with those answers.

    Args:
        behaviour: The model's behaviour.
        case: The case.
        count: At most so many.

    Returns:
        Rows to trace.
    """
    rows = case.rows("test_seen")
    answers = zip(rows, behaviour.answers["seen"], behaviour.unwanted["seen"], strict=True)
    return [row.with_completion(answer) for row, answer, bad in answers if bad][:count]


def trace_quality(store: GradientStore, traced: TraceResult, rows: Sequence[Row], *, seed: int = 0) -> TraceQuality:
    """Compare the trace's ranking of all rows with those of the baselines.

    Args:
        store: The store, for gradient norms.
        traced: The trace of some bad generations.
        rows: The training rows, marked where poisoned.
        seed: Of the random scorer, and of the bootstrap over answers where there are 20 or more.

    Returns:
        The areas.
    """
    by_id = {row.id: row for row in rows}
    relevant = [is_poisoned(by_id[row_id].meta) for row_id in traced.row_ids]
    documents = [f"{by_id[row_id].user_text}\n{by_id[row_id].completion}" for row_id in traced.row_ids]
    assert traced.scores is not None, "a trace is judged by the scores of all rows"
    corpus = Corpus(store, traced.row_ids, documents, ENCODER, seed)
    tables = {"trace": traced.scores.double().numpy()} | {
        name: baseline_scores(name, corpus, traced.queries).double().numpy() for name in BASELINES
    }
    means = {name: table.mean(axis=0).tolist() for name, table in tables.items()}
    return TraceQuality(
        auprc={name: area_of_mean(average_precision, relevant, table) for name, table in tables.items()},
        auroc={name: area_of_mean(roc_auc, relevant, table) for name, table in tables.items()},
        single={
            name: mean([average_precision(relevant, row) for row in table], seed=seed).within(0, 1)
            for name, table in tables.items()
        },
        curve={name: precision_recall_curve(relevant, scores) for name, scores in means.items()},
        queries=len(traced.queries),
        poisoned=sum(relevant),
        rows=len(relevant),
    )


def area_of_mean(
    area: Callable[[Sequence[bool], Any], float], relevant: Sequence[bool], table: Float[np.ndarray, "q n"]
) -> Estimate:
    """An area of the mean score over queries, with the jackknife's interval over queries.

    Args:
        area: `average_precision` or `roc_auc`.
        relevant: Whether each row is one to be found.
        table: A score for each query and row.

    Returns:
        The estimate; its interval ends within [0, 1], and is NaN for a single query.
    """
    count, total = len(table), table.sum(axis=0)
    left_out = [area(relevant, (total - row) / (count - 1)) for row in table] if count > 1 else [math.nan]
    return jackknife(area(relevant, total / count), left_out).within(0, 1)
