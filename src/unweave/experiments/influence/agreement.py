"""Sketched scores against exact inner products, and against scores with curvature."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from unweave import progress
from unweave.attribution.adding import sketcher_for
from unweave.attribution.config import RetrievalConfig
from unweave.attribution.preconditioning import curvature_problem, preconditioner
from unweave.attribution.tracing import trace_rows
from unweave.curvature.base import Damping, Gradients, gradients_of
from unweave.data.batches import Batch
from unweave.data.encoding import EncodingConfig, Example, encode_rows
from unweave.data.rows import Row
from unweave.gradients.per_sample import frozen_in_evaluation
from unweave.models.loading import Loaded
from unweave.sketch.base import reciprocal_root
from unweave.sketch.sketcher import Sketcher
from unweave.stats.intervals import mean
from unweave.store.store import GradientStore
from unweave.store.texts import stored_rows

TOP = 10


def sketch_agreement(
    store: GradientStore, loaded: Loaded, queries: Sequence[Row], *, max_rows: int, seed: int
) -> dict[str, Any]:
    """How faithful the store's scores are to exact inner products of the same, equally normalised, gradients.

    Args:
        store: The store.
        loaded: Its model.
        queries: Prompts with answers.
        max_rows: Rows of the store that are compared, at most.
        seed: Of the choice of rows and of the bootstrap.

    Returns:
        Correlations and overlap of the top rows, means over queries with intervals over queries, of the same rows.
    """
    texts, ids = store.texts(), store.row_ids()
    chosen = _sampled(len(ids), max_rows, seed)
    encoding = EncodingConfig(**store.spec.encoding)
    rows = stored_rows(texts, [ids[index] for index in chosen], where=store.place)
    examples = encode_rows(rows, loaded.tokenizer, encoding).examples
    asked = encode_rows(queries, loaded.tokenizer, encoding).examples
    exact = exact_scores(sketcher_for(store, loaded), asked, examples)
    place = {row_id: index for index, row_id in enumerate(ids)}
    columns = [place[example.row_id] for example in examples]
    scores = trace_rows(store, loaded, queries).scores
    assert scores is not None, "a trace keeps the scores of all rows"
    return {"rows": len(examples), "queries": len(asked), **agreement(scores[:, columns], exact, seed=seed)}


def curvature_agreement(
    store: GradientStore,
    loaded: Loaded,
    queries: Sequence[Row],
    config: RetrievalConfig,
    *,
    max_rows: int,
) -> dict[str, Any]:
    """How well the store's own scores agree with scores that take curvature into account.

    Args:
        store: The store.
        loaded: Its model.
        queries: Prompts with answers.
        config: The preconditioner with its damping and the rows that it is fitted on, and the seed.
        max_rows: Rows of the store that are compared, at most.

    Returns:
        Correlations and overlap of the top rows, means over queries with intervals; the damping, of which they depend.
    """
    plain = trace_rows(store, loaded, queries).scores
    assert plain is not None, "a trace keeps the scores of all rows"
    ids = store.row_ids()
    chosen = _sampled(len(ids), max_rows, config.seed)
    curved = curved_scores(store, loaded, queries, config, [ids[index] for index in chosen])
    about = {"curvature": config.preconditioner, "fit_rows": min(config.fit_rows, len(ids))}
    about |= {"damping": curved.damping.to_json(), "normalize": store.spec.normalize}
    found = agreement(plain[:, chosen], curved.scores, seed=config.seed)
    return {**about, "rows": len(chosen), "queries": len(queries), **found}


@dataclass(frozen=True)
class Curved:
    """Influence with curvature.

    Attributes:
        scores: One a query and row.
        damping: What the preconditioner added to its curvature.
    """

    scores: Float[Tensor, "q n"]
    damping: Damping


def curved_scores(
    store: GradientStore, loaded: Loaded, queries: Sequence[Row], config: RetrievalConfig, row_ids: Sequence[str]
) -> Curved:
    """<(C + damping)^-1 g(query), g(row)> by exact products of whole gradients as they are: the rows' are computed anew.

    A store whose gradients are normalised can't be searched with this: its rows would be normalised, the curvature and the queries not.

    Args:
        store: The store, for its texts and how its gradients are taken.
        loaded: Its model.
        queries: Prompts with answers.
        config: The preconditioner of gradients, its damping and the rows that it is fitted on.
        row_ids: The rows to score.

    Returns:
        The scores.
    """
    texts, sketcher, encoding = store.texts(), sketcher_for(store, loaded), EncodingConfig(**store.spec.encoding)
    used: list[Damping] = []
    problem = curvature_problem(sketcher, store, loaded, config, texts, note=used.append)
    asked = encode_rows(queries, loaded.tokenizer, encoding).examples
    rows = encode_rows(stored_rows(texts, row_ids, where=store.place), loaded.tokenizer, encoding).examples
    with frozen_in_evaluation(loaded.model):
        held = preconditioner(config.preconditioner)(problem, gradients_of(sketcher, asked))
        scores = _products(sketcher, held, rows, normalize="none")
    return Curved(scores, used[0])


def exact_scores(sketcher: Sketcher, queries: Sequence[Example], rows: Sequence[Example]) -> Float[Tensor, "q n"]:
    """Inner products of whole gradients, normalised as the store says; the queries' gradients are held in memory.

    Args:
        sketcher: The model, and how the store was made.
        queries: The queries.
        rows: The rows.

    Returns:
        One score a query and row.
    """
    with frozen_in_evaluation(sketcher.model):
        return _products(sketcher, gradients_of(sketcher, queries), rows, normalize=sketcher.config.normalize)


def _products(
    sketcher: Sketcher, queries: Gradients, rows: Sequence[Example], *, normalize: str
) -> Float[Tensor, "q n"]:
    """Inner products of given gradients with those of rows, both normalised."""
    held = {name: piece.flatten(1).double() for name, piece in queries.items()}
    if normalize == "tensor":
        held = {name: piece * reciprocal_root(piece.square().sum(dim=1))[:, None] for name, piece in held.items()}
    asked = len(next(iter(held.values())))
    scores = torch.zeros(asked, len(rows), dtype=torch.float64)
    squares = torch.zeros(len(rows), dtype=torch.float64)

    def work(_: list[int], batch: Batch) -> tuple[Tensor, Tensor]:
        found = torch.zeros(asked, len(batch), dtype=torch.float64), torch.zeros(len(batch), dtype=torch.float64)

        def add(name: str, piece: Tensor) -> None:
            flat = piece.flatten(1).double().cpu()
            own = flat.square().sum(dim=1)
            if normalize == "tensor":
                flat = flat * reciprocal_root(own)[:, None]
            found[0].add_(held[name].cpu() @ flat.T)
            found[1].add_(own)

        sketcher.source.differentiate(batch, add)
        return found

    with progress.task("exact products", len(rows)) as advance:
        for chosen, found in sketcher.source.each(rows, work, advance=advance):
            scores[:, chosen], squares[chosen] = found
    if normalize == "row":
        lengths = torch.stack([piece.square().sum(dim=1) for piece in held.values()]).sum(dim=0).cpu()
        scores *= reciprocal_root(squares) * reciprocal_root(lengths)[:, None]
    return scores


def _sampled(count: int, most: int, seed: int) -> list[int]:
    """The places of the rows that are compared."""
    return np.sort(np.random.default_rng(seed).choice(count, min(most, count), replace=False)).tolist()


def agreement(scores: Float[Tensor, "q n"], truth: Float[Tensor, "q n"], *, seed: int) -> dict[str, Any]:
    """Correlations of two score tables, query by query.

    Args:
        scores: The scores that are judged.
        truth: What they should be like.
        seed: Of the bootstrap over queries.

    Returns:
        Pearson's and Spearman's correlation, and the share of the top ten rows in common.
    """
    from scipy.stats import pearsonr, spearmanr

    columns: dict[str, list[float]] = {"pearson": [], "spearman": [], f"top_{TOP}_overlap": []}
    for own, other in zip(scores.double().numpy(), truth.double().numpy(), strict=True):
        columns["pearson"].append(float(pearsonr(own, other).statistic))  # type: ignore[attr-defined]
        columns["spearman"].append(float(spearmanr(own, other).statistic))  # type: ignore[attr-defined]
        top = min(TOP, len(own))
        common = set(np.argsort(-own, kind="stable")[:top]) & set(np.argsort(-other, kind="stable")[:top])
        columns[f"top_{TOP}_overlap"].append(len(common) / top)
    ranges = {name: (0, 1) if name.endswith("overlap") else (-1, 1) for name in columns}
    return {name: mean(values, seed=seed).within(*ranges[name]).to_json() for name, values in columns.items()}
