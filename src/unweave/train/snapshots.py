"""Adapters as they were early in training, which tracing needs: at the end the gradients of what has been learned have shrunk to nothing."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback, TrainerControl, TrainerState, TrainingArguments

from unweave.errors import ConfigError
from unweave.models.quiet import quiet_transformers
from unweave.models.saving import save_model
from unweave.outputs import SNAPSHOTS
from unweave.replacing import replacing_folder
from unweave.train.adapters import save_adapter
from unweave.train.states import write_snapshot
from unweave.train.trainer_states import snapshot_of

OPTIMIZER = "optimizer.safetensors"
"""AdamW's state beside a snapshot."""


class SnapshotCallback(TrainerCallback):
    """Saves the early adapters of any `transformers.Trainer`, TRL's `SFTTrainer` among them, for tracing with them afterwards.

    Each goes into `snapshots/NN` of the trainer's output folder, NN the percentage of the steps behind it: a standard PEFT folder, or a whole model where no
    adapter is trained. A model that is sharded over processes (FSDP, DeepSpeed) is saved by the trainer itself, as `checkpoint-N`.

    Args:
        at: Shares of all steps, above 0 and up to 1.
        optimizer: Keep AdamW's state beside each adapter, in `optimizer.safetensors`, for `trace --estimator trajectory` or `segments`: three float32 numbers a
            trained parameter.

    Raises:
        ConfigError: When a share is out of range.

    Example:
        >>> import unweave as uw
        >>> from transformers import Trainer, TrainingArguments
        >>> arguments = TrainingArguments("trained", max_steps=20, report_to="none", use_cpu=True, save_strategy="no", disable_tqdm=True)
        >>> callbacks = [uw.SnapshotCallback(at=(0.05, 0.1))]
        >>> trainer = Trainer(model=hf_model, processing_class=tokenizer, args=arguments, train_dataset=tokenized, callbacks=callbacks)
        >>> _ = trainer.train()
        {'train_runtime': ...}
        >>> uw.load_model("trained/snapshots/05").adapter
        'trained/snapshots/05'
    """

    def __init__(self, at: Sequence[float] = (0.05, 0.1), *, optimizer: bool = False):
        self.at, self.optimizer = require_shares(at, where="`at`"), optimizer
        self._due: dict[int, list[float]] = {}

    def on_train_begin(
        self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any
    ) -> None:
        """Plan the snapshots.

        Args:
            args: The trainer's.
            state: How many steps there are.
            control: Left alone.
            **kwargs: What else a trainer passes on.
        """
        self._due = due_steps(self.at, state.max_steps, warms_up=args.get_warmup_steps(state.max_steps) > 0)

    def on_step_end(self, args: TrainingArguments, state: TrainerState, control: TrainerControl, **kwargs: Any) -> None:
        """Save the adapter where it is time.

        Args:
            args: The trainer's.
            state: Steps made.
            control: Asked for a checkpoint where the model is sharded.
            **kwargs: The model and its tokenizer.
        """
        shares = self._due.get(state.global_step, [])
        if shares and (args.fsdp or args.deepspeed):
            control.should_save = True
        elif shares and state.is_world_process_zero:
            for share in shares:
                folder = snapshot_folder(Path(args.output_dir or ""), share)
                save_snapshot(kwargs["model"], kwargs.get("processing_class"), folder)
                if self.optimizer:
                    found = snapshot_of(kwargs["optimizer"], kwargs["model"], step=state.global_step)
                    write_snapshot(folder / OPTIMIZER, found)


def require_shares(shares: Sequence[float], *, where: str) -> tuple[float, ...]:
    """Refuse shares of a run that are none.

    Args:
        shares: The shares.
        where: The argument or option, for the message.

    Returns:
        The same.

    Raises:
        ConfigError: When one is not above 0 and up to 1.
    """
    if any(not 0 < share <= 1 for share in shares):
        raise ConfigError(
            "A snapshot stands at a share of the run.", where=where, remedy="give numbers above 0 and up to 1"
        )
    return tuple(shares)


def due_steps(shares: Sequence[float], total: int, *, warms_up: bool) -> dict[int, list[float]]:
    """The steps after which snapshots are due.

    Args:
        shares: Of the run.
        total: All steps.
        warms_up: Whether the first step has a step size of zero: a snapshot of an untrained adapter would trace nothing.

    Returns:
        Steps made to the shares that are due then.
    """
    due: dict[int, list[float]] = {}
    for share in shares:
        due.setdefault(max(2 if warms_up else 1, round(share * total)), []).append(share)
    return due


def snapshot_folder(output_dir: Path, share: float) -> Path:
    """Where a snapshot lies.

    Args:
        output_dir: The run's folder.
        share: The share of the run behind it.

    Returns:
        A model's folder.
    """
    return output_dir / SNAPSHOTS / f"{round(share * 100):02d}"


def save_snapshot(
    model: Any, tokenizer: Any, place: Path, *, base: str | None = None, revision: str | None = None
) -> None:
    """Save a model as it is, whole or not at all.

    Args:
        model: The model; of a `PeftModel` the adapter.
        tokenizer: Its tokenizer, where there is one.
        place: The folder.
        base: The adapter's base; by default the one that it names.
        revision: Of a base from the hub.
    """
    adapter = getattr(model, "peft_config", {}).get(getattr(model, "active_adapter", None))
    base = base or getattr(adapter, "base_model_name_or_path", None)
    with replacing_folder(place) as folder, quiet_transformers():
        if adapter is not None and base:
            save_adapter(model, tokenizer, folder, base=base, revision=revision or adapter.revision, place=place)
        else:
            save_model(model, tokenizer, folder)
