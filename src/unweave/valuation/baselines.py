"""What values must beat: scores of candidate rows that look at no gradient, or at no task."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from statistics import fmean

from unweave.attribution.baselines import bm25_scores, random_scores
from unweave.data.encoding import EncodingConfig
from unweave.data.rows import Row
from unweave.gradients.scoring import row_losses
from unweave.models.model import Model


@dataclass(frozen=True)
class Candidates:
    """What a baseline may look at.

    Attributes:
        rows: The candidates.
        losses: l(z) of each under the model, nats a token.
        tasks: Name of each task to its validation rows.
        loaded: The model.
        encoding: Template and lengths.
        encoder: A sentence encoder's name.
        seed: For `random`.
    """

    rows: Sequence[Row]
    losses: Sequence[float]
    tasks: dict[str, list[Row]]
    loaded: Model
    encoding: EncodingConfig
    encoder: str
    seed: int


Scores = dict[str, list[float]]
"""Column to one score a candidate; larger means more worth having."""


def _random(candidates: Candidates) -> Scores:
    return {"random": random_scores(len(candidates.rows), seed=candidates.seed)}


def _length(candidates: Candidates) -> Scores:
    return {"length": [float(len(row.completion)) for row in candidates.rows]}


def _perplexity(candidates: Candidates) -> Scores:
    # Low perplexity first, as filters by perplexity do.
    return {"perplexity": [-math.exp(min(loss, 700.0)) for loss in candidates.losses]}


def _ifd(candidates: Candidates) -> Scores:
    # Instruction-following difficulty: the answer's loss with its prompt over that without (Li et al., arXiv 2308.12032). Above 1 the prompt misleads; such
    # rows come last, as in the paper. An answer of one token has no loss without a prompt.
    bare = [replace(row, instruction="", context="", turns=()) for row in candidates.rows]
    found = row_losses(candidates.loaded, bare, candidates.encoding, description="answers without prompts")
    alone = dict(zip(found.row_ids, found.means(), strict=True))
    ratios = [
        own / max(alone.get(row.id, math.nan), 1e-6)
        for row, own in zip(candidates.rows, candidates.losses, strict=True)
    ]
    return {"ifd": [-ratio if ratio > 1 else ratio for ratio in ratios]}


def _bm25(candidates: Candidates) -> Scores:
    documents = [document(row) for row in candidates.rows]
    found = {name: [bm25_scores(document(row), documents) for row in rows] for name, rows in candidates.tasks.items()}
    return {f"bm25.{name}": [fmean(column) for column in zip(*own, strict=True)] for name, own in found.items()}


def _embedding(candidates: Candidates) -> Scores:
    from unweave.models.encoder import load_encoder

    encoder = load_encoder(candidates.encoder, device=str(candidates.loaded.device))
    vectors = encoder.encode([document(row) for row in candidates.rows])
    centers = {
        name: encoder.encode([document(row) for row in rows]).mean(dim=0) for name, rows in candidates.tasks.items()
    }
    return {f"embedding.{name}": (vectors @ center).tolist() for name, center in centers.items()}


BASELINES: dict[str, Callable[[Candidates], Scores]] = {
    "random": _random,
    "length": _length,
    "perplexity": _perplexity,
    "ifd": _ifd,
    "bm25": _bm25,
    "embedding": _embedding,
}
"""Name to scorer; `gradnorm`, `less` and `tracin` come with the pass over gradients."""


def document(row: Row) -> str:
    """A row as one text.

    Args:
        row: The row.

    Returns:
        Prompt and answer.
    """
    return f"{row.user_text}\n{row.completion}"
