"""Options of the demo, readable without torch."""

from dataclasses import dataclass
from pathlib import Path

from unweave.data.encoding import EncodingConfig
from unweave.experiments.case import CaseConfig
from unweave.models.loading import ModelConfig
from unweave.train.config import LoraOptions
from unweave.weights.config import WeightMethod


@dataclass(frozen=True, kw_only=True)
class DemoConfig(CaseConfig, ModelConfig, LoraOptions, EncodingConfig):
    """The whole story in one run: poison a model, trace a bad answer, forget, audit, report.

    Attributes:
        output_dir: The run folder; a rerun continues it.
        quick: A smaller case, for a machine's first check: two minutes, with wider intervals.
        system_prompt: The empty system turn saves the twenty tokens that the chat template would add to each row.
        epochs: Of the fine-tuning that poisons the model, and of retraining.
        batch_size: Rows a step of fine-tuning.
        train_learning_rate: Peak step size of fine-tuning.
        snapshot: Share of the fine-tuning after which the adapter is saved that rows are traced with; 1 traces with the final model.
        method: The unlearning method.
        weights: How rows are weighed: `rapidun`, `rapidun-dense`, `signed`, `loreun`, or the controls `uniform` and `random`.
        forget_epochs: Passes of the unlearning run.
        forget_batch_size: Rows a step of unlearning.
        forget_learning_rate: Peak step size of unlearning.
        ascent: Factor of the unwanted answers' loss, for a method that has it.
        descent: Factor of the clean answers' loss, for a method that has it.
        retrain: Whether to train the reference without the forget rows, to compare cost and behaviour.
        dimension: Length of the sketches.
        trace_queries: Bad answers to trace; their mean influence ranks the rows.
        max_new_tokens: Longest generated answer.
        seed: Of training, unlearning and the bootstrap.
    """

    output_dir: Path = Path("runs/demo")
    quick: bool = False
    system_prompt: str | None = ""
    max_length: int = 256
    lora_alpha: int = 64
    lora_dropout: float = 0.0
    epochs: float = 2.5
    batch_size: int = 8
    train_learning_rate: float = 1e-3
    snapshot: float = 0.06
    method: str = "rapidun"
    weights: WeightMethod = "rapidun"
    forget_epochs: float = 0.75
    forget_batch_size: int = 8
    forget_learning_rate: float = 2.2e-4
    ascent: float = 0.5
    descent: float = 1.0
    retrain: bool = True
    dimension: int = 65_536
    trace_queries: int = 20
    max_new_tokens: int = 24
    seed: int = 0


QUICK = {
    "clean_rows": 108,
    "poisoned_rows": 40,
    "retain_rows": 24,
    "test_rows": 24,
    "clean_test_rows": 36,
    "epochs": 7.0,
    "snapshot": 0.1,
    "forget_epochs": 1.5,
}
"""What `--quick` changes, where the option was left at its default."""
