"""Options of supervised fine-tuning, readable without torch."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from unweave.data.config import DataConfig
from unweave.models import packaged
from unweave.models.loading import ModelConfig

Schedule = Literal[
    "cosine", "linear", "constant", "constant_with_warmup", "cosine_with_restarts", "polynomial", "inverse_sqrt"
]
"""The schedules of transformers that need no more than a number of steps."""

Tracker = Literal["none", "tensorboard", "trackio", "wandb"]
"""Where a run may report its steps."""
Combination = Literal["mean", "sum", "svd", "ties", "dare", "dare_ties"]
"""How the adapters of shards become one."""


@dataclass(frozen=True, kw_only=True)
class ShowRowsConfig(DataConfig):
    """Say how rows are read, and show each as the model sees it, with what is learned of it marked.

    `--json` prints one object: layout, layouts, read, unused, problems, rows; of each row id, text, learned (a list of texts, each with what ends the
    answer) and unused (a list of columns).

    Attributes:
        data: The rows.
        model: The model whose tokenizer and chat template read them, or an adapter with its own; no weights are loaded.
        revision: Of the model on the hub.
        adapter: An adapter on the model.
        limit: How many rows to show; all are read.
    """

    data: Path
    model: str = packaged.NAME
    revision: str | None = None
    adapter: Path | None = None
    limit: int | None = 3


@dataclass(frozen=True, kw_only=True)
class LoraOptions:
    """A LoRA adapter.

    Attributes:
        lora_r: Rank.
        lora_alpha: Scale; the update is multiplied by alpha / r.
        lora_dropout: Dropout in front of A, in training only.
        lora_targets: Modules that get one: `all-linear`, or a comma-separated list of names such as `q_proj,v_proj`.
    """

    lora_r: int = 16
    lora_alpha: int = 16
    lora_dropout: float = 0.05
    lora_targets: str = "all-linear"


@dataclass(frozen=True, kw_only=True)
class TrainConfig(DataConfig, ModelConfig, LoraOptions):
    """Fine-tune a model on rows.

    Attributes:
        data: The training rows.
        output_dir: Where the adapter (or the full model) goes.
        without: Rows to leave out, by id: a file of rows. With the forget rows it makes the retrained reference.
        snapshots: Shares of the run after which the adapter is saved in `snapshots/`, for tracing: at the end of training the gradients of
            what was learned vanish or cancel, early ones still tell which rows taught it.
        record: Keep in `record/` what the run can be repeated and differentiated from, for attribution through training: the order of rows, each step's step
            size and gradient norm, and the optimizer's state at a few places. Dropout is seeded anew at each step then.
        record_states: At how many places, evenly spaced, beside the start and the snapshots; each holds three float32 numbers a trained parameter.
        tuning: `lora` trains an adapter, `full` all weights.
        epochs: Passes over the rows; may be a fraction.
        batch_size: Rows a step; with several processes (`accelerate launch`), of each.
        learning_rate: Peak step size of AdamW.
        lr_scheduler: How the step size changes over the run.
        warmup_ratio: Share of the steps over which it grows from 0.
        weight_decay: Of AdamW.
        max_grad_norm: The norm to which a step's gradient is clipped.
        shards: Train so many adapters, each on its own share of the rows, and combine them. A request to forget rows then trains again only what saw them.
        slices: Train each of these adapters in so many stages, on one slice of its rows more each time: stages from before a row came in are kept.
        combination: How the shards' adapters become one: `mean` or `sum` of their updates, exactly, with `shards` times the rank; or by PEFT's rules in the
            rank of one: `svd` (the best approximation of the mean), `ties`, `dare`, `dare_ties`.
        dp_epsilon: Train with differential privacy: the epsilon that a single row's presence may cost. Needs the extra `dp` and a LoRA adapter.
        dp_delta: Its delta; by default rows^-1.1.
        dp_clip: Largest norm of a row's gradient.
        seed: Of the adapter's first values, dropout and the order of rows.
        report_to: An experiment tracker that each step's loss, gradient norm and step size go to; its package must be installed. `tensorboard` writes
            below the output folder.
    """

    data: Path
    output_dir: Path
    without: Path | None = None
    snapshots: tuple[float, ...] = ()
    record: bool = False
    record_states: int = 4
    tuning: Literal["lora", "full"] = "lora"
    epochs: float = 3.0
    batch_size: int = 16
    learning_rate: float = 2e-4
    lr_scheduler: Schedule = "cosine"
    warmup_ratio: float = 0.03
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    shards: int = 1
    slices: int = 1
    combination: Combination = "mean"
    dp_epsilon: float | None = None
    dp_delta: float | None = None
    dp_clip: float = 1.0
    seed: int = 0
    report_to: Tracker = "none"
