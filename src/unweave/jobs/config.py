"""Options of tracing and of the check-up, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.attribution.config import RetrievalConfig
from unweave.data.config import DataConfig, ReadingConfig
from unweave.models.holding import Holding
from unweave.models.loading import ModelConfig
from unweave.sketch.config import GradientConfig


@dataclass(frozen=True, kw_only=True)
class DoctorConfig(DataConfig, ModelConfig, GradientConfig):
    """Check a model and its data.

    Attributes:
        data: The rows.
    """

    data: Path


@dataclass(frozen=True, kw_only=True)
class TraceConfig(RetrievalConfig, ReadingConfig, Holding):
    """Trace generations to training rows.

    Attributes:
        store: The gradient store.
        prompt: A prompt; its answer is generated unless `completion` is given.
        completion: The answer to trace.
        system: The system text that the prompt stands under; by default the template's own, or none.
        against: Another answer: what is traced is why the first was given and not this.
        group_by: Sum the influence of all rows by a field of theirs too: a column of the data, such as `owner`, or `source`.
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
        max_new_tokens: Longest generated answer.
        dtype: As for the model; `auto` is the one that the store was made with.
        output: A file for the result in RapidIn's JSON format.
        html: A file for the result as a page.
        tda: A file for the result as JSON lines of the pretraining-tda viewer.
    """

    store: Path
    prompt: str | None = None
    completion: str | None = None
    system: str | None = None
    against: str | None = None
    group_by: str | None = None
    queries: Path | None = None
    span: str | None = None
    words: bool = False
    tokens: bool = False
    checkpoints: tuple[Path, ...] = ()
    learning_rates: tuple[float, ...] = ()
    model: str | None = None
    adapter: Path | None = None
    revision: str | None = None
    quantization: Literal["none", "8bit", "4bit"] | None = None  # type: ignore[assignment]  # as the store says
    max_new_tokens: int = 48
    output: Path | None = None
    html: Path | None = None
    tda: Path | None = None
