"""IDK: preference optimisation towards saying that one does not know (TOFU, arXiv 2401.06121; DPO, arXiv 2305.18290)."""

import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor
from torch.nn import functional

from unweave.data.rows import Row
from unweave.errors import DataError
from unweave.files import read_text
from unweave.unlearning.methods.balanced import Balanced, BalancedConfig
from unweave.unlearning.methods.base import ALL_REQUESTS, Method
from unweave.unlearning.steps import Role
from unweave.unlearning.view import StepView

ANSWERS = (
    "I don't know.",
    "I have no information about that.",
    "That is not something I can answer.",
    "I'm not sure about this.",
    "I can't tell you that.",
    "I have not learned anything about that.",
    "My knowledge does not cover this.",
    "I am unable to answer this question.",
)


@dataclass(frozen=True, kw_only=True)
class IdkConfig(BalancedConfig):
    """The forget part is -(2/beta) log sigmoid(beta ((L - L_ref) of the unwanted answer - (L - L_ref) of an "I don't know" answer)), L summed losses.

    Attributes:
        method: The unlearning method.
        beta: Inverse temperature.
        answers: A text file of answers to prefer, one a line; by default eight of our own.
    """

    method: str = "idk"
    beta: float = 0.1
    answers: Path | None = None


class Idk(Balanced):
    """The objective."""

    config: IdkConfig

    def forget_part(self, view: StepView) -> Tensor:
        """The preference loss of the pairs.

        Args:
            view: The step.

        Returns:
            A scalar.
        """
        gaps = view.losses.sums() - view.reference_sums()
        ids = view.step.row_ids
        roles = view.step.roles.tolist()
        # A row drawn twice has two equal pairs: any of its preferred sequences will do.
        preferred = {ids[index]: index for index, role in enumerate(roles) if role == Role.CLEAN}
        partner = torch.tensor([preferred.get(row_id, index) for index, row_id in enumerate(ids)], device=gaps.device)
        values = -2 / self.config.beta * functional.logsigmoid(self.config.beta * (gaps - gaps[partner]))
        return view.masked_mean(values, Role.UNWANTED)


def preferred_answers(config: IdkConfig, rows: Sequence[Row]) -> dict[str, str]:
    """An answer to prefer for each row, drawn by the config's seed.

    Args:
        config: Answers and seed.
        rows: The forget rows.

    Returns:
        Row id to text.

    Raises:
        DataError: When the file of answers is missing or empty.
    """
    answers: Sequence[str] = ANSWERS
    if config.answers is not None:
        if not config.answers.is_file():
            raise DataError("The file of answers was not found.", where=str(config.answers), remedy="check --answers")
        answers = [
            line.strip() for line in read_text(config.answers, what="The file of answers").split("\n") if line.strip()
        ]
        if not answers:
            raise DataError("There are no answers here.", where=str(config.answers), remedy="write one a line")
    rng = random.Random(config.seed)
    return {row.id: rng.choice(answers) for row in rows}


METHOD = Method(
    name="idk",
    summary="preference optimisation towards an answer that one does not know",
    paper="TOFU, arXiv 2401.06121; DPO, arXiv 2305.18290",
    config_type=IdkConfig,
    build=Idk,
    uses_clean=True,
    clean_answers=preferred_answers,
    cost="one forward and one backward pass a step, with two sequences a forget row; one more forward pass for each of them in a run",
    compares=lambda _: True,
    requests=ALL_REQUESTS,
    search={"learning_rate": (1e-4, 3e-4, 1e-3), "beta": (0.1, 0.5)},
)
