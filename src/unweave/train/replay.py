"""A run of training, repeated step by step: the same instructions as the loop's on the same batches, so that the same bits come out.

That holds on the machine that trained, with as many threads. Elsewhere sums are rounded in another order; `departure` says how far apart the ends are.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from unweave.data.batches import Batch, collate
from unweave.data.dates import dated, recorded
from unweave.data.encoding import Example, encode_rows
from unweave.data.training_rows import read_training_rows
from unweave.errors import ModelError
from unweave.gradients.loss import token_losses
from unweave.models.loading import Loaded, load
from unweave.models.merging import merged_model
from unweave.train.adapters import add_lora
from unweave.train.optimizer import MasterAdamW
from unweave.train.recipe import read_recipe
from unweave.train.record import Options, TrainingRecord, read_training_record, step_seed
from unweave.train.states import State, Tensors, of_optimizer

CLIP_EPSILON = 1e-6
"""What torch adds to the norm in `clip_grad_norm_`."""

Mean = Literal["tokens", "rows"]
"""A step's loss: the mean over all labelled tokens of its batch (`unweave train`), or over rows of the mean over each row's."""


@dataclass(frozen=True, eq=False)
class Run:
    """A run in memory, whoever made it.

    Attributes:
        model: The model; its trained parameters require gradients, and are changed while steps are repeated.
        examples: The rows.
        steps: Places of rows, a list a step.
        rates: Step size of each step.
        start: Parameters before the first step.
        options: Of AdamW.
        pad_token_id: What to pad with.
        mean: Over what a step's loss is a mean.
        record: The files that it was read from, if any.
    """

    model: Any
    examples: Sequence[Example]
    steps: Sequence[Sequence[int]]
    rates: Sequence[float]
    start: State
    options: Options
    pad_token_id: int
    mean: Mean = "tokens"
    record: TrainingRecord | None = None

    @property
    def parameters(self) -> dict[str, nn.Parameter]:
        """The trained parameters, in the optimizer's order."""
        held = dict(self.model.named_parameters())
        return {name: held[name] for name in self.start.parameters}

    def batch(self, step: int) -> Batch:
        """The batch of a step.

        Args:
            step: Steps made before it.

        Returns:
            The batch, on the model's device.
        """
        device = next(self.model.parameters()).device
        return collate([self.examples[index] for index in self.steps[step]], pad_token_id=self.pad_token_id).to(device)

    def shares(self, step: int) -> Float[Tensor, " B"]:
        """What the summed token losses of each row of a step are multiplied with in its loss.

        Args:
            step: Steps made before it.

        Returns:
            One over the tokens of the batch; or one over its rows and the row's own tokens.
        """
        counts = torch.tensor(
            [self.examples[index].completion_length for index in self.steps[step]], dtype=torch.float64
        )
        if self.mean == "tokens":
            return torch.full_like(counts, 1 / float(counts.sum()))
        return 1 / (len(counts) * counts.clamp(min=1))

    def seed(self, step: int) -> None:
        """Begin a step's dropout as it began in training.

        Args:
            step: Steps made before it.
        """
        if self.options.seed is not None:
            torch.manual_seed(step_seed(self.options.seed, step))

    def load(self, state: State) -> None:
        """Give the model the parameters of a state, rounded to its dtype.

        Args:
            state: The state.
        """
        with torch.no_grad():
            for name, own in self.parameters.items():
                own.copy_(state.parameters[name])


class Replay:
    """Steps of a run, made again.

    Args:
        run: The run.
        state: Where to begin; by default at its start.
    """

    def __init__(self, run: Run, state: State | None = None):
        self.run, state = run, state or run.start
        self.trained = list(run.parameters.values())
        run.load(state)
        self.optimizer = MasterAdamW(self.trained, lr=0.0, weight_decay=run.options.weight_decay)
        group = self.optimizer.param_groups[0]
        group["betas"], group["eps"] = (run.options.beta1, run.options.beta2), run.options.epsilon
        self.step = state.step
        with torch.no_grad():
            for name, master in zip(run.start.parameters, self.optimizer.masters, strict=True):
                master.copy_(state.parameters[name])
                if state.step:
                    self.optimizer.state[master] = {
                        "step": torch.tensor(float(state.step)),
                        "exp_avg": state.first[name].to(master, copy=True),
                        "exp_avg_sq": state.second[name].to(master, copy=True),
                    }

    def state(self) -> State:
        """Where the run stands, copied."""
        return of_optimizer(self.optimizer, list(self.run.start.parameters), step=self.step).copy()

    def gradient(self) -> Tensors:
        """The gradient of the next step's loss, before it is clipped.

        Returns:
            Name to gradient; parameters that the loss does not depend on are missing.
        """
        run = self.run
        run.model.train()
        self.optimizer.zero_grad()
        batch = run.batch(self.step)
        run.seed(self.step)
        with torch.enable_grad():
            losses = token_losses(run.model, batch)
            (losses.nll.mean() if run.mean == "tokens" else losses.means().mean()).backward()
        return {name: own.grad for name, own in run.parameters.items() if own.grad is not None}

    def advance(self, *, keep: bool = False) -> Tensors:
        """Make the next step.

        Args:
            keep: Copy the gradient before it is clipped.

        Returns:
            That copy; empty without `keep`.
        """
        found = self.gradient()
        kept = {name: own.detach().clone() for name, own in found.items()} if keep else {}
        if self.run.options.max_grad_norm > 0:
            nn.utils.clip_grad_norm_(self.trained, self.run.options.max_grad_norm)
        self.optimizer.param_groups[0]["lr"] = self.run.rates[self.step]
        self.optimizer.step()
        self.optimizer.zero_grad()
        self.step += 1
        return kept

    def until(self, step: int) -> State:
        """Make steps up to a place.

        Args:
            step: Steps made then.

        Returns:
            The state there.
        """
        while self.step < step:
            self.advance()
        return self.state()


def departure(run: Run, end: State) -> float:
    """How far a repeated run ends from the recorded one.

    Args:
        run: A run with a record.
        end: Where it ended this time.

    Returns:
        The largest difference of a parameter; 0 where every bit is the same, NaN without a record.
    """
    if run.record is None or end.step not in run.record.states:
        return float("nan")
    kept = run.record.state(end.step).parameters
    return max(float((kept[name] - own.cpu()).abs().max()) for name, own in end.parameters.items())


def open_run(folder: Path, *, loaded: Loaded | None = None) -> tuple[Run, Loaded]:
    """Make a recorded run of `unweave train` ready to be repeated.

    Args:
        folder: Its folder.
        loaded: The base model, where it is loaded already; it is changed in place.

    Returns:
        The run, and its model with the tokenizer.

    Raises:
        ModelError: When it left no record, or the model trains other parameters.
        DataError: When the rows are no longer those that it was trained on.
    """
    record = read_training_record(folder)
    config = recorded(read_recipe(folder), folder)
    loaded = loaded or load(config)
    config = dated(config, loaded.tokenizer, loaded.adapter, loaded.base)
    rows = read_training_rows(config.data, config, without=config.without)
    examples = encode_rows(rows, loaded.tokenizer, config).examples
    record.require_rows(examples)
    if loaded.adapter is not None:
        loaded = merged_model(loaded, folder / "base", save=False)
    model = add_lora(loaded.model, config, seed=config.seed) if config.tuning == "lora" else loaded.model
    if config.tuning == "full":
        model.requires_grad_(True)
    if [name for name, own in model.named_parameters() if own.requires_grad] != record.parameters:
        raise ModelError(
            "The model trains other parameters than the record names.",
            where=str(record.folder),
            remedy="use the versions of transformers and PEFT that it was trained with",
        )
    device = next(model.parameters()).device
    start = record.state(0)
    start = State.at_start({name: own.to(device) for name, own in start.parameters.items()})
    run = Run(
        model,
        examples,
        record.steps,
        record.rates,
        start,
        record.options,
        loaded.tokenizer.pad_token_id,
        record=record,
    )
    return run, replace(loaded, model=model)
