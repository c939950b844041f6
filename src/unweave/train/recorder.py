"""Writes the record of a run while it goes on."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from unweave.data.encoding import Example, content_of
from unweave.files import write_json
from unweave.replacing import replacing
from unweave.train.record import FORMAT, RECORD, state_path
from unweave.train.states import of_optimizer, write_state


class Recorder:
    """Writes the record of a run while it goes on.

    Args:
        folder: The run's folder.
        examples: The rows.
        steps: The plan: places of rows, a list a step.
        states: After how many steps a state is kept.
        seed: Of the steps' dropout.
        max_grad_norm: As in the loop.
    """

    def __init__(
        self,
        folder: Path,
        examples: Sequence[Example],
        steps: Sequence[Sequence[int]],
        *,
        states: Sequence[int],
        seed: int,
        max_grad_norm: float,
    ):
        self.folder, self.examples, self.steps = folder / RECORD, examples, steps
        self.states, self.seed, self.max_grad_norm = sorted(states), seed, max_grad_norm
        self.rates: list[float] = []
        self.norms: list[float] = []
        self._names: list[str] = []

    def begin(self, model: nn.Module, optimizer: Any, *, resumed: bool) -> None:
        """Keep the parameters as they are before the first step.

        Args:
            model: The model.
            optimizer: Its optimizer.
            resumed: Whether the run goes on from a checkpoint: its start is kept already.
        """
        self._names = [name for name, own in model.named_parameters() if own.requires_grad]
        if not resumed:
            write_state(state_path(self.folder, 0), of_optimizer(optimizer, self._names, step=0))

    def measure(self, trained: Sequence[nn.Parameter]) -> None:
        """Take the norm of a step's gradient, as clipping will.

        Args:
            trained: The parameters.
        """
        # Clipped to infinity: nothing is changed, and the norm is computed by the same instructions.
        self.norms.append(float(nn.utils.clip_grad_norm_(trained, float("inf"))))

    def after_step(self, step: int, optimizer: Any) -> None:
        """Take a step's size, and the state where it is to be kept.

        Args:
            step: Steps made.
            optimizer: The optimizer.
        """
        self.rates.append(optimizer.rate)
        if step in self.states:
            write_state(state_path(self.folder, step), of_optimizer(optimizer, self._names, step=step))

    def finish(self, losses: Sequence[float], optimizer: Any) -> None:
        """Write what makes the record complete.

        Args:
            losses: Of each step.
            optimizer: The optimizer.
        """
        from safetensors.torch import save_file

        group = optimizer.param_groups[0]
        arrays = {
            "rows": torch.tensor([index for step in self.steps for index in step], dtype=torch.int32),
            "sizes": torch.tensor([len(step) for step in self.steps], dtype=torch.int32),
            "rates": torch.tensor(self.rates, dtype=torch.float64),
            "norms": torch.tensor(self.norms, dtype=torch.float64),
            "losses": torch.tensor(losses, dtype=torch.float64),
        }
        with replacing(self.folder / "steps.safetensors") as temporary:
            save_file(arrays, temporary)
        described = {
            "format": FORMAT,
            "row_ids": [example.row_id for example in self.examples],
            "contents": [content_of(example) for example in self.examples],
            "optimizer": {
                "name": "AdamW",
                "beta1": group["betas"][0],
                "beta2": group["betas"][1],
                "epsilon": group["eps"],
                "weight_decay": group["weight_decay"],
                "max_grad_norm": self.max_grad_norm,
                "seed": self.seed,
            },
            "parameters": self._names,
            "states": self.states,
        }
        write_json(self.folder / "record.json", described)
