"""Training a student, an epoch at a time; what an epoch ends with is kept, so that a killed fit goes on."""

import math
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from jaxtyping import Float
from safetensors.torch import load_file, save_file
from torch import Tensor

from unweave.errors import TrainingError
from unweave.files import read_json, write_json
from unweave.models.pretrained import not_finite
from unweave.progress import Advance
from unweave.replacing import replacing_folder
from unweave.valuation.losses import StudentLoss
from unweave.valuation.texts import Text

if TYPE_CHECKING:
    from unweave.valuation.student import ValueStudent

WARMUP = 0.1
HEAD_FACTOR = 10.0
"""The head begins at zero, and has further to go than what is pretrained."""


@dataclass
class Standing:
    """How far a fit has come.

    Attributes:
        epoch: Epochs made.
        kept: The best of them; 0 is the student before training.
        best: Its rank correlation on held-out rows.
    """

    epoch: int = 0
    kept: int = 0
    best: float = -math.inf


class Training:
    """The training of a student.

    Args:
        student: The student; what was kept of the same fit is put into it.
        texts: What it reads.
        targets: What it is to say, a column a task.
        loss: Of a batch.
        epochs: At most.
        batch_size: Rows a step.
        learning_rate: Peak step size of the backbone.
        seed: Of shuffles and dropout; each epoch has its own, so that it is the same whatever was made before it in this process.
        folder: Where the end of each epoch is kept; `None` keeps nothing.
        fingerprint: Of the fit: what another one has kept is not read.
    """

    def __init__(
        self, student: "ValueStudent", texts: Sequence[Text], targets: Float[Tensor, "n T"], *, loss: StudentLoss, epochs: int, batch_size: int,
        learning_rate: float, seed: int, folder: Path | None = None, fingerprint: str = "",
    ):  # fmt: skip
        self.student, self.texts, self.targets, self.loss = student, texts, targets, loss
        self.batch_size, self.seed, self.folder, self.fingerprint = batch_size, seed, folder, fingerprint
        rates = {"backbone": learning_rate, "head": HEAD_FACTOR * learning_rate}
        self.optimizer = torch.optim.AdamW(
            [{"params": list(getattr(student, part).parameters()), "lr": rate} for part, rate in rates.items()]
        )
        self.rates = list(rates.values())
        self.batches = -(-len(texts) // batch_size)
        self.steps = epochs * self.batches
        self.standing = Standing()
        self._best = self._state()
        self._resume()

    def epoch(self, advance: Advance) -> None:
        """One pass over the rows.

        Args:
            advance: Called after each step.

        Raises:
            TrainingError: When it leaves weights that are no finite numbers.
        """
        number = self.standing.epoch + 1
        torch.manual_seed(self.seed * 1009 + number)
        order = list(range(len(self.texts)))
        random.Random(f"{self.seed}/{number}").shuffle(order)
        self.student.train()
        for place, start in enumerate(range(0, len(order), self.batch_size)):
            factor = schedule((number - 1) * self.batches + place, self.steps)
            for group, rate in zip(self.optimizer.param_groups, self.rates, strict=True):
                group["lr"] = factor * rate
            chosen = order[start : start + self.batch_size]
            scores = self.student(**self.student.tokens([self.texts[index] for index in chosen]))
            loss = self.loss(scores, self.targets[chosen].to(scores.device))
            self.optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.student.parameters(), 1.0)
            self.optimizer.step()
            advance(1)
        if (name := not_finite(self.student.state_dict().items())) is not None:
            raise TrainingError(
                f"Epoch {number} made weights that are not all finite numbers, the first in {name}.",
                where="`learning_rate`",
                remedy="lower it",
            )
        self.standing.epoch = number

    def note(self, correlation: float) -> None:
        """Remember how good the epoch was, and keep where the fit stands, where it is kept.

        Args:
            correlation: On held-out rows.
        """
        if correlation > self.standing.best:
            self.standing.best, self.standing.kept, self._best = correlation, self.standing.epoch, self._state()
        if self.folder is None:
            return
        tensors = {f"student.{name}": own for name, own in self._state().items()}
        tensors |= {f"best.{name}": own for name, own in self._best.items()}
        for index, parameter in enumerate(self._parameters()):
            tensors |= {f"optimizer.{index}.{name}": value for name, value in self.optimizer.state[parameter].items()}
        with replacing_folder(self.folder) as out:
            save_file(
                {name: own.detach().cpu().contiguous().clone() for name, own in tensors.items()},
                out / "state.safetensors",
            )
            write_json(out / "standing.json", {"fingerprint": self.fingerprint, **asdict(self.standing)})

    def finish(self) -> None:
        """Go back to the best epoch."""
        self.student.load_state_dict(self._best)

    def _resume(self) -> None:
        if self.folder is None or not (path := self.folder / "standing.json").is_file():
            return
        kept = read_json(path, what="Where a fit stands")
        if kept.pop("fingerprint") != self.fingerprint:
            return
        self.standing = Standing(**kept)
        tensors = load_file(self.folder / "state.safetensors")
        self.student.load_state_dict(_part(tensors, "student."))
        self._best = _part(tensors, "best.")
        for index, parameter in enumerate(self._parameters()):
            own = _part(tensors, f"optimizer.{index}.")
            self.optimizer.state[parameter] = {
                name: value if name == "step" else value.to(parameter.device) for name, value in own.items()
            }

    def _parameters(self) -> list[Tensor]:
        return [parameter for group in self.optimizer.param_groups for parameter in group["params"]]

    def _state(self) -> dict[str, Tensor]:
        return {name: own.detach().clone() for name, own in self.student.state_dict().items()}


def schedule(step: int, steps: int) -> float:
    """Up in a line over the first tenth, then down as a cosine.

    Args:
        step: Steps made.
        steps: Planned.

    Returns:
        The factor of the peak step size.
    """
    rise = max(1, round(WARMUP * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * (step - rise) / max(1, steps - rise)))


def _part(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): own for name, own in tensors.items() if name.startswith(prefix)}
