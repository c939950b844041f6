"""DP-SGD (Abadi et al., arXiv 1607.00133): clipped per-sample gradients, Poisson sampling, Gaussian noise, and Opacus's accountant.

The guarantee is for one row, added or removed, and for the adapter's weights only: the number of rows, and what a run prints or writes beside the weights, is
not covered, so no loss is reported. Noise and samples come from the system's cryptographic generator (`unweave.train.noise`), fresh for every number. Only a
loss that is given a seed has noise from torch's generator, which is not one for cryptography; its record says `seeded`.
"""

import math
import random
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from unweave.data.batches import Batch, collate, length_groups
from unweave.data.encoding import Example
from unweave.errors import ConfigError, MissingExtraError
from unweave.files import read_json, write_json
from unweave.gradients.per_sample import frozen_in_evaluation, per_sample_gradients
from unweave.models.selection import SelectedParameter, select_parameters
from unweave.train.noise import secret_normal

RECORD = "privacy.json"
CRYPTOGRAPHIC, SEEDED = "cryptographic", "seeded"
MOST_EXAMPLES = 8


@dataclass(frozen=True)
class Privacy:
    """What a private training run guarantees, and how.

    Attributes:
        epsilon: Of one row, at `delta`.
        delta: The probability with which that may fail.
        noise_multiplier: Standard deviation of the noise, over the clipping norm.
        clip: Largest norm of a row's gradient.
        sample_rate: Probability with which a row is in a step.
        steps: Steps.
        rows: Rows trained on.
        accountant: Which bound: `rdp`, Renyi differential privacy.
        noise: Where the noise came from: `cryptographic`, the system's generator for secrets; `seeded`, torch's generator, as in all records of before that
            was written down: who learns its state knows the noise.
    """

    epsilon: float
    delta: float
    noise_multiplier: float
    clip: float
    sample_rate: float
    steps: int
    rows: int
    accountant: str = "rdp"
    noise: str = SEEDED

    def of_group(self, size: int) -> tuple[float, float]:
        """The guarantee for several rows at once (Dwork and Roth, theorem 2.2 and its form with delta): it weakens fast.

        Args:
            size: Rows, at least 1.

        Returns:
            epsilon and delta of the group; delta is infinite where nothing bounds it.
        """
        grown = (size - 1) * self.epsilon
        return size * self.epsilon, size * math.exp(grown) * self.delta if grown < 700 else math.inf


def plan_privacy(
    rows: int, *, epsilon: float, delta: float | None, clip: float, batch_size: int, epochs: float
) -> Privacy:
    """Find the noise for a budget.

    Args:
        rows: Rows to train on.
        epsilon: The budget, for one row.
        delta: By default rows^-1.1.
        clip: Largest norm of a row's gradient.
        batch_size: Rows a step, on average.
        epochs: Passes over the rows, on average.

    Returns:
        The run's guarantee, with an epsilon within the budget.

    Raises:
        ConfigError: When a number is out of range, or the budget can't be kept.
        MissingExtraError: Without Opacus.
    """
    try:
        from opacus.accountants import RDPAccountant
        from opacus.accountants.utils import get_noise_multiplier
    except ImportError as error:
        raise MissingExtraError("opacus", extra="dp", purpose="Differential privacy") from error
    chance = rows**-1.1 if delta is None else delta
    if epsilon <= 0 or not 0 < chance < 1 or clip <= 0 or not 0 < batch_size <= rows or epochs <= 0:
        raise ConfigError(
            f"epsilon {epsilon:g}, delta {chance:g}, clip {clip:g}, {batch_size} of {rows} rows a step, {epochs:g} epochs can't be trained privately.",
            where="`dp_epsilon`, `dp_delta`, `dp_clip`, `batch_size`, `epochs`",
            remedy="give positive numbers, delta below 1, and no more rows a step than there are",
        )
    rate, steps = batch_size / rows, max(1, round(epochs * rows / batch_size))
    accountant = RDPAccountant()
    with warnings.catch_warnings():
        # The search tries noise for which another order would give a tighter bound; a looser one holds too.
        warnings.filterwarnings("ignore", message="Optimal order")
        try:
            noise = get_noise_multiplier(
                target_epsilon=epsilon, target_delta=chance, sample_rate=rate, steps=steps, accountant="rdp"
            )
        except ValueError as error:
            raise ConfigError(
                f"No noise keeps epsilon {epsilon:g}.", where="`dp_epsilon`", remedy="raise it"
            ) from error
        accountant.history = [(noise, rate, steps)]
        spent = accountant.get_epsilon(delta=chance)
    return Privacy(spent, chance, noise, clip, rate, steps, rows, noise=CRYPTOGRAPHIC)


def write_privacy(folder: Path, privacy: Privacy) -> None:
    """Keep the guarantee beside the weights.

    Args:
        folder: The adapter's.
        privacy: The guarantee.
    """
    write_json(folder / RECORD, asdict(privacy))


def read_privacy(folder: Path | str) -> Privacy:
    """The guarantee of a privately trained adapter.

    Args:
        folder: Its folder.

    Returns:
        The guarantee.

    Raises:
        ConfigError: When the adapter has none: it was not trained privately, or was trained on without privacy since.
    """
    path = Path(folder) / RECORD
    if not path.is_file():
        raise ConfigError(
            "This model was not trained privately, or was trained on without privacy since.",
            where=str(folder),
            remedy="give one that `unweave train --dp-epsilon E` has made",
        )
    return Privacy(**read_json(path, what="The guarantee of a private training run"))


def poisson_steps(privacy: Privacy) -> list[list[int]]:
    """Sample the rows of all steps, each row into each step with the same probability; a step may be empty.

    Args:
        privacy: The plan.

    Returns:
        Indices of rows, a list a step.
    """
    rng = random.SystemRandom()
    return [
        [index for index in range(privacy.rows) if rng.random() < privacy.sample_rate] for _ in range(privacy.steps)
    ]


def collate_groups(examples: Sequence[Example], *, pad_token_id: int) -> list[Batch]:
    """A step's examples in batches of like length, none of more than a few.

    Args:
        examples: May be empty.
        pad_token_id: What to pad with.

    Returns:
        The batches.
    """
    groups = length_groups([len(example) for example in examples])
    pieces = [group[start : start + MOST_EXAMPLES] for group in groups for start in range(0, len(group), MOST_EXAMPLES)]
    return [collate([examples[index] for index in piece], pad_token_id=pad_token_id) for piece in pieces]


class PrivateLoss:
    """A step's loss whose gradient is the private one: (sum of clipped per-sample gradients + noise) / expected rows a step.

    Args:
        model: The model; the adapter's parameters are trained.
        privacy: Clipping norm and noise.
        seed: For noise that can be repeated, and is not cryptographic; by default the noise is secret.
    """

    def __init__(self, model: nn.Module, privacy: Privacy, *, seed: int | None = None):
        self.parameters: list[SelectedParameter] = select_parameters(model, "lora")
        self.privacy = replace(privacy, noise=CRYPTOGRAPHIC if seed is None else SEEDED)
        self.device = next(model.parameters()).device
        self.generator = None if seed is None else torch.Generator(self.device).manual_seed(seed)

    def __call__(self, model: nn.Module, batches: Sequence[Batch]) -> Tensor:
        """See `StepLoss`.

        Args:
            model: The model.
            batches: The step's examples.

        Returns:
            A scalar of the right gradient; its value means nothing.
        """
        gradients = self.gradients(model, batches)
        return sum((item.parameter * gradients[item.name].to(item.parameter.dtype)).sum() for item in self.parameters)  # type: ignore[return-value]

    def gradients(self, model: nn.Module, batches: Sequence[Batch]) -> dict[str, Tensor]:
        """The private gradient of each parameter, in float32 or wider.

        Args:
            model: The model.
            batches: The step's examples.

        Returns:
            Parameter's name to gradient.
        """
        total = {item.name: self._noise(item.parameter) for item in self.parameters}
        for batch in batches:
            pieces = self._pieces(model, batch.to(self.device))
            norms = sum(piece.flatten(1).square().sum(dim=1) for piece in pieces.values()).sqrt()  # type: ignore[union-attr]
            factors = (self.privacy.clip / norms.clamp(min=self.privacy.clip)).nan_to_num(0.0)
            for name, piece in pieces.items():
                total[name] += torch.tensordot(factors.to(piece.dtype), piece, dims=1)
        expected = self.privacy.sample_rate * self.privacy.rows
        return {name: value / expected for name, value in total.items()}

    def _noise(self, parameter: Tensor) -> Tensor:
        wide = torch.promote_types(parameter.dtype, torch.float32)
        spread = self.privacy.noise_multiplier * self.privacy.clip
        if self.generator is None:
            return secret_normal(parameter.shape).mul_(spread).to(device=self.device, dtype=wide)
        noise = torch.empty(parameter.shape, dtype=wide, device=self.device)
        return noise.normal_(0.0, spread, generator=self.generator)

    def _pieces(self, model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        found: dict[str, Any] = {}

        def consume(name: str, piece: Tensor) -> None:
            found[name] = piece.to(torch.promote_types(piece.dtype, torch.float32))

        with frozen_in_evaluation(model):
            per_sample_gradients(model, batch, self.parameters, consume, frozen=True)
        return {item.name: found[item.name].reshape(len(batch), *item.parameter.shape) for item in self.parameters}
