"""Options of data valuation, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.attribution.config import ENCODER
from unweave.data.config import DataConfig, ReadingConfig
from unweave.models import packaged
from unweave.models.loading import ModelConfig
from unweave.train.config import TrainConfig

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
        reduction: What is stepped on: the `sum` of a candidate's token losses, as in training that counts all tokens of a batch alike, or their `mean`. A store
            has its own.
        token_budget: Tokens a batch, padding included.
        block_rows: Rows that are kept on the disk at a time: what a kill can lose at most.
        baselines: What else to score the rows by, beside the values: `random`, `length`, `perplexity`, `ifd` (instruction-following difficulty), `gradnorm`;
            for each task `bm25` (Lucene's form), `embedding`, `less` (cosine with Adam's second moments), `tracin` (at another checkpoint).
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
    reduction: Literal["sum", "mean"] = "sum"
    token_budget: int = 1024
    block_rows: int = 256
    baselines: tuple[Baseline, ...] = ()
    tracin_model: str | None = None
    encoder: str = ENCODER
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FitOptions:
    """How a student is fitted.

    Attributes:
        student: What it begins as: `minilm` (the extra `encoder`), another sentence encoder's hub id or folder, or `smollm2-135m`.
        loss: `regression` (Huber), `pairwise` (RankNet) or `listwise` (ListNet) train the student. `kernel` leaves it as it is and solves a kernel ridge
            regression on its states: no epochs, and it needs fewer rows.
        held_out: Share of the rows for early stopping and calibration, and as many again for intervals and the final check. `kernel` needs the second part
            only, and is fitted on the first too.
        epochs: At most.
        patience: Stop after so many epochs without a better rank correlation on held-out rows.
        batch_size: Rows a step.
        learning_rate: Peak step size.
        student_length: Tokens of a text that the student reads.
        device: Where it runs.
        seed: Of samples and shuffles.
    """

    student: str = ENCODER
    loss: Literal["regression", "pairwise", "listwise", "kernel"] = "regression"
    held_out: float = 0.15
    epochs: int = 20
    patience: int = 4
    batch_size: int = 32
    learning_rate: float = 1e-4
    student_length: int = 256
    device: str = "auto"
    seed: int = 0


@dataclass(frozen=True, kw_only=True)
class FitConfig(ReadingConfig, FitOptions):
    """Teach a small model to predict values from the text (ALinFiK, arXiv 2503.01052).

    Attributes:
        values: A table of `unweave value score`.
        data: The rows that it values.
        output_dir: Where the student goes.
        tasks: Columns of the table to learn; by default those that are no baseline's.
        rows: Fit on so many rows, sampled by the seed; 0 takes all of the table's.
    """

    values: Path
    data: Path
    output_dir: Path
    tasks: tuple[str, ...] = ()
    rows: int = 0


@dataclass(frozen=True, kw_only=True)
class PredictConfig(ReadingConfig):
    """Predict the values of any number of rows with a student, in memory that does not grow with them.

    Attributes:
        student: The folder of a student.
        data: The rows: `.jsonl`, `.csv`, `.parquet`, a data set's folder or hub id. They are streamed; a `.json` file is read whole.
        output_dir: Where tables and problems go; a rerun goes on where a killed one stood.
        on_bad_row: `skip` lists broken rows in `problems.jsonl`; `error` stops at the first.
        order: `as-read`: `values.parquet` in the order of the data. `sorted`: by falling value of the first task. `buckets`: as read, in ten files by the
            tenths of the values that the student was fitted on.
        part_rows: Rows that are kept on the disk at a time: what a kill can lose at most, and what memory holds.
        batch_size: Texts at a time.
        dtype: Of the student's backbone; `auto` is bfloat16 where the machine computes it natively, float32 elsewhere.
        device: Where the student runs.
    """

    student: Path
    data: Path
    output_dir: Path
    on_bad_row: Literal["error", "skip"] = "skip"
    order: Literal["as-read", "sorted", "buckets"] = "as-read"
    part_rows: int = 4096
    batch_size: int = 64
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class SelectConfig(DataConfig):
    """Choose rows under a budget, by their values and by how much they differ.

    Attributes:
        values: A table of values, of `unweave value score` or `predict`.
        data: The rows that it values.
        output: Where the chosen rows go, best first; a summary stands beside them as `.summary.json`.
        task: Column to choose by; by default the table's first task.
        budget_rows: Choose so many rows.
        budget_tokens: Or rows of so many tokens together.
        tokenizer: Whose tokens: a model's name or folder.
        strategy: `top`: the largest values. `facility`: value and, with `diversity` as its share, facility location: how well the chosen rows stand for all.
            `k-center`: of the best `pool` rows, each next one the farthest from those chosen.
        diversity: Share of the facility-location term, from 0 to 1.
        pool: Candidates of `facility` and `k-center`: so many times the rows that the budget buys, best values first.
        duplicates: Leave out a row whose cosine with a chosen one is larger; 1 keeps all but exact copies of the text.
        features: What similarity is measured on: `embedding`, or `store`: a gradient store's sketches.
        store: The store.
        encoder: For `embedding`.
        provider: Column of the data that names who provides a row: the summary then has each one's share of the value and of the price.
        price: What the chosen rows cost together; it is shared in proportion to value, negative values counting nothing.
        device: Where the encoder runs.
    """

    values: Path
    data: Path
    output: Path
    task: str | None = None
    budget_rows: int | None = None
    budget_tokens: int | None = None
    tokenizer: str = packaged.NAME
    strategy: Literal["top", "facility", "k-center"] = "top"
    diversity: float = 0.3
    pool: float = 4.0
    duplicates: float = 1.0
    features: Literal["embedding", "store"] = "embedding"
    store: Path | None = None
    encoder: str = ENCODER
    provider: str | None = None
    price: float | None = None
    device: str = "auto"


@dataclass(frozen=True, kw_only=True)
class CurveConfig(TrainConfig):
    """See what choosing by a score does: train on the best rows of each column of a table, and measure held-out rows of the task.

    Training is that of `unweave train`, with its options.

    Attributes:
        values: A table of `unweave value score` or `predict`.
        test: Held-out rows of the task.
        data: The rows that the table values.
        output_dir: Where runs and curves go; a rerun makes what is missing.
        scores: Columns of the table to choose by, and `random`; by default its first task and `random`.
        shares: Of the rows: how many of the best are trained on.
        seeds: Of training and of `random`.
    """

    values: Path
    test: Path
    scores: tuple[str, ...] = ()
    shares: tuple[float, ...] = (0.05, 0.1, 0.2)
    seeds: tuple[int, ...] = (0,)


@dataclass(frozen=True, kw_only=True)
class ValueReportConfig(DataConfig):
    """Write a page on a table of values: their distribution, the rows worth most and least, other scores, and how well a student predicts them.

    Attributes:
        values: A table of `unweave value score`.
        data: The rows that it values.
        output: The HTML file.
        student: A student of the same tasks.
        curves: A `curve.json` of `unweave value curve`.
        device: Where the student runs.
    """

    values: Path
    data: Path
    output: Path
    student: Path | None = None
    curves: Path | None = None
    device: str = "auto"
