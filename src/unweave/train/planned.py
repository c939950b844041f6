"""The Trainer under the training loop: it takes planned steps in their order, the loss from outside, and says what a step did."""

import contextlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.data import SequentialSampler
from transformers import Trainer, TrainerCallback

from unweave import progress
from unweave.devices import is_out_of_memory, release, within_memory
from unweave.errors import TrainingError
from unweave.train.processes import Processes
from unweave.train.record import step_seed
from unweave.train.recorder import Recorder
from unweave.train.resuming import StepRecord
from unweave.train.soundness import require_trained
from unweave.train.splitting import Split, Step, random_state, restore_random_state

StepLoss = Callable[[nn.Module, Any], Tensor]


@dataclass(frozen=True)
class _Share:
    """What a process does of a step.

    Attributes:
        examples: Its examples; neighbours, which are of like length, go to different processes.
        part: What they count of the whole step, in [0, 1].
    """

    examples: Step
    part: float


class PlannedSteps(torch.utils.data.Dataset):  # type: ignore[type-arg]
    """The plan as a data set: a step has one item for each process, in their order, as accelerate deals them out.

    Args:
        steps: The plan.
        count: Processes.
        size: What an example counts.
    """

    def __init__(self, steps: Sequence[Step], count: int, size: Callable[[Any], float]):
        self.steps, self.count, self.size = steps, count, size

    def __len__(self) -> int:
        return len(self.steps) * self.count

    def __getitem__(self, index: int) -> _Share:
        number, rank = divmod(index, self.count)
        step = self.steps[number]
        if self.count == 1:
            return _Share(step, 1.0)
        own = step[rank :: self.count]
        return _Share(own, sum(map(self.size, own)) / sum(map(self.size, step)))


class PlannedTrainer(Trainer):
    """A Trainer that takes the steps in their order and the loss from outside."""

    step_loss: StepLoss
    losses: list[float]
    here: Processes
    trained: list[nn.Parameter]
    measured: Callable[[], dict[str, float]]
    recorder: Recorder | None
    split: Split | None = None
    notes: list[float]
    parts: int = 1
    """In how many parts a step is made; more from where memory ran out on."""

    def _get_train_sampler(self, train_dataset: Any = None) -> SequentialSampler:
        return SequentialSampler(train_dataset or self.train_dataset)  # type: ignore[arg-type]

    def compute_loss(
        self, model: nn.Module, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The loss of a planned step.

        Args:
            model: The model.
            inputs: The collated step.
            return_outputs: Whether to return a pair.
            num_items_in_batch: Unused: the loss is a mean over rows already.

        Returns:
            The loss.

        Raises:
            TrainingError: When it is not finite.
        """
        del num_items_in_batch
        # Of several processes' model accelerate makes one that averages gradients after its own forward pass; steps run parts of the model themselves.
        inner, part = self.accelerator.unwrap_model(model), inputs["part"]
        if self.recorder is not None:
            torch.manual_seed(step_seed(self.recorder.seed, self.state.global_step))
        if part:
            loss = self.step_loss(inner, inputs["batch"]) * (part * self.here.count)
        else:
            loss = sum((parameter.sum() * 0.0 for parameter in self.trained), torch.zeros(()))
        value = self.here.average(float(loss.detach()))
        if value != value or abs(value) == float("inf"):
            raise TrainingError(
                f"The loss is {value} at step {self.state.global_step}.", remedy="lower `learning_rate`"
            )
        self.losses.append(value)
        return (loss, None) if return_outputs else loss

    def training_step(self, *args: Any, **kwargs: Any) -> Tensor:
        """A step's forward and backward pass, and the mean of the gradients over processes. Where memory runs out the step is made in parts.

        Args:
            args: As in `Trainer`.
            kwargs: As in `Trainer`.

        Returns:
            The loss.
        """
        loss = self._step(*args, **kwargs)
        self.here.average_gradients(self.trained)
        if self.recorder is not None:
            self.recorder.measure(self.trained)
        return loss

    def _step(self, model: nn.Module, inputs: Any, *rest: Any, **kwargs: Any) -> Tensor:
        before, device = (len(self.losses), len(self.notes)), next(model.parameters()).device
        rows = self.split.rows(inputs["examples"]) if self.split is not None else 1
        # Of several processes each would have to cut its share as the others do.
        most = rows if self.here.count == 1 else 1
        state = random_state() if most > 1 else []
        while True:
            parts = min(self.parts, most)
            # A single row is tried whatever is left.
            guard = within_memory(device) if parts < most else contextlib.nullcontext()
            try:
                with guard:
                    return self._in_parts(parts, before, model, inputs, *rest, **kwargs)
            except (RuntimeError, MemoryError) as error:
                if not is_out_of_memory(error):
                    raise
                if parts >= most:
                    raise TrainingError(
                        f"Out of memory in step {self.state.global_step + 1}"
                        + (", on a single row." if self.split is not None and rows == most else "."),
                        remedy="lower `max_length` or `batch_size`, or use `gradient_checkpointing`, or `quantization` 4bit",
                    ) from None
            del self.losses[before[0] :], self.notes[before[1] :]
            for parameter in self.trained:
                parameter.grad = None
            release(device)
            restore_random_state(state)
            self.parts = 2 * parts
            progress.say(f"memory ran out on a step of {rows} rows: steps are made in {self.parts} parts from here on")

    def _in_parts(
        self, parts: int, before: tuple[int, int], model: nn.Module, inputs: Any, *rest: Any, **kwargs: Any
    ) -> Tensor:
        if parts == 1 or self.split is None:
            return super().training_step(model, inputs, *rest, **kwargs)
        total = torch.zeros(())
        for index in range(parts):
            batch, share = self.split.part(inputs["examples"], index, parts)
            if batch is not None:
                own = {**inputs, "batch": batch, "part": inputs["part"] * share}
                total = total + super().training_step(model, own, *rest, **kwargs).detach().cpu()
        losses, notes = self.losses[before[0] :], self.notes[before[1] :]
        self.losses[before[0] :] = [math.fsum(losses)]
        if notes:
            self.notes[before[1] :] = [math.nan if any(map(math.isnan, notes)) else math.fsum(notes)]
        return total.to(next(model.parameters()).device)

    def report(self) -> None:
        """Log what was measured before the first step."""
        if values := self.measured():
            self.control = self.callback_handler.on_log(self.args, self.state, self.control, values)

    def log(self, logs: dict[str, float], start_time: float | None = None) -> None:
        """Log a step, with what was measured after it. What a resumed run reports is kept by `StepRecord`, so the log itself stays as it is.

        Args:
            logs: The step's own values.
            start_time: Unused: how long a run took is in its result.
        """
        del start_time
        self.control = self.callback_handler.on_log(self.args, self.state, self.control, {**logs, **self.measured()})

    def floating_point_ops(self, inputs: Any) -> int:
        """Not counted: the estimate of transformers knows nothing of a planned step.

        Args:
            inputs: The collated step.

        Returns:
            0.
        """
        del inputs
        return 0


class Callbacks(TrainerCallback):
    """Moves the progress bar, looks at what a step did, and ends a run that has nothing more to do."""

    def __init__(
        self,
        advance: progress.Advance,
        should_stop: Callable[[], bool],
        after_step: Callable[[int], None],
        record: StepRecord,
        model: nn.Module,
        recording: Callable[[int], None],
    ):
        self.model = model
        self.recording = recording
        self.advance = advance
        self.should_stop = should_stop
        self.after_step = after_step
        self.record = record
        self.report: Callable[[], None] = lambda: None

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Jump to where a resumed run stands, and see its last step as it was seen then."""
        self.record.restore(state.log_history)
        self.report()
        self.advance(state.global_step)
        if state.global_step:
            self.after_step(state.global_step)

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """One more step is done: before it is measured, or saved in a checkpoint."""
        require_trained(self.model, what=f"Step {state.global_step}")
        self.advance(1)
        self.recording(state.global_step)
        self.after_step(state.global_step)
        stopped = self.should_stop()
        self.record.keep(state.log_history, stopped=stopped)
        control.should_training_stop |= stopped
