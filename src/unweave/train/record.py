"""What a run leaves behind so that it can be repeated step by step, and differentiated: `record/` in its folder.

    record.json                 rows and their contents, options of the optimizer, names of the trained parameters, places of the states; written last
    steps.safetensors           for each step: rows, step size, norm of the gradient before it was clipped, loss
    states/NNNNNN.safetensors   parameters and both moments after NNNNNN steps (`unweave.train.states`); of the start the parameters alone

Rows are kept as ids with a digest of their tokens, never as texts.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from unweave.data.encoding import Example, content_of
from unweave.errors import DataError, ModelError
from unweave.files import read_record
from unweave.train.states import PARTS, State, read_state

RECORD = "record"
FORMAT = 1
A_STATE = 3
"""Tensors of each trained parameter in a state."""


def step_seed(seed: int, step: int) -> int:
    """The seed of one step's dropout, so that the step can be repeated without those before it.

    Args:
        seed: The run's.
        step: Steps made before.

    Returns:
        A seed below 2^63.
    """
    return int.from_bytes(hashlib.blake2b(f"{seed}:{step}".encode(), digest_size=8).digest()) >> 1


def state_steps(total: int, states: int, snapshots: Sequence[int] = ()) -> list[int]:
    """After which steps the optimizer's state is kept.

    Args:
        total: Steps of the run.
        states: How many places, evenly spaced, the last step among them.
        snapshots: Further ones.

    Returns:
        The numbers of steps made, the start (0) first, sorted.
    """
    even = {round(total * number / states) for number in range(1, states + 1)}
    return sorted({0, *even, *(step for step in snapshots if step <= total), total})


def record_bytes(steps: Sequence[Sequence[int]], states: int, *, trained: int, rows: int) -> int:
    """What a record takes on the disk.

    Args:
        steps: The plan.
        states: How many are kept, the start among them.
        trained: Numbers that are trained.
        rows: Rows.

    Returns:
        Bytes; headers and names within some per cent.
    """
    tensors = 4 * trained * (1 + A_STATE * (states - 1))
    return tensors + 4 * sum(map(len, steps)) + 28 * len(steps) + 64 * rows


@dataclass(frozen=True)
class Options:
    """The options of the optimizer, as they were.

    Attributes:
        beta1: Of the mean gradient.
        beta2: Of the mean squared gradient.
        epsilon: Added to the root of the second moment.
        weight_decay: Decoupled, times the step size.
        max_grad_norm: The norm to which a step's gradient is clipped; 0 for none.
        seed: Of each step's dropout (`step_seed`); `None` where nothing is seeded.
    """

    beta1: float = 0.9
    beta2: float = 0.999
    epsilon: float = 1e-8
    weight_decay: float = 0.0
    max_grad_norm: float = 0.0
    seed: int | None = None


@dataclass(frozen=True, eq=False)
class TrainingRecord:
    """A record that was read.

    Attributes:
        folder: Its folder.
        row_ids: The rows.
        contents: Digests of their tokens.
        steps: Places of rows, a list a step.
        rates: Step size of each step.
        norms: Norm of each step's gradient, before it was clipped.
        losses: Of each step.
        options: Of the optimizer.
        parameters: Names of the trained ones.
        states: After how many steps a state was kept.
    """

    folder: Path
    row_ids: list[str]
    contents: list[str]
    steps: list[list[int]]
    rates: list[float]
    norms: list[float]
    losses: list[float]
    options: Options
    parameters: list[str]
    states: list[int]

    def state(self, step: int) -> State:
        """A state that was kept.

        Args:
            step: Steps made, one of `states`.

        Returns:
            The state, on the CPU.
        """
        state = read_state(state_path(self.folder, step))
        # Files hold tensors by name; the norm that clipping takes is a sum in the model's order.
        parts = ({name: getattr(state, part)[name] for name in self.parameters} for part in PARTS)
        return State(state.step, *parts)

    def require_rows(self, examples: Sequence[Example]) -> None:
        """Refuse other rows than the run was trained on.

        Args:
            examples: The rows, encoded.

        Raises:
            DataError: When they are others, or have other tokens.
        """
        if [example.row_id for example in examples] != self.row_ids:
            raise DataError(
                f"The run was trained on {len(self.row_ids)} row(s), and these are {len(examples)} others.",
                where=str(self.folder),
                remedy="give the file that it was trained on, unchanged",
            )
        changed = [
            example.row_id for example, own in zip(examples, self.contents, strict=True) if content_of(example) != own
        ]
        if changed:
            raise DataError(
                f"{len(changed)} row(s) have other tokens than the run was trained on, the first '{changed[0]}'.",
                where=str(self.folder),
                remedy="give the rows and the tokenizer that it was trained with",
            )


def state_path(folder: Path, step: int) -> Path:
    """Where a state lies.

    Args:
        folder: The folder of the record.
        step: Steps made.

    Returns:
        The file.
    """
    return folder / "states" / f"{step:06d}.safetensors"


def has_record(folder: Path) -> bool:
    """Whether a run has left a complete record.

    Args:
        folder: The run's folder.

    Returns:
        The answer.
    """
    return (folder / RECORD / "record.json").is_file()


def read_training_record(folder: Path) -> TrainingRecord:
    """Read the record of a run.

    Args:
        folder: The run's folder.

    Returns:
        The record; states are read when they are asked for.

    Raises:
        ModelError: When there is none, or it is damaged or of another format.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    place = folder / RECORD
    if not has_record(folder):
        raise ModelError(
            "The training left no record.", where=str(folder), remedy="train with `record`, which keeps one"
        )
    described = read_record(place / "record.json", what="The record of the training")
    if described.get("format") != FORMAT:
        raise ModelError(
            f"The record has format {described.get('format')}, and this version reads {FORMAT}.",
            where=str(place),
            remedy="train again with `record`",
        )
    try:
        arrays: dict[str, Tensor] = load_file(place / "steps.safetensors")
        sizes: list[int] = arrays["sizes"].tolist()
        optimizer = {key: value for key, value in described["optimizer"].items() if key != "name"}
        return TrainingRecord(
            place,
            described["row_ids"],
            described["contents"],
            [part.tolist() for part in arrays["rows"].split(sizes)],
            arrays["rates"].tolist(),
            arrays["norms"].tolist(),
            arrays["losses"].tolist(),
            Options(**optimizer),
            described["parameters"],
            described["states"],
        )
    except (OSError, SafetensorError, KeyError, TypeError, RuntimeError) as error:
        raise ModelError(
            f"The record is damaged: {error}.", where=str(place), remedy="train again with `record`"
        ) from error
