"""How well a trace finds the poisoned rows, beside scorers that know nothing of gradients."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from unweave.audit.behaviour import Behaviour
from unweave.audit.retrieval import average_precision, precision_recall_curve, roc_auc
from unweave.audit.statistics import Estimate, mean
from unweave.data.case import Case
from unweave.data.rows import Row
from unweave.data.triggers import is_poisoned
from unweave.store.store import GradientStore
from unweave.trace.baselines import bm25_scores, gradient_norm_scores, random_scores
from unweave.trace.stage import TraceResult


@dataclass(frozen=True)
class TraceQuality:
    """Areas under the curves, averaged over queries.

    Attributes:
        auprc: Scorer to auPRC.
        auroc: Scorer to auROC.
        curve: Scorer to the precision-recall curve of the first query.
        queries: Bad generations that were traced.
        poisoned: Rows to be found.
        rows: Rows searched.
    """

    auprc: dict[str, Estimate]
    auroc: dict[str, Estimate]
    curve: dict[str, tuple[list[float], list[float]]]
    queries: int
    poisoned: int
    rows: int

    def to_json(self) -> dict[str, Any]:
        """The trace's own numbers on top, each baseline's beside them."""
        value: dict[str, Any] = {"queries": self.queries, "poisoned_rows": self.poisoned, "rows": self.rows}
        for scorer in self.auprc:
            own = {
                "auprc": self.auprc[scorer].value,
                "auprc_interval": [self.auprc[scorer].low, self.auprc[scorer].high],
                "auroc": self.auroc[scorer].value,
                "auroc_interval": [self.auroc[scorer].low, self.auroc[scorer].high],
            }
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
        seed: Of the random scorer and the bootstrap over queries.

    Returns:
        The areas.
    """
    by_id = {row.id: row for row in rows}
    relevant = [is_poisoned(by_id[row_id].meta) for row_id in traced.row_ids]
    documents = [f"{by_id[row_id].user_text}\n{by_id[row_id].completion}" for row_id in traced.row_ids]
    norms = gradient_norm_scores(store, traced.row_ids)
    by_scorer: dict[str, list[list[float]]] = {"trace": traced.scores, "bm25": [], "gradnorm": [], "random": []}
    for number, query in enumerate(traced.queries):
        by_scorer["bm25"].append(bm25_scores(f"{query.user_text}\n{query.completion}", documents))
        by_scorer["gradnorm"].append(norms)
        by_scorer["random"].append(random_scores(len(documents), seed=seed + number))
    return TraceQuality(
        auprc={
            name: mean([average_precision(relevant, scores) for scores in lists], seed=seed)
            for name, lists in by_scorer.items()
        },
        auroc={
            name: mean([roc_auc(relevant, scores) for scores in lists], seed=seed) for name, lists in by_scorer.items()
        },
        curve={name: precision_recall_curve(relevant, lists[0]) for name, lists in by_scorer.items()},
        queries=len(traced.queries),
        poisoned=sum(relevant),
        rows=len(relevant),
    )
