"""Early stopping of an unlearning run: stop where it has reached its target, or is asked to, and go back to the best step where it has gone too far."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from unweave import events
from unweave.data.encoding import Example
from unweave.files import read_json, write_json
from unweave.gradients.scoring import example_losses
from unweave.replacing import replacing
from unweave.train.loop import CHECKPOINTS
from unweave.unlearning.context import Context
from unweave.unlearning.rows import ForgetRow

EVERY = 5

RECORD = "watch.json"
BY_HAND = "stopped by hand"
BEST = "best.safetensors"
"""The parameters of the best step: beside the checkpoints, so that it stays as long as they do."""


@dataclass(frozen=True)
class Point:
    """What was measured at a step.

    Attributes:
        step: Steps made.
        forget_loss: Mean l(z) of the forget rows, nats a token.
        retain_loss: The same of the retain rows; NaN without any.
    """

    step: int
    forget_loss: float
    retain_loss: float


class EarlyStopping:
    """Measures a run on its way; where the run has a folder, what it has seen is kept beside the checkpoints, so that a resumed run knows it.

    Args:
        model: The model.
        forget: Forget rows to measure.
        retain: Retain rows to measure.
        folder: The run's output folder; `None` keeps all in memory.
        pad_token_id: What to pad with.
        every: Steps between measurements.
        target: The loss of the forget rows at which to stop, or `None`.
        max_retain_increase: The growth of the retain rows' loss that counts as divergence.
        fingerprint: Of the run: what another run has seen is not read.
    """

    def __init__(
        self,
        model: nn.Module,
        forget: Sequence[Example],
        retain: Sequence[Example],
        *,
        folder: Path | None,
        pad_token_id: int,
        every: int,
        target: float | None,
        max_retain_increase: float,
        fingerprint: str,
    ):
        self.model, self.forget, self.retain = model, forget, retain
        self.pad_token_id, self.every, self.target = pad_token_id, every, target
        self.max_retain_increase = max_retain_increase
        self.fingerprint = fingerprint
        self._folder = folder
        self._held: dict[str, Tensor] = {}
        self._reported = 0
        record = folder / RECORD if folder else None
        kept = read_json(record, what="What the run has seen") if record and record.is_file() else {}
        own = kept.get("fingerprint") == fingerprint
        self.points = [Point(**point) for point in kept["points"]] if own else [self._measure(0)]
        self.best = Point(**kept["best"]) if own else self.points[0]
        self.reason: str | None = None
        for point in self.points:
            self._publish(point)
        # A run that goes on has not read its checkpoint yet: this is where it began, whenever it was interrupted.
        self._start = {name: own.detach().clone() for name, own in self._trained()}

    def after_step(self, step: int) -> None:
        """Measure, where it is time.

        Args:
            step: Steps made.
        """
        by_hand = events.stop_is_asked()
        if not by_hand and step % self.every:
            return
        # A run that goes on makes the steps since its checkpoint again: what was seen of them holds, and what follows from it follows again.
        point = next((point for point in self.points if point.step == step), None)
        if point is None:
            point = self._measure(step)
            self.points.append(point)
            self._publish(point)
        increase = point.retain_loss - self.points[0].retain_loss
        if increase > self.max_retain_increase:
            self.reason = f"diverged at step {step}: the retain rows' loss grew by {increase:.2f} nats a token"
        else:
            if self.target is not None and point.forget_loss >= self.target:
                self.reason = (
                    f"reached its target at step {step}: the forget rows' loss is {point.forget_loss:.2f} nats a token"
                )
            if point.forget_loss > self.best.forget_loss:
                self.best = point
                self._keep()
            if by_hand and self.reason is None:
                self.reason = f"{BY_HAND} at step {step}"
        if self._folder is None:
            return
        write_json(
            self._folder / RECORD,
            {
                "fingerprint": self.fingerprint,
                "points": [asdict(one) for one in self.points],
                "best": asdict(self.best),
            },
        )

    def should_stop(self) -> bool:
        """Whether the run has reached its target, diverged, or was asked to end."""
        return self.reason is not None

    def finish(self, *, steps: int, diverged: bool) -> int:
        """Put the best step's parameters in place where the run ended in divergence, or by hand.

        Args:
            steps: Steps made.
            diverged: Whether something else found the run diverged.

        Returns:
            The step that the model now is of; 0 is the model before.
        """
        if not diverged and not (self.reason or "").startswith(("diverged", BY_HAND)):
            return steps
        if not diverged and self.best.step == steps:
            return steps
        with torch.no_grad():
            held = self._best_parameters()
            for name, parameter in self._trained():
                parameter.copy_(held[name])
        return self.best.step

    def unreported(self) -> dict[str, float]:
        """The last measurement, where it was not asked for before.

        Returns:
            Names, as a tracker shows them, to values; nothing where nothing new was measured.
        """
        fresh, self._reported = len(self.points) > self._reported, len(self.points)
        if not fresh:
            return {}
        point = self.points[-1]
        values = {"forget_loss": point.forget_loss, "retain_loss": point.retain_loss, "target": self.target}
        return {name: value for name, value in values.items() if value is not None and value == value}

    def _publish(self, point: Point) -> None:
        """Say what was measured to whoever follows the run."""
        events.write("losses", step=point.step, forget=point.forget_loss, retain=point.retain_loss, target=self.target)

    def _trained(self) -> list[tuple[str, nn.Parameter]]:
        return [(name, own) for name, own in self.model.named_parameters() if own.requires_grad]

    def _best_parameters(self) -> dict[str, Tensor]:
        if self.best.step == 0:
            return self._start
        return load_file(self._folder / CHECKPOINTS / BEST) if self._folder else self._held

    def _keep(self) -> None:
        if self._folder is None:
            self._held = {name: own.detach().clone() for name, own in self._trained()}
            return
        tensors = {name: own.detach().to("cpu").contiguous() for name, own in self._trained()}
        with replacing(self._folder / CHECKPOINTS / BEST) as temporary:
            save_file(tensors, temporary)

    def _measure(self, step: int) -> Point:
        losses = (mean_loss(self.model, rows, pad_token_id=self.pad_token_id) for rows in (self.forget, self.retain))
        return Point(step, *losses)


def checked_rows(context: Context) -> tuple[list[Example], list[Example]]:
    """The rows that a run is measured on.

    Args:
        context: All rows, and how many are measured.

    Returns:
        Forget rows and retain rows.
    """
    return of_each_kind(context.rows, context.options.check_rows)


def of_each_kind(rows: Sequence[ForgetRow], most: int) -> tuple[list[Example], list[Example]]:
    """The first rows of each kind.

    Args:
        rows: All rows.
        most: How many of each.

    Returns:
        Forget rows and retain rows.
    """
    forget, retain = ([row.example for row in rows if row.is_forget == kind][:most] for kind in (True, False))
    return forget, retain


def mean_loss(model: Any, examples: Sequence[Example], *, pad_token_id: int) -> float:
    """The mean of l(z) over rows.

    Args:
        model: The model.
        examples: The rows.
        pad_token_id: What to pad with.

    Returns:
        Nats a token; NaN without rows.
    """
    if not examples:
        return float("nan")
    return fmean(example_losses(model, examples, pad_token_id=pad_token_id).means())
