"""Options of data valuation, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.models.loading import ModelConfig
from unweave.trace.config import ENCODER
from unweave.train.config import DataConfig

Baseline = Literal["random", "length", "perplexity", "ifd", "bm25", "embedding", "gradnorm", "less", "tracin"]


@dataclass(frozen=True, kw_only=True)
class ScoreConfig(DataConfig, ModelConfig):
    """Value candidate rows for tasks by LinFiK (arXiv 2503.01052): what one step of training on a row would do to each task's loss.

    A row's value is learning_rate * <mean gradient of the task's rows, gradient of the row>, at the model's parameters as they are. It is, to first order, by
    how much the task's loss falls, in nats a token, when one step of gradient descent is made on the row: positive helps the task, negative harms it.

    Attributes:
        data: The candidate rows.
        tasks: Tasks as NAME=FILE, or FILE alone: validation rows of each, a few hundred. All tasks are scored in one pass.
        output: Where the table of values goes: `.parquet`, `.jsonl` or `.csv`. A rerun goes on where a killed one stood.
        store: A gradient store that holds the candidate rows: values then come from its sketches, in seconds, and in its normalisation.
        learning_rate: The step's size; it scales all values alike.
        parameters: Whose gradients: `auto` (an adapter's where there is one, else `linear`), `lora`, `linear`, `all`, or a regular expression.
        reduction: A row's loss is the `mean` or the `sum` over its completion tokens.
        token_budget: Tokens a batch, padding included.
        block_rows: Rows that are kept on the disk at a time: what a kill can lose at most.
        baselines: What else to score the rows by, beside the values: `random`, `length`, `perplexity`, `ifd` (instruction-following difficulty), `gradnorm`;
            for each task `bm25`, `embedding`, `less` (cosine with Adam's second moments), `tracin` (at another checkpoint).
        tracin_model: For `tracin`: the model at the end of training on the candidates.
        encoder: For `embedding`: a sentence encoder.
        seed: For `random`.
    """

    data: Path
    tasks: tuple[str, ...]
    output: Path
    store: Path | None = None
    learning_rate: float = 1.0
    parameters: str = "auto"
    reduction: Literal["mean", "sum"] = "mean"
    token_budget: int = 1024
    block_rows: int = 256
    baselines: tuple[Baseline, ...] = ()
    tracin_model: str | None = None
    encoder: str = ENCODER
    seed: int = 0
