"""Options of caching and retrieval, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.models.loading import ModelConfig
from unweave.sketch.config import SketchConfig
from unweave.train.config import DataConfig


@dataclass(frozen=True, kw_only=True)
class GradientConfig(SketchConfig):
    """Which gradients, and how they are sketched.

    Attributes:
        parameters: `lora`, `linear`, `all`, or a regular expression of parameter names.
        reduction: A row's loss is the `mean` or the `sum` over its completion tokens.
        token_budget: Tokens a batch, padding included; halved by itself when memory runs out.
    """

    parameters: str = "lora"
    reduction: Literal["mean", "sum"] = "mean"
    token_budget: int = 1024


@dataclass(frozen=True, kw_only=True)
class CacheConfig(DataConfig, ModelConfig, GradientConfig):
    """Cache the sketched gradients of rows in a store.

    Attributes:
        data: The rows.
        store: The store's folder; rows that are in it already are not computed again.
        number_format: How sketches are stored.
        commit_rows: Rows a commit: what a kill can lose at most.
    """

    data: Path
    store: Path
    number_format: Literal["float16", "float32"] = "float16"
    commit_rows: int = 128


@dataclass(frozen=True, kw_only=True)
class TraceConfig:
    """Trace generations to training rows.

    Attributes:
        store: The gradient store.
        prompt: A prompt; its answer is generated unless `completion` is given.
        completion: The answer to trace.
        queries: A file of rows to trace instead, each a prompt with its answer.
        model: The model, where it is not the one that the store names.
        adapter: Its adapter.
        top_k: Rows to list on each side.
        similarity: `dot` (TracIn) or `cosine` of the sketches.
        learning_rate: Factor of the influence (TracIn's step size).
        max_new_tokens: Longest generated answer.
        dtype: As for the model.
        device: As for the model.
        output: A file for the result in RapidIn's JSON format.
    """

    store: Path
    prompt: str | None = None
    completion: str | None = None
    queries: Path | None = None
    model: str | None = None
    adapter: Path | None = None
    top_k: int = 10
    similarity: Literal["dot", "cosine"] = "dot"
    learning_rate: float = 1.0
    max_new_tokens: int = 48
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    output: Path | None = None
