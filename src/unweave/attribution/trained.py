"""What a training left behind, for estimators of attribution through training: a record, or checkpoints with the optimizer's state."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import torch
from jaxtyping import Float
from torch import Tensor

from unweave.attribution.registry import ESTIMATORS, NOT_THROUGH_TRAINING
from unweave.attribution.targets import Target
from unweave.attribution.visits import effective_rates, even_factors, factors_of, nearest
from unweave.data.encoding import Example
from unweave.errors import ConfigError
from unweave.models.adapters import adapter_parameters
from unweave.models.loading import Loaded
from unweave.outputs import SNAPSHOTS, run_folders
from unweave.registry import entry
from unweave.train.record import Options, has_record
from unweave.train.replay import Run, open_run
from unweave.train.snapshots import OPTIMIZER
from unweave.train.states import Snapshot, State, read_snapshot
from unweave.train.trainer_states import of_checkpoint

AUTO = "segments"
"""What `auto` is where a training left something: to be set to what `benchmarks/through_training.py` finds best."""


@dataclass(frozen=True, eq=False)
class Trained:
    """What a training left.

    Attributes:
        run: Model, rows, options; with its steps where they are recorded.
        snapshots: States of the optimizer after at least one step, in their order.
        factors: What each row's gradient at each is multiplied with (`unweave.attribution.visits`).
        times: The sum of the effective step sizes for which each stands.
        recorded: Whether each step is known.
        memory_gib: For whatever an estimator holds.
        fit_rows: Rows that a curvature is made of.
        seed: Of sampled labels and of which rows these are.
        damping: What an estimator damps with, relative; by default its own.
    """

    run: Run
    snapshots: Sequence[State]
    factors: Float[Tensor, "s n"]
    times: Float[Tensor, " s"]
    recorded: bool
    memory_gib: float = 1.0
    fit_rows: int = 1024
    seed: int = 0
    damping: float | None = None


@runtime_checkable
class Estimator(Protocol):
    """Attribution through training."""

    def __call__(self, trained: Trained, targets: Sequence[Target]) -> Float[Tensor, "q n"]:
        """Score the rows of a training.

        Args:
            trained: What it left.
            targets: Functions of the model.

        Returns:
            For each target and row of `trained.run.examples`; positive where a row lowers the target.
        """
        ...


def of_run(run: Run, snapshots: Sequence[State], *, norms: Sequence[float] = ()) -> Trained:
    """What a run whose steps are known leaves.

    Args:
        run: The run.
        snapshots: States after at least one step; the last one at its end, where segments are asked for.
        norms: Of each step's gradient before it was clipped; by default those of its record.

    Returns:
        The same with what its rows' gradients count.
    """
    rates = effective_rates(run.rates, run.options, norms=norms or (run.record.norms if run.record else ()))
    places = [state.step for state in snapshots]
    times = torch.zeros(len(places), dtype=torch.float64)
    times.index_add_(0, torch.tensor(nearest(len(run.steps), places)), rates)
    return Trained(run, list(snapshots), factors_of(run, places, rates), times, recorded=True)


def of_record(folder: Path, *, loaded: Loaded | None = None) -> Trained:
    """What `unweave train --record` left.

    Args:
        folder: The run's folder.
        loaded: The base model, where it is loaded already.

    Returns:
        The run with the states that it kept.
    """
    run, _ = open_run(folder, loaded=loaded)
    assert run.record is not None, "it was read from one"
    return of_run(run, [run.record.state(step) for step in run.record.states if step])


def of_checkpoints(folder: Path, loaded: Loaded, examples: Sequence[Example]) -> Trained:
    """What another trainer left: `checkpoint-N` folders, or snapshots of `SnapshotCallback(optimizer=True)`.

    Which rows a step held is not known: each counts alike. The loss is taken as the mean over the tokens of a batch.

    Args:
        folder: Its output folder, or one of these.
        loaded: The model with its adapter, as trained.
        examples: The rows that it was trained on.

    Returns:
        The snapshots.

    Raises:
        ConfigError: When there is none with an optimizer's state.
    """
    model = loaded.model
    trained = set(adapter_parameters(model)) if hasattr(model, "peft_config") else None
    held = {name: own for name, own in model.named_parameters() if trained is None or name in trained}
    model.requires_grad_(False)
    for own in held.values():
        own.requires_grad_(True)
    found: list[Snapshot] = sorted(
        [
            *(read_snapshot(path) for path in folder.glob(f"{SNAPSHOTS}/*/{OPTIMIZER}")),
            *(of_checkpoint(path.parent, held) for path in folder.glob("checkpoint-*/optimizer.pt")),
        ],
        key=lambda one: one.state.step,
    )
    if not found:
        raise ConfigError(
            "The training left neither a record nor checkpoints with its optimizer's state.",
            where="`training`",
            remedy="train with `record`, save checkpoints whole, or give SnapshotCallback optimizer=True",
        )
    last = found[-1]
    options = Options(last.beta1, last.beta2, last.epsilon, last.weight_decay)
    device = next(model.parameters()).device
    states = [_on(one.state, held, device) for one in found]
    run = Run(model, examples, [], [], states[0], options, loaded.tokenizer.pad_token_id)
    places, rates = [state.step for state in states], [one.rate for one in found]
    counts = torch.bincount(torch.tensor(nearest(max(places), places)), minlength=len(places))
    times = counts * torch.tensor(rates, dtype=torch.float64)
    return Trained(run, states, even_factors(run, places, rates), times, recorded=False)


def _on(state: State, held: dict[str, torch.nn.Parameter], device: torch.device) -> State:
    """A state on the model's device, in the model's order."""
    parts = (state.parameters, state.first, state.second)
    return State(state.step, *({name: part[name].to(device) for name in held if name in part} for part in parts))


def training_folder(training: Path | None, adapter: str | Path | None) -> Path | None:
    """Where a model's training left something.

    Args:
        training: The folder, where it was given.
        adapter: The model's folder.

    Returns:
        A folder with a record or checkpoints; `None` where there is none and none was asked for.
    """
    if training is not None:
        return training
    for folder in run_folders(adapter) if adapter is not None else ():
        if has_record(folder) or [
            *folder.glob("checkpoint-*/optimizer.pt"),
            *folder.glob(f"{SNAPSHOTS}/*/{OPTIMIZER}"),
        ]:
            return folder
    return None


def open_trained(folder: Path | None, loaded: Loaded, examples: Sequence[Example]) -> Trained:
    """What a training left, whoever made it.

    Args:
        folder: From `training_folder`.
        loaded: The model, as trained; used where checkpoints are all there is.
        examples: The rows that it was trained on, likewise.

    Returns:
        The same.

    Raises:
        ConfigError: When there is nothing.
    """
    if folder is None:
        raise ConfigError(
            "Nothing of the model's training was found.",
            where="`training`",
            remedy="give the folder of a training with `record`, or use `estimator` store",
        )
    return of_record(folder) if has_record(folder) else of_checkpoints(folder, loaded, examples)


def chosen_estimator(name: str, folder: Path | None) -> str:
    """An estimator with `auto` decided.

    Args:
        name: What was asked for.
        folder: From `training_folder`.

    Returns:
        Its name: of `auto` the store's sketches, where the training left nothing.
    """
    if name != "auto":
        return name
    return "store" if folder is None else AUTO


def estimator(name: str) -> Estimator:
    """An estimator by its name.

    Args:
        name: In `ESTIMATORS`.

    Returns:
        The estimator.

    Raises:
        ConfigError: When there is none of that name.
    """
    return entry(ESTIMATORS, name, option="estimator", others=NOT_THROUGH_TRAINING)
